"""Actions: when rules are met, what is said, and that cuts and restarts change nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from driftline.config import Settings, load_settings
from driftline.config.settings import ActionSettings
from driftline.decide.actions import MARK_MS, MARKS_MAX, Actions, Facts, Trail
from driftline.decide.outputs import Action, Alert
from driftline.decide.partition import MailboxPartition
from driftline.decide.replay import TOPIC_ID, Replay
from driftline.decide.texts import rfc3339
from driftline.detect.performance import HOUR_MS
from driftline.errors import MessageError
from driftline.ingest.decode.slow import parse_rfc3339
from driftline.publish.actions import describe, encode
from driftline.records import Source
from harness.decisions import CONTEXT, PROGRESS, SOURCE, block

T0 = 1_795_000_000_000
ERRORS = "performance.error_rate"
FACTS = Facts(10, "3", "abc", 0.9, 1_000)


def alert(
    signal: str, hour: float, state: str = "open", severity: str = "warning", kind: str = "feature"
) -> Alert:
    """A change of state at an hour; its onset is half an hour before."""
    time = T0 + round(hour * HOUR_MS)
    data = {
        "signal_kind": kind, "state": state, "severity": severity, "episode": 1,
        "onset": rfc3339(time - HOUR_MS // 2), "opened_at": rfc3339(time),
    }  # fmt: skip
    return Alert(f"id-{signal}-{hour}", "t", time, "m", signal, 0, data)


def actions(*rules: dict[str, Any], cooldown: float = 24.0) -> Actions:
    """Of a model with rules."""
    return Actions("m", ActionSettings.model_validate({"rules": rules, "cooldown_hours": cooldown}))


def hours(found: Sequence[Action]) -> list[float]:
    """When actions were asked for."""
    return [(a.time_ms - T0) / HOUR_MS for a in found]


def follow(a: Actions, alerts: Sequence[Alert], until: float) -> list[Action]:
    """Follow alerts and time up to an hour."""
    return a.follow(alerts, T0 + round(until * HOUR_MS), lambda: FACTS, CONTEXT)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"severity": "warning"}, [1.0]),
        ({"severity": "critical"}, [3.0]),
        ({"signal": "b"}, [2.0]),
        ({"signal": "kpi.*"}, [4.0]),
        ({"drifted_share": 0.3}, [3.0]),
        ({"drifted_share": 0.4}, []),
        ({"lasting_hours": 5.0}, [6.0]),
        ({"lasting_hours": 50.0}, []),
        ({"signal": "b", "severity": "critical"}, []),
        ({"signal": "driftline.traffic"}, []),
    ],
)
def test_a_rule_is_met_when_all_its_conditions_hold_for_an_episode(
    rule: dict[str, Any], expected: list[float]
) -> None:
    """Episodes open at hours 1 to 4; one of traffic does not count."""
    told = [
        alert("a", 1), alert("b", 2), alert("c", 3, severity="critical"), alert("kpi.recall", 4, kind="kpi"),
        alert("driftline.traffic", 4, kind="model"),
    ]  # fmt: skip
    assert hours(follow(actions(rule), told, 10)) == expected


def test_an_episode_that_ends_before_its_deadline_asks_for_nothing() -> None:
    """Errors for an hour and a half, two hours are asked for; later for three."""
    rule = {"signal": ERRORS, "lasting_hours": 2}
    told = [alert(ERRORS, 1, kind="performance"), alert(ERRORS, 2.5, "resolved", kind="performance")]
    told += [alert(ERRORS, 5, kind="performance"), alert(ERRORS, 8, "resolved", kind="performance")]
    assert hours(follow(actions(rule), told, 20)) == [7.0]


def test_a_model_is_quiet_during_the_cooldown_and_asks_again_while_a_rule_holds() -> None:
    """Open from hour 1 to hour 30, a cooldown of 10 hours."""
    told = [alert("a", 1), alert("b", 4), alert("a", 30, "resolved"), alert("b", 30, "resolved")]
    found = follow(actions({"severity": "info"}, cooldown=10), told, 100)
    assert hours(found) == [1.0, 11.0, 21.0]
    assert [a.data["number"] for a in found] == [1, 2, 3]
    assert len({a.id for a in found}) == 3


def test_an_action_says_why_and_where_the_data_is() -> None:
    """Reasons in words, the earliest onset, ranges by raw partition, coverage, version."""
    a = actions({"signal": ERRORS, "lasting_hours": 2}, {"severity": "critical"})
    rows = block({"x": np.zeros(60)})
    times = T0 + np.arange(60) * HOUR_MS // 10
    Trail.mark(a.trail.marks.setdefault(SOURCE, []), times, rows.offset)
    told = [alert(ERRORS, 1, kind="performance"), alert("b", 2, severity="critical")]
    told += [alert("c", 2, severity="critical")]
    (first,) = follow(a, told[:2], 2.5)
    data: Any = first.data
    assert data["summary"] == 'm: asks to be retrained: "b" is abnormal (critical)'
    assert data["reasons"][0]["rule"] == {"severity": "critical"}
    assert data["fresh"] == {
        "since": rfc3339(T0 + 3 * HOUR_MS // 2), "until": rfc3339(T0 + 2 * HOUR_MS),
        "ranges": [{"topic": "events", "partition": 0, "from": 15, "to": 20}],
    }  # fmt: skip
    assert data["labels"] == {"coverage": 0.9, "joined": 1_000}
    assert (data["model_version"], data["reference"]) == ("3", "abc")
    assert data["signals"][0]["alert_id"] == "id-b-2"
    assert data["cooldown_until"] == rfc3339(T0 + 26 * HOUR_MS)
    (second,) = follow(a, told[2:], 26.0)
    assert second.data["summary"] == (
        f'm: asks to be retrained: "{ERRORS}" has been abnormal for 1 day 1 hour (warning); '
        '"b" is abnormal (critical), as is "c"'
    )
    assert encode(second).key == b"m"
    assert dict(encode(second).headers)["ce_type"] == b"driftline.action.retrain"
    assert describe(second.data).startswith("2026-11-19T")


@given(
    steps=st.lists(st.integers(-MARK_MS, 40 * MARK_MS), min_size=1, max_size=400),
    cuts=st.lists(st.integers(0, 400), max_size=4),
    since=st.integers(0, 400),
)
def test_marks_do_not_depend_on_cuts_and_ranges_miss_nothing_at_their_beginning(
    steps: list[int], cuts: list[int], since: int
) -> None:
    """Rows cut anywhere leave the same marks; all rows of after an onset are at or behind ``from``."""
    times = T0 + np.cumsum(steps)
    offsets = np.arange(len(times), dtype=np.int64)
    whole: list[tuple[int, int]] = []
    Trail.mark(whole, times, offsets)
    pieces: list[tuple[int, int]] = []
    for part in np.split(np.arange(len(times)), sorted(min(c, len(times)) for c in cuts)):
        Trail.mark(pieces, times[part], offsets[part])
    assert pieces == whole
    assert len(whole) <= MARKS_MAX
    onset = int(times[min(since, len(times) - 1)])
    (found,) = Trail({SOURCE: whole}).ranges(onset, int(times.max()))
    first = int(np.flatnonzero(np.maximum.accumulate(times) >= onset)[0])
    assert found["from"] <= max(first, 0)
    assert found["to"] >= found["from"]


@pytest.mark.parametrize("days", [1, 30])
def test_marks_get_sparser_with_age_and_no_gap_is_large_beside_it(days: int) -> None:
    """After a day and a month of a row every half minute: each gap is under 8 % of its age."""
    marks: list[tuple[int, int]] = []
    rows = np.arange(days * 2_880, dtype=np.int64)
    Trail.mark(marks, T0 + rows * 30_000, rows)
    times = np.array([time for time, _ in marks])
    assert len(marks) == MARKS_MAX
    assert times[-1] - times[-2] == MARK_MS
    gaps, age = np.diff(times), times[-1] - times[:-1]
    assert (gaps <= np.maximum(0.08 * age, 2 * MARK_MS)).all()


def test_the_raw_partitions_with_marks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a partition is in no range."""
    monkeypatch.setattr("driftline.decide.actions.SOURCES_MAX", 0)
    trail = Trail()
    trail.add(block({"x": np.zeros(3)}), PROGRESS)
    assert not trail.marks


