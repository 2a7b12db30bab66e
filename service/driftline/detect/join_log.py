"""One side of the join of labels as a log of rows, and what of it a checkpoint has to write.

A log is append-only: its rows lie in segments of SEGMENT_ROWS that never change once they are full, and
whether a row found its other side is kept apart, in bitmaps. So a checkpoint writes the open segment, the
segments filled since the one before and the bitmaps of rows that were matched since: O(new). What the rows
are to each other is the business of ``kernels/join.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels import join as kernel
from driftline.errors import MessageError
from driftline.records import I64

SEGMENT_ROWS: Final = 1_024  # 24 KB: what a checkpoint writes at most again
BITMAP_ROWS: Final = 8_192  # 1 KB a bitmap

Shard = tuple[str, dict[str, Any], dict[str, Any] | None]  # name, header, arrays; None: a tombstone
Read = Callable[[str], tuple[dict[str, Any], dict[str, Any]] | None]  # header and arrays of a shard by name


def _table_size(capacity: int) -> int:
    return 1 << (2 * capacity - 1).bit_length()


class Log:
    """Rows of one side in order of arrival. 25 bytes a row and 8 to 16 of index."""

    def __init__(self, name: str, capacity: int = BITMAP_ROWS, head: int = 0, tail: int = 0) -> None:
        self.name = name
        self.numbers = np.array([head, tail], np.int64)
        self._allocate(capacity)
        self.stored = head // SEGMENT_ROWS  # segments before it are on the state topic and full
        self.oldest = head // SEGMENT_ROWS  # the first segment on the state topic
        self.touched: set[int] = set()  # bitmaps that changed
        self.begun = head // BITMAP_ROWS  # bitmaps before it are on the state topic

    def _allocate(self, capacity: int) -> None:
        self.ids = np.zeros(capacity, np.uint64)
        self.seconds = np.zeros(capacity, np.uint32)
        self.matched = np.zeros(capacity, np.uint8)
        self.value = np.zeros(capacity, np.float64)
        self.code = np.zeros(capacity, np.int32)
        self.table = np.zeros(_table_size(capacity), np.int32)

    @property
    def head(self) -> int:
        """Number of the oldest row that is there."""
        return int(self.numbers[kernel.HEAD])

    @property
    def tail(self) -> int:
        """Number of the next row."""
        return int(self.numbers[kernel.TAIL])

    def __len__(self) -> int:
        return self.tail - self.head

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        return sum(a.nbytes for a in (*self._columns(), self.matched, self.table))

    def _columns(self) -> tuple[npt.NDArray[Any], ...]:
        return self.ids, self.seconds, self.value, self.code

    def reserve(self, rows: int, rows_max: int) -> None:
        """Make room for some rows more, or for ``rows_max`` in all if that is less."""
        needed = min(len(self) + rows, rows_max)
        old = len(self.ids)
        if needed <= old:
            return
        most = -(-rows_max // BITMAP_ROWS) * BITMAP_ROWS
        capacity = min(max(2 * old, -(-needed // BITMAP_ROWS) * BITMAP_ROWS), most)
        at = np.arange(self.head, self.tail)
        kept = [a[at % old] for a in (*self._columns(), self.matched)]
        self._allocate(capacity)
        for array, values in zip((*self._columns(), self.matched), kept, strict=True):
            array[at % capacity] = values
        self.index()

    def index(self) -> None:
        """Build the index of the rows anew."""
        self.table[:] = 0
        kernel.index_rows(self.table, self.ids, self.numbers)

    def arrays(self) -> tuple[npt.NDArray[Any], ...]:
        """As the kernel takes them."""
        return self.table, self.ids, self.seconds, self.matched, self.numbers, self.value, self.code

    def touch(self, rows: I64) -> None:
        """Rows with these numbers (-1: none) were matched."""
        if len(rows):
            self.touched.update(np.unique(rows[rows >= 0] // BITMAP_ROWS).tolist())

    # --- storing

    def shards(self) -> Iterator[Shard]:
        """What changed since the last call, copied."""
        first, capacity = self.head // SEGMENT_ROWS, len(self.ids)
        for segment in range(self.oldest, min(first, -(-self.tail // SEGMENT_ROWS))):
            yield f"{self.name}.{segment}", {}, None
        for segment in range(max(self.stored, first), -(-self.tail // SEGMENT_ROWS)):
            lo = segment * SEGMENT_ROWS
            at = np.arange(max(lo, self.head), min(lo + SEGMENT_ROWS, self.tail)) % capacity
            names = ("ids", "seconds", "value", "code")
            arrays = {n: a[at] for n, a in zip(names, self._columns(), strict=True)}
            yield f"{self.name}.{segment}", {"first": max(lo, self.head)}, arrays
        bitmap = self.head // BITMAP_ROWS
        for old in range(self.oldest * SEGMENT_ROWS // BITMAP_ROWS, bitmap):
            yield f"{self.name}-matched.{old}", {}, None
        # A new one is written though it is empty: one of a life before may lie under its name.
        begun = -(-self.tail // BITMAP_ROWS)
        for number in sorted({*self.touched, *range(self.begun, begun)}):
            if number >= bitmap:
                rows = np.arange(number * BITMAP_ROWS, (number + 1) * BITMAP_ROWS)
                bits = np.where((rows >= self.head) & (rows < self.tail), self.matched[rows % capacity], 0)
                yield f"{self.name}-matched.{number}", {}, {"bits": np.packbits(bits.astype(np.uint8))}
        self.oldest, self.stored, self.begun = first, self.tail // SEGMENT_ROWS, begun
        self.touched.clear()

    def restore(self, read: Read) -> None:
        """Fill rows head..tail from shards; ``read(name)`` gives header and arrays, None where there is none.

        Raises:
            MessageError: rows are missing.
        """
        capacity, filled = len(self.ids), self.head
        for segment in range(self.oldest, -(-self.tail // SEGMENT_ROWS)):
            found = read(f"{self.name}.{segment}")
            if found is None:
                raise MessageError(f"segment {segment} of the {self.name} log is missing.")
            header, arrays = found
            columns = [arrays[n] for n in ("ids", "seconds", "value", "code")]
            first, n = int(header["first"]), len(columns[0])
            want = range(max(segment * SEGMENT_ROWS, self.head), min((segment + 1) * SEGMENT_ROWS, self.tail))
            right = all(
                a.shape == (n,) and a.dtype == b.dtype for a, b in zip(columns, self._columns(), strict=True)
            )
            if not right or first > want.start or first + n < want.stop:
                raise MessageError(f"segment {segment} of the {self.name} log is not whole.")
            for array, values in zip(self._columns(), columns, strict=True):
                array[np.arange(want.start, want.stop) % capacity] = values[
                    want.start - first : want.stop - first
                ]
            filled = want.stop
        ids = self.ids[np.arange(self.head, self.tail) % capacity]
        if filled < self.tail or (ids == 0).any() or len(np.unique(ids)) != len(ids):
            raise MessageError(f"the {self.name} log is not whole, or has an id twice.")
        for number in range(self.head // BITMAP_ROWS, -(-self.tail // BITMAP_ROWS)):
            found = read(f"{self.name}-matched.{number}")
            bits = None if found is None else found[1]["bits"]
            if bits is None or bits.shape != (BITMAP_ROWS // 8,) or bits.dtype != np.uint8:
                raise MessageError(f"bitmap {number} of the {self.name} log is missing or not whole.")
            start = number * BITMAP_ROWS
            rows = np.arange(max(start, self.head), min(start + BITMAP_ROWS, self.tail))
            self.matched[rows % capacity] = np.unpackbits(bits)[rows - start]
        self.stored, self.begun = self.tail // SEGMENT_ROWS, -(-self.tail // BITMAP_ROWS)
        self.index()
