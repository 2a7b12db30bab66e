"""Traffic: buckets, cuts, silences, and what opens."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from driftline.decide.policy import plan_rate
from driftline.detect.kernels.state import KIND_OPEN, KIND_RESOLVE
from driftline.detect.rate import Rate, RateReference, check_rate, rate_reference, values
from driftline.records import I64


def times(rng: np.random.Generator, *parts: tuple[float, int]) -> I64:
    """Event times of Poisson traffic: (mean gap in ms, rows) one after the other."""
    gaps = np.concatenate([rng.exponential(gap, rows) for gap, rows in parts])
    return np.cumsum(gaps).astype(np.int64)


def watched(reference: RateReference, run_length: float = 1e8) -> Rate:
    """Traffic under a plan for a false opening in so many rows."""
    rate = Rate.new(reference)
    rate.plan = plan_rate(reference, run_length=run_length, min_duration=100)
    return rate


def known(rng: np.random.Generator) -> RateReference:
    """100 rows a second, 5,000 of them."""
    made = rate_reference(times(rng, (10.0, 5_000)))
    assert made is not None
    return made


def test_buckets_hold_twenty_rows_or_a_second() -> None:
    """Slow traffic gets long buckets; too few of them, or no time at all, give no reference."""
    rng = np.random.default_rng(0)
    made = known(rng)
    assert made.bucket_ms == 1_000
    assert made.rows == pytest.approx(100.0, rel=0.05)
    slow = rate_reference(times(rng, (600.0, 5_000)))
    assert slow is not None
    assert slow.bucket_ms == pytest.approx(12_000, rel=0.05)
    assert slow.rows == pytest.approx(20.0, rel=0.02)
    assert rate_reference(times(rng, (1.0, 5_000))) is None  # five seconds
    assert rate_reference(np.zeros(5_000, dtype=np.int64)) is None


@pytest.mark.parametrize("cuts", [[0, 1, 2, 4_000], [0, 100, 101, 2_048, 4_000], list(range(0, 4_001, 250))])
def test_cuts_do_not_show(cuts: list[int]) -> None:
    """The same findings and state, disorder and a silence included."""
    rng = np.random.default_rng(1)
    reference = known(rng)
    at = times(rng, (10.0, 1_500), (200.0, 1_000), (10.0, 1_500)) + rng.integers(0, 3_000, 4_000)
    at[1_000:] += 3_600_000
    whole, parts = watched(reference, 1e4), watched(reference, 1e4)
    expected = whole.run(at, 0, 4_000)
    got = np.concatenate([parts.run(at, lo, hi) for lo, hi in pairwise(cuts)])
    assert got.tobytes() == expected.tobytes()
    assert len(expected)
    assert parts.state.tobytes() == whole.state.tobytes()
    assert (parts.bucket, parts.count) == (whole.bucket, whole.count)


@pytest.mark.parametrize(("gap", "channel"), [(100.0, 0), (1.0, 1)])
def test_a_tenth_and_the_tenfold_open_and_resolve(gap: float, channel: int) -> None:
    """Within five minutes, at a false opening in 1e8 rows; one finding each."""
    rng = np.random.default_rng(2)
    at = times(rng, (10.0, 5_000), (gap, 400_000 if gap == 1.0 else 8_000), (10.0, 20_000))
    found = watched(known(rng)).run(at, 0, len(at))
    assert [(int(f["kind"]), int(f["channel"])) for f in found if f["kind"] != 8] == [
        (KIND_OPEN, channel),
        (KIND_RESOLVE, channel),
    ]
    opened = int(found[0]["row"])
    assert opened > 5_000
    assert at[opened] - at[5_000] < 300_000


@pytest.mark.parametrize("gap", [10.0, 20.0, 5.0])
def test_half_and_double_are_left_alone(gap: float) -> None:
    """Nights and days, bursts of ten seconds, in 300,000 rows."""
    rng = np.random.default_rng(3)
    gaps = rng.exponential(gap, 300_000) * np.where(np.arange(300_000) // 1_000 % 2 == 0, 0.6, 1.4)
    at = np.cumsum(gaps).astype(np.int64)
    assert len(watched(known(rng), 1e5).run(at, 0, len(at))) == 0


def test_a_silence_is_not_judged_but_a_trickle_is() -> None:
    """A minute or an hour without any row open nothing; a row every ten seconds does."""
    rng = np.random.default_rng(4)
    at = times(rng, (10.0, 20_000))
    at[5_000:] += 60_000
    at[10_000:] += 3_600_000
    assert len(watched(known(rng)).run(at, 0, len(at))) == 0
    at = times(rng, (10.0, 5_000), (10_000.0, 30))
    found = watched(known(rng)).run(at, 0, len(at))
    assert [(int(f["kind"]), int(f["channel"])) for f in found[:1]] == [(KIND_OPEN, 0)]
    assert abs(int(found[0]["onset_time"]) - int(at[5_000])) < 60_000


def test_values_and_checks() -> None:
    """Both channels stay within 0 and 1; a reference that no kernel could use is told."""
    y = values(np.array([0, 50, 100, 400, 9_999]), 100.0)
    assert y.tolist() == [[0.0, 0.5, 1.0, 1.0, 1.0], [0.0, 0.03125, 0.0625, 0.25, 1.0]]
    good = RateReference(1_000, 10.0, (0.9, 0.06), (0.1, 0.02))
    assert check_rate(good)
    for bad in (
        RateReference(0, 10.0, (0.9, 0.06), (0.1, 0.02)),
        RateReference(1_000, 0.0, (0.9, 0.06), (0.1, 0.02)),
        RateReference(1_000, 10.0, (0.0, 0.06), (0.1, 0.02)),
        RateReference(1_000, 10.0, (0.9,), (0.1,)),  # type: ignore[arg-type]
    ):
        assert not check_rate(bad)
