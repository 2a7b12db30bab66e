"""Mid-PIT, channel derivation, the ring of recent values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from driftline.detect import kernels
from driftline.detect.kernels.pit import pit_run
from driftline.records import Tag
from oracle import pit as naive
from oracle.streams import F64

NAN = float("nan")


def pit(x: F64, q: F64, lo: F64, hi: F64) -> F64:
    """Mid-PIT of the kernel."""
    u = np.empty(len(x))
    pit_run(x, q, lo, hi, u)
    return u


def test_mid_pit_on_ties_and_out_of_range() -> None:
    """Acceptance 1."""
    q, lo, hi = (np.array(part) for part in naive.knots([0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 3.0, 4.0]))
    u = pit(np.array([-1, 0, 0.5, 1, 3, 4, 9.0]), q, lo, hi)
    assert u.tolist() == [0, 0.1875, 0.375, 0.4375, 0.75, 0.9375, 1]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 255, 256, 257, 300])
def test_mid_pit_equals_the_twin(size: int) -> None:
    """Any number of knots; on knots, between them, beyond them, NaN."""
    rng = np.random.default_rng(size)
    reference = np.round(rng.normal(size=3 * size), 2).tolist()
    q, lo, hi = (np.array(part) for part in naive.knots(reference))
    q, lo, hi = q[:size], lo[:size], hi[:size]
    x = np.concatenate([rng.choice(q, 40), rng.normal(size=60), q[:1] - 1e-9, q[-1:] + 1e-9, [np.nan]])
    want = [naive.mid_pit(value, q.tolist(), lo.tolist(), hi.tolist()) for value in x.tolist()]
    np.testing.assert_allclose(pit(x, q, lo, hi), want, rtol=0, atol=1e-14)


def test_mid_pit_at_the_ends_of_the_number_line() -> None:
    """Signed zeros are one value; knots may lie further apart than the largest number; infinities too."""
    q = np.array([-1.5e308, 0.0, 5e-324, 1.5e308])
    lo, hi = np.array([0.0, 0.25, 0.5, 0.75]), np.array([0.25, 0.5, 0.75, 1.0])
    with np.errstate(over="ignore"):
        u = pit(np.array([-0.0, 0.0, 5e-324, -np.inf, np.inf, 0.75e308, -0.75e308]), q, lo, hi)
        assert u[:6].tolist() == [0.375, 0.375, 0.625, 0.0, 1.0, 0.75]
        assert u[6] == 0.25
        wide = pit(np.array([-0.75e308, 0.0, 1.0]), q[[0, 3]], np.array([0.0, 0.8]), np.array([0.2, 1.0]))
    np.testing.assert_allclose(wide, [0.35, 0.5, 0.5], rtol=1e-12)


def test_mid_pit_is_monotone_and_bounded() -> None:
    """Never above 1 or below 0: the bets of the e-detector rely on it."""
    rng = np.random.default_rng(5)
    q, lo, hi = (np.array(part) for part in naive.knots(np.round(rng.normal(size=200), 1).tolist()))
    u = pit(np.sort(rng.normal(0, 2, 500)), q, lo, hi)
    assert u.min() >= 0.0
    assert u.max() <= 1.0
    assert np.all(np.diff(u) >= -1e-15)


class Setup:
    """Three signals: numeric with an atom at 0, categorical with two shares and other, boolean with one."""

    def __init__(self) -> None:
        specs = np.zeros(3, kernels.SIGNAL_SPEC)
        specs[0] = (0.0, 0, 6, 0, 3, 0, 0, 1, 1, 0)
        specs[1] = (0.0, 6, 8, 0, 0, 2, 1, 0, 0, 1)
        specs[2] = (0.0, 14, 6, 0, 0, 1, 1, 0, 0, 0)
        self.specs = specs
        self.knots = (np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.5, 0.75]), np.array([0.25, 0.75, 1.0]))
        # Categories of signal 1: a, b kept; c other; d unseen. Of signal 2: false, true.
        self.tables = (
            np.array([0, 0, 4], np.int32),
            np.array([0.3, 0.7, 0.9, 0.95, 0.4, 0.9]),
            np.array([0, 1, -1, -1, -1, 0], np.int32),
            np.array([0, 0, 1, 2, 0, 0], np.uint8),
            np.array([10, 11, 12, -1, 0, 1], np.int32),
        )
        self.want = np.array([Tag.NUMBER, Tag.STRING, Tag.BOOL], np.uint8)

    def run(
        self, tags: Sequence[Sequence[int]], values: list[list[float]], columns: list[int], lo: int, hi: int
    ) -> None:
        """Derive rows lo..hi; results in y, x, mismatches."""
        tag, value = np.array(tags, np.uint8), np.array(values)
        tag.flags.writeable = value.flags.writeable = False
        n = tag.shape[1]
        self.y, self.x = np.full((20, n), -7.0), np.full((3, n), -7.0)
        self.mismatches = np.zeros(3, np.int64)
        kernels.derive_channels(
            tag, value, np.array(columns, np.int32), self.specs, *self.knots, *self.tables, self.want, lo, hi,
            self.y, self.x, self.mismatches,
        )  # fmt: skip


def test_numeric_cells() -> None:
    """Every tag, the atom, interpolation: missing, share, location, spread."""
    s = Setup()
    tags = [Tag.NUMBER, Tag.NUMBER, Tag.NUMBER, Tag.ABSENT, Tag.NULL, Tag.INVALID, Tag.NESTED, Tag.STRING]
    values = [0.0, 2.0, 2.5, NAN, NAN, NAN, NAN, 4.0]
    s.run([tags], [values], [0, -1, -1], 0, 8)
    np.testing.assert_array_equal(s.y[0], [0, 0, 0, 1, 1, 1, NAN, NAN])
    np.testing.assert_array_equal(s.y[1], [1, 0, 0] + [NAN] * 5)
    np.testing.assert_array_equal(s.y[2], [NAN, 0.625, 0.75] + [NAN] * 5)
    np.testing.assert_array_equal(s.y[3], [NAN, 0.25, 0.5] + [NAN] * 5)
    np.testing.assert_array_equal(s.y[4], [NAN, 0, 0] + [NAN] * 5)
    np.testing.assert_array_equal(s.y[5], [0, 0, 0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(s.x[0], [0, 2, 2.5] + [NAN] * 5)
    assert s.mismatches.tolist() == [2, 0, 0]


def test_values_out_of_the_range_of_the_reference() -> None:
    """Beyond the first and the last knot, not on them; the atom is no question of range."""
    s = Setup()
    s.run([[Tag.NUMBER] * 6], [[0.99, 1.0, 3.0, 3.01, 0.0, -5.0]], [0, -1, -1], 0, 6)
    np.testing.assert_array_equal(s.y[4], [1, 0, 0, 1, NAN, 1])


@pytest.mark.parametrize("tags", [[Tag.NUMBER, Tag.NUMBER], [Tag.NUMBER, Tag.NULL]])
def test_minus_zero_is_zero(tags: list[int]) -> None:
    """A knot at 0 is met by -0.0, in clean blocks and in others."""
    s = Setup()
    s.specs[0]["atom"] = 7.0
    s.knots = (np.array([-1.0, 0.0, 3.0]), *s.knots[1:])
    s.run([tags], [[-0.0, NAN]], [0, -1, -1], 0, 2)
    assert s.y[2, 0] == 0.625


def test_categorical_and_boolean_cells() -> None:
    """rank, rank-spread, shares, [other], unseen, missing; a boolean indexes its table directly."""
    s = Setup()
    strings = [Tag.STRING] * 4 + [Tag.ABSENT, Tag.NUMBER]
    booleans = [Tag.BOOL, Tag.BOOL, Tag.STRING, Tag.NULL, Tag.INVALID, Tag.NESTED]
    s.run([strings, booleans], [[0, 1, 2, 3, NAN, 2], [0, 1, 0, NAN, NAN, NAN]], [-1, 0, 1], 0, 6)
    want = [
        [0.3, 0.7, 0.9, 0.95, NAN, NAN],
        [0.4, 0.4, 0.8, 0.9, NAN, NAN],
        [1, 0, 0, 0, NAN, NAN],
        [0, 1, 0, 0, NAN, NAN],
        [0, 0, 1, 0, NAN, NAN],
        [0, 0, 0, 1, NAN, NAN],
        [0, 0, 0, 0, 1, NAN],
        [0, 0, 0, 0, 0, 1.0],
    ]
    np.testing.assert_allclose(s.y[6:14], want, atol=1e-15)
    np.testing.assert_array_equal(s.x[1], [10, 11, 12, -1, NAN, NAN])
    np.testing.assert_allclose(s.y[14:16], [[0.4, 0.9, *[NAN] * 4], [0.2, 0.8, *[NAN] * 4]], atol=1e-15)
    np.testing.assert_array_equal(s.y[16], [0, 1, *[NAN] * 4])
    np.testing.assert_array_equal(s.y[17], [0, 0, *[NAN] * 4])
    np.testing.assert_array_equal(s.y[18], [0, 0, NAN, 1, 1, NAN])
    np.testing.assert_array_equal(s.y[19], [0, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(s.x[2], [0, 1, *[NAN] * 4])
    assert s.mismatches.tolist() == [0, 1, 2]


def test_an_absent_column_is_missing_and_rows_outside_the_range_are_untouched() -> None:
    """Column -1: missing = 1, type = 0, every other channel NaN, no mismatch."""
    s = Setup()
    s.run([[Tag.NUMBER] * 5], [[1.0] * 5], [-1, -1, -1], 1, 4)
    for c in range(20):
        assert s.y[c, [0, 4]].tolist() == [-7.0, -7.0]
        known = 1.0 if c in (0, 12, 18) else 0.0 if c in (5, 13, 19) else NAN
        np.testing.assert_array_equal(s.y[c, 1:4], [known] * 3)
    assert np.isnan(s.x[:, 1:4]).all()
    assert s.mismatches.tolist() == [0, 0, 0]


def test_derivation_does_not_depend_on_cuts() -> None:
    """Also across the blocks of the search, clean and unclean."""
    rng = np.random.default_rng(6)
    n = 200
    tags = rng.choice([2, 2, 2, 2, 1, 3], (3, n)).astype(int)
    tags[0, :100] = 2
    values = np.where(tags[:1] == 2, np.round(rng.normal(1, 1, n), 1), NAN).repeat(3, axis=0)
    values[1:] = rng.integers(0, 2, (2, n))
    whole, part = Setup(), Setup()
    whole.run(tags.tolist(), values.tolist(), [0, 1, 2], 0, n)
    y, x, mismatches = np.full((20, n), -7.0), np.full((3, n), -7.0), np.zeros(3, np.int64)
    for lo, hi in ((0, 1), (1, 64), (64, 130), (130, 130), (130, n)):
        part.run(tags.tolist(), values.tolist(), [0, 1, 2], lo, hi)
        y[:, lo:hi], x[:, lo:hi] = part.y[:, lo:hi], part.x[:, lo:hi]
        mismatches += part.mismatches
    np.testing.assert_array_equal(y, whole.y)
    np.testing.assert_array_equal(x, whole.x)
    assert mismatches.tolist() == whole.mismatches.tolist()


@pytest.mark.parametrize("cuts", [[0, 50], [0, 3, 4, 30, 50], [0, 20, 50]])
def test_recent_values_are_a_ring(cuts: list[int]) -> None:
    """The t-th row ever sits at t % K, also when a call brings more than K rows."""
    x = np.random.default_rng(7).random((3, 50))
    recent, count = np.zeros((3, 8)), np.zeros(1, np.int64)
    for lo, hi in pairwise(cuts):
        kernels.update_recent(recent, count, np.ones(3, np.int64), x, lo, hi)
    assert count[0] == 50
    for t in range(42, 50):
        assert recent[:, t % 8].tolist() == x[:, t].tolist()


@pytest.mark.parametrize("cuts", [[0, 50], [0, 3, 4, 30, 50], [0, 20, 50]])
def test_a_stride_keeps_every_nth_value(cuts: list[int]) -> None:
    """Rows 0, 3, 6 ... whatever the cuts."""
    x = np.random.default_rng(8).random((1, 50))
    recent, count = np.zeros((1, 8)), np.zeros(1, np.int64)
    for lo, hi in pairwise(cuts):
        kernels.update_recent(recent, count, np.full(1, 3, np.int64), x, lo, hi)
    kept = x[0, ::3]
    assert sorted(recent[0].tolist()) == sorted(kept[-8:].tolist())
