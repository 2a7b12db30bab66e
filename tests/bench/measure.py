"""Measuring a running `driftline run` from outside: CPU and memory from the kernel, rows from /metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from harness.workers import Worker

POLL_SECONDS: Final = 0.2
PROGRESS: Final = {"detect": "driftline_rows_applied_total", "ingest": "driftline_events_accepted_total"}


@dataclass(frozen=True, slots=True)
class Sample:
    """One look: monotonic seconds, CPU seconds and resident bytes of all processes, rows since the start."""

    at: float
    cpu: float
    rss: int
    rows: int
    open: bool  # still working: not everything is done and committed


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took between its first event and its last checkpoint; start-up told separately."""

    events: int
    cpu_us: float  # an event
    rate: float  # events a second of wall time, up to the last event applied
    start_seconds: float
    start_cpu_seconds: float
    rss_first_mb: float = 0.0  # at 10 % of the events
    rss_last_mb: float = 0.0  # at 100 %
    rss_curve_mb: tuple[float, ...] = ()  # at 10, 20 ... 100 %: a leak rises steadily, a plateau does not
    rss_peak_mb: float = 0.0
    seen: int = 0  # warm-up included
    detections: int | None = (
        None  # of a peer, over all it saw: the work was done; Driftline's rows are counted
    )

    def to_dict(self) -> dict[str, Any]:
        """For the results file."""
        return asdict(self)

    @classmethod
    def of_peer(cls, result: Mapping[str, Any]) -> Cost:
        """From the line that a peer prints (peers/meter.py)."""
        return cls(
            events=result["events"],
            cpu_us=result["cpu_seconds"] / result["events"] * 1e6,
            rate=result["events"] / result["wall_seconds"],
            start_seconds=result["start_seconds"],
            start_cpu_seconds=result["start_cpu_seconds"],
            rss_peak_mb=result["rss_peak_mb"],
            seen=result["seen"],
            detections=result["detections"],
        )


def rows_done(metrics: dict[str, dict[str, float]], role: str) -> int:
    """Rows by which a worker has advanced since it started; 0 while its page does not answer."""
    return int(sum(metrics.get(PROGRESS[role], {}).values()))


@dataclass
class Watch:
    """Samples a worker until ``done()`` (asked of the broker) holds after the last row."""

    worker: Worker
    expected: int
    role: str = "detect"
    samples: list[Sample] = field(default_factory=list)

    async def run(self, done: Callable[[], bool], seconds_max: float) -> None:
        """Sample until every row is applied and committed.

        Raises:
            TimeoutError: it took too long.
            RuntimeError: the worker ended.
        """
        begin = time.monotonic()
        working = True
        while working:
            self.worker.check()
            rows = rows_done(await asyncio.to_thread(self.worker.metrics), self.role)
            usage = self.worker.usage()
            working = rows < self.expected or not await asyncio.to_thread(done)
            self.samples.append(Sample(time.monotonic(), usage.cpu, usage.rss, rows, working))
            if time.monotonic() - begin > seconds_max:
                raise TimeoutError(
                    f"{rows} of {self.expected} rows in {seconds_max:.0f} s, see {self.worker.log}"
                )
            await asyncio.sleep(POLL_SECONDS)

    def _rss_at(self, share: float) -> float:
        return next(s.rss for s in self.samples if s.rows >= self.expected * share) / 1e6

    def cost(self) -> Cost:
        """Between the first sample that saw rows and the end; those first rows do not count as work."""
        first = next(s for s in self.samples if s.rows > 0)
        applied = next(s for s in self.samples if s.rows >= self.expected)
        last = self.samples[-1]
        events = self.expected - first.rows
        if events < self.expected // 2:
            raise RuntimeError(
                f"only {events} of {self.expected} rows fell between two samples: too few to measure"
            )
        tenth = next(s for s in self.samples if s.rows >= self.expected // 10)
        return Cost(
            events=events,
            cpu_us=(last.cpu - first.cpu) / events * 1e6,
            rate=events / (applied.at - first.at),
            start_seconds=first.at - self.worker.started,
            start_cpu_seconds=first.cpu,
            rss_first_mb=tenth.rss / 1e6,
            rss_last_mb=last.rss / 1e6,
            rss_curve_mb=tuple(self._rss_at(share / 10) for share in range(1, 11)),
            rss_peak_mb=max(s.rss for s in self.samples) / 1e6,
        )
