"""The scanner's parts against plain Python: numbers, UTF-8, times, hashes, depth and bounds."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.detect.kernels import scan_json as sj
from driftline.detect.kernels import scan_number as sn
from driftline.detect.kernels import scan_tables as tables
from driftline.detect.kernels._jit import jit

MASK = 2**64 - 1
NUMBER = r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?"


def number_kernel(buf: Any) -> Any:
    """parse_number at the start of an array."""
    start = sn.address(buf)
    what, end, value = sn.parse_number(start)
    return what, end - start, value


def utf8_kernel(buf: Any, size: Any) -> Any:
    """utf8_valid on an array."""
    start = sn.address(buf)
    return tables.utf8_valid(start, start + size)


def time_kernel(buf: Any, size: Any, state: Any) -> Any:
    """parse_time on an array."""
    start = sn.address(buf)
    return sj.parse_time(start, start + size, sn.address(state))


def end_kernel(buf: Any, size: Any) -> Any:
    """string_end on an array."""
    start = sn.address(buf)
    end, wide = tables.string_end(start, start + size)
    return (end - start if end >= 0 else -1), wide


_number, _utf8 = jit(number_kernel), jit(utf8_kernel)
_time, _end = jit(time_kernel), jit(end_kernel)


def buf_of(data: bytes, behind: bytes = b"9") -> Any:
    """The bytes with padding that would go on with them."""
    return np.frombuffer(data + behind * 64, np.uint8)


def number(text: str) -> tuple[int, int, float]:
    """What the kernel makes of a number followed by a comma."""
    what, size, value = _number(buf_of(text.encode(), b","))
    return int(what), int(size), float(value)


@settings(max_examples=400)
@given(
    text=st.one_of(
        st.from_regex(NUMBER, fullmatch=True), st.floats(allow_nan=False, allow_infinity=False).map(repr)
    )
)
def test_numbers_are_pythons_or_declined(text: str) -> None:
    """Never another float than float() gives; -0 is 0."""
    what, size, value = number(text)
    expected = float(text) or 0.0  # not -0.0
    if what in (sn.REAL, sn.INTEGER):
        assert size == len(text)
        assert struct.pack("d", value) == struct.pack("d", expected)
    elif what == sn.UNUSABLE:
        assert abs(int(text)) > 2**53


@pytest.mark.parametrize(
    "text",
    ["0.1", "1e22", "1e23", "0.00012345678901234567", "123456.789e3", "1.7976931348623157e308", "-5e-300",
     "9007199254740993e0", "2.2250738585072014e-308", "0.12345678901234567", "-0.0", "8.5e+2",
     "9007199254740992"],
)  # fmt: skip
def test_usual_numbers_need_no_slow_path(text: str) -> None:
    """17-digit floats of any size are converted here."""
    what, size, value = number(text)
    assert what in (sn.REAL, sn.INTEGER)
    assert (size, value) == (len(text), float(text))


@pytest.mark.parametrize(
    "text", ["", "-", "01", "00", "-01", ".5", "1.", "1.e5", "1e", "1e+", "+1", "1e99999", "1" * 33]
)
def test_malformed_or_long_numbers_are_declined(text: str) -> None:
    """The grammar is JSON's, not float()'s."""
    assert number(text)[0] == sn.DECLINED


@pytest.mark.parametrize("what", [sn.REAL])
def test_half_way_cases_round_to_even(what: int) -> None:
    """Decimal numbers exactly between two floats, and one digit beside, in 19 digits."""
    for text in (
        "9007199254740993.0",
        "9007199254740993.1",
        "9007199254740992.9",
        "1152921504606847104e0",
        "4503599627370497.5",
    ):
        assert number(text)[::2] == (what, float(text))


@settings(max_examples=300)
@given(
    data=st.one_of(
        st.binary(max_size=12), st.text(max_size=6).map(lambda t: t.encode("utf-8", "surrogatepass"))
    )
)
def test_utf8_is_pythons(data: bytes) -> None:
    """The same bytes are UTF-8 here and in Python."""
    try:
        data.decode()
        valid = True
    except UnicodeDecodeError:
        valid = False
    assert bool(_utf8(buf_of(data, b"\x80"), len(data))) is valid


@settings(max_examples=200)
@given(data=st.binary(max_size=40))
def test_string_end_finds_the_first_stop(data: bytes) -> None:
    """The first quote, backslash or control character decides; bytes beyond the end do not."""
    stop = next((i for i, c in enumerate(data) if c in b'"\\' or c < 0x20), len(data))
    expected = stop if stop < len(data) and data[stop] == ord('"') else -1
    end, wide = _end(buf_of(data, b'"'), len(data))
    assert end == expected
    if expected >= 0:
        assert bool(wide) is any(c > 0x7F for c in data[:expected])


@settings(max_examples=150)
@given(
    time=st.datetimes(datetime(1970, 1, 2), datetime(9998, 12, 30)),  # noqa: DTZ001 - made aware below
    digits=st.integers(0, 6),
    zone=st.integers(-1439, 1439),
)
def test_times_are_datetimes(time: datetime, digits: int, zone: int) -> None:
    """Any date, fraction and zone; the remembered minute never leaks into another one."""
    state = np.zeros(tables.STATE_SIZE, np.int64)
    fraction = f".{time.microsecond:06d}"[: digits + 1] if digits else ""
    sign, (hours, minutes) = "-" if zone < 0 else "+", divmod(abs(zone), 60)
    text = time.strftime("%Y-%m-%dT%H:%M:%S") + fraction + f"{sign}{hours:02d}:{minutes:02d}"
    text = time.isoformat()[:19] + text[19:]  # strftime does not pad years everywhere
    whole = (
        int((time.replace(tzinfo=UTC, microsecond=0) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
        * 1000
    )
    ms = whole + int((fraction[1:4] or "0").ljust(3, "0")) - zone * 60_000
    data = text.encode()
    for _ in range(2):
        assert _time(buf_of(data), len(data), state) == ms
    other = b"2001-02-03T04:05:06Z"
    assert _time(buf_of(other), len(other), state) == 981_173_106_000


@pytest.mark.parametrize(
    "text",
    ["2026-11-23T10:00:00", "2026-11-23T10:00:00.Z", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z",
     "1969-12-31T23:59:59Z",
     "2026-11-23T24:00:00Z", "2026-11-23T10:60:00Z", "2026-11-23T10:00:60Z", "2026-11-23T10:00:00+2:00",
     "2026-11-23T10:00:00ZZ",
     "2026/11/23T10:00:00Z", "2026-11-23T10:00:00+24:00", "2026-11-23T1\u0660:00:00Z"],
)  # fmt: skip
def test_other_times_are_declined(text: str) -> None:
    """Unusual and wrong times are the slow path's."""
    data = text.encode()
    assert _time(buf_of(data), len(data), np.zeros(tables.STATE_SIZE, np.int64)) == -1


