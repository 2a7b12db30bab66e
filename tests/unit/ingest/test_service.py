from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from driftline.errors import FatalError, OutsideError
from driftline.ingest.batches import RowsBuilder, batches, is_modern
from driftline.ingest.chunks import DecoderKey, Rows, gather, nulls_by_source, rows_of
from driftline.ingest.cursors import AHEAD_MS_MAX, IDLE_SECONDS, Cursor, Start, held_back, progress, start_of
from driftline.ingest.source import ConsumerSource, OutOfRange
from driftline.records import CHUNK_PADDING, ProgressFlag, RecordChunk, Source

A, B, C = Source("events", 0), Source("events", 1), Source("other", 0)
NATIVE, FIXED = DecoderKey("native"), DecoderKey("native", "m")
DECODERS = {"events": NATIVE, "other": FIXED}


@dataclass(frozen=True)
class FakeRecord:
    """A consumer's record."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


# --- the chain --------------------------------------------------------------------------------------------


def test_progress_chains_without_holes() -> None:
    """Every entry begins where the one before ended, also over offsets without a record."""
    cursor = Cursor(10)
    first = progress(cursor, A, "id", 15, 1_000)
    second = progress(cursor, A, "id", 16, 900)
    assert (first.prev_hi, first.lo, first.hi, first.record_time_max) == (9, 10, 14, 1_000)
    assert (second.prev_hi, second.lo, second.hi, second.record_time_max) == (14, 15, 15, 900)
    assert (cursor.next, cursor.record_time) == (16, 1_000)


def test_flags_go_out_once() -> None:
    """START and ACCEPTED_GAP mark the first link only, even if it covers nothing."""
    cursor = Cursor(7, ProgressFlag.START)
    first = progress(cursor, A, "id", 7, -1)
    second = progress(cursor, A, "id", 9, 5)
    assert (first.flags, first.prev_hi, first.lo, first.hi) == (ProgressFlag.START, 6, 7, 6)
    assert (second.flags, second.prev_hi, second.lo, second.hi) == (0, 6, 7, 8)


@pytest.mark.parametrize(
    ("committed", "log", "when_new", "expected"),
    [
        (None, (0, 50), "latest", Start(0, ProgressFlag.START)),
        (None, (5, 50), "latest", Start(50, ProgressFlag.START)),
        (None, (5, 50), "earliest", Start(5, ProgressFlag.START)),
        (5, (5, 50), "latest", Start(5)),
        (50, (5, 50), "latest", Start(50)),
    ],
)
def test_where_a_raw_partition_begins(
    committed: int | None, log: tuple[int, int], when_new: Any, expected: Start
) -> None:
    """Without a commit at 0 if the log begins there, else as configured; with one at the commit."""
    assert start_of(A, committed, log, when_new=when_new, accept_gap=False) == expected


def test_a_partition_that_was_only_begun_still_has_to_say_start() -> None:
    """Its commit was made before anything was sent; also when retention overtakes it there."""
    assert start_of(A, 5, (5, 50), when_new="latest", accept_gap=False, begun=True) == Start(
        5, ProgressFlag.START
    )
    lost = start_of(A, 5, (8, 50), when_new="latest", accept_gap=True, begun=True)
    assert lost == Start(8, ProgressFlag.START | ProgressFlag.ACCEPTED_GAP, 3)


def test_lost_records_stop_unless_accepted() -> None:
    """The message names the lost range; accepted, the chain begins anew behind it and they are counted."""
    with pytest.raises(FatalError, match=r"events\[0\]: offsets 3 to 7 \(5 records\).*accept_gap") as error:
        start_of(A, 3, (8, 50), when_new="latest", accept_gap=False)
    assert error.value.code.name == "INGEST"
    accepted = start_of(A, 3, (8, 50), when_new="latest", accept_gap=True)
    assert accepted == Start(8, ProgressFlag.ACCEPTED_GAP, 5)


def test_a_log_shorter_than_the_commit_stops_even_if_gaps_are_accepted() -> None:
    """A recreated topic holds other records under the same offsets."""
    with pytest.raises(FatalError, match="recreated or cut"):
        start_of(A, 51, (0, 50), when_new="latest", accept_gap=True)


# --- holding back -----------------------------------------------------------------------------------------


def _cursor(record_time: int, *, behind: int = 1, moved_at: float = 100.0) -> Cursor:
    return Cursor(0, record_time=record_time, behind=behind, moved_at=moved_at)


def test_a_partition_far_ahead_waits_for_the_slowest() -> None:
    """Beyond the limit it waits, at the limit it does not; the slowest never does."""
    cursors = {A: _cursor(0), B: _cursor(AHEAD_MS_MAX), C: _cursor(AHEAD_MS_MAX + 1)}
    assert held_back(cursors, 100.0) == {C}


@pytest.mark.parametrize(
    "slow", [_cursor(0, behind=0), _cursor(0, moved_at=100.0 - IDLE_SECONDS - 1)], ids=["caught up", "idle"]
)
def test_a_partition_without_records_holds_nobody_back(slow: Cursor) -> None:
    """Caught up or idle: waiting for it would be waiting for ever."""
    assert held_back({A: slow, B: _cursor(10 * AHEAD_MS_MAX)}, 100.0) == frozenset()


def test_a_backlog_of_unknown_time_holds_the_others_back() -> None:
    """Until its first record arrives it is taken for the slowest."""
    assert held_back({A: _cursor(-1), B: _cursor(AHEAD_MS_MAX)}, 100.0) == {B}


# --- chunks -----------------------------------------------------------------------------------------------


def _values(chunk: RecordChunk) -> list[bytes | None]:
    return [
        None if start < 0 else chunk.buf[start:end].tobytes()
        for start, end in zip(chunk.starts, chunk.ends, strict=True)
    ]


def _records(rng: random.Random, first: int, count: int) -> list[FakeRecord]:
    return [
        FakeRecord(
            offset=first + 2 * i,  # every other one was compacted away
            timestamp=1_000 + rng.randrange(100),
            key=rng.choice([None, b"", b"key%d" % i]),
            value=rng.choice([None, b"", rng.randbytes(rng.randrange(40))]),
        )
        for i in range(count)
    ]


def _same(chunk: RecordChunk, parts: Sequence[tuple[int, Sequence[FakeRecord]]]) -> None:
    flat = [(i, record) for i, records in parts for record in records]
    assert _values(chunk) == [record.value for _, record in flat]
    assert chunk.offsets.tolist() == [record.offset for _, record in flat]
    assert chunk.timestamps.tolist() == [record.timestamp for _, record in flat]
    assert chunk.source.tolist() == [i for i, _ in flat]


def test_chunks_hold_every_record_of_their_format() -> None:
    """One chunk a decoder, all with the same sources; nulls, keys and padding survive."""
    rng = random.Random(1)
    a, b, c = _records(rng, 0, 9), _records(rng, 100, 5), _records(rng, 7, 4)
    moved = [(A, 20, rows_of(a)), (C, 16, rows_of(c)), (B, 111, rows_of(b)), (Source("events", 9), 5, None)]
    fetched = gather(moved, DECODERS)
    assert set(fetched.chunks) == {NATIVE, FIXED}
    _same(fetched.chunks[NATIVE], [(0, a), (2, b)])
    _same(fetched.chunks[FIXED], [(1, c)])
    assert fetched.sources == (A, C, B, Source("events", 9))
    assert fetched.next_offsets == (20, 16, 111, 5)
    assert fetched.record_times == (*(max(r.timestamp for r in part) for part in (a, c, b)), -1)
    assert fetched.rows == 18
    for chunk in fetched.chunks.values():
        assert chunk.sources == fetched.sources
        assert chunk.buf[-CHUNK_PADDING:].tolist() == [0] * CHUNK_PADDING
        assert max(chunk.ends) <= len(chunk.buf) - CHUNK_PADDING
    for source, records in ((A, a), (B, b), (C, c)):
        for record in records:
            assert fetched.find(source, record.offset) == (record.key, record.value)
    assert fetched.find(A, 1) == (None, None)


def test_nulls_are_counted_by_source() -> None:
    """Records without a value are filtered rows of their topic."""
    records = [FakeRecord(i, 1, None, None if i % 2 else b"x") for i in range(5)]
    fetched = gather([(B, 5, rows_of(records)), (A, 5, rows_of(records[:2]))], DECODERS)
    assert nulls_by_source(fetched.chunks[NATIVE]).tolist() == [2, 1]


# --- batches ----------------------------------------------------------------------------------------------


def _batch(records: Sequence[FakeRecord], codec: int = 0, *, transactional: bool = False) -> bytes:
    builder = DefaultRecordBatchBuilder(2, codec, transactional, -1, -1, -1, 1 << 20)
    base = records[0].offset
    for record in records:
        assert builder.append(record.offset - base, record.timestamp, record.key, record.value, [("h", b"1")])
    data = bytearray(builder.build())
    data[:8] = base.to_bytes(8, "big")  # as the broker does; the checksum does not cover it
    return bytes(data)


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4], ids=["none", "gzip", "snappy", "lz4", "zstd"])
def test_batches_are_taken_apart_as_aiokafka_would(codec: int) -> None:
    """Same rows as from record objects: offsets, times, nulls, empty values, headers."""
    rng = random.Random(codec)
    first, second = _records(rng, 0, 40), _records(rng, 200, 300)
    data = _batch(first, codec) + _batch(second, codec)
    builder = RowsBuilder()
    found = list(batches(data + data[:50], 0, where="t"))  # a fetch ends in the middle of a batch
    assert [(b.base_offset, b.end) for b in found] == [(0, len(_batch(first, codec))), (200, len(data))]
    for batch in found:
        builder.add(data, batch, least=10, where="t")
    rows = builder.build()
    assert rows is not None
    assert is_modern(data)
    expected = [r for r in (*first, *second) if r.offset >= 10]
    _same(gather([(A, 1_000, rows)], DECODERS).chunks[NATIVE], [(0, expected)])
    fetched = gather([(B, 1, rows_of(first)), (A, 1_000, rows)], DECODERS)
    for record in expected:
        assert fetched.find(A, record.offset) == (record.key, record.value)


def test_a_damaged_batch_is_refused() -> None:
    """One flipped bit anywhere behind the checksum is noticed; cut short, the batch is not looked at."""
    data = bytearray(_batch(_records(random.Random(3), 0, 20)))
    for at in range(21, len(data), 7):
        data[at] ^= 4
        with pytest.raises(OutsideError, match="checksum"):
            list(batches(bytes(data), 0, where="t"))
        data[at] ^= 4
    assert list(batches(bytes(data[:-1]), 0, where="t")) == []


def test_lengths_inside_a_batch_are_not_believed() -> None:
    """A batch with a right checksum and wrong lengths inside never reads outside its bytes."""
    rng = random.Random(5)
    data = _batch(_records(rng, 0, 30))
    (batch,) = batches(data, 0, where="t")
    refused = 0
    for _ in range(500):
        changed = bytearray(data)
        changed[rng.randrange(batch.start, batch.end)] = rng.randrange(256)
        builder = RowsBuilder()
        try:
            builder.add(bytes(changed), batch, least=0, where="t")
            rows = builder.build()
        except OutsideError:
            refused += 1
            continue
        assert rows is not None
        assert rows.table[:, (0, 1, 4, 5)].max() <= batch.end - batch.start
        assert rows.table[:, (0, 1, 4, 5)].min() >= -1
    assert refused > 50


# --- the source -------------------------------------------------------------------------------------------


class ScriptedSource(ConsumerSource):
    """A source whose partitions deliver what a test says."""

    def __init__(self, script: dict[Source, list[Rows | OutOfRange]], positions: dict[Source, int]) -> None:
        super().__init__(None, DECODERS)
        self.script, self.positions = script, positions

    async def _take(self, tp: Any, rows_max: int) -> Rows | None:
        del rows_max
        waiting = self.script.get(Source(tp.topic, tp.partition), [])
        if not waiting:
            return None
        step = waiting.pop(0)
        if isinstance(step, OutOfRange):
            raise step
        self.positions[Source(tp.topic, tp.partition)] = int(step.table[-1, 2]) + 1
        return step

    async def _wait(self, timeout_seconds: float) -> None:
        del timeout_seconds

    def _position(self, tp: Any) -> int | None:
        return self.positions.get(Source(tp.topic, tp.partition))

    def check(self) -> None:
        """Nothing is ever wrong."""


def test_records_drained_before_an_error_are_handed_out_first() -> None:
    """Else their offsets would count as read although nobody saw them."""
    rows = rows_of([FakeRecord(0, 1, None, b"x")])
    both: dict[Source, list[Rows | OutOfRange]] = {A: [rows], B: [OutOfRange(B, 7)]}
    for first in (0, 1):  # whichever partition is asked first
        source = ScriptedSource({A: list(both[A]), B: list(both[B])}, {A: 0, B: 7})
        source._first = first
        wanted = {A: Cursor(0), B: Cursor(7)}
        seen: list[int] = []
        errors = 0
        for _ in range(2):
            try:
                fetched = asyncio.run(source.next_chunk(wanted, 10, 0.0))
            except OutOfRange as error:
                errors += error.offset == 7
                continue
            assert fetched is not None
            seen += list(np.concatenate([c.offsets for c in fetched.chunks.values()]))
            assert fetched.next_offsets == (1,)
            wanted[A].next = 1
        assert (seen, errors) == ([0], 1)


def test_a_new_partition_is_announced_without_records() -> None:
    """A flag has to go out even if nothing arrives: the commit that follows must not precede it."""
    source = ScriptedSource({}, {A: 5, B: 3})
    fetched = asyncio.run(source.next_chunk({A: Cursor(5, ProgressFlag.START), B: Cursor(3)}, 10, 0.0))
    assert fetched is not None
    assert (fetched.sources, fetched.next_offsets, fetched.rows) == ((A,), (5,), 0)


def test_control_records_move_a_partition() -> None:
    """The end of a transaction takes an offset, but is no row."""
    source = ScriptedSource({}, {A: 6})
    fetched = asyncio.run(source.next_chunk({A: Cursor(5)}, 10, 0.0))
    assert fetched is not None
    assert (fetched.next_offsets, fetched.record_times, fetched.rows) == ((6,), (-1,), 0)
