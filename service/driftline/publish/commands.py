"""Commands for a running service: records of the commands topic (``schemas/command.v1.json``)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Literal

from driftline.errors import OperatorError
from driftline.publish.text import printable, rfc3339
from driftline.records import COMMAND_BYTES_MAX, MODEL_ID_PATTERN, NOTE_CHARS_MAX, OutputRecord

AlertAction = Literal["mute", "unmute", "close", "ack"]


def promote(model: str, baseline: Mapping[str, object], *, by: str, why: str) -> OutputRecord:
    """The record that makes ``baseline`` the reference of ``model``; keyed by the model.

    Raises:
        OperatorError: the model id is not one, or the command is larger than a record may be.
    """
    return _record("baseline.promote", model, {"baseline": dict(baseline)}, by=by, why=why)


def reset(model: str, *, by: str, why: str) -> OutputRecord:
    """The record that makes ``model`` learn its reference again from its next events.

    Raises:
        OperatorError: see ``promote``.
    """
    return _record("baseline.reset", model, {}, by=by, why=why)


def on_alerts(
    action: AlertAction, model: str, signal: str | None, *, by: str, why: str, until_ms: int | None = None
) -> OutputRecord:
    """The record of what somebody says of a model's alerts; ``until_ms`` (epoch) only of a mute.

    Raises:
        OperatorError: the model id is not one, or nobody or no reason is named.
    """
    for option, text in (("--by", by), ("--why", why)):
        if not text.strip():
            raise OperatorError(f"{option} is empty.", remedy="Say it: it stands in the alerts.")
    body: dict[str, object] = {} if signal is None else {"signal": signal}
    if until_ms is not None:
        body["until"] = rfc3339(until_ms)
    return _record(f"alert.{action}", model, body, by=by, why=why)


def _record(kind: str, model: str, body: Mapping[str, object], *, by: str, why: str) -> OutputRecord:
    if re.fullmatch(MODEL_ID_PATTERN, model) is None:
        raise OperatorError(
            f"{printable(model)!r} is no model id.",
            remedy="Use 1-128 letters, digits and the characters _ . : -",
        )
    body = {
        "type": kind,
        "model": model,
        **body,
        "by": printable(by, NOTE_CHARS_MAX),
        "why": printable(why, NOTE_CHARS_MAX),
    }
    try:
        value = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise OperatorError(
            f"the baseline of {model} is not plain JSON: {error}.",
            remedy="Build it again with `driftline baseline build`.",
        ) from error
    if len(value) > COMMAND_BYTES_MAX:
        raise OperatorError(
            f"the baseline of {model} needs {len(value)} bytes, a command may have {COMMAND_BYTES_MAX}.",
            remedy="Build it from fewer features.",
        )
    return OutputRecord(key=model.encode(), value=value, headers=(("content-type", b"application/json"),))
