"""Reads the state topic back: the latest committed value of each key of some partitions.

Called after the transactional producers of these partitions are open: then nobody else can write there any
more, open transactions of former owners are aborted, and the last stable offset is the end.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from aiokafka import TopicPartition

from driftline.clients import Clients
from driftline.config import Settings

FETCH_BYTES_MAX: Final = 4 << 20  # a restore is a bulk read; a partition's state is a few MiB
POLL_SECONDS: Final = 0.2


@dataclass(slots=True)
class Stored:
    """The live rows of one partition of the state topic."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    records: int = 0  # read, superseded ones and tombstones included
    size: int = 0  # bytes read


async def read_state(settings: Settings, partitions: Iterable[int], clients: Clients) -> dict[int, Stored]:
    """Latest value by key for each partition, tombstones removed, up to the last stable offset.

    The caller sets the deadline.

    Raises:
        KafkaError: the brokers failed.
    """
    topic = settings.topics.name("state")
    found = {TopicPartition(topic, p): Stored() for p in partitions}
    if not found:
        return {}
    consumer = clients.consumer(
        isolation_level="read_committed",
        auto_offset_reset="none",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=FETCH_BYTES_MAX,
    )
    await consumer.start()
    try:
        consumer.assign(list(found))
        await consumer.seek_to_beginning(*found)
        ends = await consumer.end_offsets(list(found))
        left = set(found)
        while left:
            # The position also moves over aborted records and markers, which are not handed out.
            left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
            if not left:
                break
            batches = await consumer.getmany(*left, timeout_ms=int(POLL_SECONDS * 1000))
            for tp, records in batches.items():
                _merge(found[tp], records)
    finally:
        await consumer.stop()
    return {tp.partition: stored for tp, stored in found.items()}


def _merge(stored: Stored, records: Iterable[object]) -> None:
    for record in records:
        key: bytes = record.key  # type: ignore[attr-defined]
        value: bytes | None = record.value  # type: ignore[attr-defined]
        stored.records += 1
        stored.size += len(key) + len(value or b"")
        if value is None:
            stored.rows.pop(key, None)
        else:
            stored.rows[key] = value
