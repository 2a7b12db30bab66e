"""The kernels against river, against the slow twins, and against cuts and restarts."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from driftline.detect import kernels
from driftline.detect.kernels.adwin import adwin_run
from driftline.detect.kernels.page_hinkley import page_hinkley_run
from driftline.detect.kernels.state import CHANNEL_STATE
from oracle.streams import (
    COMPILED,
    F64,
    event_key,
    event_numbers,
    expected,
    key,
    lively_plans,
    numbers,
    records,
    shifting,
)

EXAMPLES = 60 if COMPILED else 9
ROWS = 1_500 if COMPILED else 600
seeds = st.integers(0, 2**32 - 1)

SHAPES = ("uniform", "normal", "ties", "bernoulli", "constant", "zeros", "huge", "tiny", "wild")


@st.composite
def streams(draw: st.DrawFn) -> F64:
    """Stretches of different laws and levels: shifts, ties, constants, ends of the number line."""
    parts = []
    for _ in range(draw(st.integers(1, 4))):
        shape = draw(st.sampled_from(SHAPES))
        level = draw(st.sampled_from([0.0, 0.5, 1.0, -3.0, 0.1]))
        n = draw(st.integers(1, ROWS // 3))
        rng = np.random.default_rng(draw(seeds))
        noise = rng.normal(size=n)
        law = {
            "uniform": level + rng.random(n),
            "normal": level + noise,
            "ties": level + np.round(2 * noise) / 2,
            "bernoulli": (rng.random(n) < abs(level) / 4) * 1.0,
            "constant": np.full(n, level),
            "zeros": np.zeros(n),
            "huge": (level + noise) * draw(st.sampled_from([1e150, 1e153])),
            "tiny": (level + noise) * draw(st.sampled_from([1e-125, 1e-158])),
            "wild": rng.standard_cauchy(n) ** 3,
        }
        parts.append(law[shape])
    return np.concatenate(parts)


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(x=streams(), delta=st.sampled_from([0.002, 0.05, 0.3, 1.0, 1e-9]))
def test_adwin_equals_river(x: F64, delta: float) -> None:
    """Acceptance 5: the same alarms at the same rows."""
    theirs = drift.ADWIN(delta=delta)
    want = []
    for i, value in enumerate(x.tolist()):
        theirs.update(value)
        if theirs.drift_detected:
            want.append(i)
    out = np.zeros(len(x) // 32 + 1, np.int64)
    state = kernels.new_state(1)
    with np.errstate(all="ignore"):
        n = adwin_run(x, state, delta, out)
    assert out[:n].tolist() == want
    if not theirs.drift_detected:
        ours = [state[0][name] for name in ("a_width", "a_total", "a_variance")]
        np.testing.assert_array_equal(ours, [theirs.width, theirs.total, theirs._helper.get_variance()])


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    x=streams(),
    threshold=st.sampled_from([1.0, 5.0, 20.0, 1e-3]),
    delta=st.sampled_from([0.0, 0.0289, 0.005]),
)
def test_page_hinkley_equals_river(x: F64, threshold: float, delta: float) -> None:
    """Acceptance 5: the same alarms at the same rows."""
    theirs = drift.PageHinkley(min_instances=30, delta=delta, threshold=threshold, alpha=1.0)
    want = []
    for i, value in enumerate(x.tolist()):
        theirs.update(value)
        if theirs.drift_detected:
            want.append(i)
    out = np.zeros(len(x) // 30 + 1, np.int64)
    with np.errstate(all="ignore"):
        state = kernels.new_state(1)
        n = page_hinkley_run(x, state, delta, threshold, out)
    assert out[:n].tolist() == want
    ours = [state[0][name] for name in ("p_mean", "p_n", "p_up", "p_dn", "p_min", "p_max")]
    sums = (theirs._sum_increase, theirs._sum_decrease, theirs._min_increase, theirs._max_decrease)
    np.testing.assert_array_equal(ours, [theirs._x_mean.get(), theirs._x_mean.n, *sums])


@settings(max_examples=EXAMPLES // 3, deadline=None)
@given(seed=seeds, nan_share=st.sampled_from([0.0, 0.1]))
def test_engine_equals_its_twin(seed: int, nan_share: float) -> None:
    """Every field of every finding, over openings, dismissals and resolutions."""
    rng = np.random.default_rng(seed)
    plans = lively_plans(rng, 3)
    y = shifting(rng, 3, ROWS, nan_share=nan_share)
    times = rng.integers(0, 10**9, ROWS)
    found = kernels.run_block(y, times, 0, ROWS, records(plans), kernels.new_state(3))
    want = expected(plans, y, times)
    assert [key(finding) for finding in found] == [event_key(c, event) for c, event in want]
    for finding, (_, event) in zip(found, want, strict=True):
        np.testing.assert_allclose(numbers(finding), event_numbers(event), rtol=1e-8)


def test_the_twin_sees_every_kind_of_finding() -> None:
    """The streams above do open, dismiss and resolve: otherwise the equality would prove little."""
    kinds = set()
    for seed in range(12):
        rng = np.random.default_rng(seed)
        plans = lively_plans(rng, 3)
        y = shifting(rng, 3, ROWS)
        found = kernels.run_block(y, np.arange(ROWS), 0, ROWS, records(plans), kernels.new_state(3))
        kinds |= {(int(finding["kind"]), int(finding["source"])) for finding in found}
    assert {kind for kind, _ in kinds} == {1, 2, 4, 8}
    assert len(kinds) >= (8 if COMPILED else 4)


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(seed=seeds, data=st.data())
def test_cuts_and_restarts_change_nothing(seed: int, data: st.DataObject) -> None:
    """Acceptance 13: any cut of the rows, a restore at every cut: the same findings and final bytes."""
    rng = np.random.default_rng(seed)
    plan = records(lively_plans(rng, 3))
    y = shifting(rng, 3, ROWS, nan_share=0.05)
    times = rng.integers(0, 10**9, ROWS)
    whole_state = kernels.new_state(3)
    whole = kernels.run_block(y, times, 0, ROWS, plan, whole_state)
    inner = data.draw(st.lists(st.integers(0, ROWS), max_size=12))
    stride = data.draw(st.sampled_from([3, 97, ROWS]))
    cuts = sorted({0, ROWS, *inner, *range(0, ROWS, stride)})
    state, parts = kernels.new_state(3), []
    for lo, hi in pairwise(cuts):
        # Rows arrive in another block: nothing but the state may connect it with the one before.
        part = kernels.run_block(y[:, lo:hi].copy(), times[lo:hi].copy(), 0, hi - lo, plan, state)
        part["row"] += lo
        parts.append(part)
        state = np.frombuffer(state.tobytes(), CHANNEL_STATE).copy()
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    assert state.tobytes() == whole_state.tobytes()
