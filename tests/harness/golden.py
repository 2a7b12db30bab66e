"""The story of the golden states: models in every phase, an alert before the cut and some after it."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from driftline.config import DetectionSettings, Settings
from driftline.decide import store
from driftline.decide.outputs import Alert
from driftline.decide.partition import MailboxPartition
from driftline.decide.replay import TOPIC_ID, Replay, chunk_of
from driftline.detect.baseline import BaselineRows
from driftline.detect.reference import Reference

STATES: Final = Path(__file__).parents[1] / "golden" / "state"
CUT: Final = 13_000  # rows before the state was written
END: Final = 40_000
BATCH: Final = 1_000
SETTINGS: Final = Settings(
    ingest={"discover_models": True},
    detection=DetectionSettings(learning_rows=1_000, false_alarms_per_week=50.0),
)
_LENGTHS: Final = struct.Struct("<II")


def event(row: int) -> bytes:
    """Row ``row``: it depends on nothing but its number, on any machine and for all time."""
    dice = random.Random(row)
    model = ("active", "active", "warming", "learning")[row % 4] if row % 32 < 4 else "active"
    shift = 0.25 if 9_000 <= row < 18_000 else 0.0
    amount = sum(dice.random() for _ in range(6)) - 3 + 2 * shift * (row % 2)
    features: dict[str, object] = {
        "amount": round(amount, 1),
        "country": "XX" if row >= 28_000 and dice.random() < 0.3 else dice.choice(("DE", "FR", "US", "US")),
        "vip": dice.random() < 0.2,
        "note": None if dice.random() < 0.1 + shift else round(dice.random(), 2),
    }
    prediction = {"score": round(dice.random(), 2), "class": dice.choice("ab")}
    body = {"id": f"e{row}", "model": model, "model_version": "3", "features": features}
    return json.dumps({**body, "prediction": prediction}).encode()


def baseline() -> Reference:
    """What the model ``warming`` is compared with."""
    source, rows = Replay(SETTINGS), BaselineRows("warming")
    lines = [event(row).replace(b'"active"', b'"warming"') for row in range(1_000)]
    rows.add(source.decoder.decode(chunk_of(lines, source.source, 0)).blocks)
    return rows.reference(time_ordered=False)


def started() -> Replay:
    """The story at its first row."""
    run = Replay(SETTINGS)
    run.promote(baseline())
    return run


def go_on(run: Replay, start: int, end: int) -> list[Alert]:
    """Rows start..end; the alerts they cause."""
    return [
        alert
        for at in range(start, end, BATCH)
        for alert in run.feed([event(row) for row in range(at, min(at + BATCH, end))])
    ]


def stored(run: Replay) -> dict[bytes, bytes]:
    """The live rows of the state topic after a checkpoint now."""
    checkpoint = run.partition.checkpoint()
    assert checkpoint is not None
    records = (record for row in checkpoint.state for record in row.records())
    return {key: value for key, value in records if value is not None}


def restored(rows: Mapping[bytes, bytes], row: int) -> Replay:
    """A replay that goes on from stored rows at row ``row`` of the story."""
    run = Replay(SETTINGS)
    run.partition = MailboxPartition.restore(
        rows,
        partition=0,
        topic_id=TOPIC_ID,
        partitions=1,
        settings=SETTINGS.detection,
        models=SETTINGS.models,
        revision=store.read_position(rows[store.next_key(0)], 0).revision,  # a later setting changes the hash
        runbook_url=SETTINGS.runbook_url,
    )
    run._row = row
    return run


def write(path: Path, rows: Mapping[bytes, bytes]) -> None:
    """Rows as one file: for each the two lengths, key and value."""
    parts = [_LENGTHS.pack(len(k), len(v)) + k + v for k, v in sorted(rows.items())]
    path.write_bytes(b"".join(parts))


def read(path: Path) -> dict[bytes, bytes]:
    """The inverse of ``write``."""
    return dict(_records(path.read_bytes()))


def _records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        key, value = _LENGTHS.unpack_from(data, at)
        at += _LENGTHS.size
        yield data[at : at + key], data[at + key : at + key + value]
        at += key + value
