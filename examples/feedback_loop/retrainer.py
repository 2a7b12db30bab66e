"""The consumer of actions: reads where the action says, joins events with labels, retrains.

Reads committed only, in a group of its own; an offset is committed when the new version is out, so a crash in
between retrains again and nothing is left out. An action that was seen before is known by its id.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition

from driftline.clients import client_options
from driftline.demo.flights import LATE
from examples.feedback_loop.model import Features, Version

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from driftline.config import Settings

READ_SECONDS_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Retraining:
    """What became of one action."""

    action: Mapping[str, Any]
    events: int  # read from the ranges of the action
    rows: int  # of them, those with a label
    version: Version


async def answer_actions(
    settings: Settings, serving: Callable[[], Version], publish: Callable[[Retraining], None]
) -> None:
    """Retrain for each action, until cancelled."""
    topic, seen = settings.topics.name("actions"), set[str]()
    async with _consumer(
        settings, topic, group_id=f"{settings.group}-retrainer", auto_offset_reset="earliest"
    ) as consumer:
        async for record in consumer:
            action = json.loads(record.value)
            if action["id"] not in seen:
                events, rows = await fresh_rows(settings, action)
                version = await asyncio.to_thread(serving().retrained, rows)
                publish(Retraining(action, events, len(rows), version))
                seen.add(action["id"])
            place = TopicPartition(record.topic, record.partition)
            await consumer.commit({place: record.offset + 1})


async def fresh_rows(
    settings: Settings, action: Mapping[str, Any]
) -> tuple[int, list[tuple[Features, bool]]]:
    """Events in the ranges of an action, and the features and truth of those that have a label."""
    events: dict[str, Features] = {}
    truth: dict[str, bool] = {}
    for span in action["fresh"]["ranges"]:
        for record in await _range(settings, span):
            if record["model"] != action["model"]:
                continue
            if "label" in record:
                truth.setdefault(record["id"], record["label"] == LATE)
            else:
                events[record["id"]] = record["features"]
    return len(events), [(features, truth[key]) for key, features in events.items() if key in truth]


async def _range(settings: Settings, span: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The records of one raw partition from one offset to another, both included."""
    place, found = TopicPartition(span["topic"], span["partition"]), list[dict[str, Any]]()
    async with _consumer(settings) as consumer, asyncio.timeout(READ_SECONDS_MAX):
        consumer.assign([place])
        consumer.seek(place, span["from"])
        while await consumer.position(place) <= span["to"]:
            for record in (await consumer.getmany(place, timeout_ms=500)).get(place, []):
                if record.offset <= span["to"]:
                    found.append(json.loads(record.value))
    return found


@asynccontextmanager
async def _consumer(settings: Settings, *topics: str, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(
        *topics,
        **client_options(settings.kafka),
        isolation_level="read_committed",
        enable_auto_commit=False,
        **options,
    )
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()
