"""Alert events on Kafka: CloudEvents 1.0 in binary mode, and one line of text for a terminal.

The CloudEvents attributes are record headers, the value is the JSON object of ``schemas/alert.v1.json``. The
same alert always gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from driftline.decide.outputs import Alert
from driftline.publish.text import json_bytes, printable, rfc3339
from driftline.records import OutputRecord

SPEC_VERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/json"
LINE_CHARS_MAX: Final = 400  # a summary has about 200; more is no line any more


def encode(alert: Alert) -> OutputRecord:
    """The record of an alert.

    Key: percent-encoded model, "/", percent-encoded signal: all alerts of a signal are in one partition, in
    order.

    Raises:
        BugError: the data is not JSON-ready (a NaN, an object), against the contract of ``decide.outputs``.
    """
    value = json_bytes(alert.data, f"alert {alert.id} of {alert.model}")
    model = quote(alert.model, safe="")
    return OutputRecord(
        key=f"{model}/{quote(alert.signal, safe='')}".encode(),
        value=value,
        headers=cloud_event(alert.id, alert.type, alert.time_ms, alert.model, alert.signal),
    )


def cloud_event(
    ident: str, kind: str, time_ms: int, model: str, subject: str
) -> tuple[tuple[str, bytes], ...]:
    """The attributes of a CloudEvent in binary mode, as headers."""
    headers = (
        ("ce_specversion", SPEC_VERSION),
        ("ce_id", ident),
        ("ce_source", f"/driftline/{quote(model, safe='')}"),
        ("ce_type", kind),
        ("ce_time", rfc3339(time_ms)),
        ("ce_subject", subject),
        ("content-type", CONTENT_TYPE),
    )
    return tuple((name, text.encode()) for name, text in headers)


def describe(data: Mapping[str, object]) -> str:
    """One safe line: time, what happened, severity and the summary; ``data`` may come from a topic.

    >>> describe({"type": "driftline.alert.opened", "time": "2026-11-23T10:00:00.000Z", "severity": "warning",
    ...           "summary": 'm: "age" is higher than in training'})
    '2026-11-23T10:00:00.000Z  opened    warning   m: "age" is higher than in training'
    """
    when = printable(_text(data, "time") or "no time", 32)
    event = printable(_text(data, "type").rpartition(".")[2] or "unknown", 16)
    severity = printable(_text(data, "severity") or "-", 16)
    summary = _text(data, "summary") or f"{_text(data, 'model') or '?'}: {_text(data, 'signal') or '?'}"
    return f"{when}  {event:<8}  {severity:<8}  {printable(summary, LINE_CHARS_MAX)}"


def _text(data: Mapping[str, object], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""
