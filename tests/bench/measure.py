"""Measuring a running `driftline run` from outside: CPU and memory from the kernel, rows from /metrics."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from harness.workers import Worker

POLL_SECONDS: Final = 0.2
# What a worker logs just before it can read its first event, by the stage that reads first.
BEGINS: Final = {"ingest": "raw partitions assigned", "detect": "mailbox partitions taken over"}
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
    role: str = "detect"  # whose rows count as progress
    first: str = "ingest"  # which stage reads the first event
    samples: list[Sample] = field(default_factory=list)
    _log_begin: int = field(init=False)

    def __post_init__(self) -> None:
        self._log_begin = self.worker.log.stat().st_size

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

    def _began_at(self) -> float:
        """When the worker could read its first event, monotonic seconds, from its log.

        The page of metrics will not do: it is up to a second old, and stage 1 runs ahead of the rows applied:
        work on events that count would be taken for start-up.
        """
        with self.worker.log.open("rb") as log:
            log.seek(self._log_begin)
            lines = [json.loads(line) for line in log if line.startswith(b"{")]
        line = next((line for line in lines if line["message"] == BEGINS[self.first]), None)
        if line is None:
            raise RuntimeError(f"no line {BEGINS[self.first]!r} in {self.worker.log}")
        wall = datetime.fromisoformat(line["time"]).timestamp()
        return wall - (time.time() - time.monotonic())

    def cost(self) -> Cost:
        """From the last sample before the first event could be read to the end, which counts against us."""
        began = self._began_at()
        first = next(s for s in reversed(self.samples) if s.at < began)
        applied = next(s for s in self.samples if s.rows >= self.expected)
        last = self.samples[-1]
        tenth = next(s for s in self.samples if s.rows >= self.expected // 10)
        return Cost(
            events=self.expected,
            cpu_us=(last.cpu - first.cpu) / self.expected * 1e6,
            rate=self.expected / (applied.at - first.at),
            start_seconds=first.at - self.worker.started,
            start_cpu_seconds=first.cpu,
            rss_first_mb=tenth.rss / 1e6,
            rss_last_mb=last.rss / 1e6,
            rss_curve_mb=tuple(self._rss_at(share / 10) for share in range(1, 11)),
            rss_peak_mb=max(s.rss for s in self.samples) / 1e6,
        )
