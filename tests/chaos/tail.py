"""When a partition's position moves, as a reader of committed records sees it: what recovery is timed by."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict

from aiokafka import AIOKafkaConsumer, TopicPartition


class PositionTail:
    """Follows the ``n|p`` rows of the state topic; ``commits`` are Unix seconds by mailbox partition."""

    def __init__(self, bootstrap: str, state_topic: str, partitions: int) -> None:
        self._bootstrap, self._topic, self._partitions = bootstrap, state_topic, partitions
        self.commits: dict[int, list[float]] = defaultdict(list)

    async def run(self, stop: asyncio.Event) -> None:
        """Follow until ``stop`` is set."""
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
                        self.commits[tp.partition].append(time.time())
        finally:
            await consumer.stop()
