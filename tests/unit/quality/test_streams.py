"""The streams are what they say: the same for the same seed, and their truth is in the numbers."""

from __future__ import annotations

import numpy as np
import pytest

from quality.streams import Stream, changing, nulls, two_humps

STREAMS = {s.name: s for s in (*nulls(), *changing())}


def values(name: str, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Reference and live values of run 0 of a numeric stream."""
    stream = STREAMS[name]
    reference, live = stream.sample(0, rows or stream.rows)
    return np.asarray(reference["x"]), np.asarray(live["x"])


def test_names_are_unique() -> None:
    """A name is the seed."""
    assert len(STREAMS) == len(nulls()) + len(changing())


@pytest.mark.parametrize("name", ["AR .9", "long-tail categories", "missing 1 % to 10 %"])
def test_a_run_repeats(name: str) -> None:
    """The same name and run give the same values, another run others."""
    stream = STREAMS[name]
    first, again, other = (stream.sample(run, 1_000)[1]["x"] for run in (0, 0, 1))
    assert np.array_equal(np.asarray(first, dtype=str), np.asarray(again, dtype=str))
    assert not np.array_equal(np.asarray(first, dtype=str), np.asarray(other, dtype=str))


@pytest.mark.parametrize("stream", STREAMS.values(), ids=lambda s: s.name)
def test_truth_lies_within_the_run(stream: Stream) -> None:
    """Changes are in order and apart, and a null's promise is its budget."""
    rows = [at for c in stream.changes for at in (c.start, c.end)]
    assert rows == sorted(set(rows))
    assert all(0 <= at <= stream.rows for at in rows)
    assert stream.changes or stream.episodes is None


@pytest.mark.parametrize(("name", "shift"), [("abrupt 0.5 sd", 0.5), ("abrupt 2 sd", 2.0)])
def test_a_shift_has_its_size(name: str, shift: float) -> None:
    """In standard deviations of the reference, within the change only."""
    (change,) = STREAMS[name].changes
    _, live = values(name)
    assert live[: change.start].mean() == pytest.approx(0.0, abs=0.04)
    assert live[change.start : change.end].mean() == pytest.approx(shift, abs=0.06)
    assert live[change.end :].mean() == pytest.approx(0.0, abs=0.04)


def test_spread_changes_alone() -> None:
    """The mean stays."""
    (change,) = STREAMS["spread x 2"].changes
    _, live = values("spread x 2")
    inside = live[change.start : change.end]
    assert inside.std() == pytest.approx(2.0, abs=0.05)
    assert inside.mean() == pytest.approx(0.0, abs=0.06)


def test_two_humps_keep_location_and_spread() -> None:
    """The means of u and of |2u - 1| are one half, the shape is another."""
    from scipy.special import ndtr

    u = ndtr(two_humps(np.random.default_rng(0), 100_000))
    assert u.mean() == pytest.approx(0.5, abs=0.005)
    assert np.abs(2 * u - 1).mean() == pytest.approx(0.5, abs=0.005)
    assert not ((u > 0.36) & (u < 0.64)).any()


def test_a_shuffled_reference_is_not_autocorrelated() -> None:
    """Only the live rows are."""
    reference, live = values("AR .9, reference shuffled", 20_000)
    assert abs(np.corrcoef(reference[:-1], reference[1:])[0, 1]) < 0.2
    assert np.corrcoef(live[:-1], live[1:])[0, 1] == pytest.approx(0.9, abs=0.02)


def test_correlated_features_are() -> None:
    """Forty of them at .95."""
    _, live = STREAMS["40 features, correlated .95"].sample(0, 5_000)
    assert len(live) == 40
    assert np.corrcoef(np.asarray(live["x00"]), np.asarray(live["x39"]))[0, 1] == pytest.approx(
        0.95, abs=0.01
    )
