"""Seasons: the kernel against its slow twin, what a reference must have, and that they travel."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.detect.baseline import build_baseline
from driftline.detect.kernels.season import CELLS, HOUR_MS
from driftline.detect.reference import Reference, from_json, to_json
from driftline.detect.rows import segment_of
from driftline.detect.season import Period, Season, Seasons, hour_maps
from driftline.detect.seasonal import Wanted, add_seasons, blocks_of
from driftline.errors import MessageError
from driftline.records import F64, Block
from harness import decisions
from oracle.season import deseasoned

SCHEMA = Path(__file__).parents[3] / "schemas" / "baseline.v1.json"
DAY = 24 * HOUR_MS
STEP = 60_000  # 1,440 rows a day


def rows(days: float, *, step_ms: int = STEP, seed: int = 0, amplitude: float = 2.0) -> Block:
    """A day's sine with standard normal noise, beside a column without a season."""
    n = round(days * DAY / step_ms)
    rng = np.random.default_rng(seed)
    x = amplitude * np.sin(np.arange(n) * step_ms * (2 * np.pi / DAY)) + rng.normal(size=n)
    cells: dict[str, F64 | list[str | None]] = {
        "x": x,
        "flat": rng.normal(size=n),
        "c": ["a", "b"] * (n // 2),
    }
    return decisions.block({k: v[: n // 2 * 2] for k, v in cells.items()}, step_ms=step_ms)


def built(block: Block, wanted: Wanted) -> tuple[Reference, list[str]]:
    """The baseline of a block, and notes."""
    notes: list[str] = []
    made = build_baseline("m", lambda _: [[block]], time_ordered=True, wanted=wanted, note=notes.append)
    assert made is not None
    return made, notes


@given(seed=st.integers(0, 2**32 - 1), period=st.sampled_from(Period), cuts=st.lists(st.integers(0, 60)))
@settings(max_examples=40, deadline=None)
def test_the_kernel_equals_its_slow_twin_whatever_the_cut(seed: int, period: Period, cuts: list[int]) -> None:
    """On any counts, empty hours among them, times before the epoch, NaN and both ends of u."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 40, (period.hours, CELLS)) * (rng.random((period.hours, 1)) < 0.6)
    counts[rng.integers(period.hours)] = 7
    season = Season(period, tuple(map(tuple, counts.tolist())))
    u = rng.choice([0.0, 1.0, 0.5, np.nan, 1 / 64, *rng.random(20)], 60)
    times = rng.integers(-(10**12), 10**12, 60)
    y = np.stack([np.zeros(60), u, np.abs(2 * u - 1), np.ones(60)])
    seasons = Seasons([None, season], [0, 1])
    bounds = [0, *sorted(cuts), 60]
    for lo, hi in pairwise(bounds):
        seasons.apply(y, times, lo, hi)
    want = [deseasoned(float(v), int(t), counts.tolist()) for v, t in zip(u, times, strict=True)]
    np.testing.assert_allclose(y[1], want, atol=1e-12)
    np.testing.assert_allclose(y[2], np.abs(2 * np.array(want) - 1), atol=1e-12)
    assert (y[[0, 3]] == [[0.0], [1.0]]).all()


def test_maps_go_from_nothing_to_all() -> None:
    """Each hour's map is a distribution function: values out of the reference's range stay so."""
    season = Season(Period.DAILY, tuple(tuple(range(h, h + CELLS)) for h in range(24)))
    maps = hour_maps(season)
    assert (maps[:, 0] == 0.0).all()
    np.testing.assert_allclose(maps[:, -1], 1.0)
    assert (np.diff(maps, axis=1) >= 0.0).all()


@pytest.mark.parametrize("exact_rows", [None, 5_000])
def test_a_season_takes_the_cycle_out_of_location(exact_rows: int | None) -> None:
    """Held in memory or read again: tau falls to that of noise, and the null knows its least known hour."""
    block = rows(7.0)
    made = build_baseline(
        "m", lambda _: [[block]], time_ordered=True, exact_rows=exact_rows, wanted=Wanted(Period.DAILY)
    )
    plain = build_baseline("m", lambda _: [[block]], time_ordered=True, exact_rows=exact_rows)
    assert made is not None
    assert plain is not None
    x = {c.name: c for s in made.signals if s.name == "x" for c in s.channels}
    before = {c.name: c for s in plain.signals if s.name == "x" for c in s.channels}
    assert before["location"].tau > 30.0
    assert x["location"].tau < 1.5
    assert x["location"].hour_values == x["spread"].hour_values == 420
    assert x["location"].mean == pytest.approx(0.5, abs=0.01)
    assert x["missing"] == before["missing"]
    assert [s.season is not None for s in made.signals] == [False, True, True]  # c is not a number


def test_a_reference_that_is_too_short_says_so_and_goes_on() -> None:
    """A day and a half, and five weeks but few rows; the signal is watched without a season."""
    made, notes = built(rows(1.5, step_ms=10_000), Wanted(None, {"x": Period.DAILY, "c": Period.DAILY}))
    assert [s.season for s in made.signals] == [None] * 3
    assert notes[0] == '"c": its season is not used: only numbers have one'
    assert notes[1].startswith('"x": its daily season is not used: 67 % of its values lie in hours with')
    _, notes = built(rows(14.0, step_ms=30_000), Wanted(None, {"x": Period.WEEKLY}))
    assert "from 4 weeks, 95 % are needed" in notes[0]
    made, notes = built(rows(28.0, step_ms=STEP), Wanted(None, {"x": Period.WEEKLY}))
    assert notes == []
    assert [s.season is not None for s in made.signals] == [False, False, True]


def test_a_season_travels_in_the_baseline() -> None:
    """To JSON and back without losing a bit, by the schema; without one nothing is written."""
    made, _ = built(rows(7.0), Wanted(None, {"x": Period.DAILY}))
    text = to_json(made)
    assert from_json(text) == made
    schema = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    schema.validate(json.loads(text))
    body = json.loads(text)
    assert "season" not in body["signals"][0]
    body["signals"][2]["season"]["counts"][3][0] = -1
    with pytest.raises(jsonschema.ValidationError):
        schema.validate(body)
    with pytest.raises(MessageError, match="season is inconsistent"):
        from_json(json.dumps(body))


def test_scale_does_not_matter() -> None:
    """A million times larger: the same season, to the last count."""
    block, other = rows(7.0), rows(7.0)
    other.values[1:] = block.values[1:] * 2.0**20  # exact; the first column is of names
    seasons = [built(b, Wanted(Period.DAILY))[0].signals[2].season for b in (block, other)]
    assert seasons[0] == seasons[1]


def test_nothing_happens_without_seasons() -> None:
    """No maps, no change of the values."""
    y = np.full((3, 4), 0.25)
    Seasons([None], [1]).apply(y, np.arange(4), 0, 4)
    assert (y == 0.25).all()
    reference, _ = built(rows(2.0), Wanted())
    assert add_seasons(reference, Wanted(), list) == (reference, [])


def test_rows_that_are_held_come_as_kernels_want_them() -> None:
    """In C order, whatever the order of the rows: after compilation a kernel takes nothing else."""
    held = segment_of(rows(10.0), 0, 14_000)
    made = list(blocks_of(held, "m", np.arange(14_000)[::-1]))
    assert sum(map(len, made)) == 14_000
    assert all(b.tags.flags.c_contiguous and b.values.flags.c_contiguous for b in made)
    assert made[0].event_time[0] == held.times[-1]
