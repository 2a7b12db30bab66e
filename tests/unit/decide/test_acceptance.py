"""Acceptance properties of the policy (docs/decisions.md): delays, tolerance, flapping, budgets.

Seeds and bounds were fixed beforehand by an independent experiment; they are not tuned to this code.
"""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from driftline.decide.policy import plan_channel
from driftline.detect.kernels import new_state, run_block
from driftline.detect.kernels.state import KIND_OPEN, KIND_RESOLVE
from driftline.detect.reference import NumericReference, channel_reference, mid_pit, numeric_knots
from driftline.records import F64
from harness.decisions import block, file_reference, new_model, run
from quality.streams import autoregressive

RUN_LENGTH = 1e7
Event = tuple[int, int]


def numeric(rows: F64) -> NumericReference:
    """Knots only."""
    knots, below, upto = (tuple(a.tolist()) for a in numeric_knots(rows))
    return NumericReference(knots, below, upto, (), None, 0.0, 1.0)


def channel(
    reference: F64,
    live: F64,
    *,
    binary: bool = False,
    run_length: float = RUN_LENGTH,
    sources: int = 120,
    min_duration: int = 100,
    tau: bool = True,
) -> list[Event]:
    """(row, kind) of the openings and resolutions of one channel."""
    ref = channel_reference("c", reference, binary=binary)
    if not tau:
        ref = type(ref)(**{**{f: getattr(ref, f) for f in ref.__slots__}, "tau": 1.0})
    plan = plan_channel(
        ref, sources=sources, run_length=run_length, min_duration=min_duration, tolerance=0.05
    )
    times = np.arange(len(live), dtype=np.int64)
    found = run_block(live.reshape(1, -1), times, 0, len(live), plan, new_state(1))
    return [(int(f["row"]), int(f["kind"])) for f in found if int(f["kind"]) in (KIND_OPEN, KIND_RESOLVE)]


def location(reference: F64, live: F64, **options: bool) -> list[Event]:
    """Events of the location channel."""
    n = numeric(reference)
    return channel(mid_pit(n, reference), mid_pit(n, live), **options)


def openings(events: list[Event]) -> list[int]:
    """Rows of the openings."""
    return [row for row, kind in events if kind == KIND_OPEN]


@pytest.mark.parametrize(
    ("shift", "low", "high"), [(0.2, 300, 1_500), (0.5, 100, 260), (1.0, 90, 125), (2.0, 90, 125)]
)
def test_median_delay(shift: float, low: int, high: int) -> None:
    """D 6: A = 1e7, 20,000 reference rows, medians of 30 runs."""
    delays = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        reference = rng.normal(size=20_000)
        live = np.concatenate([rng.normal(size=10_000), rng.normal(shift, 1, 20_000)])
        opened = openings(location(reference, live))
        delays.append(opened[0] - 10_000 if opened else 10**9)
    assert low <= np.median(delays) <= high


@pytest.mark.parametrize(("shift", "expected"), [(0.02, 0), (0.04, 0), (0.10, 5)])
def test_tolerance(shift: float, expected: int) -> None:
    """D 7: shifts under the tolerance never open in a million events, .10 always does."""
    opened = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        reference = rng.normal(size=100_000)
        opened += bool(openings(location(reference, rng.normal(shift, 1, 1_000_000))))
    assert opened == expected


def test_five_drifts_are_five_episodes() -> None:
    """D 8: on and off five times: exactly five openings and five resolutions."""
    rng = np.random.default_rng(3)
    reference = rng.normal(size=20_000)
    live = np.concatenate([rng.normal(level, 1, 20_000) for level in [0] + [1, 0] * 5])
    kinds = [kind for _, kind in location(reference, live)]
    assert (kinds.count(KIND_OPEN), kinds.count(KIND_RESOLVE)) == (5, 5)


@pytest.mark.parametrize(("length", "low", "high"), [(30, 0, 1), (200, 19, 21)])
def test_blips(length: int, low: int, high: int) -> None:
    """D 8: of 20 blips of 30 events at most one opens, of 200 events all do."""
    rng = np.random.default_rng(8)
    reference = rng.normal(size=20_000)
    live = rng.normal(size=420_000)
    for i in range(1, 21):
        live[i * 20_000 : i * 20_000 + length] += 2
    assert low <= len(openings(location(reference, live))) <= high


def test_autocorrelated_null() -> None:
    """D 9: AR(.9), half a million null events: none with tau, many without."""
    rng = np.random.default_rng(4)
    ar9 = autoregressive(0.9)
    reference, live = ar9(rng, 20_000), ar9(rng, 500_000)
    assert openings(location(reference, live)) == []
    assert len(openings(location(reference, live, tau=False))) > 10


def test_constant_feature() -> None:
    """D 10: a constant never opens, its share channel opens within 160 events of a change."""
    live = np.concatenate([np.ones(300_000), np.zeros(5_000)])
    opened = openings(channel(np.ones(5_000), live, binary=True))
    assert len(opened) == 1
    assert 300_000 <= opened[0] <= 300_160


