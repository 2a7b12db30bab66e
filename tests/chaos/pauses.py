"""How long a fault made the pipeline stand still, from the times at which positions moved. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from chaos.deployment import SESSION_SECONDS
from chaos.faults import Fault

SETTLE_SECONDS: Final = SESSION_SECONDS + 4.0  # a group may notice this long after a fault


def longest_pause(
    fault: float, until: float, moves: Mapping[str, Sequence[float]], settle: float
) -> tuple[float, float]:
    """Begin and end of the longest pause of any partition that a fault began; equal when there is none.

    ``moves`` are the times at which each position was seen to move, by its name. A pause
    counts if it was under way at the fault or began before ``until`` (the next fault) and within ``settle``
    seconds, which is how long a group may take to notice. It begins at the fault or by itself, whichever is
    later.
    """
    longest = (fault, fault)
    for times in moves.values():
        for begin, end in pairwise(times):
            if end > fault and begin < min(until, fault + settle):
                longest = max(longest, (max(begin, fault), end), key=lambda pause: pause[1] - pause[0])
    return longest


def pauses(faults: Sequence[Fault], moves: Mapping[str, Sequence[float]]) -> list[tuple[Fault, float, bool]]:
    """Standstill in seconds after each fault, and whether it was over before the next fault."""
    nexts = [fault.at for fault in faults[1:]] + [float("inf")] * bool(faults)
    found = []
    for fault, following in zip(faults, nexts, strict=True):
        begun, ended = longest_pause(fault.at, following, moves, SETTLE_SECONDS)
        found.append((fault, ended - begun, ended <= following))
    return found
