"""Synthetic traffic: the same seed gives the same bytes, and drift begins where it was said to."""

import itertools
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from driftline.demo.simulate import SimulateOptions, describe, plan_of
from driftline.demo.traffic import BATCH_ROWS, DriftKind, TrafficPlan, drift_row, feature_names, generate
from driftline.errors import OperatorError


def events_of(plan: TrafficPlan, seed: int = 1) -> list[Any]:
    """All events, parsed."""
    return [json.loads(e) for e in itertools.chain.from_iterable(generate(np.random.default_rng(seed), plan))]


def column(events: Sequence[Any], name: str) -> list[Any]:
    """One feature."""
    return [e["features"][name] for e in events]


def test_the_same_seed_gives_the_same_bytes_and_a_shorter_run_is_a_prefix() -> None:
    """Also when the run ends inside a batch."""
    whole = list(itertools.chain.from_iterable(generate(np.random.default_rng(7), TrafficPlan(3_500))))
    part = list(itertools.chain.from_iterable(generate(np.random.default_rng(7), TrafficPlan(1_234))))
    assert part == whole[:1_234]
    assert len(whole) == 3_500
    assert whole != list(
        itertools.chain.from_iterable(generate(np.random.default_rng(8), TrafficPlan(3_500)))
    )


def test_events_name_models_in_turn_and_times_follow_the_rate() -> None:
    """Three models, 100 events a second."""
    events = events_of(TrafficPlan(7, models=3, features=5, rate=100.0))
    assert [e["model"] for e in events] == [f"sim-00{i % 3}" for i in range(7)]
    assert [e["time"][-7:] for e in events[:3]] == ["00.000Z", "00.010Z", "00.020Z"]
    assert (
        tuple(events[0]["features"]) == feature_names(5) == ("num_00", "num_01", "num_02", "num_03", "cat_04")
    )
    assert len({e["id"] for e in events}) == 7


@pytest.mark.parametrize("kind", list(DriftKind))
def test_drift_begins_at_its_row_and_touches_nothing_before(kind: DriftKind) -> None:
    """Up to the row the events are those of steady traffic."""
    row = 2 * BATCH_ROWS + 123
    steady = events_of(TrafficPlan(2 * row))
    drifting = events_of(TrafficPlan(2 * row, drift=kind, drift_from=row))
    assert drifting[:row] == steady[:row]
    assert (drifting[row:] == steady[row:]) == (kind is DriftKind.NONE)


def test_each_kind_of_drift_is_what_it_says() -> None:
    """Location and spread of num_00, its missing values, the rare categories of cat_04."""

    def after(kind: DriftKind) -> list[Any]:
        return events_of(TrafficPlan(6_000, drift=kind, drift_from=0, size=1.0))

    base = np.array(column(events_of(TrafficPlan(6_000)), "num_00"))
    assert np.mean(column(after(DriftKind.LOCATION), "num_00")) - base.mean() == pytest.approx(10.0, abs=0.5)
    assert np.std(column(after(DriftKind.SPREAD), "num_00")) / base.std() == pytest.approx(2.0, rel=0.05)
    assert column(after(DriftKind.MISSING), "num_00").count(None) / 6_000 == pytest.approx(0.1, abs=0.02)
    rare = [c in {"mobile", "other"} for c in column(after(DriftKind.CATEGORIES), "cat_04")]
    assert np.mean(rare) > 0.15


@pytest.mark.parametrize(("text", "row"), [("20000", 20_000), ("30s", 15_000), ("0.5s", 250), ("0", 0)])
def test_drift_after_takes_events_or_seconds(text: str, row: int) -> None:
    """At 500 a second."""
    assert drift_row(text, 500.0) == row


@pytest.mark.parametrize("text", ["", "s", "-1", "soon", "1.5"])
def test_drift_after_refuses_what_it_cannot_read(text: str) -> None:
    """And says what it takes."""
    with pytest.raises(OperatorError, match=r"events .* or seconds"):
        drift_row(text, 500.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"features": 0},
        {"features": 501},
        {"models": 0},
        {"events": -1},
        {"rate": 0.0},
        {"drift": DriftKind.CATEGORIES, "features": 4},
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    """Before anything is sent."""
    with pytest.raises(OperatorError):
        TrafficPlan(**{"events": 10, **wrong})


def options(**more: Any) -> SimulateOptions:
    """Options of a small run."""
    known = {"rate": 100.0, "drift": "none", "drift_after": "50", **more}
    return SimulateOptions(
        "127.0.0.1:9092", "t", known["rate"], 100, 1, 10, known["drift"], known["drift_after"], 0.5, 1
    )


def test_unpaced_traffic_ends_now_so_that_no_event_is_ahead_of_the_clock() -> None:
    """With a rate it begins now."""
    assert plan_of(options(), 1_000_000).start_ms == 1_000_000
    unpaced = plan_of(options(rate=0.0), 1_000_000)
    assert unpaced.start_ms + unpaced.events * 1000 / unpaced.rate == 1_000_000


def test_the_line_at_the_start_tells_the_truth_about_the_drift() -> None:
    """Also when the drift lies behind the last event."""
    assert "no drift" in describe(plan_of(options(), 0), options())
    moved = options(drift="location")
    assert "location drift from event 50 on" in describe(plan_of(moved, 0), moved)
    never = options(drift="location", drift_after="100")
    assert "after the last one" in describe(plan_of(never, 0), never)
