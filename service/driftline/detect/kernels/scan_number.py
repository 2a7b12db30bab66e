"""JSON numbers to float64, exactly as Python's ``float()`` reads them, or not at all.

Two exact methods: Clinger's fast path (a mantissa and a power of ten that are both exact in float64 need one
correctly rounded operation) and Eisel-Lemire (D. Lemire, "Number Parsing at a Gigabyte per Second", 2021,
section 5: one or two 64x64-bit products with a truncated 128-bit power of five). What neither can decide -
more than 19 significant digits, subnormal results, overflow - is declined, and the caller's slow path asks
``float()``. Nothing here reads more than ``NUMBER_CHARS_MAX`` + 16 bytes behind the first byte of a number.

Also here: unaligned loads and the few bit operations that numba does not offer.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from driftline.detect.kernels._jit import jit
from driftline.records import NUMBER_CHARS_MAX

U = np.uint64
INTEGER_MAX: Final = 1 << 53  # beyond it neighbouring integers share a float64

# What parse_number found.
DECLINED: Final = 0
REAL: Final = 1  # has a point or an exponent
INTEGER: Final = 2
UNUSABLE: Final = 3  # an integer beyond 2**53: grammatical, but not a value

POWER10: Final = np.array([10.0**i for i in range(23)])
POWER10_INT: Final = np.array([10**i for i in range(9)], np.uint64)
POWER5_MIN: Final = -342  # below, even 2**64 * 10**q is zero in float64
POWER5_MAX: Final = 308


def _power5_table() -> np.ndarray[Any, np.dtype[np.uint64]]:
    """128-bit approximations of 5**q, most significant bit set: (2 * (MAX - MIN + 1),), high word first."""
    words: list[int] = []
    for q in range(POWER5_MIN, POWER5_MAX + 1):
        if q >= 0:
            shift = 128 - (5**q).bit_length()
            value = 5**q << shift if shift >= 0 else 5**q >> -shift  # truncated
        else:
            power = 5**-q
            bits = (power - 1).bit_length()  # smallest z with 2**z >= power
            value = (1 << (bits + 127 if q >= -27 else 2 * bits + 128)) // power + 1  # rounded up
            value >>= max(0, value.bit_length() - 128)
        words += [value >> 64, value & (2**64 - 1)]
    return np.array(words, np.uint64)


POWER5: Final = _power5_table()


def _load(bits: int, result: Any) -> Any:
    """An intrinsic that loads ``bits`` bits from an address, zero-extended to 64."""

    @intrinsic
    def load(_context: Any, _address: Any) -> Any:
        def emit(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
            value = builder.load(builder.inttoptr(args[0], ir.IntType(bits).as_pointer()))
            value.align = 1
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return result(types.int64), emit

    return load


# Kernels of the scanner work on addresses: an array handed to a function that is not inlined costs reference
# counting (measured: 150 ns a cell), a number does not. The caller guards the bounds and keeps the arrays
# alive.
load8: Final = _load(8, types.int64)
load64: Final = _load(64, types.uint64)
load_int: Final = _load(64, types.int64)


@intrinsic
def store64(_context: Any, _address: Any, _value: Any) -> Any:
    """Stores an int64 or uint64 at an address."""

    def emit(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        store = builder.store(args[1], builder.inttoptr(args[0], ir.IntType(64).as_pointer()))
        store.align = 1
        return context.get_dummy_value()

    return types.void(types.int64, types.uint64 if _value == types.uint64 else types.int64), emit


@intrinsic
def address(_context: Any, array: Any) -> Any:
    """Address of an array's first element, as int64."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.ptrtoint(data, ir.IntType(64))

    return types.int64(array), emit