def test_stored_actions_that_cannot_be_are_refused() -> None:
    """Marks of no source, of another shape, or a severity that there is not."""
    a = actions({"severity": "info"})
    a.trail.add(block({"x": np.zeros(3)}), PROGRESS)
    follow(a, [alert("a", 1)], 2)
    header, arrays = a.shard()
    again = actions({"severity": "info"})
    again.restore(json.loads(json.dumps(header)), arrays)
    assert again == a
    with pytest.raises(MessageError, match="of no source"):
        again.restore(header, {"marks": arrays["marks"] + 1})
    with pytest.raises(MessageError, match="another shape"):
        again.restore(header, {"marks": arrays["marks"][0]})
    header["actions"]["open"][0]["severity"] = "dire"
    with pytest.raises(MessageError, match="are none"):
        again.restore(header, arrays)


def test_a_rule_that_says_nothing_is_refused() -> None:
    """An empty rule would ask at every episode."""
    with pytest.raises(ValidationError, match="at least one of signal"):
        ActionSettings.model_validate({"rules": [{}]})


def test_times_come_back_from_their_text() -> None:
    """To the millisecond."""
    assert parse_rfc3339(rfc3339(T0 + 123)) == T0 + 123


# --- through the pipeline

ROWS = 12_000


def settings(**changed: Any) -> Settings:
    """Rules on severity and on lasting errors."""
    rules = [{"signal": "x", "lasting_hours": 0.5}, {"signal": ERRORS, "lasting_hours": 0.25}]
    detection = {
        "learning_rows": 1_000,
        "labels": {"reference_rows": 1_000},
        "actions": {"cooldown_hours": 1.0, "rules": rules},
    }
    return load_settings(None, ingest={"discover_models": True}, detection=detection | changed)


