import json
from typing import Any

import pytest

from driftline.publish.notify.notice import SUMMARY_CHARS_MAX, body, read
from harness.notices import OPENED, alert, record


def test_an_alert_of_the_service_is_read() -> None:
    """What publish.alerts writes, with the fields that targets are told."""
    data = alert("resolved", sequence=2, runbook="https://example.org/r", muted=True)
    notice = read(record(data).value)
    assert notice is not None
    assert (notice.id, notice.event, notice.model, notice.signal) == (
        data["id"],
        "resolved",
        "credit-risk",
        "age",
    )
    assert (notice.severity, notice.episode, notice.muted) == ("warning", 1, True)
    assert notice.data == data


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"null",
        b"[]",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"id": NaN}',
        b"{}",
    ],
)
def test_what_is_no_alert_is_none(value: bytes | None) -> None:
    """Anything may lie on a topic; nothing of it is sent."""
    assert read(value) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": "x\r\nX-Injected: 1"},
        {"id": OPENED["id"] + "\n"},
        {"id": 7},
        {"type": "driftline.alert.vanished"},
        {"model": "a b"},
        {"model": "m\n"},
        {"model": "m\r\nHost: x"},
        {"severity": "awful"},
        {"episode": "1"},
        {"time": "yesterday"},
        {"opened_at": "2026-11-23T14:12:09Z\n"},
        {"summary": None},
    ],
)
def test_a_field_that_breaks_the_schema_makes_it_no_alert(wrong: dict[str, Any]) -> None:
    """Ids and models go into headers and labels: they are checked once, here."""
    assert read(json.dumps(OPENED | wrong).encode()) is None


def test_a_summary_is_one_safe_line_of_bounded_length() -> None:
    """Control and bidirectional characters are shown as escapes."""
    notice = read(json.dumps(OPENED | {"summary": "a\x1b[31m\n\u202eb" + "x" * 9_999}).encode())
    assert notice is not None
    assert notice.summary.startswith("a\\x1b[31m\\n\\u202ebxx")
    assert len(notice.summary) <= SUMMARY_CHARS_MAX + 30  # escapes are longer than what they stand for


def test_half_a_surrogate_pair_can_be_sent() -> None:
    """JSON can spell it, UTF-8 cannot: bodies are ASCII."""
    notice = read(b'{"x": 1, ' + json.dumps(OPENED | {"signal": "\ud800"}).encode()[1:])
    assert notice is not None
    assert b"\\ud800" in body(dict(notice.data))
