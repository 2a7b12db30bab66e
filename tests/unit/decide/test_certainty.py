"""Class probabilities from bytes to alerts: a model that becomes unsure."""

from __future__ import annotations

import json

import numpy as np
import pytest

from driftline.config import Settings
from driftline.decide.replay import Replay
from driftline.records import F64

CLASSES = ("approve", "deny", "review")


def softmax(logits: F64) -> F64:
    """Rows that sum to 1."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def lines(p: F64) -> list[bytes]:
    """Events with probabilities only."""
    given = [dict(zip(CLASSES, row, strict=True)) for row in p.tolist()]
    return [
        json.dumps({"model": "m", "time": 10 * i, "prediction": {"probabilities": q}}).encode()
        for i, q in enumerate(given)
    ]


@pytest.mark.parametrize("step", [20_000, 777])
def test_a_model_that_becomes_unsure_is_told(step: int) -> None:
    """Confidence falls and entropy rises while the mix of classes stays; whatever the chunks."""
    rng = np.random.default_rng(7)
    sharp, flat = rng.normal(0.0, 3.0, (10_000, 3)), rng.normal(0.0, 1.5, (10_000, 3))
    rows = lines(softmax(np.concatenate([sharp, flat])))
    run = Replay(Settings(ingest={"discover_models": True}))
    alerts = [a for at in range(0, len(rows), step) for a in run.feed(rows[at : at + step])]
    opened = {a.signal: a.data for a in alerts if a.type.endswith("opened")}
    assert set(opened) == {"prediction.confidence", "prediction.entropy"}
    confidence, entropy = opened["prediction.confidence"], opened["prediction.entropy"]
    assert (confidence["signal_kind"], confidence["direction"]) == ("confidence", "down")
    assert (entropy["signal_kind"], entropy["direction"]) == ("entropy", "up")
    assert all(str(a.data["time"]) > "1970-01-01T00:01:40" for a in alerts)


def test_what_is_no_distribution_is_missing_and_counted() -> None:
    """Rows are accepted, the signal's missing values rise, and the summary counts them."""
    rng = np.random.default_rng(8)
    p = softmax(rng.normal(size=(12_000, 3)))
    p[8_000:] *= 2.0
    run = Replay(Settings(ingest={"discover_models": True}))
    alerts = run.feed(lines(p))
    assert (run.summary.accepted, run.summary.counts["bad_probabilities"]) == (12_000, 4_000)
    assert {(a.signal, a.data["channel"]) for a in alerts} == {
        ("prediction.confidence", "missing"), ("prediction.entropy", "missing")
    }  # fmt: skip
