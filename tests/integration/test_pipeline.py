"""The whole service on a real Kafka, as processes that get killed and frozen: a row counts once."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from driftline import topics
from driftline.clients import Clients
from driftline.config import Settings, load_settings
from driftline.decide.partition import MailboxPartition
from driftline.localkafka import LocalKafka
from driftline.localkafka.java import free_ports
from driftline.records import Source
from driftline.stream.restore import read_state
from harness import workers
from harness.kafka_io import Admin
from harness.workers import Worker

RAW_PARTITIONS = 3
MODELS = ("alpha", "beta", "gamma", "delta")
SESSION_SECONDS = 6.0  # the shortest that a broker allows by default
BAD_EVERY = 50  # one record in so many is no JSON: it has to be among the rejects

Rows = Counter[tuple[str, int]]  # rows by model and raw partition


class Deployment:
    """Topics, a configuration, and the processes of one test."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.raw = f"{prefix}-events"
        values = workers.settings(
            bootstrap,
            prefix,
            self.raw,
            kafka={"bootstrap_servers": bootstrap, "session_timeout_seconds": SESSION_SECONDS},
            ingest={"discover_models": True, "flush_interval_seconds": 0.05},
            checkpoint={"interval_seconds": 0.5},
            detection={"learning_rows": 500},
        )
        self.config = workers.write_settings(folder / f"{prefix}.yaml", values)
        self.settings: Settings = load_settings(self.config)
        self._folder = folder
        self._dice = random.Random(7)
        self._workers: list[Worker] = []
        self.sent = Rows()
        self.bad = 0
        self._bootstrap = bootstrap

    def create_topics(self) -> None:
        """Ours and the raw one."""
        specs = topics.plan(self.settings, input_partitions=RAW_PARTITIONS)
        made = topics.create(topics.admin_config(self.settings.kafka), specs)
        assert {item.outcome for item in made} == {"created"}

    def start(self) -> Worker:
        """One more `driftline run`."""
        worker = Worker(self.config, self._folder / f"worker-{len(self._workers)}.log")
        self._workers.append(worker)
        return worker

    def log(self, worker: Worker) -> str:
        """What it has logged."""
        return worker.log.read_text(encoding="utf-8", errors="replace")

    def close(self) -> None:
        """End what is left."""
        for worker in self._workers:
            worker.signal(signal.SIGCONT)
            worker.kill()

    async def send(self, count: int, seconds: float) -> None:
        """Events at an even pace; every BAD_EVERY-th is no JSON."""
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all", enable_idempotence=True)
        await producer.start()
        begin = time.monotonic()
        for i in range(count):
            partition, model = self._dice.randrange(RAW_PARTITIONS), self._dice.choice(MODELS)
            body = {"id": str(i), "model": model, "features": {"x": self._dice.gauss(0, 1), "c": "a"}}
            value = json.dumps(body).encode()
            if i % BAD_EVERY == 0:
                value, self.bad = value[:-1], self.bad + 1
            else:
                self.sent[model, partition] += 1
            await producer.send(self.raw, value, partition=partition)
            if i % 20 == 0:
                await asyncio.sleep(max(0.0, begin + seconds * i / count - time.monotonic()))
        await producer.stop()

    async def stored(self) -> tuple[Rows, dict[int, dict[Source, int]]]:
        """Rows that count by model and raw partition, and each mailbox partition's watermarks."""
        count = self.settings.topics.mailbox_partitions
        name = self.settings.topics.name("mailbox")
        ids = topics.topic_ids(topics.admin_config(self.settings.kafka), [name])
        rows, watermarks = Rows(), {}
        for number, found in (
            await read_state(self.settings, range(count), Clients(self.settings.kafka))
        ).items():
            if not found.rows:
                continue
            partition = MailboxPartition.restore(
                found.rows,
                partition=number,
                topic_id=ids[name][0],
                partitions=count,
                settings=self.settings.detection,
                models=self.settings.models,
                revision=self.settings.revision(),
                runbook_url="",
            )
            for model, sources in partition.model_rows().items():
                for source, n in sources.items():
                    rows[model, source.partition] += n
            watermarks[number] = partition.watermarks
        return rows, watermarks

    async def settle(self, seconds: float = 40.0) -> None:
        """Wait until as many rows are stored as were sent, and see that it stays so.

        Raises:
            AssertionError: rows are lost or counted twice.
        """
        deadline = time.monotonic() + seconds
        rows, _ = await self.stored()
        while rows.total() < self.sent.total() and time.monotonic() < deadline:
            await asyncio.sleep(0.3)
            rows, _ = await self.stored()
        await asyncio.sleep(1.2)  # two checkpoints: a row counted twice would show by then
        rows, watermarks = await self.stored()
        assert rows == self.sent
        admin = Admin(self._bootstrap)
        ends = admin.ends(self.raw)
        admin.close()
        for number in range(self.settings.topics.mailbox_partitions):
            reached = {s.partition: hi for s, hi in watermarks[number].items() if s.topic == self.raw}
            assert reached == {p: end - 1 for p, end in ends.items()}


