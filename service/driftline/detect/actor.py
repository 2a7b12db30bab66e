"""An actor: all state of one model, as plain data and pure functions.

``apply`` takes rows and returns findings; what to do at a boundary (freeze, end of warm-up, new thresholds)
is decided by the caller, who asks ``rows_to_boundary`` first, so that no result depends on how rows were cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels.channels import update_recent
from driftline.detect.kernels.engine import run_block, tau_live, warm_channels
from driftline.detect.kernels.state import new_state, new_warmup
from driftline.detect.kernels.windows import count_window
from driftline.detect.plugins import Plugin
from driftline.detect.rate import Rate
from driftline.detect.reference import (
    ROWS_MIN,
    TAU_MAX,
    RawColumn,
    Reference,
    SignalReference,
    signal_reference,
)
from driftline.detect.rows import LearningRows
from driftline.detect.signals import CategoryCodes, Layout
from driftline.detect.windows import Window
from driftline.records import F64, FEATURES_MAX, I64, Block, Source, Tag

RECENT: Final = 256  # values of each signal kept as evidence (2 KB a signal)
RECENT_MIN: Final = 30  # values shown as current even when the change is younger
RATE_CHECK_ROWS: Final = 4_096
SEGMENT_ROWS_MAX: Final = 2_048  # rows a kernel call: 60 channels of them fit the second-level cache
WARM_ROWS_MIN: Final = 500
WARM_ROWS_MAX: Final = 5_000
WARM_BLOCKS_MIN: Final = 8  # fewer block means say nothing about autocorrelation
LATER_VALUES_MIN: Final = 200  # a feature that appears later is watched if its first rows had so many values
WEEK_MS: Final = 7 * 24 * 3600 * 1000

Findings = npt.NDArray[Any]


class Phase(StrEnum):
    """Where an actor stands."""

    QUEUED = "queued"  # waits until fewer models learn at once
    LEARNING = "learning"
    WARMING = "warming"  # has a reference from a file and reads autocorrelation and rate from live rows
    ACTIVE = "active"


@dataclass(slots=True)
class Detection:
    """Everything that exists once a reference is frozen. S signals, C channels."""

    layout: Layout
    plan: npt.NDArray[Any]  # CHANNEL_PLAN (C,)
    state: npt.NDArray[Any]  # CHANNEL_STATE (C,)
    warm: npt.NDArray[Any]  # WARMUP (C,)
    tau_live: F64  # (C,)
    codes: list[CategoryCodes | None]
    recent: F64  # (S, RECENT) ring of every stride-th value
    recent_n: npt.NDArray[np.int64]  # (1,) rows seen
    stride: npt.NDArray[np.int64]  # (S,), follows from the plan
    mismatches: npt.NDArray[np.int64]  # (S,) cells of another type than the reference's
    warm_rows: int  # rows left of the warm-up
    run_length: float  # A in force
    window: Window
    later_run_length: float = 0.0  # that of features which appeared later
    active_rows: int = 0  # rows since active
    plugins: list[Plugin] = field(default_factory=list)
    rate: Rate | None = None


@dataclass(slots=True)
class Applied:
    """What a run of rows gave: findings in row order, and the values behind them."""

    findings: Findings
    traffic: Findings  # of the rate's two channels
    values: F64  # (S, hi) by row of the block: a numeric value or a category code, NaN when missing
    lo: int  # rows lo..hi of the block were applied
    hi: int
    next_window: tuple[F64, F64] | None = None  # channels and values of a row past the end of the window


@dataclass(slots=True)
class Actor:
    """One model. ``rows`` counts every row ever applied; times are event times in ms."""

    model: str
    phase: Phase
    learning_rows: int
    rows: int = 0
    last_time: int = -1  # largest event time seen
    version: str | None = None
    source_rows: dict[Source, int] = field(default_factory=dict)
    window_rows: int = 8_192
    window_ms: int = 0  # 0: windows end by their rows only
    learning: LearningRows | None = None
    later: LearningRows | None = None  # first rows of features that the reference does not have
    detection: Detection | None = None
    dismissed: int = 0
    # (rows, time) pairs from which the event rate is read; the older one is a week back when it can be
    rate_marks: list[tuple[int, int]] = field(default_factory=list)
    labelled: bool = False  # its labels are joined: errors are a source of the budget too

    def rows_to_boundary(self, block: Block, lo: int, hi: int) -> int:
        """How many of rows lo..hi may be applied in one go."""
        return min(hi - lo, self._rows_to_boundary(block, lo, hi))

    def _rows_to_boundary(self, block: Block, lo: int, hi: int) -> int:
        d = self.detection
        match self.phase:
            case Phase.QUEUED:
                return 1 << 62
            case Phase.LEARNING:
                return self.learning_rows - (len(self.learning) if self.learning else 0)
            case Phase.WARMING:
                return d.warm_rows if d else 0
            case Phase.ACTIVE:
                if d is None:
                    return 0
                done = d.active_rows
                room = min(
                    RATE_CHECK_ROWS - done % RATE_CHECK_ROWS,
                    SEGMENT_ROWS_MAX - done % SEGMENT_ROWS_MAX,
                    max(self.window_rows - d.window.rows, 1),  # 1: the setting was lowered meanwhile
                )
                d.window.time.length_ms = self.window_ms  # a setting: it is not stored
                room = max(d.window.time.rows_to_end(block.event_time[lo : min(hi, lo + room)]), 1)
                if self.later is not None:
                    return min(room, self.learning_rows - len(self.later))
                first = _first_unknown(d.layout, block, lo, min(hi, lo + room))
                return min(room, self.learning_rows if first == lo else first - lo)

    def at_boundary(self) -> bool:
        """Whether the caller has something to decide now."""
        d = self.detection
        match self.phase:
            case Phase.QUEUED:
                return False
            case Phase.LEARNING:
                return self.learning is not None and len(self.learning) >= self.learning_rows
            case Phase.WARMING:
                return d is not None and d.warm_rows <= 0
            case Phase.ACTIVE:
                return d is not None and (self.rate_due() or self.later_complete())

    def rate_due(self) -> bool:
        """Whether the event rate has to be read again now."""
        d = self.detection
        return d is not None and d.active_rows > 0 and d.active_rows % RATE_CHECK_ROWS == 0

    def later_complete(self) -> bool:
        """Whether features that appeared later have been seen long enough to freeze them."""
        return self.later is not None and len(self.later) >= self.learning_rows

    def window_full(self) -> bool:
        """Whether the window is complete by its rows."""
        return self.detection is not None and self.detection.window.rows >= self.window_rows

    def count_next(self, applied: Applied, block: Block) -> None:
        """Begin the window of the row that was past the end of the one before."""
        d = self.detection
        if d is not None and applied.next_window is not None:
            d.window.time.move(int(block.event_time[applied.lo]))
            times = block.event_time[applied.lo : applied.hi]
            self._count(d, times, *applied.next_window, 0, len(times))

    def _count(self, d: Detection, times: I64, y: F64, x: F64, lo: int, hi: int) -> None:
        """Rows lo..hi into the window: what values are, whatever is usual at their hour."""
        window, layout = d.window, d.layout
        for a, b in window.time.take(times, lo, hi):
            count_window(y, x, a, b, layout.specs, layout.bins.start, window.counts, window.missing)
            if window.rows == 0:
                window.first_time = int(times[a])
            window.rows += b - a

    def apply(self, block: Block, lo: int, hi: int) -> Applied | None:
        """Apply rows lo..hi, at most ``rows_to_boundary()``; None when nothing can have been found."""
        n = hi - lo
        self.pass_over(block, lo, hi)
        if self.phase is Phase.LEARNING:
            if self.learning is None:
                self.learning = LearningRows()
            self.learning.append(block, lo, hi)
        elif self.detection is not None and self.phase is Phase.WARMING:
            y, x = self._derive(self.detection, block, lo, hi)
            self.detection.layout.seasons.apply(y, block.event_time, lo, hi)
            warm_channels(y, lo, hi, warm_blocks(self.detection.layout), self.detection.warm)
            d = self.detection
            update_recent(d.recent, d.recent_n, d.stride, x, lo, hi)
            self.detection.warm_rows -= n
        elif self.detection is not None and self.phase is Phase.ACTIVE:
            return self._detect(self.detection, block, lo, hi)
        return None

    def pass_over(self, block: Block, lo: int, hi: int) -> None:
        """Count rows lo..hi without looking at their values."""
        if not self.rate_marks:
            self.rate_marks.append((self.rows, int(block.event_time[lo])))
        self.rows += hi - lo
        self.last_time = max(self.last_time, int(block.event_time[lo:hi].max()))
        version = int(block.version[hi - 1])
        self.version = block.versions[version] if version >= 0 else None

    def _derive(self, d: Detection, block: Block, lo: int, hi: int) -> tuple[F64, F64]:
        return d.layout.derive(block, d.codes, d.mismatches, lo, hi)

    def _detect(self, d: Detection, block: Block, lo: int, hi: int) -> Applied:
        y, x = self._derive(d, block, lo, hi)
        over = d.window.time.is_over(int(block.event_time[lo]))
        next_window = (y[:, lo:hi].copy(), x[:, lo:hi].copy()) if over else None  # of one row
        if not over:
            self._count(d, block.event_time, y, x, lo, hi)
        d.layout.seasons.apply(y, block.event_time, lo, hi)
        found = run_block(y, block.event_time, lo, hi, d.plan, d.state)
        traffic = found[:0] if d.rate is None else d.rate.run(block.event_time, lo, hi)
        for plugin in d.plugins:
            plan = d.plan[plugin.index]
            quiet = int(plan["window"]) * int(plan["b"])  # as long as the channel's own window
            others = plugin.run(y, block.event_time, lo, hi, quiet)
            if len(others):
                found = np.concatenate((found, others))
                found = found[np.argsort(found["row"], kind="stable")]
        d.active_rows += hi - lo
        if self.later is None and _first_unknown(d.layout, block, lo, lo + 1) == lo:
            self.later = LearningRows()
        if self.later is not None:
            self.later.append(block, lo, hi, d.layout.unknown_columns(block))
        return Applied(found, traffic, x, lo, hi, next_window)

    def keep_recent(self, applied: Applied) -> None:
        """Move the values of a run into the rings, after its findings were dealt with."""
        if self.detection is not None:
            d = self.detection
            update_recent(d.recent, d.recent_n, d.stride, applied.values, applied.lo, applied.hi)

    def recent_values(self, signal: int, applied: Applied, row: int, rows: int) -> F64:
        """The kept values of a signal among the last ``rows`` rows up to a row of the run, oldest first.

        At least RECENT_MIN and at most RECENT of them, as far as there are so many.
        """
        d = self.detection
        if d is None:
            return np.zeros(0)
        stride, seen = int(d.stride[signal]), int(d.recent_n[0])
        wanted = min(max(rows // stride, RECENT_MIN), RECENT)
        now = applied.values[signal, applied.lo + (-seen) % stride : row + 1 : stride]
        if len(now) >= wanted:
            return now[-wanted:]
        written = -(-seen // stride)
        at = written % RECENT
        ring = d.recent[signal]
        before = np.concatenate([ring[at:], ring[:at]]) if written >= RECENT else ring[:at]
        need = min(wanted - len(now), len(before))
        return np.concatenate([before[len(before) - need :], now])

    def events_per_week(self) -> float:
        """Event rate from the marks; 0.0 while no time has passed."""
        if not self.rate_marks:
            return 0.0
        rows, time = self.rate_marks[0]
        return (self.rows - rows) * WEEK_MS / (self.last_time - time) if self.last_time > time else 0.0

    def mark_rate(self) -> None:
        """Let the older mark follow, so that the rate is read over one to two weeks of events."""
        now = (self.rows, self.last_time)
        if len(self.rate_marks) < 2:
            self.rate_marks.append(now)
        elif self.last_time - self.rate_marks[1][1] >= WEEK_MS:
            self.rate_marks = [self.rate_marks[1], now]


def _first_unknown(layout: Layout, block: Block, lo: int, hi: int) -> int:
    """First of rows lo..hi with a value in a column that no signal reads; hi when there is none."""
    unknown = layout.unknown_columns(block) if len(layout.signals) < FEATURES_MAX else []
    if not unknown:
        return hi
    tags = block.tags[unknown, lo:hi]
    seen = ((tags == Tag.NUMBER) | (tags == Tag.STRING) | (tags == Tag.BOOL)).any(axis=0)
    return lo + int(seen.argmax()) if seen.any() else hi


def later_signals(rows: LearningRows, known: int) -> list[SignalReference]:
    """References of the features whose first rows these are, each from its own first value on.

    A feature that began in the second half, or had few values, is left out: its next value begins anew.
    """
    table = rows.all()
    out: list[SignalReference] = []
    for i in sorted(range(len(table.columns)), key=lambda i: table.columns[i][:2]):
        kind, name, strings = table.columns[i]
        valued = np.isin(table.tags[i], (Tag.NUMBER, Tag.STRING, Tag.BOOL))
        first = int(valued.argmax())
        enough = len(table) - first >= max(ROWS_MIN, len(table) // 2)
        if not enough or int(valued.sum()) < LATER_VALUES_MIN or known + len(out) >= FEATURES_MAX:
            continue
        made = signal_reference(
            RawColumn(kind, name, table.tags[i][first:], table.values[i][first:], strings)
        )
        if made is not None:
            out.append(replace(made, later=True))
    return out


def warm_rows(reference: Reference) -> int:
    """Length of the warm-up of a reference from a file, in rows."""
    return min(max(reference.rows // 4, WARM_ROWS_MIN), WARM_ROWS_MAX)


def warm_blocks(layout: Layout) -> npt.NDArray[np.int64]:
    """Block size of the warm-up's means: floor(sqrt n_warm), the same for all channels. Shape (C,)."""
    size = int(np.sqrt(warm_rows(layout.reference)))
    return np.full(len(layout.channels), size, dtype=np.int64)


