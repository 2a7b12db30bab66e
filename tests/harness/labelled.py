"""Events and labels as blocks and envelopes, without a broker and without JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from driftline.config import DetectionSettings, ModelSettings
from driftline.config.settings import LabelSettings
from driftline.decide.outputs import Alert, Report
from driftline.decide.partition import MailboxPartition
from driftline.ingest.envelope import pack
from driftline.records import Block, Column, ColumnKind, Envelope, Progress, Source, Tag

EVENTS: Final = Source("events", 0)
LABELS: Final = Source("labels", 0)
T0: Final = 1_700_000_000_000


class Row(NamedTuple):
    """One record: of labels if ``label`` is not None; ids are 1 and up, 0 for none."""

    id: int
    time: int
    label: float | str | bool | None = None
    score: float | None = None
    klass: str | None = None


def _cells(kind: ColumnKind, values: Sequence[float | str | bool | None]) -> tuple[Column, Any, Any]:
    words = list(dict.fromkeys(v for v in values if isinstance(v, str)))
    tags, cells = np.zeros(len(values), np.uint8), np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if isinstance(value, str):
            tags[i], cells[i] = Tag.STRING, words.index(value)
        elif value is not None:
            tags[i], cells[i] = Tag.BOOL if isinstance(value, bool) else Tag.NUMBER, float(value)
    return Column(kind, "", tuple(words)), tags, cells


def block(rows: Sequence[Row], first: int, source: int = 0, model: str = "m") -> Block:
    """Rows of one kind as a block; offsets from ``first``."""
    n = len(rows)
    found = [
        _cells(ColumnKind.SCORE, [r.score for r in rows]),
        _cells(ColumnKind.CLASS, [r.klass for r in rows]),
    ]
    if rows[0].label is not None:
        found.append(_cells(ColumnKind.LABEL, [r.label for r in rows]))
    found = [f for f in found if f[1].any()]
    times = np.array([r.time for r in rows], np.int64)
    # Ids are spread over all bits, as hashes are.
    ids = np.array([r.id for r in rows], np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    return Block(
        model=model, columns=tuple(f[0] for f in found),
        tags=np.stack([f[1] for f in found]) if found else np.zeros((0, n), np.uint8),
        values=np.stack([f[2] for f in found]) if found else np.zeros((0, n)),
        event_time=times, record_time=np.maximum.accumulate(times), source=np.full(n, source, np.int32),
        offset=np.arange(first, first + n), version=np.full(n, -1, np.int32), versions=(), id_hash=ids,
    )  # fmt: skip


def new_partition(model: ModelSettings | None = None, **labels: Any) -> MailboxPartition:
    """An empty mailbox partition that joins labels."""
    return MailboxPartition(**_known(model, labels))


def restored(
    stored: dict[bytes, bytes], model: ModelSettings | None = None, **labels: Any
) -> MailboxPartition:
    """The partition as stored."""
    return MailboxPartition.restore(stored, **_known(model, labels))


def _known(model: ModelSettings | None, labels: dict[str, Any]) -> dict[str, Any]:
    settings = DetectionSettings(labels=LabelSettings(**labels), learning_rows=500)
    return {
        "partition": 0, "topic_id": "t", "partitions": 1, "settings": settings,
        "models": {} if model is None else {"m": model}, "revision": "r", "runbook_url": "",
    }  # fmt: skip


class Mailbox:
    """Sends rows to a partition, one envelope a call; keeps what checkpoints stored."""

    def __init__(self, partition: MailboxPartition) -> None:
        self.partition = partition
        self.stored: dict[bytes, bytes] = {}
        self.alerts: list[Alert] = []
        self.reports: list[Report] = []
        self.checkpoint_bytes = 0
        self._next = {source: partition.watermarks.get(source, -1) + 1 for source in (EVENTS, LABELS)}

    def send(self, events: Sequence[Row], labels: Sequence[Row], model: str = "m") -> None:
        """One envelope."""
        progress: list[Progress] = []
        blocks: list[Block] = []
        for source, rows in ((EVENTS, events), (LABELS, labels)):
            lo = self._next[source]
            newest = max((r.time for r in rows), default=-1)
            entry = Progress(
                source, source.topic, lo - 1, lo, lo + len(rows) - 1, 1 if lo == 0 else 0, newest
            )
            if rows:
                blocks.append(block(rows, lo, len(progress), model))
            progress.append(entry)
            self._next[source] = lo + len(rows)
        self.partition.apply(
            self.partition.next_offset, T0, pack(Envelope("t", tuple(progress), tuple(blocks)))
        )

    def checkpoint(self) -> None:
        """Store what changed, as the state topic would hold it after compaction."""
        found = self.partition.checkpoint()
        self.checkpoint_bytes = 0
        if found is None:
            return
        self.alerts += found.alerts
        self.reports += found.reports
        for row in found.state:
            for key, value in row.records():
                self.checkpoint_bytes += len(key) + len(value or b"")
                if value is None:
                    self.stored.pop(key, None)
                else:
                    self.stored[key] = value
