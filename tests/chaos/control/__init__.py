"""The control of the chaos run: the textbook program, how it is deployed, and its own verifier.

A test that cannot fail proves nothing: under the same traffic and faults this program must be seen to lose
rows or to count them twice. Its traffic is Driftline's without the broken records, and keyed by model,
because a Faust table wants its rows where its keys are; both are kinder to it than Driftline's.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from zlib import crc32

from kafka.errors import KafkaError

from chaos import verify
from chaos.deployment import RAW_PARTITIONS, SESSION_SECONDS
from chaos.sending import Outgoing
from chaos.traffic import Plan, Traffic
from harness.kafka_io import Admin, read_all
from harness.workers import Worker

APP: Final = "control"  # as in program.py, which a worker runs as a script
EVERY: Final = 500
PROGRAM: Final = Path(__file__).with_name("program.py")


@dataclass
class Textbook:
    """The textbook program under test; a ``driver.Subject``."""

    bootstrap: str
    address: str
    folder: Path
    models: tuple[str, ...]
    raw: str = f"{APP}.events"
    alerts: str = f"{APP}.alerts"
    changelog: str = f"{APP}-counts-changelog"
    admin: Admin = field(init=False)
    _workers: int = 0

    @property
    def names(self) -> tuple[bytes, bytes, bytes]:
        """What the traps look for; it has no transactions."""
        return self.changelog.encode(), APP.encode(), b"\0"

    def prepare(self) -> None:
        """Its topics; the program makes the rest itself."""
        self.admin = Admin(self.bootstrap)
        self.admin.create(self.raw, RAW_PARTITIONS, {})
        self.admin.create(self.alerts, RAW_PARTITIONS, {})

    def launch(self, roles: str, log: Path) -> Worker:
        """Start a worker."""
        del roles
        command = [sys.executable, str(PROGRAM), "--datadir", str(log.with_suffix(".data")), "worker"]
        environment = {"CONTROL_BROKER": self.address, "CONTROL_SESSION_SECONDS": str(SESSION_SECONDS)}
        os.environ.update(environment)
        self._workers += 1
        return Worker(Path(), log, command=[*command, "--without-web", "-l", "warn"])

    def started(self, running: Iterable[Worker]) -> bool:
        """All of them are in the group, and it is settled."""
        return self.admin.members(APP) == len(list(running))

    def drained(self) -> bool:
        """The group committed every row."""
        try:
            return self.admin.caught_up(APP, self.raw)
        except KafkaError:
            return False

    def left(self) -> str:
        """What is still to be done, for people."""
        return f"{self.admin.lag(APP, self.raw)} rows"

    def traffic(self, plan: Plan, seed: int) -> Traffic:
        """What is sent to it: it knows no labels."""
        return Traffic(plan, seed)

    def draw(self, source: Traffic, second: float) -> Outgoing:
        """A good row, in the partition of its model."""
        return self._row(source, source.pick(second), second)

    def everyone(self, source: Traffic) -> list[Outgoing]:
        """A row of every model."""
        return [self._row(source, model, 0.0) for model in self.models]

    def _row(self, source: Traffic, model: str, second: float) -> Outgoing:
        key = model.encode()
        value = source.row(model, second, time.time_ns() // 1_000_000)
        return Outgoing(crc32(key) % RAW_PARTITIONS, key, value)


@dataclass(frozen=True)
class Found:
    """What the control's verifier found."""

    rows_due: int
    rows: verify.Differences
    alerts: verify.Differences

    @property
    def total(self) -> int:
        """Everything that is wrong."""
        return (
            self.rows.lost + self.rows.twice + self.alerts.lost + self.alerts.twice + self.alerts.unexpected
        )


def compare(due: Mapping[str, int], counted: Mapping[str, int], told: Counter[tuple[str, int]]) -> Found:
    """Rows by model: on the raw topic, in the table; and the messages told, by model and multiple.

    A row lost and one doubled in the same model cancel, so the figures are the least that went wrong.
    """
    place = ("rows", 0)
    rows = verify.compare_rows({place: dict(due)}, {model: {place: n} for model, n in counted.items()})
    wanted = {(model, n) for model, count in due.items() for n in range(EVERY, count + 1, EVERY)}
    alerts = verify.Differences(
        lost=len(wanted - told.keys()),
        twice=sum(n - 1 for n in told.values()),
        unexpected=len(told.keys() - wanted),
    )
    return Found(sum(due.values()), rows, alerts)


async def judge(subject: Textbook) -> Found:
    """Read the raw topic, the table's changelog and the messages; compare."""
    raw = await read_all(subject.bootstrap, subject.raw)
    due = Counter((record.key or b"").decode() for record in raw)
    counted = {
        (record.key or b"").decode().strip('"'): int(record.value or b"0")
        for record in await read_all(subject.bootstrap, subject.changelog)
    }
    told = Counter(
        ((record.key or b"").decode().strip('"'), int(record.value or b"0"))
        for record in await read_all(subject.bootstrap, subject.alerts)
    )
    return compare(due, counted, told)
