"""Reading the output topics, for pages: alerts and reports, committed ones only, outside of any group.

Owns: from where to where they are read, and what of them belongs to a review. Must not know what pages show.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from driftline.clients import client_options
from driftline.config import Settings
from driftline.errors import OperatorError
from driftline.ingest.decode.slow import parse_rfc3339
from driftline.publish.history import ALERT_PREFIX, History
from driftline.publish.kafka import json_object, kafka_errors, require
from driftline.publish.review import BOUNDS
from driftline.publish.text import printable
from driftline.publish.windows import time_of
from driftline.records import TIME_AHEAD_MS_MAX

ROLES: Final = ("alerts", "reports")
POLL_MS: Final = 200
POLL_RECORDS: Final = 200  # folded in one go: 80 ms of work for reports of 20 signals
UNITS: Final = {"m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 7 * 86_400_000}

Data = Mapping[str, Any]
Take = Callable[[list[Data]], None]


async def follow_outputs(
    settings: Settings, take: Take, *, model: str | None = None, since: int | None = None,
    follow: bool = False, caught_up: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Hand the records of the output topics to ``take`` in lists, each topic partition in its order.

    Ends at the ends of the topics as they were at the start unless ``follow``; ``caught_up`` is called there.

    Args:
        settings: where the topics are.
        take: gets the JSON objects; what is no JSON object is left out.
        model: only what is keyed by this model.
        since: begin with reports written at this time (epoch ms) or up to five minutes before it, as an
            event's time may run ahead; alerts are read from the beginning, an episode may have opened before.
        follow: wait for more at the end.
        caught_up: see above.

    Raises:
        OperatorError: a topic is missing or may not be read.
        OutsideError: the brokers cannot be reached.
    """
    topics = [settings.topics.name(role) for role in ROLES]
    consumer = AIOKafkaConsumer(
        *topics,
        **client_options(settings.kafka),
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    keys = None if model is None else (model.encode(), f"{quote(model, safe='')}/".encode())
    with kafka_errors(settings):
        try:
            try:
                await consumer.start()
            except UnknownTopicOrPartitionError:  # which one?
                known = await consumer.topics()
                for topic in topics:
                    require(topic, known)
                raise
            places = consumer.assignment()
            if since is not None:
                await _seek(consumer, [p for p in places if p.topic == topics[1]], since)
            ends: dict[TopicPartition, int] | None = await consumer.end_offsets(places)
            while ends is not None or follow:
                batches = await consumer.getmany(timeout_ms=POLL_MS, max_records=POLL_RECORDS)
                found = (r for records in batches.values() for r in records if _about(r.key, keys))
                if objects := [data for r in found if (data := json_object(r.value)) is not None]:
                    take(objects)
                    await asyncio.sleep(0)  # others have their turn, however much there is to read
                if ends is not None and all([await consumer.position(p) >= end for p, end in ends.items()]):
                    ends = None
                    caught_up()
        finally:
            await consumer.stop()


async def _seek(consumer: AIOKafkaConsumer, places: list[TopicPartition], since: int) -> None:
    found = await consumer.offsets_for_times(dict.fromkeys(places, max(since - TIME_AHEAD_MS_MAX, 0)))
    for place, at in found.items():
        if at is None:
            await consumer.seek_to_end(place)
        else:
            consumer.seek(place, at.offset)


def _about(key: bytes | None, keys: tuple[bytes, bytes] | None) -> bool:
    return keys is None or (key is not None and (key == keys[0] or key.startswith(keys[1])))


async def collect(settings: Settings, model: str, since: int | None, until: int | None) -> History:
    """The history of one model up to a time, with its reports from another on.

    Raises:
        OperatorError, OutsideError: see ``follow_outputs``.
    """
    history = History(BOUNDS)

    def take(records: list[Data]) -> None:
        for data in belonging(records, model, since, until):
            history.add(data)

    await follow_outputs(settings, take, model=model, since=since)
    return history


def belonging(records: Iterable[Data], model: str, since: int | None, until: int | None) -> Iterable[Data]:
    """Those of a model, up to a time; reports from another on."""
    for data in records:
        time = time_of(data.get("time"))
        if data.get("model") != model or time is None or (until is not None and time > until):
            continue
        alert = str(data.get("type", "")).startswith(ALERT_PREFIX)
        if alert or since is None or time >= since:
            yield data


def moment_of(text: str, now_ms: int) -> int:
    """A time as people give it: RFC 3339, a date (its first moment, UTC), or 90m, 12h, 7d, 4w before now.

    Raises:
        OperatorError: it is none of these.
    """
    ago = re.fullmatch(r"([0-9]{1,6})([mhdw])", text)
    if ago is not None:
        return now_ms - int(ago[1]) * UNITS[ago[2]]
    time = parse_rfc3339(f"{text}T00:00:00Z" if re.fullmatch(r"[0-9-]{10}", text) else text)
    if time is None:
        raise OperatorError(
            f"{printable(text)} is no time.", remedy="Write 2026-11-23, 2026-11-23T10:00:00Z, 7d or 12h."
        )
    return time
