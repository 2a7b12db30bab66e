"""The stored form of an actor's shards: a small JSON header and raw arrays, compressed, with a checksum.

Layout: magic "DLS1", CRC-32C (4 bytes, little endian) of all that follows, length of the header (4 bytes),
length of the unpacked arrays (4 bytes), header (UTF-8 JSON), LZ4 block of the arrays end to end. The header
holds the format version, the version of Driftline that wrote it ("by") and, under "arrays", the name, dtype
and shape of each array in order. What structured arrays hold has a version of its own: see ``upgrade.py``.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

import cramjam
import google_crc32c
import numpy as np
import numpy.typing as npt

from driftline import __version__
from driftline.errors import MessageError, NewerFormatError

MAGIC: Final = b"DLS1"
FORMAT_VERSION: Final = 1
UNPACKED_BYTES_MAX: Final = 16 << 20  # 64 channels of detector state are 280 KB; a bomb stops here
LZ4_RATIO_MAX: Final = 255  # no LZ4 block can hold more: a larger claim is refused before memory is taken
HEADER = struct.Struct("<4sIII")

Arrays = Mapping[str, npt.NDArray[Any]]
Records = Mapping[str, np.dtype[Any]]  # the dtypes of structured arrays by name


def encode(kind: str, header: Mapping[str, Any], arrays: Arrays) -> bytes:
    """One shard as bytes. ``kind`` names the shard; ``header`` must be JSON-ready."""
    listed = [
        [name, a.dtype.str if a.dtype.names is None else "record", list(a.shape)]
        for name, a in arrays.items()
    ]
    sizes = {name: a.dtype.itemsize for name, a in arrays.items() if a.dtype.names is not None}
    body = {
        "v": FORMAT_VERSION,
        "by": __version__,
        "kind": kind,
        "arrays": listed,
        "record_bytes": sizes,
        **header,
    }
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    raw = b"".join(np.ascontiguousarray(a).tobytes() for a in arrays.values())
    packed = bytes(cramjam.lz4.compress_block(raw, store_size=False)) if raw else b""
    rest = struct.pack("<II", len(text), len(raw)) + text + packed
    return MAGIC + struct.pack("<I", google_crc32c.value(rest)) + rest


def decode(
    value: bytes, kind: str, records: Callable[[dict[str, Any]], Records] = lambda _: {}
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and writable arrays of a shard; ``records`` gives the structured dtypes for its header.

    Raises:
        NewerFormatError: a later version wrote it.
        MessageError: wrong checksum, another kind, or sizes that do not fit.
    """
    if len(value) < HEADER.size or len(value) > UNPACKED_BYTES_MAX or value[:4] != MAGIC:
        raise MessageError(f"snapshot {kind}: not a snapshot.")
    _, crc, header_bytes, raw_bytes = HEADER.unpack_from(value)
    if google_crc32c.value(value[8:]) != crc:
        raise MessageError(f"snapshot {kind}: checksum does not match, the record is corrupt.")
    end = HEADER.size + header_bytes
    if raw_bytes > min(UNPACKED_BYTES_MAX, LZ4_RATIO_MAX * max(len(value) - end, 0)):
        raise MessageError(
            f"snapshot {kind}: declares {raw_bytes} bytes unpacked, more than is allowed or can be in it."
        )
    try:
        header: dict[str, Any] = json.loads(value[HEADER.size : end])
        if header["v"] > FORMAT_VERSION:
            raise NewerFormatError(
                f"snapshot {kind}: format {header['v']}, written by Driftline "
                f"{header.get('by', 'of a later version')}; this one reads up to {FORMAT_VERSION}."
            )
        if header["kind"] != kind:
            raise MessageError(f"snapshot {kind}: holds {header['kind']!r}.")
        packed = value[end:]
        raw = bytes(cramjam.lz4.decompress_block(packed, output_len=raw_bytes)) if raw_bytes else b""
        return header, _arrays(header, raw, records(header), kind)
    except (KeyError, ValueError, TypeError, cramjam.DecompressionError) as error:
        raise MessageError(f"snapshot {kind}: {error}.") from error


def _arrays(header: Mapping[str, Any], raw: bytes, records: Records, kind: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    at = 0
    for name, code, shape in header["arrays"]:
        dtype = records[name] if code == "record" else np.dtype(code)
        if dtype.hasobject or (code == "record" and header["record_bytes"][name] != dtype.itemsize):
            raise MessageError(
                f"snapshot {kind}: array {name!r} has records of another layout.",
                remedy="It was written by another version: run that version or a later one.",
            )
        whole = all(type(n) is int and n >= 0 for n in shape)  # NaN is JSON for Python
        count = math.prod(shape) if whole else 0
        size = count * dtype.itemsize
        if not whole or at + size > len(raw):
            raise MessageError(f"snapshot {kind}: array {name!r} is cut short.")
        out[name] = np.frombuffer(raw, dtype, count=count, offset=at).reshape(shape).copy()
        at += size
    if at != len(raw):
        raise MessageError(f"snapshot {kind}: {len(raw) - at} bytes too many.")
    return out
