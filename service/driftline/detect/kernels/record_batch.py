"""Where the records of a Kafka record batch (format 2) lie, without a Python object a record.

Layout (KIP-98): a record is length, attributes (1 byte), timestamp delta, offset delta, key length, key,
value length, value, number of headers, headers; all numbers but the attributes are zigzag varints; a length
of -1 is null. The record's own length says where the next one begins, so headers are never looked at.
"""

from __future__ import annotations

from typing import Any, Final

from driftline.detect.kernels._jit import jit, jit_inline

VARINT_BYTES_MAX: Final = 10  # 64 bits, 7 a byte
# Columns of the table that ``locate_records`` fills.
START: Final = 0  # of the value; -1: null
END: Final = 1
OFFSET: Final = 2
TIMESTAMP: Final = 3
KEY_START: Final = 4  # -1: null
KEY_END: Final = 5
FIELDS: Final = 6


@jit_inline
def _varint(buf: Any, at: Any, end: Any) -> Any:
    """Value of the varint at ``at`` and the position behind it; -1 if it does not end in time."""
    value = 0
    shift = 0
    stop = min(end, at + VARINT_BYTES_MAX)
    while at < stop:
        byte = int(buf[at])
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
    return 0, -1


@jit
def locate_records(
    buf: Any,
    at: Any,
    end: Any,
    count: Any,
    base_offset: Any,
    base_time: Any,
    append_time: Any,
    least: Any,
    out: Any,
) -> Any:
    """Fill ``out`` with where each record's value and key lie; the rows filled, -1 if the batch is damaged.

    Args:
        buf: uint8 (bytes,), the batch's records lie in ``buf[at:end]``.
        at: where they begin.
        end: where they end.
        count: their number, from the batch's header.
        base_offset: of the batch; the records' are relative to it.
        base_time: likewise, ms.
        append_time: the timestamp of all records if it is the broker's (LogAppendTime), else -1.
        least: records with a lower offset are left out: a fetch begins with the whole batch that holds its
        offset.
        out: int64 (at least count, FIELDS).
    """
    rows = 0
    for _ in range(count):
        length, at = _varint(buf, at, end)
        if at < 0 or length < 0 or length > end - at:
            return -1
        behind = at + length
        time_delta, p = _varint(buf, at + 1, behind)
        if p < 0:
            return -1
        offset_delta, p = _varint(buf, p, behind)
        if p < 0:
            return -1
        key_bytes, p = _varint(buf, p, behind)
        if p < 0 or key_bytes > behind - p:
            return -1
        key_start = p if key_bytes >= 0 else -1
        key_end = p + key_bytes if key_bytes >= 0 else -1
        if key_bytes > 0:
            p += key_bytes
        value_bytes, p = _varint(buf, p, behind)
        if p < 0 or value_bytes > behind - p:
            return -1
        at = behind
        if base_offset + offset_delta < least:
            continue
        out[rows, START] = p if value_bytes >= 0 else -1
        out[rows, END] = p + value_bytes if value_bytes >= 0 else -1
        out[rows, OFFSET] = base_offset + offset_delta
        out[rows, TIMESTAMP] = append_time if append_time >= 0 else base_time + time_delta
        out[rows, KEY_START] = key_start
        out[rows, KEY_END] = key_end
        rows += 1
    return rows if at == end else -1
