"""What a second reading of reference rows keeps of a signal beside its channels: bins, and the range so far.

Both take the channel and signal values of ``Layout.derive``; the formulas are those of ``bins.bin_reference``
and ``reference.out_of_range``.
"""

from __future__ import annotations

import math

import numpy as np

from driftline.detect.bins import (
    CATEGORY_BINS,
    BinReference,
    category_bins,
    dependence,
    numeric_bins,
    numeric_groups,
)
from driftline.detect.kernels.totals import add_bins
from driftline.detect.kernels.windows import FINE
from driftline.detect.reference import SignalReference
from driftline.records import F64, I64


class SignalBins:
    """Rows of one signal by bin; ``rows`` is about how many there will be."""

    def __init__(self, signal: SignalReference, rows: int) -> None:
        numeric, table = signal.numeric, signal.categorical
        self._atom = None if numeric is None else numeric.atom
        self._kept = 0 if table is None else table.kept
        self._is_numeric = table is None
        size = FINE + (self._atom is not None) if table is None else min(self._kept, CATEGORY_BINS) + 1
        groups = numeric_groups(size) if table is None else list(range(size))
        self._group: I64 = np.array(groups, dtype=np.int64)
        self._block = max(math.isqrt(rows), 1)
        self._counts: I64 = np.zeros(size, dtype=np.int64)
        self._seen: I64 = np.zeros((rows // self._block + 1, max(groups) + 1), dtype=np.int64)
        self._place: I64 = np.zeros(2, dtype=np.int64)

    def add(self, x: F64, u: F64 | None) -> None:
        """Take rows: numbers or category codes, NaN for none, and their location if there is that channel."""
        there = ~np.isnan(x)
        x = x[there]
        if self._is_numeric:
            ranks = np.zeros(len(x)) if u is None else u[there]
            bins = numeric_bins(ranks, None if self._atom is None else x == self._atom)
        else:
            bins = category_bins(x.astype(np.int64), self._kept)
        add_bins(bins, self._group, self._block, self._counts, self._seen, self._place)

    def reference(self) -> BinReference | None:
        """Counts and dependence; None without rows."""
        if not self._counts.any():
            return None
        complete = self._seen[: int(self._place[1])]
        return dependence(self._counts, self._group.tolist(), complete)


class Ranges:
    """Smallest and largest located value of each signal in the first half; S signals."""

    def __init__(self, signals: int) -> None:
        self._low, self._high = np.full(signals, np.inf), np.full(signals, -np.inf)

    def learn(self, s: int, x: F64, u: F64) -> F64:
        """Take values of the first half; nothing is out of range yet: NaN."""
        located = x[~np.isnan(u)]
        if len(located):
            self._low[s] = min(self._low[s], float(located.min()))
            self._high[s] = max(self._high[s], float(located.max()))
        return np.full(len(x), np.nan)

    def outside(self, s: int, x: F64, u: F64) -> F64:
        """1.0 for values of the second half out of the range of the first half, NaN where there is none."""
        out: F64 = ((x < self._low[s]) | (x > self._high[s])).astype(np.float64)
        out[np.isnan(u)] = np.nan
        return out
