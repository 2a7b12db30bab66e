"""The stored form of an actor's shards: a small JSON header and raw arrays, compressed, with a checksum.

Layout: magic "DLS1", CRC-32C (4 bytes, little endian) of all that follows, length of the header (4 bytes),
length of the unpacked arrays (4 bytes), header (UTF-8 JSON), LZ4 block of the arrays end to end. The header
holds the format version and, under "arrays", the name, dtype and shape of each array in order.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, Final

import cramjam
import google_crc32c
import numpy as np
import numpy.typing as npt

from driftline.errors import MessageError

MAGIC: Final = b"DLS1"
FORMAT_VERSION: Final = 1
UNPACKED_BYTES_MAX: Final = 16 << 20  # 64 channels of detector state are 280 KB; a bomb stops here
HEADER = struct.Struct("<4sIII")

Arrays = Mapping[str, npt.NDArray[Any]]


def encode(kind: str, header: Mapping[str, Any], arrays: Arrays) -> bytes:
    """One shard as bytes. ``kind`` names the shard; ``header`` must be JSON-ready."""
    listed = [
        [name, a.dtype.str if a.dtype.names is None else "record", list(a.shape)]
        for name, a in arrays.items()
    ]
    sizes = {name: a.dtype.itemsize for name, a in arrays.items() if a.dtype.names is not None}
    body = {"v": FORMAT_VERSION, "kind": kind, "arrays": listed, "record_bytes": sizes, **header}
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    raw = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays.values())
    packed = bytes(cramjam.lz4.compress_block(raw, store_size=False)) if raw else b""
    rest = struct.pack("<II", len(text), len(raw)) + text + packed
    return MAGIC + struct.pack("<I", google_crc32c.value(rest)) + rest


def header(value: bytes, kind: str) -> dict[str, Any]:
    """The header of a shard alone, whatever the layout of its arrays.

    Raises:
        MessageError: wrong checksum, not a snapshot, no header.
    """
    if len(value) < HEADER.size or len(value) > UNPACKED_BYTES_MAX or value[:4] != MAGIC:
        raise MessageError(f"snapshot {kind}: not a snapshot.")
    _, crc, header_bytes, _ = HEADER.unpack_from(value)
    if google_crc32c.value(value[8:]) != crc:
        raise MessageError(f"snapshot {kind}: checksum does not match, the record is corrupt.")
    try:
        return dict(json.loads(value[HEADER.size : HEADER.size + header_bytes]))
    except (ValueError, TypeError) as error:
        raise MessageError(f"snapshot {kind}: {error}.") from error


def decode(
    value: bytes, kind: str, records: Mapping[str, np.dtype[Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and writable arrays of a shard; ``records`` gives the dtype of structured arrays by name.

    Raises:
        MessageError: wrong checksum, another kind, a newer format, or sizes that do not fit.
    """
    head = header(value, kind)
    _, _, header_bytes, raw_bytes = HEADER.unpack_from(value)
    if raw_bytes > UNPACKED_BYTES_MAX:
        raise MessageError(f"snapshot {kind}: {raw_bytes} bytes unpacked, at most {UNPACKED_BYTES_MAX}.")
    end = HEADER.size + header_bytes
    try:
        if head["v"] > FORMAT_VERSION:
            raise MessageError(
                f"snapshot {kind}: format {head['v']}, this version reads up to {FORMAT_VERSION}.",
                remedy="A newer Driftline wrote it: run that version or a later one.",
            )
        if head["kind"] != kind:
            raise MessageError(f"snapshot {kind}: holds {head['kind']!r}.")
        packed = value[end:]
        raw = bytes(cramjam.lz4.decompress_block(packed, output_len=raw_bytes)) if raw_bytes else b""
        return head, _arrays(head, raw, records, kind)
    except (KeyError, ValueError, TypeError, cramjam.DecompressionError) as error:
        raise MessageError(f"snapshot {kind}: {error}.") from error


def _arrays(
    header: Mapping[str, Any], raw: bytes, records: Mapping[str, np.dtype[Any]], kind: str
) -> dict[str, Any]:
    out: dict[str, Any] = {}
    at = 0
    for name, code, shape in header["arrays"]:
        dtype = records[name] if code == "record" else np.dtype(code)
        if dtype.hasobject or (code == "record" and header["record_bytes"][name] != dtype.itemsize):
            raise MessageError(
                f"snapshot {kind}: array {name!r} has records of another layout.",
                remedy="It was written by another version: run that version or a later one.",
            )
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if min(shape, default=0) < 0 or at + size > len(raw):
            raise MessageError(f"snapshot {kind}: array {name!r} is cut short.")
        out[name] = np.frombuffer(raw, dtype, count=size // dtype.itemsize, offset=at).reshape(shape).copy()
        at += size
    if at != len(raw):
        raise MessageError(f"snapshot {kind}: {len(raw) - at} bytes too many.")
    return out
