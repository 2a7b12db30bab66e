"""How far a reference itself wanders for longer than blocks can even out: days, slow autocorrelation.

Owns: the size of the blocks that detectors consume, and the two numbers by which the null has to be wider
when no block is long enough. An e-detector is right as long as the mean, given the past, stays in its null;
that of a daily cycle follows the hour. What the reference did itself is no news, so the null reaches as far.
Must not know: channels, thresholds.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from driftline.records import F64

LONGER: Final = 4  # blocks that resemble their neighbours over so many block lengths are too short
SIGNIFICANT: Final = 3.0  # standard errors of a correlation, 1 / sqrt(blocks)
RESOLVED: Final = 0.5  # blocks as long as that their means are more wandering than noise
TAU_ERROR_ROWS: Final = 100  # of fewer values it is not worse
BLOCKS_MIN: Final = 8  # fewer say nothing about how they resemble each other


def tau_error(n: F64 | float) -> F64:
    """Two standard errors of tau from n values, as a share of it: sqrt n blocks have sqrt(2 / sqrt n)."""
    return np.asarray(2.0 * np.sqrt(2.0 / np.sqrt(np.maximum(n, TAU_ERROR_ROWS))))


def block_size(tau: float, n: int) -> int:
    """1 when tau could be sampling noise, else a power of two of about three correlation lengths."""
    if tau <= 1.0 + float(tau_error(n)):
        return 1
    return int(2 ** math.ceil(math.log2(3.0 * tau)))


def wander(means: F64, size: int, block: int) -> tuple[float, float]:
    """How far below and above their mean a sequence wanders; zeros when blocks are long enough.

    Read from the longest means whose neighbours resemble each other: shorter ones are mostly noise, longer
    ones even out what they should show.

    Args:
        means: of consecutive blocks of ``size`` values each, in time order.
        size: floor(sqrt n), as for tau.
        block: size of the blocks that detectors consume.
    """
    if block <= 1 or len(means) < BLOCKS_MIN:
        return 0.0, 0.0
    centred = means - float(np.mean(means))
    correlation, joined = _neighbours(centred, math.ceil(LONGER * block / size))
    if len(joined) < BLOCKS_MIN or correlation <= SIGNIFICANT / math.sqrt(len(joined)):
        return 0.0, 0.0
    found, step = (0.0, 0.0), max(1, round(block / size))
    while len(means) // step >= BLOCKS_MIN:
        correlation, joined = _neighbours(centred, step)
        if correlation > RESOLVED:
            found = max(-float(joined.min()), 0.0), max(float(joined.max()), 0.0)
        step *= 2
    return found


def _neighbours(centred: F64, step: int) -> tuple[float, F64]:
    """Correlation of neighbouring means of ``step`` blocks, 0 without variance; and the means."""
    count = len(centred) // step
    joined = centred[: count * step].reshape(count, step).mean(axis=1)
    square = float(np.sum(joined**2))
    return (float(np.sum(joined[:-1] * joined[1:])) / square if square > 0.0 else 0.0), joined
