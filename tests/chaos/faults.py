"""The faults of a chaos run: which kinds there are, in which order they come, and how each is inflicted.

Seeded: the same seed draws the same kinds, victims, durations and pauses. When a trap springs and which
process is alive at that moment is up to the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

import psutil

from chaos import wire
from chaos.proxy import BOTH, Direction, Proxy, Trap
from chaos.supervisor import Supervisor
from driftline.localkafka import LocalKafka

T = TypeVar("T")
KINDS: Final = {
    "kill": "SIGKILL to a worker",
    "term": "SIGTERM to a worker",
    "stop": "a worker frozen past its session time-out, then woken",
    "broker": "SIGKILL to the broker, started again on its data",
    "disk": "no file of the broker may grow any more; it ends, and starts again when there is room",
    "net": "connections reset, delayed or black-holed",
    "flush": "SIGKILL to an ingest worker between storing rows and committing raw offsets",
    "txn": "SIGKILL to a detect worker at the end of a transaction, not yet or just committed",
}
DEFAULT_KINDS: Final = ("kill", "term")
PROXIED: Final = frozenset({"net", "flush", "txn"})  # kinds that need the proxy between workers and broker
FIRST_FAULT_SECONDS: Final = 10.0  # references are being learned by then; a short run begins sooner
FAULT_SECONDS: Final = (5.0, 13.0)
FROZEN_SECONDS: Final = (8.0, 11.0)  # longer than the session timeout: a former owner that wakes up
DOWN_SECONDS: Final = (0.0, 3.0)  # that the broker stays down, besides its start
FULL_BYTES: Final = 4_096  # the largest file while the disk is full; every log is longer by then
FULL_SECONDS_MAX: Final = 30.0
DELAY_SECONDS: Final = (0.1, 0.8)  # one way
SLOW_SECONDS: Final = (4.0, 8.0)
HOLE_SECONDS: Final = (3.0, 12.0)  # shorter and longer than the session timeout
TRAP_SECONDS: Final = 4.0  # a flush comes ten times a second, a checkpoint every second
WAYS: Final[tuple[tuple[Direction, ...], ...]] = (BOTH, ("requests",), ("answers",))


def parse_kinds(text: str) -> tuple[str, ...]:
    """Kinds of a list with commas; ``all`` is each of them.

    Raises:
        ValueError: one is unknown.
    """
    kinds = tuple(KINDS) if text == "all" else tuple(part.strip() for part in text.split(","))
    unknown = set(kinds) - set(KINDS)
    if unknown:
        raise ValueError(
            f"unknown fault {', '.join(sorted(unknown))}: choose from {', '.join(KINDS)}, or all"
        )
    return kinds


def deck(kinds: tuple[T, ...], dice: random.Random) -> Iterator[T]:
    """Cards without end, shuffled so that each comes equally often and none is missing for long."""
    while True:
        yield from dice.sample(kinds, len(kinds))


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done and when, in Unix seconds; ``end`` is when the cause was gone."""

    kind: str
    at: float
    end: float
    detail: str = ""


