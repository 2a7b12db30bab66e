"""What alarms are worth against a known truth, and how sure a count is. Pure functions of row numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scipy.special import betaincinv, gammaincinv

LEVEL: Final = 0.05  # bounds hold with 95 %, 2.5 % on each side
LATE_ROWS: Final = 200  # an opening this soon after the end of a short change still reports it
ECHO_ROWS: Final = 5_000  # an alarm this soon after the end is of the return to normal: no false one


@dataclass(frozen=True, slots=True)
class Change:
    """A true change: rows start..end differ from the reference."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Score:
    """One run against its truth. An opening belongs to the last change that had begun."""

    changes: int
    delays: tuple[int, ...]  # rows from the start of each change that was detected to its first opening
    openings: int  # that belong to a change, its return included
    false: int  # openings that belong to none
    ended: int  # detected changes that ended before the run did
    resolved: int  # of these, closed before the next change or the end of the run
    early: int  # resolutions while the change was still on


def score(openings: Sequence[int], resolutions: Sequence[int], changes: Sequence[Change], rows: int) -> Score:
    """Match openings and resolutions (row numbers in order) to the changes of a run."""
    delays: list[int] = []
    mine = ended = resolved = early = 0
    nexts = [*(c.start for c in changes), rows][1:]
    for change, until in zip(changes, nexts, strict=True):
        own = [o for o in openings if change.start <= o < min(until, change.end + ECHO_ROWS)]
        closed = [r for r in resolutions if change.start <= r < until]
        mine += len(own)
        detected = bool(own) and own[0] < change.end + LATE_ROWS
        if detected:
            delays.append(own[0] - change.start)
            early += sum(own[0] < r < change.end for r in closed)
        if detected and change.end < until:
            ended += 1
            resolved += bool(closed) and closed[-1] > own[-1]
    return Score(len(changes), tuple(delays), mine, len(openings) - mine, ended, resolved, early)


def poisson_bounds(count: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact (Garwood) bounds of the mean of a Poisson count."""
    low = float(gammaincinv(count, level / 2)) if count else 0.0
    return low, float(gammaincinv(count + 1, 1 - level / 2))


def share_bounds(count: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """Exact (Clopper-Pearson) bounds of a share."""
    low = float(betaincinv(count, of - count + 1, level / 2)) if count else 0.0
    high = float(betaincinv(count + 1, of - count, 1 - level / 2)) if count < of else 1.0
    return low, high
