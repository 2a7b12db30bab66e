"""Windows against the reference: the layout of the bins, a window's counts, and the test of its shape.

Owns: what a window needs of a reference, the state of a window, and when its shape is out of the reference's
range. The test is the likelihood-ratio (G) test of two histograms, which is 2 (n + m) times their weighted
Jensen-Shannon divergence; its tail is exact in the large-deviation sense also for cells with few rows, where
Pearson's is not. Counts of dependent rows are divided by the design effect of the reference (Rao and Scott
1981). Must not know: episodes, words, time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, chdtri, kolmogorov

from driftline.detect.bins import cells_of, numeric_groups
from driftline.detect.kernels.windows import (
    CHI2,
    DF,
    FINE,
    KS,
    PSI,
    ROWS,
    STATISTICS,
    G,
    window_statistics,
)
from driftline.detect.reference import SignalReference
from driftline.detect.window_time import WindowTime
from driftline.records import F64, I64, U8, Tag

ROWS_MIN: Final = 100  # present rows that a window needs to be judged
LEVEL_MAX: Final = 0.05  # chance of a false opening by one window, however small the run length
HOME: Final = 0.05  # back: a statistic that a window like the reference exceeds in one of 20 cases
NAMES: Final = (
    "rows",
    "psi",
    "jensen_shannon_distance",
    "hellinger_distance",
    "l_infinity_distance",
    "ks_distance",
    "wasserstein_distance",
    "chi_squared",
    "g",
    "degrees_of_freedom",
)
HOME_WINDOWS: Final = 2  # ... in so many windows in a row


class Bins:
    """The bins of all signals end to end. K bins, S signals."""

    def __init__(self, signals: Sequence[SignalReference]) -> None:
        self.start = np.zeros(len(signals) + 1, dtype=np.int64)
        self.design = np.ones(len(signals))
        self.wander = np.zeros(len(signals))
        self.ordered: U8 = np.zeros(len(signals), dtype=np.uint8)
        self.edges: list[F64 | None] = []  # values at the 101 bounds of the bins of u, numeric signals only
        parts: list[tuple[I64, I64, F64, I64]] = []
        for s, signal in enumerate(signals):
            at = int(self.start[s])
            self.start[s + 1] = at + (len(signal.bins.counts) if signal.bins else 0)
            self.edges.append(bin_edges(signal))
            if signal.bins is None:
                continue
            self.design[s], self.wander[s] = signal.bins.design, signal.bins.wander
            self.ordered[s] = signal.tag is Tag.NUMBER
            order, width = _order(signal, self.edges[s])
            counts = np.array(signal.bins.counts, dtype=np.int64)
            groups = numeric_groups(len(counts)) if signal.tag is Tag.NUMBER else list(range(len(counts)))
            parts.append((counts, at + order, width, cells_of(counts, groups)))
        none: I64 = np.zeros(0, dtype=np.int64)
        self.counts, self.order, self.cell = (
            np.concatenate([p[i] for p in parts]) if parts else none for i in (0, 1, 3)
        )
        self.width = np.concatenate([p[2] for p in parts]) if parts else np.zeros(0)

    def __len__(self) -> int:
        return int(self.start[-1])

    def statistics(self, counts: I64) -> F64:
        """Statistics of a window's counts, by signal: (S, STATISTICS)."""
        out = np.full((len(self.design), STATISTICS), np.nan)
        window_statistics(
            counts, self.counts, self.start, self.order, self.width, self.cell, self.ordered, out
        )
        return out

    def rows(self) -> I64:
        """Reference rows in the bins of each signal: (S,)."""
        total = np.concatenate([[0], np.cumsum(self.counts)])
        return np.asarray(total[self.start[1:]] - total[self.start[:-1]], dtype=np.int64)


@dataclass(slots=True)
class Window:
    """A tumbling window that is filling, and what the last full one said."""

    counts: I64  # (K,)
    missing: I64  # (S,)
    open: npt.NDArray[np.int8]  # (S,) 1 while the window test holds an episode open
    home: I64  # (S,) windows in a row like the reference
    last: F64  # (S, STATISTICS) of the last full window; NaN before there is one
    rows: int = 0
    first_time: int = -1  # event time of its first row, ms
    number: int = 0  # full windows so far
    tainted: list[str] = field(default_factory=list)  # signals that had an episode within this window
    time: WindowTime = field(default_factory=WindowTime)

    @classmethod
    def new(cls, bins: Bins) -> Window:
        """An empty window."""
        signals = len(bins.design)
        return cls(
            np.zeros(len(bins), dtype=np.int64),
            np.zeros(signals, dtype=np.int64),
            np.zeros(signals, dtype=np.int8),
            np.zeros(signals, dtype=np.int64),
            np.full((signals, STATISTICS), np.nan),
        )

    def extended(self, bins: Bins) -> Window:
        """The same window with room for signals that came later."""
        more = Window.new(bins)
        more.counts[: len(self.counts)] = self.counts
        for name in ("missing", "open", "home", "last"):
            getattr(more, name)[: len(self.missing)] = getattr(self, name)
        more.rows, more.first_time, more.number = self.rows, self.first_time, self.number
        more.tainted, more.time = list(self.tainted), self.time
        return more

    def begin(self) -> None:
        """Empty it for the next rows."""
        self.counts[:] = 0
        self.missing[:] = 0
        self.rows, self.first_time, self.number, self.tainted = 0, -1, self.number + 1, []
        self.time.late = 0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a window's G says, all of shape (S,); NaN where there is nothing to judge."""

    statistic: F64  # G / design effect
    level: F64  # opens at or above it
    home: F64  # like the reference up to it
    psi_level: F64  # the PSI that this window would have at the level (both grow alike)
    chi2_p: F64
    ks_p: F64


