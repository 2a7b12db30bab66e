"""The real product on the shut broker: every process under its own user, with TLS for its metrics too.

Ingest logs in with a password, detect with a certificate alone; topics are made by ``deploy``, events are
written by ``producer``, alerts are read by ``reader``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from driftline import topics
from driftline.clients import Clients
from driftline.config import Settings, load_settings
from driftline.publish.kafka import follow_alerts
from harness import workers
from harness.workers import Worker, parse_metrics
from security.broker import SecuredKafka
from security.certificates import Pair

PREFIX: Final = "safe"
RAW: Final = "raw.events"
MODEL: Final = "credit"
RAW_BYTES_MAX: Final = 16 << 20  # larger than the service takes, so that its own limits are tried
ESCAPE_CITY: Final = "\x1b]0;owned\x07"  # names the terminal's window, where it is not escaped
LEARNING_ROWS: Final = 500
SECONDS_MAX: Final = 90.0
ROLES: Final = ("ingest", "detect")


class TlsWorker(Worker):
    """A worker whose HTTP server speaks TLS and asks for a token."""

    context: ssl.SSLContext
    token: str

    def http(self, path: str) -> str:
        """As ``Worker.http``, over TLS and with the token."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self.port}{path}", headers={"Authorization": f"Bearer {self.token}"}
        )
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(request, timeout=5, context=self.context) as answer,  # noqa: S310
        ):
            return str(answer.read().decode())
        return ""


