"""Slow, obvious mid-PIT (DECISIONS A), in exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction


def knots(reference: list[float]) -> tuple[list[float], list[float], list[float]]:
    """All knots of a small reference: unique values, F(q-), F(q)."""
    q = sorted(set(reference))
    n = len(reference)
    lo = [sum(value < at for value in reference) / n for at in q]
    hi = [sum(value <= at for value in reference) / n for at in q]
    return q, lo, hi


def mid_pit(x: float, q: list[float], lo: list[float], hi: list[float]) -> float:
    """u(x), NaN for NaN."""
    if math.isnan(x):
        return math.nan
    if x < q[0]:
        return 0.0
    if x > q[-1]:
        return 1.0
    for i, at in enumerate(q):
        if x == at:
            return (lo[i] + hi[i]) / 2.0
    i = max(j for j, at in enumerate(q) if at < x)
    way = (Fraction(x) - Fraction(q[i])) / (Fraction(q[i + 1]) - Fraction(q[i]))
    return float(Fraction(hi[i]) + way * (Fraction(lo[i + 1]) - Fraction(hi[i])))
