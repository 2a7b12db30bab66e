"""Commands on alerts and references, carried out on a partition: what is told, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from driftline.decide.model_view import view_of
from driftline.decide.outputs import Alert
from driftline.detect.actor import Phase
from driftline.detect.kernels.state import STATUS_OK
from harness.decisions import STEP_MS, file_reference
from harness.story import WHO, Story

RNG = np.random.default_rng(3)
NAMES = ("age", "income", "visits")
REFERENCE = file_reference({name: RNG.normal(0, 1, 5_000) for name in NAMES})


class Watched(Story):
    """A model with three numeric features."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(REFERENCE, **settings)

    def shifted(self, n: int, **shift: float) -> list[Alert]:
        """The next rows: like the reference, some signals shifted."""
        rng = np.random.default_rng(self.row)
        return self.rows({name: rng.normal(shift.get(name, 0.0), 1, n) for name in NAMES})

    def restarted(self) -> None:
        """Store everything and go on from what was stored."""
        self.store()
        assert self.restart() == []


def at(seconds: float) -> str:
    """Seconds of record time as RFC 3339."""
    return f"1970-01-01T00:{int(seconds) // 60:02d}:{seconds % 60:06.3f}Z"


def shown(alerts: list[Alert]) -> list[tuple[str, str, Any]]:
    """What happened to which signal, and whether it pages."""
    return [(a.type.rpartition(".")[2], a.signal, a.data["page"]) for a in alerts]


def drifting(**settings: Any) -> Watched:
    """``age`` has an open episode."""
    story = Watched(**settings)
    story.shifted(1_000)
    assert shown(story.shifted(400, age=2.0)) == [("opened", "age", True)]
    return story


def test_muted_alerts_stay_on_the_topic_and_page_nobody() -> None:
    """An opening under a mute has everything but a page, says who muted it, and the metric knows."""
    story = Watched()
    story.shifted(500)
    assert story.command("alert.mute", signal="age", until=at(100)) == []
    assert 'model m: "age" is muted until 1970-01-01T00:01:40.000Z by jane' in story.note()
    (alert,) = story.shifted(1_000, age=2.0)
    assert (alert.type, alert.data["page"], alert.data["muted"]) == ("driftline.alert.opened", False, True)
    assert alert.data["mute"] == {"until": "1970-01-01T00:01:40.000Z", **WHO}
    (view,) = [s for s in view_of(story.partition.models["m"]).signals if s.name == "age"]
    assert (view.severity, view.standing) == ("critical", "muted")


@pytest.mark.parametrize("restart", [False, True])
def test_what_is_open_when_a_mute_ends_is_told_again(restart: bool) -> None:
    """At the row whose record time is the deadline, as an update that pages."""
    story = Watched()
    story.command("alert.mute", until=at(20))
    assert shown(story.shifted(1_200, age=2.0)) == [("opened", "age", False)]
    if restart:
        story.restarted()
    (again,) = story.shifted(1_000, age=2.0)
    assert shown([again]) == [("updated", "age", True)]
    assert again.time_ms == 20_000 - STEP_MS  # of the last row before the deadline
    assert again.data["update"] == {"reason": "unmuted"}
    assert "the mute by jane ended at 1970-01-01T00:00Z" in str(again.data["summary"])
    assert again.data["muted"] is False
    assert again.data["evidence"] != []


def test_a_mute_ends_without_an_event_of_the_model() -> None:
    """Partition time passes with the traffic of others; the model is stored again."""
    story = Watched()
    story.command("alert.mute", until=at(30))
    story.shifted(1_200, age=2.0)
    story.partition.checkpoint()
    assert story.silence(800) == []
    assert shown(story.silence(1_100)) == [("updated", "age", True)]
    checkpoint = story.partition.checkpoint()
    assert checkpoint is not None
    assert any(row.key == b"m|m|meta" for row in checkpoint.state)


def test_a_signal_is_muted_as_long_as_any_mute_of_it_lasts() -> None:
    """That of the model ends first, nothing is told; then that of the signal."""
    story = drifting()
    assert shown(story.command("alert.mute", signal="age", until=at(60))) == [("updated", "age", False)]
    story.command("alert.mute", until=at(30))
    assert story.silence(2_600) == []
    assert shown(story.silence(3_000)) == [("updated", "age", True)]


def test_unmute_tells_what_is_open() -> None:
    """Before its time, by whom and why."""
    story = drifting()
    story.command("alert.mute", until=at(1_000))
    (alert,) = story.command("alert.unmute")
    assert shown([alert]) == [("updated", "age", True)]
    assert str(alert.data["summary"]).endswith("no longer muted: jane ended it: the import is being repaired")
    assert story.command("alert.unmute") == []
    assert "model m is not muted; muted: nothing" in story.note()


def test_acknowledged_until_it_resolves() -> None:
    """It is told once, pages no more, and the resolution still names who dealt with it."""
    story = drifting()
    (alert,) = story.command("alert.ack")
    assert shown([alert]) == [("updated", "age", False)]
    assert alert.data["acknowledged"] == {"at": "1970-01-01T00:00:14.000Z", **WHO}
    assert view_of(story.partition.models["m"]).signals[0].standing == "acknowledged"
    story.restarted()
    grown = story.shifted(8_000, age=-3.0)  # it turns round: that would page
    assert {(kind, page) for kind, _, page in shown(grown)} == {("updated", False)}
    resolved = [a for a in story.shifted(12_000) if a.data["state"] == "resolved"]
    assert [a.data["acknowledged"] for a in resolved] == [alert.data["acknowledged"]]
    (opened, *_) = story.shifted(2_000, age=6.0)
    assert "acknowledged" not in opened.data


