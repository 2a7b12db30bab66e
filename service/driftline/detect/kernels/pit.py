"""Mid-PIT: a numeric value's place in the reference distribution, u = F_ref(x) in [0, 1].

Owns: DECISIONS A, "Numeric". Knots are sorted unique values q with lo = F(q-) and hi = F(q):
x = q_i -> (lo_i + hi_i) / 2; between knots linear from hi_i to lo_{i+1}; below the first 0, above the last 1.
Never randomised. Must not know: how knots are chosen.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit

F64 = npt.NDArray[np.float64]
U64 = npt.NDArray[np.uint64]

BLOCK: Final = 64  # values searched side by side; their positions and values stay in the first-level cache


@jit
def pit_block(x: F64, n: int, q: F64, lo: F64, hi: F64, pos: U64, d: F64, bits: U64, u: F64) -> None:
    """u[:n] = mid-PIT of x[:n]; NaN stays NaN.

    Args:
        x: (>= n,) values; no -0.0 (add 0.0 to what may hold one).
        n: how many, at most the length of ``pos``.
        q: (k,) knots, finite, strictly increasing, k >= 1.
        lo: (k,) F(q-).
        hi: (k,) F(q).
        pos: scratch.
        d: scratch.
        bits: the bytes of ``d`` seen as integers.
        u: (>= n,) out.
    """
    # Plain form: i = searchsorted(q, x, "right") - 1. All values of the block take the same halving step
    # before any takes the next, so loads do not wait for each other. A comparison here would be a branch,
    # wrong half of the time (LLVM turns the select back into one): 45 ns a value. The sign bit of x - q says
    # the same: the difference of two different doubles never rounds to zero. 5 ns a value. Unsigned indices,
    # because signed ones are checked for the Python meaning of negatives.
    one = np.uint64(1)
    sign = np.uint64(63)
    for j in range(n):
        pos[j] = np.uint64(0)
    left = np.uint64(q.shape[0])
    while left > one:
        half = left >> one
        for j in range(n):
            d[j] = x[j] - q[pos[j] + half]
        for j in range(n):
            pos[j] += half * (one - (bits[j] >> sign))
        left = left - half
    last = np.uint64(q.shape[0] - 1)
    for j in range(n):
        p = pos[j]
        v = x[j]
        at = q[p]
        if v == at:
            u[j] = 0.5 * (lo[p] + hi[p])
        elif v < at:
            u[j] = 0.0
        elif v > at:
            if p == last:
                u[j] = 1.0
            else:
                to = q[p + one]
                gap = to - at
                if gap < math.inf:
                    f = (v - at) / gap
                else:
                    f = (0.5 * v - 0.5 * at) / (0.5 * to - 0.5 * at)
                u[j] = hi[p] + f * (lo[p + one] - hi[p])
        else:
            u[j] = math.nan


@jit
def pit_run(x: F64, q: F64, lo: F64, hi: F64, u: F64) -> None:
    """Mid-PIT of a whole array.

    Args:
        x: (n,) values.
        q: (k,) knots, strictly increasing.
        lo: (k,) F(q-).
        hi: (k,) F(q).
        u: (n,) out.
    """
    pos = np.empty(BLOCK, np.uint64)
    buf = np.empty(BLOCK, np.float64)
    d = np.zeros(BLOCK, np.float64)
    bits = d.view(np.uint64)
    for start in range(0, x.shape[0], BLOCK):
        n = min(BLOCK, x.shape[0] - start)
        for j in range(n):
            buf[j] = x[start + j] + 0.0
        pit_block(buf, n, q, lo, hi, pos, d, bits, u[start : start + n])
