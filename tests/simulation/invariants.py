"""What must hold at every moment of a run, seen from the broker's side (invariants 1-9 of the design).

Owns: an uninterrupted replay of each mailbox partition beside the run (the shadow), and the judgement of
every envelope, offset commit and transaction. A shadow never restarts and reads the log itself: state,
alerts and position of each committed transaction must equal its, byte for byte. Nothing a worker says is
used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from driftline.decide.partition import NOTES_MAX, MailboxPartition, next_key
from driftline.detect.actor import Phase
from driftline.ingest.envelope import unpack
from driftline.ingest.service import BEGUN
from driftline.publish import actions as action_records
from driftline.publish import alerts as alert_records
from driftline.publish import reports as report_records
from driftline.records import ENVELOPE_BYTES_MAX, Envelope, ProgressFlag
from driftline.stream.agent import mailbox_partitions
from simulation.broker import Log, Record, Txn
from simulation.groups import Group, Place
from simulation.plan import RAW
from simulation.world import World

TICK_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Violation:
    """A promise that was broken: which check saw it, and what it saw."""

    check: str
    text: str


class Shadow:
    """One mailbox partition as a process that never stops applies it."""

    def __init__(self, partition: MailboxPartition, log: Log) -> None:
        self.partition, self.log = partition, log
        self.at = 0  # index into the log's history

    def advance(self, offset: int) -> None:
        """Apply everything below ``offset``; ends earlier at the end of the log."""
        history = self.log.history
        while self.at < len(history) and history[self.at].offset < offset:
            record = history[self.at]
            self.partition.apply(record.offset, record.timestamp, record.value or b"")
            self.at += 1


class Monitor:
    """Watches a world; the first violation is kept.

    Args:
        world: to be watched, before it begins.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.violation: Violation | None = None
        make = mailbox_partitions(world.settings)
        count = world.settings.topics.mailbox_partitions
        self.shadows = [
            Shadow(
                make(
                    {},
                    partition=p,
                    topic_id=world.broker.ids[world.mailbox],
                    partitions=count,
                    first_offset=0,
                ),  # type: ignore[arg-type]
                world.broker.log(world.mailbox, p),
            )
            for p in range(count)
        ]
        self.views: list[dict[bytes, bytes]] = [{} for _ in range(count)]  # committed state, compacted
        self._covered: list[dict[Place, int]] = [
            {} for _ in range(count)
        ]  # raw offsets, by mailbox partition
        self.first: dict[Place, int] = {}  # where each raw partition began
        self._versions = [0] * count  # transactions of each state partition
        self._seen: list[dict[object, int]] = [{} for _ in range(count)]  # version that a process has read
        self.transactions = self.alerts = self.actions = self.envelopes = 0
        self.reports = 0
        self._reported: list[bytes | None] = []  # by the transaction at hand
        world.broker.on_append = self._appended
        world.broker.on_commit = self._committed
        world.broker.on_read = self._read
        world.ingest.on_commit = self._raw_commit
        self._tick()

    def broken(self, check: str, text: str) -> None:
        """Keep the first violation and end the run."""
        if self.violation is None:
            self.violation = Violation(check, text)
            self._world.note(f"VIOLATION {check}: {text}")
            self._world.loop.stop()

    # --- stage 1

    def _appended(self, log: Log, record: Record) -> None:
        if log.topic != self._world.mailbox or record.value is None:
            return
        self.envelopes += 1
        if len(record.value) > ENVELOPE_BYTES_MAX:
            self.broken("memory bound", f"an envelope of {len(record.value)} bytes")
        envelope = unpack(record.value)
        self._world.note(
            f"envelope {log.partition}@{record.offset} of {envelope.producer}: {_ranges(envelope)}"
        )
        if log is not self.shadows[log.partition].log:
            return  # the mailbox was recreated: stage 2 has to notice
        self._rows(envelope)
        covered = self._covered[log.partition]
        for entry in envelope.progress:
            place = (entry.source.topic, entry.source.partition)
            if entry.prev_hi != entry.lo - 1:
                self.broken("chain", f"{place}: the envelope of {entry.lo} claims to follow {entry.prev_hi}")
            if entry.flags & ProgressFlag.ACCEPTED_GAP and not self._world.settings.ingest.accept_gap:
                self.broken("gap", f"{place}: rows before {entry.lo} are skipped and nobody allowed it")
            if entry.flags & ProgressFlag.START:
                self._start(place, entry.lo)
            known = covered.get(place)
            flagged = entry.flags & (ProgressFlag.START | ProgressFlag.ACCEPTED_GAP)
            if not flagged and (known is None or entry.lo > known + 1):
                self.broken("hole", f"mailbox {log.partition}: {place} goes on at {entry.lo} after {known}")
            covered[place] = max(known if known is not None else -1, entry.hi)

    def _start(self, place: Place, offset: int) -> None:
        first = self.first.setdefault(place, offset)
        if first != offset:
            self.broken("start", f"{place} begins at {offset}, and began at {first} before")
        latest = self._world.settings.inputs[0].start == "latest" and self._world.plan.raw_start
        if place[0] == RAW and not latest and offset != self._world.plan.raw_start:
            self.broken("start", f"{place} begins at {offset} instead of {self._world.plan.raw_start}")

    def _rows(self, envelope: Envelope) -> None:
        """Every row is the one that its raw topic holds under its offset."""
        logs = [
            self._world.broker.by_id[entry.topic_id][entry.source.partition].history
            for entry in envelope.progress
        ]
        for block in envelope.blocks:
            for index, offset, time in zip(
                block.source.tolist(), block.offset.tolist(), block.record_time.tolist(), strict=True
            ):
                history = logs[index]
                if offset >= len(history) or history[offset].timestamp != time:
                    place = envelope.progress[index].source
                    self.broken("identity", f"{place}: offset {offset} is not of the topic that it claims")

    def _raw_commit(self, group: Group, offsets: Mapping[Place, int]) -> None:
        self._world.note(f"raw commit {dict(sorted(offsets.items()))}")
        if self._world.broker.topics[self._world.mailbox][0] is not self.shadows[0].log:
            return
        for place, offset in offsets.items():
            if group.notes[place].startswith(BEGUN):
                self._start(place, offset)
                continue
            for partition, covered in enumerate(self._covered):
                if covered.get(place, -1) < offset - 1:
                    self.broken(
                        "raw commit",
                        f"{place} is committed up to {offset}, mailbox partition {partition} "
                        f"has it up to {covered.get(place)}",
                    )

    # --- stage 2

    def _read(self, log: Log, process: object) -> None:
        """A process reads a partition of the state topic to its end."""
        if log.topic == self._world.state:
            self._seen[log.partition][process] = self._versions[log.partition]

    def _committed(self, txn: Txn) -> None:
        if txn.process is None:
            return
        state = [(log, r) for log, r in txn.records if log.topic == self._world.state]
        alerts = [r for log, r in txn.records if log.topic == self._world.alerts]
        partitions = {log.partition for log, _ in state}
        if len(partitions) != 1:
            self.broken(
                "one transaction", f"{len(alerts)} alerts with state of partitions {sorted(partitions)}"
            )
            return
        p = partitions.pop()
        rows = {r.key or b"": r.value for _, r in state}
        if next_key(p) not in rows:
            self.broken("one transaction", f"partition {p}: state without a position")
            return
        self._owner(p, txn)
        before = json.loads(self.views[p].get(next_key(p), b'{"next": 0}'))["next"]
        for key, value in rows.items():
            if value is None:
                self.views[p].pop(key, None)
            else:
                self.views[p][key] = value
        after = json.loads(rows[next_key(p)] or b"")["next"]
        self.transactions += 1
        self.alerts += len(alerts)
        self._reported = [r.value for log, r in txn.records if log.topic == self._world.reports]
        self.reports += len(self._reported)
        self._world.note(f"checkpoint {p} by {txn.process.name}: {before} -> {after}, {len(alerts)} alerts")
        if after < before:
            self.broken("position", f"partition {p} goes back from {before} to {after}")
            return
        self._compare(p, after, alerts, [r for log, r in txn.records if log.topic == self._world.actions])

    def _owner(self, p: int, txn: Txn) -> None:
        seen = self._seen[p].get(txn.process)
        if seen != self._versions[p]:
            self.broken(
                "former owner",
                f"partition {p}: {txn.process.name} stores on version {seen}, there is {self._versions[p]}",
            )
        self._versions[p] += 1
        self._seen[p][txn.process] = self._versions[p]

    def _compare(self, p: int, offset: int, alerts: list[Record], actions: list[Record]) -> None:
        shadow = self.shadows[p]
        try:
            shadow.advance(offset)
        except Exception as error:  # noqa: BLE001 - whatever the replay says against the log
            self.broken("replay", f"partition {p}: {type(error).__name__}: {error}")
            return
        if shadow.partition.next_offset != offset:
            self.broken("replay", f"partition {p} is stored up to {offset}, its log ends before")
            return
        due = shadow.partition.checkpoint()
        if due is None:
            return
        expected = [alert_records.encode(alert).value for alert in due.alerts]
        if expected != [record.value for record in alerts]:
            self.broken("alerts", f"partition {p} at {offset}: {_names(alerts)}, due {_names(expected)}")
            return
        asked = [action_records.encode(action).value for action in due.actions]
        self.actions += len(asked)
        if asked != [record.value for record in actions]:
            self.broken("actions", f"partition {p} at {offset}: {_names(actions)}, due {_names(asked)}")
            return
        if [report_records.encode(report).value for report in due.reports] != self._reported:
            self.broken(
                "reports", f"partition {p} at {offset}: {len(self._reported)}, due {len(due.reports)}"
            )
            return
        for key, value in (record for row in due.state for record in row.records()):
            if self.views[p].get(key) != value:
                self.broken(
                    "state", f"partition {p} at {offset}: {key!r} differs from an uninterrupted replay"
                )
                return

    # --- bounds

    def _tick(self) -> None:
        limits = self._world.settings.detection
        for worker in self._world.workers:
            if worker.owner is None or worker.process is None or not worker.process.running:
                continue
            for p, owned in worker.owner.owned.items():
                partition: Any = owned.partition
                learning = [m for m in partition.models.values() if m.actor.phase is Phase.LEARNING]
                if (
                    len(partition.models) > limits.models_per_partition_max
                    or len(learning) > limits.learning_models_max
                    or any(
                        m.actor.learning and len(m.actor.learning) > limits.learning_rows for m in learning
                    )
                    or len(partition._notes) > NOTES_MAX
                ):
                    self.broken("memory bound", f"{worker.process.name}: partition {p} holds too much")
        self._world.loop.outside(TICK_SECONDS, self._tick)


def _ranges(envelope: Envelope) -> str:
    return " ".join(f"{e.source.topic}/{e.source.partition}:{e.lo}-{e.hi}" for e in envelope.progress)


def _names(records: list[Any]) -> list[str]:
    values = [json.loads(r if isinstance(r, bytes) else r.value) for r in records]
    parts = ("model", "signal", "state", "episode", "number")
    return ["/".join(str(v[part]) for part in parts if part in v) for v in values]
