"""Statistics of a channel from what one pass over its values has kept (``kernels/totals.py``)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from driftline.detect.reference import (
    BLOCK_SIZES,
    TAU_MAX,
    TAU_ROWS_MIN,
    ChannelReference,
    slow_range,
    solve_thetas,
)
from driftline.records import F64, I64


@dataclass(frozen=True, slots=True)
class Distribution:
    """Channel values and their shares, from which Page-Hinkley's exponents are solved."""

    y: F64
    shares: F64

    @classmethod
    def of(cls, y: F64, counts: I64) -> Distribution:
        """Values with their counts; one that never occurred is none of them."""
        there = counts > 0
        return cls(y[there], counts[there] / max(int(counts.sum()), 1))

    def thetas(self, sd: float) -> tuple[float, float]:
        """(up, down)."""
        return solve_thetas(self.y, self.shares, float(np.dot(self.shares, self.y)), sd)

    def folded(self) -> Distribution:
        """That of the spread."""
        return Distribution(np.abs(2.0 * self.y - 1.0), self.shares)


def measured(channel: ChannelReference, t: Any, means: F64, shape: Distribution | None) -> ChannelReference:
    """The channel with the statistics of its values; see ``reference.channel_reference``.

    ``means`` are those of its blocks of b0 values.
    """
    n = int(t["n"])
    mean, sd = _moments(t["n"], t["sum"], t["squares"])
    blocks = zip(BLOCK_SIZES, t["blocks"], t["block_sum"], t["block_squares"], strict=True)
    block_sds = tuple(_moments(k, s, q)[1] if n >= 2 * b else 0.0 for b, k, s, q in blocks)
    tau = 1.0
    means, b0 = means[: int(t["means"])], int(t["b0"])
    if n >= TAU_ROWS_MIN and sd > 0.0 and len(means) >= 2:
        tau = min(TAU_MAX, max(1.0, b0 * float(np.var(means, ddof=1)) / sd**2))
    slow = slow_range(means, b0, tau, n)
    up, down = 0.0, 0.0
    if not channel.binary and sd > 1e-6 and shape is not None:
        up, down = shape.thetas(sd)
    return replace(
        channel,
        n=n,
        mean=mean,
        sd=sd,
        tau=tau,
        block_sds=block_sds,
        theta_up=up,
        theta_down=down,
        wander=slow,
    )


def _moments(n: float, total: float, squares: float) -> tuple[float, float]:
    """Mean and standard deviation from sums."""
    if n <= 0:
        return 0.0, 0.0
    mean = float(total) / float(n)
    return min(mean, 1.0), math.sqrt(max(float(squares) - float(n) * mean * mean, 0.0) / float(n))
