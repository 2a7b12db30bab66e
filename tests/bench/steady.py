"""Work at a steady rate: many models (CPU, memory, recovery) and the way from append to alert (latency)."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench.deployment import Deployment, recovery_of
from bench.events import NUMERIC, Pool, make_pool
from harness.kafka_io import until

TICK_SECONDS: Final = 0.02
SETTLE_SECONDS: Final = (
    5.0  # between the first paced event and the first reading: caches, the first checkpoint
)
SHIFT_EVERY_SECONDS: Final = 1.7  # longer than two urgent checkpoints, and no multiple of the regular ones
LATENCY_POOL: Final = 2_000


async def pace(make: Callable[[int], list[bytes]], deployment: Deployment, rate: int, seconds: float) -> None:
    """Append ``rate`` events a second in small batches, as live traffic comes; late ticks are caught up."""
    async with deployment.feeder() as feeder:
        begin = time.monotonic()
        sent = 0
        while (passed := time.monotonic() - begin) < seconds:
            due = int(passed * rate) - sent
            if due > 0:
                await feeder.batch(make(due))
                sent += due
            await asyncio.sleep(TICK_SECONDS)
        await feeder.flush()


async def many_models(deployment: Deployment, rate: int, seconds: float) -> dict[str, Any]:
    """CPU share of one core and memory at a steady rate over all models, then a kill -9 and the recovery."""
    await deployment.learn()
    worker = deployment.worker()
    try:
        await asyncio.to_thread(worker.wait_ready)
        ready_rss = worker.usage().rss
        feeding = asyncio.create_task(pace(deployment.mixed, deployment, rate, SETTLE_SECONDS + seconds))
        await asyncio.sleep(SETTLE_SECONDS)
        rows0, use0, at0 = _applied(worker.metrics()), worker.usage(), time.monotonic()
        rss = [use0.rss]
        while time.monotonic() - at0 < seconds - 0.5:
            await asyncio.sleep(1.0)
            worker.check()
            rss.append(worker.usage().rss)
        rows1, use1, at1 = _applied(await asyncio.to_thread(worker.metrics)), worker.usage(), time.monotonic()
        await feeding
        await until(deployment.drained, 60.0)
        worker.kill()
        again = deployment.worker()
        try:
            ready = await asyncio.to_thread(again.wait_ready)
            recovery = recovery_of(again)
        finally:
            await asyncio.to_thread(again.stop)
    finally:
        await asyncio.to_thread(worker.stop)
    return {
        "models": len(deployment.pools),
        "rate_offered": rate,
        "rate_applied": (rows1 - rows0) / (at1 - at0),
        "seconds": at1 - at0,
        "cpu_share": (use1.cpu - use0.cpu) / (at1 - at0),
        "cpu_us": (use1.cpu - use0.cpu) / max(rows1 - rows0, 1) * 1e6,
        "rss_mb_ready": ready_rss / 1e6,
        "rss_mb_max": max(rss) / 1e6,
        "rss_mb_last": rss[-1] / 1e6,
        "recovery_bytes": recovery["bytes"],
        "recovery_seconds": recovery["seconds"],
        "start_to_ready_seconds": ready,
    }


def _applied(metrics: dict[str, dict[str, float]]) -> float:
    return sum(metrics.get("driftline_rows_applied_total", {}).values())


@dataclass
class Shifts:
    """Makes the events of the latency run: every so often one more feature of one model shifts for good."""

    names: tuple[str, ...]
    begin: float
    _pools: dict[tuple[str, int], Pool]
    _made: int = 0

    def make(self, count: int) -> list[bytes]:
        """The next ``count`` events, models in turn, each with the shifts planted so far."""
        now = time.time()
        planted = max(0, int((time.monotonic() - self.begin) / SHIFT_EVERY_SECONDS))
        values = []
        for i in range(self._made, self._made + count):
            which = i % len(self.names)
            done = max(0, (planted - which + len(self.names) - 1) // len(self.names))
            values += self._pools[self.names[which], min(done, len(NUMERIC))].batch(
                i // len(self.names), 1, now
            )
        self._made += count
        return values


def shifting_pools(names: tuple[str, ...], shifts: int) -> dict[tuple[str, int], Pool]:
    """Pools of each model with its first 0, 1, 2 ... features shifted."""
    return {
        (name, k): make_pool(name, size=LATENCY_POOL, seed=n, shifted=frozenset(NUMERIC[:k]))
        for n, name in enumerate(names)
        for k in range(min(shifts, len(NUMERIC)) + 1)
    }


async def latency(deployment: Deployment, rate: int, seconds: float) -> dict[str, Any]:
    """From the append of the deciding row to the alert readable with read_committed, over planted shifts."""
    await deployment.learn()
    names = tuple(model for model, _ in deployment.pools)
    pools = shifting_pools(names, int(seconds / SHIFT_EVERY_SECONDS / len(names)) + 1)
    worker = deployment.worker()
    seen: list[tuple[float, dict[str, Any]]] = []
    stop = asyncio.Event()
    reading = asyncio.create_task(_read_alerts(deployment, seen, stop))
    try:
        await asyncio.to_thread(worker.wait_ready)
        shifts = Shifts(names, time.monotonic() + SETTLE_SECONDS, pools)
        await pace(shifts.make, deployment, rate, SETTLE_SECONDS + seconds)
        await until(deployment.drained, 60.0)
        await asyncio.sleep(1.0)
    finally:
        stop.set()
        await reading
        await asyncio.to_thread(worker.stop)
    opened = [(at, data) for at, data in seen if str(data["type"]).endswith("opened")]
    appended = await _append_times(deployment, [data["origin"] for _, data in opened])
    delays = np.array([at - then for (at, _), then in zip(opened, appended, strict=True)])
    if not len(delays):
        raise RuntimeError(f"no episode opened although shifts were planted: {worker.log}")
    return {
        "openings": len(delays),
        "planted": int(seconds / SHIFT_EVERY_SECONDS),
        "rate_offered": rate,
        "median_seconds": float(np.median(delays)),
        "p95_seconds": float(np.quantile(delays, 0.95)),
        "max_seconds": float(delays.max()),
    }


async def _read_alerts(
    deployment: Deployment, seen: list[tuple[float, dict[str, Any]]], stop: asyncio.Event
) -> None:
    """Follow the alerts topic as a consumer would; notes when each alert could be read."""
    topic = f"{deployment.name}.alerts"
    consumer = AIOKafkaConsumer(
        bootstrap_servers=deployment.bootstrap, isolation_level="read_committed", enable_auto_commit=False
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, p) for p in range(deployment.admin.partitions(topic))]
        consumer.assign(places)
        await consumer.seek_to_end(*places)
        while not stop.is_set():
            for records in (await consumer.getmany(timeout_ms=100)).values():
                seen += [(time.time(), json.loads(record.value)) for record in records]
    finally:
        await consumer.stop()


async def _append_times(deployment: Deployment, origins: list[dict[str, Any]]) -> list[float]:
    """When the broker appended each of these raw rows, Unix seconds."""
    consumer = AIOKafkaConsumer(bootstrap_servers=deployment.bootstrap, enable_auto_commit=False)
    await consumer.start()
    try:
        times = []
        for origin in origins:
            place = TopicPartition(origin["topic"], origin["partition"])
            consumer.assign([place])
            consumer.seek(place, origin["offset"])
            record = await consumer.getone(place)
            if record.offset != origin["offset"]:
                raise RuntimeError(f"asked for {origin}, got offset {record.offset}")
            times.append(record.timestamp / 1000)
    finally:
        await consumer.stop()
    return times
