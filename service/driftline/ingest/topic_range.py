"""A stretch of a raw topic, decoded: an edge that reads, and leaves no trace in any group.

Owns: from where to where each partition is read. The time of a row is that of its record here: by it, then by
partition and offset, rows count in the mailbox too.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError

from driftline.clients import client_options
from driftline.config import InputSettings, Settings
from driftline.errors import OperatorError, OutsideError
from driftline.ingest.chunks import DecoderKey, gather, rows_of
from driftline.ingest.decode import Decoder, make_decoder, mapping_of
from driftline.ingest.decode.slow import parse_rfc3339
from driftline.publish.kafka import kafka_errors, require
from driftline.records import Block, Source

POLL_MS: Final = 500
POLL_ROWS: Final = 20_000
SILENCE_SECONDS: Final = 30.0  # a broker that sends nothing for so long, before the end, will not
CELLS_MAX: Final = 10_000_000  # held in memory, as for files out of order: detect/baseline.py


def read_range(settings: Settings, topic: str, model: str, start: str | None, end: str | None) -> list[Block]:
    """The rows of a model between two offsets of each partition, or two times; ``end`` is not among them.

    Args:
        settings: the topic is one of its inputs, which says how records are read.
        topic: raw topic.
        model: rows of others are left out.
        start: an offset or a time in RFC 3339; None is what is kept from the beginning.
        end: likewise; None is the end of the topic as it is now.

    Raises:
        OperatorError: no such input or topic, no offset and no time, or too many rows for memory.
        OutsideError: the brokers cannot be reached.
    """
    events = [s for s in settings.inputs if s.kind == "events"]
    source = next((s for s in events if s.topic == topic), None)
    if source is None:
        names = ", ".join(s.topic for s in events)
        raise OperatorError(f"topic {topic} is no input of events, only {names}.", remedy="Add it to inputs.")
    bounds = (bound(start), bound(end))
    return asyncio.run(_read(settings, source, model, bounds))


def bound(text: str | None) -> tuple[str, int] | None:
    """("offset", n) or ("time", epoch ms).

    Raises:
        OperatorError: it is neither.
    """
    if text is None:
        return None
    if text.isdecimal():
        return "offset", int(text)
    time = parse_rfc3339(text)
    if time is None:
        raise OperatorError(
            f"{text}: neither an offset nor a time.", remedy="A time looks like this: 2026-11-23T10:00:00Z."
        )
    return "time", time


async def _read(
    settings: Settings,
    source: InputSettings,
    model: str,
    bounds: tuple[tuple[str, int] | None, tuple[str, int] | None],
) -> list[Block]:
    decoder = make_decoder(
        source.format,
        fixed_model=source.model,
        allowed_models=settings.allowed_models(),
        max_event_age_ms=None,
        mapping=mapping_of(source),
    )
    consumer = AIOKafkaConsumer(
        source.topic,
        **client_options(settings.kafka),
        group_id=None,
        enable_auto_commit=False,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
    )
    out: list[Block] = []
    with kafka_errors(settings):
        try:
            try:
                await consumer.start()
                require(source.topic, await consumer.topics())
            except UnknownTopicOrPartitionError:
                require(source.topic, set())
            for tp in sorted(consumer.assignment(), key=lambda tp: tp.partition):
                out += await _partition(consumer, tp, decoder, model, bounds)
                cells = sum(block.values.size for block in out)
                if cells > CELLS_MAX:
                    raise OperatorError(f"{cells:,} cells are too many.", remedy="Read a shorter stretch.")
        finally:
            await consumer.stop()
    return out


async def _partition(
    consumer: AIOKafkaConsumer,
    tp: TopicPartition,
    decoder: Decoder,
    model: str,
    bounds: tuple[tuple[str, int] | None, tuple[str, int] | None],
) -> list[Block]:
    """The rows of one partition, with the record's time as their time."""
    first, last = (await consumer.beginning_offsets([tp]))[tp], (await consumer.end_offsets([tp]))[tp]
    start = await _offset(consumer, tp, bounds[0], first, last)
    end = await _offset(consumer, tp, bounds[1], last, last)
    if start < first:
        raise OperatorError(
            f"{tp.topic}[{tp.partition}] has no offset {start} any more, it begins at {first}.",
            remedy="Begin later.",
        )
    consumer.seek(tp, start)
    out: list[Block] = []
    cells, silent = 0, 0.0
    while await consumer.position(tp) < end and cells <= CELLS_MAX:
        found = await consumer.getmany(tp, timeout_ms=POLL_MS, max_records=POLL_ROWS)
        records = [r for r in found.get(tp, ()) if r.offset < end]
        silent = 0.0 if found else silent + POLL_MS / 1000.0
        if silent >= SILENCE_SECONDS:
            raise OutsideError(f"{tp.topic}[{tp.partition}]: the broker sends nothing.", remedy="Try again.")
        if not records:
            continue
        key = DecoderKey("range")
        fetched = gather([(Source(*tp), records[-1].offset + 1, rows_of(records))], {tp.topic: key})
        for block in decoder.decode(fetched.chunks[key]).blocks:
            if block.model == model:
                out.append(replace(block, event_time=block.record_time))
                cells += block.values.size
    return out


async def _offset(
    consumer: AIOKafkaConsumer, tp: TopicPartition, bound: tuple[str, int] | None, default: int, last: int
) -> int:
    """The offset of a bound in a partition, at most ``last``."""
    if bound is None:
        return default
    kind, at = bound
    if kind == "offset":
        return min(at, last)
    found = (await consumer.offsets_for_times({tp: at}))[tp]
    return last if found is None else int(found.offset)
