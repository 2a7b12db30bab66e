"""Mutes, acknowledgements, incidents and closings do not depend on cuts or restarts."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.config import DetectionSettings
from driftline.decide.outputs import Alert
from driftline.decide.partition import MailboxPartition
from driftline.detect.reference import to_json
from driftline.ingest.columns import take_rows
from driftline.ingest.envelope import pack
from driftline.records import Command, Envelope, Progress, ProgressFlag, Source
from harness.decisions import STEP_MS, block, file_reference
from oracle.streams import COMPILED

EXAMPLES = 40 if COMPILED else 5
ROWS = 9_000
RNG = np.random.default_rng(8)
NAMES = ("age", "income", "visits")
RAW, COMMANDS = Source("events", 0), Source("driftline.commands", 0)
EVENT_MS = 10_000  # ten seconds between events: incidents an hour apart fit into few of them
SETTINGS = DetectionSettings(cooldown_seconds=20_000.0, window_rows=1_000)
KNOWN: dict[str, Any] = {
    "partition": 0, "topic_id": "mailbox", "partitions": 1, "settings": SETTINGS, "models": {},
    "revision": "r", "runbook_url": "https://r",
}  # fmt: skip
BASELINE = json.loads(
    to_json(file_reference({n: RNG.normal(0, 1, 3_000) for n in NAMES}, rows_per_week=60_480))
)
# Each signal drifts and is back again, at times of its own.
SHIFT = {"age": (500, 3_000), "income": (700, 8_000), "visits": (4_000, 6_000)}
EVENTS = block(
    {
        name: RNG.normal(0, 1, ROWS) + 1.5 * ((np.arange(ROWS) >= lo) & (np.arange(ROWS) < hi))
        for name, (lo, hi) in SHIFT.items()
    }
)


STREAM = replace(EVENTS, event_time=EVENTS.offset * EVENT_MS)


def commands() -> list[Command]:
    """A mute that ends among the rows, and what people say meanwhile."""
    known: list[tuple[int, dict[str, object]]] = [
        (0, {"type": "baseline.promote", "baseline": BASELINE}),
        (600, {"type": "alert.mute", "until": "1970-01-01T00:00:12.345Z"}),
        (900, {"type": "alert.mute", "signal": "income", "until": "1970-01-01T00:00:50Z"}),
        (2_000, {"type": "alert.ack", "signal": "age"}),
        (2_500, {"type": "alert.close", "signal": "income"}),
        (2_500, {"type": "alert.unmute", "signal": "income"}),
        (4_500, {"type": "alert.ack"}),
    ]
    said = {"model": "m", "by": "jane", "why": "tests"}
    return [
        Command("m", row * STEP_MS, 0, i, json.dumps({**body, **said}).encode())
        for i, (row, body) in enumerate(known)
    ]


def told(cuts: list[int], restarts: set[int]) -> list[tuple[str, str]]:
    """Every alert to the last digit, of the stream in envelopes that end at ``cuts``."""
    partition, out, stored = MailboxPartition(**KNOWN), list[Alert](), dict[bytes, bytes]()
    given = commands()
    done = 0
    for number, (lo, hi) in enumerate(zip([0, *cuts], [*cuts, ROWS], strict=True)):
        here = [c for c in given[done:] if c.record_time < hi * STEP_MS]
        begins = 0 if lo else ProgressFlag.START
        progress = [Progress(COMMANDS, "c", done - 1, done, done + len(here) - 1, begins)]
        progress.append(Progress(RAW, "e", lo - 1, lo, hi - 1, begins, (hi - 1) * STEP_MS))
        part = take_rows(STREAM, np.arange(lo, hi))
        part.source[:] = 1
        partition.apply(
            partition.next_offset, 0, pack(Envelope("test", tuple(progress), (part,), tuple(here)))
        )
        done += len(here)
        out += partition.take_alerts()
        if number in restarts:
            checkpoint = partition.checkpoint()
            assert checkpoint is not None
            stored |= {k: v for row in checkpoint.state for k, v in row.records() if v is not None}
            partition = MailboxPartition.restore(stored, **KNOWN)
    assert partition.models["m"].life.mutes == {}
    return [(alert.type, json.dumps(alert.data, sort_keys=True)) for alert in out]


WHOLE = told([], set())


def test_the_story_has_everything() -> None:
    """Else the property below would say little."""
    data = [json.loads(text) for _, text in WHOLE]
    assert {kind.rpartition(".")[2] for kind, _ in WHOLE} == {"opened", "updated", "resolved"}
    reasons = {d["update"]["reason"] for d in data if "update" in d}
    assert reasons >= {"muted", "unmuted", "acknowledged"}
    assert {d["muted"] for d in data} == {True, False}
    assert any("cause" in d for d in data)
    assert len({d["incident"] for d in data}) > 1
    assert any(len(d["incident_signals"]) > 1 for d in data)


@settings(max_examples=EXAMPLES)
@given(st.sets(st.integers(1, ROWS - 1), max_size=12), st.sets(st.integers(0, 12), max_size=3))
def test_cuts_and_restarts_do_not_show(cuts: set[int], restarts: set[int]) -> None:
    """The same alerts, ids and incidents included, however the mailbox was cut into envelopes."""
    assert told(sorted(cuts), restarts) == WHOLE
