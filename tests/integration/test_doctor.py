"""``driftline doctor`` beside a real broker: no topics, no worker, and a deployment that works."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner

from driftline import cli
from driftline.localkafka import LocalKafka
from harness import workers
from harness.kafka_io import Admin
from harness.workers import Worker

ROWS = 1_200  # beyond learning_rows below
BAD = 100


def doctor(config: Path, *more: str) -> tuple[int, str]:
    """Exit code and what it printed."""
    result = CliRunner().invoke(cli.app, ["doctor", "-c", str(config), *more])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


async def send(kafka: LocalKafka, topic: str) -> None:
    """Events of one model, and some of one that nobody configured."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
    await producer.start()
    try:
        for i in range(ROWS + BAD):
            model = "m" if i < ROWS else "stranger"
            await producer.send(topic, json.dumps({"model": model, "features": {"x": i % 17}}).encode())
        await producer.flush()
    finally:
        await producer.stop()


@pytest.fixture
def config(kafka: LocalKafka, topic_prefix: str, tmp_path: Path) -> Path:
    """Two models, of which one gets events."""
    values = workers.settings(
        kafka.bootstrap,
        topic_prefix,
        f"{topic_prefix}-events",
        models={"m": {}, "silent": {}},
        checkpoint={"interval_seconds": 0.5},
        detection={"learning_rows": 500},
    )
    return workers.write_settings(tmp_path / "c.yaml", values)


def test_each_step_of_an_installation(
    kafka: LocalKafka, topic_prefix: str, config: Path, tmp_path: Path
) -> None:
    """Without topics; without events and workers; at work, with a stranger and a silent model."""
    code, text = doctor(config)
    assert code == 1
    assert f"good  {kafka.bootstrap} answers (PLAINTEXT)." in text
    assert f"WRONG Topic {topic_prefix}.mailbox is missing." in text
    assert "-> driftline topics create" in text
    assert "group" not in text  # what cannot be told yet

    admin = Admin(kafka.bootstrap)
    try:
        admin.create(f"{topic_prefix}-events", 2, {})
    finally:
        admin.close()
    workers.create_topics(config)
    code, text = doctor(config, "--worker", "http://127.0.0.1:9")
    assert code == 1
    assert "good  All topics are as they have to be." in text
    assert f"WRONG No worker of stage ingest is in group {topic_prefix}-ingest" in text
    assert f"WRONG {topic_prefix}-events has never held a record." in text
    assert "WRONG No model has state" in text
    assert "WRONG http://127.0.0.1:9/ready does not answer" in text

    asyncio.run(send(kafka, f"{topic_prefix}-events"))
    worker = Worker(config, tmp_path / "worker.log")
    try:
        worker.wait_ready()
        code, text = doctor(config, "--worker", f"http://127.0.0.1:{worker.port}")
        shown = worker.metrics()
    finally:
        worker.kill()
    assert code == 1
    for role in ("ingest", "detect"):
        assert f"good  Stage {role}: 1 member(s) in group {topic_prefix}-{role}, nothing waits." in text
    assert f"good  {topic_prefix}-events: 1,300 records in the last hour, 0 in " in text
    assert "WRONG 100 rows were rejected in the last hour (7.7%): model_unknown 100%. For example " in text
    assert "good  Models: 1 active." in text
    assert "WRONG 1 configured models have had no event: silent." in text
    assert "/ready: ready." in text
    # What retention leaves is on the page: the mailbox's day, and the raw topic's week as the broker has it.
    assert set(shown["driftline_mailbox_retention_headroom_seconds"].values()) == {24 * 3600.0}
    assert shown["driftline_mailbox_retention_seconds"] == {"": 24 * 3600.0}
    assert set(shown["driftline_input_retention_headroom_seconds"].values()) == {7 * 24 * 3600.0}
