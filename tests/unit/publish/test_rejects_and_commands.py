"""Records of the rejects and commands topics."""

import base64
import json

import pytest

from driftline.errors import OperatorError
from driftline.publish import commands, rejects
from driftline.records import COMMAND_BYTES_MAX, RECORD_BYTES_MAX, Reject, RejectCode, Source

REJECT = Reject(
    Source("inference.events", 3), 17, 1_795_428_000_123, RejectCode.SYNTAX, "at byte 4", "ab" * 16
)


def test_reject_names_origin_and_reason() -> None:
    """Without payload: the origin, the code, the detail and the hash, nothing of the row."""
    record = rejects.encode(REJECT, b"k")
    assert json.loads(record.value) == {
        "origin": {"topic": "inference.events", "partition": 3, "offset": 17, "timestamp": 1_795_428_000_123},
        "code": "syntax",
        "detail": "at byte 4",
        "digest": "ab" * 16,
    }
    assert record.key == b"k"
    assert ("driftline_code", b"syntax") in record.headers


@pytest.mark.parametrize("key", [None, b"", b"x" * (rejects.KEY_BYTES_MAX + 1)])
def test_reject_without_usable_key_is_keyed_by_origin(key: bytes | None) -> None:
    """One constant key would send all rejects to one partition."""
    assert rejects.encode(REJECT, key).key == b"inference.events/3/17"


@pytest.mark.parametrize("size", [0, 5, rejects.PAYLOAD_BYTES_MAX, rejects.PAYLOAD_BYTES_MAX + 1, 3 << 20])
def test_reject_payload_is_bounded(size: int) -> None:
    """At most 64 KiB of the row, and its full length."""
    payload = bytes(i % 251 for i in range(size))
    record = rejects.encode(REJECT, None, payload)
    body = json.loads(record.value)
    assert base64.b64decode(body["payload"]) == payload[: rejects.PAYLOAD_BYTES_MAX]
    assert body["payload_bytes"] == size
    assert len(record.value) < RECORD_BYTES_MAX


def test_reject_detail_is_escaped_and_bounded() -> None:
    """A key's name from a broken row is still an attacker's text."""
    hostile = Reject(REJECT.source, 1, 2, RejectCode.DUPLICATE_KEY, "\x1b[2J" + "k" * 9_999, "ab" * 16)
    detail = json.loads(rejects.encode(hostile).value)["detail"]
    assert detail.startswith("\\x1b[2Jkkk")
    assert detail.isprintable()
    assert len(detail) < 300


def test_promote_command() -> None:
    """Keyed by the model; carries the baseline itself."""
    record = commands.promote("m:1", {"format": 1, "signals": []}, by="jane", why="retrained")
    assert record.key == b"m:1"
    assert json.loads(record.value) == {
        "type": "baseline.promote",
        "model": "m:1",
        "baseline": {"format": 1, "signals": []},
        "by": "jane",
        "why": "retrained",
    }


@pytest.mark.parametrize("model", ["", "a b", "a\n", "x" * 129, "../m"])
def test_promote_refuses_bad_model_ids(model: str) -> None:
    """The same pattern as everywhere; a trailing newline does not slip through."""
    with pytest.raises(OperatorError, match="model id"):
        commands.promote(model, {}, by="", why="")


def test_promote_refuses_what_no_record_can_hold() -> None:
    """The producer would fail later with a message about requests."""
    with pytest.raises(OperatorError, match=r"needs \d+ bytes"):
        commands.promote("m", {"x": "y" * COMMAND_BYTES_MAX}, by="", why="")


def test_promote_refuses_what_is_not_json() -> None:
    """NaN is no JSON."""
    with pytest.raises(OperatorError, match="plain JSON"):
        commands.promote("m", {"x": float("nan")}, by="", why="")


@pytest.mark.parametrize("action", ["mute", "unmute", "close", "ack"])
@pytest.mark.parametrize("signal", [None, "age"])
def test_commands_on_alerts(action: commands.AlertAction, signal: str | None) -> None:
    """Keyed by the model; a hostile reason is escaped, because it will stand in alerts."""
    end = 1_795_629_600_000 if action == "mute" else None
    record = commands.on_alerts(action, "m", signal, by="jane", why="\x1b[2Jx", until_ms=end)
    body = json.loads(record.value)
    assert record.key == b"m"
    assert (body["type"], body.get("signal"), body["why"]) == (f"alert.{action}", signal, "\\x1b[2Jx")
    assert body.get("until") == ("2026-11-25T18:00:00.000Z" if end else None)


@pytest.mark.parametrize(("by", "why"), [("", "x"), ("jane", " ")])
def test_commands_on_alerts_need_a_name_and_a_reason(by: str, why: str) -> None:
    """An alert muted by nobody for nothing helps nobody."""
    with pytest.raises(OperatorError, match="is empty"):
        commands.on_alerts("ack", "m", None, by=by, why=why)


def test_reset_command() -> None:
    """The model learns again."""
    body = json.loads(commands.reset("m", by="jane", why="new population").value)
    assert body == {"type": "baseline.reset", "model": "m", "by": "jane", "why": "new population"}
