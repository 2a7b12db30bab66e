"""Two supervised workers and the faults they get: a dead one is started again at once, as systemd would."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from harness.workers import Worker

FaultKind = Literal["kill", "term", "stop"]
FIRST_FAULT_SECONDS: Final = 10.0  # references are being learned by then
FAULT_SECONDS: Final = (5.0, 13.0)
FROZEN_SECONDS: Final = (8.0, 11.0)  # longer than the session timeout: a former owner that wakes up
RESTART_SECONDS_MIN: Final = 1.0  # a worker that cannot start must not be restarted in a tight loop
STARTS_MAX: Final = 500


@dataclass
class Supervisor:
    """Keeps ``count`` workers alive until told otherwise; ``faults`` are (kind, time)."""

    config: Path
    folder: Path
    count: int = 2
    workers: list[Worker] = field(default_factory=list)
    faults: list[tuple[FaultKind, float]] = field(default_factory=list)
    exits: Counter[int] = field(default_factory=Counter)
    _frozen: dict[int, float] = field(default_factory=dict)  # process id -> when to wake it
    _starts: int = 0
    _not_before: float = 0.0

    def tend(self) -> None:
        """Wake frozen workers whose time has come, note the dead, start new ones.

        Raises:
            RuntimeError: workers end faster than can be explained by faults.
        """
        now = time.monotonic()
        for worker in list(self.workers):
            if self._frozen.get(worker.process.pid, now + 1) <= now:
                worker.signal(signal.SIGCONT)
                del self._frozen[worker.process.pid]
            if not worker.alive:
                self.exits[worker.process.returncode] += 1
                self.workers.remove(worker)
                self._frozen.pop(worker.process.pid, None)
        while len(self.workers) < self.count and now >= self._not_before:
            if self._starts >= STARTS_MAX:
                raise RuntimeError(f"{self._starts} starts, exit codes {dict(self.exits)}: see {self.folder}")
            self._starts += 1
            self.workers.append(Worker(self.config, self.folder / f"worker-{self._starts:03d}.log"))
            self._not_before = now + RESTART_SECONDS_MIN / self.count

    def fault(self, kind: FaultKind, dice: random.Random) -> None:
        """Hurt a random worker; a frozen one is left alone."""
        awake = [w for w in self.workers if w.alive and w.process.pid not in self._frozen]
        if not awake:
            return
        worker = dice.choice(awake)
        self.faults.append((kind, time.time()))
        if kind == "kill":
            worker.signal(signal.SIGKILL)
        elif kind == "term":
            worker.signal(signal.SIGTERM)
        else:
            worker.signal(signal.SIGSTOP)
            self._frozen[worker.process.pid] = time.monotonic() + dice.uniform(*FROZEN_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Tend until ``stop`` is set."""
        while not stop.is_set():
            self.tend()
            await asyncio.sleep(0.1)

    def kill_all(self) -> None:
        """SIGKILL to every worker, at once."""
        for worker in self.workers:
            worker.signal(signal.SIGKILL)
        for worker in self.workers:
            worker.kill()
        self.workers.clear()
        self._frozen.clear()

    def stop_all(self) -> None:
        """SIGTERM to every worker, and wait."""
        for worker in self.workers:
            worker.signal(signal.SIGCONT)
            worker.signal(signal.SIGTERM)
        for worker in self.workers:
            self.exits[worker.stop()] += 1
        self.workers.clear()
        self._frozen.clear()


async def inflict(
    supervisor: Supervisor, kinds: tuple[FaultKind, ...], seconds: float, dice: random.Random
) -> None:
    """Seeded faults until ``seconds`` have passed."""
    begin = time.monotonic()
    await asyncio.sleep(FIRST_FAULT_SECONDS)
    while time.monotonic() - begin < seconds:
        supervisor.fault(dice.choice(kinds), dice)
        left = seconds - (time.monotonic() - begin)
        await asyncio.sleep(min(left, dice.uniform(*FAULT_SECONDS)) + 0.001)
