"""What one turn of the ingest loop brought, as chunks for the decoders. Pure; it knows no Kafka client.

Owns: the layout of chunks, and finding a record again (for its key) after decoding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Protocol

import numpy as np

from driftline.ingest.decode.mapping import NATIVE, FieldMapping
from driftline.records import CHUNK_PADDING, I64, RecordChunk, Source

PADDING: Final = bytes(CHUNK_PADDING)
COMMANDS: Final = "commands"  # the format of the commands topic
_FIELDS: Final = attrgetter("value", "offset", "timestamp", "key")


class Record(Protocol):
    """What is used of a consumer's record."""

    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class DecoderKey:
    """Raw topics with the same key go through the same decoder, in one chunk."""

    format: str
    model: str | None = None
    mapping: FieldMapping = NATIVE


@dataclass(frozen=True, slots=True)
class Rows:
    """Records of one raw partition, in offset order, still inside a buffer.

    ``table`` is int64 (n, 6): start and end of the value in ``data`` (-1: null), offset, timestamp in ms,
    start and end of the key (-1: null), as ``detect.kernels.record_batch`` fills it.
    """

    data: Sequence[bytes]  # pieces, end to end
    table: I64

    def __len__(self) -> int:
        return len(self.table)

    @property
    def size(self) -> int:
        """Bytes of the pieces."""
        return sum(map(len, self.data))


@dataclass(frozen=True, slots=True)
class Fetched:
    """What one turn brought from the raw partitions that moved.

    ``sources[i]`` is covered up to, but without, ``next_offsets[i]``; it may have moved without a record
    (control records). ``record_times[i]`` is its largest record timestamp, -1 without a record. Every chunk
    lists the same ``sources``, so that a block's source index means the same in all of them.
    """

    sources: tuple[Source, ...]
    next_offsets: tuple[int, ...]
    record_times: tuple[int, ...]
    chunks: Mapping[DecoderKey, RecordChunk]
    keys: Mapping[DecoderKey, I64]  # (n, 2) start and end of each row's key in the chunk's buffer

    @property
    def rows(self) -> int:
        """Number of records."""
        return sum(map(len, self.chunks.values()))

    def find(self, source: Source, offset: int) -> tuple[bytes | None, bytes | None]:
        """Key and value of a record, None where it has none; for the few rows that are rejected."""
        index = self.sources.index(source)
        for key, chunk in self.chunks.items():
            at = np.flatnonzero((chunk.source == index) & (chunk.offsets == offset))
            if len(at):
                row = int(at[0])
                return _cut(chunk, *self.keys[key][row].tolist()), _cut(
                    chunk, chunk.starts[row], chunk.ends[row]
                )
        return None, None


def _cut(chunk: RecordChunk, start: int, end: int) -> bytes | None:
    return None if start < 0 else chunk.buf[start:end].tobytes()


def gather(moved: Iterable[tuple[Source, int, Rows | None]], decoders: Mapping[str, DecoderKey]) -> Fetched:
    """Chunks of the records of one turn.

    Args:
        moved: raw partition, next offset, its records (None: moved without any); a partition once.
        decoders: decoder key by topic.
    """
    parts = list(moved)
    sources = tuple(source for source, _, _ in parts)
    groups: dict[DecoderKey, list[tuple[int, Rows]]] = {}
    times = [-1] * len(parts)
    for i, (source, _, rows) in enumerate(parts):
        if rows is not None and len(rows):
            groups.setdefault(decoders[source.topic], []).append((i, rows))
            times[i] = int(rows.table[:, 3].max())
    chunks: dict[DecoderKey, RecordChunk] = {}
    keys: dict[DecoderKey, I64] = {}
    for key, members in groups.items():
        chunks[key], keys[key] = _chunk(members, sources)
    return Fetched(sources, tuple(n for _, n, _ in parts), tuple(times), chunks, keys)


def _chunk(members: Sequence[tuple[int, Rows]], sources: tuple[Source, ...]) -> tuple[RecordChunk, I64]:
    pieces: list[bytes] = []
    tables: list[I64] = []
    base = 0
    for _, rows in members:
        table = rows.table
        if base:
            table = table.copy()
            places = table[:, (0, 1, 4, 5)]
            table[:, (0, 1, 4, 5)] = np.where(places < 0, -1, places + base)
        tables.append(table)
        pieces += rows.data
        base += sum(map(len, rows.data))
    pieces.append(PADDING)
    whole = np.concatenate(tables) if len(tables) > 1 else tables[0]
    columns = np.ascontiguousarray(whole.T)
    indices = np.array([i for i, _ in members], dtype=np.int64)
    counts = np.array([len(rows) for _, rows in members], dtype=np.int64)
    chunk = RecordChunk(
        buf=np.frombuffer(b"".join(pieces), dtype=np.uint8),
        starts=columns[0],
        ends=columns[1],
        source=np.repeat(indices, counts),
        offsets=columns[2],
        timestamps=columns[3],
        sources=sources,
    )
    return chunk, whole[:, 4:6]


def rows_of(records: Sequence[Record]) -> Rows:
    """Rows of a consumer's records: every value and key is copied end to end."""
    values, offsets, timestamps, keys = zip(*map(_FIELDS, records), strict=True)
    n = len(values)
    table = np.empty((n, 6), dtype=np.int64)
    table[:, 2] = offsets
    table[:, 3] = timestamps
    pieces = [part or b"" for part in (*values, *keys)]
    ends = np.cumsum(np.fromiter(map(len, pieces), dtype=np.int64, count=2 * n))
    starts = np.concatenate((np.zeros(1, dtype=np.int64), ends[:-1]))
    for column, parts, first in ((0, values, 0), (4, keys, n)):
        null = np.fromiter((part is None for part in parts), dtype=np.bool_, count=n)
        table[:, column] = np.where(null, -1, starts[first : first + n])
        table[:, column + 1] = np.where(null, -1, ends[first : first + n])
    return Rows(pieces, table)


def nulls_by_source(chunk: RecordChunk) -> I64:
    """Number of records without a value, (sources,)."""
    counts = np.bincount(chunk.source[chunk.starts < 0], minlength=len(chunk.sources))
    return counts.astype(np.int64, copy=False)
