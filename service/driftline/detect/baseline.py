"""Building a baseline: a reference from decoded rows that can be read again (``schemas/baseline.v1.json``).

Up to EXACT_ROWS_MAX rows are held and everything is exact. More are read twice in bounded memory: ``scan``,
then ``measure``; quantiles then have the error of a KLL sketch. For that the rows must come in order of time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import numpy as np

from driftline.detect.measure import Measure
from driftline.detect.reference import Reference, build_reference
from driftline.detect.rows import Segment, concat, raw_columns, segment_of
from driftline.detect.scan import Scan
from driftline.detect.seasonal import Wanted, add_seasons, blocks_of
from driftline.errors import OperatorError
from driftline.records import I64, Block

EXACT_ROWS_MAX: Final = 50_000  # docs/decisions.md, "Reference": beyond it, sampling says more than exactness
# Rows out of order are sorted in memory if they fit: 9 bytes a cell, three times while they are put together.
SORTED_CELLS_MAX: Final = 10_000_000

NO_SEASON: Final = Wanted()

Pass = Callable[[str], Iterable[Sequence[Block]]]
"""Reads all rows from the start; its argument says to people what for."""


class BaselineRows:
    """Collects the rows of one model; ``reference`` freezes them."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._segments: list[Segment] = []
        self._rows = 0
        self.notes: list[str] = []  # why a season that was wanted is not used

    def __len__(self) -> int:
        return self._rows

    def add(self, blocks: Sequence[Block]) -> None:
        """Take the rows of this model."""
        for block in blocks:
            if block.model == self.model and len(block):
                self._segments.append(segment_of(block, 0, len(block)))
                self._rows += len(block)

    def reference(self, *, time_ordered: bool, wanted: Wanted = NO_SEASON) -> Reference:
        """Freeze the rows, sorted by event time (rows of equal time stay in file order).

        ``time_ordered`` says that they are all the traffic of their time, so that their autocorrelation is
        that of live traffic; otherwise it is measured again on live rows (state ``warming``).

        Raises:
            MessageError: too few rows, or no values.
        """
        table = concat(self._segments)
        order = np.argsort(table.times, kind="stable")
        made = build_reference(
            self.model, "file", raw_columns(table, order), table.times[order], time_ordered=time_ordered
        )
        return self._seasonal(made, wanted, table, order)

    def _seasonal(self, made: Reference, wanted: Wanted, table: Segment, order: I64) -> Reference:
        if not wanted:
            return made
        made, self.notes = add_seasons(made, wanted, lambda: blocks_of(table, self.model, order))
        return made


def build_baseline(
    model: str,
    read: Pass,
    *,
    time_ordered: bool,
    time_name: str = "time",
    exact_rows: int | None = None,
    wanted: Wanted = NO_SEASON,
    note: Callable[[str], None] = lambda _: None,
) -> Reference | None:
    """Freeze the rows of a model; None when there are none.

    Args:
        model: rows of other models are left out.
        read: called once, or twice when there are more than ``exact_rows`` rows; then twice more for seasons.
        time_ordered: see ``BaselineRows.reference``.
        time_name: what people call the time of a row.
        exact_rows: rows that are held; None is EXACT_ROWS_MAX.
        wanted: seasons of signals.
        note: takes what a person should know: why a season is not used.

    Raises:
        MessageError: too few rows, no values, or not the same rows when they are read again.
        OperatorError: more rows out of order of time than can be sorted in memory.
    """
    exact_rows = EXACT_ROWS_MAX if exact_rows is None else exact_rows
    held: list[Block] = []
    scan = Scan()
    rows = 0
    for block in _blocks(model, read("reading")):
        rows += len(block)
        if rows <= exact_rows:
            held.append(block)
            continue
        for waiting in (*held, block):
            scan.add(waiting)
        held.clear()
    if rows <= exact_rows:
        return _sorted(model, [held], wanted, note, time_ordered=time_ordered) if rows else None
    if scan.disorder is not None:
        cells = rows * len(scan.columns())
        if cells > SORTED_CELLS_MAX:
            raise OperatorError(
                f"row {scan.disorder:,} of {model} is earlier than the one before it, and {rows:,} rows are "
                "too many to sort in memory.",
                remedy=f"Sort the file by {time_name}, or give a contiguous part of it.",
            )
        return _sorted(model, read("sorting"), wanted, note, time_ordered=time_ordered)
    measure = Measure(model, scan)
    for block in _blocks(model, read("measuring")):
        measure.add(block)
    made = measure.reference(time_ordered=time_ordered)
    if wanted:
        made, notes = add_seasons(made, wanted, lambda: _blocks(model, read("seasons")))
        for text in notes:
            note(text)
    return made


def _blocks(model: str, batches: Iterable[Sequence[Block]]) -> Iterable[Block]:
    return (block for blocks in batches for block in blocks if block.model == model and len(block))


def _sorted(
    model: str,
    batches: Iterable[Sequence[Block]],
    wanted: Wanted,
    note: Callable[[str], None],
    *,
    time_ordered: bool,
) -> Reference:
    rows = BaselineRows(model)
    for blocks in batches:
        rows.add(blocks)
    made = rows.reference(time_ordered=time_ordered, wanted=wanted)
    for text in rows.notes:
        note(text)
    return made
