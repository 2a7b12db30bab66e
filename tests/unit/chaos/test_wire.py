"""Requests must be found however TCP cuts them, or a trap would miss its moment."""

from __future__ import annotations

import random

from chaos.wire import HEAD_BYTES, FrameScanner, Head


def frame(api: int, body: bytes) -> bytes:
    """A request as it is on the wire."""
    data = api.to_bytes(2, "big") + body
    return len(data).to_bytes(4, "big") + data


FRAMES = [
    frame(0, b"mailbox" + b"x" * 5_000),
    frame(8, b"group"),
    frame(26, b""),
    frame(3, b"y" * HEAD_BYTES),
]
HEADS = [
    Head(0, (b"\0\0mailbox" + b"x" * 5_000)[:HEAD_BYTES]),
    Head(8, b"\0\x08group"),
    Head(26, b"\0\x1a"),
    Head(3, (b"\0\x03" + b"y" * HEAD_BYTES)[:HEAD_BYTES]),
]


def test_whole() -> None:
    """All requests of one chunk are found, with their beginnings."""
    assert FrameScanner().feed(b"".join(FRAMES)) == HEADS


def test_byte_by_byte() -> None:
    """One byte at a time gives the same."""
    scanner = FrameScanner()
    assert [head for byte in b"".join(FRAMES) for head in scanner.feed(bytes([byte]))] == HEADS


def test_any_cut() -> None:
    """Random cuts give the same."""
    dice, data = random.Random(0), b"".join(FRAMES * 3)
    for _ in range(50):
        cuts = sorted(dice.sample(range(len(data)), 7))
        scanner = FrameScanner()
        found = [
            head
            for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)
            for head in scanner.feed(data[begin:end])
        ]
        assert found == HEADS * 3