@settings(max_examples=100)
@given(data=st.binary(max_size=40))
def test_hash_is_the_documented_one(data: bytes) -> None:
    """A twin in Python integers; bytes behind the end do not matter."""
    k1, k2, k3 = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
    h = k1
    for at in range(0, len(data), 8):
        h = (h ^ int.from_bytes(data[at : at + 8], "little")) * k2 & MASK
        h ^= h >> 32
    h = (h ^ len(data)) * k1 & MASK
    h = (h ^ (h >> 30)) * k2 & MASK
    h = (h ^ (h >> 27)) * k3 & MASK
    h ^= h >> 31
    assert int(tables.hash_array(buf_of(data), len(data))) == (h or 1)


def test_power_table_holds_the_leading_bits() -> None:
    """Every entry is 5**q in 128 bits: truncated for q >= 0, less than one unit off below."""
    for q in range(sn.POWER5_MIN, sn.POWER5_MAX + 1):
        at = 2 * (q - sn.POWER5_MIN)
        value = (int(sn.POWER5[at]) << 64) | int(sn.POWER5[at + 1])
        assert value >> 127 == 1
        if q >= 0:
            assert value == ((5**q << 128) >> (5**q).bit_length())
        else:
            scale = 127 + (5**-q - 1).bit_length()
            assert abs(value * 5**-q - 2**scale) <= 5**-q


@pytest.mark.parametrize(
    ("text", "depth"),
    [("", 0), ("{}", 1), ('{"a":[{}]}', 3), ('"[[["', 0), ('"\\"[["[', 1), ("]]][", 0), ("[" * 20, 9)],
)
def test_depth(text: str, depth: int) -> None:
    """Brackets in strings do not count; counting stops one above the limit."""
    assert sj.depth_max(buf_of(text.encode()), len(text), 8) == depth


def test_full_tables_decline_and_keep_what_they_have() -> None:
    """A key table takes KEYS_MAX keys and no more; known keys are still found."""
    keys, state = tables.new_keys(1, 0), np.zeros(tables.STATE_SIZE, np.int64)
    for i in range(tables.KEYS_MAX):
        name = b"k%d" % i
        assert tables.add_key(buf_of(name), len(name), 1, 0, keys, state) == i
    assert tables.add_key(buf_of(b"one more"), 8, 1, 0, keys, state) == -1
    assert (
        tables.add_key(
            buf_of(b"x" * 600), 600, 1, 0, tables.new_keys(1, 0), np.zeros(tables.STATE_SIZE, np.int64)
        )
        == -1
    )


def test_strings_are_interned_once_until_full() -> None:
    """The same text has the same number; without room nothing is added any more, and known ones are found."""
    strings, state = tables.new_strings(), np.zeros(tables.STATE_SIZE, np.int64)
    first = [tables.add_string(buf_of(b"s%d" % i), len(b"s%d" % i), strings, state) for i in range(500)]
    assert first == list(range(500))
    state[tables.STATE_STRING_WORDS] = tables.STRING_WORDS_MAX
    assert tables.add_string(buf_of(b"new"), 3, strings, state) == tables.NO_STRING
    assert state[tables.STATE_FULL] == 1
    assert tables.add_string(buf_of(b"s17"), 3, strings, state) == 17
