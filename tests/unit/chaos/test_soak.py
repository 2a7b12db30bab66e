"""The verdict over a soak must see a leak, and not take noise for one."""

from __future__ import annotations

import random

import pytest

from chaos import soak
from chaos.volume import Look

SECONDS = 600
RATE = 1_000.0


def looks(mb_hour: float = 0.0, noise_mb: float = 1.0, fds: float = 0.0, threads: float = 0.0) -> list[Look]:
    """Ten minutes, a look every two seconds; growth per hour of each, after a warm-up of one minute."""
    dice = random.Random(0)
    found = []
    for at in range(0, SECONDS, 2):
        warm = min(at, 60) / 60
        rss = 300 + 100 * warm + mb_hour * at / 3600 + dice.gauss(0, noise_mb)
        found.append(Look(at, int(rss * 1e6), int(20 + fds * at / 3600), int(10 + threads * at / 3600), 0))
    return found


def test_noise_and_warm_up_are_no_leak() -> None:
    """A process that filled its buffers and then stays is clean; the slope is near zero."""
    assert soak.problems(looks(), RATE) == []
    assert abs(soak.trend(looks(), RATE).slope) < 5


def test_outliers_do_not_move_the_slope() -> None:
    """A few large samples, as when a flush is sent, leave it where it is."""
    spiky = [
        Look(x.at, x.rss + (200_000_000 if i % 10 == 0 else 0), x.fds, x.threads, 0)
        for i, x in enumerate(looks())
    ]
    assert abs(soak.trend(spiky, RATE).slope) < 10


def test_a_leak_is_found() -> None:
    """Its size is right, and it is a problem."""
    leaky = looks(mb_hour=300)
    assert soak.trend(leaky, RATE).slope == pytest.approx(300, rel=0.05)
    assert any("memory grows" in problem for problem in soak.problems(leaky, RATE))


def test_the_limit_of_a_long_run_is_one_megabyte_an_hour() -> None:
    """A short run can only be judged by what it grew in all."""
    assert soak.Trend(0, 0, 0, hours=24).limit == soak.SLOPE_MB_HOUR_MAX == 1.0
    assert soak.Trend(0, 0, 0, hours=0.1).limit == pytest.approx(10 * soak.GROWTH_MB_MAX)


def test_descriptors_and_threads() -> None:
    """One more connection is nothing, a steady growth is a problem."""
    assert soak.problems(looks(fds=6), RATE) == []
    assert any("descriptors" in problem for problem in soak.problems(looks(fds=60), RATE))
    assert any("threads" in problem for problem in soak.problems(looks(threads=60), RATE))


def test_too_short() -> None:
    """Without enough looks there is no verdict."""
    with pytest.raises(ValueError, match="too few"):
        soak.trend(looks()[:2], RATE)


def test_a_backlog_is_no_leak() -> None:
    """Looks with more than a second of rows waiting do not count; with too few left there is no verdict."""
    busy = [
        Look(x.at, x.rss + int(400_000 * x.at), x.fds, x.threads, 5_000) if i % 2 else x
        for i, x in enumerate(looks())
    ]
    assert soak.problems(busy, RATE) == []
    with pytest.raises(ValueError, match="idle machine"):
        soak.steady([Look(x.at, x.rss, x.fds, x.threads, 5_000) for x in looks()], RATE)
