"""How well a model predicts: windows of labelled events, totals, and the channel of its errors.

Owns: what the model's task is, the window that is filling, the confusion counts since the beginning, and one
channel whose values are errors: 0 or 1 for classes, the rank of the absolute error among the reference's for
numbers. What to do at a boundary (the reference is complete) is decided by the caller, as with an actor.
Invariant: everything depends on the matches and their order only, not on how they were cut. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels import scores
from driftline.detect.kernels.engine import run_block
from driftline.detect.kernels.state import CHANNEL_PLAN, FINDING, new_state
from driftline.detect.labels import NAMED, NAMES_MAX, Matches, Names
from driftline.detect.reference import (
    QUANTILES,
    ChannelReference,
    NumericReference,
    channel_reference,
    mid_pit,
    numeric_knots,
)
from driftline.records import F64, I64

Task = Literal["auto", "binary", "multiclass", "regression"]

TASK_ROWS: Final = 100  # labelled events from which the task is guessed
CLASSES: Final = 32  # classes with a row in the confusion counts; the rest shares one more
BINARY: Final = 2
# All that a window may say, by task.
CLASS_STATISTICS: Final = ("accuracy", "precision", "recall", "f1")
SCORE_STATISTICS: Final = ("auc", "log_loss", "brier", "calibration_error")
NUMBER_STATISTICS: Final = ("mae", "rmse", "bias", "r2")
STATISTICS: Final = CLASS_STATISTICS + SCORE_STATISTICS + NUMBER_STATISTICS
SIGNAL: Final = "performance.error_rate"
NEGATIVE: Final = {"true": "false", "1": "0"}  # by the class that is positive where nobody says
HOUR_MS: Final = 3_600_000
WEEK_MS: Final = 7 * 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class ErrorReference:
    """The errors of the first labelled events."""

    channel: ChannelReference
    numeric: NumericReference | None  # of absolute errors, None for classes
    first_time: int  # ms
    last_time: int
    time: int  # of the row that completed it


@dataclass(frozen=True, slots=True)
class WindowResult:
    """The last complete window; statistics that make no sense for the task are not there."""

    number: int
    rows: int
    first_time: int  # ms
    last_time: int
    values: dict[str, float]


@dataclass(frozen=True, slots=True)
class ClosedWindow:
    """A complete window with what only its rows can say; not stored, a report is made of it at once."""

    result: WindowResult
    task: Task
    confusion: tuple[tuple[str, str, int], ...]  # (predicted, true, rows); empty for numbers


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says."""

    task: Task = "auto"
    positive_class: str | None = None
    threshold: float = 0.5
    window_rows: int = 1_000
    window_ms: int | None = None
    reference_rows: int = 2_000


def _buffer(rows: int) -> Matches:
    """An empty window."""
    return Matches(
        np.zeros(rows, np.int64), np.zeros(rows), np.zeros(rows, np.int32), np.zeros(rows),
        np.zeros(rows, np.int32), np.zeros(0, np.int64),
    )  # fmt: skip


