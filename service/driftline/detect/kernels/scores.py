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


@jit
def probability_sums(p: Any, y: Any) -> Any:
    """Log loss, Brier score and expected calibration error of probabilities p of y = 1 (uint8)."""
    n = p.shape[0]
    loss = square = 0.0
    total = np.zeros(ECE_BINS)
    hits = np.zeros(ECE_BINS)
    for i in range(n):
        q = min(max(p[i], _EPS), 1.0 - _EPS)
        loss -= math.log(q) if y[i] != 0 else math.log(1.0 - q)
        square += (p[i] - y[i]) ** 2
        k = min(int(p[i] * ECE_BINS), ECE_BINS - 1)
        total[k] += p[i]
        hits[k] += y[i]
    gap = 0.0
    for k in range(ECE_BINS):
        gap += abs(total[k] - hits[k])
    return loss / n, square / n, gap / n


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


@jit
def regression_sums(p: Any, y: Any) -> Any:
    """MAE, RMSE, bias (mean of p - y) and R2 (NaN where y does not vary)."""
    n = p.shape[0]
    absolute = square = bias = mean = 0.0
    for i in range(n):
        d = p[i] - y[i]
        absolute += abs(d)
        square += d * d
        bias += d
        mean += y[i]
    mean /= n
    spread = 0.0
    for i in range(n):
        spread += (y[i] - mean) ** 2
    r2 = 1.0 - square / spread if spread > 0.0 else math.nan
    return absolute / n, math.sqrt(square / n), bias / n, r2
