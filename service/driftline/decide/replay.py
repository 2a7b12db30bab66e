"""Replay: files through the same code as the live pipeline, without side effects.

Rows of a file have no record timestamps; they are taken in file order. A row without a time of its own gets
one of 100 events a second from the epoch, so that budgets still mean something. With labels beside them, rows
of both count by their time; where the time of the events steps back, the file's order stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

import numpy as np

from driftline.config import InputSettings, Settings
from driftline.decide.kpi import of_labels
from driftline.decide.model_view import view_of
from driftline.decide.outputs import Action, Alert, ModelView
from driftline.decide.partition import MailboxPartition
from driftline.detect.reference import Reference, to_json
from driftline.errors import BugError
from driftline.ingest.columns import take_rows
from driftline.ingest.decode import Decoded, Decoder, make_decoder, mapping_of
from driftline.ingest.envelope import pack, split
from driftline.records import (
    CHUNK_PADDING,
    Block,
    Command,
    Envelope,
    Progress,
    ProgressFlag,
    RecordChunk,
    Source,
)

TOPIC_ID: Final = "00000000-0000-0000-0000-000000000000"  # a file's mailbox has no topic id
ROW_MS: Final = 10
BATCH_ROWS_MAX: Final = 100_000
TIME_MAX: Final = 1 << 62  # after every row


@dataclass(slots=True)
class Summary:
    """What a replay saw. ``rejected`` counts rows by reason code, ``alerts`` by state."""

    rows: int = 0
    accepted: int = 0
    filtered: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    alerts: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    labels: int = 0  # accepted
    actions: int = 0


class TimedLabels:
    """Labels in the order of their times, numbered so; those without a time of their own come first."""

    def __init__(self, source: Source, blocks: Iterable[Block]) -> None:
        self._source = source
        ordered = list(blocks)
        times = np.concatenate([b.event_time for b in ordered] or [np.zeros(0, np.int64)])
        places = np.empty(len(times), np.int64)
        places[np.argsort(times, kind="stable")] = np.arange(len(times))
        self._times, self._at = np.sort(times), 0
        self._blocks: list[Block] = []
        first = 0
        for block in ordered:
            own = places[first : first + len(block)]
            first += len(block)
            index = np.argsort(own)
            moved = take_rows(replace(block, offset=own, record_time=block.event_time), index)
            self._blocks.append(moved)

    def take(self, until: int, source: int) -> tuple[Progress, list[Block]]:
        """The labels up to a time that were not taken before; ``source`` is their place in the progress."""
        lo, hi = self._at, int(np.searchsorted(self._times, until, "right"))
        hi = max(lo, hi)
        found = []
        for block in self._blocks:
            a, b = np.searchsorted(block.offset, (lo, hi)).tolist()
            if b > a:
                part = take_rows(block, np.arange(a, b))
                found.append(replace(part, source=np.full(b - a, source, np.int32)))
        self._at = hi
        flag = ProgressFlag.START if lo == 0 else 0
        return Progress(self._source, TOPIC_ID, lo - 1, lo, hi - 1, flag, until), found


class Replay:
    """One replay: feed lines, take alerts. A mailbox partition without a broker."""

    def __init__(self, settings: Settings, *, topic: str | None = None) -> None:
        source = settings.first_input()
        assert source is not None  # the settings promise one
        self.source = Source(topic or source.topic, 0)
        self._fixed_model = source.model
        self.decoder: Decoder = make_decoder(
            source.format,
            fixed_model=source.model,
            allowed_models=settings.allowed_models(),
            max_event_age_ms=None,
            from_file=True,
            mapping=mapping_of(source),
        )
        self.partition = MailboxPartition(
            partition=0,
            topic_id=TOPIC_ID,
            partitions=1,
            settings=settings.detection,
            models=settings.models,
            revision=settings.revision(),
            runbook_url=settings.runbook_url,
        )
        self.summary = Summary()
        self.actions: list[Action] = []  # since they were last taken
        self._row = 0
        self._settings = settings
        self._labels: TimedLabels | None = None
        self._time: dict[str, int] = {}  # the largest event time of each model, with labels

    def add_labels(self, lines: Iterable[bytes]) -> None:
        """Labels to join with the rows that follow; all of them are kept in memory.

        Raises:
            BugError: the settings join no labels.
        """
        if self._settings.detection.labels is None:
            raise BugError("labels are replayed under settings that join none")
        source = self._settings.first_input("labels") or InputSettings(topic="labels", kind="labels")
        decoder = make_decoder(
            source.format,
            fixed_model=source.model or self._fixed_model,
            allowed_models=self._settings.allowed_models(),
            max_event_age_ms=None,
            from_file=True,
            mapping=mapping_of(source),
        )
        blocks: list[Block] = []
        first, where = 0, Source(source.topic, 0)
        for batch in batches(iter(lines), BATCH_ROWS_MAX):
            decoded = decoder.decode(chunk_of(batch, where, first))
            first += len(batch)
            blocks += decoded.blocks
            self.summary.labels += int(decoded.accepted_per_source.sum())
            self.summary.rejected.update(reject.code.value for reject in decoded.rejects)
        self._labels = TimedLabels(where, blocks)

    def promote(self, reference: Reference) -> None:
        """Put a baseline in force before the next row."""
        self.command(reference.model, b'{"type":"baseline.promote","baseline":%s}' % to_json(reference))

    def command(self, model: str, body: bytes) -> list[Alert]:
        """Carry out a command before the next row; returns the alerts that come of it."""
        commands = Source("commands", 0)
        last = self.partition.watermarks.get(commands, -1)
        progress = Progress(
            commands, TOPIC_ID, last, last + 1, last + 1, 0 if last >= 0 else ProgressFlag.START
        )
        given = Command(model, self._row * ROW_MS, 0, last + 1, body)
        return self._count(self._apply(Envelope("replay", (progress,), (), (given,))))

    def feed(self, lines: list[bytes]) -> list[Alert]:
        """Decode and apply the next rows of the file; returns the alerts in the order of their rows."""
        return self.take(self.decoder.decode(chunk_of(lines, self.source, self._row)), len(lines))

    def take(self, decoded: Decoded, rows: int) -> list[Alert]:
        """Apply the next rows, decoded elsewhere with row numbers as offsets; returns their alerts."""
        start = self._row
        self._row += rows
        self.summary.rows += rows
        self.summary.accepted += int(decoded.accepted_per_source.sum())
        self.summary.filtered += decoded.filtered
        self.summary.rejected.update(reject.code.value for reject in decoded.rejects)
        self.summary.counts.update(decoded.counts)
        flag = ProgressFlag.START if start == 0 else 0
        blocks, newest = tuple(decoded.blocks), (self._row - 1) * ROW_MS
        if self._labels is not None:
            blocks = tuple(self._by_time(block) for block in blocks)
            newest = max(self._time.values(), default=-1)
        progress = Progress(self.source, TOPIC_ID, start - 1, start, self._row - 1, flag, newest)
        return self._count(self._apply(self._with_labels((progress,), blocks, newest)))

    def finish(self) -> list[Alert]:
        """Apply the labels that come after the last row."""
        return self._count(self._apply(self._with_labels((), (), TIME_MAX))) if self._labels else []

    def _by_time(self, block: Block) -> Block:
        """The block with event times, as far as they ascend, for record times."""
        times = np.maximum(np.maximum.accumulate(block.event_time), self._time.get(block.model, -1))
        self._time[block.model] = int(times[-1])
        return replace(block, record_time=times)

    def _with_labels(self, progress: tuple[Progress, ...], blocks: tuple[Block, ...], until: int) -> Envelope:
        if self._labels is not None:
            entry, labels = self._labels.take(until, len(progress))
            progress, blocks = (*progress, entry), (*blocks, *labels)
        return Envelope("replay", progress, blocks)

    def _count(self, alerts: list[Alert]) -> list[Alert]:
        """The alerts in the order of their rows: an envelope holds one model after the other."""
        alerts.sort(key=lambda alert: (of_labels(alert), alert.row))
        self.summary.alerts.update(a.type.rpartition(".")[2] for a in alerts)
        return alerts

    def _apply(self, envelope: Envelope) -> list[Alert]:
        for part in split(envelope):
            self.partition.apply(self.partition.next_offset, 0, pack(part))
        found = self.partition.take_actions()
        self.actions += found
        self.summary.actions += len(found)
        return self.partition.take_alerts()

    def take_actions(self) -> list[Action]:
        """The actions since the last call."""
        found, self.actions = self.actions, []
        return found

    def views(self) -> list[ModelView]:
        """The models as they stand."""
        return [view_of(model) for model in self.partition.models.values()]


def chunk_of(lines: list[bytes], source: Source, first_row: int) -> RecordChunk:
    """Lines as a chunk: offsets are row numbers from ``first_row``; an empty line is a null value."""
    n = len(lines)
    lengths = np.fromiter(map(len, lines), np.int64, n)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    starts[lengths == 0] = -1
    offsets = np.arange(first_row, first_row + n, dtype=np.int64)
    buf = np.frombuffer(b"".join(lines) + bytes(CHUNK_PADDING), dtype=np.uint8)
    return RecordChunk(buf, starts, ends, np.zeros(n, dtype=np.int64), offsets, offsets * ROW_MS, (source,))


def read_lines(streams: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
    """Lines of files one after the other, without line ends."""
    for stream in streams:
        for line in stream:
            yield line.rstrip(b"\r\n")


def batches(lines: Iterator[bytes], rows: int) -> Iterator[list[bytes]]:
    """Lists of at most ``rows`` lines, and of few enough bytes that an envelope can hold them."""
    rows = max(1, min(rows, BATCH_ROWS_MAX))
    while batch := list(islice(lines, rows)):
        yield batch


def alert_row(alert: Alert) -> Mapping[str, Any]:
    """An alert as ``replay --json`` prints it: as on the topic, and the 0-based input row that decided it."""
    return {**alert.data, "row": alert.row}