@dataclass
class Inflictor:
    """Inflicts faults on workers, broker and network, and notes those that happened."""

    supervisor: Supervisor
    broker: LocalKafka
    proxy: Proxy | None
    dice: random.Random
    names: tuple[bytes, bytes, bytes]  # the mailbox topic, the ingest group, the prefix of transactional ids
    faults: list[Fault] = field(default_factory=list)
    missed: int = 0  # nobody was awake, or a trap was not sprung in time

    def __post_init__(self) -> None:
        self._how = deck(("reset", "delay", "hole"), self.dice)
        self._before = {kind: deck((True, False), self.dice) for kind in ("flush", "txn")}

    async def run(self, kinds: tuple[str, ...], seconds: float) -> None:
        """Seeded faults until ``seconds`` have passed."""
        begin = time.monotonic()
        await asyncio.sleep(min(FIRST_FAULT_SECONDS, seconds / 4))
        for kind in deck(kinds, self.dice):
            if time.monotonic() - begin >= seconds:
                return
            await self.inflict(kind)
            left = seconds - (time.monotonic() - begin)
            await asyncio.sleep(max(0.0, min(left, self.dice.uniform(*FAULT_SECONDS))) + 0.001)

    async def inflict(self, kind: str) -> None:
        """One fault; returns when it has begun (for the broker: when it is back)."""
        if kind == "broker":
            await self._restart_broker()
        elif kind == "disk":
            await self._fill_disk()
        elif kind == "net":
            self._disturb()
        elif kind in {"flush", "txn"}:
            await self._trap(kind)
        else:
            self._signal(kind)

    def _note(self, kind: str, at: float, lasts: float = 0.0, detail: str = "") -> None:
        self.faults.append(Fault(kind, at, at + lasts, detail))

    def _signal(self, kind: str) -> None:
        worker = self.supervisor.pick(self.dice)
        seconds = self.dice.uniform(*FROZEN_SECONDS)
        if worker is None:
            self.missed += 1
        elif kind == "stop":
            self._note(kind, time.time(), seconds)
            self.supervisor.freeze(worker, seconds)
        else:
            self._note(kind, time.time())
            worker.signal(signal.SIGKILL if kind == "kill" else signal.SIGTERM)

    async def _restart_broker(self) -> None:
        at = time.time()
        await asyncio.to_thread(self.broker.kill)
        await asyncio.sleep(self.dice.uniform(*DOWN_SECONDS))
        await asyncio.to_thread(self.broker.start)
        self._note("broker", at, time.time() - at)

    async def _fill_disk(self) -> None:
        """To the broker a file that must not grow is a full disk: it gives its log folder up, and ends."""
        pid = getattr(self.broker, "pid", None)
        if pid is None:  # not a process of ours
            self.missed += 1
            return
        at, broker = time.time(), psutil.Process(pid)
        broker.rlimit(psutil.RLIMIT_FSIZE, (FULL_BYTES, broker.rlimit(psutil.RLIMIT_FSIZE)[1]))
        while broker.is_running() and broker.status() != psutil.STATUS_ZOMBIE:
            if time.time() - at > FULL_SECONDS_MAX:
                self.missed += 1  # nothing was written meanwhile
                break
            await asyncio.sleep(0.1)
        await asyncio.to_thread(self.broker.kill)
        await asyncio.sleep(self.dice.uniform(*DOWN_SECONDS))
        await asyncio.to_thread(self.broker.start)
        self._note("disk", at, time.time() - at)

    def _disturb(self) -> None:
        proxy = self._proxied()
        links = proxy.some(self.dice)
        how = next(self._how)
        if not links:
            self.missed += 1
        elif how == "reset":
            self._note("net", time.time(), 0.0, how)
            proxy.reset(links)
        elif how == "delay":
            seconds = self.dice.uniform(*SLOW_SECONDS)
            self._note("net", time.time(), seconds, how)
            proxy.slow(links, self.dice.uniform(*DELAY_SECONDS), seconds)
        else:
            seconds = self.dice.uniform(*HOLE_SECONDS)
            self._note("net", time.time(), seconds, how)
            proxy.hole(links, self.dice.choice(WAYS), seconds, reset=self.dice.random() < 0.5)

    def _proxied(self) -> Proxy:
        if self.proxy is None:
            raise ValueError("this fault needs the proxy")
        return self.proxy

    async def _trap(self, kind: str) -> None:
        """Kill whoever next sends the request that ends a flush or a transaction."""
        proxy = self._proxied()
        before = next(self._before[kind])
        trap = Trap(_wanted(kind, before, self.names), self.supervisor.kill_client, before)
        proxy.trap = trap
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TRAP_SECONDS):
                await trap.sprung.wait()
        proxy.trap = None
        if trap.sprung.is_set():
            self._note(kind, time.time(), 0.0, _point(kind, before))
        else:
            self.missed += 1


def _point(kind: str, before: bool) -> str:
    if kind == "flush":
        return "rows stored, offsets not committed" if before else "rows sent, unacknowledged"
    return "transaction written, not ended" if before else "transaction ended, unacknowledged"


def _wanted(kind: str, before: bool, names: tuple[bytes, bytes, bytes]) -> Callable[[wire.Head], bool]:
    """The request at which to strike: a flush dies at its commit or its produce, a transaction at its end."""
    mailbox, group, transactional = names
    if kind == "txn":
        api, name = wire.END_TXN, transactional
    elif before:
        api, name = wire.OFFSET_COMMIT, group
    else:
        api, name = wire.PRODUCE, mailbox
    return lambda head: head.api == api and name in head.data
