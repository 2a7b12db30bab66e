"""A model's signals beyond location and spread: shapes, later features, references that do not fit."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.special import ndtri

from driftline.config import DetectionSettings
from driftline.decide import store
from driftline.decide.budget import Budget
from driftline.decide.model import Model
from driftline.decide.model_view import view_of
from driftline.decide.outputs import Alert
from driftline.decide.policy import window_design
from driftline.detect.actor import Phase
from driftline.detect.windows import judge
from driftline.records import F64, Block
from harness.decisions import CONTEXT, PROGRESS, block, file_reference, new_model, run

WINDOW = 8_192


def in_steps(model: Model, rows: Block, size: int) -> tuple[Model, list[Alert]]:
    """Apply in steps of ``size`` rows, with a restart between any two."""
    out: list[Alert] = []
    held: dict[bytes, bytes] = {}
    for lo, hi in pairwise([*range(0, len(rows), size), len(rows)]):
        out += model.apply(rows, lo, hi, PROGRESS, CONTEXT)
        for row in store.model_rows(model):
            for key, value in row.records():
                held.pop(key, None)
                if value is not None:
                    held[key] = value
        model, problem = store.read_model("m", held, DetectionSettings(), {})
        assert problem == ""
    return model, out


def brief(alerts: list[Alert]) -> list[tuple[str, str, str]]:
    """Event, signal and channel of each alert."""
    return [(a.type.rpartition(".")[2], a.signal, str(a.data["channel"])) for a in alerts]


def same_location_and_spread(rng: np.random.Generator, n: int) -> F64:
    """Two humps a side: u has mean .5 and |2u - 1| has mean .5, as of the normal reference."""
    v = np.where(rng.random(n) < 0.5, 0.25, 0.75) + rng.uniform(-0.2, 0.2, n)
    return np.asarray(ndtri((1.0 + np.where(rng.random(n) < 0.5, 1.0, -1.0) * v) / 2.0), dtype=np.float64)


@pytest.fixture(scope="module")
def shaped() -> tuple[Model, list[Alert]]:
    """25,000 quiet rows, 40,000 of another shape, 50,000 quiet ones."""
    rng = np.random.default_rng(1)
    x = [rng.normal(size=25_000), same_location_and_spread(rng, 40_000), rng.normal(size=50_000)]
    rows = block({"x": np.concatenate(x), "y": rng.normal(size=115_000)})
    model = new_model(file_reference({"x": rng.normal(size=20_000), "y": rng.normal(size=20_000)}))
    return model, run(model, rows)


def test_another_shape_opens_by_its_window(shaped: tuple[Model, list[Alert]]) -> None:
    """Unseen by location and spread; opened within two windows, resolved two windows after its end."""
    opened, resolved = shaped[1]
    assert brief([opened, resolved]) == [("opened", "x", "shape"), ("resolved", "x", "shape")]
    assert 25_000 < opened.row < 25_000 + 2 * WINDOW
    assert 65_000 + WINDOW < resolved.row < 65_000 + 4 * WINDOW
    assert opened.row % WINDOW == resolved.row % WINDOW == WINDOW - 1
    assert opened.data["severity"] == "warning"
    evidence: Any = opened.data["evidence"]
    assert [d["name"] for d in evidence[0]["detectors"]] == ["window-test"]
    assert evidence[0]["detectors"][0]["statistic"] > evidence[0]["detectors"][0]["threshold"]
    assert evidence[0]["tolerated"][1] < 0.02 < evidence[0]["current_mean"]
    assert 'm: "x" has other values than in training: ' in str(opened.data["summary"])
    window: Any = opened.data["window"]
    assert window["psi"] == evidence[0]["current_mean"]


def test_every_full_window_is_reported(shaped: tuple[Model, list[Alert]]) -> None:
    """Counts, statistics and the verdict; a report of two signals is under 2 kB."""
    reports = shaped[0].reports
    assert len(reports) == 115_000 // WINDOW
    assert len({r.id for r in reports}) == len(reports)
    opened: Any = [r.data["signals"][0]["open"] for r in reports]  # type: ignore[index]
    assert opened == [False] * 3 + [True] * 6 + [False] * 5
    first: Any = reports[0].data
    assert [s["signal"] for s in first["signals"]] == ["x", "y"]
    assert sum(cell[1] for cell in first["signals"][0]["cells"]) == WINDOW
    assert sum(cell[2] for cell in first["signals"][0]["cells"]) == 20_000
    assert len(str(first)) < 2_100
    assert first["window"] == {
        "number": 0,
        "rows": WINDOW,
        "from": "1970-01-01T00:00:00.000Z",
        "to": "1970-01-01T00:01:21.910Z",
    }


def test_a_change_that_a_channel_told_is_not_told_again_by_the_window() -> None:
    """One episode, although windows that hold rows of the shift look different too."""
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal(level, 1, 20_000) for level in (0, 1, 0)])
    alerts = run(new_model(file_reference({"x": rng.normal(size=20_000)})), block({"x": x}))
    assert brief(alerts) == [(event, "x", "location") for event in ("opened", "updated", "resolved")] or (
        [event for event, *_ in brief(alerts)] == ["opened", "updated", "resolved"]
    )
    assert "shape" not in {channel for *_, channel in brief(alerts)}


@pytest.mark.parametrize("seed", range(3))
def test_windows_of_autocorrelated_rows_keep_the_level(seed: int) -> None:
    """AR(.9) at a level of 1 %: none of 24 windows exceeds it; without the design effect five or more do."""
    rng = np.random.default_rng(seed)
    series = lfilter([1.0], [1.0, -0.9], rng.normal(size=20_500 + 24 * WINDOW))[500:]
    model = new_model(file_reference({"x": series[:20_000]}))
    d = model.actor.detection
    assert d is not None
    design = window_design(d)
    assert 12.0 < design[0] < 35.0
    run(model, block({"x": series[20_000:]}))
    fired = plain = 0
    for report in model.reports:
        signal: Any = report.data["signals"][0]  # type: ignore[index]
        g = signal["statistics"]["g"]
        one = d.layout.bins.statistics(d.window.counts)
        one[0, 0], one[0, 8], one[0, 9] = WINDOW, g, signal["statistics"]["degrees_of_freedom"]
        length = np.array([WINDOW * 100.0])
        for factor in (design, np.ones(1)):
            verdict = judge(one, d.layout.bins.rows(), factor, d.layout.bins.wander, length, 0.05, WINDOW)
            exceeded = bool(verdict.statistic[0] >= verdict.level[0])
            fired += exceeded and factor is design
            plain += exceeded and factor is not design
    assert fired == 0
    assert plain >= 5


# --- later features -----------------------------------------------------------------------------------------


def with_later(rng: np.random.Generator) -> Block:
    """A feature y appears at row 3,000; it has another level from row 20,000 on."""
    y = np.concatenate([np.full(3_000, np.nan), rng.normal(size=17_000), rng.normal(2, 1, 10_000)])
    rows = block({"x": rng.normal(size=30_000), "y": y})
    rows.tags[1, :3_000] = 0  # absent, not null
    return rows


def test_a_feature_that_appears_later_is_learned_and_watched() -> None:
    """Learned from its first 5,000 rows, announced, and its change is told; the others keep their budget."""
    rng = np.random.default_rng(3)
    model = new_model(file_reference({"x": rng.normal(size=20_000)}))
    before = Budget.of(model.actor.detection.layout)  # type: ignore[union-attr]
    alerts = run(model, with_later(rng))
    assert brief(alerts)[0][:2] == ("opened", "y")
    assert 20_000 < alerts[0].row < 20_300
    assert "than in the first 5,000 events" in str(alerts[0].data["summary"])
    assert len(model.notes) == 1
    assert '"y" appeared after the reference was frozen' in model.notes[0]
    assert view_of(model).later_features == 1
    d = model.actor.detection
    assert d is not None
    after = Budget.of(d.layout)
    assert (after.frozen, after.later) == (before.frozen, 6)  # five channels and a window test
    reference = d.layout.reference
    assert [s.later for s in reference.signals] == [False, True]
    assert reference.id == replace(reference, signals=reference.signals[:1]).id
    frozen, later = after.run_lengths(6e7, 1.0)
    assert frozen == pytest.approx(6e7 * after.frozen / 0.9)
    assert later == pytest.approx(6e7 * after.later / 0.1)
    budget: Any = alerts[0].data["budget"]
    assert budget["run_length_target"] == d.later_run_length


@pytest.mark.parametrize("size", [977, 8_000])
def test_cuts_and_restarts_do_not_show_while_a_later_feature_is_learned(size: int) -> None:
    """The same alerts and the same stored state."""
    rng = np.random.default_rng(4)
    reference = file_reference({"x": rng.normal(size=20_000)})
    rows = with_later(rng)
    whole = new_model(reference)
    expected = run(whole, rows)
    other, got = in_steps(new_model(reference), rows, size)
    assert got == expected
    whole.reference_dirty = other.reference_dirty = True
    assert [r.encode() for r in store.model_rows(other)] == [r.encode() for r in store.model_rows(whole)]


def test_a_name_seen_a_few_times_is_not_watched() -> None:
    """A typing error of a producer costs no budget."""
    rng = np.random.default_rng(5)
    model = new_model(file_reference({"x": rng.normal(size=20_000)}))
    typo = np.full(12_000, np.nan)
    typo[100:150] = 1.0
    rows = block({"x": rng.normal(size=12_000), "x_": typo})
    rows.tags[1, np.isnan(typo)] = 0
    run(model, rows)
    assert view_of(model).later_features == 0
    assert model.actor.later is None
    assert model.notes == []


# --- references that do not fit -----------------------------------------------------------------------------


def test_a_reference_that_does_not_fit_gives_findings() -> None:
    """A feature that is gone, one of another type, one with other categories; no exception."""
    rng = np.random.default_rng(6)
    words: list[str | None] = [str(w) for w in rng.choice(["a", "b", "c"], 20_000)]
    known: dict[str, F64 | list[str | None]] = {
        "gone": rng.normal(size=20_000),
        "retyped": rng.normal(size=20_000),
        "words": words,
    }
    model = new_model(file_reference(known))
    other: list[str | None] = [str(w) for w in rng.choice(["x", "y"], 12_000)]
    alerts = run(model, block({"retyped": [*["1.5"] * 12_000], "words": other}))
    assert model.actor.phase is Phase.ACTIVE
    opened = {a.signal: a for a in alerts if a.type.endswith("opened")}
    assert {s: a.data["channel"] for s, a in opened.items() if s != "words"} == {
        "gone": "missing",
        "retyped": "type",
    }
    assert set(opened) == {"gone", "retyped", "words"}
    assert all(a.row < 300 for a in opened.values())
    assert str(opened["retyped"].data["summary"]).startswith(
        'm: "retyped" is no number in 100 % of events, was 0 % (up to '
    )


def test_values_out_of_range_open_their_own_channel() -> None:
    """One in fifty values far outside: too few for location and spread, plenty for the range."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=20_000)
    x[10_000::50] = 1e6
    alerts = run(new_model(file_reference({"x": rng.normal(size=20_000)})), block({"x": x}))
    assert brief(alerts)[0] == ("opened", "x", "range")
    assert 10_000 < alerts[0].row < 11_500
    assert " is outside of the range seen in training in 2" in str(alerts[0].data["summary"])


