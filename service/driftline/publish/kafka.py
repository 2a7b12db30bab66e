"""Reading the alerts topic and writing commands, for people at a terminal.

The service's own traffic is in ``stream`` and ``ingest.service``. Reads are committed only: an alert of a
transaction that was aborted never happened.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, Literal

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from driftline.clients import client_options
from driftline.config import Settings
from driftline.errors import OperatorError, OutsideError
from driftline.records import COMMAND_BYTES_MAX, OutputRecord

POLL_MS: Final = 500
REQUEST_BYTES_MAX: Final = COMMAND_BYTES_MAX + (64 << 10)  # the largest command and its batch header


async def follow_alerts(
    settings: Settings,
    show: Callable[[Mapping[str, object]], None],
    *,
    model: str | None = None,
    from_beginning: bool = False,
    follow: bool = True,
    count_max: int | None = None,
    role: Literal["alerts", "actions"] = "alerts",
) -> int:
    """Hand alerts, or actions, to ``show`` as they come and return how many there were.

    Ends after ``count_max`` alerts or, without ``follow``, at the end of the topic as it was at the start.
    Records that are no JSON object are left out.

    Raises:
        OperatorError: the topic is missing or may not be read.
        OutsideError: the brokers cannot be reached.
    """
    topic = settings.topics.name(role)
    shown = 0
    async with _consumer(settings, topic, from_beginning=from_beginning) as consumer:
        ends = None if follow else await consumer.end_offsets(consumer.assignment())
        while count_max is None or shown < count_max:
            batches = await consumer.getmany(timeout_ms=POLL_MS)
            for record in sorted((r for b in batches.values() for r in b), key=lambda r: r.timestamp):
                data = json_object(record.value)
                if data is None or (model is not None and data.get("model") != model):
                    continue
                show(data)
                shown += 1
                if shown == count_max:
                    return shown
            if ends is not None and all([await consumer.position(p) >= end for p, end in ends.items()]):
                return shown
    return shown


async def send_command(settings: Settings, record: OutputRecord) -> tuple[str, int, int]:
    """Write a command and wait until all in-sync replicas have it: (topic, partition, offset).

    Raises:
        OperatorError: the topic is missing or may not be written.
        OutsideError: the brokers cannot be reached or did not accept it.
    """
    topic = settings.topics.name("commands")
    producer = AIOKafkaProducer(
        **client_options(settings.kafka),
        acks="all",
        enable_idempotence=True,
        compression_type="gzip",
        max_request_size=REQUEST_BYTES_MAX,
    )
    with kafka_errors(settings):
        try:
            await producer.start()
            require(topic, (await producer.client.fetch_all_metadata()).topics())
            sent = await producer.send_and_wait(
                topic, value=record.value, key=record.key, headers=list(record.headers)
            )
        finally:
            await producer.stop()
    return topic, sent.partition, sent.offset


@asynccontextmanager
async def _consumer(
    settings: Settings, topic: str, *, from_beginning: bool
) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of all partitions of a topic, outside any group."""
    consumer = AIOKafkaConsumer(
        topic,
        **client_options(settings.kafka),
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest" if from_beginning else "latest",
    )
    with kafka_errors(settings):
        try:
            try:
                await consumer.start()
                require(topic, await consumer.topics())
            except UnknownTopicOrPartitionError:
                require(topic, set())
            yield consumer
        finally:
            await consumer.stop()


@contextmanager
def kafka_errors(settings: Settings) -> Iterator[None]:
    """Errors of the client as ours: whose fault, and what to do next."""
    servers = settings.kafka.bootstrap_servers
    try:
        yield
    except (
        AuthenticationFailedError,
        ClusterAuthorizationFailedError,
        SaslAuthenticationFailed,
        TopicAuthorizationFailedError,
    ) as error:
        raise OperatorError(
            f"kafka at {servers} refused: {error}.", remedy="Check kafka.sasl_* and the rights of this user."
        ) from error
    except (KafkaError, OSError) as error:
        raise OutsideError(
            f"kafka at {servers}: {error}.",
            remedy="Is the broker running, and is kafka.bootstrap_servers its address as seen from here?",
        ) from error


def require(topic: str, known: set[str]) -> None:
    """Raise OperatorError when the topic is not among the known ones."""
    if topic not in known:
        raise OperatorError(f"topic {topic} does not exist.", remedy="Run `driftline topics create`.")


def json_object(value: bytes | None) -> Mapping[str, Any] | None:
    """The JSON object of a record's value; None for anything else."""
    try:
        data = json.loads(value or b"null")
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) else None
