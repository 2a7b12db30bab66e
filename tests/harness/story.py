"""A mailbox partition that is told rows and commands in turn, without a broker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from driftline.config import DetectionSettings, ModelSettings
from driftline.decide.outputs import Alert
from driftline.decide.partition import MailboxPartition
from driftline.detect.reference import Reference, to_json
from driftline.ingest.envelope import pack
from driftline.records import F64, Block, Command, Envelope, Progress, ProgressFlag, Source
from harness.decisions import STEP_MS, block

RAW, COMMANDS = Source("events", 0), Source("driftline.commands", 0)
WHO = {"by": "jane", "why": "the import is being repaired"}
Columns = Mapping[str, F64 | list[str | None]]


class Story:
    """One model under a promoted reference; row i has the event and record time ``begin + i * step``."""

    def __init__(
        self,
        reference: Reference,
        *,
        begin_ms: int = 0,
        step_ms: int = STEP_MS,
        own: ModelSettings | None = None,
        **settings: Any,
    ) -> None:
        self.model, self.begin, self.step = reference.model, begin_ms, step_ms
        self.known: dict[str, Any] = {
            "partition": 0, "topic_id": "mailbox", "partitions": 1, "revision": "r",
            "models": {} if own is None else {self.model: own},
            "settings": DetectionSettings(**settings), "runbook_url": "https://example.org/runbook",
        }  # fmt: skip
        self.partition = MailboxPartition(**self.known)
        self.row = self.commands = 0
        self.stored: dict[bytes, bytes] = {}
        self.promote(reference)

    def rows(self, columns: Columns) -> list[Alert]:
        """The next rows."""
        made = block(columns, start=self.row, model=self.model)
        times = self.begin + made.offset * self.step
        return self.send(replace(made, event_time=times, record_time=times))

    def send(self, made: Block) -> list[Alert]:
        """A block as the next rows."""
        return self._events(len(made), (made,))

    def silence(self, rows: int) -> list[Alert]:
        """Partition time passes without an event of the model, as long as so many rows take."""
        return self._events(rows, ())

    def _events(self, n: int, blocks: tuple[Block, ...]) -> list[Alert]:
        last, flag = self.row - 1, 0 if self.row else ProgressFlag.START
        self.row += n
        newest = self.begin + (self.row - 1) * self.step
        return self._apply(Progress(RAW, "e", last, last + 1, self.row - 1, flag, newest), blocks, ())

    def promote(self, reference: Reference) -> list[Alert]:
        """Another reference from the next row on."""
        return self.command("baseline.promote", baseline=json.loads(to_json(reference)))

    def command(self, kind: str, **body: object) -> list[Alert]:
        """A command before the next row."""
        text = json.dumps({"type": kind, "model": self.model, **WHO, **body}).encode()
        at, flag = self.commands, 0 if self.commands else ProgressFlag.START
        self.commands += 1
        given = Command(self.model, self.begin + self.row * self.step, 0, at, text)
        return self._apply(Progress(COMMANDS, "c", at - 1, at, at, flag), (), (given,))

    def _apply(
        self, progress: Progress, blocks: tuple[Block, ...], given: tuple[Command, ...]
    ) -> list[Alert]:
        p = self.partition
        p.apply(p.next_offset, 0, pack(Envelope("test", (progress,), blocks, given)))
        return p.take_alerts()

    def note(self) -> str:
        """What the log says since the last time."""
        return " ".join(self.partition.drain_notes())

    def store(self) -> None:
        """A checkpoint on the state topic."""
        checkpoint = self.partition.checkpoint()
        assert checkpoint is not None
        self.stored |= {k: v for row in checkpoint.state for k, v in row.records() if v is not None}

    def restart(self) -> list[Alert]:
        """Go on from what is stored; the alerts of the take-over."""
        self.partition = MailboxPartition.restore(self.stored, **self.known)
        return self.partition.take_alerts()
