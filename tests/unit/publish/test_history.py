"""The fold of the output topics: what it keeps, what it refuses, what it forgets."""

from __future__ import annotations

import random
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st

from driftline.publish.history import MISSING, Bounds, History, fold
from harness.page_story import HOUR, T0, alert, performance, report, story

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def test_a_story_is_folded() -> None:
    """Signals with their latest and their worst window, episodes open and past, performance."""
    history = fold(story())
    model = history.models["m"]
    assert history.unusable == 0
    assert (model.severity, list(model.open), [e.signal for e in model.past]) == (
        "critical", ["age"], ["land"],
    )  # fmt: skip
    past = model.past[0]
    assert (past.severity, past.opened_ms, past.resolved_ms) == ("info", T0 + 3 * HOUR, T0 + 6 * HOUR)
    assert past.alert["type"] == "driftline.alert.updated"
    assert model.ranked() == ["age", "land"]
    assert model.signals["age"].latest.psi == model.signals["age"].worst.psi == 0.2
    assert [t for t, _ in model.course("age", 0)] == [T0 + h * HOUR for h in range(1, 11)]
    assert [v for _, v in model.course("age", 0)] == pytest.approx([0.02 * h for h in range(1, 11)])
    assert len(model.course("age", MISSING)) == 10
    assert [w.statistics["accuracy"] for w in model.performance][-1] == 0.75
    assert model.performance[0].confusion[0] == ("approve", "approve", 770)


@pytest.mark.parametrize("seed", range(5))
def test_the_order_between_topics_does_not_matter(seed: int) -> None:
    """Reports and alerts are on different topics: any interleaving gives the same."""
    records = story()
    lanes = [[r for r in records if "type" in r], [r for r in records if "type" not in r]]
    rng, mixed = random.Random(seed), []
    while any(lanes):
        mixed.append(rng.choice([lane for lane in lanes if lane]).pop(0))
    assert shown(fold(mixed)) == shown(fold(records))


def test_records_twice_count_once() -> None:
    """A reader that begins again hands over the same records."""
    records = story()
    again = fold([*records, *records[-6:], records[9]])
    assert shown(again) == shown(fold(records))
    assert again.models["m"].opened == 2


def shown(history: History) -> Any:
    """All that must be equal; points hold arrays."""
    return [
        (m.name, m.signals, m.open, m.past, m.performance, m.course("age", 0), m.first_ms, m.last_ms)
        for m in history.models.values()
    ]


def test_an_unseen_end_is_an_end() -> None:
    """A later episode of the signal says that the one before is over; an older one changes nothing."""
    history = fold([alert("opened", 1), alert("opened", 5, episode=1, opened=5)])
    model = history.models["m"]
    assert [(e.number, e.resolved_ms) for e in model.past] == [(0, T0 + 5 * HOUR)]
    assert model.open["age"].number == 1
    assert history.add(alert("updated", 6, sequence=3)) is None
    assert model.open["age"].number == 1


def test_numbers_that_begin_again_after_lost_state_are_other_episodes() -> None:
    """The number is the same, the time of the opening is not."""
    history = fold([alert("opened", 1), alert("resolved", 2, sequence=1), alert("opened", 9, opened=9)])
    assert len(history.models["m"].past) == 1
    assert history.models["m"].open["age"].opened_ms == T0 + 9 * HOUR


def test_a_resolution_alone_is_a_past_episode() -> None:
    """Its opening is older than the topic's retention."""
    model = fold([alert("resolved", 5, sequence=1)]).models["m"]
    assert not model.open
    assert (model.past[0].opened_ms, model.past[0].resolved_ms) == (T0 + HOUR, T0 + 5 * HOUR)


def test_signals_of_a_former_reference_go() -> None:
    """A report names all signals there are."""
    model = fold([report(1, {"age": 0.1, "land": 0.2}), report(2, {"age": 0.1})]).models["m"]
    assert list(model.signals) == ["age"]
    assert len(model.course("land", 0)) == 1


def test_everything_is_bounded() -> None:
    """Models, windows, past episodes; what has no room is counted."""
    history = History(Bounds(models=2, points=20, episodes=3, windows=9))
    for h in range(1, 31):
        history.add(report(h, {f"f{i}": 0.1 for i in range(10)}))
        history.add(performance(h, 0.9))
        history.add(alert("opened", h, episode=h, opened=h))
        history.add(alert("resolved", h + 0.5, episode=h, opened=h, sequence=1))
    model = history.models["m"]
    assert (len(model.points), len(model.performance), len(model.past)) == (8, 9, 3)
    assert model.dropped == 22 + 21 + 27
    history.add(report(1, {"a": 0.1}, model="b"))
    history.add(report(1, {"a": 0.1}, model="c"))
    assert (sorted(history.models), history.refused) == (["b", "m"], 1)


@pytest.mark.parametrize(
    "change",
    [
        {"time": "yesterday"},
        {"model": 5},
        {"signals": None},
        {"signals": [{"signal": 1}]},
        {"signals": [{"signal": "a", "missing": 0, "statistics": {}, "cells": [[[1], 2, 3]]}]},
        {"signals": [{"signal": "a", "missing": 0, "statistics": {}, "cells": [["a", -1, 3]]}]},
        {"signals": [{"signal": "a", "missing": 0, "statistics": {}, "cells": [["a", 1, 3]] * 65}]},
        {"window": {"from": "x"}},
    ],
)
def test_an_unusable_report_changes_nothing(change: dict[str, Any]) -> None:
    """It is counted."""
    history = fold([report(1, {"age": 0.1}) | change])
    assert (history.models, history.unusable) == ({}, 1)


@pytest.mark.parametrize(
    "change", [{"signal": 7}, {"severity": "dire"}, {"episode": "1"}, {"opened_at": None}]
)
def test_an_unusable_alert_changes_nothing(change: dict[str, Any]) -> None:
    """It is counted."""
    history = fold([alert("opened", 1) | change])
    assert (history.models, history.unusable) == ({}, 1)


@hypothesis.given(
    st.sampled_from(
        [alert("opened", 1), alert("resolved", 2), report(1, {"a": 0.1, "b": 0.2}), performance(1, 0.9)]
    ),
    st.data(),
)
def test_no_record_breaks_the_fold(record: dict[str, Any], data: st.DataObject) -> None:
    """Any value in any place."""
    broken = dict(record)
    for key in data.draw(st.lists(st.sampled_from(sorted(record)), max_size=3)):
        value = broken[key]
        if isinstance(value, dict) and value and data.draw(st.booleans()):
            broken[key] = value | {data.draw(st.sampled_from(sorted(value))): data.draw(JSON)}
        else:
            broken[key] = data.draw(JSON)
    fold([broken, record])
