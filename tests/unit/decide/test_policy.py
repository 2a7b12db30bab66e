"""Thresholds: widened null, lanes, run lengths, blocks, windows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from driftline.decide.policy import (
    adwin_delta,
    lanes,
    null_bounds,
    page_hinkley_lambda,
    plan_channel,
)
from driftline.detect.reference import ChannelReference, channel_reference
from driftline.detect.wander import block_size


def uniform(n: int = 20_000) -> ChannelReference:
    """A location channel: evenly spread ranks in random order."""
    y = np.random.default_rng(0).permutation((np.arange(n) + 0.5) / n)
    return channel_reference("location", y, binary=False)


@pytest.mark.parametrize(
    ("run_length", "delta", "threshold"),
    [(1e6, 0.18, 10.6), (1e7, 0.034, 14.0), (1e8, 5e-3, 17.3), (1e9, 5e-4, 20.6)],
)
def test_the_table_of_the_documentation(run_length: float, delta: float, threshold: float) -> None:
    """ADWIN delta and Page-Hinkley lambda for a uniform channel at a twentieth of B."""
    plan = plan_channel(uniform(), sources=120, run_length=run_length / 3, min_duration=100, tolerance=0.05)[
        0
    ]
    assert plan["level"] == pytest.approx(run_length)
    assert plan["adwin_delta"] == pytest.approx(delta, rel=0.05)
    assert plan["ph_lambda"] == pytest.approx(threshold, abs=0.1)


def test_adwin_delta_is_continuous_and_at_most_one() -> None:
    """The fitted table and its extrapolation meet."""
    assert adwin_delta(2.5e6 * (1 - 1e-9)) == pytest.approx(adwin_delta(2.5e6), rel=0.05)
    assert adwin_delta(10.0) == 1.0


def test_small_references_widen_the_null() -> None:
    """The sampling error of 500 rows dominates the tolerance; that of 50,000 rows does not."""
    small, large = uniform(500), uniform(50_000)
    assert null_bounds(small, 1.0, 120, 0.05)[1] - small.mean > 0.04
    assert null_bounds(large, 1.0, 120, 0.05)[1] - large.mean == pytest.approx(0.05 * large.sd)


def test_a_side_without_room_is_dropped() -> None:
    """A never-missing indicator has only up lanes: a zero bet would make R grow like t."""
    ref = channel_reference("missing", np.zeros(5_000), binary=True)
    plan = plan_channel(ref, sources=120, run_length=1e7, min_duration=100, tolerance=0.05)[0]
    assert plan["lanes"] == 4
    assert (plan["lam"][:4] > 0).all()
    assert lanes(0.0, 1.0, 0.3) == ([], [])


def test_bets_keep_every_factor_positive() -> None:
    """1 + lambda (y - m) stays positive for any y in [0, 1]."""
    for mlo, mhi, sd in [(0.4856, 0.5144, 0.2887), (0.001, 0.002, 0.03), (0.9, 0.95, 0.1)]:
        lam, bound = lanes(mlo, mhi, sd)
        for bet, m in zip(lam, bound, strict=True):
            assert min(1 + bet * (0 - m), 1 + bet * (1 - m)) > 0


def test_blocks_only_for_real_autocorrelation() -> None:
    """Sampling noise of tau keeps single values; three correlation lengths make a block."""
    assert block_size(1.05, 20_000) == 1
    assert block_size(16.0, 20_000) == 64
    assert block_size(64.0, 20_000) == 256


def test_blocked_channels_are_scaled_by_their_block_means() -> None:
    """ADWIN's input has the standard deviation of a uniform value, Page-Hinkley reads the same input."""
    rng = np.random.default_rng(1)
    y = np.clip(np.repeat(rng.random(2_000), 20) + rng.normal(0, 0.01, 40_000), 0, 1)
    ref = channel_reference("location", y, binary=False)
    plan = plan_channel(ref, sources=50, run_length=1e7, min_duration=100, tolerance=0.05)[0]
    assert plan["b"] == 64
    assert plan["ph_input_z"] == 1
    assert plan["z_raw"] == 0
    assert plan["min_run"] == 1


def test_a_rare_share_gets_a_long_window() -> None:
    """At least four expected events of the bound, else a rare category flaps."""
    y = (np.arange(100_000) % 1_000 == 0).astype(np.float64)
    ref = channel_reference("share[c]", y, binary=True)
    plan = plan_channel(ref, sources=50, run_length=1e7, min_duration=100, tolerance=0.05)[0]
    assert plan["window"] >= math.floor(4.0 / plan["m"][0]) // 16 * 16


def test_page_hinkley_formula() -> None:
    """e^q - 1 - q = a theta^2 sd^2, lambda = q / theta - 1.166 sd."""
    theta, sd, target = 0.6928, 0.2887, 1e5
    q = theta * (page_hinkley_lambda(target, sd, (theta, 0.0)) + 1.166 * sd)
    assert math.expm1(q) - q == pytest.approx(target * theta**2 * sd**2, rel=1e-6)


def test_a_channel_without_reference_rows_never_fires() -> None:
    """No lanes and no detectors."""
    plan = plan_channel(
        channel_reference("location", np.zeros(0), binary=False),
        sources=3,
        run_length=1e6,
        min_duration=0,
        tolerance=0.05,
    )[0]
    assert (plan["lanes"], plan["use_esr"], plan["use_adwin"], plan["use_ph"]) == (0, 0, 0, 0)
