"""Actions on Kafka: CloudEvents in binary mode, as alerts are (``schemas/action.v1.json``)."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from driftline.decide.outputs import Action
from driftline.publish.alerts import LINE_CHARS_MAX, cloud_event
from driftline.publish.text import json_bytes, printable
from driftline.records import OutputRecord


def encode(action: Action) -> OutputRecord:
    """The record of an action, keyed by the percent-encoded model; the subject is the model.

    Raises:
        BugError: see ``json_bytes``.
    """
    return OutputRecord(
        key=quote(action.model, safe="").encode(),
        value=json_bytes(action.data, f"action {action.id} of {action.model}"),
        headers=cloud_event(action.id, action.type, action.time_ms, action.model, action.model),
    )


def describe(data: Mapping[str, object]) -> str:
    """One safe line of an action, which may come from a topic.

    >>> describe({"time": "2026-11-23T10:00:00.000Z", "action": "retrain", "summary": "m: asks"})
    '2026-11-23T10:00:00.000Z  retrain   m: asks'
    """
    when, what, summary = (str(data.get(key) or "?") for key in ("time", "action", "summary"))
    return f"{printable(when, 32)}  {printable(what, 16):<8}  {printable(summary, LINE_CHARS_MAX)}"
