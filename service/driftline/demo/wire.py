"""Kafka for demo and simulator: send events in batches, follow a topic, read one to its end."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from driftline.errors import OutsideError

BATCH_BYTES_MAX: Final = 512 << 10  # half of a broker's default limit of 1 MiB
REQUEST_BYTES_MAX: Final = 4 << 20  # a promoted baseline is one record of up to 3 MiB
FETCH_BYTES: Final = 4 << 20
READ_TIMEOUT_SECONDS: Final = 60.0

Client = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """A record read back; ``timestamp`` in ms."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


def quiet_clients() -> None:
    """Keep the client library's log off the screen: what a person has to know, our own messages say."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


class Sender:
    """Sends events in batches that we form ourselves: a record costs one append, not one future.

    Batches go to the partitions in turn, each when the one before it is on its way. Record timestamps are
    those of sending, so their order is the order of the events.
    """

    def __init__(self, client: Client, topic: str, partitions: int) -> None:
        """``client``: arguments of every client, from ``clients.client_options``."""
        self.topic, self.partitions = topic, partitions
        self.sent = 0
        self._client = client
        self._next = 0
        self._producer = AIOKafkaProducer(
            **client,
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            max_batch_size=BATCH_BYTES_MAX,
            max_request_size=REQUEST_BYTES_MAX,
        )

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            await self._producer.start()
        except KafkaError as error:
            await self._producer.stop()
            raise OutsideError(f"no Kafka broker answers: {error!r}.", remedy="Check the address.") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        """Send what is under way, disconnect."""
        await self._producer.stop()

    async def send(self, events: Sequence[bytes]) -> None:
        """Send events in their order; returns when they are on their way."""
        first = 0
        while first < len(events):
            batch = self._producer.create_batch()
            now = time.time_ns() // 1_000_000
            count = 0
            while first + count < len(events):
                if batch.append(key=None, value=events[first + count], timestamp=now) is None:
                    break
                count += 1
            if count == 0:
                raise OutsideError(f"an event of {len(events[first])} bytes does not fit a batch.")
            batch.close()
            await self._producer.send_batch(batch, self.topic, partition=self._next)
            self._next = (self._next + 1) % self.partitions
            self.sent += count
            first += count

    async def send_keyed(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
        """Send one record and wait until it is stored; the hash of the key chooses the partition."""
        await self._producer.send_and_wait(self.topic, value, key=key, headers=list(headers))

    async def use_all_partitions(self) -> bool:
        """Spread over as many partitions as the topic has; False: there is no such topic."""
        async with _consumer(self._client) as consumer:
            if self.topic not in await consumer.topics():  # asking the producer would wait for it to appear
                return False
        self.partitions = len(await self._producer.partitions_for(self.topic))
        return True

    async def flush(self) -> None:
        """Wait until everything is stored."""
        await self._producer.flush()


async def read_all(client: Client, topic: str, partitions: int) -> list[Record]:
    """Every committed record of a topic up to its end as it is now, in offset order by partition.

    Raises:
        OutsideError: the end was not reached in READ_TIMEOUT_SECONDS.
    """
    places = [TopicPartition(topic, p) for p in range(partitions)]
    found: list[Record] = []
    async with _consumer(client) as consumer:
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        deadline = time.monotonic() + READ_TIMEOUT_SECONDS
        while not all([await consumer.position(place) >= ends[place] for place in places]):
            if time.monotonic() > deadline:
                raise OutsideError(
                    f"topic {topic} could not be read to its end.", remedy="Look at the broker's log."
                )
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += [_record(r) for r in records]
    return sorted(found, key=lambda r: (r.partition, r.offset))


async def follow(client: Client, topic: str, partitions: int) -> AsyncIterator[Record]:
    """Committed records of a topic as they come, from its beginning; ends when cancelled."""
    async with _consumer(client) as consumer:
        places = [TopicPartition(topic, p) for p in range(partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        while True:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    yield _record(record)
            await asyncio.sleep(0)


async def end_of(client: Client, topic: str, partitions: int) -> int:
    """Records that a topic has ever had, over all its partitions (compaction and retention aside)."""
    async with _consumer(client) as consumer:
        places = [TopicPartition(topic, p) for p in range(partitions)]
        return int(sum((await consumer.end_offsets(places)).values()))


@asynccontextmanager
async def _consumer(client: Client) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        **client,
        isolation_level="read_committed",
        enable_auto_commit=False,
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


def _record(record: Any) -> Record:
    return Record(record.partition, record.offset, record.timestamp, record.key, record.value)
