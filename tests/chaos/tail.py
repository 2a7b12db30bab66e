"""When positions move, as seen from outside: what recovery is timed by.

Two kinds: a mailbox partition's, in the state topic as a reader of committed records sees it, and a raw
partition's, in the offsets that stage 1 commits. Only both show a standstill of either stage: while one
ingest worker is dead the mailbox goes on with the rows of the others.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from harness.kafka_io import Admin

LOOK_SECONDS: Final = 0.25


class PositionTail:
    """Follows positions; ``moves`` are Unix seconds by what moved.

    Args:
        bootstrap: the broker.
        state_topic: its ``n|p`` rows are the mailbox partitions' positions.
        partitions: how many these are.
        group: stage 1's group.
    """

    def __init__(self, bootstrap: str, state_topic: str, partitions: int, group: str) -> None:
        self._bootstrap, self._topic, self._partitions = bootstrap, state_topic, partitions
        self._group = group
        self.moves: dict[str, list[float]] = defaultdict(list)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until ``stop`` is set."""
        await asyncio.gather(self._mailbox(stop), self._raw(stop))

    async def _mailbox(self, stop: asyncio.Event) -> None:
        keys = {b"n|%d" % p for p in range(self._partitions)}  # DESIGN 2, the topics table
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap, isolation_level="read_committed", enable_auto_commit=False
        )
        await consumer.start()
        try:
            places = [TopicPartition(self._topic, p) for p in range(self._partitions)]
            consumer.assign(places)
            await consumer.seek_to_end(*places)
            while not stop.is_set():
                for tp, records in (await consumer.getmany(timeout_ms=200)).items():
                    if any(record.key in keys for record in records):
                        self.moves[f"mailbox {tp.partition}"].append(time.time())
        finally:
            await consumer.stop()

    async def _raw(self, stop: asyncio.Event) -> None:
        admin = await asyncio.to_thread(Admin, self._bootstrap)
        last: dict[tuple[str, int], int] = {}
        while not stop.is_set():
            found = await asyncio.to_thread(admin.committed, self._group)  # empty while the broker is away
            for place, offset in found.items():
                if last.get(place) != offset:
                    self.moves[f"{place[0]} {place[1]}"].append(time.time())
            last |= found
            await asyncio.sleep(LOOK_SECONDS)
        admin.close()
