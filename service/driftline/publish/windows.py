"""Reports as they are read back from their topic: nothing in them is trusted.

Owns: what of ``schemas/report.v1.json`` and ``schemas/performance-report.v1.json`` pages show. A report that
is not what its schema says is None. Must not know: other records, HTML. Texts are as they were on the topic.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from driftline.ingest.decode.slow import parse_rfc3339

CELLS_MAX: Final = 64  # of a signal: twice what a report may have
SIGNALS_MAX: Final = 1_000  # of a model: twice what a report may have
PAIRS_MAX: Final = 100  # of predicted and true class

Cell = tuple[tuple[float, float] | float | str | None, int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """One signal in one window."""

    from_ms: int
    to_ms: int
    rows: int
    reference: str
    missing: float
    statistics: Mapping[str, float]  # those that are defined
    open: bool
    cells: tuple[Cell, ...]  # what is in it, rows now, rows of the reference

    @property
    def psi(self) -> float:
        """Its PSI, -1 when there is none: for ranking."""
        value = self.statistics.get("psi")
        return -1.0 if value is None else value


@dataclass(frozen=True, slots=True)
class PerformanceWindow:
    """How well a model predicted in one window."""

    from_ms: int
    to_ms: int
    rows: int
    task: str
    statistics: Mapping[str, float]
    confusion: tuple[tuple[str, str, int], ...]
    coverage: float | None
    delays: Mapping[str, float]  # seconds by quantile


def signal_windows(data: Mapping[str, Any]) -> dict[str, Window] | None:
    """The windows of a report of signals."""
    span, items = _span(data), data.get("signals")
    if span is None or not isinstance(items, list) or len(items) > SIGNALS_MAX:
        return None
    found = dict(w for item in items if (w := _window(item, span, str(data.get("reference")))) is not None)
    return found if len(found) == len(items) else None


def performance_window(data: Mapping[str, Any]) -> PerformanceWindow | None:
    """The window of a report of performance."""
    span, statistics, labels = _span(data), data.get("statistics"), data.get("labels")
    if span is None or not isinstance(statistics, Mapping):
        return None
    labels = labels if isinstance(labels, Mapping) else {}
    delays, pairs = labels.get("delay_seconds"), data.get("confusion")
    confusion = tuple(
        (str(p[0]), str(p[1]), p[2])
        for p in (pairs[:PAIRS_MAX] if isinstance(pairs, list) else ())
        if isinstance(p, list) and len(p) == 3 and is_count(p[2])
    )
    return PerformanceWindow(
        *span, str(data.get("task")), _numbers(statistics), confusion,
        number_of(labels.get("coverage")), _numbers(delays if isinstance(delays, Mapping) else {}),
    )  # fmt: skip


def number_of(value: object) -> float | None:
    """A finite number, or None for anything else."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None  # type: ignore[arg-type] # a number, as just asked


def time_of(value: object) -> int | None:
    """Epoch ms of an RFC 3339 time, or None for anything else."""
    return parse_rfc3339(value) if isinstance(value, str) else None


def is_count(value: object) -> TypeGuard[int]:
    """Whether it is a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _span(data: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Begin, end and rows of the window."""
    window = data.get("window")
    if not isinstance(window, Mapping):
        return None
    begin, end, rows = time_of(window.get("from")), time_of(window.get("to")), window.get("rows")
    return None if begin is None or end is None or not is_count(rows) else (begin, end, rows)


def _numbers(found: Mapping[Any, Any]) -> dict[str, float]:
    return {str(k): number for k, v in found.items() if (number := number_of(v)) is not None}


def _window(item: Any, span: tuple[int, int, int], reference: str) -> tuple[str, Window] | None:
    if not isinstance(item, Mapping) or not isinstance(item.get("signal"), str):
        return None
    statistics, cells = item.get("statistics"), item.get("cells")
    missing = number_of(item.get("missing"))
    if not isinstance(statistics, Mapping) or not isinstance(cells, list) or missing is None:
        return None
    if len(cells) > CELLS_MAX or not all(map(_is_cell, cells)):
        return None
    named = tuple((tuple(c[0]) if isinstance(c[0], list) else c[0], c[1], c[2]) for c in cells)
    return item["signal"], Window(
        *span, reference, missing, _numbers(statistics), item.get("open") is True, named
    )


def _is_cell(cell: Any) -> bool:
    if not isinstance(cell, list) or len(cell) != 3 or not all(map(is_count, cell[1:])):
        return False
    what = cell[0]
    if isinstance(what, list):
        return len(what) == 2 and all(number_of(v) is not None for v in what)
    return what is None or isinstance(what, str) or number_of(what) is not None