@intrinsic
def multiply_high(_context: Any, _left: Any, _right: Any) -> Any:
    """The upper 64 bits of a 64 x 64-bit product."""

    def emit(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        wide = ir.IntType(128)
        product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
        return builder.trunc(builder.lshr(product, wide(64)), ir.IntType(64))

    return types.uint64(types.uint64, types.uint64), emit


@intrinsic
def leading_zeros(_context: Any, _word: Any) -> Any:
    """Zero bits above the highest one of a non-zero uint64, as int64."""

    def emit(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), emit


@intrinsic
def trailing_zeros(_context: Any, _word: Any) -> Any:
    """Zero bits below the lowest one of a non-zero uint64, as int64."""

    def emit(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(1))

    return types.int64(types.uint64), emit


@intrinsic
def _float_of_bits(_context: Any, _word: Any) -> Any:
    def emit(_c: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.uint64), emit


@jit
def eisel_lemire(mantissa: Any, q: Any) -> tuple[bool, float]:
    """(exact, mantissa * 10**q) for a non-zero uint64 mantissa; not exact: the method cannot tell."""
    if q < POWER5_MIN or q > POWER5_MAX:
        return False, 0.0
    zeros = leading_zeros(mantissa)
    w = mantissa << U(zeros)
    at = 2 * (q - POWER5_MIN)
    high = multiply_high(w, POWER5[at])
    low = w * POWER5[at]
    if high & U(0x1FF) == U(0x1FF):  # the bits to drop are all ones: the truncated part may carry
        more = multiply_high(w, POWER5[at + 1])
        low += more
        if low < more:
            high += U(1)
    if low == U(0xFFFFFFFFFFFFFFFF):
        return False, 0.0
    upper = np.int64(high >> U(63))
    m = high >> U(upper + 9)  # 54 bits: one more than a float64 has, for rounding
    power2 = (((152170 + 65536) * q) >> 16) + 63 + upper - zeros + 1023  # floor(q * log2(10)), biased
    if power2 <= 0:
        return False, 0.0  # subnormal
    if low <= U(1) and q >= -4 and q <= 23 and m & U(3) == U(1) and (m << U(upper + 9)) == high:
        m &= U(0xFFFFFFFFFFFFFFFE)  # exactly half way: to even, that is down
    m = (m + (m & U(1))) >> U(1)
    if m >= U(1 << 53):
        m = U(1 << 52)
        power2 += 1
    if power2 >= 0x7FF:
        return False, 0.0  # overflow
    return True, _float_of_bits((m & U((1 << 52) - 1)) | (U(power2) << U(52)))


@jit
def parse_number(start: Any) -> tuple[int, int, float]:
    """(what, address behind the number, value) of the JSON number at the address ``start``.

    ``what`` is DECLINED, REAL, INTEGER or UNUSABLE. Negative zero is 0.0. The byte behind the number is not
    judged: the caller's grammar does that.
    """
    negative = load8(start) == 45
    whole = start + np.int64(negative)  # no branch: signs are hard to predict
    p = whole
    m = U(0)
    d = load8(p) - 48
    while d >= 0 and d <= 9:
        m = m * U(10) + U(d)
        p += 1
        if p - start > NUMBER_CHARS_MAX:
            return DECLINED, p, 0.0
        d = load8(p) - 48
    digits = p - whole
    if digits == 0 or (digits > 1 and load8(whole) == 48):
        return DECLINED, p, 0.0
    c = d + 48
    if c != 46 and c != 101 and c != 69:
        if digits > 19:
            return DECLINED, p, 0.0
        if m > U(INTEGER_MAX):
            return UNUSABLE, p, 0.0
        value = np.float64(np.int64(m))
        return INTEGER, p, -value if negative and m != U(0) else value
    q = 0
    if c == 46:
        p += 1
        point = p
        # 8 digits at a time, then the rest (Lemire 2021, section 4)
        w = load64(p)
        while True:
            x = w ^ U(0x3030303030303030)
            other = ((x + U(0x7676767676767676)) | x) & U(0x8080808080808080)
            n = 8 if other == U(0) else trailing_zeros(other) >> 3
            if n == 0:
                break
            if n < 8:
                x = x << U(64 - 8 * n)
            x = (x * U(10) + (x >> U(8))) & U(0x00FF00FF00FF00FF)
            x = (x * U(100) + (x >> U(16))) & U(0x0000FFFF0000FFFF)
            x = (x * U(10000) + (x >> U(32))) & U(0x00000000FFFFFFFF)
            if n == 8:
                m = m * U(100000000) + x
            else:
                m = m * POWER10_INT[n] + x
            p += n
            if n < 8 or p - start > NUMBER_CHARS_MAX:
                break
            w = load64(p)
        digits += p - point
        if p == point:
            return DECLINED, p, 0.0
        q = point - p
        c = load8(p)
    if digits > 19:  # leading zeros do not count: 0.00012345678901234567 has 17
        first = whole
        while load8(first) == 48 or load8(first) == 46:
            digits -= np.int64(load8(first) == 48)
            first += 1
    if digits > 19 or p - start > NUMBER_CHARS_MAX:
        return DECLINED, p, 0.0
    if c == 101 or c == 69:
        p += 1
        c = load8(p)
        minus = c == 45
        if minus or c == 43:
            p += 1
        x10 = 0
        first = p
        d = load8(p) - 48
        while d >= 0 and d <= 9 and p - first < 5:
            x10 = x10 * 10 + d
            p += 1
            d = load8(p) - 48
        if p == first or p - first == 5 or p - start > NUMBER_CHARS_MAX:
            return DECLINED, p, 0.0
        q += -x10 if minus else x10
    if m == U(0):
        return REAL, p, 0.0
    if m <= U(INTEGER_MAX) and q >= -22 and q <= 22:
        value = np.float64(np.int64(m))
        value = value / POWER10[-q] if q < 0 else value * POWER10[q]
    else:
        exact, value = eisel_lemire(m, q)
        if not exact:
            return DECLINED, p, 0.0
    return REAL, p, -value if negative else value
