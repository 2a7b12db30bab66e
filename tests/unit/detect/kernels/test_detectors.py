"""ADWIN, Page-Hinkley and e-SR: examples, run lengths, guards."""

from __future__ import annotations

import numpy as np
import pytest
from river import drift

from driftline.detect import kernels
from driftline.detect.kernels.adwin import adwin_run
from driftline.detect.kernels.e_detector import EVIDENCE_MAX, confirm_update, e_detector_run
from driftline.detect.kernels.page_hinkley import page_hinkley_run
from driftline.detect.kernels.state import ADWIN_ROWS
from oracle import adwin as naive_adwin
from oracle import page_hinkley as naive_page_hinkley
from oracle.streams import COMPILED, F64, bets

UNIFORM_SD = 1.0 / np.sqrt(12.0)
N = 20_000_000 if COMPILED else 12_000
SLACK = 0 if COMPILED else 3
"""Alarms by which a short stream may miss the rate; none on the full one."""


def run_adwin(x: F64, delta: float) -> list[int]:
    """Alarm indices of the kernel."""
    out = np.zeros(len(x) // 32 + 1, np.int64)
    n = adwin_run(x, kernels.new_state(1), delta, out)
    return [int(i) for i in out[:n]]


def run_page_hinkley(x: F64, delta: float, threshold: float) -> list[int]:
    """Alarm indices of the kernel."""
    out = np.zeros(len(x) // 30 + 1, np.int64)
    n = page_hinkley_run(x, kernels.new_state(1), delta, threshold, out)
    return [int(i) for i in out[:n]]


def river_alarms(detector: drift.ADWIN | drift.PageHinkley, x: F64) -> list[int]:
    """Alarm indices of river."""
    out = []
    for i, value in enumerate(x.tolist()):
        detector.update(value)
        if detector.drift_detected:
            out.append(i)
    return out


def lanes(low: float, high: float) -> kernels.state.Records:
    """A plan with the bets of a uniform channel between two means."""
    plan = kernels.new_plan(1)
    lam, m = bets(low, high, UNIFORM_SD)
    plan[0]["lanes"] = len(lam)
    plan[0]["lam"][: len(lam)] = lam
    plan[0]["m"][: len(m)] = m
    return plan


@pytest.fixture(scope="module")
def uniform() -> F64:
    """Twenty million uniform values, the strict null."""
    return np.random.default_rng(1).random(N)


@pytest.fixture(scope="module")
def steps() -> F64:
    """Five level shifts, one spread change, ties and a constant stretch."""
    rng = np.random.default_rng(2)
    size = 1_500 if COMPILED else 200
    parts = [rng.normal(level, scale, size) for level, scale in ((0, 1), (1, 1), (0.3, 1), (0.3, 2), (-2, 1))]
    return np.concatenate([*parts, np.round(rng.normal(1, 1, size)), np.full(size, 3.0), np.zeros(size)])


@pytest.mark.parametrize("delta", [0.002, 0.05, 0.5, 1.0])
def test_adwin_equals_river_and_the_twin(steps: F64, delta: float) -> None:
    """Acceptance 5."""
    got = run_adwin(steps, delta)
    assert got
    assert got == river_alarms(drift.ADWIN(delta=delta), steps) == naive_adwin.alarms(steps.tolist(), delta)


@pytest.mark.parametrize("threshold", [5.0, 15.0, 50.0])
def test_page_hinkley_equals_river_and_the_twin(steps: F64, threshold: float) -> None:
    """Acceptance 5."""
    got = run_page_hinkley(steps, 0.0289, threshold)
    theirs = drift.PageHinkley(min_instances=30, delta=0.0289, threshold=threshold, alpha=1.0)
    assert got
    assert got == river_alarms(theirs, steps)
    assert got == naive_page_hinkley.alarms(steps.tolist(), 0.0289, threshold)


def test_adwin_over_a_long_window() -> None:
    """Rows beyond the tenth, and the drop of many buckets at one check."""
    rng = np.random.default_rng(3)
    n = 60_000 if COMPILED else 3_000
    x = np.concatenate([rng.random(n), rng.random(n // 10) + 0.3, rng.random(n // 10)])
    assert run_adwin(x, 1e-5) == river_alarms(drift.ADWIN(delta=1e-5), x) != []


@pytest.mark.parametrize("scale", [1e150, 1e-150, 1e-158])
def test_adwin_where_squares_leave_the_number_line(steps: F64, scale: float) -> None:
    """The division-free test must step aside there: same alarms as river."""
    with np.errstate(all="ignore"):
        got = run_adwin(steps * scale, 0.05)
    assert got == river_alarms(drift.ADWIN(delta=0.05), steps * scale)
    # The last term of the cut test has no unit: values far below 1 never differ enough.
    assert bool(got) == (scale > 1.0)


def test_a_constant_stream_raises_nothing() -> None:
    """Zero variance, whatever the value."""
    for value in (0.0, 0.5, 0.1, 1.0):
        x = np.full(5_000 if COMPILED else 500, value)
        assert run_adwin(x, 1.0) == []
        assert run_page_hinkley(x, 0.001, 1.0) == []


def test_adwin_starts_afresh_when_its_last_row_is_full() -> None:
    """The guard of the arrays' bounds; unreachable by counting, so reached by hand."""
    state = kernels.new_state(1)
    state["a_cnt"][0] = 5
    state["a_last"] = ADWIN_ROWS - 1
    state["a_width"] = 2.0**42
    out = np.zeros(2, np.int64)
    adwin_run(np.zeros(1), state, 0.002, out)
    assert state["a_reset"][0] == 1
    adwin_run(np.ones(1), state, 0.002, out)
    assert state["a_width"][0] == 1.0
    assert state["a_cnt"][0].tolist() == [1] + [0] * (ADWIN_ROWS - 1)


def test_e_sr_run_length_at_the_strict_null(uniform: F64) -> None:
    """Acceptance 3: mean run length over level in [1.0, 1.35]."""
    level = 1e4 if COMPILED else 200.0
    found = e_detector_run(uniform, lanes(0.5, 0.5), kernels.new_state(1), level, np.zeros(1, np.int64))
    assert N / level / 1.35 - SLACK <= found <= N / level + SLACK
    assert found > 0


def test_e_sr_run_length_inside_the_tolerance(uniform: F64) -> None:
    """Acceptance 3: more than five times the level inside eps = .0144."""
    level = 1e4 if COMPILED else 2_000.0
    found = e_detector_run(uniform, lanes(0.4856, 0.5144), kernels.new_state(1), level, np.zeros(1, np.int64))
    assert found < N / level / 5.0 + SLACK


def test_page_hinkley_run_length(uniform: F64) -> None:
    """Acceptance 4: run length over 1e5 in [.75, 1.4]."""
    found = len(run_page_hinkley(uniform, 0.0289, 11.63))
    assert N / 1e5 / 1.4 - SLACK <= found <= N / 1e5 / 0.75 + SLACK


def test_adwin_run_length(uniform: F64) -> None:
    """Acceptance 4: run length over 1e5 at delta .109 in [.7, 1.6]."""
    found = len(run_adwin(uniform, 0.1 * (1.13e5 / 1e5) ** (1 / 1.36)))
    assert N / 1e5 / 1.6 - SLACK <= found <= N / 1e5 / 0.7 + SLACK


def test_e_sr_plain_recursion_and_cap() -> None:
    """R' = (1 + R)(1 + lam (y - m)); evidence stops at a finite value and comes down again."""
    plan, state = lanes(0.45, 0.55), kernels.new_state(1)
    y = np.random.default_rng(4).random(300)
    out = np.zeros(1, np.int64)
    e_detector_run(y, plan, state, np.inf, out)
    lane = np.zeros(8)
    for value in y:
        lane = (1 + lane) * (1 + plan[0]["lam"] * (value - plan[0]["m"]))
    np.testing.assert_allclose(state[0]["R"], lane, rtol=1e-10)
    e_detector_run(np.ones(5_000), plan, state, np.inf, out)
    assert state[0]["R"].max() == EVIDENCE_MAX
    e_detector_run(np.zeros(30_000), plan, state, np.inf, out)
    assert state[0]["R"][:4].max() < 100.0


def test_unused_lanes_stay_zero() -> None:
    """A dropped side adds nothing: a never-missing indicator keeps M bounded (acceptance 11)."""
    plan, state = kernels.new_plan(1), kernels.new_state(1)
    lam, m = bets(0.0, 0.0017, 0.02)
    assert len(lam) == 4
    plan[0]["lanes"], plan[0]["lam"][:4], plan[0]["m"][:4] = 4, lam, m
    n = 3_000_000 if COMPILED else 3_000
    assert e_detector_run(np.zeros(n), plan, state, 1e4, np.zeros(1, np.int64)) == 0
    assert state[0]["R"][4:].tolist() == [0.0] * 4


def test_confirmation_is_a_product() -> None:
    """Q = mean over lanes of the product of bets."""
    plan = lanes(0.45, 0.55)
    q = np.ones(8)
    y = [0.9, 0.2, 0.7]
    got = [confirm_update(q, plan[0], value) for value in y]
    lam, m = plan[0]["lam"], plan[0]["m"]
    want = np.prod([1 + lam * (value - m) for value in y], axis=0).mean()
    assert got[-1] == pytest.approx(want, rel=1e-12)
