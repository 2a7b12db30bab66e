"""``python tests/chaos/scale.py``: one, two, three workers on 12 partitions; added, removed, split, rolled.

Each worker gets the same small share of a core, as a CPU limit does, so that broker and traffic have the rest
and a small machine can show what a second worker adds. Told are events a second and how long positions stood
still at each change of the group. In the end topics and state are compared: nothing may be lost or twice.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos import volume
from chaos.deployment import BROKER, Product
from chaos.driver import ground
from chaos.pauses import longest_pause
from chaos.saying import begin, say
from chaos.tail import PositionTail
from chaos.throttle import limited
from chaos.traffic import make_plan
from chaos.verdict import Verdict, judge
from chaos.volume import BATCH_ROWS, LEARN_ROWS, Pool
from harness.kafka_io import Feeder, until
from harness.workers import Worker

PARTITIONS: Final = 12
MODELS: Final = 24
WORKERS_MAX: Final = 3
SHARE: Final = 0.2  # of a core for each worker
MEASURE_SECONDS: Final = 12.0  # of work on a backlog
FIRST_ROWS: Final = 30_000
LOAD: Final = 0.5  # of one worker's capacity, while the group changes
SETTLE_SECONDS: Final = 5.0
STEADY_SECONDS: Final = 20.0  # several checkpoints
CALM_SECONDS: Final = 12.0  # of traffic after a change, longer than a session and a take-over
DRAIN_SECONDS_MAX: Final = 300.0
GAIN_MIN: Final = 1.5  # events a second of three workers over one: less is no scaling at all


@dataclass(frozen=True, slots=True)
class Change:
    """Something done to the group; ``pause`` is the longest standstill of any partition after it, in s."""

    what: str
    at: float
    until: float
    ready: float  # seconds until the new worker was ready; 0 when there is none


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a fleet takes from a backlog: events a second, and CPU us an event of all workers together."""

    rate: float
    cpu_us: float

    @property
    def cores(self) -> float:
        """How much of a core all workers had: signals limit a process less exactly than the kernel would."""
        return self.rate * self.cpu_us / 1e6


@dataclass(frozen=True, slots=True)
class Steady:
    """What three workers cost at a steady rate: CPU s and state bytes of ``seconds``, largest memory."""

    seconds: float
    events: int
    cpu: float
    state_bytes: float
    rss: int


@dataclass
class Fleet:
    """The workers that run, each with its share of a core."""

    product: Product
    workers: list[Worker] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)
    _limits: dict[int, contextlib.ExitStack] = field(default_factory=dict)
    _starts: int = 0

    def add(self, roles: str = "") -> float:
        """Start a worker; seconds until it was ready. It is limited from then on only."""
        self._starts += 1
        log = self.product.folder / f"worker-{self._starts:02d}{'-' * bool(roles)}{roles}.log"
        worker = self.product.launch(roles, log)
        self.workers.append(worker)
        ready = worker.wait_ready()
        stack = self._limits[worker.process.pid] = contextlib.ExitStack()
        stack.enter_context(limited(worker.process.pid, SHARE))
        return ready

    def stop(self, worker: Worker) -> None:
        """SIGTERM, and wait."""
        self._limits.pop(worker.process.pid).close()
        self.workers.remove(worker)
        self.exits.append(worker.stop())

    def kill(self) -> None:
        """Whatever still runs."""
        for stack in self._limits.values():
            stack.close()
        for worker in self.workers:
            worker.kill()

    def drained(self) -> bool:
        """Both stages committed everything; raises if a worker ended."""
        for worker in self.workers:
            worker.check()
        return self.product.drained()


