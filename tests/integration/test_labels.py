"""Labels on a real Kafka, with a worker killed in between: confusion equals an exact join of the topics."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from driftline import topics
from driftline.clients import Clients
from driftline.config import Settings, load_settings
from driftline.decide.labelled import Labelled
from driftline.decide.partition import MailboxPartition
from driftline.localkafka import LocalKafka
from driftline.stream.restore import read_state
from harness import workers
from harness.kafka_io import read_all
from harness.workers import Worker
from oracle.labels import confusion, join

PARTITIONS = 3
MODELS = ("alpha", "beta", "gamma")
EVENTS = 6_000
SECONDS = 8.0  # of traffic
SETTLE_SECONDS = 40.0


def records() -> list[tuple[str, int, dict[str, Any]]]:
    """(kind, raw partition, body) in sending order; labels early, late, twice, contradicting, of nobody."""
    dice = random.Random(11)
    out: list[tuple[float, str, int, dict[str, Any]]] = []
    for i in range(EVENTS):
        model, truth = dice.choice(MODELS), dice.choice(["yes", "no"])
        said = truth if dice.random() < 0.8 else "no"
        event = {"id": f"e{i}", "model": model, "features": {"x": dice.gauss(0, 1)}, "prediction": said}
        out.append((i, "events", dice.randrange(PARTITIONS), event))
        for _ in range(dice.choice([0, 1, 1, 1, 2])):
            label = {"id": f"e{i}", "model": model, "label": truth if dice.random() < 0.9 else "no"}
            # All labels of an event go through one partition: then it is known which of them is the first.
            out.append((i + dice.uniform(-300, 600), "labels", i % PARTITIONS, label))
        if i % 50 == 0:
            out.append((i, "labels", 0, {"id": f"nobody{i}", "model": model, "label": "yes"}))
            out.append((i, "labels", 0, {"model": model, "label": "yes"}))  # rejected: id_missing
    return [(kind, partition, body) for _, kind, partition, body in sorted(out, key=lambda r: r[0])]


async def send(bootstrap: str, prefix: str, rows: list[tuple[str, int, dict[str, Any]]]) -> None:
    """All records at an even pace."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    begin = time.monotonic()
    for n, (kind, partition, body) in enumerate(rows):
        await producer.send(f"{prefix}-{kind}", json.dumps(body).encode(), partition=partition)
        if n % 50 == 0:
            await asyncio.sleep(max(0.0, begin + SECONDS * n / len(rows) - time.monotonic()))
    await producer.stop()


async def stored(settings: Settings) -> tuple[dict[str, Labelled], Counter[str]]:
    """Labels of every model as the state topic has them, and rows that count by raw topic."""
    count = settings.topics.mailbox_partitions
    name = settings.topics.name("mailbox")
    ids = topics.topic_ids(topics.admin_config(settings.kafka), [name])
    found, rows = dict[str, Labelled](), Counter[str]()
    for number, state in (await read_state(settings, range(count), Clients(settings.kafka))).items():
        if not state.rows:
            continue
        partition = MailboxPartition.restore(
            state.rows, partition=number, topic_id=ids[name][0], partitions=count,
            settings=settings.detection, models=settings.models, revision=settings.revision(), runbook_url="",
        )  # fmt: skip
        for model, sources in partition.model_rows().items():
            own = partition.models[model].labelled
            assert own is not None
            found[model] = own
            for source, n in sources.items():
                rows[source.topic] += n
    return found, rows


async def offline(bootstrap: str, prefix: str) -> tuple[dict[str, Any], Counter[str]]:
    """An exact join of the raw topics by model, all events first; and usable records by topic."""
    history: dict[str, list[tuple[str, Any, Any]]] = {model: [] for model in MODELS}
    rows = Counter[str]()
    for kind, field in (("event", "prediction"), ("label", "label")):
        for record in await read_all(bootstrap, f"{prefix}-{kind}s"):
            body = json.loads(record.value or b"")
            if "id" in body:
                history[body["model"]].append((kind, body["id"], body[field]))
                rows[f"{prefix}-{kind}s"] += 1
    return {model: join(found) for model, found in history.items()}, rows


def test_confusion_counts_survive_a_kill(kafka: LocalKafka, topic_prefix: str, tmp_path: Path) -> None:
    """SIGKILL in mid-stream and a new worker: 0 off, 0 twice; and /metrics shows what was stored."""
    inputs = [
        {"topic": f"{topic_prefix}-events", "start": "earliest"},
        {"topic": f"{topic_prefix}-labels", "start": "earliest", "kind": "labels"},
    ]
    values = workers.settings(
        kafka.bootstrap, topic_prefix, "", inputs=inputs,
        kafka={"bootstrap_servers": kafka.bootstrap, "session_timeout_seconds": 6.0},
        ingest={"discover_models": True, "flush_interval_seconds": 0.05},
        checkpoint={"interval_seconds": 0.5},
        detection={"learning_rows": 500, "labels": {"window_rows": 200, "reference_rows": 500}},
    )  # fmt: skip
    config = workers.write_settings(tmp_path / "labels.yaml", values)
    settings = load_settings(config)
    specs = topics.plan(settings, input_partitions=PARTITIONS)
    topics.create(topics.admin_config(settings.kafka), specs)

    async def story() -> None:
        first = Worker(config, tmp_path / "first.log")
        second: Worker | None = None
        try:
            await asyncio.to_thread(first.wait_ready)
            sending = asyncio.create_task(send(kafka.bootstrap, topic_prefix, records()))
            await asyncio.sleep(SECONDS / 2)
            first.kill()
            second = Worker(config, tmp_path / "second.log")
            await sending
            want, sent = await offline(kafka.bootstrap, topic_prefix)
            deadline = time.monotonic() + SETTLE_SECONDS
            found, rows = await stored(settings)
            while rows.total() < sent.total() and time.monotonic() < deadline:
                await asyncio.sleep(0.3)
                found, rows = await stored(settings)
            assert rows == sent
            second.check()
            for model, exact in want.items():
                own = found[model]
                assert Counter(own.performance.totals(own.labels.names)) == confusion(exact)
                view = own.view()
                got = (view.matched, view.duplicates, view.conflicts)
                assert got == (len(exact.pairs), exact.counts["duplicates"], exact.counts["conflicts"])
                assert view.duplicates > 50
                assert view.conflicts > 10
                assert "accuracy" in view.statistics
            shown = second.metrics()["driftline_labels_joined_total"]
            assert {f'model="{m}"': float(len(exact.pairs)) for m, exact in want.items()} == shown
            assert await asyncio.to_thread(second.stop) == 0
        finally:
            first.kill()
            if second is not None:
                second.kill()

    asyncio.run(story())
