"""Incidents, cooldown and standing, on alerts made by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from driftline.decide.episodes import Episode
from driftline.decide.lifecycle import (
    INCIDENT_GAP_MS,
    INCIDENT_SIGNALS_MAX,
    NO_DEADLINE,
    Acknowledgement,
    Lifecycle,
    Mute,
    adopted,
    check_lifecycle,
)
from driftline.decide.outputs import Alert
from driftline.decide.texts import rfc3339
from driftline.detect.typed import typed
from driftline.errors import MessageError

HOUR = INCIDENT_GAP_MS
COOLDOWN = 600_000
SHARE = {"channel": "missing", "reference_mean": 0.0, "current_mean": 1.0, "shift_sd": None}


def alert(signal: str, event: str, at: int, **changed: Any) -> Alert:
    """An alert at a time, as the builders hand it over."""
    data: dict[str, Any] = {
        "page": event == "opened", "state": "resolved" if event == "resolved" else "open",
        "severity": "warning", "signal_kind": "feature", "episode": 1, "onset": rfc3339(at),
        "evidence": [{"channel": "location", "shift_sd": -0.5, "current_mean": 0.4, "reference_mean": 0.5}],
        **changed,
    }  # fmt: skip
    return Alert("id", f"driftline.alert.{event}", at, "m", signal, 0, data)


def told(life: Lifecycle, *given: Alert) -> list[dict[str, Any]]:
    """The data of alerts as they go out."""
    return [dict(life.told(a, "topic", COOLDOWN).data) for a in given]


def test_openings_an_hour_apart_are_one_incident_and_page_once() -> None:
    """The gap counts from the newest opening to the onset; beyond it another incident begins."""
    life = Lifecycle()
    found = told(
        life,
        alert("a", "opened", 0),
        alert("b", "opened", 5 * HOUR, onset=rfc3339(HOUR)),
        alert("c", "opened", 6 * HOUR),
        alert("d", "opened", 7 * HOUR + 1),
    )
    assert [d["page"] for d in found] == [True, False, False, True]
    first, *others, last = (d["incident"] for d in found)
    assert (set(others), last == first) == ({first}, False)
    assert [d["incident_open"] for d in found] == [1, 2, 3, 1]


@pytest.mark.parametrize("changed", [{"severity": "critical"}, {"signal_kind": "performance"}])
def test_what_is_worse_pages_within_an_incident(changed: dict[str, str]) -> None:
    """A worse severity, once; a model that gets worse, always."""
    life = Lifecycle()
    _, second, third = told(
        life, alert("a", "opened", 0), alert("b", "opened", 1, **changed), alert("c", "opened", 2)
    )
    assert second["page"] is True
    assert third["page"] is False


def test_an_incident_ends_with_its_last_episode() -> None:
    """What opens afterwards, another signal, is another incident, and nothing is kept after the cooldown."""
    life = Lifecycle()
    one, two = told(life, alert("a", "opened", 0), alert("a", "resolved", 10))
    (other,) = told(life, alert("b", "opened", 20))
    assert (one["incident"] == two["incident"], two["incident_open"]) == (True, 0)
    assert other["incident"] != one["incident"]
    told(life, alert("b", "resolved", 30), alert("c", "opened", COOLDOWN + 31))
    assert ([i.signal for i in life.of_events.incidents], life.of_events.resolved) == (["c"], {})


@pytest.mark.parametrize(("after", "again"), [(COOLDOWN, True), (COOLDOWN + 1, False)])
def test_cooldown_ends_to_the_millisecond(after: int, again: bool) -> None:
    """Within it the signal is back in its incident and does not page."""
    life = Lifecycle()
    first, _, back = told(
        life, alert("a", "opened", 0), alert("a", "resolved", 10), alert("a", "opened", 10 + after, episode=2)
    )
    assert (back["reopened"], back["page"]) == (again, not again)
    assert (back["incident"] == first["incident"]) is again


def test_back_and_worse_pages() -> None:
    """A cooldown hides no escalation."""
    *_, back = told(
        Lifecycle(),
        alert("a", "opened", 0),
        alert("a", "resolved", 1),
        alert("a", "opened", 2, severity="critical"),
    )
    assert (back["reopened"], back["page"]) == (True, True)


def test_an_end_by_hand_starts_no_cooldown() -> None:
    """Whoever closed it wants to know that it is back."""
    *_, back = told(
        Lifecycle(),
        alert("a", "opened", 0),
        alert("a", "resolved", 1, cause="closed by jane: x"),
        alert("a", "opened", 2),
    )
    assert (back["reopened"], back["page"]) == (False, True)


def test_an_update_that_pages_raises_what_was_told() -> None:
    """Another signal of that severity is no news then."""
    *_, last = told(
        Lifecycle(),
        alert("a", "opened", 0),
        alert("a", "updated", 1, page=True, severity="critical"),
        alert("b", "opened", 2, severity="critical"),
    )
    assert last["page"] is False


def test_signals_are_ranked_and_bounded() -> None:
    """By effect, then by name; units that cannot be compared count as the least of their severity."""
    life = Lifecycle()
    told(life, *(alert(f"s{i:02d}", "opened", i) for i in range(INCIDENT_SIGNALS_MAX + 5)))
    told(life, alert("gone", "opened", 20, evidence=[SHARE]))
    rate = {**SHARE, "channel": "too-few"}
    (last,) = told(life, alert("traffic", "opened", 21, evidence=[rate], severity="critical"))
    ranked = last["incident_signals"]
    assert len(ranked) == INCIDENT_SIGNALS_MAX
    assert [s["signal"] for s in ranked[:4]] == ["gone", "traffic", "s00", "s01"]
    assert [s["effect"] for s in ranked[:3]] == [pytest.approx(3.14159, abs=1e-4), 0.8, 0.5]
    assert last["incident_open"] == INCIDENT_SIGNALS_MAX + 7


def test_a_shape_counts_by_its_psi() -> None:
    """A shift of d standard deviations has a PSI of d squared."""
    seen = {"channel": "shape", "reference_mean": 0.0, "current_mean": 0.25, "shift_sd": None}
    (data,) = told(Lifecycle(), alert("a", "opened", 0, evidence=[seen]))
    assert data["incident_signals"][0]["effect"] == pytest.approx(0.5)


def test_lost_state_is_no_incident_but_can_be_muted() -> None:
    """It is told once and never resolved: an incident would stay open for ever."""
    life = Lifecycle(mutes={"": Mute(5, "jane", "x", "t", 0, 0)})
    (data,) = told(life, alert("driftline.state", "opened", 0))
    assert ("incident" in data, data["muted"], data["page"]) == (False, True, False)
    assert life.of_events.incidents == []


def test_the_later_mute_counts() -> None:
    """A signal is muted as long as it or its model is; a deadline is over at its millisecond."""
    life = Lifecycle()
    assert life.deadline == NO_DEADLINE
    life.mutes = {"": Mute(10, "jane", "x", "t", 0, 0), "a": Mute(5, "joe", "y", "t", 0, 1)}
    assert (life.deadline, life.standing("a"), life.standing("b")) == (5, "muted", "muted")
    (data,) = told(life, alert("a", "opened", 0))
    assert data["mute"]["by"] == "jane"
    assert life.end_mutes(4) == {}
    assert list(life.end_mutes(5)) == ["a"]
    assert (life.standing("a"), list(life.end_mutes(11)), life.standing("a")) == ("muted", [""], "firing")


def test_a_resolution_forgets_who_acknowledged() -> None:
    """It names him once more."""
    life = Lifecycle(acknowledged={"a": Acknowledgement(3, "jane", "x")})
    assert life.standing("a") == "acknowledged"
    opened, resolved = told(life, alert("a", "opened", 0), alert("a", "resolved", 1))
    assert (opened["page"], resolved["acknowledged"]["by"], life.acknowledged) == (False, "jane", {})


def test_it_comes_back_from_json() -> None:
    """As the snapshot stores it."""
    life = Lifecycle(mutes={"a": Mute(5, "joe", "y", "t", 0, 1)})
    told(life, alert("a", "opened", 0), alert("b", "opened", 1), alert("b", "resolved", 2))
    again = typed(Lifecycle, json.loads(json.dumps(life.to_json())))
    check_lifecycle(again)
    assert again == life


@pytest.mark.parametrize("change", [{"severity": "bad"}, {"open": ["nobody"]}])
def test_stored_contradictions_are_refused(change: dict[str, Any]) -> None:
    """They would end in a crash at the next alert."""
    life = Lifecycle()
    told(life, alert("a", "opened", 0))
    body = life.to_json()
    body["of_events"]["incidents"][0] |= change
    with pytest.raises(MessageError, match="contradicts"):
        check_lifecycle(typed(Lifecycle, body))


def test_state_without_incidents_is_adopted_in_the_order_of_openings() -> None:
    """As if the incidents had been followed from the start."""
    episode = Episode(3, 2_000, 1_000, "warning", "location", "up")
    life = adopted({"b": episode, "a": Episode(1, 1_000, 0, "critical", "location", "up")})
    (incident,) = life.of_events.incidents
    assert (incident.signal, incident.episode, incident.open) == ("a", 1, ["a", "b"])
    assert incident.effects == {"a": 0.8, "b": 0.2}
