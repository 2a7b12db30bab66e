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
STATES: Final = ("opened", "updated", "resolved")  # how the types of alerts end
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
    line = f"{when}  {event:<8}  {severity:<8}  {printable(summary, LINE_CHARS_MAX)}"
    return "".join([line, *(f"  [{remark}]" for remark in remarks(data))])


def message(data: Mapping[str, object]) -> list[str]:
    """An alert as a person reads it: the first line, then how sure it is, what to check first, where to look.

    Each line is safe to print; ``data`` may come from a topic.
    """
    summary = _text(data, "summary") or f"{_text(data, 'model') or '?'}: {_text(data, 'signal') or '?'}"
    facts = [
        ("how sure", _text(data, "how_sure")),
        ("check first", _text(data, "check_first")),
        *(("", remark) for remark in _people(data)),
        ("together with", _together(data)),
        (
            "look at",
            f"driftline alerts show {_text(data, 'id')[:8] or '?'}   {_text(data, 'runbook')}".strip(),
        ),
    ]
    lines = [f"  {name:<13}  {printable(text, LINE_CHARS_MAX)}" for name, text in facts if text]
    return [printable(summary, LINE_CHARS_MAX), *lines]


def _together(data: Mapping[str, object]) -> str:
    """The other signals of the incident, the largest effect first."""
    signals, count = data.get("incident_signals"), data.get("incident_open")
    names = [_text(s, "signal") for s in signals if isinstance(s, dict)] if isinstance(signals, list) else []
    others = ", ".join(f'"{name}"' for name in names if name and name != data.get("signal"))
    number = _text(data, "incident").partition("-")[0] or "?"
    still = count if isinstance(count, int) else "?"
    return f"{others} (incident {number}, {still} open)" if others else ""


def remarks(data: Mapping[str, object]) -> list[str]:
    """What people said of an alert and what else belongs to it, each safe to print; ``data`` as above.

    >>> remarks({"muted": True, "mute": {"until": "2026-11-25T18:00:00.000Z", "by": "jane"}})
    ['muted until 2026-11-25T18:00:00.000Z by jane']
    """
    others = [f"incident {_text(data, 'incident').partition('-')[0]}"] if _together(data) else []
    return [printable(remark) for remark in (*_people(data), *others)]


def _people(data: Mapping[str, object]) -> list[str]:
    """What people said of the alert, and whether it was there before."""
    mute, seen = (_object(data, key) for key in ("mute", "acknowledged"))
    found = []
    if mute:
        found.append(f"muted until {_text(mute, 'until') or '?'} by {_text(mute, 'by') or '?'}")
    if seen:
        found.append(f"acknowledged by {_text(seen, 'by') or '?'}")
    if data.get("reopened") is True:
        found.append("back within the cooldown")
    return found


def _object(data: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _text(data: Mapping[str, object], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""
