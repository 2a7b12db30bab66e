"""Traffic by the hundred thousand: prepared rows in batches, and one worker watched from outside.

What overload, soak and recovery share: a deployment with one worker, its capacity, and a verdict at the end.
The rows repeat (without a time in them, so that the same bytes can come again); drifts begin and end as in
the chaos run, and one row in a hundred is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from chaos.deployment import BROKER, RAW_PARTITIONS, Product
from chaos.driver import ground
from chaos.saying import begin, commit, say
from chaos.traffic import BREAKERS, BROKEN_RATIO, FEATURES, Plan, Traffic, make_plan
from chaos.verdict import Verdict, judge
from harness.kafka_io import Feeder, until
from harness.workers import Worker

ROWS_A_VARIANT: Final = 150  # distinct rows of a model with one feature drifted, or none
BATCH_ROWS: Final = 500
BATCHES_MADE: Final = 24
TICK_SECONDS: Final = 0.02
DRAIN_SECONDS_MAX: Final = 1_800.0
LEARN_ROWS: Final = 1_500  # a model: its reference, warm-up, and some for the detectors
CAPACITY_SECONDS: Final = 12.0  # of work, so that start-up effects are small


class Pool:
    """Prepared rows of every model, plain and with each feature drifted; ``batch`` is a mix of all models."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self._plan, self._dice = plan, random.Random(seed + 5)
        self._source = Traffic(plan, seed)
        self._rows = {
            (model, feature): [self._source.timeless(model, feature) for _ in range(ROWS_A_VARIANT)]
            for model in plan.models
            for feature in ("", *FEATURES)
        }
        self._drifted: dict[str, str] = {}
        self._made: list[list[bytes]] = []
        good = [row for rows in self._rows.values() for row in rows]
        self._broken = [self._dice.choice(BREAKERS)(row) for row in self._dice.sample(good, 200)]

    def batch(self, second: float) -> list[bytes]:
        """Rows as they are at ``second`` of the plan: models evenly, in random order.

        A few batches are made for each state of the drifts and then drawn from, to be as fast as the sender.
        """
        drifted = {model: self._source.drifted(model, second) for model in self._plan.models}
        if drifted != self._drifted:
            self._drifted, self._made = drifted, []
        if len(self._made) < BATCHES_MADE:
            self._made.append(self._make(drifted, BATCH_ROWS))
            return self._made[-1]
        return self._dice.choice(self._made)

    def _make(self, drifted: Mapping[str, str], rows: int) -> list[bytes]:
        broken = sum(self._dice.random() < BROKEN_RATIO for _ in range(rows))
        chosen = self._dice.choices(self._plan.models, k=rows - broken)
        places = self._dice.choices(range(ROWS_A_VARIANT), k=rows - broken)
        found = [
            self._rows[model, drifted[model]][place] for model, place in zip(chosen, places, strict=True)
        ]
        return found + self._dice.choices(self._broken, k=broken)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a worker and its backlog; ``at`` in seconds of the run, sizes in bytes and records."""

    at: float
    rss: int
    fds: int
    threads: int
    lag: int  # raw records that no commit covers


Show = Callable[[Look], None]


def show(look: Look) -> None:
    """Print a look."""
    sizes = f"rss {look.rss / 1e6:4.0f} MB, lag {look.lag:11,} records"
    say(f"  {look.at:6.0f} s: {sizes}, fds {look.fds}, threads {look.threads}")


@dataclass
class Watched:
    """A deployment with one worker, its traffic, and what was seen of it."""

    product: Product
    pool: Pool
    feeder: Feeder
    looks: list[Look] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    worker: Worker = field(init=False)

    def start(self) -> float:
        """Start the worker; seconds until it was ready."""
        log = self.product.folder / "worker.log"
        self.worker = self.product.launch("", log)
        return self.worker.wait_ready()

    def look(self) -> Look:
        """Look once.

        Raises:
            RuntimeError: the worker ended.
        """
        self.worker.check()
        process = psutil.Process(self.worker.process.pid)
        with process.oneshot():
            rss, fds, threads = process.memory_info().rss, process.num_fds(), process.num_threads()
        lag = self.product.admin.lag(self.product.settings.group_id("ingest"), self.product.raw)
        look = Look(time.monotonic() - self.began, rss, fds, threads, lag)
        self.looks.append(look)
        with (self.product.folder / "looks.jsonl").open("a", encoding="utf-8") as out:
            out.write(json.dumps(asdict(look)) + "\n")
        return look

    async def looking(self, every: float, show: Show) -> None:
        """Look every so many seconds until cancelled."""
        while True:
            show(await asyncio.to_thread(self.look))
            await asyncio.sleep(every)

    async def feed(self, rate: float, seconds: float, second: float = 0.0) -> float:
        """``rate`` rows a second from ``second`` of the plan on; the rate that was reached."""
        began, due_rows, sent = time.monotonic(), rate * seconds, 0
        while sent < due_rows:
            passed = time.monotonic() - began
            if passed > seconds:
                break  # no faster than it goes: what is missing shows in the rate
            if sent < passed * rate:
                await self.feeder.batch(self.pool.batch(second + passed))
                sent += BATCH_ROWS
            else:
                await asyncio.sleep(TICK_SECONDS)
        await self.feeder.flush()
        return sent / (time.monotonic() - began)

    async def backlog(self, rows: int, second: float = 0.0) -> None:
        """Append rows as fast as they go."""
        for _ in range(0, rows, BATCH_ROWS):
            await self.feeder.batch(self.pool.batch(second))
        await self.feeder.flush()

    def drained(self) -> bool:
        """Both stages committed everything; raises if the worker ended."""
        self.worker.check()
        return self.product.drained()

    async def drain(self) -> float:
        """Seconds until it is drained."""
        return await until(self.drained, DRAIN_SECONDS_MAX)

    async def capacity(self) -> float:
        """Rows a second that the worker takes from a backlog, after every model has its reference."""
        await self.backlog(LEARN_ROWS * len(self.product.models))
        await self.drain()
        rows, rate = 50_000, 0.0
        while True:
            await self.backlog(rows)
            took = await self.drain()
            rate = rows / took
            if took >= CAPACITY_SECONDS / 2:
                return rate
            rows = int(min(rate * CAPACITY_SECONDS, rows * 8))

    def peak_rss(self) -> int:
        """Largest resident size seen, in bytes."""
        return max(look.rss for look in self.looks)


async def verdict(watched: Watched) -> Verdict:
    """Stop the worker and verify, independently of it."""
    code = await asyncio.to_thread(watched.worker.stop)
    if code:
        raise RuntimeError(f"SIGTERM gave exit {code}: {watched.worker.log}")
    say("verifying")
    return await judge(watched.product)


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that these runs share."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--kafka", default="auto", help="auto, java, docker or HOST:PORT")
    made.add_argument("--folder", default="", help="where to put the folder with logs and configuration")
    return made


@contextlib.asynccontextmanager
async def session(
    name: str, options: argparse.Namespace, models: int, detection: Mapping[str, Any] | None = None
) -> AsyncIterator[Watched]:
    """A broker, topics and one worker of all roles, ready; gone at the end."""
    folder = begin(name, f"seed {options.seed}, {models} models", options.folder)
    plan = make_plan(models, 0.0, options.seed)
    async with ground(options.kafka, BROKER, proxied=False) as base:
        product = Product(base.bootstrap, base.bootstrap, folder, plan.models, options.seed)
        product.detection = {"learning_rows": 500} | dict(detection or {})
        await asyncio.to_thread(product.prepare)
        feeder = Feeder(base.bootstrap, product.raw, RAW_PARTITIONS)
        watched = Watched(product, Pool(plan, options.seed), feeder)
        async with feeder:
            await asyncio.to_thread(watched.start)
            try:
                yield watched
            finally:
                watched.worker.kill()
                product.admin.close()


def conclude(good: bool, folder: Path) -> int:
    """The last line, and the exit code."""
    say("all promises held" if good else f"FAILED: commit {commit()}, logs in {folder}")
    return 0 if good else 1
