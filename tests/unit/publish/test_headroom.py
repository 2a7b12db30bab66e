"""What retention leaves: never more than is true, and nothing where nothing can be said."""

from __future__ import annotations

import pytest

from driftline.publish.headroom import Headroom
from driftline.records import Source

HOUR = 3_600.0
RAW, FOREVER = Source("raw", 0), Source("kept-for-ever", 0)


class Clock:
    """Unix seconds that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock."""
    return Clock()


@pytest.fixture
def headroom(clock: Clock) -> Headroom:
    """Of a topic that keeps ten hours."""
    return Headroom({"raw": 10 * HOUR}, clock=clock)


def test_all_of_it_while_nothing_waits(headroom: Headroom) -> None:
    """However old the last record is that was taken."""
    assert headroom.left(RAW, behind=0, taken_ms=5) == 10 * HOUR
    assert headroom.retention("raw") == 10 * HOUR


def test_it_falls_with_the_age_of_what_was_taken_last(headroom: Headroom, clock: Clock) -> None:
    """What waits is no older than that; below zero it may be gone."""
    taken_ms = int((clock.now - 4 * HOUR) * 1000)
    assert headroom.left(RAW, behind=1, taken_ms=taken_ms) == pytest.approx(6 * HOUR)
    clock.now += 7 * HOUR
    assert headroom.left(RAW, behind=1, taken_ms=taken_ms) == pytest.approx(-HOUR)


def test_what_comes_after_a_silence_is_new(headroom: Headroom, clock: Clock) -> None:
    """The last record taken is nine hours old, but an hour ago nothing was left: what waits came since."""
    taken_ms = int((clock.now - 8 * HOUR) * 1000)
    headroom.left(RAW, behind=0, taken_ms=taken_ms)
    clock.now += HOUR
    assert headroom.left(RAW, behind=3, taken_ms=taken_ms) == pytest.approx(9 * HOUR)
    assert headroom.left(Source("raw", 1), behind=3, taken_ms=taken_ms) == pytest.approx(HOUR)


def test_a_record_of_the_future_gives_no_more_than_all(headroom: Headroom, clock: Clock) -> None:
    """A producer's wrong clock."""
    assert headroom.left(RAW, behind=1, taken_ms=int((clock.now + HOUR) * 1000)) == 10 * HOUR


def test_nothing_is_said_where_nothing_is_known(headroom: Headroom) -> None:
    """Nothing taken yet, or a topic without a limit."""
    assert headroom.left(RAW, behind=7, taken_ms=-1) is None
    assert headroom.left(FOREVER, behind=7, taken_ms=5) is None
    assert headroom.retention(FOREVER.topic) is None
