"""One code, two ways in: a topic of one partition gives the alerts of `driftline replay` of its records."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer

from driftline.localkafka import LocalKafka
from harness import workers
from harness.kafka_io import Admin, read_all, until
from harness.workers import Worker

ROWS = 14_000
SHIFTED = slice(6_000, 8_000)
SECONDS_MAX = 60.0


def records() -> list[bytes | None]:
    """Native events of two models with a shift that comes and goes; some broken ones, one null value."""
    rng = np.random.default_rng(4)
    age = rng.normal(41, 12, ROWS)
    age[SHIFTED] += 15
    made: list[bytes | None] = []
    for i in range(ROWS):
        event = {
            "id": f"e{i}",
            "model": "credit-risk" if i % 8 else "churn",
            "time": 1_700_000_000_000 + 500 * i,
            "features": {"age": round(float(age[i]), 3), "country": str(rng.choice(["DE", "FR", "IT"]))},
            "prediction": {"score": round(float(rng.random()), 6), "class": "approve"},
        }
        made.append(json.dumps(event).encode())
    made[100] = b'{"model": "churn", "model": "x"}'
    made[200] = b"not json"
    made[300] = None
    return made


def replayed(path: Path, config: Path, batch: int) -> tuple[list[dict[str, Any]], str]:
    """Alerts and raw output of `driftline replay --json`."""
    command = workers.driftline("replay", str(path), "--config", str(config), "--json", "--batch", str(batch))
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    alerts = [json.loads(line) for line in lines[:-1]]
    assert json.loads(lines[-1])["summary"]["rows"] == ROWS
    return alerts, "\n".join(lines[:-1])


async def through_kafka(bootstrap: str, raw: str) -> None:
    """Append the records in order."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap)
    await producer.start()
    try:
        sent = [await producer.send(raw, value, key=b"k", partition=0) for value in records()]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def without_ids(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Without the ids, which carry the mailbox topic's, and the row of a replay; incidents by number."""
    numbers: dict[str, int] = {}
    plain = ({key: value for key, value in alert.items() if key not in {"id", "row"}} for alert in alerts)
    return [{**a, "incident": numbers.setdefault(a["incident"], len(numbers))} for a in plain]


def test_a_topic_gives_the_alerts_of_its_replay(kafka: LocalKafka, topic_prefix: str, tmp_path: Path) -> None:
    """Byte-identical for every batch size; the same alerts in the same order through the service."""
    raw = f"{topic_prefix}-events"
    values = workers.settings(
        kafka.bootstrap,
        topic_prefix,
        raw,
        ingest={"discover_models": True, "max_event_age_hours": None},
        checkpoint={"interval_seconds": 0.5},
        detection={"learning_rows": 600},
    )
    values["topics"]["mailbox_partitions"] = 1
    config = workers.write_settings(tmp_path / "driftline.yaml", values)
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"".join((value or b"") + b"\n" for value in records()))

    expected, text = replayed(file, config, 20_000)
    for batch in (1, 777):
        assert replayed(file, config, batch)[1] == text
    assert {a["state"] for a in expected} == {"open", "resolved"}
    assert all(a["row"] == a["origin"]["offset"] for a in expected)

    admin = Admin(kafka.bootstrap)
    admin.create(raw, 1, {})
    workers.create_topics(config)
    worker = Worker(config, tmp_path / "worker.log")
    try:
        worker.wait_ready()
        asyncio.run(through_kafka(kafka.bootstrap, raw))

        def drained() -> bool:
            worker.check()
            ingested = admin.caught_up(f"{topic_prefix}-ingest", raw)
            return ingested and admin.caught_up(f"{topic_prefix}-detect", f"{topic_prefix}.mailbox")

        asyncio.run(until(drained, SECONDS_MAX))
    finally:
        code = worker.stop()
        admin.close()
    assert code == 0
    found = asyncio.run(read_all(kafka.bootstrap, f"{topic_prefix}.alerts"))
    by_key = [json.loads(r.value or b"") for r in found]
    by_key.sort(key=lambda a: (a["origin"]["offset"], a["model"], a["signal"], a["state"]))
    expected.sort(key=lambda a: (a["origin"]["offset"], a["model"], a["signal"], a["state"]))
    assert without_ids(by_key) == without_ids(expected)
    assert len({a["id"] for a in by_key}) == len(by_key)
