"""Asks everybody in order of likelihood and stops where the rest could not be told.

Reads only: no group is joined, nothing is committed. Owns what is asked; what it means is ``findings``.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

from aiokafka import TopicPartition
from kafka.errors import CoordinatorNotAvailableError, GroupIdNotFoundError

from driftline import topics
from driftline.clients import Clients
from driftline.config import Settings
from driftline.decide import store
from driftline.detect.actor import Phase
from driftline.doctor import findings, reach
from driftline.doctor.findings import Finding, Look, Place, Rejected
from driftline.errors import DriftlineError, FatalError
from driftline.publish.kafka import kafka_errors
from driftline.stream.restore import read_state

LOOK_SECONDS_MIN: Final = 3.0  # between two looks; a checkpoint, after which detect commits, has to fit in
REJECTS_READ_MAX: Final = 500  # of each partition: enough for shares, and read in a moment
READ_SECONDS_MAX: Final = 30.0
READY_SECONDS_MAX: Final = 5.0
COORDINATOR_SECONDS_MAX: Final = 10.0  # the first question about a group makes the topic of offsets


async def examine(settings: Settings, worker: str = "") -> AsyncIterator[Finding]:
    """Findings as they come; ``worker`` is the URL of a running one. Errors become findings."""
    for warning in settings.warnings():
        yield Finding("note", warning)
    try:
        async for finding in _kafka(settings):
            yield finding
    except (DriftlineError, FatalError) as error:
        yield Finding("WRONG", str(error))
    if worker:
        yield await asyncio.to_thread(ready, worker)


async def _kafka(settings: Settings) -> AsyncIterator[Finding]:
    reached = await reach.brokers(settings.kafka)
    for finding in reached:
        yield finding
    if not any(finding.level == "good" for finding in reached):
        return
    admin, inputs = topics.admin_config(settings.kafka), [item.topic for item in settings.inputs]
    problems = await asyncio.to_thread(topics.check, admin, topics.plan(settings), inputs)
    for problem in problems:
        yield Finding("WRONG", f"Topic {problem.topic} {problem.what}.", problem.remedy)
    if any(problem.what.startswith("is missing") for problem in problems):
        return
    if not problems:
        yield Finding("good", "All topics are as they have to be.")
    seconds = max(LOOK_SECONDS_MIN, settings.checkpoint.interval_seconds + 1.0)
    with kafka_errors(settings):
        before = await look(settings)
        await asyncio.sleep(seconds)
        after = await look(settings)
        refused = await rejected(settings, after)
        phases = await model_phases(settings)
    for found in (
        findings.groups(settings, before, after, seconds),
        findings.events(settings, before, after, seconds),
        findings.rejects(settings, after, refused),
        findings.models(settings, phases),
    ):
        for finding in found:
            yield finding


async def look(settings: Settings) -> Look:
    """Logs and groups now."""
    names = [
        *(item.topic for item in settings.inputs),
        *map(settings.topics.name, ("commands", "mailbox", "rejects")),
    ]
    members, committed = await asyncio.to_thread(_groups, settings)
    counts = await asyncio.to_thread(topics.topic_ids, topics.admin_config(settings.kafka), names)
    tps = [TopicPartition(name, p) for name, (_, count) in counts.items() for p in range(count)]
    consumer = Clients(settings.kafka).consumer()
    await consumer.start()
    try:
        begins, ends = await consumer.beginning_offsets(tps), await consumer.end_offsets(tps)
        since_ms = int((time.time() - findings.HOUR_SECONDS) * 1000)
        hour = await consumer.offsets_for_times(dict.fromkeys(tps, since_ms))
    finally:
        await consumer.stop()
    return Look(
        {(tp.topic, tp.partition): begins[tp] for tp in tps},
        {(tp.topic, tp.partition): ends[tp] for tp in tps},
        {(tp.topic, tp.partition): at.offset if (at := hour.get(tp)) is not None else ends[tp] for tp in tps},
        committed,
        members,
    )


def _groups(settings: Settings) -> tuple[dict[str, int], dict[str, dict[Place, int]]]:
    """Members and offsets of both stages' groups; a group that never was has none."""
    names = [settings.group_id("ingest"), settings.group_id("detect")]
    with topics.admin(topics.admin_config(settings.kafka)) as client:
        described = _described(client, names)
        offsets = {name: _offsets(client, name) for name in names}
    return (
        {name: len(described[name].get("members") or ()) for name in names},
        {
            name: {(tp.topic, tp.partition): at.offset for tp, at in found.items() if at.offset >= 0}
            for name, found in offsets.items()
        },
    )


