"""What the streams of errors are, and what those who watch them are given; ``test_measure.py`` runs some."""

from __future__ import annotations

import numpy as np
import pytest

from quality.contestants import KNOW_NOTHING
from quality.errors import PEERS, changing, driftline, nulls, peer_values, persistent
from quality.measure import SMALL, measure

STREAMS = {s.name: s for s in (*nulls(), *changing())}


def test_an_alarm_is_counted_from_the_end_of_the_reference() -> None:
    """From it and the rows of an envelope follows nothing else: the change begins at 20,000."""
    stream = STREAMS["error rate .1 to .3"]
    reference, live = stream.sample(0, stream.rows)
    alarms = driftline(stream, reference, live)
    assert 20_030 <= alarms.opened[0] < 21_000
    assert 40_000 <= alarms.resolved[0] < 45_000


@pytest.mark.parametrize("name", ["error rate .02 to .05", "error of a number, t3, + 1 sd"])
def test_who_can_watch_what(name: str) -> None:
    """Those for 0/1 errors watch nothing else; a run repeats."""
    stream = STREAMS[name]
    seen = {p.name for p in PEERS if stream.binary or not p.binary_only}
    found = measure(stream, 1, SMALL)
    assert set(found) == {"Driftline", *KNOW_NOTHING}  # peers have the first run only
    assert set(measure(stream, 0, SMALL)) == {"Driftline", *KNOW_NOTHING, *seen}
    assert measure(stream, 1, SMALL) == found


def test_peers_are_given_plain_numbers() -> None:
    """0 and 1, or absolute errors less their mean over their standard deviation."""
    for name in ("error rate .1", "error of a number, normal"):
        stream = STREAMS[name]
        (values,) = peer_values(stream, *stream.sample(2, 5_000))
        assert abs(values.mean() - (0.1 if stream.binary else 0.0)) < 0.05
        assert np.isin(values, (0.0, 1.0)).all() == stream.binary


def test_persistent_errors_are_as_frequent_and_as_correlated_as_named() -> None:
    """Against the definition, at a size where chance is small."""
    x = persistent(0.1, 0.9)(np.random.default_rng(0), 400_000)
    assert abs(x.mean() - 0.1) < 0.01
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1] - 0.9) < 0.01
