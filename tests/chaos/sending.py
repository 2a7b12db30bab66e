"""Sends the traffic of a run at a rate, while brokers die: what was stored is read back, not remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from harness.kafka_io import REQUEST_BYTES_MAX

TICK_SECONDS: Final = 0.05
SEND_SECONDS_MAX: Final = 5.0  # a full buffer while the broker is away; the record is then given up
FLUSH_SECONDS_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record; a client sends none with neither key nor value."""

    partition: int
    key: bytes | None
    value: bytes | None
    topic: str = ""  # "" for that of the sender


class Sender:
    """An idempotent producer of one topic that is replaced when it breaks; ``refused`` counts lost sends."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._bootstrap, self._topic = bootstrap, topic
        self._producer: AIOKafkaProducer | None = None
        self.refused = 0

    async def __aenter__(self) -> Self:
        await self._connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._disconnect()

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            max_request_size=REQUEST_BYTES_MAX,
        )
        await producer.start()
        self._producer = producer
        return producer

    async def _disconnect(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                async with asyncio.timeout(SEND_SECONDS_MAX):
                    await producer.stop()
            except (KafkaError, TimeoutError):
                self.refused += 1

    async def send(self, record: Outgoing) -> None:
        """Put a record on its way; it may be lost before it is stored, and then it never was on the topic."""
        try:
            producer = self._producer or await self._connect()
            async with asyncio.timeout(SEND_SECONDS_MAX):
                stored = await producer.send(
                    record.topic or self._topic,
                    value=record.value,
                    key=record.key,
                    partition=record.partition,
                )
            stored.add_done_callback(self._settled)
        except (KafkaError, TimeoutError):
            self.refused += 1
            await self._disconnect()

    def _settled(self, stored: asyncio.Future[Any]) -> None:
        if not stored.cancelled() and stored.exception() is not None:
            self.refused += 1

    async def flush(self) -> None:
        """Wait until everything is stored or given up."""
        if self._producer is not None:
            async with asyncio.timeout(FLUSH_SECONDS_MAX):
                await self._producer.flush()

    async def steadily(
        self, draw: Callable[[float], Outgoing], rate: float, begin: float, end: float
    ) -> None:
        """``rate`` records a second between two seconds of the plan's time; late ones follow at once."""
        started, sent = time.monotonic(), 0
        while (passed := time.monotonic() - started) < end - begin:
            while sent < passed * rate:
                await self.send(draw(begin + passed))
                sent += 1
            await asyncio.sleep(TICK_SECONDS)
        await self.flush()