@pytest.fixture
def deployment(kafka: LocalKafka, topic_prefix: str, tmp_path: Path) -> Iterator[Deployment]:
    """Topics made, nothing started."""
    made = Deployment(kafka.bootstrap, topic_prefix, tmp_path)
    made.create_topics()
    yield made
    made.close()


def test_rows_survive_a_kill_and_an_orderly_stop(deployment: Deployment) -> None:
    """SIGKILL in mid-stream and a new worker: nothing lost or twice; SIGTERM stores everything."""

    async def story() -> None:
        first = deployment.start()
        await asyncio.to_thread(first.wait_ready)
        sending = asyncio.create_task(deployment.send(4_000, 6.0))
        await asyncio.sleep(3.3)
        first.kill()
        second = deployment.start()
        await sending
        await deployment.settle()
        await deployment.send(300, 0.5)
        assert await asyncio.to_thread(second.stop) == 0
        third = deployment.start()
        await deployment.settle()
        assert await asyncio.to_thread(third.stop) == 0
        rejects = deployment.settings.topics.name("rejects")
        admin = Admin(deployment.settings.kafka.bootstrap_servers)
        stored = sum(admin.ends(rejects).values())
        admin.close()
        assert stored >= deployment.bad  # at least once: readers drop repeats by their origin

    asyncio.run(story())


def test_a_frozen_worker_writes_nothing_when_it_wakes(deployment: Deployment) -> None:
    """SIGSTOP beyond the session time-out: another one takes over, the zombie leaves or rejoins."""

    async def story() -> None:
        zombie = deployment.start()
        await asyncio.to_thread(zombie.wait_ready)
        sending = asyncio.create_task(deployment.send(6_000, 14.0))
        await asyncio.sleep(2.3)
        zombie.signal(signal.SIGSTOP)
        heir = deployment.start()
        await until(lambda: "mailbox partitions taken over" in deployment.log(heir), 40.0)
        await asyncio.sleep(1.0)
        zombie.signal(signal.SIGCONT)
        await sending
        await deployment.settle()
        heir.check()
        left = zombie.process.poll()
        # Fenced in the middle of a checkpoint (70), or told by the group first: then it is an ordinary member
        # again.
        assert left in {None, 70}
        taken_over = deployment.log(zombie).count("mailbox partitions taken over")
        assert left == 70 or taken_over >= 2

    asyncio.run(story())


def test_a_worker_waits_for_kafka(topic_prefix: str, tmp_path: Path) -> None:
    """A broker that is down at start is waited for; SIGTERM ends the waiting with exit code 0."""
    (port,) = free_ports(1)
    waiting = Deployment(f"127.0.0.1:{port}", topic_prefix, tmp_path).start()
    try:
        text = f"waiting for Kafka at 127.0.0.1:{port}"
        asyncio.run(until(lambda: text in waiting.log.read_text(), 60.0))
        assert waiting.alive
        assert waiting.http("/live")
        assert not waiting.http("/ready")
        assert waiting.stop() == 0
    finally:
        waiting.kill()


def test_a_missing_topic_names_the_command(kafka: LocalKafka, topic_prefix: str, tmp_path: Path) -> None:
    """Without its topics the worker ends with CONFIG, and says what to type."""
    lonely = Deployment(kafka.bootstrap, topic_prefix, tmp_path).start()
    try:
        assert lonely.process.wait(60) == 64
        assert "driftline topics create" in lonely.log.read_text()
        assert lonely.log.read_text().count("Traceback") == 0
    finally:
        lonely.kill()


async def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: it did not come true.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.1)
