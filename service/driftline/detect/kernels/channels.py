"""From the cells of a block to the channels of a model's signals.

Owns: DECISIONS A, "Reference", as a map from (tag, value) to channel values. Channel order of a numeric
signal: missing, [share of the atom], [location, spread, range], type; of a categorical one: rank,
rank-spread, shares, [other], unseen, missing, type. NaN means "this row does not feed this channel". Every
output depends on its own row only, so any cut of the rows gives the same values. Must not know: detectors,
names, dictionaries of strings (they come as lookup tables of the block).

Cells: the wanted tag is a value. ABSENT, NULL and INVALID are missing: missing = 1, every other channel NaN.
NESTED and tags of another type are 1 in ``type`` and feed no other channel, also not ``missing``.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit
from driftline.detect.kernels.pit import BLOCK, pit_block
from driftline.detect.kernels.state import LUT_OTHER, LUT_UNSEEN, SIGNAL_NUMERIC
from driftline.records import Tag

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]

_ABSENT: Final = int(Tag.ABSENT)
_NULL: Final = int(Tag.NULL)
_INVALID: Final = int(Tag.INVALID)


@jit
def _fill_absent(y: F64, first: int, count: int, missing: int, x: F64, lo: int, hi: int) -> None:
    """The whole column is absent from the block: every row is missing."""
    for c in range(first, first + count):
        value = 1.0 if c == missing else math.nan
        if c == first + count - 1:
            value = 0.0  # type
        for i in range(lo, hi):
            y[c, i] = value
    for i in range(lo, hi):
        x[i] = math.nan


@jit
def _numeric_block(
    tags: U8, values: F64, want: int, spec: Any, start: int, n: int, y: F64, x: F64, buf: F64
) -> int:
    """Missing and atom channels of rows start..start+n; buf[:n] = values for the PIT. Returns mismatches."""
    first = spec["first_channel"]
    kind = first + spec["n_channels"] - 1
    has_atom = spec["has_atom"] != 0
    atom = spec["atom"]
    strange = 0
    clean = True
    for j in range(n):
        if tags[start + j] != want:
            clean = False
            break
    if clean:
        # Nearly every block: no branch a row, so the copies run as vectors.
        for j in range(n):
            v = values[start + j]
            x[start + j] = v
            buf[j] = v + 0.0  # the PIT wants no -0.0
            y[first, start + j] = 0.0
            y[kind, start + j] = 0.0
    else:
        for j in range(n):
            i = start + j
            tag = tags[i]
            v = math.nan
            absent = 0.0
            other = 0.0
            if tag == want:
                v = values[i]
            elif tag == _ABSENT or tag == _NULL or tag == _INVALID:
                absent = 1.0
            else:
                absent = math.nan
                other = 1.0
                strange += 1
            y[kind, i] = other
            x[i] = v
            buf[j] = v + 0.0
            y[first, i] = absent
    if has_atom:
        for j in range(n):
            v = buf[j]
            share = math.nan
            if v == atom:
                share = 1.0
                buf[j] = math.nan
            elif v == v:
                share = 0.0
            y[first + 1, start + j] = share
    return strange


@jit
def _numeric(
    tags: U8, values: F64, want: int, spec: Any, q: F64, below: F64, upto: F64, lo: int, hi: int,
    y: F64, x: F64, buf: F64, u: F64, pos: U64, d: F64, bits: U64,
) -> int:  # fmt: skip
    """All channels of one numeric signal; ``q``, ``below`` = F(q-), ``upto`` = F(q) are its own knots."""
    at = spec["first_channel"] + 1 + (1 if spec["has_atom"] != 0 else 0)
    strange = 0
    for start in range(lo, hi, BLOCK):
        n = hi - start
        if n > BLOCK:
            n = BLOCK
        strange += _numeric_block(tags, values, want, spec, start, n, y, x, buf)
        if spec["has_location"] != 0:
            pit_block(buf, n, q, below, upto, pos, d, bits, u)
            for j in range(n):
                y[at, start + j] = u[j]
                y[at + 1, start + j] = abs(2.0 * u[j] - 1.0)
                # A knot has 0 < u < 1: just 0 or 1 is out of the reference's range. NaN stays NaN.
                y[at + 2, start + j] = 1.0 if u[j] == 0.0 or u[j] == 1.0 else 0.0 * u[j]
    return strange


@jit
def _categorical(
    tags: U8, values: F64, want: int, spec: Any, rank: F64, slot: I32, flag: U8, code: I32,
    lo: int, hi: int, y: F64, x: F64,
) -> int:  # fmt: skip
    """All channels of one categorical signal; the lookup arrays are its own part of the block's tables."""
    first = spec["first_channel"]
    shares = spec["n_shares"]
    other = spec["has_other"] != 0
    end = first + 2 + shares
    unseen = end + (1 if other else 0)
    missing = unseen + 1
    strange = 0
    for i in range(lo, hi):
        tag = tags[i]
        if tag == want:
            k = np.int64(values[i])
            r = rank[k]
            f = flag[k]
            x[i] = float(code[k])
            y[first, i] = r
            y[first + 1, i] = abs(2.0 * r - 1.0)
            for c in range(first + 2, end):
                y[c, i] = 0.0
            if slot[k] >= 0:
                y[first + 2 + slot[k], i] = 1.0
            if other:
                y[end, i] = 1.0 if f & LUT_OTHER else 0.0
            y[unseen, i] = 1.0 if f & LUT_UNSEEN else 0.0
            y[missing, i] = 0.0
            y[missing + 1, i] = 0.0
        else:
            x[i] = math.nan
            for c in range(first, missing):
                y[c, i] = math.nan
            if tag == _ABSENT or tag == _NULL or tag == _INVALID:
                y[missing, i] = 1.0
                y[missing + 1, i] = 0.0
            else:
                y[missing, i] = math.nan
                y[missing + 1, i] = 1.0
                strange += 1
    return strange


