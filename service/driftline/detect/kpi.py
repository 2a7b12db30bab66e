"""Meters of KPIs: windows of rows or of time, and the counts and sums from which a measure follows.

Owns: where a window ends, what is counted, and the value of a measure. Counts are integers and sums run in
row order, so nothing depends on how rows were cut. A window of rows is full with its last row; one of time
ends with the first row beyond it, and a row older than that counts where the newest one does. Must not know:
bounds, episodes, words.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from driftline.config.kpi import EXTENSIVE, Measure, Origin
from driftline.detect.kernels import join, scores
from driftline.detect.performance import CLASSES
from driftline.records import F64, I64

ROWS, HITS = 0, 1  # places in the counts: rows that count, and those among them that are meant
MACRO: Final = 2  # from here on by class: said and right, said, there
_SUMS: Final = {
    **dict.fromkeys(("mean", "sum"), 1),
    **dict.fromkeys(("log_loss", "brier", "calibration_error"), scores.PROBABILITY_SUMS),
    **dict.fromkeys(("mae", "rmse", "bias"), scores.ERROR_SUMS),
}


@dataclass(slots=True)
class Fed:
    """Rows as a measure takes them. Shapes: (n,)."""

    times: I64  # event times, ms
    of: I64  # how often a row counts
    hit: I64  # ... and is meant
    x: F64 | None = None  # scores, predictions or values
    y: Any = None  # what was true
    codes: tuple[Any, Any] | None = None  # predicted and true class, for means over the classes


@dataclass(frozen=True, slots=True)
class Closed:
    """A window that has ended; times in ms."""

    row: int  # that decided it
    value: float  # NaN: it says nothing
    rows: int  # in the window
    counted: int  # of them, those that the measure is of
    first_time: int
    end_time: int
    windows: int = 1  # more: so many empty ones in a row


@dataclass(slots=True)
class Meter:
    """A measure over the window that is filling."""

    measure: Measure
    window_rows: int  # unless it is one of time
    window_ms: int | None
    rows: int = 0
    place: int = -1  # number of the stretch of time, -1 before the first row
    partial: bool = True  # the first stretch of time may have begun before the first row
    seen: bool = False  # its signal has come once: before, nobody knows whether there is one
    first_time: int = -1
    last_time: int = -1
    counts: I64 = field(init=False)
    sums: F64 = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros(MACRO + 3 * (CLASSES + 1), np.int64)
        if self.measure.origin is Origin.LABELS:
            self.counts = np.zeros(join.COUNTS + join.DELAYS, np.int64)
        self.sums = np.zeros(_SUMS.get(self.measure.name, 0))

    def run(self, fed: Fed) -> Iterator[Closed]:
        """Take rows; gives the windows that end with them, in order."""
        lo, n = 0, len(fed.times)
        places = np.zeros(n, np.int64)
        if self.window_ms is not None and n:
            places = np.maximum.accumulate(np.maximum(fed.times // self.window_ms, self.place))
        while lo < n:
            hi = min(n, lo + self.window_rows - self.rows)
            if self.window_ms is not None:
                if self.place >= 0 and places[lo] > self.place:
                    yield from self._beyond(int(places[lo]), lo)
                self.place = int(places[lo])
                hi = int(np.searchsorted(places, self.place, "right"))
            self._add(fed, lo, hi)
            lo = hi
            if self.window_ms is None and self.rows >= self.window_rows:
                yield self._close(hi - 1, self.last_time)

    def _beyond(self, place: int, row: int) -> Iterator[Closed]:
        """A row of a later stretch of time: the window ends, and so do the empty ones between them."""
        assert self.window_ms is not None  # it is one of time
        yield self._close(row, (self.place + 1) * self.window_ms)
        empty = place - self.place - 1
        if empty and self.measure.name in EXTENSIVE:
            yield Closed(row, 0.0, 0, 0, (self.place + 1) * self.window_ms, place * self.window_ms, empty)
        self.partial = False

    def _close(self, row: int, end: int) -> Closed:
        whole = not (self.partial and self.window_ms is not None and self.measure.name in EXTENSIVE)
        value = self.value() if whole else math.nan
        found = Closed(row, value, self.rows, int(self.counts[ROWS]), self.first_time, end)
        self.rows, self.first_time, self.last_time = 0, -1, -1
        self.counts[:] = 0
        self.sums[:] = 0.0
        return found

    def _add(self, fed: Fed, lo: int, hi: int) -> None:
        if not self.rows:
            self.first_time = int(fed.times[lo])
        self.rows += hi - lo
        self.last_time = max(self.last_time, int(fed.times[lo:hi].max()))
        self.counts[ROWS] += fed.of[lo:hi].sum()
        self.counts[HITS] += fed.hit[lo:hi].sum()
        if fed.codes is not None:
            self._add_classes(*(codes[lo:hi] for codes in fed.codes))
        if fed.x is None:
            return
        usable = fed.of[lo:hi] > 0
        x = fed.x[lo:hi][usable]
        if len(self.sums) == 1:
            scores.add_values(x, self.sums)
        elif len(self.sums) == scores.ERROR_SUMS:
            scores.add_errors(x, fed.y[lo:hi][usable], self.sums)
        else:
            scores.add_probabilities(x, fed.y[lo:hi][usable], self.sums)

    def _add_classes(self, predicted: I64, true: I64) -> None:
        size = CLASSES + 1
        for k, codes in enumerate((predicted[predicted == true], predicted, true)):
            at = MACRO + k * size
            known = codes[codes >= 0]
            self.counts[at : at + size] += np.bincount(np.minimum(known, CLASSES), minlength=size)

    def value(self) -> float:
        """The measure over what has been counted; NaN where that says nothing."""
        name, n, hits = self.measure.name, int(self.counts[ROWS]), int(self.counts[HITS])
        if name == "events_per_minute":
            return n * 60_000.0 / (self.window_ms or 1)
        if name == "sum":
            return float(self.sums[0])
        if not n:
            return math.nan
        if self.counts[MACRO:].any():
            return self._macro(name)
        if name == "calibration_error":
            return math.nan if hits else float(scores.calibration_gap(self.sums)) / n
        if name in {"log_loss", "brier"}:  # a hit is a score that is no probability
            return (
                math.nan
                if hits
                else float(self.sums[scores.LOSS if name == "log_loss" else scores.SQUARE]) / n
            )
        if name == "rmse":
            return math.sqrt(float(self.sums[scores.SQUARED]) / n)
        if len(self.sums):
            return float(self.sums[scores.SIGNED if name == "bias" else 0]) / n
        return hits / n

    def _macro(self, name: str) -> float:
        """Mean over the classes that were said or there, as ``performance.measure`` has it."""
        right, said, there = self.counts[MACRO:].reshape(3, -1).tolist()
        found = []
        for r, s, t in zip(right, said, there, strict=True):
            if s + t:
                of, hit = {"precision": (s, r), "recall": (t, r), "f1": (s + t, 2 * r)}[name]
                found.append(hit / of if of else 0.0)
        return sum(found) / len(found)

    # --- the join

    def reach(self, record_time: int, now: I64) -> Closed | None:
        """The join has come to a row of this record time, its counts and delays are ``now``."""
        assert self.window_ms is not None  # the settings promise it
        place = record_time // self.window_ms
        if place <= self.place:
            return None
        first, before = self.place, self.counts
        self.place, self.counts = place, now.copy()
        if first < 0:
            return None
        value, counted = _of_join(self.measure, before, now - before)
        begin = first * self.window_ms
        return Closed(0, value, counted, counted, begin, begin + self.window_ms)


def _of_join(measure: Measure, before: I64, moved: I64) -> tuple[float, int]:
    """Coverage or a quantile of the delays within a window, and how many rows that is of.

    Coverage is labels that came by predictions that came: it says nothing while the first labels are on their
    way, that is unless one had come before the window.
    """
    if measure.name == "label_coverage":
        predictions = int(moved[join.PREDICTIONS])
        if not predictions or not before[join.COVERED]:
            return math.nan, predictions
        return int(moved[join.COVERED]) / predictions, predictions
    delays = moved[join.COUNTS :]
    total = int(delays.sum())
    if not total:
        return math.nan, 0
    k = int(np.searchsorted(np.cumsum(delays), measure.share * total, "left"))
    return float(2.0 ** (0.5 * k)), total