@dataclass
class Run:
    """Traffic against a fleet, and what was seen."""

    fleet: Fleet
    pool: Pool
    feeder: Feeder
    rates: dict[int, Capacity] = field(default_factory=dict)  # by number of workers
    changes: list[Change] = field(default_factory=list)
    steady: Steady | None = None
    rate: float = 0.0  # of the traffic while the group changes

    async def backlog(self, rows: int) -> None:
        """Append rows as fast as they go."""
        for _ in range(0, rows, BATCH_ROWS):
            await self.feeder.batch(self.pool.batch(0.0))
        await self.feeder.flush()

    async def drain(self) -> float:
        """Seconds until everything is committed."""
        return await until(self.fleet.drained, DRAIN_SECONDS_MAX)

    async def capacity(self) -> Capacity:
        """What the fleet takes from a backlog that keeps it busy for a while."""
        rows = FIRST_ROWS * len(self.fleet.workers)
        while True:
            before, _ = self._seen()
            await self.backlog(rows)
            took = await self.drain()
            cpu = self._seen()[0] - before
            if took >= MEASURE_SECONDS / 2:
                return Capacity(rows / took, cpu / rows * 1e6)
            rows = int(rows * MEASURE_SECONDS / max(took, 1.0))

    async def traffic(self, stop: asyncio.Event) -> None:
        """A steady rate with drifts that begin and end, until told to stop."""
        began, sent = time.monotonic(), 0
        while not stop.is_set():
            passed = time.monotonic() - began
            if sent < passed * self.rate:
                await self.feeder.batch(self.pool.batch(passed))
                sent += BATCH_ROWS
            else:
                await asyncio.sleep(0.02)
        await self.feeder.flush()

    async def change(self, what: str, *, stop: Worker | None = None, roles: str | None = None) -> None:
        """Stop a worker, start one, or both; then let the traffic go on for a while."""
        at, ready = time.time(), 0.0
        if stop is not None:
            await asyncio.to_thread(self.fleet.stop, stop)
        if roles is not None:
            ready = await asyncio.to_thread(self.fleet.add, roles)
        await asyncio.sleep(CALM_SECONDS)
        self.changes.append(Change(what, at, time.time(), ready))
        say(f"  {what}" + (f", ready after {ready:.1f} s" if ready else ""))

    async def measure(self) -> None:
        """One, two, three workers on a backlog."""
        await asyncio.to_thread(self.fleet.add)
        await self.backlog(LEARN_ROWS * len(self.fleet.product.models))
        await self.drain()
        for count in range(1, WORKERS_MAX + 1):
            if count > 1:
                await asyncio.to_thread(self.fleet.add)
            self.rates[count] = await self.capacity()
            say(f"{count} workers: {self.rates[count].rate:,.0f} events/s")

    def _seen(self) -> tuple[float, float]:
        """CPU seconds and bytes of checkpoints of all workers by now."""
        cpu = sum(worker.usage().cpu for worker in self.fleet.workers)
        stored = (w.metrics().get("driftline_checkpoint_bytes_total", {}) for w in self.fleet.workers)
        return cpu, sum(sum(values.values()) for values in stored)

    async def cost(self) -> Steady:
        """Look at the fleet for a while under the traffic that comes."""
        began, sent, (cpu, stored) = time.monotonic(), self.feeder.sent, self._seen()
        await asyncio.sleep(STEADY_SECONDS)
        now, more = self._seen()
        rss = max(worker.usage().rss for worker in self.fleet.workers)
        passed, events = time.monotonic() - began, self.feeder.sent - sent
        return Steady(passed, events, now - cpu, more - stored, rss)

    async def roll(self) -> None:
        """Under traffic: one removed, one added, every worker replaced, then roles split."""
        self.rate = LOAD * self.rates[1].rate
        say(f"the group changes under {self.rate:,.0f} events/s")
        stop = asyncio.Event()
        sending = asyncio.create_task(self.traffic(stop))
        try:
            await asyncio.sleep(SETTLE_SECONDS)
            self.steady = await self.cost()
            await self.change("one of three removed", stop=self.fleet.workers[-1])
            await self.change("a third added", roles="")
            for number, worker in enumerate(list(self.fleet.workers), 1):
                await self.change(f"rolling update, worker {number} of 3 replaced", stop=worker, roles="")
            await self.change("one replaced by an ingest worker", stop=self.fleet.workers[0], roles="ingest")
            await self.change("two of roles, one of each", stop=self.fleet.workers[0], roles="detect")
            await self.change("all split: one ingest, two detect", stop=self.fleet.workers[0], roles="detect")
        finally:
            stop.set()
            await sending
        await self.drain()


def report(run: Run, verdict: Verdict, moves: dict[str, list[float]]) -> bool:
    """Print; whether all is well."""
    verdict.details()
    say("")
    for count, found in run.rates.items():
        cost = f"{found.cpu_us:.1f} us of CPU an event, {found.cores:.2f} of a core in all"
        say(
            f"{count} workers: {found.rate:,.0f} events/s, {found.rate / run.rates[1].rate:.2f} x one; {cost}"
        )
    if run.steady is not None:
        s, models = run.steady, len(run.fleet.product.models)
        every, state = run.fleet.product.checkpoint_seconds, s.state_bytes / s.seconds / models / 1e3
        say(
            f"three workers at {s.events / s.seconds:,.0f} events/s: {s.cpu / s.events * 1e6:.1f} us an event"
        )
        say(f"  {state:.1f} kB of state a second and model, a checkpoint every {every:.0f} s")
        say(f"  the largest has {s.rss / 1e6:.0f} MB")
    for change in run.changes:
        begun, ended = longest_pause(change.at, change.until, moves, change.until - change.at)
        say(f"{change.what}: longest standstill of a partition {ended - begun:.1f} s")
    say(f"rows {verdict.expected.records}")
    say(f"exits of stopped workers {sorted(set(run.fleet.exits))}")
    verdict.zeros()
    gain = run.rates[WORKERS_MAX].rate / run.rates[1].rate
    if gain < GAIN_MIN:
        say(
            f"no scaling: {WORKERS_MAX} workers do {gain:.2f} x the work of one, at least {GAIN_MIN} x is due"
        )
    return verdict.clean and not verdict.empty and gain >= GAIN_MIN and not any(run.fleet.exits)


async def main(options: argparse.Namespace) -> int:
    """Run, verify, report."""
    folder = begin("scale", f"seed {options.seed}, {MODELS} models, {PARTITIONS} partitions", options.folder)
    plan = make_plan(MODELS, 0.0, options.seed)
    async with ground(options.kafka, BROKER, proxied=False) as base:
        product = Product(
            base.bootstrap, base.bootstrap, folder, plan.models, options.seed, partitions=PARTITIONS
        )
        await asyncio.to_thread(product.prepare)
        fleet = Fleet(product)
        group = product.settings.group_id("ingest")
        tail = PositionTail(base.bootstrap, product.topic("state"), PARTITIONS, group)
        stop = asyncio.Event()
        tailing = asyncio.create_task(tail.run(stop))
        try:
            async with Feeder(base.bootstrap, product.raw, PARTITIONS) as feeder:
                run = Run(fleet, Pool(plan, options.seed), feeder)
                await run.measure()
                await run.roll()
                for worker in list(fleet.workers):
                    await asyncio.to_thread(fleet.stop, worker)
        finally:
            stop.set()
            await tailing
            fleet.kill()
        say("verifying")
        good = report(run, await judge(product), tail.moves)
        product.admin.close()
    return volume.conclude(good, folder)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(volume.parser(__doc__).parse_args())))
