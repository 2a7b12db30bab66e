"""Reference rows in the making: column segments of an actor that is learning, or of a file being read.

Append-only: a sealed segment never changes, so a checkpoint writes it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from driftline.detect.reference import RawColumn
from driftline.records import F64, FEATURES_MAX, I64, U8, Block, ColumnKind, Tag

SEGMENT_ROWS: Final = 500  # ten segments of the default 5,000 rows; one is rewritten a checkpoint

Key = tuple[ColumnKind, str]


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows with the columns seen in them. Shapes: tags, values (columns, rows); times (rows,) in ms."""

    columns: tuple[tuple[ColumnKind, str, tuple[str, ...]], ...]
    tags: U8
    values: F64
    times: I64

    def __len__(self) -> int:
        return len(self.times)


def segment_of(block: Block, lo: int, hi: int, columns: Sequence[int] | None = None) -> Segment:
    """Rows lo..hi of a block, copied; of all columns or of some."""
    chosen = range(len(block.columns)) if columns is None else columns
    rows = (
        np.s_[:, lo:hi] if columns is None else np.ix_(np.asarray(chosen, dtype=np.int64), np.arange(lo, hi))
    )
    return Segment(
        tuple((c.kind, c.name, c.strings) for c in (block.columns[i] for i in chosen)),
        block.tags[rows].copy(),
        block.values[rows].copy(),
        block.event_time[lo:hi].copy(),
    )


def concat(segments: Sequence[Segment]) -> Segment:
    """Segments end to end: the union of their columns, strings numbered in order of first use."""
    names: dict[Key, dict[str, int]] = {}
    for segment in segments:
        for kind, name, strings in segment.columns:
            if (kind, name) not in names and len(names) >= FEATURES_MAX:
                continue
            known = names.setdefault((kind, name), {})
            for text in strings:
                known.setdefault(text, len(known))
    index = {key: i for i, key in enumerate(names)}
    rows = sum(len(s) for s in segments)
    tags = np.zeros((len(names), rows), dtype=np.uint8)
    values = np.full((len(names), rows), np.nan)
    at = 0
    for segment in segments:
        n = len(segment)
        for i, (kind, name, strings) in enumerate(segment.columns):
            to = index.get((kind, name))
            if to is None:
                continue
            tags[to, at : at + n] = segment.tags[i]
            target = values[to, at : at + n]
            target[:] = segment.values[i]
            if strings:
                known = names[kind, name]
                remap = np.array([known[t] for t in strings], dtype=np.float64)
                coded = segment.tags[i] == Tag.STRING
                target[coded] = remap[segment.values[i][coded].astype(np.int64)]
        at += n
    times = np.concatenate([s.times for s in segments]) if segments else np.zeros(0, dtype=np.int64)
    return Segment(tuple((k, n, tuple(s)) for (k, n), s in names.items()), tags, values, times)


def raw_columns(segment: Segment, order: I64 | None = None) -> list[RawColumn]:
    """The columns of a segment as a reference is built from them, rows in another order if one is given."""
    rows: slice | I64 = slice(None) if order is None else order
    return [
        RawColumn(kind, name, segment.tags[i][rows], segment.values[i][rows], strings)
        for i, (kind, name, strings) in enumerate(segment.columns)
    ]


class LearningRows:
    """The rows of an actor that learns its reference, in segments."""

    def __init__(self, segments: Sequence[Segment] = ()) -> None:
        self.sealed: list[Segment] = [s for s in segments if len(s) >= SEGMENT_ROWS]
        self._tail: list[Segment] = [s for s in segments if len(s) < SEGMENT_ROWS]
        self._tail_rows = sum(len(s) for s in self._tail)
        self.stored = len(self.sealed)  # sealed segments that a checkpoint has written already

    def __len__(self) -> int:
        return self._tail_rows + sum(len(s) for s in self.sealed)

    def append(self, block: Block, lo: int, hi: int, columns: Sequence[int] | None = None) -> None:
        """Add rows lo..hi, of all columns or of some; segments have SEGMENT_ROWS whatever the blocks have."""
        while lo < hi:
            take = min(hi - lo, SEGMENT_ROWS - self._tail_rows)
            self._tail.append(segment_of(block, lo, lo + take, columns))
            self._tail_rows += take
            lo += take
            if self._tail_rows == SEGMENT_ROWS:
                self.sealed.append(concat(self._tail))
                self._tail, self._tail_rows = [], 0

    def tail(self) -> Segment | None:
        """The open segment as one, None when it is empty."""
        if self._tail_rows == 0:
            return None
        if len(self._tail) > 1:
            self._tail = [concat(self._tail)]
        return self._tail[0]

    def all(self) -> Segment:
        """All rows as one segment, in the order in which they came."""
        return concat([*self.sealed, *self._tail])
