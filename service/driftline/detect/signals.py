"""The layout of a model's signals and channels as the arrays that the kernels read.

Built from a reference, never stored: the same reference gives the same layout.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels.channels import derive_channels
from driftline.detect.kernels.state import LUT_OTHER, LUT_UNSEEN, SIGNAL_SPEC
from driftline.detect.reference import (
    ChannelReference,
    Reference,
    SignalReference,
    category_ranks,
    has_other,
)
from driftline.detect.season import Seasons
from driftline.detect.windows import Bins
from driftline.records import F64, I64, U8, Block, ColumnKind, Tag

# New categories whose names are remembered for evidence; more of them share one "and others" code.
NEW_CATEGORIES_MAX: Final = 64

I32 = npt.NDArray[np.int32]


@dataclass(slots=True)
class CategoryCodes:
    """Names of one categorical signal: the reference's first, then new ones in order of first use."""

    index: dict[str, int]
    known: int
    new: list[str] = field(default_factory=list)

    def name(self, code: int) -> str:
        """The category of a code; codes beyond the remembered ones are "(other new values)"."""
        if code < self.known:
            return list(self.index)[code]
        return self.new[code - self.known] if code - self.known < len(self.new) else "(other new values)"

    def remember(self, names: list[str]) -> None:
        """Give codes to new names while there is room."""
        for name in names[: NEW_CATEGORIES_MAX - len(self.new)]:
            self.index[name] = self.known + len(self.new)
            self.new.append(name)


@dataclass(frozen=True, slots=True)
class Luts:
    """For one block: where each signal's column is and what its strings mean. L = entries of all tables."""

    column_of_signal: I32  # (signals,), -1: the block has no such column
    start: I32  # (signals,)
    rank: F64  # (L,)
    slot: I32  # (L,) share channel or -1
    flag: U8  # (L,)
    code: I32  # (L,) category code


