"""What the output topics say, folded: models, their signals, episodes and performance, for pages.

Owns: the meaning of alerts and reports put together, within bounds. Both ``driftline report`` and the console
are drawn from it. Invariants: the same records in the same order of each topic give the same
history, and a record twice is a record once; a record that is not what its schema says is counted and changes
nothing; memory is bounded by ``Bounds``. Must not know: Kafka, HTML, clocks. Nothing in it was made safe to
show: names and texts are as they were on the topic.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.publish.windows import (
    SIGNALS_MAX,
    PerformanceWindow,
    Window,
    is_count,
    performance_window,
    signal_windows,
    time_of,
)
from driftline.records import SEVERITIES

# Statistics whose course over the windows is kept; the others are in the latest window.
TRACED: Final = ("psi", "jensen_shannon_distance", "ks_distance", "wasserstein_distance")
MISSING: Final = len(TRACED)  # the column after them
WINDOWS_MIN: Final = 8  # whose course is kept, however many signals a model has
RECENT: Final = 16  # reports whose repetition is noticed: a reader that begins again overlaps by a few
ALERT_PREFIX: Final = "driftline.alert."


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept. A model of 20 signals takes 0.5 MB when everything is full."""

    models: int = 4_000
    points: int = 2_000  # of a model: windows times signals; at least WINDOWS_MIN windows
    episodes: int = 20  # past ones of a model; open ones are all kept, they are at most one a signal
    windows: int = 100  # of performance, and of signals whatever their number


@dataclass(slots=True)
class SignalHistory:
    """The latest window of a signal, and the one that differed most."""

    latest: Window
    worst: Window


@dataclass(frozen=True, slots=True)
class Point:
    """All signals of a model in one window, as far as their course is kept."""

    time_ms: int
    names: tuple[str, ...]  # shared between points
    values: npt.NDArray[np.float32]  # (signals, TRACED and missing), NaN where there is none


@dataclass(slots=True)
class Episode:
    """One abnormal period, put together from its alerts. ``alert`` is the newest that is not a resolution."""

    signal: str
    number: int
    severity: str
    opened_ms: int
    onset_ms: int | None
    summary: str  # of the opening, else of the first alert that was seen
    alert: Mapping[str, Any]
    sequence: int
    last_ms: int
    resolved_ms: int | None = None
    resolution: str = ""


@dataclass(slots=True)
class ModelHistory:
    """One model."""

    name: str
    signals: dict[str, SignalHistory] = field(default_factory=dict)
    points: deque[Point] = field(default_factory=deque)
    open: dict[str, Episode] = field(default_factory=dict)  # by signal
    past: deque[Episode] = field(default_factory=deque)  # in order of resolution
    performance: deque[PerformanceWindow] = field(default_factory=deque)
    opened: int = 0
    first_ms: int | None = None  # event time of the first and last record
    last_ms: int = 0
    reports: deque[str] = field(default_factory=deque)  # ids of the last ones
    dropped: int = 0  # windows and past episodes that had no room

    @property
    def severity(self) -> str | None:
        """The worst of its open episodes."""
        return max((e.severity for e in self.open.values()), key=SEVERITIES.index, default=None)

    def episodes(self) -> list[Episode]:
        """All of them by opening."""
        return sorted([*self.past, *self.open.values()], key=lambda e: (e.opened_ms, e.signal))

    def ranked(self) -> list[str]:
        """Signals, those with an episode first and by severity, then by the PSI of the latest window."""

        def rank(name: str) -> tuple[int, float, str]:
            episode = self.open.get(name)
            level = -1 if episode is None else SEVERITIES.index(episode.severity)
            return -level, -self.signals[name].latest.psi, name

        return sorted(self.signals, key=rank)

    def course(self, signal: str, column: int) -> list[tuple[int, float]]:
        """A statistic of a signal over the windows: (end of the window, value)."""
        out = []
        for point in self.points:
            if signal in point.names:
                value = float(point.values[point.names.index(signal), column])
                if math.isfinite(value):
                    out.append((point.time_ms, value))
        return out


