"""What was tried and whether it was let in: the record that every group of attacks writes, and its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attack. ``answer`` is what was seen; it says why it counts as let in or not."""

    group: str
    what: str
    let_in: bool
    answer: str = ""


def table(attempts: Iterable[Attempt]) -> list[str]:
    """Lines for people: tried and let in by group, each that was let in, and the sum."""
    found = sorted(attempts, key=lambda a: a.group)
    lines = [f"{'attacks':<58}{'tried':>7}{'let in':>8}"]
    for group, members in groupby(found, key=lambda a: a.group):
        counts = Counter(a.let_in for a in members)
        lines.append(f"{group:<58}{counts.total():>7}{counts[True]:>8}")
    lines += [f"LET IN  {a.group}: {a.what}: {a.answer}" for a in found if a.let_in]
    lines.append(f"attacks tried / let in: {len(found)} / {sum(a.let_in for a in found)}")
    return lines
