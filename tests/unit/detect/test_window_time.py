"""Windows by event time: aligned, closed by the first row past the end, late rows in none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.detect.window_time import NEVER, WindowTime
from driftline.records import I64

LENGTH = 100


def plain(times: list[int]) -> list[tuple[int, list[int], int]]:
    """Slow twin: start, rows and late rows of each window, one row after the other."""
    out: list[tuple[int, list[int], int]] = []
    for row, time in enumerate(times):
        start = time // LENGTH * LENGTH
        if not out or start > out[-1][0]:
            out.append((start, [row], 0))
        elif start < out[-1][0]:
            out[-1] = (out[-1][0], out[-1][1], out[-1][2] + 1)
        else:
            out[-1][1].append(row)
    return out


def walked(times: I64, cuts: list[int]) -> list[tuple[int, list[int], int]]:
    """The same as the actor does it, over any cuts."""
    clock, out, rows = WindowTime(LENGTH), [], list[int]()
    for start, end in pairwise([0, *sorted(cuts), len(times)]):
        lo = start
        while lo < end:
            to = lo + max(clock.rows_to_end(times[lo:end]), 1)
            if clock.is_over(int(times[lo])):
                out.append((clock.since, rows, clock.late))
                clock.move(int(times[lo]))
                rows, to = [], lo + 1
            for a, b in clock.take(times, lo, to):
                rows += range(a, b)
            lo = to
    return [*out, (clock.since, rows, clock.late)]


@given(st.lists(st.integers(0, 1_500), min_size=1, max_size=60), st.data())
def test_any_cut_gives_the_windows_of_the_slow_twin(times: list[int], data: st.DataObject) -> None:
    """Rows in any order, also far behind."""
    cuts = data.draw(st.lists(st.integers(0, len(times)), max_size=6))
    assert walked(np.array(times), cuts) == plain(times)


def test_without_a_length_nothing_ends_and_nothing_is_late() -> None:
    """Windows by rows are as they were."""
    clock, times = WindowTime(), np.array([5, 500, 1])
    assert clock.rows_to_end(times) == 3
    assert not clock.is_over(10**12)
    assert list(clock.take(times, 0, 3)) == [(0, 3)]
    assert (clock.since, clock.late) == (NEVER, 0)
