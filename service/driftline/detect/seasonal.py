"""Reading the season of signals from reference rows, and the statistics of their channels under it.

Owns: how long a reference has to be. Reads the rows twice more, by the code that the service runs on live
rows. A reference that is too short keeps its signal without a season, and says why. Must not know:
configuration files, what a season leads to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from driftline.detect.kernels.season import CELLS, HOUR_MS
from driftline.detect.kernels.totals import TOTALS, add_totals
from driftline.detect.measured import Distribution, measured
from driftline.detect.reference import Reference
from driftline.detect.rows import Segment
from driftline.detect.season import HOUR_VALUES_MIN, Period, Season
from driftline.detect.signals import Layout
from driftline.records import F64, I64, Block, Column

DAYS_MIN: Final = 2  # of an hour of the day; seven are better: one of two days may be a holiday
WEEKS_MIN: Final = 4  # of an hour of the week
SHARE_MIN: Final = 0.95  # of the values that lie in hours with enough of them
SHAPE_CELLS: Final = 1_000  # from which Page-Hinkley's exponents are solved
BLOCK_ROWS: Final = 8_192

Rows = Callable[[], Iterable[Block]]
"""Reads the rows of a reference in time order, from the start."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The season of each signal: its own, else the model's."""

    default: Period | None = None
    own: Mapping[str, Period | None] = field(default_factory=dict)

    def of(self, signal: str) -> Period | None:
        """That of a signal."""
        return self.own.get(signal, self.default)

    def __bool__(self) -> bool:
        return self.default is not None or any(p is not None for p in self.own.values())


def blocks_of(segment: Segment, model: str, order: I64) -> Iterable[Block]:
    """Rows that are held, in an order, as blocks."""
    columns = tuple(Column(kind, name, strings) for kind, name, strings in segment.columns)
    for lo in range(0, len(order), BLOCK_ROWS):
        rows = order[lo : lo + BLOCK_ROWS]
        times, n = segment.times[rows], len(rows)
        yield Block(
            model, columns,
            np.ascontiguousarray(segment.tags[:, rows]), np.ascontiguousarray(segment.values[:, rows]),
            times, times,
            np.zeros(n, dtype=np.int32), np.arange(lo, lo + n), np.full(n, -1, dtype=np.int32), (),
            np.zeros(n, dtype=np.uint64),
        )  # fmt: skip


def add_seasons(reference: Reference, wanted: Wanted, rows: Rows) -> tuple[Reference, list[str]]:
    """The reference with the seasons that it is long enough for, and why others are not used."""
    layout = Layout(reference)
    places = [_location(layout, s) for s in range(len(layout.signals))]
    counting: dict[int, _Hours] = {}
    notes: list[str] = []
    for s, signal in enumerate(layout.signals):
        period = wanted.of(signal.signal)
        if period is not None and places[s] >= 0:
            counting[s] = _Hours(period)
        elif wanted.own.get(signal.signal) is not None:
            notes.append(f'"{signal.signal}": its season is not used: only numbers have one')
    if not counting:
        return reference, notes
    for times, y in _derived(layout, rows):
        for s, hours in counting.items():
            hours.add(times, y[places[s]])
    signals = list(reference.signals)
    for s, hours in counting.items():
        problem = hours.problem()
        if problem:
            notes.append(f'"{signals[s].signal}": its {hours.period} season is not used: {problem}')
        else:
            signals[s] = replace(signals[s], season=hours.season())
    return _measured(replace(reference, signals=tuple(signals)), rows), notes


def _location(layout: Layout, s: int) -> int:
    names = [c.name for c in layout.signals[s].channels]
    first = int(layout.specs["first_channel"][s])
    return first + names.index("location") if "location" in names else -1


def _derived(layout: Layout, rows: Rows) -> Iterable[tuple[I64, F64]]:
    """Event times and channel values of all rows, before any season."""
    codes, mismatches = layout.new_codes(), np.zeros(len(layout.signals), dtype=np.int64)
    for block in rows():
        yield block.event_time, layout.derive(block, codes, mismatches, 0, len(block))[0]


class _Hours:
    """Values of a signal by hour of the period and cell of u, and in which days or weeks an hour had any."""

    def __init__(self, period: Period) -> None:
        self.period = period
        self._counts: I64 = np.zeros((period.hours, CELLS), dtype=np.int64)
        self._seen: set[int] = set()  # hours since the epoch with values

    def add(self, times: I64, u: F64) -> None:
        there = ~np.isnan(u)
        hours = times[there] // HOUR_MS
        cells = np.minimum((u[there] * CELLS).astype(np.int64), CELLS - 1)
        np.add.at(self._counts, (hours % self.period.hours, cells), 1)
        self._seen.update(np.unique(hours).tolist())

    def problem(self) -> str:
        """Why the season cannot be used; empty when it can."""
        need = DAYS_MIN if self.period is Period.DAILY else WEEKS_MIN
        often = np.bincount([h % self.period.hours for h in self._seen], minlength=self.period.hours)
        total = self._counts.sum(axis=1)
        enough = (total >= HOUR_VALUES_MIN) & (often >= need)
        share = float(total[enough].sum()) / max(int(total.sum()), 1)
        if share >= SHARE_MIN:
            return ""
        unit = "days" if self.period is Period.DAILY else "weeks"
        return (
            f"{100 * share:.0f} % of its values lie in hours with at least {HOUR_VALUES_MIN} values from "
            f"{need} {unit}, {100 * SHARE_MIN:.0f} % are needed; it is watched without. "
            "Give a longer reference (learning_rows, or a baseline)"
        )

    def season(self) -> Season:
        return Season(self.period, tuple(map(tuple, self._counts.tolist())))


def _measured(reference: Reference, rows: Rows) -> Reference:
    """Statistics of location and spread under the seasons."""
    layout = Layout(reference)
    places = {s: _location(layout, s) for s, signal in enumerate(layout.signals) if signal.season is not None}
    if not places:
        return reference
    chosen = [c for at in places.values() for c in (at, at + 1)]
    totals = np.zeros(len(chosen), dtype=TOTALS)
    totals["b0"] = [max(math.isqrt(layout.channels[c].n), 1) for c in chosen]
    means = np.zeros((len(chosen), math.isqrt(reference.rows) + 3))
    shape = np.zeros((len(chosen), SHAPE_CELLS), dtype=np.int64)
    for times, y in _derived(layout, rows):
        layout.seasons.apply(y, times, 0, len(times))
        own = np.ascontiguousarray(y[chosen])
        add_totals(own, 0, len(times), totals, means)
        for i, values in enumerate(own):
            held = values[~np.isnan(values)]
            cells = np.minimum((held * SHAPE_CELLS).astype(np.int64), SHAPE_CELLS - 1)
            shape[i] += np.bincount(cells, minlength=SHAPE_CELLS)
    signals = list(reference.signals)
    middles = (np.arange(SHAPE_CELLS) + 0.5) / SHAPE_CELLS
    for k, (s, at) in enumerate(places.items()):
        season = signals[s].season
        assert season is not None  # so it was chosen
        least = min(n for n in map(sum, season.counts) if n >= HOUR_VALUES_MIN)
        channels = list(signals[s].channels)
        for side in range(2):
            i = 2 * k + side
            of = Distribution.of(middles, shape[i])
            place = at + side - int(layout.specs["first_channel"][s])
            channels[place] = replace(measured(channels[place], totals[i], means[i], of), hour_values=least)
        signals[s] = replace(signals[s], channels=tuple(channels))
    return replace(reference, signals=tuple(signals))
