"""Windows: counting values into the reference's bins, and comparing the counts with the reference's.

Owns: the counts of a tumbling window (exact integers: windows and cuts add up) and the statistics of two
histograms. Bins of all signals lie end to end; ``start`` says where each signal's begin. Must not know: what
a statistic leads to, names, time.

Statistics, with shares p (window) and q (reference) over cells, empty ones out:
PSI = sum (p - q) ln(p / q), an empty cell of one side counted as half a row; Jensen-Shannon distance = root
of the divergence in bits (Lin 1991); Hellinger = root of 1 - sum sqrt(p q); L-infinity = max |p - q|;
chi-squared and G = 2 sum observed ln(observed / expected) of the 2 x k table (Agresti, Categorical Data
Analysis, 3.2). Over ordered bins: Kolmogorov-Smirnov = max |P - Q|; Wasserstein = integral of |P - Q| over
the values, with P - Q linear within a bin (the widths are in the unit that the caller chose).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit
from driftline.detect.kernels.state import SIGNAL_NUMERIC

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

FINE: Final = 100  # bins of u: a Kolmogorov-Smirnov distance is within 0.01 of that of the raw values
CELLS_MAX: Final = 64  # a numeric signal has at most 11 cells, a categorical one 32

# Columns of window_statistics.
ROWS, PSI, JS, HELLINGER, L_INF, KS, WASSERSTEIN, CHI2, G, DF = range(10)
STATISTICS: Final = 10


@jit
def count_window(y: F64, x: F64, lo: int, hi: int, specs: Any, start: I64, counts: I64, missing: I64) -> None:
    """Add rows lo..hi to the counts of a window.

    Args:
        y: (C, n) channel values as derive_channels gives them.
        x: (S, n) numbers or category codes.
        lo: first row.
        hi: row after the last.
        specs: SIGNAL_SPEC[S].
        start: (S + 1,) where each signal's bins begin; none for a signal without bins.
        counts: (K,) in and out.
        missing: (S,) in and out: rows in which the signal is missing.
    """
    for s in range(specs.shape[0]):
        a, b = start[s], start[s + 1]
        first = specs[s]["first_channel"]
        gone = 0
        if specs[s]["kind"] == SIGNAL_NUMERIC:
            atom = specs[s]["has_atom"] != 0
            at = first + 1 + (1 if atom else 0)
            located = specs[s]["has_location"] != 0
            for i in range(lo, hi):
                if y[first, i] == 1.0:
                    gone += 1
                elif b > a and x[s, i] == x[s, i]:
                    k = 0
                    if atom and y[first + 1, i] == 1.0:
                        k = FINE
                    elif located:
                        k = int(y[at, i] * FINE)
                        if k >= FINE:
                            k = FINE - 1
                    counts[a + k] += 1
        else:
            last = first + specs[s]["n_channels"] - 2
            for i in range(lo, hi):
                v = x[s, i]
                if v == v:
                    if b > a:
                        k = int(v)
                        if k < 0 or k >= b - a:
                            k = b - a - 1
                        counts[a + k] += 1
                elif y[last, i] == 1.0:
                    gone += 1
        missing[s] += gone


@jit
def window_statistics(
    counts: I64, ref: I64, start: I64, order: I64, width: F64, cell: I64, ordered: U8, out: F64
) -> None:
    """All statistics of every signal's window.

    Args:
        counts: (K,) rows of the window by bin.
        ref: (K,) rows of the reference by bin.
        start: (S + 1,) where each signal's bins begin.
        order: (K,) bins of each signal by value, as indices into all bins.
        width: (K,) extent of the values of a bin.
        cell: (K,) cell of a bin, from 0 for each signal.
        ordered: (S,) 1 = values have an order (numeric).
        out: (S, STATISTICS) out; NaN where a side has no rows or there is no order.
    """
    c = np.empty(CELLS_MAX, np.float64)
    r = np.empty(CELLS_MAX, np.float64)
    for s in range(start.shape[0] - 1):
        a, b = start[s], start[s + 1]
        for k in range(STATISTICS):
            out[s, k] = math.nan
        cells = 0
        for k in range(CELLS_MAX):
            c[k] = 0.0
            r[k] = 0.0
        n = 0.0
        m = 0.0
        for k in range(a, b):
            j = cell[k]
            c[j] += counts[k]
            r[j] += ref[k]
            n += counts[k]
            m += ref[k]
            if j >= cells:
                cells = j + 1
        out[s, ROWS] = n
        out[s, DF] = cells - 1.0
        if n == 0.0 or m == 0.0:
            continue
        _cells(c, r, cells, n, m, out[s])
        if ordered[s] != 0:
            _ordered(counts, ref, order, width, a, b, n, m, out[s])


@jit
def _cells(c: F64, r: F64, cells: int, n: float, m: float, out: F64) -> None:
    """Statistics that know no order of the cells."""
    psi, js, overlap, largest, chi2, g = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for j in range(cells):
        if c[j] + r[j] == 0.0:
            continue
        p, q = c[j] / n, r[j] / m
        ps = (c[j] if c[j] > 0.0 else 0.5) / n
        qs = (r[j] if r[j] > 0.0 else 0.5) / m
        psi += (ps - qs) * math.log(ps / qs)
        half = 0.5 * (p + q)
        pooled = (c[j] + r[j]) / (n + m)
        if p > 0.0:
            js += 0.5 * p * math.log2(p / half)
            g += 2.0 * c[j] * math.log(p / pooled)
        if q > 0.0:
            js += 0.5 * q * math.log2(q / half)
            g += 2.0 * r[j] * math.log(q / pooled)
        overlap += math.sqrt(p * q)
        gap = abs(p - q)
        largest = gap if gap > largest else largest
        chi2 += (p - q) ** 2 / pooled
    out[PSI] = psi
    out[JS] = math.sqrt(js) if js > 0.0 else 0.0
    out[HELLINGER] = math.sqrt(1.0 - overlap) if overlap < 1.0 else 0.0
    out[L_INF] = largest
    out[CHI2] = chi2 * n * m / (n + m)
    out[G] = g if g > 0.0 else 0.0


@jit
def _ordered(
    counts: I64, ref: I64, order: I64, width: F64, a: int, b: int, n: float, m: float, out: F64
) -> None:
    """Kolmogorov-Smirnov and Wasserstein over the bins in the order of their values."""
    up, down, ks, area = 0.0, 0.0, 0.0, 0.0
    before = 0.0
    for i in range(a, b):
        k = order[i]
        up += counts[k]
        down += ref[k]
        gap = up / n - down / m
        ks = abs(gap) if abs(gap) > ks else ks
        if gap * before >= 0.0:
            area += width[k] * 0.5 * (abs(gap) + abs(before))
        else:
            area += width[k] * 0.5 * (gap * gap + before * before) / (abs(gap) + abs(before))
        before = gap
    out[KS] = ks
    out[WASSERSTEIN] = area
