"""The product as a run deploys it: topics, configuration, how a worker starts, what is committed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kafka.errors import KafkaError

from chaos.sending import Outgoing
from chaos.traffic import Plan, Traffic
from chaos.truths import LabelledTraffic
from driftline.config import Settings, load_settings
from harness import workers
from harness.kafka_io import REQUEST_BYTES_MAX, Admin
from harness.workers import Worker

RAW_PARTITIONS: Final = 4
MAILBOX_PARTITIONS: Final = 4
SESSION_SECONDS: Final = (
    6.0  # the shortest a broker allows by default: how long a killed member holds up its group
)
# The broker rolls and cleans the state topic within seconds, so that restores read compacted segments.
BROKER: Final = {"log.cleaner.backoff.ms": "1000", "log.initial.task.delay.ms": "1000"}
# Windows and a reference of errors that a run of half a minute fills.
LABELS: Final = {"window_rows": 200, "reference_rows": 500, "max_pending": 400_000}
KPIS: Final = {
    "right": {"measure": "accuracy", "min": 0.7, "window": 100},
    "level": {"measure": "mean.f0", "max": 1.0, "window": 300},
    "pace": {"measure": "events_per_minute", "min": 60, "window": "5s"},
    "shape": {"measure": "psi.f1", "max": 0.2},
}
COMPACTION: Final = {
    "segment.ms": "3000",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "4000",
    "delete.retention.ms": "1000",
}


@dataclass
class Product:
    """Driftline under test. Workers connect to ``address``, maybe a proxy; all others to ``bootstrap``."""

    bootstrap: str
    address: str
    folder: Path
    models: tuple[str, ...]
    seed: int
    name: str = "chaos"
    detection: Mapping[str, Any] = field(default_factory=lambda: {"learning_rows": 500})
    checkpoint_seconds: float = 1.0
    partitions: int = MAILBOX_PARTITIONS  # of the mailbox and of each raw topic
    labelled: bool = False  # a second raw topic, of labels
    raw: str = field(init=False)
    labels: str = field(init=False)
    config: Path = field(init=False)
    settings: Settings = field(init=False)
    admin: Admin = field(init=False)

    def __post_init__(self) -> None:
        self.raw, self.labels = f"{self.name}.events", f"{self.name}.labels"
        self._dice = random.Random(self.seed + 2)

    def prepare(self) -> None:
        """Topics and configuration; blocks."""
        values = workers.settings(
            self.address,
            self.name,
            self.raw,
            kafka={"bootstrap_servers": self.address, "session_timeout_seconds": SESSION_SECONDS},
            models={model: {} for model in self.models},
            detection=dict(self.detection),
            checkpoint={"interval_seconds": self.checkpoint_seconds},
        )
        values["topics"]["mailbox_partitions"] = self.partitions
        if self.labelled:
            values["inputs"] += [{"topic": self.labels, "kind": "labels", "start": "earliest"}]
            values["detection"] |= {"labels": LABELS, "kpis": KPIS}
        self.config = workers.write_settings(self.folder / "driftline.yaml", values)
        self.settings = load_settings(self.config)
        self.admin = Admin(self.bootstrap)
        for raw in self.raws:
            self.admin.create(raw, self.partitions, {"max.message.bytes": str(REQUEST_BYTES_MAX)})
        workers.create_topics(self.config)
        self.admin.configure(self.topic("state"), COMPACTION)

    @property
    def raws(self) -> tuple[str, ...]:
        """The raw topics."""
        return (self.raw, self.labels) if self.labelled else (self.raw,)

    def topic(self, role: str) -> str:
        """Full name of one of Driftline's own topics."""
        return self.settings.topics.name(role)

    def launch(self, roles: str, log: Path) -> Worker:
        """Start a worker; no roles means all."""
        return Worker(self.config, log, roles or None)

    def started(self, running: Iterable[Worker]) -> bool:
        """Every worker is ready."""
        return all(worker.http("/ready") for worker in running)

    def ingested(self) -> bool:
        """Stage 1 committed everything there is; not known while the broker is away."""
        return all(self._caught_up("ingest", raw) for raw in self.raws)

    def drained(self) -> bool:
        """Both groups committed everything there is."""
        return self.ingested() and self._caught_up("detect", self.topic("mailbox"))

    def left(self) -> str:
        """What is still to be done, for people: positions that were not committed, by partition."""
        found = []
        for role, topic in (*(("ingest", raw) for raw in self.raws), ("detect", self.topic("mailbox"))):
            done = self.admin.committed(self.settings.group_id(role))  # type: ignore[arg-type]
            found += [
                f"{topic}/{p} {done.get((topic, p))} of {end}"
                for p, end in self.admin.ends(topic).items()
                if done.get((topic, p), 0) < end
            ]
        return ", ".join(found)

    def _caught_up(self, role: Any, topic: str) -> bool:
        try:
            return self.admin.caught_up(self.settings.group_id(role), topic)
        except KafkaError:
            return False

    def traffic(self, plan: Plan, seed: int) -> Traffic | LabelledTraffic:
        """What is sent to it."""
        return LabelledTraffic(plan, seed) if self.labelled else Traffic(plan, seed)

    def draw(self, source: Traffic | LabelledTraffic, second: float) -> Outgoing:
        """The next record of the mix, to any partition."""
        now, topic = time.time_ns() // 1_000_000, self.raw
        if isinstance(source, LabelledTraffic):
            kind, value = source.draw(second, now)
            topic = self.labels if kind == "labels" else self.raw
        else:
            value = source.draw(second, now)
        key = b"gone" if value is None else None
        return Outgoing(self._dice.randrange(self.partitions), key, value, topic)

    def everyone(self, source: Traffic | LabelledTraffic) -> list[Outgoing]:
        """A row of every model to every partition."""
        now = time.time_ns() // 1_000_000
        events = source.events if isinstance(source, LabelledTraffic) else source
        return [
            Outgoing(partition, None, events.row(model, 0.0, now))
            for model in self.models
            for partition in range(self.partitions)
        ]