def lines() -> tuple[list[bytes], list[bytes]]:
    """A row a second; x moves at row 4,000, predictions are wrong twice as often from row 6,000 on."""
    dice = np.random.default_rng(4)
    x = dice.normal(size=ROWS) + 1.0 * (np.arange(ROWS) >= 4_000)
    wrong = dice.random(ROWS) < np.where(np.arange(ROWS) >= 6_000, 0.4, 0.1)
    events, labels = [], []
    for i in range(ROWS):
        time = T0 + 1_000 * i
        features = {"x": float(x[i]), "y": float(i % 7)}
        body = {"id": str(i), "model": "m", "model_version": "3", "time": time, "features": features}
        events.append(json.dumps({**body, "prediction": {"class": "a"}}).encode())
        label = {"id": str(i), "model": "m", "time": time + 60_000, "label": "b" if wrong[i] else "a"}
        labels.append(json.dumps(label).encode())
    return events, labels


def replayed(size: int, restart_at: int | None = None) -> list[dict[str, Any]]:
    """All actions of a replay in batches, with a restart from the stored state before a batch."""
    events, labels = lines()
    configured = settings()
    run = Replay(configured)
    run.add_labels(labels)
    stored: dict[bytes, bytes | None] = {}
    for at in range(0, ROWS, size):
        if restart_at is not None and at >= restart_at:
            checkpoint = run.partition.checkpoint()
            assert checkpoint is not None
            stored = {key: value for row in checkpoint.state for key, value in row.records()}
            run.partition = MailboxPartition.restore(
                {key: value for key, value in stored.items() if value is not None},
                partition=0, topic_id=TOPIC_ID, partitions=1, settings=configured.detection,
                models=configured.models, revision=configured.revision(), runbook_url=configured.runbook_url,
            )  # fmt: skip
            assert not run.partition.drain_notes()
            restart_at = None
        run.feed(events[at : at + size])
    run.finish()
    return [dict(action.data) for action in run.take_actions()]


def test_a_replay_asks_for_the_same_whatever_the_batches_and_restarts() -> None:
    """Ids, times, reasons and ranges are those of one pass; facts are of the batch's end."""
    whole = replayed(ROWS)
    assert [a["number"] for a in whole] == [1, 2]
    assert "x" in whole[0]["summary"]
    assert ERRORS in whole[1]["summary"]
    assert {r["topic"] for r in whole[0]["fresh"]["ranges"]} == {"inference.events", "labels"}
    first = whole[0]["fresh"]["ranges"][0]
    assert 3_900 <= first["from"] <= 4_001

    def lasting(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{k: v for k, v in a.items() if k != "labels"} for a in found]

    assert lasting(replayed(500)) == lasting(whole)
    assert lasting(replayed(500, restart_at=6_500)) == lasting(whole)


def test_rules_that_are_added_later_know_what_is_open() -> None:
    """A configuration with rules replaces one without while an episode is open."""
    events, _ = lines()
    plain, ruled = settings(actions={}), settings()
    run = Replay(plain)
    run.feed(events[:5_000])
    checkpoint = run.partition.checkpoint()
    assert checkpoint is not None
    assert not any(b"|actions" in row.key for row in checkpoint.state)
    rows = {key: value for row in checkpoint.state for key, value in row.records() if value is not None}
    run.partition = MailboxPartition.restore(
        rows, partition=0, topic_id=TOPIC_ID, partitions=1, settings=ruled.detection, models=ruled.models,
        revision=ruled.revision(), runbook_url="",
    )  # fmt: skip
    run.feed(events[5_000:])
    (action, *_) = run.take_actions()
    (found,) = json.loads(json.dumps(action.data))["signals"]
    assert (found["signal"], found["episode"]) == ("x", 1)
    opened = parse_rfc3339(found["opened_at"])
    assert opened is not None
    assert opened < T0 + 5_000_000


def test_without_rules_nothing_is_asked() -> None:
    """Off by default."""
    run = Replay(load_settings(None, ingest={"discover_models": True}, detection={"learning_rows": 1_000}))
    run.feed(lines()[0])
    assert run.summary.alerts["opened"]
    assert not run.take_actions()
    assert run.partition.models["m"].actions is None
    assert run.views()[0].actions == 0
    assert Source("inference.events", 0) == run.source
