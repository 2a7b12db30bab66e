"""Second reading of reference rows that memory cannot hold: categories and the statistics of every channel.

Channel values come from the same code as in the service (``Layout.derive``). Numeric signals are known from
the scan; the tables of categories come from the first half of the rows and their statistics from the second.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import Any, Final

import numpy as np

from driftline.detect.bins import BinReference
from driftline.detect.extent import Ranges, SignalBins
from driftline.detect.kernels.totals import TOTALS, add_totals
from driftline.detect.measured import Distribution, measured
from driftline.detect.rate import bucket_size, rate_of
from driftline.detect.reference import (
    ATOM_SHARE,
    BLOCK_SIZES,
    LOCATION_ROWS_MIN,
    NUMERIC_ROWS_MIN,
    QUANTILES,
    CategoricalReference,
    ChannelReference,
    NumericReference,
    Reference,
    SignalReference,
    category_ranks,
    category_table,
    has_other,
    knots_of,
    mid_pit,
)
from driftline.detect.rows import Key
from driftline.detect.scan import ColumnScan, Scan
from driftline.detect.signals import Layout
from driftline.errors import MessageError
from driftline.records import F64, FEATURES_MAX, I64, Block, ColumnKind, Tag

SEGMENT: Final = 2_048  # rows at once: the channels of 20 columns fit the second-level cache
NAMES_MAX: Final = 100_000  # categories counted at once in a column; beyond it the rarer half is forgotten
WEEK_MS: Final = 7 * 24 * 3600 * 1000


class Measure:
    """Takes all rows again, in the same order as ``scan`` saw them; ``reference`` freezes them."""

    def __init__(self, model: str, scan: Scan) -> None:
        columns = {k: c for k, c in list(scan.columns().items())[:FEATURES_MAX] if c.tag() is not None}
        if not columns:
            raise MessageError(f"a reference for {model}: no column has a value.")
        self._model, self._scan, self._columns = model, scan, columns
        self._half = scan.rows // 2
        self._seen = 0
        self._names: dict[Key, Counter[str]] = {
            key: Counter() for key, column in columns.items() if column.tag() is not Tag.NUMBER
        }
        self._complete = dict.fromkeys(self._names, True)
        self._shapes: dict[str, Distribution] = {}
        self._codes: list[I64] = []  # of the second half: rows by category code
        span = scan.last_time - scan.first_time
        self._bucket_ms = bucket_size(span, scan.rows) if span > 0 else 0
        last = scan.last_time // self._bucket_ms - scan.first_time // self._bucket_ms if span > 0 else 0
        self._traffic: I64 = np.zeros(last + 1, dtype=np.int64)
        self._ranges = Ranges(len(columns))
        self._layout = self._begin()

    # --- rows

    def add(self, block: Block) -> None:
        """Take the next rows."""
        lo = 0
        while lo < len(block):
            if self._seen >= self._scan.rows:
                self._seen += len(block) - lo  # more than there were: refused at the end
                return
            if self._seen == self._half:
                self._second_half()
            to = self._half if self._seen < self._half else self._scan.rows
            hi = min(len(block), lo + SEGMENT, lo + to - self._seen)
            if self._seen < self._half:
                self._count_names(block, lo, hi)
            self._count_traffic(block.event_time[lo:hi])
            y, x = self._layout.derive(block, self._known, self._mismatches, lo, hi)
            self._place(y[:, lo:hi], x[:, lo:hi], first_half=self._seen < self._half)
            add_totals(y, lo, hi, self._totals, self._means)
            if self._seen >= self._half:
                self._count_codes(x[:, lo:hi])
            self._seen += hi - lo
            lo = hi

    def _place(self, y: F64, x: F64, *, first_half: bool) -> None:
        """Bins of numbers, of categories in the second half; the channel ``range`` is overwritten."""
        for s, (signal, spec) in enumerate(zip(self._layout.signals, self._layout.specs, strict=True)):
            names = [c.name for c in signal.channels]
            first = int(spec["first_channel"])
            u = y[first + names.index("location")] if "location" in names else None
            if signal.numeric is not None or (signal.categorical is not None and not first_half):
                self._bins[s].add(x[s], u)
            if u is not None:
                look = self._ranges.learn if first_half else self._ranges.outside
                y[first + names.index("range")] = look(s, x[s], u)

    def _count_traffic(self, times: I64) -> None:
        if self._bucket_ms:
            place = times // self._bucket_ms - self._scan.first_time // self._bucket_ms
            np.add.at(self._traffic, np.clip(place, 0, len(self._traffic) - 1), 1)

    def _count_names(self, block: Block, lo: int, hi: int) -> None:
        for i, column in enumerate(block.columns):
            key = (column.kind, column.name)
            names = self._names.get(key)
            if names is None:
                continue
            tag = self._columns[key].tag()
            used = block.values[i, lo:hi][block.tags[i, lo:hi] == tag].astype(np.int64)
            words = ("false", "true") if tag is Tag.BOOL else column.strings
            counts = np.bincount(used, minlength=len(words))
            for code in np.flatnonzero(counts).tolist():
                names[words[code]] += int(counts[code])
            if len(names) > NAMES_MAX:
                self._names[key] = Counter(dict(_by_frequency(names)[: NAMES_MAX // 2]))
                self._complete[key] = False

    def _count_codes(self, x: F64) -> None:
        for row, seen in zip(x, self._codes, strict=True):
            if len(seen):
                used = np.minimum(row[~np.isnan(row)].astype(np.int64), len(seen) - 1)
                np.add(seen, np.bincount(used, minlength=len(seen)), out=seen)

    # --- signals and channels

    def _begin(self) -> Layout:
        """Numeric signals, and categorical ones without categories: of these only ``missing`` counts yet."""
        layout = Layout(self._reference([self._signal(key, None) for key in self._columns]))
        self._enter(layout)
        self._totals, self._means = self._fresh(layout)
        self._bins = self._fresh_bins(layout)
        return layout

    def _second_half(self) -> None:
        tables = {key: self._table(key) for key in self._names}
        layout = Layout(self._reference([self._signal(key, tables.get(key)) for key in self._columns]))
        keys = _channel_keys(self._layout)
        before = {key: (self._totals[i], self._means[i]) for i, key in enumerate(keys)}
        totals, means = self._fresh(layout)
        for i, key in enumerate(_channel_keys(layout)):
            signal = layout.signals[int(layout.signal_of_channel[i])]
            if signal.categorical is None or key[1] in {"missing", "type"}:
                totals[i], kept = before[key]
                means[i, : len(kept)] = kept[: means.shape[1]]
        bins = zip(layout.signals, self._bins, self._fresh_bins(layout), strict=True)
        self._bins = [old if signal.categorical is None else new for signal, old, new in bins]
        self._layout, self._totals, self._means = layout, totals, means
        self._enter(layout)
        self._half = -1  # done

    def _enter(self, layout: Layout) -> None:
        self._known = layout.new_codes()
        self._mismatches: I64 = np.zeros(len(layout.signals), dtype=np.int64)
        self._codes = [
            np.zeros(0 if s.categorical is None else len(s.categorical.categories) + 1, dtype=np.int64)
            for s in layout.signals
        ]

    def _fresh(self, layout: Layout) -> tuple[Any, F64]:
        """Totals of channels, and room for the means of their blocks."""
        totals = np.zeros(len(layout.channels), dtype=TOTALS)
        totals["b0"] = [max(math.isqrt(c.n), 1) for c in layout.channels]
        return totals, np.zeros((len(layout.channels), math.isqrt(self._scan.rows) + 3))

    def _fresh_bins(self, layout: Layout) -> list[SignalBins]:
        present = [column.present() for column in self._columns.values()]
        return [
            SignalBins(signal, n if signal.categorical is None else n // 2)
            for signal, n in zip(layout.signals, present, strict=True)
        ]

    def _table(self, key: Key) -> CategoricalReference:
        counted = _by_frequency(self._names[key])
        table = category_table(counted, self._names[key].total())
        return table if self._complete[key] else replace(table, seen_complete=False)

    def _signal(self, key: Key, table: CategoricalReference | None) -> SignalReference:
        """A signal whose channels have no statistics yet, only about how many values they will have."""
        column, (kind, name) = self._columns[key], key
        tag, present = column.tag(), column.present()
        missing = int(column.cells[[Tag.ABSENT, Tag.NULL, Tag.INVALID]].sum())
        rows, watched = self._scan.rows, _blank("missing", present + missing, binary=True)
        strange = _blank("type", rows, binary=True)
        assert tag is not None  # left out by the constructor
        if tag is not Tag.NUMBER:
            table = table or category_table([], 0)
            channels = [*_category_channels(table, max(present // 2, 1)), watched, strange]
            return SignalReference(kind, name, tag, rows, missing, tuple(channels), None, table)
        numeric, found = self._numeric(kind, name, column)
        return SignalReference(kind, name, tag, rows, missing, (watched, *found, strange), numeric, None)

    def _numeric(
        self, kind: ColumnKind, name: str, column: ColumnScan
    ) -> tuple[NumericReference | None, list[ChannelReference]]:
        """As ``reference._numeric_signal`` does it, from values that stand for many."""
        values, counts = column.numbers.summary()
        n = int(counts.sum())
        if n < NUMERIC_ROWS_MIN:
            return None, []
        channels = []
        top = int(counts.argmax())
        atom = float(values[top]) if counts[top] / n >= ATOM_SHARE else None
        rest, of_rest = values, counts
        if atom is not None:
            channels.append(_blank(f"share[={atom:g}]", n, binary=True))
            rest, of_rest = np.delete(values, top), np.delete(counts, top)
        enough = int(of_rest.sum()) >= LOCATION_ROWS_MIN
        knots, below, upto = knots_of(rest, of_rest) if enough else knots_of(values, counts)
        place = np.searchsorted(np.cumsum(counts), np.ceil(np.array(QUANTILES) * n))
        numeric = NumericReference(
            tuple(knots.tolist()),
            tuple(below.tolist()),
            tuple(upto.tolist()),
            tuple(values[np.minimum(place, len(values) - 1)].tolist()),
            atom,
            column.numbers.mean,
            column.numbers.sd,
        )
        if enough or atom is None:
            shape = Distribution.of(mid_pit(numeric, rest), of_rest)
            self._shapes[f"{kind}{name}"] = shape
            located = int(of_rest.sum())
            channels += [_blank(c, located, binary=False) for c in ("location", "spread")]
            channels.append(_blank("range", located // 2, binary=True))
        return numeric, channels

    # --- the end

    def reference(self, *, time_ordered: bool) -> Reference:
        """Freeze what was taken.

        Raises:
            MessageError: these were not the rows that were scanned.
        """
        if self._seen != self._scan.rows:
            raise MessageError(
                f"{self._scan.rows:,} rows were read at first, then {self._seen:,}.",
                remedy="Give a file that nobody writes to.",
            )
        made, at = [], 0
        for s, signal in enumerate(self._layout.signals):
            shape = self._shape(s)
            channels = []
            for channel in signal.channels:
                folded = channel.name in {"spread", "rank-spread"}
                of = shape.folded() if folded and shape is not None else shape
                channels.append(measured(channel, self._totals[at], self._means[at], of))
                at += 1
            tau = max((c.tau for c in channels if c.name == "location"), default=1.0)
            # A run of extreme values is one event, also where the reference has none to show it.
            kept = [replace(c, tau=max(c.tau, tau)) if c.name == "range" else c for c in channels]
            made.append(replace(signal, channels=tuple(kept), bins=self._binned(s)))
        traffic = rate_of(self._traffic, self._bucket_ms) if time_ordered and self._bucket_ms else None
        return replace(self._reference(made), time_ordered=time_ordered, rate=traffic)

    def _binned(self, s: int) -> BinReference | None:
        signal = self._layout.signals[s]
        nothing = signal.numeric is None and signal.categorical is None
        return None if nothing else self._bins[s].reference()

    def _shape(self, s: int) -> Distribution | None:
        signal = self._layout.signals[s]
        if signal.categorical is None:
            return self._shapes.get(f"{signal.kind}{signal.name}")
        return Distribution.of(category_ranks(signal.categorical), self._codes[s])

    def _reference(self, signals: list[SignalReference]) -> Reference:
        scan = self._scan
        span = scan.last_time - scan.first_time
        rate = scan.rows * WEEK_MS / span if span > 0 else 0.0
        first, last = scan.first_time, scan.last_time
        return Reference(self._model, "file", scan.rows, first, last, False, rate, tuple(signals))


def _by_frequency(names: Counter[str]) -> list[tuple[str, int]]:
    return sorted(names.items(), key=lambda item: (-item[1], item[0]))


def _channel_keys(layout: Layout) -> list[tuple[int, str]]:
    places = layout.signal_of_channel.tolist()
    return [(s, c.name) for s, c in zip(places, layout.channels, strict=True)]


def _blank(name: str, n: int, *, binary: bool) -> ChannelReference:
    return ChannelReference(name, binary, n, 0.0, 0.0, 1.0, (0.0,) * len(BLOCK_SIZES), 0.0, 0.0)


def _category_channels(table: CategoricalReference, n: int) -> list[ChannelReference]:
    """All but ``missing``, in the order of ``reference._categorical_signal``."""
    shares = [f"share[{table.categories[c]}]" for c in range(table.shares)]
    other = ["other"] if has_other(table) else []
    return [
        *(_blank(name, n, binary=False) for name in ("rank", "rank-spread")),
        *(_blank(name, n, binary=True) for name in (*shares, *other, "unseen")),
    ]
