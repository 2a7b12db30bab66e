"""Quantiles of one column in bounded memory: exact counts of frequent values, a KLL sketch of the others.

Frequent values (the atoms of ``reference.py``) would eat up the precision of a sketch: where 99 % of the rows
are 0, an error of 0.1 % of all rows is one of 10 % of the rest. They are found in the first HEAD values.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np

from driftline.detect.kernels.kll import (
    COINS,
    LEVELS,
    N,
    compact,
    kll_update,
    level_capacity,
    new_kll,
    split_frequent,
)
from driftline.detect.reference import KNOTS_MAX
from driftline.records import F64, I64

# Its error, 0.14 % of the rows, is a third of the distance of two knots; a sketch has 50 KB.
K: Final = 2_048
HEAD: Final = 10_000
FREQUENT_SHARE: Final = 0.5 / KNOTS_MAX  # of the head: half of what makes a knot, so that none is overlooked


def rank_error(k: int) -> float:
    """Error of a rank as a share of all values, exceeded with 1 % chance: DataSketches' fit for KLL."""
    return float(2.296 / k**0.9723)


class Kll:
    """A KLL sketch: see ``kernels/kll.py``."""

    def __init__(self, k: int = K) -> None:
        self.k = k
        self.items, self.start, self.head = new_kll(k)

    def __len__(self) -> int:
        return int(self.head[N])

    def add(self, x: F64) -> None:
        """Take values, none of them NaN."""
        kll_update(x, self.k, self.items, self.start, self.head)

    def levels(self) -> list[F64]:
        """The items of each level; one of level h stands for 2**h values."""
        at = self.start[: int(self.head[LEVELS]) + 1]
        return [self.items[lo:hi] for lo, hi in pairwise(at.tolist())]

    def merge(self, other: Kll) -> None:
        """Take what another sketch of the same k has seen; the other stays as it is."""
        mine, theirs = self.levels(), other.levels()
        count = max(len(mine), len(theirs))
        levels = [
            np.sort(np.concatenate([part[h] for part in (mine, theirs) if h < len(part)]))
            for h in range(count)
        ]
        while sum(map(len, levels)) > sum(level_capacity(self.k, d) for d in range(len(levels))):
            h = next(h for h, x in enumerate(levels) if len(x) >= level_capacity(self.k, len(levels) - h - 1))
            if h == len(levels) - 1:
                levels.append(np.zeros(0))
            odd = len(levels[h]) % 2
            self.head[COINS] += 1
            promoted = compact(levels[h][odd:], int(self.head[COINS]))
            levels[h], levels[h + 1] = levels[h][:odd], np.sort(np.concatenate([promoted, levels[h + 1]]))
        self.head[N] += other.head[N]
        self.head[LEVELS] = len(levels)
        end = sum(int(level_capacity(self.k, d)) for d in range(len(levels)))
        ends = end - np.cumsum([0, *(len(x) for x in reversed(levels))])
        self.start[: len(levels) + 1] = ends[::-1]
        self.items[ends[-1] : end] = np.concatenate(levels)


def summed(values: F64, counts: I64) -> tuple[F64, I64]:
    """Unique values, ascending, and their counts."""
    unique, place = np.unique(values, return_inverse=True)
    total = np.zeros(len(unique), dtype=np.int64)
    np.add.at(total, place, counts)
    return unique, total


class Quantiles:
    """The values of a column. ``mean`` and ``sd`` are of all of them, summed in their order."""

    def __init__(self) -> None:
        self._head: list[F64] = []
        self._heads = 0
        self._frequent: F64 | None = None  # None: the head is not full yet
        self._counts: I64 = np.zeros(0, dtype=np.int64)
        self._others = Kll()
        self._moments = np.array([0.0, 0.0, 0.0, np.inf, -np.inf])  # see split_frequent

    def __len__(self) -> int:
        return self._heads + int(self._counts.sum()) + len(self._others)

    def add(self, x: F64) -> None:
        """Take values, none of them NaN."""
        if self._frequent is None:
            part = x[: HEAD - self._heads]
            self._head.append(part.copy())
            self._heads += len(part)
            if self._heads < HEAD:
                return
            self._end_head()
            x = x[len(part) :]
        self._take(x)

    def _end_head(self) -> None:
        head = np.concatenate(self._head) if self._head else np.zeros(0)
        values, counts = np.unique(head, return_counts=True)
        self._frequent = values[counts >= FREQUENT_SHARE * HEAD]
        self._counts = np.zeros(len(self._frequent), dtype=np.int64)
        self._head, self._heads = [], 0
        self._take(head)

    def _take(self, x: F64) -> None:
        assert self._frequent is not None  # the head has ended
        others = np.empty(len(x))
        n = split_frequent(x, self._frequent, self._counts, others, self._moments)
        self._others.add(others[:n])

    def summary(self) -> tuple[F64, I64]:
        """Values, ascending, each with how many values of the column it stands for; both extremes are in."""
        if self._frequent is None:
            self._end_head()
        assert self._frequent is not None  # just so
        if len(self._others) == 0:
            return self._frequent.copy(), self._counts.copy()
        levels = self._others.levels()
        weights = [np.full(len(x), 1 << h, dtype=np.int64) for h, x in enumerate(levels)]
        values, counts = summed(
            np.concatenate([*levels, self._moments[3:]]), np.concatenate([*weights, [0, 0]])
        )
        for end, beside in ((0, 1), (-1, -2)):
            if counts[end] == 0:  # the sketch dropped an extreme: its neighbour stands for it
                counts[end] += 1
                counts[beside] -= 1
        return summed(np.concatenate([self._frequent, values]), np.concatenate([self._counts, counts]))

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return float(self._moments[1])

    @property
    def sd(self) -> float:
        """Standard deviation of the values."""
        return float(np.sqrt(self._moments[2] / max(self._moments[0], 1.0)))
