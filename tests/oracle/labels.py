"""The join of labels in plain dictionaries: what the kernel has to give where nothing expires."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Joined:
    """Counts of a join, and the pairs in order of the match: (id, prediction, label)."""

    pairs: list[tuple[int, Any, Any]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


def join(rows: Iterable[tuple[str, int, Any]]) -> Joined:
    """``rows`` are ("event" or "label", id, value) in mailbox order; of two labels the first wins."""
    out = Joined()
    events: dict[int, Any] = {}
    labels: dict[int, Any] = {}
    for kind, key, value in rows:
        own, other = (events, labels) if kind == "event" else (labels, events)
        if key in own:
            same = "duplicates" if own[key] == value else "conflicts"
            out.counts["repeated" if kind == "event" else same] += 1
            continue
        own[key] = value
        if key in other:
            out.pairs.append((key, events[key], labels[key]))
    return out


def confusion(joined: Joined) -> Counter[tuple[Any, Any]]:
    """(predicted, true) -> how often."""
    return Counter((predicted, true) for _, predicted, true in joined.pairs)