class History:
    """The fold. ``add`` takes the JSON objects of the alerts and reports topics."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.models: dict[str, ModelHistory] = {}
        self.unusable = 0  # records that are not what they should be
        self.refused = 0  # records of models that had no room

    def add(self, data: Mapping[str, Any]) -> ModelHistory | None:
        """Fold one record; returns the model that it changed."""
        name, time = data.get("model"), time_of(data.get("time"))
        alert = str(data.get("type", "")).startswith(ALERT_PREFIX)
        if not isinstance(name, str) or time is None or not (alert or "window" in data):
            self.unusable += 1
            return None
        model = self.models.get(name) or ModelHistory(name)
        if alert:
            changed = self._alert(model, data, time)
        elif data.get("id") in model.reports:
            return None
        elif data.get("kind", "signals") == "performance":
            changed = self._performance(model, data)
        else:
            changed = self._signals(model, data, time)
        if changed is None:
            self.unusable += 1
        if not changed:
            return None
        if name not in self.models:
            if len(self.models) >= self.bounds.models:
                self.refused += 1
                return None
            self.models[name] = model
        if not alert:
            model.reports.append(str(data.get("id")))
            _trim(model.reports, RECENT)
        model.first_ms = time if model.first_ms is None else min(model.first_ms, time)
        model.last_ms = max(model.last_ms, time)
        return model

    # --- each says whether it changed anything, None for a record that is not what it should be

    def _alert(self, model: ModelHistory, data: Mapping[str, Any], time: int) -> bool | None:
        signal, severity, opened = data.get("signal"), data.get("severity"), time_of(data.get("opened_at"))
        number, sequence = data.get("episode"), data.get("sequence")
        if not isinstance(signal, str) or severity not in SEVERITIES or opened is None:
            return None
        if not is_count(number) or not is_count(sequence):
            return None
        summary, resolved = str(data.get("summary", "")), data.get("state") == "resolved"
        known = model.open.get(signal)
        if known is not None and (known.number, known.opened_ms) != (number, opened):
            if opened < known.opened_ms:
                return False  # of an episode before it, read again
            self._end(model, known, opened, "")  # its end was not seen: it is over all the same
            known = None
        if known is None:
            if any((e.signal, e.number, e.opened_ms) == (signal, number, opened) for e in model.past):
                return False
            if len(model.open) >= SIGNALS_MAX:
                return None
            onset = time_of(data.get("onset"))
            known = Episode(signal, number, severity, opened, onset, summary, data, -1, time)
            model.open[signal] = known
            model.opened += 1
        if sequence < known.sequence or (sequence == known.sequence and not resolved):
            return False
        known.sequence, known.last_ms = sequence, max(known.last_ms, time)
        if resolved:
            self._end(model, known, time, summary)
        else:
            known.severity, known.alert = severity, data
        return True

    def _end(self, model: ModelHistory, episode: Episode, time: int, summary: str) -> None:
        episode.resolved_ms, episode.resolution = time, summary
        del model.open[episode.signal]
        model.past.append(episode)
        model.dropped += _trim(model.past, self.bounds.episodes)

    def _signals(self, model: ModelHistory, data: Mapping[str, Any], time: int) -> bool | None:
        found = signal_windows(data)
        if found is None:
            return None
        for name, window in found.items():
            before = model.signals.get(name)
            worst = window if before is None or window.psi >= before.worst.psi else before.worst
            model.signals[name] = SignalHistory(window, worst)
        for gone in model.signals.keys() - found.keys():  # a new reference has other signals
            del model.signals[gone]
        rows = [[*(w.statistics.get(k, math.nan) for k in TRACED), w.missing] for w in found.values()]
        names = tuple(found)
        if model.points and model.points[-1].names == names:
            names = model.points[-1].names
        with np.errstate(over="ignore"):  # what is beyond float32 is drawn nowhere
            values = np.array(rows, np.float64).astype(np.float32).reshape(len(found), MISSING + 1)
        model.points.append(Point(time, names, values))
        fits = max(self.bounds.points // max(len(names), 1), WINDOWS_MIN)
        model.dropped += _trim(model.points, min(fits, self.bounds.windows))
        return True

    def _performance(self, model: ModelHistory, data: Mapping[str, Any]) -> bool | None:
        window = performance_window(data)
        if window is None:
            return None
        model.performance.append(window)
        model.dropped += _trim(model.performance, self.bounds.windows)
        return True


def fold(records: Iterable[Mapping[str, Any]], bounds: Bounds | None = None) -> History:
    """The history of records."""
    history = History(bounds)
    for data in records:
        history.add(data)
    return history


def _trim(items: deque[Any], most: int) -> int:
    over = max(len(items) - most, 0)
    for _ in range(over):
        items.popleft()
    return over
