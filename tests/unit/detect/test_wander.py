"""How far a reference wanders by itself: days are seen, noise and short dependence are not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from driftline.detect.bins import bin_reference
from driftline.detect.reference import channel_reference, long_run_tau
from driftline.detect.wander import block_size, wander
from driftline.records import F64


def cycle(n: int, period: int, amplitude: float = 0.2) -> F64:
    """A sine about .5 with uniform noise."""
    rng = np.random.default_rng(5)
    return np.asarray(
        0.5 + amplitude * np.sin(np.arange(n) * (2 * np.pi / period)) + rng.uniform(-0.2, 0.2, n)
    )


def measured(y: F64) -> tuple[float, float]:
    """As a reference measures it."""
    return channel_reference("location", y, binary=False).wander


def test_a_long_day_is_wandered_as_far_as_it_goes() -> None:
    """Both sides by the amplitude, once blocks are too short for the day."""
    low, high = measured(cycle(100_000, 20_000))
    assert low == pytest.approx(0.2, abs=0.03)
    assert high == pytest.approx(0.2, abs=0.03)


def test_a_short_day_is_evened_out_by_blocks() -> None:
    """With 2,000 rows a day blocks of 256 are long enough: nothing to add."""
    assert measured(cycle(20_000, 2_000)) == (0.0, 0.0)


@pytest.mark.parametrize("phi", [0.0, 0.5, 0.9, 0.97])
def test_short_dependence_does_not_wander(phi: float) -> None:
    """Of 60 references at most one is taken for one that does."""
    seen = 0
    for seed in range(60):
        y = lfilter([1.0], [1.0, -phi], np.random.default_rng(seed).normal(size=20_500))[500:]
        rank = y.argsort().argsort() / len(y)
        seen += measured(rank) != (0.0, 0.0)
    assert seen <= 1


def test_too_few_blocks_say_nothing() -> None:
    """Fewer than eight means, constant ones, or single values."""
    assert wander(np.arange(7.0), 20, 16) == (0.0, 0.0)
    assert wander(np.full(50, 0.5), 20, 16) == (0.0, 0.0)
    assert wander(np.arange(50.0), 20, 1) == (0.0, 0.0)


def test_means_of_blocks_are_all_it_needs() -> None:
    """The same from means by sqrt n as the reference keeps them."""
    y = cycle(40_000, 10_000)
    size = math.isqrt(len(y))
    means = y[: len(y) // size * size].reshape(-1, size).mean(axis=1)
    assert wander(means, size, block_size(long_run_tau(y), len(y))) == measured(y)


def test_bins_of_long_days_wander_and_others_do_not() -> None:
    """The largest divergence of a block of the reference, where longer blocks depend still more on it."""
    rng = np.random.default_rng(3)
    days = np.clip((cycle(100_000, 20_000, 0.3) * 10).astype(np.int64), 0, 9)
    found = bin_reference(days, 10, range(10))
    assert 0.2 < found.wander < 5.0
    assert bin_reference(rng.integers(0, 10, 100_000), 10, range(10)).wander == 0.0
    assert bin_reference(np.repeat(rng.integers(0, 10, 5_000), 20), 10, range(10)).wander == 0.0
