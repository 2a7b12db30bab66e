"""Slow, obvious ADWIN: Bifet & Gavalda 2007 with river 0.26.1's order of operations, on lists."""

from __future__ import annotations

import math


class Adwin:
    """One window. ``update`` returns (alarm, |difference of means|, epsilon cut), both of the first cut."""

    def __init__(self, delta: float) -> None:
        self.delta = delta
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        # rows[r] = (total, variance) of each of its buckets of 2**r values, oldest first
        self.rows: list[list[tuple[float, float]]] = [[]]
        self.width = self.total = self.variance = 0.0
        self.seen = 0
        self.pending_clear = False

    def update(self, x: float) -> tuple[bool, float, float]:
        """One value."""
        if self.pending_clear:
            self.clear()
        self.rows[0].append((x, 0.0))
        self.width += 1.0
        if self.width > 1.0:
            away = x - self.total / (self.width - 1.0)
            self.variance += (self.width - 1.0) * away * away / self.width
        self.total += x
        self._merge()
        self.seen += 1
        first: tuple[float, float] | None = None
        if self.seen % 32 == 0 and self.width > 10.0:
            cut = self._cut()
            while cut is not None:
                first = first or cut
                self._drop()
                cut = self._cut()
        self.pending_clear = first is not None
        return (True, *first) if first else (False, math.nan, math.nan)

    def _merge(self) -> None:
        for r in range(40):
            if len(self.rows[r]) < 6:
                return
            if r + 1 == len(self.rows):
                self.rows.append([])
            (t0, v0), (t1, v1) = self.rows[r][:2]
            size = 2.0**r
            apart = t0 / size - t1 / size
            self.rows[r + 1].append((t0 + t1, v0 + v1 + size * 0.5 * apart * apart))
            self.rows[r] = self.rows[r][2:]

    def _cut(self) -> tuple[float, float] | None:
        n0, n1, u0, u1 = 0.0, self.width, 0.0, self.total
        confidence = math.log(2.0 * math.log(self.width) / self.delta)
        buckets = [(2.0**r, total) for r in reversed(range(len(self.rows))) for total, _ in self.rows[r]]
        for size, total in buckets[:-1]:
            n0, n1, u0, u1 = n0 + size, n1 - size, u0 + total, u1 - total
            if n0 < 5.0 or n1 < 5.0:
                continue
            m = 1.0 / (n0 - 5.0 + 1.0) + 1.0 / (n1 - 5.0 + 1.0)
            inside = 2.0 * m * (self.variance / self.width) * confidence
            if not inside >= 0.0:
                continue  # the root of a negative number is NaN, and nothing is larger than NaN
            epsilon = math.sqrt(inside) + 2.0 / 3.0 * confidence * m
            difference = abs(u0 / n0 - u1 / n1)
            if difference > epsilon:
                return difference, epsilon
        return None

    def _drop(self) -> None:
        total, variance = self.rows[-1].pop(0)
        size = 2.0 ** (len(self.rows) - 1)
        self.width -= size
        self.total -= total
        apart = total / size - self.total / self.width
        self.variance -= variance + size * self.width * apart * apart / (size + self.width)
        if not self.rows[-1]:
            self.rows.pop()


def alarms(x: list[float], delta: float) -> list[int]:
    """Indices of the alarms."""
    window = Adwin(delta)
    return [i for i, value in enumerate(x) if window.update(value)[0]]
