"""A Driftline under measurement: topics, configuration, and a reference learned before the clock starts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.events import Pool
from bench.measure import Cost, Watch
from harness import workers
from harness.kafka_io import BATCH_RECORDS, Admin, Feeder, until
from harness.workers import Worker

RAW_PARTITIONS: Final = 8
LEARN_ROWS: Final = 6_000  # a model: the default reference's 5,000, and some for the detectors
ACTIVE_SECONDS_MAX: Final = 120.0
RUN_SECONDS_MAX: Final = 240.0
RAW_CONFIG: Final = {
    "message.timestamp.type": "LogAppendTime"
}  # the clock of the latency figures is the broker's


@dataclass
class Deployment:
    """One prefix, one raw topic, some models; default settings except where ``more`` says otherwise."""

    bootstrap: str
    admin: Admin
    folder: Path
    name: str
    pools: Sequence[tuple[str, Pool]]  # by model
    more: dict[str, Any] = field(default_factory=dict)
    raw: str = field(init=False)
    config: Path = field(init=False)
    last_recovery: dict[str, float] = field(default_factory=dict)
    _fed: int = 0

    def __post_init__(self) -> None:
        self.raw = f"{self.name}.events"
        values = workers.settings(
            self.bootstrap, self.name, self.raw, models={m: {} for m, _ in self.pools}, **self.more
        )
        self.config = workers.write_settings(self.folder / f"{self.name}.yaml", values)
        self.admin.create(self.raw, RAW_PARTITIONS, RAW_CONFIG)
        workers.create_topics(self.config)

    def worker(self, roles: str | None = None) -> Worker:
        """Start a worker."""
        return Worker(self.config, self.folder / f"{self.name}.log", roles)

    def feeder(self) -> Feeder:
        """A producer of the raw topic."""
        return Feeder(self.bootstrap, self.raw, RAW_PARTITIONS)

    async def feed(self, events: int) -> None:
        """Append events of all models in turn, as fast as they go; returns when they are stored."""
        async with self.feeder() as feeder:
            for begin in range(0, events, BATCH_RECORDS):
                await feeder.batch(self.mixed(min(BATCH_RECORDS, events - begin)))
            await feeder.flush()

    def mixed(self, count: int) -> list[bytes]:
        """The next ``count`` events, the models taking turns."""
        if len(self.pools) == 1:
            values = self.pools[0][1].batch(self._fed, count, time.time())
        else:
            turns = len(self.pools)
            at = time.time()
            values = [
                self.pools[i % turns][1].batch(i // turns, 1, at)[0]
                for i in range(self._fed, self._fed + count)
            ]
        self._fed += count
        return values

    def ingested(self) -> bool:
        """Stage 1 committed everything on the raw topic."""
        return self.admin.caught_up(f"{self.name}-ingest", self.raw)

    def detected(self) -> bool:
        """Stage 2 committed everything on the mailbox, after its last checkpoint."""
        return self.admin.caught_up(f"{self.name}-detect", f"{self.name}.mailbox")

    def drained(self) -> bool:
        """Both stages committed everything."""
        return self.ingested() and self.detected()

    async def learn(self) -> float:
        """Feed the reference rows and run until every model is active; seconds from start to ready."""
        await self.feed(LEARN_ROWS * len(self.pools))
        worker = self.worker()
        try:
            ready = await asyncio.to_thread(worker.wait_ready)
            await until(self.drained, ACTIVE_SECONDS_MAX)
            await until(lambda: self.active(worker), ACTIVE_SECONDS_MAX)
        finally:
            code = await asyncio.to_thread(worker.stop)
        if code:
            raise RuntimeError(f"SIGTERM gave exit {code}: {worker.log}")
        return ready

    def active(self, worker: Worker) -> bool:
        """Whether every model has a reference and detects."""
        worker.check()
        by_state = worker.metrics().get("driftline_models", {})
        return by_state.get('state="active"', 0.0) >= len(self.pools)

    async def measure(self, events: int, roles: str | None = None) -> Cost:
        """Start a worker on a backlog of ``events`` and measure until everything is committed."""
        worker = self.worker(roles)
        role = "ingest" if roles == "ingest" else "detect"
        done: Callable[[], bool] = {None: self.drained, "ingest": self.ingested, "detect": self.detected}[
            roles
        ]
        watch = Watch(worker, events, role, "detect" if roles == "detect" else "ingest")
        try:
            await watch.run(done, RUN_SECONDS_MAX)
            self.last_recovery = recovery_of(worker)
        finally:
            await asyncio.to_thread(worker.stop)
        return watch.cost()


def recovery_of(worker: Worker) -> dict[str, float]:
    """Bytes and seconds of the take-overs of a worker, from its metrics."""
    metrics = worker.metrics()
    return {
        "bytes": sum(metrics.get("driftline_recovery_bytes", {}).values()),
        "seconds": max(metrics.get("driftline_recovery_duration_seconds", {}).values(), default=float("nan")),
    }
