"""Keeps workers alive: a dead one is started again at once, as systemd would. Signals go to these only."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import psutil

from harness.workers import Worker

RESTART_SECONDS_MIN: Final = 1.0  # a worker that cannot start must not be restarted in a tight loop
STARTS_MAX: Final = 500
BOTH_ROLES: Final = ""

Launch = Callable[[str, Path], Worker]  # roles ("" for all), log file


def layout(count: int, *, split: bool, mixed: bool) -> tuple[str, ...]:
    """Roles of ``count`` workers: all in each; split, in turn; or mixed, one whole and the rest split."""
    parts = tuple(("detect", "ingest")[i % 2] for i in range(count))
    if split:
        if count < 2:
            raise ValueError("split roles need at least two workers")
        return parts
    return (BOTH_ROLES, *parts[: count - 1]) if mixed else (BOTH_ROLES,) * count


@dataclass
class Supervisor:
    """Keeps one worker alive for each of ``slots`` (its roles) until told otherwise."""

    launch: Launch
    folder: Path
    slots: tuple[str, ...]
    workers: dict[int, Worker] = field(default_factory=dict)  # by slot
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
        for slot, worker in list(self.workers.items()):
            if self._frozen.get(worker.process.pid, now + 1) <= now:
                worker.signal(signal.SIGCONT)
                del self._frozen[worker.process.pid]
            if not worker.alive:
                self.exits[worker.process.returncode] += 1
                del self.workers[slot]
                self._frozen.pop(worker.process.pid, None)
        for slot, roles in enumerate(self.slots):
            if slot in self.workers or now < self._not_before:
                continue
            if self._starts >= STARTS_MAX:
                raise RuntimeError(f"{self._starts} starts, exit codes {dict(self.exits)}: see {self.folder}")
            self._starts += 1
            log = self.folder / f"worker-{self._starts:03d}{'-' * bool(roles)}{roles}.log"
            self.workers[slot] = self.launch(roles, log)
            self._not_before = now + RESTART_SECONDS_MIN / len(self.slots)

    def pick(self, dice: random.Random) -> Worker | None:
        """A random worker that is awake."""
        awake = [w for w in self.workers.values() if w.alive and w.process.pid not in self._frozen]
        return dice.choice(awake) if awake else None

    def freeze(self, worker: Worker, seconds: float) -> None:
        """SIGSTOP now, SIGCONT after ``seconds``."""
        worker.signal(signal.SIGSTOP)
        self._frozen[worker.process.pid] = time.monotonic() + seconds

    def kill_client(self, port: int) -> bool:
        """SIGKILL to the worker with a TCP connection from this local port; whether there is one."""
        for worker in self.workers.values():
            if worker.alive and port in ports_of(worker.process.pid):
                worker.signal(signal.SIGKILL)
                return True
        return False

    async def run(self, stop: asyncio.Event) -> None:
        """Tend until ``stop`` is set."""
        while not stop.is_set():
            self.tend()
            await asyncio.sleep(0.1)

    def kill_all(self) -> None:
        """SIGKILL to every worker, at once."""
        for worker in self.workers.values():
            worker.signal(signal.SIGKILL)
        for worker in self.workers.values():
            worker.kill()
        self.workers.clear()
        self._frozen.clear()

    def stop_all(self) -> None:
        """SIGTERM to every worker, and wait."""
        for worker in self.workers.values():
            worker.signal(signal.SIGCONT)
            worker.signal(signal.SIGTERM)
        for worker in self.workers.values():
            self.exits[worker.wait()] += 1
        self.workers.clear()
        self._frozen.clear()


def ports_of(pid: int) -> set[int]:
    """Local ports of the TCP connections of a process."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return {c.laddr.port for c in psutil.Process(pid).net_connections("tcp4")}
    return set()