class Layout:
    """Signals S, channels C and knots K of a reference as arrays."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self.signals: tuple[SignalReference, ...] = reference.signals
        self.channels: tuple[ChannelReference, ...] = tuple(c for s in self.signals for c in s.channels)
        self.signal_of_channel = np.repeat(
            np.arange(len(self.signals), dtype=np.int32), [len(s.channels) for s in self.signals]
        )
        self.specs = np.zeros(len(self.signals), dtype=SIGNAL_SPEC)
        self.want_tag = np.array([s.tag for s in self.signals], dtype=np.uint8)
        self.column_index: dict[tuple[ColumnKind, str], int] = {
            (s.kind, s.name): i for i, s in enumerate(self.signals)
        }
        self._ranks: list[F64 | None] = []
        knots: list[tuple[F64, F64, F64]] = []
        channel = knot = 0
        for spec, signal in zip(self.specs, self.signals, strict=True):
            spec["kind"] = 0 if signal.tag is Tag.NUMBER else 1
            spec["first_channel"], spec["n_channels"] = channel, len(signal.channels)
            spec["knot_start"] = spec["knot_end"] = knot
            channel += len(signal.channels)
            if signal.numeric is not None:
                spec["has_atom"] = signal.numeric.atom is not None
                spec["atom"] = signal.numeric.atom or 0.0
                spec["has_location"] = any(c.name == "location" for c in signal.channels)
                knots.append(
                    tuple(
                        np.array(a, dtype=np.float64)
                        for a in (signal.numeric.knots, signal.numeric.below, signal.numeric.upto)  # type: ignore[arg-type]
                    )
                )
                knot += len(signal.numeric.knots)
                spec["knot_end"] = knot
            table = signal.categorical
            if table is not None:
                spec["n_shares"], spec["has_other"] = table.shares, has_other(table)
            self._ranks.append(None if table is None else category_ranks(table))
        self.bins = Bins(self.signals)
        located = self.specs["first_channel"] + 1 + self.specs["has_atom"]
        self.seasons = Seasons([s.season for s in self.signals], located.tolist())
        self.frozen_signals = sum(not s.later for s in self.signals)  # later ones stand behind them
        self.frozen_channels = sum(len(s.channels) for s in self.signals[: self.frozen_signals])
        empty = np.zeros(1)
        self.knot_q, self.knot_lo, self.knot_hi = (
            np.concatenate([k[i] for k in knots]) if knots else empty for i in range(3)
        )

    @cached_property
    def reference_id(self) -> str:
        """A hash of the whole reference: made once, and not while many are restored."""
        return self.reference.id

    def new_codes(self) -> list[CategoryCodes | None]:
        """Empty category codes for each signal, None for a numeric one."""
        out: list[CategoryCodes | None] = []
        for signal in self.signals:
            if signal.categorical is None:
                out.append(None)
            else:
                names = signal.categorical.categories
                out.append(CategoryCodes({name: i for i, name in enumerate(names)}, len(names)))
        return out

    def unknown_columns(self, block: Block) -> list[int]:
        """Columns of a block that no signal reads."""
        return [i for i, c in enumerate(block.columns) if (c.kind, c.name) not in self.column_index]

    def derive(
        self, block: Block, codes: list[CategoryCodes | None], mismatches: I64, lo: int, hi: int
    ) -> tuple[F64, F64]:
        """Channel values (C, hi) and signal values (S, hi) of rows lo..hi; see ``derive_channels``."""
        luts = self.luts(block, codes, lo, hi)
        y, x = np.empty((len(self.channels), hi)), np.empty((len(self.signals), hi))
        derive_channels(
            block.tags,
            block.values,
            luts.column_of_signal,
            self.specs,
            self.knot_q,
            self.knot_lo,
            self.knot_hi,
            luts.start,
            luts.rank,
            luts.slot,
            luts.flag,
            luts.code,
            self.want_tag,
            lo,
            hi,
            y,
            x,
            mismatches,
        )
        return y, x

    def luts(self, block: Block, codes: list[CategoryCodes | None], lo: int, hi: int) -> Luts:
        """Tables for rows lo..hi of a block; new names used in these rows are remembered in ``codes``."""
        columns = np.full(len(self.signals), -1, dtype=np.int32)
        starts = np.zeros(len(self.signals), dtype=np.int32)
        entries: list[int] = []
        owners: list[int] = []
        for at, column in enumerate(block.columns):
            i = self.column_index.get((column.kind, column.name))
            if i is None:
                continue
            columns[i] = at
            known = codes[i]
            if known is None:
                continue
            starts[i] = len(entries)
            names = ("false", "true") if self.signals[i].tag is Tag.BOOL else column.strings
            if len(known.new) < NEW_CATEGORIES_MAX and any(n not in known.index for n in names):
                self._remember(block, at, names, known, Tag(int(self.want_tag[i])), lo, hi)
            beyond = known.known + len(known.new)
            entries.extend(known.index.get(n, beyond) for n in names)
            owners.extend([i] * len(names))
        return self._tables(columns, starts, entries, owners)

    @staticmethod
    def _remember(
        block: Block, at: int, names: tuple[str, ...], known: CategoryCodes, tag: Tag, lo: int, hi: int
    ) -> None:
        used = block.values[at, lo:hi][block.tags[at, lo:hi] == tag].astype(np.int64)
        distinct, first = np.unique(used, return_index=True)
        in_order = [names[c] for c in distinct[np.argsort(first)].tolist()]
        known.remember([n for n in in_order if n not in known.index])

    def _tables(self, columns: I32, starts: I32, entries: list[int], owners: list[int]) -> Luts:
        size = max(len(entries), 1)
        rank, slot = np.zeros(size), np.full(size, -1, dtype=np.int32)
        flag, code = np.zeros(size, dtype=np.uint8), np.zeros(size, dtype=np.int32)
        for at, (entry, owner) in enumerate(zip(entries, owners, strict=True)):
            ranks, table = self._ranks[owner], self.signals[owner].categorical
            if ranks is None or table is None:
                continue
            unseen = entry >= len(table.categories)
            rank[at] = ranks[-1] if unseen else ranks[entry]
            slot[at] = entry if entry < table.shares else -1
            flag[at] = (LUT_OTHER if entry >= table.kept else 0) | (
                LUT_UNSEEN if unseen and table.seen_complete else 0
            )
            code[at] = entry
        return Luts(columns, starts, rank, slot, flag, code)
