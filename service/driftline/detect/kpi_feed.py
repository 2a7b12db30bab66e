"""What rows mean for a KPI: which of them count, and what of them is counted (``detect/kpi.py`` does).

Owns: how events and labelled predictions become numbers for a measure, cell by cell as they came. Must not
know: windows, bounds.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from driftline.config.kpi import Measure
from driftline.detect.kpi import Fed
from driftline.detect.labels import NAMED, Names
from driftline.detect.performance import Performance
from driftline.records import F64, I64, Block, ColumnKind, Tag

MISSING: Final = (Tag.ABSENT, Tag.NULL, Tag.INVALID)  # as in the channel of that name
TASKS: Final = {
    **dict.fromkeys(("log_loss", "brier", "calibration_error", "auc"), "binary"),
    **dict.fromkeys(("mae", "rmse", "bias", "r2"), "regression"),
}


# --- rows of events ---------------------------------------------------------------------------------------


def column_of(block: Block, signal: str) -> int | None:
    """The column of a signal; None when the block has none."""
    kinds = {"prediction.score": ColumnKind.SCORE, "prediction.class": ColumnKind.CLASS}
    key = (kinds.get(signal, ColumnKind.FEATURE), "" if signal in kinds else signal.removeprefix("feature."))
    found = (i for i, column in enumerate(block.columns) if (column.kind, column.name) == key)
    return next(found, None)


def first_seen(measure: Measure, block: Block, lo: int, hi: int) -> int:
    """The first of rows lo..hi that has the signal of a measure, hi: none; ``lo`` if it is of no signal."""
    if not measure.signal:
        return lo
    at = column_of(block, measure.signal)
    there = np.zeros(0, bool) if at is None else block.tags[at, lo:hi] != Tag.ABSENT
    return lo + int(there.argmax()) if there.any() else hi


def feed_events(
    measure: Measure, block: Block, lo: int, hi: int, positive: str | None, threshold: float
) -> Fed:
    """Rows lo..hi of a block of events; ``positive`` names the positive class, None: not said."""
    times = block.event_time[lo:hi]
    ones, zeros = np.ones(hi - lo, np.int64), np.zeros(hi - lo, np.int64)
    if measure.name == "events_per_minute":
        return Fed(times, ones, zeros)
    if measure.name == "positive_rate":
        return _positives(block, lo, hi, positive, threshold)
    at = column_of(block, measure.signal)
    if measure.name == "missing":
        gone = ones if at is None else np.isin(block.tags[at, lo:hi], MISSING).astype(np.int64)
        return Fed(times, ones, gone)
    if at is None:
        return Fed(times, zeros, zeros, np.zeros(hi - lo) if measure.name != "share" else None)
    tags, values = block.tags[at, lo:hi], block.values[at, lo:hi]
    if measure.name == "share":
        present = np.isin(tags, (Tag.NUMBER, Tag.STRING, Tag.BOOL))
        meant = _is_category(block.columns[at].strings, tags, values, measure.member)
        return Fed(times, present.astype(np.int64), meant.astype(np.int64))
    usable = (tags == Tag.NUMBER) | (tags == Tag.BOOL)
    return Fed(times, usable.astype(np.int64), zeros, values)


def _is_category(strings: tuple[str, ...], tags: Any, values: F64, category: str) -> Any:
    code = strings.index(category) if category in strings else -1
    meant = (tags == Tag.STRING) & (values == code)
    if category in {"true", "false"}:
        meant |= (tags == Tag.BOOL) & (values == (category == "true"))
    try:
        number = float(category)
    except ValueError:
        return meant
    return meant | ((tags == Tag.NUMBER) & (values == number))


def _positives(block: Block, lo: int, hi: int, positive: str | None, threshold: float) -> Fed:
    """Predictions of the positive class: by the class where one is named, else by the score."""
    known, meant = np.zeros(hi - lo, bool), np.zeros(hi - lo, bool)
    at = column_of(block, "prediction.score")
    if at is not None:
        known = block.tags[at, lo:hi] == Tag.NUMBER
        with np.errstate(invalid="ignore"):
            meant = known & (block.values[at, lo:hi] >= threshold)
    at = column_of(block, "prediction.class")
    if at is not None:
        tags, values, strings = block.tags[at, lo:hi], block.values[at, lo:hi], block.columns[at].strings
        said = tags == Tag.BOOL
        if positive is not None:
            said |= (tags == Tag.STRING) | (tags == Tag.NUMBER)
        meant = np.where(said, _is_category(strings, tags, values, positive or "true"), meant)
        known |= said
    return Fed(block.event_time[lo:hi], known.astype(np.int64), meant.astype(np.int64))


# --- labelled rows ----------------------------------------------------------------------------------------


def fits(measure: Measure, task: str) -> bool:
    """Whether a measure of labelled rows says something of a model of this task."""
    return TASKS[measure.name] == task if measure.name in TASKS else task != "regression"


def feed_labelled(measure: Measure, p: Performance, at: slice, names: Names) -> Fed | None:
    """Rows of the window of performance; None when the measure is not one of the model's task."""
    w, name = p.window, measure.name
    if not fits(measure, p.task):
        return None
    times, score = w.time[at], w.score[at]
    if p.task == "regression":
        usable = np.isfinite(score) & (w.named[at] != NAMED)
        return Fed(times, usable.astype(np.int64), np.zeros(len(times), np.int64), score, w.value[at])
    true = p.label_codes(at, names).astype(np.int64)
    if name in TASKS:
        usable = ~np.isnan(score)
        with np.errstate(invalid="ignore"):
            improper = usable & ~((score >= 0.0) & (score <= 1.0))
        y = (true == p.positive).astype(np.uint8)
        inside = np.where(improper, 0.0, score)
        return Fed(times, usable.astype(np.int64), improper.astype(np.int64), inside, y)
    return _classes(measure, times, p, p.predicted_codes(at).astype(np.int64), true, names)


def _classes(measure: Measure, times: I64, p: Performance, predicted: I64, true: I64, names: Names) -> Fed:
    known = predicted >= 0
    right = (predicted == true) & known
    if measure.name == "accuracy":
        return Fed(times, known.astype(np.int64), right.astype(np.int64))
    if not measure.member and p.task != "binary":
        codes = (np.where(known, predicted, -1), np.where(known, true, -1))
        return Fed(times, known.astype(np.int64), right.astype(np.int64), codes=codes)
    code = p.positive if not measure.member else names.find(measure.member)
    said, there = ((c == code) & known for c in (predicted, true))
    both = (said & there).astype(np.int64)
    if measure.name == "f1":
        return Fed(times, said.astype(np.int64) + there, 2 * both)
    return Fed(times, (said if measure.name == "precision" else there).astype(np.int64), both)
