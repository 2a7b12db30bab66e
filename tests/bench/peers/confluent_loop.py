"""A hand-written loop: confluent-kafka's ``consume``, orjson, river. Arguments as in meter.Task."""

from __future__ import annotations

import uuid

from confluent_kafka import Consumer, KafkaException

from bench.peers.handwritten import CHUNK_RECORDS, FETCH_BYTES, Work
from bench.peers.meter import Meter, Task


def main(task: Task) -> None:
    """Read, detect, commit once at the end, print what it cost."""
    consumer = Consumer(
        {
            "bootstrap.servers": task.bootstrap,
            "group.id": f"confluent-peer-{uuid.uuid4()}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "max.partition.fetch.bytes": FETCH_BYTES,
            "fetch.queue.backoff.ms": 2,  # default 1,000: after a full queue the fetcher would oversleep
            "queued.max.messages.kbytes": 65_536,  # the default; memory is bounded by it
        }
    )
    work, meter = Work(), Meter(task)
    consumer.subscribe([task.topic])
    try:
        done = False
        while not done:
            messages = consumer.consume(CHUNK_RECORDS, 0.2)
            if not messages:
                continue
            meter.before()
            for message in messages:
                if message.error():
                    raise KafkaException(message.error())
            work.run([message.value() for message in messages])
            done = meter.after(len(messages))
        consumer.commit(asynchronous=False)
        meter.result(work.detections)
    finally:
        consumer.close()


if __name__ == "__main__":
    main(Task.from_argv())
