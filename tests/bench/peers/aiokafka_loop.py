"""A hand-written loop: aiokafka's ``getmany``, orjson, river. Arguments as in meter.Task."""

from __future__ import annotations

import asyncio
import uuid

from aiokafka import AIOKafkaConsumer

from bench.peers.handwritten import CHUNK_RECORDS, FETCH_BYTES, Work
from bench.peers.meter import Meter, Task


async def main(task: Task) -> None:
    """Read, detect, commit once at the end, print what it cost."""
    consumer = AIOKafkaConsumer(
        task.topic,
        bootstrap_servers=task.bootstrap,
        group_id=f"aiokafka-peer-{uuid.uuid4()}",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    work, meter = Work(), Meter(task)
    await consumer.start()
    try:
        done = False
        while not done:
            for records in (await consumer.getmany(timeout_ms=200, max_records=CHUNK_RECORDS)).values():
                meter.before()
                work.run([record.value for record in records])
                done = meter.after(len(records))
        await consumer.commit()
        meter.result(work.detections)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main(Task.from_argv()))