def live_tau(layout: Layout, warm: npt.NDArray[Any], b0: npt.NDArray[np.int64]) -> F64:
    """tau_live of each channel within 1..64; 1.0 where there were too few blocks to tell. Shape (C,).

    ``range`` has at least that of its ``location``, as in a reference: values beyond the range are too rare
    in a warm-up to show that they come together.
    """
    out = np.clip(tau_live(warm, b0), 1.0, TAU_MAX)
    out[warm["blocks"] < WARM_BLOCKS_MIN] = 1.0
    for first, signal in zip(layout.specs["first_channel"].tolist(), layout.signals, strict=True):
        at = {c.name: i for i, c in enumerate(signal.channels, first)}
        if "range" in at:
            out[at["range"]] = max(out[at["range"]], out[at["location"]])
    return out


def strides(layout: Layout, plan: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Every how many rows a value is kept: a sixteenth of the longest block, so RECENT cover 16 blocks."""
    blocks = np.maximum.reduceat(plan["b"], layout.specs["first_channel"])
    return np.asarray(np.maximum(1, blocks // 16), dtype=np.int64)


def restart_rings(d: Detection) -> None:
    """The plan has changed the strides: forget what was kept under the former ones."""
    d.stride = strides(d.layout, d.plan)
    d.recent[:] = np.nan
    d.recent_n[0] = 0


def restart_signal(d: Detection, name: str) -> None:
    """Let the detectors of a signal start from zero; this window says nothing of it any more."""
    index = [s.signal for s in d.layout.signals].index(name)
    first = int(d.layout.specs[index]["first_channel"])
    channels = len(d.layout.signals[index].channels)
    d.state[first : first + channels] = new_state(channels)
    d.window.open[index] = d.window.home[index] = 0
    d.window.tainted = sorted({*d.window.tainted, name})


def new_detection(
    reference: Reference, plan: npt.NDArray[Any], *, warming: bool, run_length: float
) -> Detection:
    """Detection from zero under a reference."""
    layout = Layout(reference)
    signals, channels = len(layout.signals), len(layout.channels)
    return Detection(
        layout,
        plan,
        new_state(channels),
        new_warmup(channels),
        np.ones(channels),
        layout.new_codes(),
        np.full((signals, RECENT), np.nan),
        np.zeros(1, dtype=np.int64),
        strides(layout, plan),
        np.zeros(signals, dtype=np.int64),
        warm_rows(reference) if warming else 0,
        run_length,
        Window.new(layout.bins),
        rate=None if reference.rate is None else Rate.new(reference.rate),
    )


def extend_detection(d: Detection, reference: Reference, plan: npt.NDArray[Any]) -> Detection:
    """The same detection with signals behind the others; ``plan`` is that of all channels."""
    more = new_detection(reference, plan, warming=False, run_length=d.run_length)
    channels, signals = len(d.plan), len(d.mismatches)
    more.state[:channels], more.warm[:channels], more.tau_live[:channels] = d.state, d.warm, d.tau_live
    more.codes[:signals] = d.codes
    more.recent[:signals], more.stride[:signals] = d.recent, d.stride
    more.mismatches[:signals] = d.mismatches
    more.recent_n = d.recent_n
    more.window = d.window.extended(more.layout.bins)
    more.active_rows, more.plugins, more.rate = d.active_rows, d.plugins, d.rate
    return more
