"""Detectors of river beside our own, named for a signal in the configuration: the slow lane.

Owns: which channel each reads, its alarms, and its state in a snapshot. Its alarms are suspicions: they are
counted and stand in the signal's alerts. One that ``opens`` also has findings, as a channel of its own with a
negative number: an alarm opens, and so many values without one resolve. They run one value at a time in
Python (the cost: ``driftline config explain``). State is stored without pickle: plain attributes, deques and
random states of a detector of known structure are written into a fresh one. Invariant: everything depends on
the values and their order only. Must not know: budgets, episodes.
"""

from __future__ import annotations

import json
import math
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.config.river import is_binary, make
from driftline.detect.kernels.state import FINDING, KIND_OPEN, KIND_RESOLVE
from driftline.errors import MessageError
from driftline.records import F64, I64

DEFAULT_CHANNELS: Final = ("location", "rank")  # the first that a signal has
LAST: Final = 100  # values whose mean is told with an alarm: KSWIN's default window
NUMBERS: Final = 1 << 30  # of plug-ins; eight at most share a signal
STATE_MODULES: Final = ("river.drift.", "river.stats.")  # whose attributes are read and written


@dataclass(slots=True)
class Plugin:
    """One detector on one channel."""

    signal: str
    channel: str
    index: int  # of the channel in the layout
    name: str
    args: dict[str, Any]
    detector: Any
    binary: bool
    alarms: int = 0
    last_time: int = -1  # event time of the last alarm, ms
    last_before: int = -1  # before the last run
    run_alarms: list[tuple[int, int]] = field(default_factory=list)  # row and time of those of the last run
    opens: bool = False
    open: bool = False
    quiet: int = 0  # values since the last alarm
    last: deque[float] = field(default_factory=lambda: deque(maxlen=LAST))

    @classmethod
    def new(cls, signal: str, channel: str, index: int, name: str, args: Mapping[str, Any]) -> Plugin:
        """A fresh one.

        Raises:
            ValueError: see ``driftline.config.river.make``.
        """
        return cls(signal, channel, index, name, dict(args), make(name, args), is_binary(name))

    @property
    def number(self) -> int:
        """Its channel number in findings and episodes, negative; the same whatever else is configured."""
        return -1 - zlib.crc32(json.dumps(self.key()).encode()) % NUMBERS

    def run(self, y: F64, times: I64, lo: int, hi: int, quiet_max: int) -> npt.NDArray[Any]:
        """Feed rows lo..hi of its channel; returns its findings, none unless it ``opens``.

        ``quiet_max``: values without an alarm after which it resolves.
        """
        self.run_alarms, self.last_before = [], self.last_time
        found = []
        for i in (np.flatnonzero(~np.isnan(y[self.index, lo:hi])) + lo).tolist():
            value = float(y[self.index, i])
            self.detector.update(value == 1.0 if self.binary else value)
            if self.detector.drift_detected:
                self.alarms += 1
                self.last_time = int(times[i])
                self.run_alarms.append((i, self.last_time))
            if self.opens:
                kind = self._follow(value, alarmed=self.detector.drift_detected, quiet_max=quiet_max)
                found += [self.finding(i, kind, int(times[i]))] if kind else []
        return np.array(found, FINDING)

    def _follow(self, value: float, *, alarmed: bool, quiet_max: int) -> int:
        """Take a value; returns KIND_OPEN, KIND_RESOLVE or 0."""
        self.last.append(value)
        self.quiet = 0 if alarmed else self.quiet + 1
        if alarmed and not self.open:
            self.open = True
            return KIND_OPEN
        if self.open and self.quiet >= quiet_max:
            self.open = False
            return KIND_RESOLVE
        return 0

    def finding(self, row: int, kind: int, time: int) -> Any:
        """A finding now: it knows no onset, and its mean is that of the last values."""
        mean = math.fsum(self.last) / max(len(self.last), 1)
        return bare_finding(row, self.number, kind, time, mean, self.quiet)

    def seen(self, row: int) -> dict[str, Any]:
        """Its alarms up to a row of the last run, which may have gone on beyond it: for an alert."""
        count = self.alarms - sum(at > row for at, _ in self.run_alarms)
        times = [time for at, time in self.run_alarms if at <= row]
        before = self.last_before if count else -1
        return {
            "detector": self.name,
            "channel": self.channel,
            "alarms": count,
            "last": times[-1] if times else before,
        }

    def key(self) -> list[Any]:
        """What its state belongs to: the same setting on the same channel."""
        return [self.signal, self.channel, self.name, self.args]

    def to_json(self) -> dict[str, Any]:
        """State for the snapshot."""
        return {
            "key": self.key(),
            "alarms": self.alarms,
            "last_time": self.last_time,
            "state": dump(self.detector),
            "open": self.open,
            "quiet": self.quiet,
            "last": list(self.last),
        }

    def restore(self, body: Mapping[str, Any]) -> None:
        """Take over a stored state.

        Raises:
            MessageError: the detector has another structure, as of another version of river.
        """
        load(self.detector, body["state"])
        self.alarms, self.last_time = body["alarms"], body["last_time"]
        self.open, self.quiet = bool(body.get("open", False)), int(body.get("quiet", 0))
        self.last = deque(map(float, body.get("last", ())), maxlen=LAST)  # not stored before it could open