@dataclass(slots=True)
class Performance:
    """All of one model. Boundaries are said by ``rows_to_boundary``."""

    rules: Rules
    task: Task = "auto"
    positive: int = -1  # code of the positive class, and of what is predicted below the threshold
    negative: int = -1
    rows: int = 0  # labelled events
    window: Matches = field(default_factory=lambda: _buffer(0))
    filled: int = 0
    number: int = 0  # windows complete
    last: WindowResult | None = None
    closed: list[ClosedWindow] = field(default_factory=list)  # since the caller last took them
    confusion: I64 = field(default_factory=lambda: np.zeros((CLASSES + 1, CLASSES + 1), np.int64))
    errors: list[F64] = field(default_factory=list)  # of the reference in the making
    error_times: list[int] = field(default_factory=list)  # first and last
    reference: ErrorReference | None = None
    plan: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(1, CHANNEL_PLAN))
    state: npt.NDArray[Any] = field(default_factory=lambda: new_state(1))

    def __post_init__(self) -> None:
        if not len(self.window):
            self.window = _buffer(self.rules.window_rows)

    # --- rows

    def add(self, found: Matches, lo: int, names: Names) -> tuple[int, npt.NDArray[Any]]:
        """Take matches from ``lo`` on, up to a boundary; returns where it stopped, and findings by row."""
        none = np.zeros(0, FINDING)
        if self.filled >= self.rules.window_rows or self._beyond(int(found.time[lo])):
            self._close(names)
        hi = min(len(found), lo + self.rules.window_rows - self.filled)
        if self.task == "auto":
            hi = min(hi, lo + TASK_ROWS - self.filled)
        if self.reference is None:
            hi = min(hi, lo + max(self.rules.reference_rows - sum(map(len, self.errors)), 1))
        hi = lo + self._before_next(found.time[lo:hi])
        part, at = slice(lo, hi), slice(self.filled, self.filled + hi - lo)
        for name in ("time", "score", "code", "value", "named"):
            getattr(self.window, name)[at] = getattr(found, name)[part]
        self.filled += hi - lo
        self.rows += hi - lo
        if self.task != "auto":
            return hi, self._errors(at, lo, names)
        if self.filled >= TASK_ROWS:
            self._decide_task(names)
            self._errors(slice(0, self.filled), lo, names)  # no findings: there is no reference yet
        return hi, none

    def _beyond(self, time: int) -> bool:
        """Whether a row's time lies behind the stretch of time that the window belongs to."""
        width = self.rules.window_ms
        if width is None or not self.filled or self.task == "auto":
            return False
        return time // width > int(self.window.time[0]) // width

    def _before_next(self, times: I64) -> int:
        """How many of the rows belong to the window by time; at least one."""
        width = self.rules.window_ms
        if width is None or self.task == "auto":
            return len(times)
        first = int(self.window.time[0]) if self.filled else int(times[0])
        behind = np.flatnonzero(times // width > first // width)
        return max(int(behind[0]), 1) if len(behind) else len(times)

    def _decide_task(self, names: Names) -> None:
        n = self.filled
        w = self.window
        named, coded = w.named[:n] == NAMED, w.code[:n] >= 0
        numbers = w.value[:n][~named]
        task = self.rules.task
        if task == "auto":
            classes = self.label_codes(slice(0, n), names) if coded.any() or named.any() else np.zeros(0)
            if len(classes):
                distinct = {*np.unique(classes).tolist(), *np.unique(w.code[:n][coded]).tolist()}
                task = "binary" if len(distinct) <= BINARY else "multiclass"
            else:
                task = "binary" if np.isin(numbers, (0.0, 1.0)).all() else "regression"
        self.task = task
        if task == "binary":
            codes = [*self.label_codes(slice(0, n), names).tolist(), *w.code[:n][coded].tolist()]
            known = sorted({names.name(code) for code in codes})
            usual = (p for p, n in NEGATIVE.items() if {p, n} >= set(known))
            positive = self.rules.positive_class or next(usual, known[-1])
            other = next((k for k in known if k != positive), NEGATIVE.get(positive, ""))
            self.positive, self.negative = names.code(positive), names.code(other)

    def label_codes(self, at: slice, names: Names) -> npt.NDArray[np.int32]:
        """Codes of the classes that the window's labels are, numbers by their text."""
        value, named = self.window.value[at], self.window.named[at] == NAMED
        out = value.astype(np.int32) if named.all() else np.zeros(len(value), np.int32)
        if not named.all():
            out[named] = value[named].astype(np.int32)
            distinct, first, inverse = np.unique(value[~named], return_index=True, return_inverse=True)
            codes = np.zeros(len(distinct), np.int32)
            for i in np.argsort(first).tolist():
                codes[i] = names.number(float(distinct[i]))
            out[~named] = codes[inverse]
        return out

    def predicted_codes(self, at: slice) -> npt.NDArray[np.int32]:
        """Codes of the predicted classes, of a binary model by its score where it names none; -1: unknown."""
        code, score = self.window.code[at].copy(), self.window.score[at]
        if self.task == "binary":
            scored = (code < 0) & ~np.isnan(score)
            code[scored] = np.where(score[scored] >= self.rules.threshold, self.positive, self.negative)
        return code

    def _errors(self, at: slice, lo: int, names: Names) -> npt.NDArray[Any]:
        """Errors of rows of the window: into the confusion counts, and to the reference or the detectors."""
        w = self.window
        if self.task == "regression":
            y = np.abs(w.score[at] - w.value[at])
            y[w.named[at] == NAMED] = np.nan
            y[np.isinf(y)] = np.nan
        else:
            true, predicted = self.label_codes(at, names), self.predicted_codes(at)
            known = predicted >= 0
            rows = (np.minimum(predicted[known], CLASSES), np.minimum(true[known], CLASSES))
            np.add.at(self.confusion, rows, 1)
            y = np.where(known, (predicted != true).astype(np.float64), np.nan)
        times = w.time[at]
        if self.reference is not None:
            if self.reference.numeric is not None:
                y[~np.isnan(y)] = mid_pit(self.reference.numeric, y[~np.isnan(y)])
            found = run_block(
                np.ascontiguousarray(y[None, :]), times.copy(), 0, len(y), self.plan, self.state
            )
            found["row"] += lo
            return found
        usable = ~np.isnan(y)
        if usable.any():
            self.errors.append(y[usable])
            self.error_times = [*self.error_times[:1], *times[usable][[0, -1]].tolist()]
            self.error_times = [self.error_times[0], self.error_times[-1]]
        return np.zeros(0, FINDING)

    # --- boundaries

    def reference_due(self) -> bool:
        """Whether the caller has to freeze the reference and to plan the channel."""
        return self.reference is None and sum(map(len, self.errors)) >= self.rules.reference_rows

    def freeze(self) -> ErrorReference:
        """The reference of the errors collected; they are forgotten."""
        y = np.concatenate(self.errors)
        numeric = None
        if self.task == "regression":
            knots, below, upto = (tuple(k.tolist()) for k in numeric_knots(y))
            at = tuple(np.quantile(y, QUANTILES).tolist())
            numeric = NumericReference(knots, below, upto, at, None, float(np.mean(y)), float(np.std(y)))
            y = mid_pit(numeric, y)
        channel = channel_reference("error", y, binary=numeric is None)
        first, last = self.error_times
        self.reference = ErrorReference(channel, numeric, first, last, last)
        self.errors, self.error_times = [], []
        return self.reference

    def _close(self, names: Names) -> None:
        """End the window: its statistics become the last ones."""
        at = slice(0, self.filled)
        time = self.window.time[at]
        self.number += 1
        self.last = WindowResult(
            self.number, self.filled, int(time.min()), int(time.max()), self.measure(at, names)
        )
        self.closed.append(ClosedWindow(self.last, self.task, self._pairs(at, names)))
        self.filled = 0

    def settle(self, names: Names) -> None:
        """Close a window that is full, so that its statistics show before the next row comes."""
        if self.filled >= self.rules.window_rows:
            self._close(names)

    # --- statistics

    def measure(self, at: slice, names: Names) -> dict[str, float]:
        """The statistics of rows of the window that make sense for the task."""
        w = self.window
        if self.task == "regression":
            p, y = w.score[at], w.value[at]
            usable = np.isfinite(p) & (w.named[at] != NAMED)
            if not usable.any():
                return {}
            found = scores.regression_sums(p[usable], y[usable])
            return _finite(dict(zip(NUMBER_STATISTICS, found, strict=True)))
        true, predicted = self.label_codes(at, names), self.predicted_codes(at)
        known = predicted >= 0
        out = {}
        if known.any():
            out = self._classes(true[known], predicted[known])
        if self.task == "binary":
            out |= self._scores(w.score[at], (true == self.positive).astype(np.uint8))
        return _finite(out)

    def _classes(self, true: npt.NDArray[np.int32], predicted: npt.NDArray[np.int32]) -> dict[str, float]:
        """Accuracy, and precision, recall and F1 of the positive class or as their means over the classes."""
        out = {"accuracy": int((true == predicted).sum()) / len(true)}
        if self.task == "binary":
            wanted = [self.positive]
        else:
            wanted = np.unique(np.concatenate((true, predicted))).tolist()
        sums = [0.0, 0.0, 0.0]
        for code in wanted:
            hit = int(((true == code) & (predicted == code)).sum())
            said, there = int((predicted == code).sum()), int((true == code).sum())
            sums[0] += hit / said if said else 0.0
            sums[1] += hit / there if there else 0.0
            sums[2] += 2 * hit / (said + there) if said + there else 0.0
        means = [total / len(wanted) for total in sums]
        return out | dict(zip(CLASS_STATISTICS[1:], means, strict=True))

    @staticmethod
    def _scores(score: F64, true: npt.NDArray[np.uint8]) -> dict[str, float]:
        usable = ~np.isnan(score)
        s, y = score[usable], true[usable]
        if not len(s):
            return {}
        out = {"auc": float(scores.auc(np.argsort(s, kind="stable"), s, y))}
        if ((s >= 0.0) & (s <= 1.0)).all():  # else the scores are no probabilities
            found = scores.probability_sums(s, y)
            out |= dict(zip(SCORE_STATISTICS[1:], map(float, found), strict=True))
        return out

    def _pairs(self, at: slice, names: Names) -> tuple[tuple[str, str, int], ...]:
        """Confusion counts of rows of the window, the most frequent first."""
        if self.task not in {"binary", "multiclass"}:
            return ()
        true, predicted = self.label_codes(at, names), self.predicted_codes(at)
        known = predicted >= 0
        pairs, counts = np.unique(np.stack((predicted[known], true[known])), axis=1, return_counts=True)
        found = (
            (names.name(p), names.name(t), n)
            for (p, t), n in zip(pairs.T.tolist(), counts.tolist(), strict=True)
        )
        return tuple(sorted(found, key=lambda pair: (-pair[2], pair[:2])))

    def totals(self, names: Names) -> dict[tuple[str, str], int]:
        """Confusion counts since the beginning: by (predicted, true) class."""
        found = zip(*np.nonzero(self.confusion), strict=True)
        pairs = ((int(p), int(t)) for p, t in found)

        def name(code: int) -> str:
            return names.name(code if code < CLASSES else NAMES_MAX)

        return {(name(p), name(t)): int(self.confusion[p, t]) for p, t in pairs}

    def error_window(self) -> tuple[int, float]:
        """Rows in the rolling window of the channel, and the mean of what it holds; (0, NaN): nothing yet."""
        ring, plan = self.state[0], self.plan[0]
        held = min(int(ring["ring_n"]), len(ring["ring"]))
        rows = held * int(plan["bucket"])
        return rows, float(ring["ring"][:held].sum() / rows) if rows else math.nan


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if math.isfinite(value)}


def warm() -> None:
    """Compile the kernels of the statistics with the types that they are called with."""
    p, y = np.zeros(2), np.zeros(2, np.uint8)
    scores.probability_sums(p, y)
    scores.auc(np.zeros(2, np.int64), p, y)
    scores.regression_sums(p, p)
    scores.add_probabilities(p, y, np.zeros(scores.PROBABILITY_SUMS))
    scores.add_errors(p, p, np.zeros(scores.ERROR_SUMS))
    scores.add_values(p, np.zeros(1))
