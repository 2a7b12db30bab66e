"""Envelopes survive packing, notice every damage, and split into parts that together are the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.errors import BugError, MessageError
from driftline.ingest.columns import split_block
from driftline.ingest.envelope import pack, split, unpack
from driftline.records import Block, Column, ColumnKind, Command, Envelope, Progress, Source

NAMES = st.text(min_size=1, max_size=5)


def block_of(
    rng: np.random.Generator, model: str, names: list[str], rows: np.ndarray, words: list[str]
) -> Block:
    """A block of random cells; ``rows`` is (n, 3): source, offset, record time, in order."""
    n = len(rows)
    tags = rng.integers(0, 7, (len(names), n)).astype(np.uint8)
    values = np.full(tags.shape, np.nan)
    values[tags == 2] = rng.normal(size=int((tags == 2).sum()))
    values[tags == 4] = rng.integers(0, 2, int((tags == 4).sum()))
    columns = []
    for c, name in enumerate(names):
        at = np.flatnonzero(tags[c] == 3)
        codes = rng.integers(0, len(words), len(at))
        order = list(dict.fromkeys(codes.tolist()))
        values[c, at] = [order.index(k) for k in codes.tolist()]
        columns.append(Column(ColumnKind.FEATURE, name, tuple(words[k] for k in order)))
    return Block(
        model=model, columns=tuple(columns), tags=tags, values=values,
        event_time=rows[:, 2] - 5, record_time=np.ascontiguousarray(rows[:, 2]),
        source=rows[:, 0].astype(np.int32), offset=np.ascontiguousarray(rows[:, 1]),
        version=np.where(rows[:, 1] % 2, 0, -1).astype(np.int32),
        versions=("v",) if (rows[:, 1] % 2).any() else (),
        id_hash=rng.integers(0, 2**63, n, np.uint64),
    )  # fmt: skip


@st.composite
def envelopes(draw: st.DrawFn, rows_max: int = 12, *, ascending: bool = False) -> Envelope:
    """Envelopes of a few sources, models and commands."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    sources = draw(st.integers(1, 3))
    progress, free = [], []
    for s in range(sources):
        lo, size = draw(st.integers(0, 50)), draw(st.integers(0, rows_max))
        times = rng.integers(0, 40, size)
        times = np.sort(times) if ascending else times
        free += [(s, lo + i, int(times[i])) for i in range(size)]
        top = int(times.max()) if size else -1
        entry = Progress(
            Source(f"töpic{s}", s), f"id{s}", lo - 1 - s, lo, lo + size - 1, int(rng.integers(0, 3)), top
        )
        progress.append(entry)
    kinds = rng.integers(
        0, 4, len(free)
    )  # 0, 1: a model's row; 2: a command; 3: not of this mailbox partition
    words = draw(st.lists(st.text(max_size=6), min_size=1, max_size=4, unique=True))
    blocks = []
    for m in (0, 1):
        own = sorted(
            (f for f, k in zip(free, kinds, strict=True) if k == m), key=lambda f: (f[2], f[0], f[1])
        )
        if own:
            names = draw(st.lists(NAMES, max_size=4, unique=True))
            blocks.append(block_of(rng, f"m{m}", names, np.array(own, np.int64), words))
    commands = [
        Command("m", t, s, o, b'{"type":1}') for (s, o, t), k in zip(free, kinds, strict=True) if k == 2
    ]
    return Envelope(draw(st.text(max_size=5)), tuple(progress), tuple(blocks), tuple(commands))


def rows_of(envelope: Envelope) -> list[tuple[Any, ...]]:
    """Every row as plain values, with its source resolved."""
    found: list[tuple[Any, ...]] = []
    for block in envelope.blocks:
        for i in range(len(block)):
            cells = []
            for c, column in enumerate(block.columns):
                tag, value = int(block.tags[c, i]), block.values[c, i]
                if tag:
                    cells.append((column.name, tag, column.strings[int(value)] if tag == 3 else repr(value)))
            version = block.versions[block.version[i]] if block.version[i] >= 0 else None
            found.append((block.model, envelope.progress[block.source[i]].source, int(block.offset[i]),
                          int(block.record_time[i]), int(block.event_time[i]),
                          int(block.id_hash[i]), version, cells))  # fmt: skip
    return found


