"""Quantiles of a column: frequent values are exact, the rest within the sketch's error; cuts do nothing."""

from __future__ import annotations

import numpy as np
import pytest

from driftline.detect.quantiles import HEAD, Quantiles, rank_error
from driftline.records import F64
from oracle.streams import COMPILED


def of(x: F64, piece: int) -> Quantiles:
    """The values, taken in pieces."""
    made = Quantiles()
    for at in range(0, len(x), piece):
        made.add(x[at : at + piece])
    return made


def zero_inflated(n: int) -> F64:
    """99 % zeros."""
    rng = np.random.default_rng(1)
    return np.where(rng.random(n) < 0.99, 0.0, rng.exponential(size=n))


def test_an_atom_costs_the_rest_no_precision() -> None:
    """The atom's count is exact, and ranks among the other 1 % are within the error of *these*."""
    x = zero_inflated(300_000 if COMPILED else 30_000)
    values, counts = of(x, 20_000).summary()
    assert counts[values == 0.0].tolist() == [int((x == 0.0).sum())]
    rest = np.sort(x[x != 0.0])
    ranks = np.cumsum(counts[values != 0.0]) / len(rest)
    expected = np.searchsorted(rest, values[values != 0.0], "right") / len(rest)
    assert np.abs(ranks - expected).max() <= 2.0 * rank_error(2_048)


@pytest.mark.parametrize("n", [0, 1, 700, HEAD - 1, HEAD, HEAD + 1, 60_000])
def test_pieces_change_nothing(n: int) -> None:
    """One row at a time around the end of the head, or all at once."""
    x = zero_inflated(n) + np.random.default_rng(2).integers(0, 3, n)
    whole, pieces = of(x, max(n, 1)), of(x, 777)
    assert [a.tolist() for a in whole.summary()] == [a.tolist() for a in pieces.summary()]
    assert (whole.mean, whole.sd, len(whole)) == (pieces.mean, pieces.sd, n)


def test_moments_and_extremes() -> None:
    """Mean, standard deviation and both ends are of all values, also of those that the sketch dropped."""
    x = np.random.default_rng(3).normal(1e6, 1e-3, 120_000)
    made = of(x, 5_000)
    values, counts = made.summary()
    assert (values[0], values[-1], counts.sum()) == (x.min(), x.max(), len(x))
    assert made.mean == pytest.approx(np.mean(x), rel=1e-12)
    assert made.sd == pytest.approx(np.std(x), rel=1e-6)
