"""Replay: the whole pure pipeline over lines, whatever the batches."""

from __future__ import annotations

import json

import numpy as np
import pytest

from driftline.config import Settings
from driftline.config.settings import LabelSettings
from driftline.decide.replay import Replay, alert_row, batches, chunk_of
from driftline.detect.baseline import BaselineRows
from driftline.detect.reference import Reference
from driftline.errors import BugError
from driftline.ingest.decode import make_decoder
from driftline.records import Source

SETTINGS = Settings.model_validate(
    {"ingest": {"discover_models": True}, "detection": {"learning_rows": 2_000}}
)


def lines(n: int, seed: int = 1, shift_at: int = 6_000) -> list[bytes]:
    """Native events, some of them broken, with a shift in one feature."""
    rng = np.random.default_rng(seed)
    out = []
    for i in range(n):
        event = {
            "id": f"e{i}", "model": "credit-risk", "time": 1_700_000_000_000 + 1_000 * i,
            "features": {
                "age": round(float(rng.normal(41 + 12 * (i >= shift_at), 12)), 3),
                "country": str(rng.choice(["DE", "FR", "IT"])), "income": None if i % 10 == 0 else i % 7,
            },
            "prediction": {"score": round(float(rng.random()), 6), "class": "approve"},
        }  # fmt: skip
        out.append(json.dumps(event).encode())
    out[100] = b'{"model": "credit-risk", "model": "x"}'
    out[200] = b"not json"
    out[300] = b""
    return out


def replayed(rows: list[bytes], batch: int, reference: Reference | None = None) -> tuple[list[str], Replay]:
    """Alerts as they are printed."""
    replay = Replay(SETTINGS)
    if reference is not None:
        replay.promote(reference)
    out = []
    for some in batches(iter(rows), batch):
        out += [json.dumps(dict(alert_row(a))) for a in replay.feed(some)]
    return out, replay


@pytest.mark.parametrize("batch", [7, 1_000, 4_999])
def test_batches_do_not_show(batch: int) -> None:
    """Byte for byte the same alerts, the same counts."""
    rows = lines(9_000)
    expected, whole = replayed(rows, 100_000)
    got, other = replayed(rows, batch)
    assert got == expected
    assert any('"age" is higher' in json.loads(text)["summary"] for text in expected)
    assert other.summary == whole.summary
    summary = whole.summary
    assert summary.rows == 9_000 == summary.accepted + sum(summary.rejected.values()) + summary.filtered
    assert summary.rejected == {"duplicate_key": 1, "syntax": 1}
    assert summary.filtered == 1


def test_the_deciding_row_is_the_rows_number() -> None:
    """`row` is the 0-based input row, soon after the shift."""
    texts, _ = replayed(lines(9_000), 500)
    opened = json.loads(texts[0])
    assert 6_000 <= opened["row"] <= 6_400
    assert opened["origin"] == {"topic": "inference.events", "partition": 0, "offset": opened["row"]}


def test_a_baseline_from_a_file_is_in_force_from_the_first_row() -> None:
    """Build from quiet rows, promote, replay drifting ones: they open without a learning phase."""
    decoder = make_decoder(
        "native", fixed_model=None, allowed_models=None, max_event_age_ms=None, from_file=True
    )
    rows = BaselineRows("credit-risk")
    rows.add(decoder.decode(chunk_of(lines(5_000, seed=2), Source("file", 0), 0)).blocks)
    reference = rows.reference(time_ordered=True)
    assert reference.rows == len(rows) == 4_997
    texts, replay = replayed(lines(2_000, seed=3, shift_at=0), 300, reference)
    alerts = [json.loads(text) for text in texts]
    opened = [a for a in alerts if '"age" is higher than in training' in a["summary"]]
    assert len(opened) == 1
    assert opened[0]["row"] < 500
    assert opened[0]["reference"]["id"] == reference.id
    assert [v.state for v in replay.views()] == ["active"]


def labelled_lines(rows: int) -> tuple[list[bytes], list[bytes]]:
    """Events with a class, and their labels an hour later in any order; errors become more half-way."""
    rng = np.random.default_rng(3)
    events, labels = [], []
    for i in range(rows):
        truth = bool(rng.random() < 0.5)
        said = truth ^ bool(rng.random() < (0.05 if i < rows // 2 else 0.25))
        time = 1_700_000_000_000 + 60_000 * i
        body = {
            "id": f"e{i}",
            "model": "m",
            "time": time,
            "features": {"x": rng.normal()},
            "prediction": said,
        }
        events.append(json.dumps(body).encode())
        label = {"id": f"e{i}", "model": "m", "time": time + 3_600_000, "label": truth}
        labels.append(json.dumps(label).encode())
    labels.append(b'{"model": "m", "label": true}')
    return events, [labels[i] for i in rng.permutation(len(labels))]


def test_labels_are_merged_by_time_whatever_the_batches() -> None:
    """The same alerts and counts for any batches of events; rejects of labels are counted."""
    settings = SETTINGS.model_copy(
        update={"detection": SETTINGS.detection.model_copy(update={"labels": LabelSettings()})}
    )
    events, labels = labelled_lines(8_000)
    results = []
    for batch in (20_000, 777):
        replay = Replay(settings)
        replay.add_labels(labels)
        alerts = [a for some in batches(iter(events), batch) for a in replay.feed(some)]
        alerts += replay.finish()
        own = [a for a in alerts if a.signal == "performance.error_rate"]
        assert own[0].type == "driftline.alert.opened"
        labelled = replay.partition.models["m"].labelled
        assert labelled is not None
        view = labelled.view()
        assert view.matched == 8_000
        assert 3_600 <= view.delays[0][1] < 3_600 * 1.5  # by the times of both
        results.append((sorted(a.id for a in alerts), view, labelled.performance.confusion.tolist()))
        assert replay.summary.rejected == {"id_missing": 1}
        assert replay.summary.labels == 8_000
    assert results[0] == results[1]


def test_labels_need_settings_that_join_them() -> None:
    """Or nothing would be joined in silence."""
    with pytest.raises(BugError):
        Replay(SETTINGS).add_labels([])
