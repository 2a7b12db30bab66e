"""Quantiles as Apache DataSketches reads them: a serialized KLL sketch of doubles.

Owns: the byte layout (DataSketches' serial version 1 of family KLL, the same for Java, C++ and Python), and
how the knots of a baseline become a sketch. It is deterministic: equal baselines give equal bytes.
Source: github.com/apache/datasketches-cpp, kll/include/kll_sketch_impl.hpp. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np

from driftline.detect.compare import atom_share, cumulative, quantile
from driftline.detect.kernels.kll import LEVEL_MIN, total_capacity
from driftline.detect.quantiles import K
from driftline.detect.reference import SignalReference
from driftline.records import F64

# Integers of the preamble, serial version, family (KLL), flags, k, m, 0, n, min_k, levels, 0.
_PREAMBLE: Final = struct.Struct("<BBBBHBBQHBB")
_INTS, _VERSION, _FAMILY, _NO_FLAGS = 5, 1, 15, 0


def serialize(levels: Sequence[F64], low: float, high: float, *, k: int = K) -> bytes:
    """A sketch from the items of its levels; one of level h stands for 2**h values.

    Args:
        levels: of level 0 upwards, each but level 0 ascending; two values or more in all.
        low: the smallest value ever seen.
        high: the largest.
        k: capacity of the top level.

    Raises:
        ValueError: fewer than two values, for which the format is another one.
    """
    n = sum(len(items) << h for h, items in enumerate(levels))
    if n <= 1:
        raise ValueError(f"a sketch of {n} values")
    start, at = [], int(total_capacity(k, len(levels))) - sum(map(len, levels))
    for items in levels:
        start.append(at)
        at += len(items)
    head = _PREAMBLE.pack(_INTS, _VERSION, _FAMILY, _NO_FLAGS, k, LEVEL_MIN, 0, n, k, len(levels), 0)
    body = np.concatenate([[low, high], *levels]).astype("<f8").tobytes()
    return head + np.array(start, "<u4").tobytes() + body


def values_of(signal: SignalReference) -> int:
    """How many numbers a baseline's quantiles of a signal are of; 0: it has none."""
    named = {c.name.partition("[")[0]: c.n for c in signal.channels}
    return 0 if signal.numeric is None else named.get("share", named.get("location", 0))


def of_signal(signal: SignalReference, *, k: int = K) -> bytes | None:
    """The quantiles of a numeric signal as a sketch; None where there are none.

    Each item stands in the middle of the values that it stands for, at most n / (k / 2) of them, so ranks are
    within 1 / k of the baseline's own distribution function.
    """
    n = values_of(signal)
    if signal.numeric is None or n <= 1:
        return None
    top = max((n - 1).bit_length() - (k.bit_length() - 1), 0)  # its items: more than k / 2, at most k
    if n >> top > k:
        top += 1
    rest = [1 << h for h in range(top) if n >> h & 1]
    full = n >> top
    weights = np.array([1 << top] * (full // 2) + rest + [1 << top] * (full - full // 2), np.float64)
    items = _at(signal, (np.cumsum(weights) - weights / 2.0) / n)
    levels = [items[weights == 1 << h] for h in range(top + 1)]
    atoms = [] if signal.numeric.atom is None else [signal.numeric.atom]
    ends = [*signal.numeric.knots, *atoms]
    return serialize(levels, min(ends), max(ends), k=k)


def _at(signal: SignalReference, ranks: F64) -> F64:
    """Values at ranks of a numeric signal, its atom among the others."""
    numeric = signal.numeric
    assert numeric is not None  # the caller has looked
    share = atom_share(signal)
    if numeric.atom is None or all(c.name != "location" for c in signal.channels):
        return quantile(numeric, ranks)  # with so few others, the atom is one of the knots
    below = (1.0 - share) * float(cumulative(numeric, np.array([numeric.atom]))[0])
    others = np.where(ranks < below, ranks, ranks - share) / max(1.0 - share, 1e-12)
    found = quantile(numeric, np.clip(others, 0.0, 1.0))
    return np.where((ranks >= below) & (ranks <= below + share), numeric.atom, found)
