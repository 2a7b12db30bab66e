"""KPIs over events the slow and obvious way: rows as dictionaries, windows as lists."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]  # "time" in ms, and cells by name; one that is absent or None is missing


def windows(rows: Sequence[Row], size: int | None, width_ms: int | None) -> list[tuple[list[Row], int]]:
    """Complete windows in order, with the index of the row that decided each; empty ones as empty lists."""
    if size is not None:
        return [(list(rows[i : i + size]), i + size - 1) for i in range(0, len(rows) - size + 1, size)]
    assert width_ms is not None
    out: list[tuple[list[Row], int]] = []
    filling: list[Row] = []
    place = None
    for i, row in enumerate(rows):
        mine = row["time"] // width_ms
        if place is not None and mine > place:
            out.append((filling, i))
            out += [([], i) for _ in range(mine - place - 1)]
            filling = []
        place = mine if place is None else max(place, mine)
        filling.append(row)
    return out


def value(name: str, window: Sequence[Row], cell: str, category: str, width_ms: int | None) -> float:
    """A measure of a window; NaN: there is nothing to measure."""
    cells = [row.get(cell) for row in window]
    present = [c for c in cells if c is not None]
    if name == "events_per_minute":
        assert width_ms is not None
        return len(window) / (width_ms / 60_000)
    if name == "sum":
        return float(sum(present))
    if name == "missing":
        return (len(cells) - len(present)) / len(cells) if cells else math.nan
    if not present:
        return math.nan
    return sum(present) / len(present) if name == "mean" else present.count(category) / len(present)
