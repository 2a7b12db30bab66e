"""Batches that unpack to more than is allowed: noticed in every format, without unpacking them."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Callable

import cramjam
import pytest
from aiokafka import codec
from aiokafka.record.default_records import DefaultRecordBatchBuilder

from driftline.ingest import batches as frames
from driftline.ingest import inflate as module
from driftline.ingest.batches import RowsBuilder, batches
from driftline.ingest.inflate import inflate
from driftline.records import RECORD_BYTES_MAX

SMALL_MAX = 1 << 20  # in place of the real bound, so that the tests are quick
FORMATS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "gzip": (1, gzip.compress),
    "gzip of two members": (1, lambda d: gzip.compress(d[: len(d) // 2]) + gzip.compress(d[len(d) // 2 :])),
    "snappy": (2, lambda d: bytes(cramjam.snappy.compress_raw(d))),
    "snappy of Java": (2, codec.snappy_encode),
    "lz4": (3, codec.lz4_encode),
    "zstd": (4, codec.zstd_encode),
}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound of 1 MiB."""
    monkeypatch.setattr(module, "BATCH_BYTES_MAX", SMALL_MAX)


@pytest.mark.parametrize("name", FORMATS)
def test_up_to_the_bound_and_not_beyond(name: str) -> None:
    """Exactly as much as is allowed comes out whole; a byte more, or a thousand times more, does not."""
    kind, compress = FORMATS[name]
    for size in (1, 1_000, SMALL_MAX - 1, SMALL_MAX):
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        assert inflate(kind, compress(data)) == data
    assert inflate(kind, compress(bytes(SMALL_MAX + 1))) is None
    bomb = compress(bytes(64 << 20))
    tracemalloc.start()
    try:
        assert inflate(kind, bomb) is None
        assert tracemalloc.get_traced_memory()[1] < 4 * SMALL_MAX + len(bomb)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 7])
def test_damage_is_a_value_error(kind: int) -> None:
    """Junk, cut streams, unknown formats, and a length that is a lie."""
    for raw in (b"", b"\xff" * 5, b"\xff\xff\xff\xff\x0f" + b"x" * 3_000, b"junk" * 2_000):
        try:
            found = inflate(kind, raw)
        except ValueError:
            continue
        assert found in {None, b""}  # an empty stream, or one that claims too much


def _batch(kind: int, values: list[bytes]) -> bytes:
    builder = DefaultRecordBatchBuilder(2, kind, 0, -1, -1, -1, 1 << 30)
    for offset, value in enumerate(values):
        builder.append(offset, 5, b"key", value, [])
    return bytes(builder.build())


def test_a_refused_batch_is_one_row_that_is_too_large() -> None:
    """Between honest batches: their rows are untouched, and offsets go on behind it."""
    good, bomb = _batch(4, [b"one", b"two"]), _batch(4, [bytes(SMALL_MAX)] * 3)
    data = good + bomb + bomb + good
    builder = RowsBuilder()
    taken = []
    for number, batch in enumerate(batches(data, 0, where="t")):
        moved = frames.Batch(
            batch.start, batch.end, batch.attributes, number * 10, number * 10 + batch.count,
            batch.base_time, batch.max_time, batch.count,
        )  # fmt: skip
        taken.append(builder.add(data, moved, least=0, where="t"))
    assert taken == [True, False, False, True]
    rows = builder.build()
    assert rows is not None
    assert rows.table[:, 2].tolist() == [0, 1, 12, 22, 30, 31]
    assert (rows.table[2:4, 1] - rows.table[2:4, 0] == RECORD_BYTES_MAX + 1).all()
    joined = b"".join(rows.data)
    values = [joined[a:b] for a, b in rows.table[[0, 1, 4, 5], :2].tolist()]
    assert values == [b"one", b"two", b"one", b"two"]
    assert len(joined) < 2 * RECORD_BYTES_MAX  # one stand-in for all


def test_too_many_records_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reject each would be the bomb that was meant."""
    monkeypatch.setattr(frames, "BATCH_ROWS_MAX", 100)
    data = _batch(0, [b""] * 101)
    (batch,) = batches(data, 0, where="t")
    builder = RowsBuilder()
    assert not builder.add(data, batch, least=0, where="t")
    rows = builder.build()
    assert rows is not None
    assert rows.table[:, 2].tolist() == [100]
