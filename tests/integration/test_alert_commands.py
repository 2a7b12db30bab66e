"""Commands on alerts through a real Kafka and a running worker: mute before a drift, then close it."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer

from driftline import topics
from driftline.config import load_settings
from driftline.localkafka import LocalKafka
from harness import workers
from harness.kafka_io import read_all
from harness.workers import Worker

WAIT_SECONDS = 60.0


class Running:
    """A worker, what it is sent and what it says."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.bootstrap, self.prefix = bootstrap, prefix
        values = workers.settings(
            bootstrap, prefix, f"{prefix}-events",
            ingest={"discover_models": True, "flush_interval_seconds": 0.05},
            checkpoint={"interval_seconds": 0.3},
            detection={"learning_rows": 500},
            inputs=[{"topic": f"{prefix}-events", "start": "earliest"}],
        )  # fmt: skip
        self.config = workers.write_settings(folder / "alerts.yaml", values)
        settings = load_settings(self.config)
        topics.create(topics.admin_config(settings.kafka), topics.plan(settings, input_partitions=1))
        self.worker = Worker(self.config, folder / "worker.log")
        self._dice = random.Random(3)

    def cli(self, *arguments: str) -> str:
        """A ``driftline`` command of a person called jane."""
        command = workers.driftline(*arguments, "--config", str(self.config))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def send(self, count: int, level: float) -> None:
        """Events whose "x" has this level."""

        async def go() -> None:
            producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
            await producer.start()
            for _ in range(count):
                body = {"model": "m", "features": {"x": self._dice.gauss(level, 1)}}
                await producer.send(f"{self.prefix}-events", json.dumps(body).encode())
            await producer.stop()

        asyncio.run(go())

    def alerts(self) -> list[dict[str, Any]]:
        """Openings and resolutions of "x" on the topic, read committed; bursts may open the traffic too."""
        found = asyncio.run(read_all(self.bootstrap, f"{self.prefix}.alerts"))
        data = [json.loads(record.value or b"") for record in found]
        return [a for a in data if a["signal"] == "x" and not a["type"].endswith("updated")]

    def until(self, done: Callable[[], bool]) -> None:
        """Wait for something; the worker must live."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not done():
            self.worker.check()
            what = f"{self.alerts()}\n{self.worker.log.read_text(encoding='utf-8')[-3_000:]}"
            assert time.monotonic() < deadline, what
            time.sleep(0.2)

    def logged(self, words: str) -> Callable[[], bool]:
        """Whether the worker's log has the words."""
        return lambda: words in self.worker.log.read_text(encoding="utf-8")


def test_mute_then_close(kafka: LocalKafka, topic_prefix: str, tmp_path: Path) -> None:
    """The opening is on the topic but muted, /metrics says so; closing resolves it, by whom and why."""
    run = Running(kafka.bootstrap, topic_prefix, tmp_path)
    jane = ("--by", "jane", "--model", "m")
    try:
        run.worker.wait_ready()
        run.send(1_500, 0.0)
        run.until(
            lambda: 'driftline_model_state{model="m",state="active"} 1.0' in run.worker.http("/metrics")
        )
        sent = run.cli("alerts", "mute", *jane, "--for", "1h", "--why", "a migration")
        assert f"sent as command {topic_prefix}.commands/" in sent
        run.until(run.logged("model m is muted until"))
        run.send(500, 3.0)
        run.until(lambda: len(run.alerts()) == 1)
        (opened,) = run.alerts()
        assert (opened["state"], opened["muted"], opened["page"]) == ("open", True, False)
        assert (opened["mute"]["by"], opened["mute"]["why"]) == ("jane", "a migration")
        gauge = 'driftline_alert_active{model="m",severity="critical",signal="x",state="muted"} 1.0'
        run.until(lambda: gauge in run.worker.http("/metrics"))
        applied = 'driftline_model_rows_total{model="m"} 2000.0'
        run.until(lambda: applied in run.worker.http("/metrics"))  # else the rest would open it again

        run.cli("alerts", "close", *jane, "--signal", "x", "--why", "repaired")
        run.until(lambda: len(run.alerts()) == 2)
        resolved = run.alerts()[-1]
        assert (resolved["state"], resolved["cause"]) == ("resolved", "closed by jane: repaired")
        assert resolved["incident"] == opened["incident"]
        assert "[muted until " in run.cli("alerts", "list")
        run.until(
            lambda: (
                'driftline_alert_active{model="m",severity="critical",signal="x"'
                not in run.worker.http("/metrics")
            )
        )
    finally:
        run.worker.kill()
