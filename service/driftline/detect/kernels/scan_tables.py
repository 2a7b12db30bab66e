"""The tables of the JSON scanner: known keys and interned strings, both bounded open-addressing tables.

Every table belongs to one decoder and is written by kernels only. Bytes are compared, never only hashes, so
a collision costs time and cannot confuse two names. Probing is bounded: input made to collide ends on the
slow path instead of in a long chain. Stored bytes are zero-padded to whole 8-byte words, so that comparing is
a handful of word loads from the record.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit
from driftline.detect.kernels.scan_number import U, address, load8, load64, load_int, store64, trailing_zeros
from driftline.records import JSON_DEPTH_MAX

KEYS_MAX: Final = 4_096  # 8 models of 500 features in one decoder before rows have to stay slow
KEY_BYTES_MAX: Final = 512  # 128 characters of 4 bytes
KEY_SLOTS: Final = 2 * KEYS_MAX
STRINGS_MAX: Final = 1 << 16
STRING_SLOTS: Final = 2 * STRINGS_MAX
STRING_WORDS_MAX: Final = 1 << 19  # 4 MiB of text
STRING_BYTES_MAX: Final = 256  # a longer value is no category: the cell is invalid
PROBES_MAX: Final = 64
NO_STRING: Final = -1
NOT_UTF8: Final = -2

# Positions in the state array (int64) that the kernels of one decoder share.
STATE_ROW: Final = 0  # next row to scan
STATE_STAMP: Final = 1  # number of the scan of a row, for finding duplicate keys
STATE_CELLS: Final = 2
STATE_KEYS: Final = 3
STATE_KEY_WORDS: Final = 4
STATE_STRINGS: Final = 5
STATE_STRING_WORDS: Final = 6
STATE_FULL: Final = 7  # 1: a string did not fit; nothing is added until the table is reset
STATE_INVALID: Final = 8  # cells counted since the state was cleared
STATE_NO_ID: Final = 9
STATE_BAD_NAME: Final = 10
STATE_MINUTE: Final = 11  # 11, 12: the 16 bytes YYYY-MM-DDTHH:MM read last; 13: their epoch milliseconds
STATE_FIXED_MODEL: Final = 14  # its string number, -1: each record names its own
STATE_AGE_MAX: Final = 15  # ms, -1: the age is not judged, TIMES_NOT_JUDGED: no time is
STATE_NESTED: Final = 16  # cells that are objects or arrays, counted since the state was cleared
STATE_DISTRIBUTION: Final = 17  # 1: class probabilities become confidence and entropy
STATE_BAD_PROBABILITIES: Final = 18  # rows whose probabilities are no distribution, since it was cleared
STATE_SKIPPED: Final = 19  # scratch of skip_container: hashes of keys, then where each level's begin
SKIPPED_KEYS_MAX: Final = 64  # keys of the open objects that are skipped; with more of them a row is slow
STATE_SIZE: Final = STATE_SKIPPED + SKIPPED_KEYS_MAX + JSON_DEPTH_MAX
TIMES_NOT_JUDGED: Final = -2

# What a string may be used for: set by the slow path after it judged the text.
FLAG_MODEL: Final = 1
FLAG_VERSION: Final = 2

_WORD_BYTES = 8
_K1 = U(0x9E3779B97F4A7C15)
_K2 = U(0xBF58476D1CE4E5B9)
_K3 = U(0x94D049BB133111EB)
_ONES = U(0x0101010101010101)
_HIGH = U(0x8080808080808080)


# Fields of a key's entry: 64 bytes, one cache line.
KEY_AT: Final = 0  # first word of its bytes
KEY_SIZE: Final = 1  # bytes
KEY_HASH: Final = 2
KEY_SPACE: Final = 3  # the object or array that it is in, a space
KEY_ROLE: Final = 4
KEY_STAMP: Final = 5  # the scan that saw the key last
KEY_NEXT: Final = 6  # the key that followed last time, -1 unknown
KEY_CHILD: Final = 7  # the space that its value opens, -1: what is in there is nobody's business
KEY_FIELDS: Final = 8
KEY_ENTRY: Final = 8 * KEY_FIELDS  # bytes

# Fields of a space: an object or array of a record in which there is something to look for.
SPACE_PARENT: Final = 0  # the space around it
SPACE_FIRST: Final = (
    1  # its elements that count, should it be an array: rows first to last - 1 of ``elements``
)
SPACE_LAST: Final = 2
SPACE_DEPTH: Final = 3  # objects and arrays around what is in it
SPACE_CLOSER: Final = 4  # the bracket that ends it, while the scanner is in a space within this one
SPACE_ELEMENT: Final = 5  # index of the next element, should it be an array
SPACE_CURSOR: Final = 6  # next row of ``elements``
SPACE_FIELDS: Final = 8
SPACE_ENTRY: Final = 8 * SPACE_FIELDS  # bytes

# Fields of a string's entry.
STRING_AT: Final = 0
STRING_SIZE: Final = 1
STRING_HASH: Final = 2
STRING_FLAGS: Final = 3
STRING_FIELDS: Final = 4
STRING_ENTRY: Final = 8 * STRING_FIELDS  # bytes


class Keys(NamedTuple):
    """Known keys; the entry behind the last stands for the beginning of a record."""

    words: npt.NDArray[np.uint64]
    entries: npt.NDArray[np.int64]  # (KEYS_MAX + 1, KEY_FIELDS)
    table: npt.NDArray[np.int64]  # (KEY_SLOTS,) key or -1
    spaces: npt.NDArray[np.int64]  # (spaces, SPACE_FIELDS); the first is the record itself
    elements: npt.NDArray[np.int64]  # (n, 2) index and key of array elements that count, by space and index


class Strings(NamedTuple):
    """Interned string values."""

    words: npt.NDArray[np.uint64]
    entries: npt.NDArray[np.int64]  # (STRINGS_MAX, STRING_FIELDS)
    table: npt.NDArray[np.int64]  # (STRING_SLOTS,) string or -1


def new_keys(spaces: int, elements: int) -> Keys:
    """An empty key table of some spaces, with room for the array elements that count."""
    return Keys(
        np.empty(KEYS_MAX * KEY_BYTES_MAX // _WORD_BYTES, np.uint64),
        np.full((KEYS_MAX + 1, KEY_FIELDS), -1, np.int64),
        np.full(KEY_SLOTS, -1, np.int64),
        np.zeros((spaces, SPACE_FIELDS), np.int64),
        np.zeros((elements, 2), np.int64),
    )


def new_strings() -> Strings:
    """An empty string table; memory is touched as it fills."""
    words = np.empty(STRING_WORDS_MAX, np.uint64)
    return Strings(
        words, np.empty((STRINGS_MAX, STRING_FIELDS), np.int64), np.full(STRING_SLOTS, -1, np.int64)
    )


@jit
def hash_bytes(start: Any, end: Any, seed: Any) -> int:
    """64-bit hash of the bytes from address ``start`` to ``end``, never 0.

    8-byte words mixed by multiplication, finished as splitmix64. Stored in mailboxes: it must never change.
    """
    h = _K1 ^ U(seed)
    p = start
    while p + 8 <= end:
        h = (h ^ load64(p)) * _K2
        h ^= h >> U(32)
        p += 8
    if p < end:
        h = (h ^ (load64(p) & ((U(1) << U(8 * (end - p))) - U(1)))) * _K2
        h ^= h >> U(32)
    h = (h ^ U(end - start)) * _K1
    h = (h ^ (h >> U(30))) * _K2
    h = (h ^ (h >> U(27))) * _K3
    h ^= h >> U(31)
    return h if h != U(0) else U(1)  # type: ignore[return-value] # compiled: uint64


@jit
def same_bytes(start: Any, size: Any, stored: Any) -> bool:
    """Whether ``size`` bytes at ``start`` equal the zero-padded words at ``stored``."""
    p = start
    q = stored
    stop = start + size
    while p + 8 <= stop:
        if load64(p) != load64(q):
            return False
        p += 8
        q += 8
    if p < stop:
        return bool((load64(p) ^ load64(q)) & ((U(1) << U(8 * (stop - p))) - U(1)) == U(0))
    return True


@jit
def _store(start: Any, end: Any, target: Any) -> int:
    """Copies bytes to zero-padded words; returns how many words."""
    k = 0
    p = start
    while p < end:
        w = load64(p)
        if end - p < 8:
            w &= (U(1) << U(8 * (end - p))) - U(1)
        store64(target + 8 * k, w)
        k += 1
        p += 8
    return k


@jit
def string_end(start: Any, end: Any) -> tuple[int, bool]:
    """(address of the closing quote or -1, whether there are bytes beyond ASCII) of a string's content.

    -1: an escape, a control character or no quote before ``end``.
    """
    p = start
    wide = False
    while p < end:
        w = load64(p)
        quote = w ^ (_ONES * U(34))
        escape = w ^ (_ONES * U(92))
        # Each term marks a zero (or small) byte exactly up to its first mark (Hacker's Delight, 6-1).
        stop = (
            ((quote - _ONES) & ~quote) | ((escape - _ONES) & ~escape) | ((w - _ONES * U(32)) & ~w)
        ) & _HIGH
        if stop != U(0):
            n = trailing_zeros(stop) >> 3
            if w & _HIGH & ((U(1) << U(8 * n)) - U(1)) != U(0):
                wide = True
            p += n
            if p >= end or load8(p) != 34:
                return -1, wide
            return p, wide
        if w & _HIGH != U(0):
            wide = True
        p += 8
    return -1, wide


@jit
def utf8_valid(start: Any, end: Any) -> bool:
    """Whether the bytes are UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF)."""
    p = start
    while p < end:
        c = load8(p)
        if c < 0x80:
            p += 1
            continue
        if c < 0xC2 or c > 0xF4:
            return False
        low = 0x80
        high = 0xBF
        more = 1
        if c >= 0xF0:
            more = 3
            low = 0x90 if c == 0xF0 else 0x80
            high = 0x8F if c == 0xF4 else 0xBF
        elif c >= 0xE0:
            more = 2
            low = 0xA0 if c == 0xE0 else 0x80
            high = 0x9F if c == 0xED else 0xBF
        if p + more >= end:
            return False
        c = load8(p + 1)
        if c < low or c > high:
            return False
        for k in range(2, more + 1):
            c = load8(p + k)
            if c < 0x80 or c > 0xBF:
                return False
        p += more + 1
    return True


@jit
def find_key(start: Any, end: Any, space: Any, words: Any, entries: Any, table: Any) -> int:
    """Number of the key whose content starts at ``start``, -1 if not known; all are addresses."""
    stop, _ = string_end(start, end)
    if stop < 0:
        return -1
    h = hash_bytes(start, stop, space)
    slot = np.int64(h & U(KEY_SLOTS - 1))
    for _ in range(PROBES_MAX):
        k = load_int(table + 8 * slot)
        if k < 0:
            return -1
        entry = entries + KEY_ENTRY * k
        if (
            load64(entry + 8 * KEY_HASH) == h
            and load_int(entry + 8 * KEY_SPACE) == space
            and load_int(entry + 8 * KEY_SIZE) == stop - start
            and same_bytes(start, stop - start, words + 8 * load_int(entry + 8 * KEY_AT))
        ):
            return k  # type: ignore[no-any-return]
        slot = (slot + 1) & (KEY_SLOTS - 1)
    return -1


@jit
def add_key(buf: Any, size: Any, space: Any, role: Any, keys: Any, state: Any) -> int:
    """Teaches the table the key ``buf[0:size]``, which it does not hold; its number, or -1.

    -1: there is no room. ``buf`` needs 8 spare bytes.
    """
    k = state[STATE_KEYS]
    if k >= KEYS_MAX or size > KEY_BYTES_MAX:
        return -1
    start = address(buf)
    h = hash_bytes(start, start + size, space)
    slot = np.int64(h & U(KEY_SLOTS - 1))
    for _ in range(PROBES_MAX):
        if keys.table[slot] < 0:
            at = state[STATE_KEY_WORDS]
            state[STATE_KEY_WORDS] = at + _store(start, start + size, address(keys.words) + 8 * at)
            entry = keys.entries[k]
            entry[KEY_AT] = at
            entry[KEY_SIZE] = size
            entry[KEY_HASH] = np.int64(h)
            entry[KEY_SPACE] = space
            entry[KEY_ROLE] = role
            keys.table[slot] = k
            state[STATE_KEYS] = k + 1
            return k  # type: ignore[no-any-return]
        slot = (slot + 1) & (KEY_SLOTS - 1)
    return -1


@jit
def intern(start: Any, end: Any, wide: Any, words: Any, entries: Any, table: Any, state: Any) -> int:
    """Number of the string from ``start`` to ``end``, added if new; NO_STRING or NOT_UTF8.

    ``words``, ``entries``, ``table`` and ``state`` are the addresses of those arrays.
    """
    h = hash_bytes(start, end, 0)
    size = end - start
    slot = np.int64(h & U(STRING_SLOTS - 1))
    for _ in range(PROBES_MAX):
        k = load_int(table + 8 * slot)
        if k < 0:
            if wide and not utf8_valid(start, end):
                return NOT_UTF8
            k = load_int(state + 8 * STATE_STRINGS)
            at = load_int(state + 8 * STATE_STRING_WORDS)
            if (
                load_int(state + 8 * STATE_FULL) != 0
                or k >= STRINGS_MAX
                or at + (size >> 3) + 1 > STRING_WORDS_MAX
            ):
                store64(state + 8 * STATE_FULL, 1)
                return NO_STRING
            store64(state + 8 * STATE_STRING_WORDS, at + _store(start, end, words + 8 * at))
            entry = entries + STRING_ENTRY * k
            store64(entry + 8 * STRING_AT, at)
            store64(entry + 8 * STRING_SIZE, size)
            store64(entry + 8 * STRING_HASH, h)
            store64(entry + 8 * STRING_FLAGS, 0)
            store64(table + 8 * slot, k)
            store64(state + 8 * STATE_STRINGS, k + 1)
            return k  # type: ignore[no-any-return]
        entry = entries + STRING_ENTRY * k
        if (
            load64(entry + 8 * STRING_HASH) == h
            and load_int(entry + 8 * STRING_SIZE) == size
            and same_bytes(start, size, words + 8 * load_int(entry + 8 * STRING_AT))
        ):
            return k  # type: ignore[no-any-return]
        slot = (slot + 1) & (STRING_SLOTS - 1)
    store64(state + 8 * STATE_FULL, 1)
    return NO_STRING


@jit
def add_string(buf: Any, size: Any, strings: Any, state: Any) -> int:
    """Number of the string ``buf[0:size]``, valid UTF-8 with 8 spare bytes behind it; -1: no room."""
    start = address(buf)
    return intern(  # type: ignore[no-any-return]
        start,
        start + size,
        False,
        address(strings.words),
        address(strings.entries),
        address(strings.table),
        address(state),
    )


@jit
def hash_array(buf: Any, size: Any) -> int:
    """``hash_bytes`` of ``buf[0:size]``, which needs 8 spare bytes."""
    start = address(buf)
    return hash_bytes(start, start + size, 0)  # type: ignore[no-any-return]


@jit
def hash_parts(buf: Any, ends: Any, out: Any) -> None:
    """``hash_bytes`` of the parts of ``buf`` that end at ``ends``, 0 for empty ones; needs 8 spare bytes."""
    base = address(buf)
    start = 0
    for i in range(ends.shape[0]):
        out[i] = hash_bytes(base + start, base + ends[i], 0) if ends[i] > start else U(0)
        start = ends[i]