def test_never_missing_indicator() -> None:
    """D 11: no opening in three million zeros nor at one in 10,000; 2 % missing opens within 1,500."""
    zeros = np.zeros(5_000)
    assert openings(channel(zeros, np.zeros(3_000_000), binary=True, run_length=1e4)) == []
    rng = np.random.default_rng(5)
    assert openings(channel(zeros, (rng.random(1_000_000) < 1e-4).astype(np.float64), binary=True)) == []
    assert openings(channel(zeros, (rng.random(20_000) < 0.02).astype(np.float64), binary=True))[0] < 1_500


def test_forty_null_features_keep_the_budget() -> None:
    """D 12: at a budget of 50 openings for 200,000 events, at most 50."""
    opened = 0
    for seed in range(40):
        rng = np.random.default_rng(100 + seed)
        reference = rng.normal(size=20_000)
        n = numeric(reference)
        known, u = mid_pit(n, reference), mid_pit(n, rng.normal(size=200_000))
        options = {"run_length": 200_000 * 80 / 50, "sources": 80, "min_duration": 0}
        for a, b in ((known, u), (np.abs(2 * known - 1), np.abs(2 * u - 1))):
            opened += len(openings(channel(a, b, **options)))  # type: ignore[arg-type]
    assert opened <= 50


@pytest.mark.parametrize("seed", range(6))
def test_a_slowly_growing_unseen_rate_opens_once(seed: int) -> None:
    """D 14: from 0 to 0.8 % over 300,000 events."""
    rng = np.random.default_rng(seed)
    live = (rng.random(300_000) < np.linspace(0, 0.008, 300_000)).astype(np.float64)
    assert len(openings(channel(np.zeros(10_000), live, binary=True))) == 1


@pytest.mark.parametrize(
    "transform", [lambda v: 1_000 * v + 7, np.exp, lambda v: v * 1e-6, lambda v: v * 1e6]
)
def test_scale_does_not_matter(transform: object) -> None:
    """D 2: an increasing transform of reference and live gives the same events (exact knots)."""
    rng = np.random.default_rng(0)
    reference = rng.normal(size=250)  # fewer unique values than knots: nothing is thinned
    live = np.concatenate([rng.normal(size=20_000), rng.normal(1.5, 1, 20_000)])
    plain = location(reference, live)
    assert plain
    assert location(transform(reference), transform(live)) == plain  # type: ignore[operator]


@settings(max_examples=6, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.sampled_from(["normal", "counts", "zeros"]))
def test_scale_does_not_matter_to_a_model(seed: int, kind: str) -> None:
    """D 2 through the whole model: times 1e-6, times 1e6 and exp give the same alerts at the same rows.

    Values have two decimals, so that the reference has few enough of them for exact knots.
    """
    rng = np.random.default_rng(seed)

    def draw(n: int, shift: float) -> F64:
        x = rng.normal(shift, 1, n) if kind != "counts" else rng.poisson(4 + 2 * shift, n).astype(np.float64)
        if kind == "zeros":
            x = np.where(rng.random(n) < 0.6, 0.0, np.abs(x))
        return np.asarray(np.round(np.clip(x, -6, 30), 1), dtype=np.float64)

    known, live = draw(4_000, 0.0), np.concatenate([draw(9_000, 0.0), draw(9_000, 0.8), draw(9_000, 0.0)])

    def events(transform: Callable[[F64], F64]) -> list[tuple[int, str, object]]:
        model = new_model(file_reference({"x": transform(known)}), window_rows=2_000)
        found = run(model, block({"x": transform(live)}))
        return [(a.row, a.type, str(a.data["channel"]).partition("[")[0]) for a in found]

    plain = events(lambda v: v)
    assert plain
    for transform in (lambda v: v * 1e-6, lambda v: v * 1e6, np.exp):
        assert events(transform) == plain


def test_any_cut_gives_the_same_events() -> None:
    """D 13: one channel whole, and in runs of random length with the state carried over."""
    rng = np.random.default_rng(13)
    reference = rng.normal(size=5_000)
    n = numeric(reference)
    live = mid_pit(n, np.concatenate([rng.normal(level, 1, 12_000) for level in (0, 1, 0)]))
    ref = channel_reference("location", mid_pit(n, reference), binary=False)
    plan = plan_channel(ref, sources=10, run_length=1e5, min_duration=0, tolerance=0.05)
    times = np.arange(len(live), dtype=np.int64)
    whole = run_block(live.reshape(1, -1), times, 0, len(live), plan, new_state(1))
    assert {int(k) for k in whole["kind"]} >= {KIND_OPEN, KIND_RESOLVE}
    state, parts, lo = new_state(1), [], 0
    while lo < len(live):
        hi = min(len(live), lo + int(rng.integers(1, 900)))
        state = np.frombuffer(state.tobytes(), state.dtype).copy()  # a snapshot and its restore
        parts.append(run_block(live.reshape(1, -1), times, lo, hi, plan, state))
        lo = hi
    assert np.concatenate(parts).tobytes() == whole.tobytes()
