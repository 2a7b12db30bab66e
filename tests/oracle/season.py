"""Slow, obvious season: a value's place among those of its hour (docs/decisions.md, "Season")."""

from __future__ import annotations

import math
from fractions import Fraction

HOUR = 3_600_000


def place_in_hour(u: float, counts: list[int]) -> Fraction:
    """Share of an hour's values below u, the whole reference counted as 20 more of them."""
    n, cells = sum(counts), len(counts)
    at = Fraction(u) * cells
    k = min(int(at), cells - 1)
    below = (sum(counts[:k]) + (at - k) * counts[k]) / Fraction(n)
    weight = Fraction(n, n + 20)
    return weight * below + (1 - weight) * Fraction(u)


def nearest(hour: int, counts: list[list[int]]) -> list[int]:
    """The hour with at least 200 values that is next to this one, round the period; the earlier of two."""
    size = len(counts)
    known = [h for h in range(size) if sum(counts[h]) >= 200]
    return counts[min(known, key=lambda h: (min(abs(h - hour), size - abs(h - hour)), h))]


def deseasoned(u: float, time_ms: int, counts: list[list[int]]) -> float:
    """Between the middles of two hours, from the place in the one to the place in the other."""
    if math.isnan(u):
        return math.nan
    since = time_ms - HOUR // 2
    way = Fraction(since % HOUR, HOUR)
    one, other = ((since // HOUR + k) % len(counts) for k in (0, 1))
    places = [place_in_hour(u, nearest(h, counts)) for h in (one, other)]
    return float((1 - way) * places[0] + way * places[1])
