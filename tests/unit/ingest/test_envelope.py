"""What the layout promises for good: golden bytes and golden partitions."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from driftline.errors import BugError, MessageError
from driftline.ingest.envelope import mailbox_partition, pack, unpack, warm
from driftline.records import Block, Column, ColumnKind, Command, Envelope, Progress, Source


def example() -> Envelope:
    """Two rows, one of every kind of column, one command."""
    block = Block(
        model="m",
        columns=(Column(ColumnKind.FEATURE, "age"), Column(ColumnKind.FEATURE, "land", ("DE", "Ö")),
                 Column(ColumnKind.SCORE, "")),
        tags=np.array([[2, 1], [3, 3], [2, 0]], np.uint8),
        values=np.array([[41.5, np.nan], [0, 1], [0.25, np.nan]]),
        event_time=np.array([1, 2], np.int64), record_time=np.array([10, 10], np.int64),
        source=np.array([0, 1], np.int32), offset=np.array([5, 3], np.int64),
        version=np.array([0, -1], np.int32), versions=("v1",), id_hash=np.array([7, 0], np.uint64),
    )  # fmt: skip
    progress = (Progress(Source("a", 0), "x", 3, 4, 6, 1, 10), Progress(Source("b", 1), "y", -1, 0, 3, 0, 10))
    return Envelope("w1", progress, (block,), (Command("m", 9, 0, 6, b"{}"),))


def test_golden_bytes() -> None:
    """The layout of version 1 does not change: another one needs another version."""
    data = pack(example())
    assert len(data) == 384
    assert hashlib.sha256(data).hexdigest()[:16] == "9a6fea7e33256dee"


@pytest.mark.parametrize(
    ("model", "of_4", "of_1024"),
    [("credit-risk", 3, 503), ("m", 0, 224), ("fraud", 2, 278), ("a.b:c_d-1", 3, 15)],
)
def test_golden_partitions(model: str, of_4: int, of_1024: int) -> None:
    """State is stored by partition: the hash never changes."""
    assert (mailbox_partition(model, 4), mailbox_partition(model, 1024)) == (of_4, of_1024)


def test_partitions_are_used_evenly() -> None:
    """A thousand models over eight partitions."""
    counts = np.bincount([mailbox_partition(f"model-{i}", 8) for i in range(1000)], minlength=8)
    assert counts.min() > 80
    assert counts.max() < 170


def test_confidence_needs_version_3() -> None:
    """Written only where it is, and no older version may hold it."""
    whole = example()
    block = replace(
        whole.blocks[0],
        columns=(Column(ColumnKind.CONFIDENCE, ""), Column(ColumnKind.ENTROPY, "")),
        tags=np.full((2, 2), 2, np.uint8),
        values=np.full((2, 2), 0.5),
    )
    data = pack(replace(whole, blocks=(block,)))
    assert (pack(whole)[4], data[4]) == (1, 3)
    assert [c.kind for c in unpack(data).blocks[0].columns] == [ColumnKind.CONFIDENCE, ColumnKind.ENTROPY]
    with pytest.raises(MessageError, match="version 2 has no such columns"):
        unpack(data[:4] + b"\2" + data[5:])


def test_nonsense_is_refused() -> None:
    """Each says what it is."""
    data = pack(example())
    with pytest.raises(MessageError, match="version 4, this release reads up to 3"):
        unpack(data[:4] + b"\4" + data[5:])
    with pytest.raises(MessageError, match="first bytes"):
        unpack(b"{" + data[1:])
    with pytest.raises(MessageError, match="checksum"):
        unpack(data[:-1])
    with pytest.raises(MessageError, match="cut short"):
        unpack(b"DLE1")
    with pytest.raises(MessageError, match="exceed"):
        unpack(bytes((4 << 20) + 1))
    with pytest.raises(ValueError, match="at least 1"):
        mailbox_partition("m", 0)


def test_our_own_mistakes_are_bugs() -> None:
    """A block whose arrays do not fit, and an envelope that should have been split."""
    warm()
    whole = example()
    block = whole.blocks[0]
    block.offset.resize(3, refcheck=False)
    with pytest.raises(BugError, match="array"):
        pack(whole)
    with pytest.raises(BugError, match="split"):
        pack(Envelope("w", (), (), tuple(Command("m", 0, 0, i, b" " * (1 << 20)) for i in range(5))))
