"""The topic ``notified`` on Kafka: what each target was told, read at take-over and written after an answer.

Partition p of it belongs to partition p of the alerts, so whoever takes one over reads the other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from driftline.clients import Clients
from driftline.publish.notify.memory import Told, decode

log = logging.getLogger(__name__)

POLL_MS: Final = 500
AGAIN_SECONDS: Final = 1.0  # between attempts to reach brokers that do not answer
BATCH_RECORDS: Final = 2_000


async def restore(
    clients: Clients, topic: str, target: str, partitions: Iterable[int]
) -> dict[int, dict[bytes, Told]]:
    """What a target was told, by partition and by the key of the record; waits for brokers that are away."""
    while True:
        try:
            return await _read(clients, topic, target, partitions)
        except KafkaError as error:
            log.warning("reading %s: %s", topic, error, extra={"target": target})
            await asyncio.sleep(AGAIN_SECONDS)


async def write(producer: Any, topic: str, partition: int, key: bytes, value: bytes | None) -> None:
    """Write a record and wait until all in-sync replicas have it, however long the brokers are away."""
    while True:
        try:
            await producer.send_and_wait(topic, key=key, value=value, partition=partition)
            return
        except KafkaError as error:
            log.warning("writing %s: %s", topic, error)
            await asyncio.sleep(AGAIN_SECONDS)


async def _read(
    clients: Clients, topic: str, target: str, partitions: Iterable[int]
) -> dict[int, dict[bytes, Told]]:
    found: dict[int, dict[bytes, Told]] = {number: {} for number in partitions}
    assigned = [TopicPartition(topic, number) for number in found]
    consumer = clients.consumer(group_id=None, auto_offset_reset="earliest")
    await consumer.start()
    try:
        consumer.assign(assigned)
        await consumer.seek_to_beginning(*assigned)
        ends = await consumer.end_offsets(assigned)
        mine = target.encode("ascii") + b"/"
        while any([await consumer.position(part) < end for part, end in ends.items()]):
            batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=BATCH_RECORDS)
            for part, records in batches.items():
                for record in records:
                    if record.key is not None and record.key.startswith(mine):
                        found[part.partition][record.key] = _told(record)
    finally:
        await consumer.stop()
    return found


def _told(record: Any) -> Told:
    told = decode(record.value)
    if told is None:
        where = f"{record.topic} {record.partition} {record.offset}"
        log.error("a record cannot be read: alerts of its signal may be told twice", extra={"record": where})
    return told or Told()