@jit
def derive_channels(
    tags: U8, values: F64, column_of_signal: I32, specs: Any,
    knot_q: F64, knot_lo: F64, knot_hi: F64,
    lut_start: I32, lut_rank: F64, lut_slot: I32, lut_flag: U8, lut_code: I32,
    want_tag: U8, lo: int, hi: int, y: F64, x: F64, mismatches: I64,
) -> None:  # fmt: skip
    """Channel values of rows lo..hi of a block.

    Args:
        tags: (columns, n) physical tags.
        values: (columns, n) values; a STRING or BOOL cell indexes its signal's part of the lookup tables.
        column_of_signal: (S,) column of a signal, -1 = absent from this block: every row is missing.
        specs: SIGNAL_SPEC[S].
        knot_q: (K,) knots of all signals, each signal's strictly increasing.
        knot_lo: (K,) F(q-).
        knot_hi: (K,) F(q).
        lut_start: (S,) where a categorical signal's tables begin.
        lut_rank: (L,) mid-cumulative share of a category.
        lut_slot: (L,) its share channel, 0..n_shares-1, or -1.
        lut_flag: (L,) bits LUT_OTHER and LUT_UNSEEN.
        lut_code: (L,) its category code.
        want_tag: (S,) the tag that is a value of the signal.
        lo: first row.
        hi: row after the last.
        y: (C, n) out: channel values; NaN = this row does not feed the channel.
        x: (S, n) out: the number or the category code; NaN = none.
        mismatches: (S,) counters, incremented: cells NESTED or of another type.
    """
    buf = np.empty(BLOCK, np.float64)
    u = np.empty(BLOCK, np.float64)
    pos = np.empty(BLOCK, np.uint64)
    d = np.zeros(BLOCK, np.float64)
    bits = d.view(np.uint64)
    for s in range(specs.shape[0]):
        spec = specs[s]
        col = column_of_signal[s]
        if col < 0:
            first = spec["first_channel"]
            count = spec["n_channels"]
            missing = first if spec["kind"] == SIGNAL_NUMERIC else first + count - 2
            _fill_absent(y, first, count, missing, x[s], lo, hi)
        elif spec["kind"] == SIGNAL_NUMERIC:
            a = spec["knot_start"]
            b = spec["knot_end"]
            mismatches[s] += _numeric(
                tags[col], values[col], want_tag[s], spec, knot_q[a:b], knot_lo[a:b], knot_hi[a:b],
                lo, hi, y, x[s], buf, u, pos, d, bits,
            )  # fmt: skip
        else:
            a = lut_start[s]
            mismatches[s] += _categorical(
                tags[col], values[col], want_tag[s], spec,
                lut_rank[a:], lut_slot[a:], lut_flag[a:], lut_code[a:], lo, hi, y, x[s],
            )  # fmt: skip


@jit
def update_recent(recent: F64, recent_n: I64, stride: I64, x: F64, lo: int, hi: int) -> None:
    """Keep every stride-th value of a signal, the last K: the value of row t sits at (t / stride) % K.

    Consecutive values of an autocorrelated signal say the same thing; with a stride K of them say more.

    Args:
        recent: (S, K) in and out.
        recent_n: (1,) rows ever, in and out.
        stride: (S,) of each signal, at least 1.
        x: (S, n) values as derive_channels gives them.
        lo: first row.
        hi: row after the last.
    """
    size = recent.shape[1]
    seen = recent_n[0]
    for s in range(recent.shape[0]):
        step = stride[s]
        i = lo + (step - seen % step) % step
        while i < hi:
            recent[s, ((seen + i - lo) // step) % size] = x[s, i]
            i += step
    recent_n[0] += hi - lo
