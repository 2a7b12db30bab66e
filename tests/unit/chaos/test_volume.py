"""Traffic by the hundred thousand is still traffic: all models, drifts and broken rows, judged as such."""

from __future__ import annotations

from collections import Counter

from chaos import traffic, verify
from chaos.volume import BATCH_ROWS, BATCHES_MADE, Pool

NOW = 1_764_000_000_000
PLAN = traffic.make_plan(4, 0.0, 1)


def fates(rows: list[bytes]) -> Counter[verify.Kind]:
    """What the verifier makes of rows."""
    models = frozenset(PLAN.models)
    return Counter(verify.fate_of(verify.RawRecord("raw", 0, 0, NOW, row), models).kind for row in rows)


def test_a_batch_is_a_mix() -> None:
    """Every model is in it, and over many batches about one row in a hundred is broken."""
    pool = Pool(PLAN, 1)
    rows = [row for _ in range(BATCHES_MADE) for row in pool.batch(0.0)]
    found = fates(rows)
    assert len(rows) == BATCHES_MADE * BATCH_ROWS
    assert 0.005 < found[verify.Kind.REJECTED] / len(rows) < 0.02
    assert all(any(f'"{model}"'.encode() in row for row in rows) for model in PLAN.models)


def test_batches_are_drawn_again_until_a_drift_changes() -> None:
    """The same state of the drifts repeats what was made for it; another one makes new batches."""
    pool = Pool(PLAN, 1)
    calm = [pool.batch(0.0) for _ in range(BATCHES_MADE)]
    assert pool.batch(1.0) in calm
    assert pool.batch(traffic.LEARN_SECONDS + 0.5) not in calm


def test_the_seed_decides() -> None:
    """The same seed gives the same rows."""
    assert Pool(PLAN, 1).batch(0.0) == Pool(PLAN, 1).batch(0.0) != Pool(PLAN, 2).batch(0.0)