def bare_finding(row: int, number: int, kind: int, time: int, mean: float, updates: int) -> Any:
    """A finding of a plug-in's channel: no statistic of ours is behind it."""
    found = np.zeros(1, FINDING)[0]
    found["row"], found["channel"], found["kind"], found["onset_time"] = row, number, kind, time
    found["mean"] = found["window_mean"] = mean
    found["updates"] = updates
    for name in ("e_value", "confirm_value", "adwin_stat", "adwin_bound", "ph_stat", "reported"):
        found[name] = math.nan
    return found


def dump(value: Any) -> Any:
    """A detector or a part of it, JSON-ready; exact.

    Raises:
        MessageError: it holds something whose state cannot be read.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, (deque, list)):
        return {"list": [dump(v) for v in value]}
    kind = type(value)
    if kind.__module__ == "random":
        version, words, gauss = value.getstate()
        return {"random": [version, list(words), gauss]}
    if kind.__qualname__ == "EWMean":  # its state is in compiled code: a mean and the factor
        return {"ewmean": dump(value.get())}
    if kind.__module__.startswith(STATE_MODULES):
        return {"object": {k: dump(v) for k, v in vars(value).items() if not callable(v)}}
    raise MessageError(f"a {kind.__qualname__} of {kind.__module__} cannot be stored.")


def load(into: Any, stored: Any) -> Any:
    """The stored value; objects, deques and random states are restored in place, in a fresh detector.

    Raises:
        MessageError: the structures differ.
    """
    if not isinstance(stored, Mapping):
        return stored
    ((tag, body),) = stored.items()
    kind = type(into)
    if tag == "float":
        return float(body)
    if tag == "list" and isinstance(into, (deque, list)):
        into.clear()
        into.extend(load(None, v) for v in body)
        return into
    if tag == "random" and kind.__module__ == "random":
        into.setstate((body[0], tuple(body[1]), body[2]))
        return into
    if tag == "ewmean" and kind.__qualname__ == "EWMean":
        fresh = kind(into.fading_factor)
        if body != 0.0:
            fresh.update(load(None, body))  # the first value is the mean
        return fresh
    if tag == "object" and kind.__module__.startswith(STATE_MODULES):
        for name, part in body.items():
            if name not in vars(into):
                raise MessageError(f"stored state of river's {kind.__qualname__} has no place for {name!r}.")
            setattr(into, name, load(getattr(into, name), part))
        return into
    raise MessageError(f"stored state of a river detector does not fit: {tag} into {kind.__qualname__}.")
