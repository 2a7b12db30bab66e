"""Confidence and entropy: scipy is the oracle, compiled equals uncompiled, and what is no distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from driftline.detect.kernels.distribution import CLASSES_MAX, certainty_of


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=40).filter(lambda w: sum(w) > 1e-3))
def test_equals_scipy(weights: list[float]) -> None:
    """Within rounding, whatever the classes; and Python and machine code agree to the last bit."""
    p = np.array(weights) / sum(weights)
    largest, share = certainty_of(p)
    assert largest == p.max()
    assert share == pytest.approx(float(entropy(p)) / np.log(len(p)), abs=1e-12)
    assert certainty_of(p) == certainty_of.py_func(p)


@pytest.mark.parametrize(
    ("p", "sound"),
    [
        ([1.0], True), ([], False), ([0.5, np.nan], False), ([np.inf, 0.0], False), ([1.1, -0.1], False),
        ([0.52, 0.52], True), ([0.53, 0.53], False), ([0.46, 0.46], False), ([1.0000001, 0.0], True),
        ([1 / CLASSES_MAX] * CLASSES_MAX, True), ([1 / (CLASSES_MAX + 1)] * (CLASSES_MAX + 1), False),
    ],
)  # fmt: skip
def test_what_is_a_distribution(p: list[float], sound: bool) -> None:
    """Within 0..1, about 1 together, at most CLASSES_MAX; results never leave 0..1."""
    found = certainty_of(np.array(p, np.float64))
    assert np.isnan(found).tolist() == [not sound, not sound]
    assert not sound or all(0.0 <= v <= 1.0 for v in found)
