"""What a peer costs between its first event and its last, measured inside it; Meter.java does the same.

Start-up (imports, joining the group) is told apart, and so are the WARM events that come before the measured
ones; a chunk that begins before the end of the warm-up belongs to it. A call costs a fraction of a
microsecond, which only Faust pays once an event.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil


def cpu_seconds() -> float:
    """User and system time of this process, its threads and ended children."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def rss_peak_mb() -> float:
    """The most memory this process ever had resident, MB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) * 1024 / 1e6


@dataclass(frozen=True, slots=True)
class Task:
    """What a peer is told on its command line: BOOTSTRAP TOPIC WARM EVENTS."""

    bootstrap: str
    topic: str
    warm: int
    events: int

    @classmethod
    def from_argv(cls) -> Task:
        """Out of ``sys.argv``."""
        bootstrap, topic, warm, events = sys.argv[1:]
        return cls(bootstrap, topic, int(warm), int(events))


@dataclass
class Meter:
    """``before()`` and ``after(n)`` go around each chunk of n events until ``after`` says it was the last."""

    task: Task
    seen: int = 0
    _start: tuple[float, float] = (0.0, 0.0)  # seconds from the birth of the process, CPU seconds
    _first: tuple[float, float] = (0.0, 0.0)  # wall, CPU
    _skipped: int = 0
    _measuring: bool = False

    def before(self) -> None:
        """Before a chunk (or one event) is worked on."""
        if not self.seen:
            self._start = (time.time() - psutil.Process().create_time(), cpu_seconds())
        if not self._measuring and self.seen >= self.task.warm:
            self._first, self._skipped, self._measuring = (time.time(), cpu_seconds()), self.seen, True

    def after(self, count: int) -> bool:
        """After ``count`` events were worked on: whether everything asked for is done."""
        self.seen += count
        return self._measuring and self.seen - self._skipped >= self.task.events

    def result(self, detections: int) -> None:
        """Print one line of JSON, past whatever sits on ``sys.stdout`` (Faust turns that into log lines)."""
        wall, cpu = time.time() - self._first[0], cpu_seconds() - self._first[1]
        line = {
            "seen": self.seen,
            "events": self.seen - self._skipped,
            "wall_seconds": wall,
            "cpu_seconds": cpu,
            "start_seconds": self._start[0],
            "start_cpu_seconds": self._start[1],
            "rss_peak_mb": rss_peak_mb(),
            "detections": detections,
        }
        os.write(1, json.dumps(line).encode() + b"\n")