def judge(
    statistics: F64, rows: I64, design: F64, wander: F64, run_length: F64, tolerance: float, length: int
) -> Judgement:
    """Test a window of ``length`` rows.

    A shift of ``tolerance`` reference standard deviations is left alone: of a normal variable it has a
    chi-squared divergence of tolerance ** 2, which is the non-centrality a row. So is what blocks of the
    reference themselves do.

    Args:
        statistics: (S, STATISTICS).
        rows: (S,) reference rows.
        design: (S,) factor by which dependence inflates the statistics.
        wander: (S,) largest divergence of a block of the reference; see ``BinReference``.
        run_length: (S,) rows between false openings of one source.
        tolerance: in reference standard deviations.
        length: rows of the window.
    """
    n, df = statistics[:, ROWS], statistics[:, DF]
    with np.errstate(invalid="ignore", divide="ignore"):
        usable = (n >= ROWS_MIN) & (df >= 1.0) & (rows > 0)
        pairs = np.where(usable, n * rows / (n + rows), np.nan) / design
        shift = pairs * np.maximum(tolerance**2, wander)
        alpha = np.minimum(length / run_length, LEVEL_MAX)
        level = noncentral_level(alpha, df, shift)
        statistic = np.where(usable, statistics[:, G] / design, np.nan)
        return Judgement(
            statistic,
            level,
            noncentral_level(np.full(len(n), HOME), df, shift),
            level / statistic * statistics[:, PSI],
            np.where(usable, chdtrc(df, statistics[:, CHI2] / design), np.nan),
            np.where(usable, kolmogorov(np.sqrt(pairs) * statistics[:, KS]), np.nan),
        )


def noncentral_level(alpha: F64, df: F64, shift: F64) -> F64:
    """Value that a non-central chi-squared exceeds with probability alpha (Patnaik's approximation, 1949)."""
    scale = (df + 2.0 * shift) / (df + shift)
    return np.asarray(scale * chdtri((df + shift) ** 2 / (df + 2.0 * shift), alpha), dtype=np.float64)


def named(statistics: F64) -> dict[str, float | None]:
    """One signal's statistics by name, JSON-ready."""
    return {name: float(v) if np.isfinite(v) else None for name, v in zip(NAMES, statistics, strict=True)}


def bin_edges(signal: SignalReference) -> F64 | None:
    """Values at u = 0, 0.01 ... 1 of a numeric signal with bins: (101,)."""
    if signal.bins is None or signal.numeric is None:
        return None
    u = np.array([signal.numeric.below, signal.numeric.upto]).T.ravel()
    values = np.repeat(np.array(signal.numeric.knots), 2)
    return np.asarray(np.interp(np.arange(FINE + 1) / FINE, u, values), dtype=np.float64)


def _order(signal: SignalReference, edges: F64 | None) -> tuple[I64, F64]:
    """Bins by value, and how far the values of each extend, in reference standard deviations."""
    assert signal.bins is not None  # the caller has looked
    size = len(signal.bins.counts)
    order = np.arange(size, dtype=np.int64)
    width = np.zeros(size)
    if edges is None or signal.numeric is None:
        return order, width
    sd = signal.numeric.sd if signal.numeric.sd > 0.0 else np.inf
    with np.errstate(over="ignore", invalid="ignore"):
        width[:FINE] = np.diff(edges)
        if signal.numeric.atom is not None:
            order = _with_atom(edges, signal.numeric.atom, width)
        return order, np.nan_to_num(width / sd, posinf=0.0)


def _with_atom(edges: F64, atom: float, width: F64) -> I64:
    """Order of the bins with the atom between the two that meet at it; their widths are made to do so."""
    k = int(np.searchsorted(edges, atom, "right")) - 1  # edges[k] <= atom < edges[k + 1]
    if k < 0:
        width[0] += edges[0] - atom
    elif k >= FINE:
        k = FINE - 1
        width[k] += atom - edges[FINE]
    elif k < FINE - 1:
        width[k], rest = atom - edges[k], edges[k + 1] - atom
        width[k + 1] += rest
    return np.insert(np.arange(FINE, dtype=np.int64), k + 1, FINE)
