"""Alert records: CloudEvents headers, key, canonical JSON, and the line for a terminal."""

import json
import math
from typing import Any

import pytest

from driftline.decide.outputs import Alert
from driftline.errors import BugError
from driftline.publish.alerts import describe, encode, message


def alert(signal: str = "age", **data: Any) -> Alert:
    """An opened alert with the given data."""
    return Alert("id-1", "driftline.alert.opened", 1_795_428_000_123, "credit-risk", signal, 7, data)


def test_attributes_are_headers_of_binary_mode() -> None:
    """CloudEvents 1.0, Kafka binding, binary mode: ce_* headers, the data alone is the value."""
    record = encode(alert(id="id-1"))
    assert dict(record.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"id-1",
        "ce_source": b"/driftline/credit-risk",
        "ce_type": b"driftline.alert.opened",
        "ce_time": b"2026-11-23T10:00:00.123Z",
        "ce_subject": b"age",
        "content-type": b"application/json",
    }
    assert record.key == b"credit-risk/age"


@pytest.mark.parametrize(
    ("signal", "key"),
    [
        ("a/b", b"credit-risk/a%2Fb"),
        ("sepal length (cm)", b"credit-risk/sepal%20length%20%28cm%29"),
        ("größe", b"credit-risk/gr%C3%B6%C3%9Fe"),
        ("a%2Fb", b"credit-risk/a%252Fb"),
    ],
)
def test_key_keeps_signals_apart(signal: str, key: bytes) -> None:
    """No two signals share a key, whatever their names hold."""
    assert encode(alert(signal)).key == key


def test_value_is_canonical_json() -> None:
    """Order as given, compact, UTF-8 as it is: the same alert gives the same bytes."""
    record = encode(alert(z=1, a=[0.1, None, "é\n"], m={"k": True}))
    assert record.value == '{"z":1,"a":[0.1,null,"é\\n"],"m":{"k":true}}'.encode()
    assert encode(alert(z=1, a=[0.1, None, "é\n"], m={"k": True})) == record


@pytest.mark.parametrize("bad", [math.nan, math.inf, object(), "\ud800"])
def test_data_that_is_not_json_is_our_bug(bad: object) -> None:
    """A NaN must not reach the topic as the token NaN, which is no JSON."""
    with pytest.raises(BugError, match="id-1"):
        encode(alert(x=bad))


def test_describe_is_one_line() -> None:
    """Time, what happened, how bad, what."""
    line = describe(
        {
            "time": "2026-11-23T10:00:00.000Z",
            "type": "driftline.alert.opened",
            "severity": "warning",
            "summary": "s",
        }
    )
    assert line == "2026-11-23T10:00:00.000Z  opened    warning   s"


def test_describe_lets_no_control_character_through() -> None:
    """A feature's name cannot move the cursor, colour the terminal, ring, or turn the text around."""
    hostile = "a\x1b[31mred\r\nFAKE\x07\u202etxt\u2028b\x9bc"
    line = describe(dict.fromkeys(("time", "type", "severity", "summary", "model", "signal"), hostile))
    assert line.isprintable()
    assert "\\x1b[31mred\\r\\nFAKE\\x07\\u202etxt\\u2028b\\x9bc" in line


@pytest.mark.parametrize(
    "data", [{}, {"summary": 5, "time": None, "severity": []}, {"model": "m", "signal": {}}]
)
def test_describe_takes_anything(data: dict[str, object]) -> None:
    """What comes from a topic need not be what it should be."""
    assert describe(data).isprintable()


def test_describe_is_bounded() -> None:
    """An endless summary becomes a line with an ellipsis."""
    line = describe({"summary": "x" * 100_000})
    assert len(line) < 500
    assert line.endswith("…")


def test_alert_value_round_trips() -> None:
    """The value is the data and nothing else."""
    data: dict[str, Any] = {"id": "id-1", "evidence": [{"statistic": 1.5}]}
    assert json.loads(encode(alert(**data)).value) == data


def test_what_people_said_stands_at_the_end_of_the_line() -> None:
    """Muted until when and by whom, acknowledged, back, and the incident of several signals."""
    line = describe(
        {
            "summary": "s", "signal": "a", "muted": True, "reopened": True, "incident": "0a1b2c3d-1",
            "mute": {"until": "2026-11-25T18:00:00.000Z", "by": "jane\x1b"}, "acknowledged": {"by": "joe"},
            "incident_signals": [{"signal": "a"}, {"signal": "b"}], "incident_open": 2,
        }
    )  # fmt: skip
    assert line.endswith(
        "s  [muted until 2026-11-25T18:00:00.000Z by jane\\x1b]  [acknowledged by joe]  "
        "[back within the cooldown]  [incident 0a1b2c3d]"
    )


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"mute": [], "incident_signals": 3, "how_sure": 1},
        {"incident_signals": [[], {"signal": "\u202e"}]},
    ],
)
def test_a_message_takes_anything(data: dict[str, object]) -> None:
    """From a first line to where to look; whatever comes from a topic stays text."""
    first, *_, last = message(data)
    assert (first, last) == ("?: ?", "  look at        driftline alerts show ?")
    assert all(line.isprintable() for line in message(data))
