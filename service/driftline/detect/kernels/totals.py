"""Statistics of channels and bins in one pass: moments, those of means of blocks, counts in blocks.

Owns: sums over a stream of channel values, in row order, so that any cut of the rows gives the same. Values
lie in [0, 1], so plain sums of squares are exact enough. NaN is no value of the channel. Must not know: what
a channel is, what becomes of the sums.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

SIZES: Final = 8  # blocks of 2, 4, ... 256 values

TOTALS: Final = np.dtype(
    [
        ("n", "f8"),
        ("sum", "f8"),
        ("squares", "f8"),
        ("held", "f8", SIZES),  # the first half of a block of 2 ** (j + 1) values, as a sum
        ("half", "u1", SIZES),  # whether there is one
        ("blocks", "f8", SIZES),  # complete blocks, the sum of their means, and of its squares
        ("block_sum", "f8", SIZES),
        ("block_squares", "f8", SIZES),
        ("b0", "i8"),  # size of the blocks from which tau is read, and the partial one
        ("part", "f8"),
        ("part_n", "i8"),
        ("means", "i8"),  # complete ones
    ],
    align=True,
)


@jit
def _add(t: Any, v: float, means: F64) -> None:
    """One value."""
    t["n"] += 1.0
    t["sum"] += v
    t["squares"] += v * v
    t["part"] += v
    t["part_n"] += 1
    if t["part_n"] == t["b0"]:
        if t["means"] < means.shape[0]:
            means[t["means"]] = t["part"] / t["b0"]
            t["means"] += 1
        t["part"] = 0.0
        t["part_n"] = 0
    size = 2.0
    for j in range(SIZES):  # a binary counter: two steps a value on average
        if t["half"][j] == 0:
            t["half"][j] = 1
            t["held"][j] = v
            break
        v += t["held"][j]
        t["half"][j] = 0
        mean = v / size
        t["blocks"][j] += 1.0
        t["block_sum"][j] += mean
        t["block_squares"][j] += mean * mean
        size *= 2.0


@jit
def add_totals(y: F64, lo: int, hi: int, totals: Any, means: F64) -> None:
    """Take rows lo..hi of all channels.

    Args:
        y: (C, n) channel values; NaN = none.
        lo: first row.
        hi: row after the last.
        totals: TOTALS[C] in and out; ``b0`` is at least 1.
        means: (C, m) out: those of complete blocks of ``b0`` values, as far as there is room.
    """
    for c in range(totals.shape[0]):
        t = totals[c]
        for i in range(lo, hi):
            v = y[c, i]
            if v == v:
                _add(t, v, means[c])


@jit
def add_bins(bins: I64, group: I64, block: int, counts: I64, seen: I64, place: I64) -> None:
    """Take rows of one signal by bin.

    Args:
        bins: (n,) bin of each row.
        group: (bins,) group of a bin.
        block: rows of the blocks whose groups are counted.
        counts: (bins,) in and out: rows by bin.
        seen: (m, groups) in and out: rows by block and group, as far as there is room.
        place: (2,) in and out: rows in the partial block, complete blocks.
    """
    for i in range(bins.shape[0]):
        counts[bins[i]] += 1
        if place[1] < seen.shape[0]:
            seen[place[1], group[bins[i]]] += 1
            place[0] += 1
            if place[0] == block:
                place[0] = 0
                place[1] += 1
