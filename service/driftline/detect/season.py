"""Seasons: what is usual at an hour of the day, or of the week, of a signal (docs/decisions.md, "Season").

Owns: a season as the reference holds it, the distribution of each hour that follows, and their application to
channel values. Hours are of event time in UTC; those of a week are counted from Thursday 00:00, as the epoch
began. Must not know: how a reference is read, configuration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from driftline.detect.kernels.season import CELLS, deseason
from driftline.records import F64, I64

SHRINK: Final = 20.0  # an hour of n values counts n / (n + SHRINK), the whole reference the rest
HOUR_VALUES_MIN: Final = 200  # an hour with fewer takes the distribution of the nearest that has so many
HOURS_MAX: Final = 168


class Period(StrEnum):
    """After what time a season begins anew."""

    DAILY = "daily"
    WEEKLY = "weekly"

    @property
    def hours(self) -> int:
        """Its length."""
        return 24 if self is Period.DAILY else HOURS_MAX


@dataclass(frozen=True, slots=True)
class Season:
    """Values of the reference by hour of the period and cell of u, of which each hour has CELLS."""

    period: Period
    counts: tuple[tuple[int, ...], ...]


def check_season(season: Season) -> bool:
    """Whether the kernel can work with it."""
    hours = [sum(row) for row in season.counts]
    sound = len(hours) == season.period.hours and all(len(row) == CELLS for row in season.counts)
    return sound and max(hours) >= HOUR_VALUES_MIN and min(map(min, season.counts)) >= 0


def hour_maps(season: Season) -> F64:
    """Place within its hour of a value at u = 0, 1 / CELLS ... 1: (hours, CELLS + 1)."""
    counts = np.array(season.counts, dtype=np.float64)
    total = counts.sum(axis=1)
    known = np.flatnonzero(total >= HOUR_VALUES_MIN)
    apart = np.abs(np.arange(len(total))[:, None] - known)
    nearest = known[np.minimum(apart, len(total) - apart).argmin(axis=1)]
    n = total[nearest][:, None]
    below = np.concatenate([np.zeros((len(n), 1)), np.cumsum(counts[nearest], axis=1)], axis=1) / n
    weight = n / (n + SHRINK)
    return np.asarray(weight * below + (1.0 - weight) * (np.arange(CELLS + 1) / CELLS), dtype=np.float64)


class Seasons:
    """The seasons of a layout's signals as arrays."""

    def __init__(self, seasons: Sequence[Season | None], location: Sequence[int]) -> None:
        found = [(hour_maps(s), c) for s, c in zip(seasons, location, strict=True) if s is not None]
        sizes = [len(m) for m, _ in found]
        self._location: I64 = np.array([c for _, c in found], dtype=np.int64)
        self._hours: I64 = np.array(sizes, dtype=np.int64)
        self._start: I64 = np.cumsum([0, *sizes])[:-1].astype(np.int64)
        self.maps: F64 = np.concatenate([m for m, _ in found]) if found else np.zeros((1, CELLS + 1))

    def apply(self, y: F64, times: I64, lo: int, hi: int) -> None:
        """Location and spread of rows lo..hi become those within their hours."""
        if len(self._location):
            deseason(y, times, lo, hi, self._location, self._start, self._hours, self.maps)
