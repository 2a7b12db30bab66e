"""The Python peers of the benchmark read a real topic; the JVM's is compiled in `make bench-peers` only."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from bench.events import make_pool
from bench.programs import AIOKAFKA, CONFLUENT, OBVIOUS, Peer, run_peer
from driftline.localkafka import LocalKafka
from harness.kafka_io import Admin, Feeder

EVENTS: Final = 400
PARTITIONS: Final = 2


@pytest.mark.parametrize("peer", [OBVIOUS, AIOKAFKA, CONFLUENT], ids=lambda peer: peer.key)
def test_a_peer_works_on_every_event(peer: Peer, kafka: LocalKafka, topic_prefix: str) -> None:
    """It ends by itself after the last event and says what it cost."""
    topic = f"{topic_prefix}.events"
    admin = Admin(kafka.bootstrap)
    admin.create(topic, PARTITIONS, {})
    admin.close()

    async def run() -> None:
        async with Feeder(kafka.bootstrap, topic, PARTITIONS) as feeder:
            pool = make_pool("m", size=EVENTS)
            for begin in range(0, EVENTS, EVENTS // PARTITIONS):
                await feeder.batch(pool.batch(begin, EVENTS // PARTITIONS, 0.0))
            await feeder.flush()
        cost = await run_peer(peer, kafka.bootstrap, topic, 0, EVENTS)
        assert (cost.seen, cost.events) == (EVENTS, EVENTS)
        assert cost.cpu_us > 1
        assert cost.detections is not None

    asyncio.run(run())
