"""What the bench and the chaos run ask of Kafka: topics, positions, whole topics read back, and batches sent.

None of it is the product's code, so that a mistake there cannot hide here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Self
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from kafka import TopicPartition as AdminPartition
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic, OffsetSpec
from kafka.errors import KafkaError

BATCH_RECORDS: Final = 500  # PERFORMANCE.md: about 500 records a batch
REQUEST_BYTES_MAX: Final = 4 << 20  # one oversized record of the chaos run, or one full batch
READ_SECONDS_MAX: Final = 60.0  # without any progress


class Admin:
    """Topics and positions; synchronous, call it through ``asyncio.to_thread`` beside other work."""

    def __init__(self, bootstrap: str) -> None:
        self._client = KafkaAdminClient(bootstrap_servers=bootstrap)

    def close(self) -> None:
        """End the connection."""
        self._client.close()

    def create(self, topic: str, partitions: int, configs: Mapping[str, str]) -> None:
        """Create a topic and wait until it can be used."""
        new = NewTopic(
            name=topic, num_partitions=partitions, replication_factor=1, topic_configs=dict(configs)
        )
        self._client.create_topics([new], wait_for_metadata=True)

    def configure(self, topic: str, configs: Mapping[str, str]) -> None:
        """Change some settings of a topic, leave the others."""
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict(configs))
        self._client.alter_configs([resource], incremental=True)

    def partitions(self, topic: str) -> int:
        """How many partitions a topic has."""
        return len(self._client.describe_topics([topic])[0]["partitions"])

    def topic_id(self, topic: str) -> str:
        """The id the broker gave the topic."""
        return str(UUID(str(self._client.describe_topics([topic])[0]["topic_id"])))

    def ends(self, topic: str) -> dict[int, int]:
        """The next offset of each partition."""
        return self._offsets(topic, OffsetSpec.LATEST)

    def begins(self, topic: str) -> dict[int, int]:
        """The first offset kept of each partition."""
        return self._offsets(topic, OffsetSpec.EARLIEST)

    def _offsets(self, topic: str, spec: Any) -> dict[int, int]:
        wanted = {AdminPartition(topic, p): spec for p in range(self.partitions(topic))}
        return {tp.partition: at.offset for tp, at in self._client.list_partition_offsets(wanted).items()}

    def committed(self, group: str) -> dict[tuple[str, int], int]:
        """What a group committed; empty while the broker knows none."""
        try:
            found = self._client.list_group_offsets([group])[group]
        except KafkaError:
            return {}
        return {(tp.topic, tp.partition): at.offset for tp, at in found.items() if at.offset >= 0}

    def lag(self, group: str, topic: str) -> int:
        """Records of ``topic`` that ``group`` has not committed; a topic's first offset counts as 0."""
        committed = self.committed(group)
        return sum(max(0, end - committed.get((topic, p), 0)) for p, end in self.ends(topic).items())

    def caught_up(self, group: str, topic: str) -> bool:
        """Whether ``group`` committed every record of ``topic``."""
        return self.lag(group, topic) == 0

    def members(self, group: str) -> int:
        """Members of a group that is settled; 0 while it rebalances."""
        try:
            found = self._client.describe_groups([group])[group]
        except KafkaError:
            return 0
        return len(found["members"]) if found["group_state"] == "Stable" else 0


@dataclass(slots=True)  # not frozen, which would double the cost of making tens of millions
class Read:
    """A record read back; times in ms."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


async def read_each(
    bootstrap: str,
    topic: str,
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
) -> AsyncIterator[Read]:
    """Records of a topic up to its end as it is now, in offset order within each partition; read to the end.

    Raises:
        TimeoutError: the end was not reached; for read_committed an open transaction may be the reason.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level=isolation,
        enable_auto_commit=False,
        max_partition_fetch_bytes=REQUEST_BYTES_MAX,
    )
    await consumer.start()
    try:
        parts = consumer.partitions_for_topic(topic) or await _partitions(consumer, topic)
        places = [TopicPartition(topic, p) for p in sorted(parts)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        positions: dict[TopicPartition, int] = {}
        deadline = time.monotonic() + READ_SECONDS_MAX
        while any(positions.get(tp, 0) < ends[tp] for tp in places):
            for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                for r in records:
                    if r.offset < ends[tp]:
                        yield Read(r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
            # The position also moves over aborted records and markers, which are not handed out.
            found = {tp: await consumer.position(tp) for tp in places}
            if found != positions:
                positions, deadline = found, time.monotonic() + READ_SECONDS_MAX
            elif time.monotonic() > deadline:
                raise TimeoutError(f"{topic}: {positions} for {READ_SECONDS_MAX} s, the end is {ends}")
    finally:
        await consumer.stop()


async def read_all(
    bootstrap: str,
    topic: str,
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed",
) -> list[Read]:
    """Every record of a topic up to its end as it is now, in offset order by partition; see ``read_each``."""
    found = [record async for record in read_each(bootstrap, topic, isolation)]
    return sorted(found, key=lambda record: (record.partition, record.offset))


async def _partitions(consumer: AIOKafkaConsumer, topic: str) -> set[int]:
    """Partitions of a topic the client has no metadata of yet."""
    await consumer._client._wait_on_metadata(
        topic
    )  # the consumer's own way in assign(); it has no public one
    return set(consumer.partitions_for_topic(topic) or ())


class Feeder:
    """Sends prepared values in batches of known size, as a producer of events would."""

    def __init__(self, bootstrap: str, topic: str, partitions: int) -> None:
        self.topic, self.partitions = topic, partitions
        self.sent = 0
        self._next = 0
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap,
            acks="all",
            enable_idempotence=True,
            max_batch_size=REQUEST_BYTES_MAX // 2,
            max_request_size=REQUEST_BYTES_MAX,
            linger_ms=0,
        )

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def batch(self, values: Sequence[bytes]) -> None:
        """Send one batch to the next partition in turn; returns when it is on its way, not when stored."""
        builder = self._producer.create_batch()
        now = time.time_ns() // 1_000_000
        for value in values:
            if builder.append(key=None, value=value, timestamp=now) is None:
                raise ValueError(
                    f"a batch of {len(values)} values does not fit {REQUEST_BYTES_MAX // 2} bytes"
                )
        builder.close()
        await self._producer.send_batch(builder, self.topic, partition=self._next)
        self._next = (self._next + 1) % self.partitions
        self.sent += len(values)

    async def flush(self) -> None:
        """Wait until everything is stored."""
        await self._producer.flush()


async def until(condition: Any, seconds: float, every: float = 0.25) -> float:
    """Wait for ``condition()`` (called in a thread) to hold; seconds it took.

    Raises:
        TimeoutError: it did not hold in time.
    """
    begin = time.monotonic()
    while not await asyncio.to_thread(condition):
        if time.monotonic() - begin > seconds:
            raise TimeoutError(
                f"not so after {seconds:.0f} s: {getattr(condition, '__doc__', None) or condition}"
            )
        await asyncio.sleep(every)
    return time.monotonic() - begin