def test_close_ends_the_episode_and_starts_anew() -> None:
    """Resolved, by whom and why; a change that stays opens again and pages: the repair did not help."""
    story = drifting()
    (alert,) = story.command("alert.close", signal="age")
    assert shown([alert]) == [("resolved", "age", False)]
    assert alert.data["cause"] == "closed by jane: the import is being repaired"
    assert alert.data["duration_seconds"] is not None
    detection = story.partition.models["m"].actor.detection
    assert detection is not None
    assert set(detection.state["status"].tolist()) == {STATUS_OK}
    (again,) = story.shifted(400, age=2.0)
    assert shown([again]) == [("opened", "age", True)]
    assert (again.data["episode"], again.data["reopened"]) == (2, False)
    assert story.shifted(8_000) != []


def test_close_of_the_traffic() -> None:
    """Its two channels start anew."""
    story = Watched()
    story.shifted(2_000)
    model = story.partition.models["m"]
    model.episodes.begin(
        "driftline.traffic", 0, opened_time=0, onset_time=0, severity="warning", channel="too-few",
        direction="down",
    )  # fmt: skip
    rate = model.actor.detection.rate if model.actor.detection else None
    assert rate is not None
    rate.state["n"] = 7
    assert shown(story.command("alert.close", signal="driftline.traffic")) == [
        ("resolved", "driftline.traffic", False)
    ]
    assert rate.state["n"].tolist() == [0, 0]


def test_back_within_the_cooldown_is_the_same_incident_and_pages_nobody() -> None:
    """Another episode with its own id; after the cooldown it is news."""
    for cooldown, page in ((3_600.0, False), (10.0, True)):
        story = drifting(cooldown_seconds=cooldown)
        first = story.partition.models["m"].life.of_events.incidents[0]
        (resolved,) = (a for a in story.shifted(16_000) if a.data["state"] == "resolved")
        assert resolved.data["incident_open"] == 0
        story.restarted()
        (back,) = [a for a in story.shifted(400, age=2.0) if a.type.endswith("opened")]
        assert (back.data["page"], back.data["reopened"], back.data["episode"]) == (page, not page, 2)
        assert (back.data["incident"] == resolved.data["incident"]) is not page
        assert first.signal == "age"


def test_signals_that_move_together_are_one_incident() -> None:
    """The second one joins, pages nobody, and the largest effect comes first."""
    story = Watched()
    story.shifted(1_000)
    alerts = story.shifted(600, age=1.0, income=3.0)
    assert [a.type.rpartition(".")[2] for a in alerts] == ["opened", "opened"]
    assert sum(bool(a.data["page"]) for a in alerts) == 1
    assert len({a.data["incident"] for a in alerts}) == 1
    signals: Any = alerts[1].data["incident_signals"]
    assert [s["signal"] for s in signals] == ["income", "age"]
    assert alerts[1].data["incident_open"] == 2


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("alert.mute", {}, "'until' is missing"),
        ("alert.mute", {"until": "tomorrow"}, "no RFC 3339 time with a zone"),
        ("alert.mute", {"until": at(1)}, "was over when the command came"),
        ("alert.mute", {"until": "1972-01-01T00:00:00Z"}, "more than a year away"),
        ("alert.mute", {"until": at(100), "signal": "agee"}, 'no signal "agee"; the nearest is "age"'),
        ("alert.mute", {"until": at(100), "signal": ["age"]}, '"signal" is no text'),
        ("alert.mute", {"until": at(100), "why": ""}, '"why" must be 1 to'),
        ("alert.mute", {"until": at(100), "by": "x\x1b[2J"}, '"by" must be 1 to'),
        ("alert.unmute", {"signal": "income"}, 'muted: the whole model'),
        ("alert.close", {}, "'signal' is missing"),
        ("alert.close", {"signal": "income"}, '"income" has no open episode; open: "age"'),
        ("alert.ack", {"signal": "income"}, '"income" has no open episode; open: "age"'),
        ("baseline.reset", {"why": 7}, '"why" must be 1 to'),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(kind: str, body: Mapping[str, object], words: str) -> None:
    """It changes nothing; the log says what to do better."""
    story = drifting()
    story.command("alert.mute", until=at(500))
    story.partition.drain_notes()
    before = story.partition.models["m"].life.to_json()
    assert story.command(kind, **body) == []
    note = story.note()
    assert "refused" in note
    assert words in note
    assert story.partition.models["m"].life.to_json() == before


def test_acknowledge_needs_something_open() -> None:
    """A quiet model has nothing to acknowledge."""
    story = Watched()
    assert story.command("alert.ack") == []
    assert "no episode of the model is open" in story.note()


def test_a_model_that_learns_again() -> None:
    """Open episodes end, the next rows are learned, then a change to the new reference is found."""
    story = drifting(learning_rows=1_000)
    (alert,) = story.command("baseline.reset")
    assert shown([alert]) == [("resolved", "age", False)]
    model = story.partition.models["m"]
    assert model.actor.phase is Phase.LEARNING
    story.restarted()
    assert story.shifted(3_000, age=2.0) == []
    assert story.partition.models["m"].actor.phase is Phase.ACTIVE
    assert [a.signal for a in story.shifted(600, age=0.0) if a.type.endswith("opened")] == ["age"]


def test_a_mute_outlives_lost_state() -> None:
    """A damaged reference sets the model aside, and that does not page whom a mute protects."""
    story = drifting()
    story.command("alert.mute", until=at(1_000))
    story.store()
    story.stored[b"m|m|ref"] = story.stored[b"m|m|ref"][:-9]
    (alert,) = story.restart()
    assert (alert.signal, alert.data["muted"], alert.data["page"]) == ("driftline.state", True, False)
