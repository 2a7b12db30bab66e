"""Bins of a signal: how its reference rows fall into them, and how far blocks of them differ from the whole.

A numeric signal has 100 bins of u (its own percentiles) and one for its atom, if it has one; a categorical
one has a bin for each of its most frequent categories and one for the rest. Windows are counted in these
bins, so every statistic of a window is exact on them and windows can be added up. For PSI, chi-squared and
their like bins are joined to ``cells`` (deciles): 100 bins of a small window are mostly noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from driftline.detect.kernels.windows import FINE
from driftline.detect.typed import OPTIONAL
from driftline.records import F64, I64

COARSE: Final = 10  # the deciles for which the usual limits of PSI (0.1, 0.25) were made
LONGER: Final = 4  # blocks that depend on their neighbours still do when so many are joined
LONGER_MIN: Final = 8  # joined blocks; fewer say nothing
GROWING: Final = 2.0  # ... and their statistic is twice that of the blocks; independent ones keep it
CATEGORY_BINS: Final = 31  # and one for the rest: what a report can hold and a person can read


@dataclass(frozen=True, slots=True)
class BinReference:
    """Reference rows of a signal by bin.

    ``design`` is the mean Pearson statistic of blocks of the reference against all of it, a degree of
    freedom: 1 for independent rows, more when neighbours resemble each other. ``wander`` is the largest
    chi-squared divergence of such a block, where longer blocks still resemble each other: days, for example.
    """

    counts: tuple[int, ...]
    design: float
    wander: float = field(default=0.0, metadata=OPTIONAL)


def numeric_bins(u: F64, atom: np.ndarray[Any, np.dtype[np.bool_]] | None) -> I64:
    """Bin of each row: that of its u; rows of the atom have the last bin, whatever their u."""
    bins = np.minimum((np.nan_to_num(u) * FINE).astype(np.int64), FINE - 1)
    if atom is not None:
        bins[atom] = FINE
    return bins


def category_bins(codes: I64, kept: int) -> I64:
    """Bin of each row from its category code (-1: not in the table)."""
    rest = min(kept, CATEGORY_BINS)
    return np.where((codes >= 0) & (codes < rest), codes, rest)


def bin_reference(bins: I64, size: int, groups: Sequence[int]) -> BinReference:
    """Counts and dependence of reference rows in time order; ``groups`` as ``cells_of`` takes them."""
    block = max(math.isqrt(len(bins)), 1)
    blocks, size_of = len(bins) // block, max(groups) + 1
    placed = np.asarray(groups)[bins[: blocks * block]] + size_of * np.repeat(np.arange(blocks), block)
    seen = np.bincount(placed, minlength=size_of * blocks).reshape(blocks, size_of)
    return dependence(np.bincount(bins, minlength=size), groups, seen)


def dependence(counts: I64, groups: Sequence[int], seen: I64) -> BinReference:
    """The same from the counts by bin (bins,), and those of consecutive blocks by group (blocks, groups)."""
    kept = tuple(counts.tolist())
    share = np.bincount(np.asarray(groups), weights=counts) / max(int(counts.sum()), 1)
    used = share > 0.0
    share, seen = share[used], np.ascontiguousarray(seen[:, used])  # sums in one order, whatever is left out
    if len(share) < 2 or len(seen) < 2:
        return BinReference(kept, 1.0)
    df, block = len(share) - 1, int(seen[0].sum())
    pearson = _pearson(seen, share)
    design = max(1.0, float(pearson.mean()) / df)
    blocks = len(seen) // LONGER
    longer = seen[: blocks * LONGER].reshape(blocks, LONGER, -1).sum(axis=1)
    if blocks < LONGER_MIN or float(_pearson(longer, share).mean()) / df <= GROWING * design:
        return BinReference(kept, design)
    return BinReference(kept, design, float(pearson.max()) / block)


def _pearson(seen: I64, share: F64) -> F64:
    """The statistic of each block against all of the reference."""
    expected = int(seen[0].sum()) * share
    return np.asarray((((seen - expected) ** 2) / expected).sum(axis=1), dtype=np.float64)


def numeric_groups(size: int) -> list[int]:
    """Percentiles to deciles; the atom, if there is one, stays by itself."""
    return [min(j, FINE - 1) // (FINE // COARSE) + (j >= FINE) for j in range(size)]


def cells_of(counts: Sequence[int] | I64, groups: Sequence[int]) -> I64:
    """Cell of each bin: its group; a group without reference rows joins the one before it (or after).

    A comparison has one degree of freedom fewer than cells; what never occurred in the reference is watched
    by the channels ``unseen``, ``other`` and ``range``.
    """
    total = np.bincount(np.asarray(groups), weights=np.asarray(counts, dtype=np.float64))
    cell = np.maximum(np.cumsum(total > 0.0) - 1, 0)
    return np.asarray(cell[np.asarray(groups)], dtype=np.int64)
