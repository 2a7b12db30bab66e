"""What is measured of predictions with their labels: sums in row order, so that a replay gives the same bits.

Definitions are those of scikit-learn, which the tests compare with on the same rows.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from driftline.detect.kernels._jit import jit

ECE_BINS: Final = 10  # of equal width; the usual choice (Guo et al., 2017)
_EPS: Final = float(np.finfo(np.float64).eps)  # where scikit-learn clips a probability


# Positions in what add_probabilities sums.
LOSS, SQUARE, SAID, HITS = 0, 1, 2, 2 + ECE_BINS
PROBABILITY_SUMS: Final = 2 + 2 * ECE_BINS


@jit
def add_probabilities(p: Any, y: Any, sums: Any) -> None:
    """Add rows to the sums behind ``probability_sums``: losses, squares, and by bin scores and true ones."""
    for i in range(p.shape[0]):
        q = min(max(p[i], _EPS), 1.0 - _EPS)
        sums[LOSS] -= math.log(q) if y[i] != 0 else math.log(1.0 - q)
        sums[SQUARE] += (p[i] - y[i]) ** 2
        k = min(int(p[i] * ECE_BINS), ECE_BINS - 1)
        sums[SAID + k] += p[i]
        sums[HITS + k] += y[i]


@jit
def calibration_gap(sums: Any) -> float:
    """Expected calibration error of what was added, times its rows."""
    gap = 0.0
    for k in range(ECE_BINS):
        gap += abs(sums[SAID + k] - sums[HITS + k])
    return gap


@jit
def probability_sums(p: Any, y: Any) -> Any:
    """Log loss, Brier score and expected calibration error of probabilities p of y = 1 (uint8)."""
    n = p.shape[0]
    sums = np.zeros(PROBABILITY_SUMS)
    add_probabilities(p, y, sums)
    return sums[LOSS] / n, sums[SQUARE] / n, calibration_gap(sums) / n


@jit
def auc(order: Any, s: Any, y: Any) -> float:
    """Area under the ROC curve; ``order`` sorts the scores s ascending. Ties count half; NaN: one class."""
    n = s.shape[0]
    below = pairs = positives = 0.0
    i = 0
    while i < n:
        j = i
        ones = zeros = 0.0
        while j < n and s[order[j]] == s[order[i]]:
            if y[order[j]] != 0:
                ones += 1.0
            else:
                zeros += 1.0
            j += 1
        pairs += ones * (below + 0.5 * zeros)
        below += zeros
        positives += ones
        i = j
    if below == 0.0 or positives == 0.0:
        return math.nan
    return pairs / (below * positives)


# Positions in what add_errors sums.
ABSOLUTE, SQUARED, SIGNED = 0, 1, 2
ERROR_SUMS: Final = 3


@jit
def add_errors(p: Any, y: Any, sums: Any) -> None:
    """Add rows to the sums of |p - y|, (p - y)**2 and p - y."""
    for i in range(p.shape[0]):
        d = p[i] - y[i]
        sums[ABSOLUTE] += abs(d)
        sums[SQUARED] += d * d
        sums[SIGNED] += d


@jit
def regression_sums(p: Any, y: Any) -> Any:
    """MAE, RMSE, bias (mean of p - y) and R2 (NaN where y does not vary)."""
    n = p.shape[0]
    sums = np.zeros(ERROR_SUMS)
    add_errors(p, y, sums)
    mean = spread = 0.0
    for i in range(n):
        mean += y[i]
    mean /= n
    for i in range(n):
        spread += (y[i] - mean) ** 2
    r2 = 1.0 - sums[SQUARED] / spread if spread > 0.0 else math.nan
    return sums[ABSOLUTE] / n, math.sqrt(sums[SQUARED] / n), sums[SIGNED] / n, r2


@jit
def add_values(x: Any, sums: Any) -> None:
    """Add rows to sums[0], in their order."""
    for i in range(x.shape[0]):
        sums[0] += x[i]