def _described(client: Any, names: Sequence[str]) -> Any:
    until = time.monotonic() + COORDINATOR_SECONDS_MAX
    while True:
        try:
            return client.describe_groups(list(names))
        except CoordinatorNotAvailableError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def _offsets(client: Any, group: str) -> Any:
    try:
        return client.list_group_offsets([group])[group]
    except GroupIdNotFoundError:
        return {}


async def rejected(settings: Settings, seen: Look) -> Rejected:
    """Codes of the newest rejects of the last hour, with an example each."""
    topic, found = settings.topics.name("rejects"), Rejected()
    starts = {
        TopicPartition(*place): max(seen.an_hour_ago[place], end - REJECTS_READ_MAX)
        for place, end in seen.ends.items()
        if place[0] == topic and end > seen.an_hour_ago[place]
    }
    if not starts:
        return found
    consumer = Clients(settings.kafka).consumer()
    await consumer.start()
    try:
        consumer.assign(list(starts))
        for tp, start in starts.items():
            consumer.seek(tp, start)
        async with asyncio.timeout(READ_SECONDS_MAX):
            left = set(starts)
            while left:
                for records in (await consumer.getmany(*left, timeout_ms=200)).values():
                    _count(found, records)
                left = {tp for tp in left if await consumer.position(tp) < seen.ends[tp.topic, tp.partition]}
    finally:
        await consumer.stop()
    return found


def _count(found: Rejected, records: Iterable[Any]) -> None:
    for record in records:
        try:
            body = json.loads(record.value)
            code, origin = str(body["code"]), body["origin"]
            where = f"{origin['topic']}[{origin['partition']}] offset {origin['offset']}"
        except (ValueError, KeyError, TypeError):
            continue  # not ours
        found.codes[code] += 1
        found.examples.setdefault(code, f"{where}: {body.get('detail', '')}".removesuffix(".").rstrip(": "))


async def model_phases(settings: Settings) -> dict[str, Phase]:
    """Where each model stands, from the state topic."""
    count = settings.topics.mailbox_partitions
    stored = await read_state(settings, range(count), Clients(settings.kafka))
    return _phases(settings, [(p, stored[p].rows) for p in range(count) if stored[p].rows])


def _phases(settings: Settings, stored: Sequence[tuple[int, dict[bytes, bytes]]]) -> dict[str, Phase]:
    found = {}
    for partition, rows in stored:
        for name in store.read_position(rows.get(store.next_key(partition)), partition).models:
            model, _ = store.read_model(name, rows, settings.detection, settings.models)
            found[name] = model.actor.phase
    return found


def ready(worker: str) -> Finding:
    """What a worker's /ready says."""
    url = f"{worker.rstrip('/')}/ready"
    if not url.startswith(("http://", "https://")):
        return Finding("WRONG", f"{worker} is no URL.", "Give it like http://127.0.0.1:9464.")
    try:
        with urllib.request.urlopen(url, timeout=READY_SECONDS_MAX):  # noqa: S310 - http and https only
            return Finding("good", f"{url}: ready.")
    except urllib.error.HTTPError as error:
        return Finding(
            "WRONG",
            f"{url}: {error.read(200).decode('utf-8', 'replace').strip() or error.reason}.",
            "It compiles, restores its state or waits for the group or for Kafka: its log says which.",
        )
    except (OSError, http.client.HTTPException) as error:
        return Finding(
            "WRONG", f"{url} does not answer: {error}.", "Does it run? Are http.host and http.port those?"
        )
