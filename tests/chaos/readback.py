"""What the topics and the state say, read back with read_committed and turned into what ``verify`` compares.

The stored state is opened with the product's ``MailboxPartition.restore``, and the alerts that are due come
from one uninterrupted replay of the mailbox topic through the same pure core; nothing a worker said is used.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chaos.joining import Joiner, joins
from chaos.verify import Expected, Joined, Origin, Place, RawRecord
from driftline.config import Settings
from driftline.decide.model_view import view_of
from driftline.decide.partition import MailboxPartition
from harness.kafka_io import Admin, Read, read_all, read_each

CUT_ENVELOPES = (
    1_000  # the replay takes its alerts out this often; decisions must not depend on it (invariant 6)
)


@dataclass(slots=True)
class Stored:
    """What the committed state holds, over all mailbox partitions."""

    rows: dict[str, dict[Place, int]] = field(default_factory=dict)  # by model
    watermarks: dict[int, dict[Place, int]] = field(default_factory=dict)  # by mailbox partition
    next_offsets: dict[int, int] = field(default_factory=dict)
    records: int = 0  # left on the state topic after compaction
    offsets: int = 0  # ever written there
    models: dict[str, str] = field(
        default_factory=dict
    )  # everything a model shows, as text that can be compared
    joins: dict[str, Joined] = field(default_factory=dict)  # labels, by model


@dataclass(slots=True)
class Replayed:
    """What one process that never stops makes of the mailbox; ``joins`` is made by ``verify.Join``."""

    joins: dict[str, Joined] = field(default_factory=dict)
    alerts: dict[str, object] = field(default_factory=dict)  # by id
    models: dict[str, str] = field(default_factory=dict)
    rows: int = 0


def partition_arguments(settings: Settings, topic_id: str) -> dict[str, object]:
    """What every ``MailboxPartition`` of a deployment is made with, besides its number."""
    return {
        "topic_id": topic_id,
        "partitions": settings.topics.mailbox_partitions,
        "settings": settings.detection,
        "models": settings.models,
        "revision": settings.revision(),
        "runbook_url": settings.runbook_url,
    }


async def expected(
    bootstrap: str, topics: Iterable[str], models: frozenset[str], *, labels: str = ""
) -> Expected:
    """What the raw topics say should be found; a record at a time, they may be larger than memory."""
    found = Expected(labels)
    for topic in topics:
        async for r in read_each(bootstrap, topic):
            found.add(RawRecord(topic, r.partition, r.offset, r.timestamp, r.value), models)
    return found


async def stored_state(bootstrap: str, settings: Settings, admin: Admin) -> Stored:
    """The state topic, opened partition by partition."""
    topic = settings.topics.name("state")
    arguments = partition_arguments(settings, admin.topic_id(settings.topics.name("mailbox")))
    records = await read_all(bootstrap, topic)
    stored = Stored(records=len(records), offsets=sum(admin.ends(topic).values()))
    for partition in range(settings.topics.mailbox_partitions):
        live = _latest(r for r in records if r.partition == partition)
        if not live:
            continue
        opened = MailboxPartition.restore(live, partition=partition, **arguments)  # type: ignore[arg-type]
        stored.next_offsets[partition] = opened.next_offset
        stored.watermarks[partition] = {(s.topic, s.partition): at for s, at in opened.watermarks.items()}
        stored.models |= shown(opened)
        stored.joins |= joins(opened)
        for model, counts in opened.model_rows().items():
            rows = stored.rows.setdefault(model, {})
            for source, n in counts.items():
                place = (source.topic, source.partition)
                rows[place] = rows.get(place, 0) + n
    return stored


def _latest(records: Iterable[Read]) -> Mapping[bytes, bytes]:
    """What a compacted log means: the last value of each key, tombstones removed."""
    live: dict[bytes, bytes] = {}
    for record in records:
        key = record.key or b""
        if record.value is None:
            live.pop(key, None)
        else:
            live[key] = record.value
    return live


def shown(partition: MailboxPartition) -> dict[str, str]:
    """Counters, phase, episodes and signals of each model, floats in full: equal text is equal state."""
    return {
        name: repr((view_of(model), model.episodes.to_json())) for name, model in partition.models.items()
    }


async def replay(bootstrap: str, settings: Settings, admin: Admin) -> Replayed:
    """The mailbox topic from its first offset through one ``MailboxPartition`` each, never restarted."""
    topic = settings.topics.name("mailbox")
    arguments = partition_arguments(settings, admin.topic_id(topic))
    partitions: dict[int, MailboxPartition] = {}
    exact: dict[int, Joiner] = defaultdict(Joiner)
    replayed = Replayed()
    count = 0
    async for record in read_each(bootstrap, topic):
        if record.partition not in partitions:
            partitions[record.partition] = MailboxPartition(
                partition=record.partition,
                first_offset=record.offset,
                **arguments,  # type: ignore[arg-type]
            )
        partition = partitions[record.partition]
        replayed.rows += partition.apply(record.offset, record.timestamp, record.value or b"")
        if settings.detection.labels is not None:
            exact[record.partition].envelope(record.value or b"")
        count += 1
        if count % CUT_ENVELOPES == 0:
            replayed.alerts |= _taken(partition)
    for partition in partitions.values():
        replayed.alerts |= _taken(partition)
        replayed.models |= shown(partition)
    for joiner in exact.values():
        replayed.joins |= {model: join.joined for model, join in joiner.models.items()}
    return replayed


def _taken(partition: MailboxPartition) -> dict[str, object]:
    checkpoint = partition.checkpoint()
    found: dict[str, object] = {}
    for alert in checkpoint.alerts if checkpoint else ():
        if alert.id in found:
            raise AssertionError(f"the core itself made alert {alert.id} twice")
        found[alert.id] = json.loads(json.dumps(alert.data))
    return found


async def stored_alerts(bootstrap: str, topic: str) -> list[tuple[str, object]]:
    """Alerts of the topic in the order read, by the id in their data, repeats included."""
    return [
        ((data := json.loads(r.value or b"{}")).get("id", ""), data) for r in await read_all(bootstrap, topic)
    ]


async def stored_rejects(bootstrap: str, topic: str) -> list[tuple[Origin, str]]:
    """Origin and reason code of every record of the rejects topic."""
    found = []
    for record in await read_all(bootstrap, topic):
        data = json.loads(record.value or b"{}")
        origin = data["origin"]
        found.append(((origin["topic"], origin["partition"], origin["offset"]), data["code"]))
    return found
