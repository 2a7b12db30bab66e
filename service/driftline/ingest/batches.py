"""Record batches as they came over the wire: taking them apart without a Python object a record.

Owns: the frame of a batch (format 2) and its checksum. aiokafka builds an object of twelve fields a record,
which costs more than everything else that stage 1 does with it. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import google_crc32c
import numpy as np

from driftline.detect.kernels.record_batch import FIELDS, OFFSET, locate_records
from driftline.errors import OutsideError
from driftline.ingest.chunks import Rows
from driftline.ingest.inflate import BATCH_ROWS_MAX, inflate
from driftline.records import RECORD_BYTES_MAX

# base offset, length behind this field, leader epoch, magic, CRC-32C of what follows; attributes, last offset
# delta, base timestamp, largest timestamp, producer id, producer epoch, base sequence, number of records
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_LENGTH_END: Final = 12
_CRC_END: Final = 21
_MAGIC: Final = 2
_CODEC: Final = 0x07
_APPEND_TIME: Final = 0x08
_CONTROL: Final = 0x20


@dataclass(frozen=True, slots=True)
class Batch:
    """The frame of one batch in a fetched buffer; its records lie at ``start`` to ``end``."""

    start: int
    end: int
    attributes: int
    base_offset: int
    next_offset: int
    base_time: int
    max_time: int
    count: int


def is_modern(data: bytes, at: int = 0) -> bool:
    """Whether the batch there has format 2, the only one that brokers since 4.0 keep."""
    return len(data) > at + 16 and data[at + 16] == _MAGIC


def batches(data: bytes, at: int, *, where: str) -> Iterator[Batch]:
    """The complete batches from ``at`` on; a fetch may end in the middle of one.

    Raises:
        OutsideError: a checksum does not match, or the format is old.
    """
    while at + _HEADER.size <= len(data):
        (base, length, _, magic, crc, attributes, last, base_time, max_time, _, _, _, count) = (
            _HEADER.unpack_from(data, at)
        )
        end = at + _LENGTH_END + length
        if end > len(data):
            return
        if magic != _MAGIC or end < at + _HEADER.size:
            raise OutsideError(f"{where}: the batch at offset {base} has format {magic}.")
        if google_crc32c.value(data[at + _CRC_END : end]) != crc:
            raise OutsideError(f"{where}: the checksum of the batch at offset {base} does not match.")
        yield Batch(at + _HEADER.size, end, attributes, base, base + last + 1, base_time, max_time, count)
        at = end


class RowsBuilder:
    """Collects the records of some batches of one raw partition."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._tables: list[np.ndarray[tuple[int, int], np.dtype[np.int64]]] = []
        self._refused_at = -1  # where in the pieces the stand-in for refused batches lies
        self.size = 0  # bytes of all pieces
        self.rows = 0

    def add(self, data: bytes, batch: Batch, *, least: int, where: str) -> bool:
        """Add a batch's records with an offset of at least ``least``; control batches hold none.

        False: it holds more than a batch may. Then one row stands for all of it, at its last offset, too
        large to be accepted: a reject a record would be the bomb that was meant.

        Raises:
            OutsideError: the batch is damaged in spite of its checksum, or compressed in an unknown way.
        """
        if batch.attributes & _CONTROL or batch.count <= 0:
            return True
        piece: bytes | None = data[batch.start : batch.end]
        kind = batch.attributes & _CODEC
        if kind and piece is not None:
            try:
                piece = inflate(kind, piece)
            except ValueError as error:
                raise OutsideError(f"{where}: the batch at offset {batch.base_offset} {error}.") from error
        if piece is None or batch.count > BATCH_ROWS_MAX:
            self._refuse(batch)
            return False
        table = np.empty((batch.count, FIELDS), dtype=np.int64)
        append_time = batch.max_time if batch.attributes & _APPEND_TIME else -1
        buf = np.frombuffer(piece, dtype=np.uint8)
        found = locate_records(
            buf, 0, len(piece), batch.count, batch.base_offset, batch.base_time, append_time, least, table
        )
        if found < 0:
            raise OutsideError(f"{where}: the batch at offset {batch.base_offset} is damaged.")
        table = table[:found]
        if self.size:
            places = table[:, (0, 1, 4, 5)]
            table[:, (0, 1, 4, 5)] = np.where(places < 0, -1, places + self.size)
        self._pieces.append(piece)
        self._tables.append(table)
        self.size += len(piece)
        self.rows += found
        return True

    def _refuse(self, batch: Batch) -> None:
        length = RECORD_BYTES_MAX + 1
        if self._refused_at < 0:
            self._refused_at = self.size
            self._pieces.append(bytes(length))
            self.size += length
        row = (self._refused_at, self._refused_at + length, batch.next_offset - 1, batch.max_time, -1, -1)
        self._tables.append(np.array([row], dtype=np.int64))
        self.rows += 1

    def build(self) -> Rows | None:
        """What was collected, None if nothing.

        Raises:
            OutsideError: the offsets do not ascend.
        """
        if not self.rows:
            return None
        table = np.concatenate(self._tables)
        if (np.diff(table[:, OFFSET]) <= 0).any():
            raise OutsideError(f"offsets from {table[0, OFFSET]} on do not ascend.")
        return Rows(self._pieces, table)


def warm() -> None:
    """Compiles the kernel."""
    out = np.empty((1, FIELDS), dtype=np.int64)
    locate_records(np.frombuffer(b"\0", dtype=np.uint8), 0, 0, 0, 0, 0, -1, 0, out)
