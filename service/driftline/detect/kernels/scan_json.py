"""The scanner of events: UTF-8 JSON records to a flat stream of cells, in one bounds-checked pass.

It accepts a record only if it understands every byte of it; in all other cases it *declines*: it stops at
that record and leaves it to the slow path, which decides what the record is and teaches the tables new keys.
So the scanner never rejects, and being unsure is always safe. It declines unknown keys, escapes in strings,
numbers it cannot convert exactly, malformed input, duplicate keys, and rows without a usable model or time.

Where an event keeps what is in tables: a *space* is an object or array with something to look for in it, a
key belongs to a space and has a role, and its value may open another space. Native events are just one such
tree. Objects and arrays that open no space are checked and skipped.

Bounds. A position only moves forward; every loop stops at the record's end; a token may be read at most
CHUNK_PADDING bytes past it (numbers are at most 32 characters, words 8 bytes), and a record is accepted only
if the position is exactly at its end, so that nothing read past the end can have counted.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit
from driftline.detect.kernels.distribution import certainty, plogp
from driftline.detect.kernels.scan_number import (
    DECLINED,
    INTEGER,
    UNUSABLE,
    address,
    load8,
    load64,
    load_int,
    parse_number,
    store64,
)
from driftline.detect.kernels.scan_tables import (
    FLAG_MODEL,
    FLAG_VERSION,
    KEY_AT,
    KEY_CHILD,
    KEY_ENTRY,
    KEY_NEXT,
    KEY_ROLE,
    KEY_SIZE,
    KEY_SPACE,
    KEY_STAMP,
    KEYS_MAX,
    SKIPPED_KEYS_MAX,
    SPACE_CLOSER,
    SPACE_CURSOR,
    SPACE_DEPTH,
    SPACE_ELEMENT,
    SPACE_ENTRY,
    SPACE_FIRST,
    SPACE_LAST,
    SPACE_PARENT,
    STATE_AGE_MAX,
    STATE_BAD_NAME,
    STATE_BAD_PROBABILITIES,
    STATE_CELLS,
    STATE_DISTRIBUTION,
    STATE_FIXED_MODEL,
    STATE_INVALID,
    STATE_MINUTE,
    STATE_NESTED,
    STATE_NO_ID,
    STATE_ROW,
    STATE_SKIPPED,
    STATE_STAMP,
    STRING_BYTES_MAX,
    STRING_ENTRY,
    STRING_FLAGS,
    TIMES_NOT_JUDGED,
    find_key,
    hash_bytes,
    intern,
    same_bytes,
    string_end,
    utf8_valid,
)
from driftline.records import CHUNK_PADDING, JSON_DEPTH_MAX, RECORD_BYTES_MAX, TIME_AHEAD_MS_MAX, Tag

TOP: Final = 0  # the space of the record itself

# What a key means.
ROLE_FEATURE: Final = 0
ROLE_BAD: Final = 1  # a feature or class whose name is not allowed: ignored and counted
ROLE_IGNORED: Final = 2
ROLE_ID: Final = 3
ROLE_MODEL: Final = 4
ROLE_VERSION: Final = 5
ROLE_TIME: Final = 6
ROLE_FEATURES: Final = 7
ROLE_PREDICTION: Final = 8
ROLE_SCORE: Final = 9
ROLE_CLASS: Final = 10
ROLE_PROBABILITIES: Final = 11
ROLE_PROBABILITY: Final = 12
ROLE_PATH: Final = 13  # only of interest for what is in it
ROLE_CONFIDENCE: Final = 14  # these two are in no record: derived from the probabilities
ROLE_ENTROPY: Final = 15

# The first keys of every table: cells of predictions carry them whatever the record called them.
KEY_SCORE: Final = 0
KEY_CLASS: Final = 1
KEY_CONFIDENCE: Final = 2
KEY_ENTROPY: Final = 3

# Columns of Rows.ints.
ROW_MODEL: Final = 0  # string number; -1: the row was not accepted
ROW_VERSION: Final = 1  # string number or -1
ROW_TIME: Final = 2  # event time, ms
ROW_CELL_END: Final = 3  # cells of row r are those from the end of row r - 1
ROW_INTS: Final = 4

# An event needs at least this many bytes a cell ('"":0' and a comma or brace).
CELL_BYTES_MIN: Final = 5
TIME_MS_MIN: Final = -62_135_596_800_000  # 0001-01-01T00:00:00Z
TIME_MS_MAX: Final = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z

_BACKSTOP = 4  # cells that a row may have beyond those its bytes pay for: class, confidence, entropy
_NUMBER = int(Tag.NUMBER)
_NULL = int(Tag.NULL)
_STRING = int(Tag.STRING)
_BOOL = int(Tag.BOOL)
_INVALID = int(Tag.INVALID)
_NESTED = int(Tag.NESTED)
_TRUE_WORD = np.uint64(int.from_bytes(b"true", "little"))
_NULL_WORD = np.uint64(int.from_bytes(b"null", "little"))
_FALSE_WORD = np.uint64(int.from_bytes(b"false", "little"))
_NAN_WORD = np.uint64(int.from_bytes(b"NaN", "little"))
_INFINITY_WORD = np.uint64(int.from_bytes(b"Infinity", "little"))
_LOW3 = np.uint64(0xFFFFFF)
_LOW4 = np.uint64(0xFFFFFFFF)
_LOW5 = np.uint64(0xFFFFFFFFFF)


class Rows(NamedTuple):
    """One entry a record of the chunk."""

    ints: npt.NDArray[np.int64]  # (n, ROW_INTS)
    ids: npt.NDArray[np.uint64]  # (n,) 0 for none


class Cells(NamedTuple):
    """The stream of cells in row order; (capacity,)."""

    key: npt.NDArray[np.int32]
    tag: npt.NDArray[np.uint8]
    value: npt.NDArray[np.float64]  # the number, 0 or 1, or the number of a string


@jit
def skip_space(p: Any, end: Any) -> int:
    """First position from ``p`` that is not JSON white space, at most ``end`` (``p`` if behind it)."""
    while p < end:
        c = load8(p)
        if c > 32 or not (c == 32 or c == 10 or c == 13 or c == 9):
            break
        p += 1
    return p  # type: ignore[no-any-return]


@jit
def _two_digits(p: Any) -> int:
    a = load8(p) - 48
    b = load8(p + 1) - 48
    if a < 0 or a > 9 or b < 0 or b > 9:
        return -1
    return a * 10 + b  # type: ignore[no-any-return]


@jit
def _minute_ms(p: Any) -> int:
    """Epoch milliseconds of YYYY-MM-DDTHH:MM, years 1970 to 9998, or -1."""
    century = _two_digits(p)
    year = _two_digits(p + 2)
    month = _two_digits(p + 5)
    day = _two_digits(p + 8)
    hour = _two_digits(p + 11)
    minute = _two_digits(p + 14)
    t = load8(p + 10)
    if century < 0 or year < 0 or month < 1 or month > 12 or day < 1 or hour < 0 or minute < 0:
        return -1
    if load8(p + 4) != 45 or load8(p + 7) != 45 or load8(p + 13) != 58:
        return -1
    if (t != 84 and t != 116 and t != 32) or hour > 23 or minute > 59:
        return -1
    year += 100 * century
    if year < 1970 or year > 9998:
        return -1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days_max = 31
    if month == 2:
        days_max = 29 if leap else 28
    elif month == 4 or month == 6 or month == 9 or month == 11:
        days_max = 30
    if day > days_max:
        return -1
    # Days since 1970-01-01 in the proleptic Gregorian calendar, years counted from March.
    y = year - 1 if month <= 2 else year
    m = month + 9 if month <= 2 else month - 3
    days = 365 * y + y // 4 - y // 100 + y // 400 + (153 * m + 2) // 5 + day - 1 - 719468
    return ((days * 24 + hour) * 60 + minute) * 60_000  # type: ignore[no-any-return]


@jit
def parse_time(start: Any, end: Any, state: Any) -> int:
    """Epoch milliseconds, truncated, of an RFC 3339 time; -1: declined (also years before 1970)."""
    if end - start < 20:
        return -1
    memo = state + 8 * STATE_MINUTE
    w0 = load_int(start)
    w1 = load_int(start + 8)
    if w0 == load_int(memo) and w1 == load_int(memo + 8):
        ms = load_int(memo + 16)
    else:
        ms = _minute_ms(start)
        if ms < 0:
            return -1
        store64(memo, w0)
        store64(memo + 8, w1)
        store64(memo + 16, ms)
    second = _two_digits(start + 17)
    if load8(start + 16) != 58 or second < 0 or second > 59:
        return -1
    ms += second * 1000
    p = start + 19
    c = load8(p)
    if c == 46:
        scale = 100
        p += 1
        first = p
        while p < end:
            c = load8(p)
            if c < 48 or c > 57:
                break
            ms += scale * (c - 48)
            scale //= 10
            p += 1
        if p == first:
            return -1
    if c == 90 or c == 122:
        return ms if p + 1 == end else -1
    if (c != 43 and c != 45) or p + 6 != end or load8(p + 3) != 58:
        return -1
    hour = _two_digits(p + 1)
    minute = _two_digits(p + 4)
    if hour < 0 or hour > 23 or minute < 0 or minute > 59:
        return -1
    offset = (hour * 60 + minute) * 60_000
    ms += -offset if c == 43 else offset
    return ms if ms >= 0 else -1


@jit
def parse_literal(p: Any) -> tuple[int, int, float]:
    """(tag, position behind, value) of true, false, null, NaN or +-Infinity; tag -1: none of these."""
    w = load64(p)
    if w & _LOW4 == _TRUE_WORD:
        return _BOOL, p + 4, 1.0
    if w & _LOW5 == _FALSE_WORD:
        return _BOOL, p + 5, 0.0
    if w & _LOW4 == _NULL_WORD:
        return _NULL, p + 4, np.nan
    if w & _LOW3 == _NAN_WORD:
        return _INVALID, p + 3, np.nan
    if w == _INFINITY_WORD:
        return _INVALID, p + 8, np.nan
    if load8(p) == 45 and load64(p + 1) == _INFINITY_WORD:
        return _INVALID, p + 9, np.nan
    return -1, p, 0.0


@jit
def skip_container(p: Any, end: Any, depth: Any, state: Any) -> int:
    """Address behind the object or array at ``p``, inside ``depth`` others; -1: declined.

    Everything in it is checked as the slow path would: grammar, UTF-8, depth, keys given twice. ``state`` is
    an address. Keys are told apart by their hashes: equal ones are declined, so a collision costs time only.
    """
    hashes = state + 8 * STATE_SKIPPED
    begins = hashes + 8 * SKIPPED_KEYS_MAX
    kinds = 0  # a bit a level, the innermost lowest: 1 is an object
    level = 0
    begin = 0  # the innermost object's hashes are begin..count
    count = 0
    while True:
        c = load8(p)
        closing = False
        opened = False
        if c == 123 or c == 91:
            if depth + level >= JSON_DEPTH_MAX:
                return -1
            store64(begins + 8 * level, begin)
            begin = count
            kinds = 2 * kinds + (1 if c == 123 else 0)
            level += 1
            p = skip_space(p + 1, end)
            closing = load8(p) == c + 2  # the bracket that belongs to it
            opened = not closing
        elif c == 34:
            stop, wide = string_end(p + 1, end)
            if stop < 0 or (wide and not utf8_valid(p + 1, stop)):
                return -1
            p = stop + 1
        elif (c >= 48 and c <= 57) or (c == 45 and load8(p + 1) != 73):
            what, p, _ = parse_number(p)
            if what == DECLINED:
                return -1
        else:
            literal, p, _ = parse_literal(p)
            if literal < 0:
                return -1
        while not opened:
            if closing:
                p += 1
                level -= 1
                count = begin
                begin = load_int(begins + 8 * level)
                kinds >>= 1
                if level == 0:
                    return p  # type: ignore[no-any-return]
            p = skip_space(p, end)
            if p >= end:
                return -1
            c = load8(p)
            if c == 44:
                p = skip_space(p + 1, end)
                break
            if c != (125 if kinds & 1 else 93):
                return -1
            closing = True
        if kinds & 1:
            if load8(p) != 34:
                return -1
            stop, wide = string_end(p + 1, end)
            if stop < 0 or count >= SKIPPED_KEYS_MAX or (wide and not utf8_valid(p + 1, stop)):
                return -1
            h = np.int64(hash_bytes(p + 1, stop, 0))
            for k in range(begin, count):
                if load_int(hashes + 8 * k) == h:
                    return -1
            store64(hashes + 8 * count, h)
            count += 1
            p = skip_space(stop + 1, end)
            if load8(p) != 58:
                return -1
            p = skip_space(p + 1, end)
        if p >= end:
            return -1


@jit
def scan_rows(
    buf: Any,
    starts: Any,
    ends: Any,
    times: Any,
    names: Any,
    keys: Any,
    key_table: Any,
    spaces: Any,
    elements: Any,
    words: Any,
    strings: Any,
    string_table: Any,
    ints: Any,
    ids: Any,
    cell_key: Any,
    cell_tag: Any,
    cell_value: Any,
    state: Any,
) -> int:
    """Scans records from ``state[STATE_ROW]`` on; returns the record at which it stopped.

    Result n: all done. 0..n-1: that record is declined (``state[STATE_ROW]`` is it; nothing of it was kept).
    -1 - r: the cells have no room for record r; call again with larger arrays. A record's size in bytes
    bounds its cells.

    Long on purpose: declining from any depth is one ``return``, and the row's partial results live in
    registers.
    """
    n = starts.shape[0]
    readable = buf.shape[0] - CHUNK_PADDING
    room = cell_key.shape[0] - elements.shape[0] - _BACKSTOP
    base = address(buf)
    state_at = address(state)
    names_at = address(names)
    keys_at = address(keys)
    key_table_at = address(key_table)
    spaces_at = address(spaces)
    elements_at = address(elements)
    words_at = address(words)
    strings_at = address(strings)
    string_table_at = address(string_table)
    root = keys_at + KEY_ENTRY * KEYS_MAX
    class_at = keys_at + KEY_ENTRY * KEY_CLASS
    age_max = state[STATE_AGE_MAX]
    sums = np.zeros(3)  # of probabilities: classes, total, plogp; not in registers, few events have them
    r = state[STATE_ROW]
    while r < n:
        state[STATE_ROW] = r
        cell = state[STATE_CELLS]
        if (
            starts[r] < 0
            or ends[r] < starts[r]
            or ends[r] > readable
            or ends[r] - starts[r] > RECORD_BYTES_MAX
        ):
            return r  # type: ignore[no-any-return]
        p = base + starts[r]
        end = base + ends[r]
        if cell + (end - p) // CELL_BYTES_MIN > room:
            return -1 - r  # type: ignore[no-any-return]
        stamp = state[STATE_STAMP] + 1
        state[STATE_STAMP] = stamp
        model = state[STATE_FIXED_MODEL]
        version = np.int64(-1)
        record_time = times[r]
        event_time = record_time
        id_hash = np.uint64(0)
        invalid = 0
        nested = 0
        bad = 0
        best = -np.inf  # most probable class so far, and where its name is
        best_start = np.int64(-1)
        best_end = np.int64(-1)
        distributed = False  # there are probabilities to make a confidence of
        space = np.int64(TOP)
        closer = 125  # } or ], what ends this space
        previous = root
        p = skip_space(p, end)
        if load8(p) != 123:
            return r  # type: ignore[no-any-return]
        p = skip_space(p + 1, end)
        opened = True  # directly behind '{', where '}' may follow
        done = False
        while not done:
            closing = False
            c = load8(p)
            if opened and c == closer:
                closing = True
                p += 1
            elif closer == 125 and c != 34:
                return r  # type: ignore[no-any-return]
            else:
                if closer == 125:
                    # --- the key: the one that followed last time, else by its hash
                    p += 1
                    key_start = p
                    key = load_int(previous + 8 * KEY_NEXT)
                    entry = keys_at + KEY_ENTRY * key
                    size = np.int64(0)
                    if key >= 0:
                        size = load_int(entry + 8 * KEY_SIZE)
                        if (
                            p + size >= end
                            or load8(p + size) != 34
                            or load_int(entry + 8 * KEY_SPACE) != space
                            or not same_bytes(p, size, names_at + 8 * load_int(entry + 8 * KEY_AT))
                        ):
                            key = np.int64(-1)
                    if key < 0:
                        key = np.int64(find_key(p, end, space, names_at, keys_at, key_table_at))
                        if key < 0:
                            return r  # type: ignore[no-any-return]
                        store64(previous + 8 * KEY_NEXT, key)
                        entry = keys_at + KEY_ENTRY * key
                        size = load_int(entry + 8 * KEY_SIZE)
                    previous = entry
                    if load_int(entry + 8 * KEY_STAMP) == stamp:
                        return r  # type: ignore[no-any-return]
                    store64(entry + 8 * KEY_STAMP, stamp)
                    role = load_int(entry + 8 * KEY_ROLE)
                    p += size + 1
                    if load8(p) != 58:
                        p = skip_space(p, end)
                        if load8(p) != 58:
                            return r  # type: ignore[no-any-return]
                    p += 1
                    if load8(p) <= 32:
                        p = skip_space(p, end)
                else:
                    # --- an element: nearly all of them are nobody's business
                    key_start = p
                    size = np.int64(0)
                    key = np.int64(-1)
                    entry = root
                    role = np.int64(ROLE_IGNORED)
                    at = spaces_at + SPACE_ENTRY * space
                    cursor = load_int(at + 8 * SPACE_CURSOR)
                    element = load_int(at + 8 * SPACE_ELEMENT)
                    if (
                        cursor < load_int(at + 8 * SPACE_LAST)
                        and load_int(elements_at + 16 * cursor) == element
                    ):
                        key = load_int(elements_at + 16 * cursor + 8)
                        entry = keys_at + KEY_ENTRY * key
                        role = load_int(entry + 8 * KEY_ROLE)
                        store64(entry + 8 * KEY_STAMP, stamp)
                        store64(at + 8 * SPACE_CURSOR, cursor + 1)
                    store64(at + 8 * SPACE_ELEMENT, element + 1)
                if p >= end:
                    return r  # type: ignore[no-any-return]
                # --- the value
                c = load8(p)
                opened = False
                tag = -1  # of the cell that this value becomes, if any
                value = np.nan
                start = p
                if c == 34:
                    start = p + 1
                    stop, wide = string_end(start, end)
                    if stop < 0:
                        return r  # type: ignore[no-any-return]
                    p = stop + 1
                    if role == ROLE_FEATURE or (role >= ROLE_PREDICTION and role <= ROLE_CLASS):
                        if stop - start > STRING_BYTES_MAX:
                            if wide and not utf8_valid(start, stop):
                                return r  # type: ignore[no-any-return]
                            tag = _INVALID
                        else:
                            number = intern(
                                start, stop, wide, words_at, strings_at, string_table_at, state_at
                            )
                            if number < 0:
                                return r  # type: ignore[no-any-return]
                            tag = _STRING
                            value = np.float64(number)
                        if role == ROLE_PREDICTION:
                            key = np.int64(KEY_CLASS)
                    elif role == ROLE_MODEL:
                        model = np.int64(
                            intern(start, stop, wide, words_at, strings_at, string_table_at, state_at)
                        )
                        if (
                            model < 0
                            or load_int(strings_at + STRING_ENTRY * model + 8 * STRING_FLAGS) & FLAG_MODEL
                            == 0
                        ):
                            return r  # type: ignore[no-any-return]
                    elif role == ROLE_VERSION:
                        version = np.int64(
                            intern(start, stop, wide, words_at, strings_at, string_table_at, state_at)
                        )
                        if (
                            version < 0
                            or load_int(strings_at + STRING_ENTRY * version + 8 * STRING_FLAGS) & FLAG_VERSION
                            == 0
                        ):
                            return r  # type: ignore[no-any-return]
                    elif role == ROLE_TIME:
                        event_time = np.int64(parse_time(start, stop, state_at))
                        if event_time < 0:
                            return r  # type: ignore[no-any-return]
                    elif role == ROLE_FEATURES or role == ROLE_PROBABILITIES:
                        return r  # type: ignore[no-any-return]
                    else:
                        if wide and not utf8_valid(start, stop):
                            return r  # type: ignore[no-any-return]
                        if role == ROLE_ID and stop > start:
                            id_hash = hash_bytes(start, stop, 0)
                        elif role == ROLE_BAD:
                            bad += 1
                        elif role == ROLE_PROBABILITY:
                            sums[2] = np.nan
                elif (c >= 48 and c <= 57) or (c == 45 and load8(p + 1) != 73):
                    what, p, number_value = parse_number(p)
                    if what == DECLINED:
                        return r  # type: ignore[no-any-return]
                    if role == ROLE_FEATURE or (role >= ROLE_PREDICTION and role <= ROLE_CLASS):
                        tag = _INVALID if what == UNUSABLE else _NUMBER
                        if what != UNUSABLE:
                            value = number_value
                        if role == ROLE_PREDICTION:
                            key = np.int64(KEY_SCORE)
                    elif role == ROLE_ID:
                        if what < INTEGER or c == 45:
                            return r  # type: ignore[no-any-return]
                        id_hash = hash_bytes(start, p, 0)
                    elif role == ROLE_VERSION:
                        if what != INTEGER or c == 45:
                            return r  # type: ignore[no-any-return]
                        version = np.int64(
                            intern(start, p, False, words_at, strings_at, string_table_at, state_at)
                        )
                        if (
                            version < 0
                            or load_int(strings_at + STRING_ENTRY * version + 8 * STRING_FLAGS) & FLAG_VERSION
                            == 0
                        ):
                            return r  # type: ignore[no-any-return]
                    elif role == ROLE_TIME:
                        if what != INTEGER or c == 45 or number_value > TIME_MS_MAX:
                            return r  # type: ignore[no-any-return]
                        event_time = np.int64(number_value)
                    elif role == ROLE_PROBABILITY:
                        if what == UNUSABLE:
                            sums[2] = np.nan
                        else:
                            if best_start < 0 or number_value > best:
                                best = number_value
                                best_start = key_start
                                best_end = key_start + size
                            sums[0] += 1.0
                            sums[1] += number_value
                            sums[2] += plogp(number_value)
                    elif role == ROLE_BAD:
                        bad += 1
                    elif role != ROLE_IGNORED and role != ROLE_PATH:
                        return r  # type: ignore[no-any-return]
                elif c == 123 or c == 91:
                    inner = np.int64(-1)
                    if key >= 0:
                        inner = load_int(entry + 8 * KEY_CHILD)
                    if inner >= 0 and c == 91:
                        if role != ROLE_PATH:
                            return r  # type: ignore[no-any-return]
                        at = spaces_at + SPACE_ENTRY * inner
                        if load_int(at + 8 * SPACE_FIRST) == load_int(at + 8 * SPACE_LAST):
                            inner = np.int64(-1)
                    at = spaces_at + SPACE_ENTRY * space
                    depth = load_int(at + 8 * SPACE_DEPTH)
                    if inner >= 0:
                        if depth >= JSON_DEPTH_MAX:
                            return r  # type: ignore[no-any-return]
                        store64(at + 8 * SPACE_CLOSER, closer)
                        space = inner
                        if role == ROLE_PROBABILITIES:
                            distributed = state[STATE_DISTRIBUTION] != 0
                            sums[:] = 0.0
                        closer = 125
                        if c == 91:
                            closer = 93
                            at = spaces_at + SPACE_ENTRY * space
                            store64(at + 8 * SPACE_CURSOR, load_int(at + 8 * SPACE_FIRST))
                            store64(at + 8 * SPACE_ELEMENT, 0)
                        p = skip_space(p + 1, end)
                        opened = True
                        continue
                    if role == ROLE_FEATURE or role == ROLE_SCORE or role == ROLE_CLASS:
                        tag = _NESTED
                        nested += 1
                    elif role == ROLE_BAD:
                        bad += 1
                    elif role == ROLE_PROBABILITY:
                        sums[2] = np.nan
                    elif role != ROLE_IGNORED and role != ROLE_PATH:
                        return r  # type: ignore[no-any-return]
                    p = np.int64(skip_container(p, end, depth, state_at))
                    if p < 0:
                        return r  # type: ignore[no-any-return]
                else:
                    literal, p, value = parse_literal(p)
                    if literal < 0:
                        return r  # type: ignore[no-any-return]
                    if role == ROLE_FEATURE or role == ROLE_SCORE or role == ROLE_CLASS:
                        tag = literal
                    elif role == ROLE_PREDICTION:
                        if literal != _NULL:
                            tag = literal
                            key = np.int64(KEY_CLASS if literal == _BOOL else KEY_SCORE)
                    elif role == ROLE_BAD:
                        bad += 1
                    elif role == ROLE_PROBABILITY:
                        sums[2] = np.nan
                    elif (
                        role != ROLE_IGNORED
                        and role != ROLE_PATH
                        and (literal != _NULL or role == ROLE_MODEL)
                    ):
                        return r  # type: ignore[no-any-return]
                if tag >= 0:
                    cell_key[cell] = key
                    cell_tag[cell] = tag
                    cell_value[cell] = value
                    cell += 1
                    if tag == _INVALID:
                        invalid += 1
            # --- behind a value: brackets close, a comma goes on
            while True:
                if closing:
                    if space == TOP:
                        done = True
                        break
                    space = load_int(spaces_at + SPACE_ENTRY * space + 8 * SPACE_PARENT)
                    closer = load_int(spaces_at + SPACE_ENTRY * space + 8 * SPACE_CLOSER)
                    closing = False
                c = load8(p)
                if c <= 32:
                    p = skip_space(p, end)
                    c = load8(p)
                if p >= end:
                    return r  # type: ignore[no-any-return]
                p += 1
                if c == 44:
                    if load8(p) <= 32:
                        p = skip_space(p, end)
                    opened = False
                    break
                if c != closer:
                    return r  # type: ignore[no-any-return]
                closing = True
        p = skip_space(p, end)
        if p != end or model < 0:
            return r  # type: ignore[no-any-return]
        if (
            record_time >= 0
            and age_max > TIMES_NOT_JUDGED
            and (
                event_time - record_time > TIME_AHEAD_MS_MAX
                or (age_max >= 0 and record_time - event_time > age_max)
            )
        ):
            return r  # type: ignore[no-any-return]
        if best_start >= 0 and load_int(class_at + 8 * KEY_STAMP) != stamp:
            cell_key[cell] = KEY_CLASS
            if best_end - best_start > STRING_BYTES_MAX:
                cell_tag[cell] = _INVALID
                cell_value[cell] = np.nan
                invalid += 1
            else:
                number = intern(best_start, best_end, False, words_at, strings_at, string_table_at, state_at)
                if number < 0:
                    return r  # type: ignore[no-any-return]
                cell_tag[cell] = _STRING
                cell_value[cell] = np.float64(number)
            cell += 1
        if distributed:
            confidence, entropy = certainty(best, sums[1], sums[2], sums[0])
            usable = not np.isnan(confidence)
            cell_key[cell] = KEY_CONFIDENCE
            cell_key[cell + 1] = KEY_ENTROPY
            cell_tag[cell] = cell_tag[cell + 1] = _NUMBER if usable else _INVALID
            cell_value[cell] = confidence
            cell_value[cell + 1] = entropy
            cell += 2
            if not usable:
                invalid += 2
                state[STATE_BAD_PROBABILITIES] += 1
        ints[r, ROW_MODEL] = model
        ints[r, ROW_VERSION] = version
        ints[r, ROW_TIME] = event_time
        ints[r, ROW_CELL_END] = cell
        ids[r] = id_hash
        state[STATE_CELLS] = cell
        state[STATE_INVALID] += invalid
        state[STATE_NESTED] += nested
        state[STATE_BAD_NAME] += bad
        if id_hash == np.uint64(0):
            state[STATE_NO_ID] += 1
        r += 1
    state[STATE_ROW] = r
    return r  # type: ignore[no-any-return]


@jit
def depth_max(buf: Any, size: Any, limit: Any) -> int:
    """Deepest nesting of brackets outside strings in ``buf[0:size]``; stops counting above ``limit``."""
    start = address(buf)
    depth = 0
    deepest = 0
    inside = False
    p = 0
    while p < size:
        c = load8(start + p)
        if inside:
            if c == 92:
                p += 1
            elif c == 34:
                inside = False
        elif c == 34:
            inside = True
        elif c == 123 or c == 91:
            depth += 1
            if depth > deepest:
                deepest = depth
                if deepest > limit:
                    break
        elif c == 125 or c == 93:
            depth -= 1
        p += 1
    return deepest
