"""``python tests/chaos/recovery.py``: 10,000 signals, kill -9, and how long until it works.

500 models of 20 features learn their references; then the worker is killed and started again, three times.
Told are what a restore reads back, how long the take-over itself takes, and the seconds from the start of the
process to ready, in which the broker also has to give up the dead member of the group (session time-out).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.events import Pool, make_pool
from chaos import volume
from chaos.deployment import BROKER, RAW_PARTITIONS, SESSION_SECONDS, Product
from chaos.driver import ground
from chaos.saying import begin, say
from chaos.verdict import judge
from harness.kafka_io import Feeder, until
from harness.workers import Worker, parse_metrics

FEATURES: Final = 20
REPEATS: Final = 3
READY_SECONDS_MAX: Final = 15.0
SCRAPE_SECONDS_MAX: Final = 1.0
ROUNDS: Final = 2  # of learning: the second is for the detectors
BATCH_ROWS: Final = 500
POOL_ROWS: Final = 4_000  # distinct rows, shared by all models
NAME: Final = b"MODEL"
CHECKPOINT_SECONDS: Final = 5.0  # the default: every model changes all the time, each second would be 100 MB
LEARN_SECONDS_MAX: Final = 600.0


@dataclass(frozen=True, slots=True)
class Recovery:
    """One restart."""

    size: float  # bytes read back
    records: int
    ready: float  # seconds from the start of the process
    take_over: float  # seconds: fence, restore, seek
    cpu: float  # seconds of the process until ready
    scrape: float  # seconds of the slowest scrape, from the start until all models are on the page
    early: int  # pages before it was ready


def rows(pool: Pool, model: str, begin_at: int, count: int) -> list[bytes]:
    """Rows of one model out of the shared pool."""
    return [row.replace(NAME, model.encode(), 1) for row in pool.batch(begin_at, count, time.time())]


def taken_over(log: Path) -> tuple[int, float]:
    """Records read and seconds of the last take-over that a worker logged."""
    lines = (json.loads(line) for line in log.read_text(encoding="utf-8").splitlines())
    last = [line for line in lines if line.get("message") == "mailbox partitions taken over"][-1]
    return int(last["records"]), float(last["seconds"])


async def drain(product: Product, worker: Worker) -> None:
    """Wait until everything is committed; the worker has nobody to start it again, so it must live."""

    def drained() -> bool:
        worker.check()
        return product.drained()

    await until(drained, LEARN_SECONDS_MAX)


async def learn(product: Product, worker: Worker, feeder: Feeder, learning_rows: int) -> None:
    """Give every model its reference, and wait until all of it is stored."""
    pool = make_pool(NAME.decode(), "shuffled", product.seed, POOL_ROWS)
    began = time.monotonic()
    for part in range(0, ROUNDS * learning_rows, BATCH_ROWS):
        for model in product.models:
            await feeder.batch(rows(pool, model, part, min(BATCH_ROWS, ROUNDS * learning_rows - part)))
    await feeder.flush()
    await drain(product, worker)
    states = worker.metrics().get("driftline_models", {})
    say(f"{feeder.sent:,} rows applied in {time.monotonic() - began:.0f} s; models by state {states}")


async def scraped(worker: Worker, models: int) -> tuple[float, float, float, int]:
    """Scrape all the time: seconds and CPU until ready, the slowest scrape, and the pages before that.

    Raises:
        ValueError: a page is none.
    """
    ready, cpu, slowest, early = 0.0, 0.0, 0.0, 0
    while True:
        began = time.monotonic()
        page = await asyncio.to_thread(worker.http, "/metrics")
        if page:
            slowest = max(slowest, time.monotonic() - began)
            found = parse_metrics(page)
            if "driftline_ready" not in found:
                raise ValueError(f"this is no page of metrics: {page[:200]!r}")
            early += not ready
            if ready and sum(found["driftline_models"].values()) >= models:
                return ready, cpu, slowest, early
        if not ready and await asyncio.to_thread(worker.ready):
            ready, cpu = time.monotonic() - worker.started, worker.usage().cpu
        if time.monotonic() - worker.started > LEARN_SECONDS_MAX:
            raise ValueError(f"never ready, or not all {models} models on the page, see {worker.log}")
        await asyncio.sleep(0.2)


async def restart(product: Product, feeder: Feeder, pool: Pool, number: int) -> tuple[Worker, Recovery]:
    """Start a worker after another was killed."""
    log = product.folder / f"worker-{number}.log"
    worker = product.launch("", log)
    for model in product.models:  # a view comes with a checkpoint, after a row
        await feeder.batch(rows(pool, model, 0, 1))
    await feeder.flush()
    ready, cpu, slowest, early = await scraped(worker, len(product.models))
    size = sum(worker.metrics().get("driftline_recovery_bytes", {}).values())
    records, take_over = taken_over(log)
    found = Recovery(size, records, ready, take_over, cpu, slowest, early)
    seconds = f"ready after {ready:.1f} s, take-over {take_over:.2f} s; CPU {found.cpu:.1f} s"
    seconds += f"; slowest scrape {slowest:.2f} s, {early} pages before it was ready"
    say(f"  {size / 1e6:.1f} MB in {records:,} records; {seconds}")
    return worker, found


async def measure(product: Product, feeder: Feeder, learning_rows: int) -> list[Recovery]:
    """Learn, then kill and restart; the worker is stopped at the end, and everything is committed."""
    worker = product.launch("", product.folder / "worker-0.log")
    pool = make_pool(NAME.decode(), "shuffled", product.seed, 10)
    found = []
    try:
        await asyncio.to_thread(worker.wait_ready)
        await learn(product, worker, feeder, learning_rows)
        for number in range(1, REPEATS + 1):
            worker.kill()
            worker, one = await restart(product, feeder, pool, number)
            found.append(one)
        await drain(product, worker)
        await asyncio.to_thread(worker.stop)
    finally:
        worker.kill()
    return found


async def main(options: argparse.Namespace) -> int:
    """Run, verify, report."""
    signals = options.models * FEATURES
    folder = begin("recovery", f"seed {options.seed}, {signals:,} signals", options.folder)
    models = tuple(f"model-{i:04d}" for i in range(options.models))
    async with ground(options.kafka, BROKER, proxied=False) as base:
        product = Product(base.bootstrap, base.bootstrap, folder, models, options.seed)
        product.detection = {"learning_rows": options.learning_rows, "learning_models_max": 1_000}
        product.checkpoint_seconds = CHECKPOINT_SECONDS
        await asyncio.to_thread(product.prepare)
        async with Feeder(base.bootstrap, product.raw, RAW_PARTITIONS) as feeder:
            found = await measure(product, feeder, options.learning_rows)
        verdict = await judge(product)
        product.admin.close()
    ready, take_over = max(one.ready for one in found), max(one.take_over for one in found)
    say("")
    say(f"signals {signals} ({options.models} models of {FEATURES} features)")
    say(f"read back {found[-1].size / 1e6:.1f} MB, {found[-1].records:,} records")
    limits = f"target {READY_SECONDS_MAX:.0f} s, session time-out {SESSION_SECONDS:.0f} s"
    say(f"ready after {ready:.1f} s at most ({limits})")
    say(f"take-over {take_over:.2f} s at most; CPU of the process until ready {found[-1].cpu:.1f} s")
    slowest = max(one.scrape for one in found)
    say(f"slowest scrape {slowest:.2f} s (limit {SCRAPE_SECONDS_MAX:.0f} s), scraped all the time")
    verdict.zeros()
    good = verdict.clean and ready <= READY_SECONDS_MAX and slowest < SCRAPE_SECONDS_MAX
    return volume.conclude(good, folder)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = volume.parser(__doc__)
    parser.add_argument("--models", type=int, default=500)
    parser.add_argument("--learning-rows", type=int, default=500, help="of each model, for its reference")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(parse(sys.argv[1:]))))
