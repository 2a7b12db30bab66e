"""All actors of one mailbox partition: applies envelopes in order, hands out checkpoints.

Owns: the next offset, the watermarks of the raw partitions, partition time, the actors and their episodes.
Invariants: nothing is applied past a hole; a row at or below its raw partition's watermark is never applied
again; the same mailbox gives the same state and alerts whatever the cuts and restarts. Must not know: Kafka,
clocks, threads. All decisions are functions of the envelopes and their record timestamps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from driftline.config import DetectionSettings, ModelSettings
from driftline.decide import commands as orders
from driftline.decide import store
from driftline.decide.alerts import Context
from driftline.decide.lifecycle import NO_DEADLINE
from driftline.decide.model import Model
from driftline.decide.model_view import view_of
from driftline.decide.outputs import Action, Alert, Checkpoint, Report
from driftline.decide.store import Position, RawPosition, next_key
from driftline.decide.versions import IDLE_MS, VERSIONS_MAX, base_of, is_version, policy_of, version_name
from driftline.detect.actor import Phase
from driftline.errors import ExitCode, FatalError, HoleError
from driftline.ingest.columns import take_rows
from driftline.ingest.envelope import unpack
from driftline.records import Block, Command, Envelope, Progress, ProgressFlag, Source

__all__ = ["MailboxPartition", "next_key"]

NOTES_MAX: Final = 100  # messages for the log between two checkpoints


class MailboxPartition:
    """See the module docstring; ``stream`` and ``replay`` are its edges."""

    def __init__(
        self,
        *,
        partition: int,
        topic_id: str,
        partitions: int,
        settings: DetectionSettings,
        models: Mapping[str, ModelSettings],
        revision: str,
        runbook_url: str,
        first_offset: int = 0,
    ) -> None:
        self.partition = partition
        self.settings = settings
        self.model_settings = models
        self.position = Position(first_offset, topic_id, partitions, revision)
        self.context = Context(topic_id, runbook_url)
        self.models: dict[str, Model] = {}
        self.urgent = False
        self.dirty = False
        self._dirty_models: dict[str, None] = {}
        self._alerts: list[Alert] = []
        self._reports: list[Report] = []
        self._actions: list[Action] = []
        self._notes: list[str] = []
        self._deadline = NO_DEADLINE  # when the next mute of a model ends
        self._gone: dict[str, Model] = {}  # retired since the last checkpoint

    @classmethod
    def restore(
        cls,
        rows: Mapping[bytes, bytes],
        *,
        partition: int,
        topic_id: str,
        partitions: int,
        settings: DetectionSettings,
        models: Mapping[str, ModelSettings],
        revision: str,
        runbook_url: str,
    ) -> Self:
        """The partition as stored: ``rows`` are the live records of its partition of the state topic.

        Raises:
            FatalError: IDENTITY when the mailbox topic was recreated or its partition count changed,
                STATE_MISSING when there are models but no position, CONFIG for a newer format.
        """
        self = cls(
            partition=partition,
            topic_id=topic_id,
            partitions=partitions,
            settings=settings,
            models=models,
            revision=revision,
            runbook_url=runbook_url,
        )
        stored = store.read_position(rows.get(next_key(partition)), partition)
        if (stored.topic_id, stored.partitions) != (topic_id, partitions):
            raise FatalError(
                ExitCode.IDENTITY,
                f"the state belongs to mailbox topic {stored.topic_id}, {stored.partitions} partitions; "
                f"this one is {topic_id} with {partitions}.",
                remedy="If the topic was recreated on purpose, delete the state topic and create both again.",
            )
        self.position = stored
        for name in stored.models:
            model, problem = store.read_model(name, rows, settings, models)
            model.room_to_learn = self._may_learn
            self.models[name] = model
            if problem:
                self._lost(model, f"{problem} It learns its reference again.")
            elif model.labels_lost:
                self._lost(model, f"{model.labels_lost} Performance is learned again.")
        if _number(stored.revision) > _number(revision):
            raise FatalError(
                ExitCode.CONFIG,
                f"the stored state is of configuration {stored.revision}, this worker has {revision}.",
                remedy="It has an older configuration file: give it the current one (revision_number).",
            )
        if stored.revision != revision:
            self._note(f"configuration {revision} replaces {stored.revision} at mailbox offset {stored.next}")
            stored.revision = revision
            for model in self.models.values():
                model.settings_changed(settings, models)
                self._touch(model.name)
        self._deadline = self._next_deadline()
        return self

    # --- what edges read ---------------------------------------------------------------------------------

    @property
    def next_offset(self) -> int:
        """The next mailbox offset to apply."""
        return self.position.next

    @property
    def applied_ms(self) -> int:
        """Mailbox timestamp of the last envelope, ms; -1 before the first."""
        return max((raw.seen_ms for raw in self.position.raw.values()), default=-1)

    @property
    def time_ms(self) -> int:
        """Partition time: record timestamps are complete up to here; -1 when unknown."""
        return self.position.time

    @property
    def watermarks(self) -> dict[Source, int]:
        """Last raw offset applied, by raw partition."""
        return {source: raw.hi for source, raw in self.position.raw.items()}

    def model_rows(self) -> dict[str, dict[Source, int]]:
        """Rows applied, by model and raw partition."""
        return {name: dict(model.actor.source_rows) for name, model in self.models.items()}

    def take_alerts(self) -> list[Alert]:
        """The alerts since the last checkpoint, for an edge that stores nothing."""
        alerts, self._alerts = self._alerts, []
        return alerts

    def take_reports(self) -> list[Report]:
        """The window reports since the last checkpoint, for an edge that stores nothing."""
        reports, self._reports = self._reports, []
        return reports

    def take_actions(self) -> list[Action]:
        """The actions since the last checkpoint, for an edge that stores nothing."""
        actions, self._actions = self._actions, []
        return actions

    def drain_notes(self) -> list[str]:
        """Messages for the log since the last call."""
        notes, self._notes = self._notes, []
        return notes

    # --- applying ----------------------------------------------------------------------------------------

    def apply(self, offset: int, timestamp_ms: int, value: bytes) -> int:
        """Apply one record of the mailbox; returns the rows that counted.

        Raises:
            HoleError: the offset or a raw range does not follow what was applied before.
            MessageError: the envelope is corrupt.
            FatalError: IDENTITY, a raw topic was recreated.
        """
        if offset < self.position.next:
            return 0
        if offset > self.position.next:
            raise HoleError(
                f"mailbox partition {self.partition}: expected offset {self.position.next}, got {offset}."
            )
        envelope = unpack(value)
        before = self._follow(envelope, timestamp_ms)
        rows = self._events(envelope, before)
        self.position.next = offset + 1
        self.dirty = True
        return rows

    def _follow(self, envelope: Envelope, timestamp_ms: int) -> npt.NDArray[np.int64]:
        """Check the raw ranges, move the watermarks; returns the former watermark of each progress entry."""
        before = np.empty(len(envelope.progress), dtype=np.int64)
        for i, progress in enumerate(envelope.progress):
            before[i] = self._chain(progress)
        for progress in envelope.progress:
            raw = self.position.raw.setdefault(progress.source, RawPosition(progress.topic_id))
            raw.hi = max(raw.hi, progress.hi)
            raw.record_time = max(raw.record_time, progress.record_time_max)
            raw.seen_ms = timestamp_ms
        self.position.advance(timestamp_ms, int(self.settings.idle_partition_seconds * 1000))
        return before

    def _chain(self, progress: Progress) -> int:
        source = f"{progress.source.topic}[{progress.source.partition}]"
        raw = self.position.raw.get(progress.source)
        if raw is not None and raw.topic_id != progress.topic_id:
            raise FatalError(
                ExitCode.IDENTITY,
                f"{source} is topic {progress.topic_id}, the state has read topic {raw.topic_id}.",
                remedy="It was recreated: reset the pipeline's state, or give the new topic another name.",
            )
        last = raw.hi if raw is not None else None
        if progress.flags & ProgressFlag.ACCEPTED_GAP:
            lost = max(progress.lo - 1 - (last if last is not None else progress.lo - 1), 0)
            if lost:
                self._note(
                    f"{source}: {lost} records up to offset {progress.lo - 1} were lost and accepted as lost"
                )
                self.position.lost += lost
        elif last is None and not progress.flags & ProgressFlag.START:
            raise HoleError(
                f"{source}: offset {progress.lo} is the first ever seen, but not the first of the topic."
            )
        elif last is not None and progress.prev_hi > last:
            raise HoleError(f"{source}: applied up to {last}, the next envelope follows {progress.prev_hi}.")
        return last if last is not None else progress.lo - 1

    def _events(self, envelope: Envelope, before: npt.NDArray[np.int64]) -> int:
        commands: dict[str, list[Command]] = {}
        for command in envelope.commands:
            if command.offset > before[command.source]:
                commands.setdefault(command.model, []).append(command)
        overlap = any(p.lo <= b for p, b in zip(envelope.progress, before.tolist(), strict=True))
        rows, told = 0, len(self._alerts)
        applied: list[tuple[str, Block]] = []
        joined: dict[str, tuple[list[Block], list[Block]]] = {}  # events and labels by model
        for block in envelope.blocks:
            kept = trim(block, before) if overlap else block
            is_labels = block.is_labels
            if not is_labels:
                parts = self._by_version(kept, envelope)
                applied += [(name, part) for name, part in parts if len(part)]
                for name, part in parts:
                    rows += self._model_events(name, part, commands.pop(name, []), envelope)
            if self.settings.labels is not None and len(kept):
                applied += [(block.model, kept)] * is_labels
                joined.setdefault(block.model, ([], []))[is_labels].append(kept)
        for name, waiting in commands.items():
            rows += self._model_events(name, None, waiting, envelope)
        if self.position.time >= self._deadline:
            self._end_mutes()
        for name, (events, labels) in joined.items():
            rows += self._join(name, events, labels, envelope)
        self._ask(applied, envelope, self._alerts[told:])
        return rows

    def _ask(self, applied: Sequence[tuple[str, Block]], envelope: Envelope, alerts: Sequence[Alert]) -> None:
        """What the alerts and the event time of an envelope mean to models with rules for actions."""
        told: dict[str, list[Alert]] = {}
        for alert in alerts:
            told.setdefault(alert.model, []).append(alert)
        times = dict.fromkeys(told, -1)
        for name, block in applied:
            model = self.models.get(name)
            if model is not None and model.actions is not None:
                model.actions.trail.add(block, envelope.progress)
                times[name] = max(times.get(name, -1), int(block.event_time.max()))
        for name, time in times.items():
            model = self.models.get(name)
            if model is not None and model.actions is not None:
                found = model.actions.follow(told.get(name, ()), time, model.facts, self.context)
                self._actions += found
                self.urgent |= bool(found)

    def _by_version(self, block: Block, envelope: Envelope) -> list[tuple[str, Block]]:
        """The rows of a block by the model that they belong to: versions may be models of their own."""
        name = block.model
        if not block.versions or policy_of(self.settings, self.model_settings, name) != "per_version":
            return [(name, block)]
        if self.settings.labels is not None:
            self._model(name)  # labels name no version: they are joined for all of them together
        found: dict[str, list[npt.NDArray[np.int64]]] = {}
        for code in np.unique(block.version).tolist():
            index = np.flatnonzero(block.version == code)
            own = name
            if code >= 0:
                own = self._version_model(name, block.versions[code], block, int(index[0]), envelope)
            found.setdefault(own, []).append(index)
        return [(own, take_rows(block, np.sort(np.concatenate(parts)))) for own, parts in found.items()]

    def _version_model(self, name: str, version: str, block: Block, row: int, envelope: Envelope) -> str:
        """The id of the model of a version, which there is room for from ``row`` on; else the model's own."""
        own = version_name(name, version)
        if own in self.models or own == name:
            return own
        others = [m for m in self.models.values() if base_of(m.name) == name and m.name != name]
        if len(others) < VERSIONS_MAX:
            return own
        oldest = min(others, key=lambda m: (m.actor.last_time, m.name))
        if int(block.event_time[row]) - oldest.actor.last_time < IDLE_MS:
            self._note(f"model {name}: {VERSIONS_MAX} versions have events; {version!r} is counted with it")
            return name
        origin = (envelope.progress[int(block.source[row])].source, int(block.offset[row]))
        self._collect(oldest.retire(origin, self.context))
        self._note(f"model {oldest.name} had no events for a day: {own} takes its place")
        # Should it come back, its alerts must not have ids that consumers have seen.
        used = [number for own in oldest.all_episodes for number in own.numbers.values()]
        self.position.numbered = max(self.position.numbered, *used, 0)
        self._gone[oldest.name] = self.models.pop(oldest.name)
        self._dirty_models.pop(oldest.name, None)
        return own

    def _join(self, name: str, events: list[Block], labels: list[Block], envelope: Envelope) -> int:
        """Join a model's events with its labels, once for the envelope; returns the labels that counted."""
        count = sum(map(len, labels))
        model = self.models.get(name) if not labels else self._model(name)
        if model is None:
            self.position.over_limit += count
            return 0
        self._collect(model.join(events, labels, envelope.progress, self.position.time, self.context))
        self._reports += model.reports
        model.reports = []
        self._touch(name)
        return count

    def _model_events(
        self, name: str, block: Block | None, commands: list[Command], envelope: Envelope
    ) -> int:
        if (block is None or len(block) == 0) and not commands:
            return 0
        model = self._model(name)
        if model is None:
            self.position.over_limit += len(block) if block is not None else 0
            return 0
        at = 0
        for command in sorted(commands, key=lambda c: (c.record_time, c.source, c.offset)):
            if block is not None:
                to = at + int(np.searchsorted(block.record_time[at:], command.record_time, "left"))
                self._apply(model, block, at, to, envelope)
                at = to
            self._collect(orders.end_mutes(model, command.record_time, self.context))
            first = _row_name(block, at, envelope)
            alerts, note = orders.carry_out(model, command, envelope.progress, self.context, first=first)
            self._collect(alerts)
            self._note(note)
            if model.finished_learning:
                self._admit_next()
        if commands:
            self._deadline = self._next_deadline()
        if block is not None:
            self._apply(model, block, at, len(block), envelope)
        self._reports += model.reports
        for note in (*model.notes, *model.kpis.take_notes()):
            self._note(note)
        model.reports, model.notes = [], []
        if model.finished_learning:
            self._admit_next()
        self._touch(name)
        return len(block) if block is not None else 0

    def _apply(self, model: Model, block: Block, lo: int, hi: int, envelope: Envelope) -> None:
        """Rows lo..hi of a block; a mute ends between the rows where its time comes."""
        while lo < hi:
            self._collect(orders.end_mutes(model, int(block.record_time[lo]), self.context))
            to = lo + int(np.searchsorted(block.record_time[lo:hi], model.life.deadline, "left"))
            self._collect(model.apply(block, lo, to, envelope.progress, self.context))
            lo = to

    def _end_mutes(self) -> None:
        """End mutes by partition time: a model without events is told of too."""
        for model in self.models.values():
            if model.life.deadline <= self.position.time:
                self._collect(orders.end_mutes(model, self.position.time, self.context))
                self._touch(model.name)
        self._deadline = self._next_deadline()

    def _next_deadline(self) -> int:
        return min((model.life.deadline for model in self.models.values()), default=NO_DEADLINE)

    def _model(self, name: str) -> Model | None:
        model = self.models.get(name)
        if model is None:
            if len(self.models) >= self.settings.models_per_partition_max:
                self._note(f"model {name} ignored: the partition holds {len(self.models)} models already")
                return None
            model = self.models[name] = Model.new(
                name, self.settings, self.model_settings, learn=self._may_learn()
            )
            model.room_to_learn = self._may_learn
            if is_version(self.settings, self.model_settings, name):
                model.number_from(self.position.numbered)
            self._gone.pop(name, None)
        return model

    def _may_learn(self) -> bool:
        # A model that has only labels, because its versions have the events, holds no rows.
        learning = sum(m.actor.phase is Phase.LEARNING and m.actor.rows > 0 for m in self.models.values())
        return learning < self.settings.learning_models_max

    def _admit_next(self) -> None:
        for model in self.models.values():
            model.finished_learning = False
            if model.actor.phase is Phase.QUEUED and self._may_learn():
                model.actor.phase = Phase.LEARNING
                self._touch(model.name)

    def _lost(self, model: Model, problem: str) -> None:
        self._note(f"model {model.name}: {problem}")
        self._collect([model.state_lost(self.context, self.partition, self.position.next)])
        self._touch(model.name)

    def _collect(self, alerts: list[Alert]) -> None:
        """Take alerts of models as they go out."""
        if alerts:
            self._alerts += [self.models[alert.model].told(alert, self.context) for alert in alerts]
            self.urgent = True

    def _note(self, text: str) -> None:
        if text and len(self._notes) < NOTES_MAX:
            self._notes.append(text)

    def _touch(self, name: str) -> None:
        self._dirty_models[name] = None
        self.dirty = True

    # --- storing -----------------------------------------------------------------------------------------

    def checkpoint(self) -> Checkpoint | None:
        """Everything since the last one, copied; None when nothing changed."""
        if not self.dirty:
            return None
        changed = [self.models[name] for name in self._dirty_models]
        self.position.models = list(self.models)
        rows = [row for model in self._gone.values() for row in store.tombstones(model)]
        rows += [row for model in changed for row in store.model_rows(model)]
        rows.append(store.position_row(self.position, self.partition))
        out = Checkpoint(
            self.position.next,
            tuple(rows),
            tuple(self._alerts),
            tuple(view_of(model) for model in changed),
            gone=tuple(self._gone),
            reports=tuple(self._reports),
            actions=tuple(self._actions),
        )
        self._gone = {}
        self._alerts, self._reports, self._actions, self._dirty_models = [], [], [], {}
        self.dirty = self.urgent = False
        return out


def _row_name(block: Block | None, row: int, envelope: Envelope) -> str:
    """Raw topic, partition and offset of a row; the next row's are unknown when the block ends before it."""
    if block is None or row >= len(block):
        return "the next row"
    source = envelope.progress[int(block.source[row])].source
    return f"{source.topic}/{source.partition}/{int(block.offset[row])}"


def _number(revision: str) -> int:
    """Revisions are ordered by the number before the hash; one without a number is the oldest."""
    number = revision.partition("-")[0]
    return int(number) if number.isdecimal() else 0


def trim(block: Block, before: npt.NDArray[np.int64]) -> Block:
    """The rows of a block above the watermarks ``before`` (one a progress entry)."""
    keep = block.offset > before[block.source]
    return block if keep.all() else take_rows(block, np.flatnonzero(keep))
