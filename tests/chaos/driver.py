"""Drives a program through faults under traffic, drains it, kills everything, and drains it again.

Owns the order of events and the environment (broker, proxy, supervisor); what is deployed is a ``Subject``,
Driftline or the control. Judges nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from chaos.faults import PROXIED, Inflictor
from chaos.proxy import Proxy
from chaos.saying import say
from chaos.sending import Outgoing, Sender
from chaos.supervisor import Supervisor
from chaos.traffic import Plan
from driftline.localkafka import LocalKafka, ProxiedListener, free_ports, local_kafka
from harness import workers
from harness.kafka_io import until
from harness.workers import Worker

DRAIN_SECONDS_MAX: Final = 120.0


class Subject(Protocol):
    """What is deployed and hurt."""

    raw: str

    def launch(self, roles: str, log: Path) -> Worker:
        """Start a worker."""
        ...

    def started(self, running: Iterable[Worker]) -> bool:
        """Every worker works for the first time."""
        ...

    def drained(self) -> bool:
        """Everything on the raw topic was worked off and committed."""
        ...

    def left(self) -> str:
        """What is still to be done, for people."""
        ...

    def traffic(self, plan: Plan, seed: int) -> Any:
        """What is sent; ``draw`` and ``everyone`` take from it."""
        ...

    def draw(self, source: Any, second: float) -> Outgoing:
        """The next record of the traffic."""
        ...

    def everyone(self, source: Any) -> list[Outgoing]:
        """Rows that touch every piece of state."""
        ...


@dataclass(frozen=True)
class Ground:
    """A broker, and a proxy before it if one was asked for; workers connect to ``address``."""

    broker: LocalKafka
    proxy: Proxy | None

    @property
    def bootstrap(self) -> str:
        """The broker itself."""
        return self.broker.bootstrap

    @property
    def address(self) -> str:
        """Where workers connect."""
        return f"127.0.0.1:{self.proxy.port}" if self.proxy else self.bootstrap


@contextlib.asynccontextmanager
async def ground(kafka: str, properties: dict[str, str], *, proxied: bool) -> AsyncIterator[Ground]:
    """A broker of our own (or the one named), with a proxy if ``proxied``."""
    if not proxied:
        with local_kafka(kafka, properties=properties) as broker:
            yield Ground(broker, None)
        return
    listener, port = free_ports(2)
    behind = ProxiedListener(listener, port)
    with local_kafka(kafka, properties=properties, behind=behind) as broker:
        async with Proxy(port, listener) as proxy:
            yield Ground(broker, proxy)


def needs_proxy(kinds: Iterable[str]) -> bool:
    """Whether one of these faults happens in the proxy."""
    return not PROXIED.isdisjoint(kinds)


@dataclass
class Times:
    """The phases of a run in seconds: faults, then calm traffic, then a trickle while the cleaner works."""

    faults: float
    calm: float
    compaction: float


@dataclass
class Drive:
    """One run."""

    subject: Subject
    ground: Ground
    supervisor: Supervisor
    inflictor: Inflictor
    kinds: tuple[str, ...]
    plan: Plan
    seed: int
    rate: float
    times: Times
    drains: list[float] = field(default_factory=list)  # seconds until nothing was left, by phase
    refused: int = 0  # sends that were given up: what is not on the topic was not lost

    def _started(self) -> bool:
        """Every worker works for the first time."""
        if self.supervisor.exits:
            raise RuntimeError(f"a worker ended before any fault: see {self.supervisor.folder}")
        running = list(self.supervisor.workers.values())
        return len(running) == len(self.supervisor.slots) and self.subject.started(running)

    async def _drain(self) -> None:
        try:
            self.drains.append(await until(self.subject.drained, DRAIN_SECONDS_MAX))
        except TimeoutError as error:
            raise TimeoutError(f"{error}; left: {self.subject.left()}") from None

    async def run(self) -> None:
        """Faults under traffic, drain, compaction, kill all, restart, every piece of state again, drain.

        Raises:
            TimeoutError: it did not drain.
        """
        stop = asyncio.Event()
        source = self.subject.traffic(self.plan, self.seed)
        tending = asyncio.create_task(self.supervisor.run(stop))
        try:
            async with Sender(self.ground.bootstrap, self.subject.raw) as sender:
                await until(self._started, workers.READY_SECONDS_MAX)  # a cold start compiles; no fault
                await self._phases(sender, source)
                self.refused = sender.refused
        finally:
            stop.set()
            await tending
            await asyncio.to_thread(self.supervisor.stop_all)

    async def _phases(self, sender: Sender, source: Any) -> None:
        times = self.times

        def draw(second: float) -> Outgoing:
            return self.subject.draw(source, second)

        calm = times.faults + times.calm
        hurting = asyncio.create_task(self.inflictor.run(self.kinds, times.faults))
        await sender.steadily(draw, self.rate, 0.0, calm)
        await hurting
        await self._drain()
        say(f"faults over; drained in {self.drains[-1]:.1f} s")
        await sender.steadily(draw, self.rate, calm, calm + times.compaction)
        await self._drain()
        self.supervisor.kill_all()
        for record in self.subject.everyone(source):
            await sender.send(record)
        await sender.flush()
        await self._drain()
        say(f"all killed and restarted on the compacted state; drained in {self.drains[-1]:.1f} s")


def inflictor(
    supervisor: Supervisor, ground: Ground, seed: int, names: tuple[bytes, bytes, bytes]
) -> Inflictor:
    """Faults of a run; ``names`` as ``Inflictor`` wants them."""
    return Inflictor(supervisor, ground.broker, ground.proxy, random.Random(seed + 3), names)
