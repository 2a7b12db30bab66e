"""Slow, obvious Page-Hinkley (Page 1954), river 0.26.1's with alpha 1 and min_instances 30."""

from __future__ import annotations

import math


class PageHinkley:
    """One test. ``update`` returns (alarm, statistic); the statistic is 0 before 30 values."""

    def __init__(self, delta: float, threshold: float) -> None:
        self.delta = delta
        self.threshold = threshold
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.n = 0
        self.mean = self.up = self.down = 0.0
        self.lowest, self.highest = math.inf, -1.0  # -1 is river's
        self.pending_clear = False

    def update(self, x: float) -> tuple[bool, float]:
        """One value."""
        if self.pending_clear:
            self.clear()
        self.n += 1
        self.mean += (1.0 / self.n) * (x - self.mean)
        self.up = self.up + (x - self.mean) - self.delta
        self.down = self.down + (x - self.mean) + self.delta
        self.lowest = min(self.lowest, self.up)
        self.highest = max(self.highest, self.down)
        statistic = max(self.up - self.lowest, self.highest - self.down) if self.n >= 30 else 0.0
        self.pending_clear = statistic > self.threshold
        return self.pending_clear, statistic


def alarms(x: list[float], delta: float, threshold: float) -> list[int]:
    """Indices of the alarms."""
    test = PageHinkley(delta, threshold)
    return [i for i, value in enumerate(x) if test.update(value)[0]]
