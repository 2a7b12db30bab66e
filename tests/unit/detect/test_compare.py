"""Two references against each other: PSI and shift, ranked; histograms from knots."""

from __future__ import annotations

import numpy as np
import pytest

from driftline.detect.compare import bounds_of, cumulative, differences, histogram, quantile
from driftline.detect.reference import NumericReference, RawColumn, Reference, build_reference
from driftline.records import F64, ColumnKind, Tag


def reference(**columns: F64 | list[str]) -> Reference:
    """A reference of numbers or words."""
    raw = []
    for name, values in columns.items():
        if isinstance(values, list):
            words = tuple(sorted(set(values)))
            x = np.array([float(words.index(v)) for v in values])
            raw.append(RawColumn(ColumnKind.FEATURE, name, np.full(len(x), Tag.STRING, np.uint8), x, words))
        else:
            tags = np.where(np.isnan(values), Tag.NULL, Tag.NUMBER).astype(np.uint8)
            raw.append(RawColumn(ColumnKind.FEATURE, name, tags, values, ()))
    rows = len(raw[0].values)
    return build_reference("m", "file", raw, np.arange(rows, dtype=np.int64) * 1_000, time_ordered=True)


def numeric(made: Reference) -> NumericReference:
    """Of the first signal."""
    found = made.signals[0].numeric
    assert found is not None
    return found


RNG = np.random.default_rng(1)
NORMAL = RNG.normal(size=20_000)


def test_a_reference_does_not_differ_from_itself() -> None:
    """PSI and shift are 0."""
    made = reference(x=NORMAL, c=["a", "b", "b", "c"] * 5_000)
    assert [(d.psi, d.shift) for d in differences(made, made)] == [(0.0, None), (0.0, 0.0)]


@pytest.mark.parametrize(("shift", "psi"), [(0.2, 0.038), (0.5, 0.24)])
def test_psi_of_a_shift(shift: float, psi: float) -> None:
    """As docs/decisions.md has it for ten bins of a normal variable."""
    found = differences(reference(x=NORMAL), reference(x=NORMAL + shift))[0]
    assert found.psi == pytest.approx(psi, rel=0.15)
    assert found.shift == pytest.approx(shift, rel=0.02)


def test_the_most_different_comes_first_and_lonely_ones_before() -> None:
    """A signal that only one has, or with another type, has no PSI; it stands on top."""
    words = ["a", "b"] * 10_000
    a = reference(near=NORMAL, far=NORMAL, mine=NORMAL, kind=NORMAL, word=words)
    b = reference(near=NORMAL + 0.1, far=NORMAL + 1, theirs=NORMAL, kind=words, word=["a", "c"] * 10_000)
    found = differences(a, b)
    assert [d.signal for d in found] == ["kind", "mine", "theirs", "word", "far", "near"]
    assert [d.psi is None for d in found] == [True] * 3 + [False] * 3


def test_zero_inflation_is_a_cell_of_its_own() -> None:
    """More zeros differ although the other values are the same."""
    gone = np.random.default_rng(2).random(20_000)
    a, b = (reference(x=np.where(gone < share, 0.0, NORMAL)) for share in (0.4, 0.6))
    assert numeric(a).atom == numeric(b).atom == 0.0
    found = differences(a, b)[0].psi
    assert found == pytest.approx(0.2 * np.log(0.6 / 0.4) + 0.2 * np.log(0.6 / 0.4), rel=0.1)
    assert differences(a, reference(x=np.zeros(20_000)))[0].psi is not None  # a constant has no deciles


def test_knots_give_quantiles_and_shares() -> None:
    """Within a knot's distance of the values themselves."""
    made = numeric(reference(x=NORMAL))
    at = np.array([0.1, 0.5, 0.9])
    assert quantile(made, at) == pytest.approx(np.quantile(NORMAL, at), abs=0.02)
    x = np.array([-9.0, -1.0, 0.0, 1.0, 9.0])
    assert cumulative(made, x) == pytest.approx([np.mean(x_ >= NORMAL) for x_ in x], abs=1 / 255)
    drawn = histogram(made, bounds_of([made], 40))
    assert (drawn.sum(), drawn.argmax() in range(15, 26)) == (pytest.approx(1.0), True)
