"""What must hold at the end of a run: every raw row accounted for, each alert once, nothing left behind.

What is due is known to whoever made the rows (``Traffic.expected``); state and alerts are read back from the
broker's logs as a committed reader sees them.
"""

from __future__ import annotations

import json
from collections import Counter

from chaos import verify
from chaos.joining import Joiner, joins
from driftline.decide.partition import MailboxPartition
from driftline.stream.agent import mailbox_partitions
from simulation.broker import Log
from simulation.invariants import Monitor
from simulation.traffic import Traffic
from simulation.world import World


def lag(world: World, monitor: Monitor) -> str:
    """What is still to be done, "" when nothing is."""
    for log in raw_logs(world):
        committed = world.ingest.offsets.get((log.topic, log.partition))
        if committed is None or committed < log.stable:
            return f"{log.topic}/{log.partition} is committed up to {committed} of {log.stable}"
    for shadow in monitor.shadows:
        if shadow.partition.next_offset < shadow.log.end:
            p = shadow.log.partition
            return f"mailbox partition {p} is stored up to {shadow.partition.next_offset} of {shadow.log.end}"
    return ""


def raw_logs(world: World) -> list[Log]:
    """Every partition of the raw topics."""
    return [log for topic in world.plan.raws for log in world.broker.topics[topic]]


def judge(world: World, monitor: Monitor, traffic: Traffic) -> None:
    """Compare the end of a drained run with the raw topics; reports to the monitor."""
    models: dict[str, dict[verify.Place, int]] = {}
    watermarks: dict[int, dict[verify.Place, int]] = {}
    lost = 0
    due, found = dict[str, verify.Joined](), dict[str, verify.Joined]()
    for p in range(len(monitor.shadows)):
        stored = _restored(world, monitor, p)
        raws = {s: hi for s, hi in stored.watermarks.items() if s.topic in world.plan.raws}
        watermarks[p] = {(s.topic, s.partition): hi for s, hi in raws.items()}
        lost = max(lost, stored.position.lost)
        for model, counts in stored.model_rows().items():
            rows = models.setdefault(model, {})
            for source, n in counts.items():
                rows[source.topic, source.partition] = rows.get((source.topic, source.partition), 0) + n
        if world.plan.labelled:
            exact = Joiner()
            for record in monitor.shadows[p].log.history:
                exact.envelope(record.value or b"")
            due |= {model: join.joined for model, join in exact.models.items()}
            found |= joins(stored)
    _report(monitor, "labels", verify.compare_joins(due, found))
    expected = traffic.expected(monitor.first)
    _report(monitor, "rows", verify.compare_rows(expected.rows, models))
    ends = {(log.topic, log.partition): log.stable for log in raw_logs(world)}
    _report(monitor, "positions", verify.compare_positions(ends, watermarks))
    rejects = [json.loads(r.value or b"") for log in world.broker.topics[world.rejects] for r in log.history]
    origins = [
        ((o["topic"], o["partition"], o["offset"]), r["code"]) for r in rejects for o in (r["origin"],)
    ]
    _report(monitor, "rejects", verify.compare_rejects(expected.rejects, origins))
    ids = Counter(
        json.loads(r.value or b"")["id"]
        for log in world.broker.topics[world.alerts]
        for r in log.history
        if r.committed
    )
    if any(n > 1 for n in ids.values()):
        monitor.broken("alerts", f"the same alert more than once: {ids.most_common(1)}")


def _restored(world: World, monitor: Monitor, p: int) -> MailboxPartition:
    """The state topic opened once more, compacted as it is now."""
    rows: dict[bytes, bytes] = {}
    for record in world.broker.log(world.state, p).records:
        if record.committed and record.key is not None:
            rows[record.key] = record.value or b""
            if record.value is None:
                del rows[record.key]
    if rows != monitor.views[p]:
        monitor.broken("compaction", f"partition {p}: what is left of the state topic is not the state")
    factory = mailbox_partitions(world.settings)
    topic_id = world.broker.ids[world.mailbox]
    stored = factory(rows, partition=p, topic_id=topic_id, partitions=len(monitor.shadows), first_offset=0)
    assert isinstance(stored, MailboxPartition)
    return stored


def _report(monitor: Monitor, check: str, found: verify.Differences) -> None:
    if not found.clean:
        monitor.broken(check, "; ".join(found.examples[:3]))
