"""KLL: quantiles of a stream in a few kilobytes.

Source: Z. Karnin, K. Lang, E. Liberty, "Optimal quantile approximation in streams" (FOCS 2016), section 3:
compactors whose capacities fall by 2/3 a level, compacted lazily (only when the whole is full). Items of
level h stand for 2**h values each. All levels lie end to end in one array, level 0 first, growing downwards,
as in the DataSketches library, whose published error is therefore ours: ``rank_error``.

Owns: the sketch of one column, and the counting of the values that are kept out of it. The coin of a
compaction is a hash of its number, so the same values in the same order give the same sketch, however they
were cut into calls. NaN must not come in.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit, jit_inline

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

LEVELS_MAX: Final = 48  # of 2**48 * k values
LEVEL_MIN: Final = 8  # capacity of the lowest levels: smaller ones would be sorted for every other value
N, LEVELS, COINS = 0, 1, 2  # places in ``head``


@jit
def level_capacity(k: int, depth: int) -> int:
    """Items that a level may hold, ``depth`` levels below the top: k (2/3)**depth, at least LEVEL_MIN."""
    if depth > 30:
        return LEVEL_MIN
    power = 1
    for _ in range(depth):
        power *= 3
    found = (((k << 1) << depth) // power + 1) >> 1
    return found if found > LEVEL_MIN else LEVEL_MIN


@jit
def total_capacity(k: int, levels: int) -> int:
    """Items that all levels together may hold."""
    total = 0
    for depth in range(levels):
        total += level_capacity(k, depth)
    return total


@jit_inline
def _coin(number: int) -> int:
    """0 or 1 from the number of a compaction (the finaliser of MurmurHash3, on 32 bits)."""
    z = (int(number) * 0x9E3779B1) & 0xFFFFFFFF
    z = ((z ^ (z >> 16)) * 0x85EBCA6B) & 0xFFFFFFFF
    z = ((z ^ (z >> 13)) * 0xC2B2AE35) & 0xFFFFFFFF
    return (z ^ (z >> 16)) & 1


@jit
def _add_top(items: F64, start: I64, head: I64, k: int) -> None:
    """An empty level above the others: everything moves up by the room that it adds."""
    levels = head[LEVELS]
    grown = total_capacity(k, levels + 1) - start[levels]
    for i in range(start[levels] - 1, start[0] - 1, -1):
        items[i + grown] = items[i]
    for h in range(levels + 1):
        start[h] += grown
    start[levels + 1] = start[levels]
    head[LEVELS] = levels + 1


@jit
def compact(x: F64, number: int) -> F64:
    """Every other one of an even number of sorted items; ``number`` is that of the compaction."""
    out = np.empty(x.shape[0] >> 1)
    at = _coin(number)
    for i in range(out.shape[0]):
        out[i] = x[at + 2 * i]
    return out


@jit
def _halve(items: F64, start: I64, head: I64, k: int) -> None:
    """Halve the lowest level that is full: every other item, in order, moves up with twice the weight."""
    h = 0
    while start[h + 1] - start[h] < level_capacity(k, head[LEVELS] - h - 1):
        h += 1
    if h == head[LEVELS] - 1:
        _add_top(items, start, head, k)
    begin = start[h]
    end = start[h + 1]
    above = start[h + 2]
    left = items[begin]  # of an odd number one stays
    odd = (end - begin) & 1
    if h == 0:
        items[begin + odd : end] = np.sort(items[begin + odd : end])
    head[COINS] += 1
    promoted = compact(items[begin + odd : end], head[COINS])
    half = promoted.shape[0]
    # Merge with the level above, into the room that the other half leaves.
    i = 0
    j = end
    out = end - half
    while i < half:
        if j < above and items[j] < promoted[i]:
            items[out] = items[j]
            j += 1
        else:
            items[out] = promoted[i]
            i += 1
        out += 1
    start[h + 1] = end - half
    start[h] = end - half - odd
    if odd:
        items[start[h]] = left
    if h > 0:  # close the gap
        for i in range(begin - 1, start[0] - 1, -1):
            items[i + half] = items[i]
        for lower in range(h):
            start[lower] += half


@jit
def kll_update(x: F64, k: int, items: F64, start: I64, head: I64) -> None:
    """Take values.

    Args:
        x: (n,) values, not NaN.
        k: capacity of the top level.
        items: (total_capacity(k, LEVELS_MAX),) in and out.
        start: (LEVELS_MAX + 1,) in and out: where each level begins, and behind the top one its end.
        head: (3,) in and out: values seen, levels in use, compactions so far.
    """
    for i in range(x.shape[0]):
        if start[0] == 0:
            _halve(items, start, head, k)
        start[0] -= 1
        items[start[0]] = x[i]
        head[N] += 1


def new_kll(k: int) -> tuple[Any, Any, Any]:
    """items, start and head of an empty sketch."""
    items = np.zeros(int(total_capacity(k, LEVELS_MAX)))
    start = np.zeros(LEVELS_MAX + 1, dtype=np.int64)
    start[:2] = level_capacity(k, 0)
    return items, start, np.array([0, 1, 0], dtype=np.int64)


@jit
def split_frequent(x: F64, frequent: F64, counts: I64, others: F64, moments: F64) -> int:
    """Count the frequent values, pass on the others, and sum all.

    Args:
        x: (n,) values, not NaN.
        frequent: (m,) ascending.
        counts: (m,) in and out: how often each has come.
        others: (n,) out: those that are not frequent, in order.
        moments: (5,) in and out: n, mean, sum of squared deviations (Welford); smallest and largest of
            the others.

    Returns:
        How many others there are.
    """
    found = 0
    m = frequent.shape[0]
    for i in range(x.shape[0]):
        v = x[i]
        moments[0] += 1.0
        off = v - moments[1]
        moments[1] += off / moments[0]
        moments[2] += off * (v - moments[1])
        lo = 0
        hi = m
        while lo < hi:
            mid = (lo + hi) >> 1
            if frequent[mid] < v:
                lo = mid + 1
            else:
                hi = mid
        if lo < m and frequent[lo] == v:
            counts[lo] += 1
        else:
            if v < moments[3]:
                moments[3] = v
            if v > moments[4]:
                moments[4] = v
            others[found] = v
            found += 1
    return found