def test_a_boolean_feature_is_two_categories() -> None:
    """Half of the events are true, then two thirds."""
    rng = np.random.default_rng(8)
    rows = block({"x": (rng.random(20_000) < np.where(np.arange(20_000) < 10_000, 0.5, 0.67)).astype(float)})
    rows.tags[:] = 4
    learned = new_model(learning_rows=5_000)
    alerts = run(learned, rows)
    assert brief(alerts)[0][:2] == ("opened", "x")
    assert 10_000 < alerts[0].row < 10_600


# --- traffic ------------------------------------------------------------------------------------------------


def test_traffic_is_an_episode_of_the_model() -> None:
    """A tenth of the events for a while: opened, resolved, in words; the same through restarts."""
    rng = np.random.default_rng(9)
    reference = file_reference({"x": rng.normal(size=20_000)})
    rows = block({"x": rng.normal(size=30_000)})
    gaps = np.where((np.arange(30_000) > 8_000) & (np.arange(30_000) < 16_000), 100, 10)
    rows = replace(rows, event_time=np.cumsum(gaps).astype(np.int64))
    alerts = run(new_model(reference), rows)
    assert brief(alerts) == [
        ("opened", "driftline.traffic", "too-few"),
        ("resolved", "driftline.traffic", "too-few"),
    ]
    opened, resolved = alerts
    assert 8_000 < opened.row < 14_000
    assert 16_000 < resolved.row < 24_000
    summary = str(opened.data["summary"])
    assert summary.startswith("m: traffic is lower than in training: 6")
    assert "events a minute, was 6,000 (down to 1,500 tolerated), since about 00:01 UTC" in summary
    assert opened.data["signal_kind"] == "model"
    _, again = in_steps(new_model(reference), rows, 1_111)
    assert again == alerts


def test_an_episode_of_a_shape_outlives_the_freezing_of_a_later_feature() -> None:
    """Window tests are numbered behind the channels, of which there are more: it resolves as without."""
    rng = np.random.default_rng(1)
    x = [rng.normal(size=2 * WINDOW), same_location_and_spread(rng, 3 * WINDOW), rng.normal(size=3 * WINDOW)]
    rows = {"x": np.concatenate(x)}
    n = len(rows["x"])
    late = np.where(np.arange(n) < 3 * WINDOW, np.nan, rng.normal(size=n))
    reference = file_reference({"x": np.random.default_rng(2).normal(size=20_000)})
    alone = run(new_model(reference), block(rows))
    assert brief(alone) == [("opened", "x", "shape"), ("resolved", "x", "shape")]
    found = run(new_model(reference), block(rows | {"late": late}))
    assert [(a.type, a.signal, a.row) for a in found] == [(a.type, a.signal, a.row) for a in alone]
