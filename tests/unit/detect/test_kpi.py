"""Meters: windows and values against the slow obvious twin, whatever the cuts."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.config.kpi import EXTENSIVE, parse_measure
from driftline.detect.kernels import join
from driftline.detect.kpi import Closed, Meter
from driftline.detect.kpi_feed import feed_events
from driftline.records import Block, Column, ColumnKind, Tag
from oracle.kpi import value, windows

MINUTE = 60_000
MEASURES = ("missing.x", "mean.x", "sum.x", "share.c.a", "events_per_minute", "missing.nowhere")
ROW = st.fixed_dictionaries(
    {"time": st.integers(0, 40 * MINUTE)},
    optional={"x": st.one_of(st.none(), st.floats(-1e6, 1e6)), "c": st.sampled_from(["a", "b", None])},
)


def block(rows: list[dict[str, Any]]) -> Block:
    """Rows as the decoder gives them, with columns x and c."""
    n = len(rows)
    tags, values = np.zeros((2, n), np.uint8), np.full((2, n), np.nan)
    words = ("a", "b")
    for i, row in enumerate(rows):
        for k, (name, tag) in enumerate((("x", Tag.NUMBER), ("c", Tag.STRING))):
            cell = row.get(name)
            if cell is not None:
                tags[k, i], values[k, i] = tag, words.index(cell) if name == "c" else cell
            elif name in row:
                tags[k, i] = Tag.NULL
    times, at = np.array([row["time"] for row in rows], np.int64), np.arange(n, dtype=np.int64)
    none = np.full(n, -1, np.int32)
    columns = (Column(ColumnKind.FEATURE, "x"), Column(ColumnKind.FEATURE, "c", words))
    return Block(
        "m", columns, tags, values, times, times, np.zeros(n, np.int32), at, none, (), np.zeros(n, np.uint64)
    )


def run(
    measure: str, rows: list[dict[str, Any]], size: int, width: int | None, cuts: list[int]
) -> list[Closed]:
    """All windows of a meter that is fed in pieces; rows are counted from the first."""
    meter, whole = Meter(parse_measure(measure), size, width), block(rows)
    out: list[Closed] = []
    edges = [0, *sorted(cuts), len(rows)]
    for lo, hi in pairwise(edges):
        fed = feed_events(meter.measure, whole, lo, hi, None, 0.5)
        out += [Closed(lo + c.row, *_rest(c)) for c in meter.run(fed)]
    return out


def _rest(closed: Closed) -> tuple[float, int, int, int, int, int]:
    return closed.value, closed.rows, closed.counted, closed.first_time, closed.end_time, closed.windows


@given(
    rows=st.lists(ROW, min_size=1, max_size=60),
    measure=st.sampled_from(MEASURES),
    size=st.integers(1, 9),
    width=st.sampled_from([None, MINUTE, 7 * MINUTE]),
    data=st.data(),
)
def test_windows_are_those_of_the_twin_whatever_the_cuts(
    rows: list[dict[str, Any]], measure: str, size: int, width: int | None, data: st.DataObject
) -> None:
    """Values, deciding rows and sizes; the first stretch of time is no whole one for sums and rates."""
    parsed = parse_measure(measure)
    if parsed.name == "events_per_minute" and width is None:
        width = MINUTE
    cuts = data.draw(st.lists(st.integers(0, len(rows)), max_size=4))
    found = run(measure, rows, size, width, cuts)
    assert [repr(c) for c in run(measure, rows, size, width, [])] == [repr(c) for c in found]
    want = windows(rows, None if width else size, width)
    if parsed.name not in EXTENSIVE:  # an empty window says nothing
        want = [(w, i) for w, i in want if w]
    spread = [c for c in found for _ in range(c.windows)]
    assert [(c.row, c.rows) for c in spread] == [(i, len(w)) for w, i in want]
    for k, (closed, (window, _)) in enumerate(zip(spread, want, strict=True)):
        whole = k > 0 or not width or parsed.name not in EXTENSIVE
        expected = value(parsed.name, window, parsed.signal, parsed.member, width) if whole else math.nan
        assert closed.value == pytest.approx(expected, rel=1e-12, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("measure", ["mean.x", "sum.x"])
def test_sums_run_in_row_order(measure: str) -> None:
    """To the last bit: values of very different size, cut at every place."""
    rng = np.random.default_rng(0)
    rows = [
        {"time": i, "x": float(v)}
        for i, v in enumerate(rng.normal(size=64) * 10.0 ** rng.integers(-8, 9, 64))
    ]
    whole = run(measure, rows, 64, None, [])
    assert [run(measure, rows, 64, None, [at]) for at in range(64)] == [whole] * 64


def test_coverage_and_delays_are_of_the_window_only() -> None:
    """What was joined between two ends; unknown before the first label of all."""
    coverage = Meter(parse_measure("label_coverage"), 1, MINUTE)
    delay = Meter(parse_measure("label_delay.p50"), 1, MINUTE)
    now = np.zeros(join.COUNTS + join.DELAYS, np.int64)

    def minute(number: int, predictions: int, covered: int, bin_of_delays: int) -> Any:
        found = [m.reach(number * MINUTE, now) for m in (coverage, delay)]
        now[join.PREDICTIONS] += predictions
        now[join.COVERED] += covered
        now[join.COUNTS + bin_of_delays] += covered
        return [None if c is None else (c.value, c.counted) for c in found]

    assert minute(5, 100, 80, 4) == [None, None]
    first = minute(6, 50, 10, 8)
    assert math.isnan(first[0][0])
    assert first[1] == (4.0, 80)
    assert minute(7, 1, 0, 0) == [(0.2, 50), (16.0, 10)]
    late = minute(9, 1, 0, 0)
    assert late[0] == (0.0, 1)
    assert math.isnan(late[1][0])
