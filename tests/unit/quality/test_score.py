"""The scorer against cases that were worked out by hand."""

from __future__ import annotations

import pytest

from quality.score import Change, Score, poisson_bounds, score, share_bounds

ONCE = (Change(1_000, 2_000),)
TWICE = (Change(1_000, 2_000), Change(20_000, 21_000))


def test_nothing_happens() -> None:
    """No change and no alarm: all zero."""
    assert score([], [], (), 5_000) == Score(0, (), 0, 0, 0, 0, 0)


def test_every_alarm_on_a_null_is_false() -> None:
    """No change: all openings are false."""
    assert score([10, 4_000], [20], (), 5_000) == Score(0, (), 0, 2, 0, 0, 0)


def test_a_change_seen_once_and_resolved() -> None:
    """The delay counts from the start; the resolution comes after the end."""
    assert score([1_120], [2_500], ONCE, 5_000) == Score(1, (120,), 1, 0, 1, 1, 0)


def test_a_missed_change() -> None:
    """No opening: no delay, and nothing to resolve."""
    assert score([], [], ONCE, 5_000) == Score(1, (), 0, 0, 0, 0, 0)


def test_an_opening_before_the_change_is_false() -> None:
    """An episode that is open already does not report the change."""
    assert score([999], [2_500], ONCE, 5_000) == Score(1, (), 0, 1, 0, 0, 0)


def test_an_opening_at_the_first_row_counts() -> None:
    """A delay of zero is possible."""
    assert score([1_000], [], ONCE, 5_000).delays == (0,)


def test_flapping_counts_every_opening_and_early_resolutions() -> None:
    """Three openings of one change: three episodes, two of them closed too early."""
    assert score([1_100, 1_300, 1_500], [1_200, 1_400, 2_300], ONCE, 5_000) == Score(1, (100,), 3, 0, 1, 1, 2)


def test_an_alarm_about_the_return_is_not_false() -> None:
    """It counts as one more opening of the change, and long after the end as a false one."""
    assert score([1_031, 2_031], [], ONCE, 20_000) == Score(1, (31,), 2, 0, 1, 0, 0)
    assert score([1_031, 7_001], [], ONCE, 20_000) == Score(1, (31,), 1, 1, 1, 0, 0)


def test_a_short_change_is_reported_a_little_late() -> None:
    """Up to 200 rows after the end it is detected; later it is not, although the opening is its own."""
    short = (Change(1_000, 1_030),)
    assert score([1_100], [4_000], short, 20_000) == Score(1, (100,), 1, 0, 1, 1, 0)
    assert score([1_300], [4_000], short, 20_000) == Score(1, (), 1, 0, 0, 0, 0)


def test_a_change_that_lasts_has_nothing_to_resolve() -> None:
    """It ends with the run."""
    assert score([1_100], [], (Change(1_000, 5_000),), 5_000) == Score(1, (100,), 1, 0, 0, 0, 0)


def test_an_episode_that_stays_open_over_the_next_change() -> None:
    """The first was detected and not resolved in time, the second was not detected."""
    assert score([1_100], [21_500], TWICE, 40_000) == Score(2, (100,), 1, 0, 1, 0, 0)


def test_two_changes() -> None:
    """Each opening goes to its own."""
    seen = score([1_100, 20_300], [2_400, 21_900], TWICE, 40_000)
    assert seen == Score(2, (100, 300), 2, 0, 2, 2, 0)


def test_a_reopening_after_the_last_resolution_is_unresolved() -> None:
    """What counts is the state before the next change."""
    assert score([1_100, 2_600], [2_400], ONCE, 20_000) == Score(1, (100,), 2, 0, 1, 0, 0)


@pytest.mark.parametrize(
    ("count", "low", "high"), [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (10, 4.7954, 18.3904)]
)
def test_poisson_bounds(count: int, low: float, high: float) -> None:
    """Garwood's published limits."""
    assert poisson_bounds(count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [(0, 10, 0.0, 0.3085), (5, 10, 0.1871, 0.8129), (10, 10, 0.6915, 1.0)],
)
def test_share_bounds(count: int, of: int, low: float, high: float) -> None:
    """Clopper and Pearson's published limits."""
    assert share_bounds(count, of) == pytest.approx((low, high), abs=1e-4)