class Product:
    """Configurations, topics and workers of one deployment."""

    def __init__(self, broker: SecuredKafka, folder: Path) -> None:
        self.broker = broker
        self.folder = folder
        self.token = "t0k3n-" + broker.identities.passwords["deploy"]
        self._token_file = folder / "token"
        self._token_file.write_text(self.token, encoding="utf-8")
        self.pair: Pair = broker.identities.authority.issue("metrics", san="IP:127.0.0.1")
        self.workers: dict[str, TlsWorker] = {}
        self.sent = 0
        self._dice = random.Random(11)
        self._files = {role: self._write(role) for role in broker.identities.clients}

    def _write(self, role: str) -> Path:
        listener = "mtls" if role == "detect" else "sasl"
        values = workers.settings(
            "", PREFIX, RAW,
            kafka={**self.broker.kafka_settings(role, listener=listener), "session_timeout_seconds": 6},
            models={MODEL: {}},
            detection={"learning_rows": LEARNING_ROWS},
            checkpoint={"interval_seconds": 0.5},
            notify={"targets": {"hook": {"kind": "webhook", "url": "http://127.0.0.1:9"}}},
            http={
                "tls_certfile": str(self.pair.cert), "tls_keyfile": str(self.pair.key),
                "token_file": str(self._token_file),
            },
        )  # fmt: skip
        values["topics"]["mailbox_partitions"] = 2
        return workers.write_settings(self.folder / f"{role}.yaml", values)

    def settings(self, role: str) -> Settings:
        """The configuration of a role, parsed."""
        return load_settings(self._files[role])

    def run(self, role: str, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of the product with a role's configuration."""
        line = workers.driftline(*command, "--config", str(self._files[role]))
        return subprocess.run(line, capture_output=True, text=True, timeout=120, check=False)

    def make_topics(self) -> None:
        """The raw topic by the administrator, ours by ``deploy``."""
        client = self.broker.admin()
        try:
            client.create_topics(
                {
                    RAW: {
                        "num_partitions": 2,
                        "replication_factor": 1,
                        "configs": {"max.message.bytes": str(RAW_BYTES_MAX)},
                    }
                }
            )
        finally:
            client.close()
        done = self.run("deploy", "topics", "create")
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> None:
        """Both workers, until they are ready."""
        for role in ROLES:
            worker = TlsWorker(self._files[role], self.folder / f"{role}.log", role)
            worker.context = self.broker.identities.context()
            worker.token = self.token
            self.workers[role] = worker
        for worker in self.workers.values():
            worker.wait_ready()

    def stop(self) -> None:
        """End what runs."""
        for worker in self.workers.values():
            worker.kill()

    def producer(self) -> Any:
        """A client of the product's own making, as ``producer``."""
        return Clients(self.settings("producer").kafka).producer(acks="all")

    async def send(self, rows: int, *, mean: float = 0.0) -> None:
        """Honest events."""
        producer = self.producer()
        await producer.start()
        try:
            for _ in range(rows):
                features = {"amount": self._dice.gauss(mean, 1.0), "city": ESCAPE_CITY if mean else "Rome"}
                event = {"model": MODEL, "features": features}
                await producer.send(RAW, json.dumps(event).encode(), partition=0)
            await producer.flush()
        finally:
            await producer.stop()
        self.sent += rows

    async def alerts(self) -> list[dict[str, Any]]:
        """What ``reader`` finds on the alerts topic."""
        found: list[dict[str, Any]] = []
        await follow_alerts(
            self.settings("reader"), lambda a: found.append(dict(a)), from_beginning=True, follow=False
        )
        return found

    def counted(self, name: str, part: str = "") -> float:
        """Sum of a metric of ingest over labels that contain ``part``."""
        values = parse_metrics(self.workers["ingest"].http("/metrics")).get(name, {})
        return sum(value for labels, value in values.items() if part in labels)

    def accounted(self) -> float:
        """Records that ingest accepted or rejected since it started."""
        return self.accepted() + self.counted("driftline_events_rejected_total")

    async def rejected_offsets(self) -> dict[int, str]:
        """Reason codes by offset in partition 0 of the raw topic, as ``operator`` finds them."""
        consumer = Clients(self.settings("operator").kafka).consumer(isolation_level="read_committed")
        await consumer.start()
        found: dict[int, str] = {}
        try:
            topic = self.settings("operator").topics.name("rejects")
            parts = [TopicPartition(topic, p) for p in range(2)]
            consumer.assign(parts)
            await consumer.seek_to_beginning(*parts)
            ends = await consumer.end_offsets(parts)
            while any([await consumer.position(tp) < ends[tp] for tp in parts]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    bodies = (json.loads(record.value) for record in batch)
                    found |= {
                        b["origin"]["offset"]: b["code"] for b in bodies if not b["origin"]["partition"]
                    }
        finally:
            await consumer.stop()
        return found

    def accepted(self) -> float:
        """Events that ingest accepted since it started."""
        return self.counted("driftline_events_accepted_total")

    async def until(self, what: str, holds: Callable[[], bool], seconds: float = SECONDS_MAX) -> None:
        """Wait for something; a worker that ended is an error at once."""
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(holds):
            for worker in self.workers.values():
                worker.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {seconds:.0f} s: {what}")
            await asyncio.sleep(0.2)

    async def works(self) -> list[str]:
        """From honest events to an alert; what is wrong with it, if anything."""
        await self.send(4 * LEARNING_ROWS)
        await self.until("honest events are accepted", lambda: self.accepted() >= self.sent)
        await self.send(4 * LEARNING_ROWS, mean=3.0)
        deadline = time.monotonic() + SECONDS_MAX
        while not {"amount", "city"} <= {alert["signal"] for alert in await self.alerts()}:
            if time.monotonic() > deadline:
                return ["no alerts for a shift of three standard deviations and a new category"]
            await asyncio.sleep(0.5)
        return []

    async def survives_rotation(self) -> list[str]:
        """New CA, certificates and password in the same files, broker restarted: nobody is."""
        before = {role: worker.process.pid for role, worker in self.workers.items()}
        self.broker.set_password("ingest", "n3w-" + self.broker.identities.passwords["deploy"])
        self.broker.identities.renew(self.folder)
        await asyncio.to_thread(self.broker.restart)
        have = self.accepted()
        for _ in range(50):  # our own producer may meet a broker that is not up yet
            with contextlib.suppress(KafkaError, OSError):
                await self.send(100)
                break
            await asyncio.sleep(0.5)
        await self.until("events after the rotation are accepted", lambda: self.accepted() >= have + 100)
        await self.until("both workers are ready", lambda: all(w.ready() for w in self.workers.values()))
        same = {role: worker.process.pid for role, worker in self.workers.items()} == before
        return [] if same else ["a worker was restarted"]

    def written(self) -> str:
        """Everything that the workers logged."""
        return "".join(w.log.read_text(encoding="utf-8", errors="replace") for w in self.workers.values())

    def plan(self) -> list[topics.TopicSpec]:
        """Our topics."""
        return topics.plan(self.settings("deploy"))
