"""First reading of reference rows that memory cannot hold: types, missing values, quantiles of columns."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from driftline.detect.quantiles import Quantiles
from driftline.detect.rows import Key
from driftline.records import FEATURES_MAX, I64, Block, Tag

VALUE_TAGS = (Tag.NUMBER, Tag.STRING, Tag.BOOL)


@dataclass(slots=True)
class ColumnScan:
    """What was seen in a column: cells by tag, and its numbers."""

    cells: I64 = field(default_factory=lambda: np.zeros(len(Tag), dtype=np.int64))
    numbers: Quantiles = field(default_factory=Quantiles)

    def tag(self) -> Tag | None:
        """The logical type: the majority's tag; None when the column never had a value."""
        tag = max(VALUE_TAGS, key=lambda t: (int(self.cells[t]), -t))
        return tag if self.cells[tag] else None

    def present(self) -> int:
        """Cells of the logical type."""
        return int(max(self.cells[t] for t in VALUE_TAGS))


class Scan:
    """The rows of one model, in the order in which they come."""

    def __init__(self) -> None:
        self.rows = 0
        self.first_time = self.last_time = 0
        self.disorder: int | None = None  # the first row that is earlier than the one before it
        self._columns: dict[Key, ColumnScan] = {}

    def add(self, block: Block) -> None:
        """Take the next rows."""
        times = block.event_time
        if self.rows == 0:
            self.first_time = self.last_time = int(times[0])
        if self.disorder is None:
            back = np.flatnonzero(np.diff(times, prepend=self.last_time) < 0)
            self.disorder = self.rows + int(back[0]) if len(back) else None
        self.first_time = min(self.first_time, int(times.min()))
        self.last_time = max(self.last_time, int(times.max()))
        for i, column in enumerate(block.columns):
            key = (column.kind, column.name)
            if key not in self._columns and len(self._columns) >= FEATURES_MAX:
                continue
            seen = self._columns.setdefault(key, ColumnScan())
            tags = block.tags[i]
            seen.cells += np.bincount(tags, minlength=len(Tag))
            numbers = block.values[i] if (tags == Tag.NUMBER).all() else block.values[i][tags == Tag.NUMBER]
            seen.numbers.add(numbers + 0.0)
        self.rows += len(block)

    def columns(self) -> dict[Key, ColumnScan]:
        """The columns in the order of signals; rows in which one was absent count as missing in it."""
        for seen in self._columns.values():
            seen.cells[Tag.ABSENT] += self.rows - int(seen.cells.sum())
        return dict(sorted(self._columns.items()))
