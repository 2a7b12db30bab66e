"""Requests to a broker as an attacker sends them: one connection, no client that looks before it asks.

A client of a library stops at the metadata when a topic may not be seen. Here the request itself is sent, so
that the broker's answer to it counts.
"""

from __future__ import annotations

import time
from typing import Any, Final, Self

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.protocol.admin import (
    AlterConfigsRequest,
    CreateAclsRequest,
    CreateTopicsRequest,
    DeleteGroupsRequest,
    DeleteRecordsRequest,
    DeleteTopicsRequest,
)
from aiokafka.protocol.commit import OffsetCommitRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.protocol.transaction import InitProducerIdRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder

ANSWER_MS: Final = 8_000
# Kafka's error codes that mean "you may not": topic, group, cluster, transactional id.
DENIED: Final = frozenset({29, 30, 31, 53})
RESOURCE_TOPIC: Final = 2


def batch(value: bytes, *, key: bytes | None = b"k", compression: int = 0, records: int = 1) -> bytes:
    """A record batch of format 2 with a record of this value, as often as ``records``."""
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=compression,
        is_transactional=False,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 30,
    )
    now = time.time_ns() // 1_000_000
    for offset in range(records):
        builder.append(offset, now, key, value, [])
    return bytes(builder.build())


class Wire:
    """A connection that logged in (or did not have to); answers are Kafka's error codes."""

    def __init__(self, connection: AIOKafkaConnection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, address: str, **security: Any) -> Self:
        """Connect and log in.

        Raises:
            KafkaError, OSError, TimeoutError: it was not let in.
        """
        host, _, port = address.rpartition(":")
        return cls(await create_conn(host, int(port), request_timeout_ms=ANSWER_MS, **security))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    async def _ask(self, request: Any) -> Any:
        return await self._connection.send(request)

    async def topics(self) -> list[str]:
        """Names of the topics that may be seen: the simplest thing that needs a login."""
        answer = await self._ask(MetadataRequest(None))
        return [item[1] for item in answer.topics]

    async def produce(self, topic: str, records: bytes) -> int:
        """Write a batch to partition 0."""
        return (await self.append(topic, records))[0]

    async def append(self, topic: str, records: bytes) -> tuple[int, int]:
        """As ``produce``, with the offset of the first record."""
        answer = await self._ask(ProduceRequest(None, -1, ANSWER_MS, [(topic, [(0, records)])]))
        _, code, offset, *_ = answer.topics[0][1][0]
        return int(code), int(offset)

    async def fetch(self, topic: str) -> int:
        """Read partition 0."""
        answer = await self._ask(FetchRequest(0, 0, 1024, 0, [(topic, [(0, 0, 1024)])]))
        return int(answer.topics[0][1][0][1])

    async def alter(self, topic: str) -> int:
        """Let a topic forget everything after a millisecond (checked by the broker, but not carried out)."""
        resource = (RESOURCE_TOPIC, topic, [("retention.ms", "1")])
        answer = await self._ask(AlterConfigsRequest([resource], validate_only=True))
        return int(answer.resources[0][0])

    async def truncate(self, topic: str) -> int:
        """Delete all records of partition 0."""
        answer = await self._ask(DeleteRecordsRequest([(topic, [(0, -1)])], ANSWER_MS))
        return int(answer.topics[0][1][0][2])

    async def delete(self, topic: str) -> int:
        """Delete a topic."""
        answer = await self._ask(DeleteTopicsRequest([topic], ANSWER_MS))
        return int(answer.topic_error_codes[0][1])

    async def create(self, topic: str) -> int:
        """Make a topic (checked by the broker, but not carried out)."""
        answer = await self._ask(CreateTopicsRequest([(topic, 1, 1, [], [])], ANSWER_MS, True))
        return int(answer.topic_errors[0][1])

    async def commit(self, group: str, topic: str) -> int:
        """Move a group past everything, so that it never reads it."""
        request = OffsetCommitRequest(group, -1, "", -1, [(topic, [(0, 1 << 40, "")])])
        answer = await self._ask(request)
        return int(answer.topics[0][1][0][1])

    async def drop_group(self, group: str) -> int:
        """Make a group forget its offsets."""
        answer = await self._ask(DeleteGroupsRequest([group]))
        return int(answer.results[0][1])

    async def fence(self, transactional_id: str) -> int:
        """Open a producer under an id, which fences the one that has it."""
        answer = await self._ask(InitProducerIdRequest(transactional_id, 10_000))
        return int(answer.error_code)

    async def grant(self, principal: str) -> int:
        """Give a principal all rights on all topics."""
        request = CreateAclsRequest(
            resource_type=RESOURCE_TOPIC, resource_name="*", resource_pattern_type_filter=3,
            principal=principal, host="*", operation=2, permission_type=3,
        )  # fmt: skip
        answer = await self._ask(request)
        return int(answer.creation_responses[0][0])
