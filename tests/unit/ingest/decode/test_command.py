"""Commands are framed here and otherwise carried as they are."""

from __future__ import annotations

import pytest

from driftline.ingest.decode.command import decode_command
from driftline.records import COMMAND_BYTES_MAX, Command, Reject, Source

SOURCE = Source("driftline.commands", 2)


def decode(raw: bytes) -> Command | Reject:
    """The record at offset 7."""
    return decode_command(raw, source=SOURCE, source_index=1, offset=7, timestamp=5)


def test_a_command_keeps_its_bytes() -> None:
    """White space, order and unknown keys included."""
    raw = b' {"model": "m", "type": "baseline.promote", "baseline": {"n": 1e0}} '
    assert decode(raw) == Command("m", 5, 1, 7, raw)


@pytest.mark.parametrize(
    ("raw", "detail"),
    [
        (b"{", "syntax"),
        (b"[]", "not_object"),
        (b'{"model":"m","model":"n","type":"baseline.promote"}', "duplicate_key"),
        (b'{"type":"drop","model":"m"}', "type"),
        (b'{"type":["baseline.promote"],"model":"m"}', "type"),
        (b'{"type":"baseline.promote"}', "model"),
        (b'{"type":"baseline.promote","model":"a b"}', "model"),
        (b'{"type":"baseline.promote","model":"m","x":"' + b"a" * COMMAND_BYTES_MAX + b'"}', "too_large"),
        (b"\xff", "not_utf8"),
        (b'{"a":' + b"[" * 9 + b"]" * 9 + b"}", "too_deep"),
    ],
)
def test_others_are_rejected(raw: bytes, detail: str) -> None:
    """With one code; the detail says what is wrong."""
    found = decode(raw)
    assert isinstance(found, Reject)
    assert (found.code, found.source, found.offset, len(found.digest)) == ("command_invalid", SOURCE, 7, 32)
    assert detail in found.detail