@settings(max_examples=60)
@given(envelope=envelopes())
def test_round_trip(envelope: Envelope) -> None:
    """Unpacking gives back every field, as aligned read-only views."""
    found = unpack(pack(envelope))
    assert (found.producer, found.progress, found.commands) == (
        envelope.producer, envelope.progress, envelope.commands
    )  # fmt: skip
    for a, b in zip(found.blocks, envelope.blocks, strict=True):
        assert (a.model, a.columns, a.versions) == (b.model, b.columns, b.versions)
        for name in ("tags", "values", "event_time", "record_time", "source", "offset", "version", "id_hash"):
            left, right = getattr(a, name), getattr(b, name)
            assert (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
            assert left.flags.aligned
            assert not left.flags.writeable
            assert not left.flags.owndata
    assert pack(found) == pack(envelope)


@settings(max_examples=15)
@given(envelope=envelopes(rows_max=4))
def test_damage_is_noticed(envelope: Envelope) -> None:
    """Any flipped byte, any cut and any added byte is a MessageError, nothing else."""
    data = pack(envelope)
    for at in range(len(data)):
        with pytest.raises(MessageError):
            unpack(data[:at])
        with pytest.raises(MessageError):
            unpack(data[:at] + bytes([data[at] ^ (1 << (at % 8))]) + data[at + 1 :])
    with pytest.raises(MessageError):
        unpack(data + b"\0")


@settings(max_examples=100)
@given(envelope=envelopes(rows_max=4), data=st.data())
def test_forged_content_is_refused_or_harmless(envelope: Envelope, data: st.DataObject) -> None:
    """With a right checksum over changed bytes, only a MessageError or a sound envelope can come out."""
    import google_crc32c

    packed = bytearray(pack(envelope))
    for _ in range(data.draw(st.integers(1, 3))):
        packed[data.draw(st.integers(12, len(packed) - 1))] = data.draw(
            st.sampled_from([0, 1, 2, 127, 128, 255])
        )
    packed[8:12] = google_crc32c.value(bytes(packed[12:])).to_bytes(4, "little")
    try:
        found = unpack(bytes(packed))
    except MessageError:
        return
    rows_of(found)  # every index is in range
    assert pack(found) is not None


@settings(max_examples=120)
@given(envelope=envelopes(), bytes_max=st.integers(700, 3_000), ascending=st.booleans(), data=st.data())
def test_split_parts_are_the_whole(
    envelope: Envelope, bytes_max: int, ascending: bool, data: st.DataObject
) -> None:
    """Parts chain, declare exactly their rows, and any prefix of them leaves a watermark that is true."""
    if ascending:
        envelope = data.draw(envelopes(ascending=True))
    parts = split(envelope, bytes_max)
    assert all(len(pack(part)) <= bytes_max for part in parts)
    watermark = {p.source: p.prev_hi for p in envelope.progress}
    start = {p.source: p.lo for p in envelope.progress}
    seen: set[tuple[Source, int]] = set()
    everything = {(r[1], r[2]) for r in rows_of(envelope)}
    everything |= {(envelope.progress[c.source].source, c.offset) for c in envelope.commands}
    for part in parts:
        unpack(pack(part))  # rows lie in the declared ranges and in order
        for p in part.progress:
            assert p.prev_hi == watermark[p.source]
            assert p.lo == start[p.source]
            watermark[p.source], start[p.source] = p.hi, p.hi + 1
        seen |= {(r[1], r[2]) for r in rows_of(part)}
        seen |= {(part.progress[c.source].source, c.offset) for c in part.commands}
        assert seen == {(s, o) for s, o in everything if o < start[s]}
    assert seen == everything
    for whole in envelope.progress:
        entries = [p for part in parts for p in part.progress if p.source == whole.source]
        assert [p.flags for p in entries] == [whole.flags] + [0] * (len(entries) - 1)
        assert max(p.record_time_max for p in entries) == whole.record_time_max
        assert entries[-1].hi == whole.hi
    together = [row for part in parts for row in rows_of(part)]
    if len(parts) > 1 and not ascending:
        assert sorted(map(repr, together)) == sorted(map(repr, rows_of(envelope)))
    else:  # with ascending timestamps the order in which rows count is kept, model by model
        for model in ("m0", "m1"):
            assert [r for r in together if r[0] == model] == [r for r in rows_of(envelope) if r[0] == model]


@settings(max_examples=40)
@given(envelope=envelopes(), rows=st.integers(1, 5))
def test_split_block_keeps_rows(envelope: Envelope, rows: int) -> None:
    """Cut blocks have the same rows in the same order, and no idle columns or strings."""
    for block in envelope.blocks:
        parts = split_block(block, rows)
        assert all(0 < len(p) <= rows for p in parts)
        assert rows_of(Envelope("", envelope.progress, tuple(parts))) == rows_of(
            Envelope("", envelope.progress, (block,))
        )
        if len(parts) > 1:
            for part in parts:
                assert all((part.tags[c] != 0).any() for c in range(len(part.columns)))
                used = [len(np.unique(part.values[c][part.tags[c] == 3])) for c in range(len(part.columns))]
                assert [len(c.strings) for c in part.columns] == used


def test_a_row_that_cannot_fit_is_our_fault() -> None:
    """Splitting below the size of one row raises instead of looping."""
    rows = np.array([[0, 0, 0]], np.int64)
    block = block_of(np.random.default_rng(0), "m", ["a"], rows, ["w"])
    with pytest.raises(BugError, match="one row"):
        split(Envelope("", (Progress(Source("t", 0), "", -1, 0, 0),), (block,)), 40)
