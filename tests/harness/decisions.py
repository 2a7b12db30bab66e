"""Blocks and models for tests of decisions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from driftline.config import DetectionSettings, ModelSettings
from driftline.decide.alerts import Context
from driftline.decide.model import Model
from driftline.decide.outputs import Alert
from driftline.detect.reference import RawColumn, Reference, build_reference
from driftline.detect.season import Period
from driftline.detect.seasonal import Wanted, add_seasons
from driftline.records import F64, Block, Column, ColumnKind, Progress, Source, Tag

SOURCE = Source("events", 0)
PROGRESS = (Progress(SOURCE, "t", -1, 0, 0),)
CONTEXT = Context("mailbox-id", "https://example.org/runbook")
STEP_MS = 10  # 100 events a second


def block(
    columns: Mapping[str, F64 | list[str | None]], start: int = 0, model: str = "m", step_ms: int = STEP_MS
) -> Block:
    """Rows from columns: numbers (NaN = null) or strings (None = null); row i has offset start + i."""
    made, tags, values = [], [], []
    n = len(next(iter(columns.values())))
    for name, cells in sorted(columns.items()):
        if isinstance(cells, np.ndarray):
            made.append(Column(ColumnKind.FEATURE, name))
            tags.append(np.where(np.isnan(cells), Tag.NULL, Tag.NUMBER))
            values.append(cells)
        else:
            names = tuple(dict.fromkeys(c for c in cells if c is not None))
            code = {name: float(i) for i, name in enumerate(names)}
            made.append(Column(ColumnKind.FEATURE, name, names))
            tags.append(np.array([Tag.NULL if c is None else Tag.STRING for c in cells]))
            values.append(np.array([np.nan if c is None else code[c] for c in cells]))
    offsets = np.arange(start, start + n, dtype=np.int64)
    return Block(
        model, tuple(made),
        np.ascontiguousarray(tags, dtype=np.uint8), np.ascontiguousarray(values, dtype=np.float64),
        offsets * step_ms, offsets * step_ms, np.zeros(n, dtype=np.int32), offsets,
        np.full(n, -1, dtype=np.int32), (), np.zeros(n, dtype=np.uint64),
    )  # fmt: skip


def file_reference(
    columns: Mapping[str, F64 | list[str | None]],
    *,
    rows_per_week: float = 60_480_000.0,
    time_ordered: bool = True,
) -> Reference:
    """A reference from a file; the default rate is 100 events a second."""
    b = block(columns)
    raw = [RawColumn(c.kind, c.name, b.tags[i], b.values[i], c.strings) for i, c in enumerate(b.columns)]
    times = (np.arange(len(b)) * (7 * 24 * 3600 * 1000 / rows_per_week)).astype(np.int64)
    return build_reference("m", "file", raw, times, time_ordered=time_ordered)


def seasonal(
    reference: Reference, columns: Mapping[str, F64 | list[str | None]], period: Period, step_ms: int
) -> Reference:
    """The reference with a season read from its rows, the first of which is at the epoch.

    Raises:
        ValueError: it is too short.
    """
    rows = block(columns, step_ms=step_ms)
    made, notes = add_seasons(reference, Wanted(period), lambda: [rows])
    if notes:
        raise ValueError(notes[0])
    return made


def new_model(
    reference: Reference | None = None,
    *,
    warming: bool = False,
    rows_per_week: float | None = None,
    **settings: float | None,
) -> Model:
    """A model under default settings, active (or warming up) when a reference is given."""
    pinned = ModelSettings(rows_per_week=rows_per_week)
    model = Model.new("m", DetectionSettings(**settings), {"m": pinned}, learn=True)
    if reference is not None:
        model._install(reference, warming=warming)
    return model


def run(model: Model, rows: Block, cuts: tuple[int, ...] = ()) -> list[Alert]:
    """Apply a block, cut at the given rows."""
    out: list[Alert] = []
    for lo, hi in zip((0, *cuts), (*cuts, len(rows)), strict=True):
        out += model.apply(rows, lo, hi, PROGRESS, CONTEXT)
    return out
