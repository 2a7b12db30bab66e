"""Decompression of record batches with a bound: a megabyte on the wire can hold gigabytes of zeros.

Owns: how much a batch may hold. Pure; it gives back bytes, or None where there would be too many of them.
Nothing is allocated beyond the bound, whatever a batch claims.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Final

import cramjam
import numpy as np
from aiokafka import codec

# A broker takes batches of 1 MiB by default, and events in JSON shrink by 5 to 30: honest ones fit twice.
BATCH_BYTES_MAX: Final = 64 << 20
# A rejected row costs a record on the rejects topic. An event has 20 bytes and more.
BATCH_ROWS_MAX: Final = 1_000_000
# No block of these formats can hold more than so many times its size, so that small ones need no second look.
_GZIP_RATIO_MAX: Final = 1_032  # deflate: 258 bytes from two bits
_LZ4_RATIO_MAX: Final = 255
_GZIP_WINDOW: Final = 31  # zlib: a gzip header, the largest window
_XERIAL: Final = b"\x82SNAPPY\0"  # Java's framing of snappy: blocks, each with its length before it
_XERIAL_BYTES: Final = 16


def _gzip(raw: bytes) -> bytes | None:
    if len(raw) * _GZIP_RATIO_MAX <= BATCH_BYTES_MAX:
        return bytes(codec.gzip_decode(raw))
    found: list[bytes] = []
    left = BATCH_BYTES_MAX
    while raw:  # a gzip file may have several members
        member = zlib.decompressobj(_GZIP_WINDOW)
        piece = member.decompress(raw, left)
        if not member.eof:
            return None
        left -= len(piece)
        found.append(piece)
        raw = member.unused_data
        if left <= 0 and raw:
            return None
    return b"".join(found)


def _snappy(raw: bytes) -> bytes | None:
    return bytes(codec.snappy_decode(raw)) if _snappy_claims(raw) <= BATCH_BYTES_MAX else None


def _snappy_claims(raw: bytes) -> int:
    """Bytes that a snappy stream says it holds; the decoder asks for no more."""
    if not raw.startswith(_XERIAL):
        return int(cramjam.snappy.decompress_raw_len(raw))
    at, claims = _XERIAL_BYTES, 0
    while at + 4 <= len(raw) and claims <= BATCH_BYTES_MAX:
        size = int.from_bytes(raw[at : at + 4], "big")
        claims += int(cramjam.snappy.decompress_raw_len(raw[at + 4 : at + 4 + size]))
        at += 4 + size
    return claims


def _lz4(raw: bytes) -> bytes | None:
    if len(raw) * _LZ4_RATIO_MAX <= BATCH_BYTES_MAX:
        return bytes(codec.lz4_decode(raw))
    return _into(cramjam.lz4.decompress_into, raw)


def _zstd(raw: bytes) -> bytes | None:
    return _into(cramjam.zstd.decompress_into, raw)  # has no largest ratio


def _into(decompress: Callable[..., int], raw: bytes) -> bytes | None:
    room = np.empty(BATCH_BYTES_MAX, dtype=np.uint8)  # pages that nothing is written to cost nothing
    try:
        size = decompress(raw, room)
    except cramjam.DecompressionError as error:
        if "whole buffer" in str(error):
            return None
        raise
    return room[:size].tobytes()


_KINDS: Final[dict[int, Callable[[bytes], bytes | None]]] = {1: _gzip, 2: _snappy, 3: _lz4, 4: _zstd}


def inflate(kind: int, raw: bytes) -> bytes | None:
    """What is in a compressed batch (``kind`` as in its attributes); None if more than ``BATCH_BYTES_MAX``.

    Raises:
        ValueError: the compression is unknown, or the bytes are damaged.
    """
    if kind not in _KINDS:
        raise ValueError(f"has compression {kind}")
    try:
        return _KINDS[kind](raw)
    except (cramjam.DecompressionError, zlib.error, EOFError, OSError, struct.error) as error:
        raise ValueError(f"is damaged: {error}") from error
