"""A small part of the errors' table, so that a lost promise shows in the suite; what its streams are."""

from __future__ import annotations

import numpy as np
import pytest

from quality import verdict
from quality.contestants import KNOW_NOTHING
from quality.errors import PEERS, changing, driftline, nulls, peer_values, persistent
from quality.measure import Sizes, laboratory, measure

STREAMS = {s.name: s for s in (*nulls(), *changing())}
SMALL = Sizes(
    null_runs=3, null_rows=60_000, change_runs=3,
    peer_null_runs=1, peer_null_cells=1_000, peer_change_runs=1,
    slow_null_cells=200, slow_change_runs=1, slow_change_rows=200,
)  # fmt: skip
KEPT_NULLS = (
    "error rate .02",
    "error rate .1",
    "error rate .1, autocorrelation .5",
    "error of a number, t2",
    "error of a number, AR .9",
)
KEPT_CHANGES = tuple(s.name for s in changing() if s.episodes is not None)


def test_nulls_keep_the_budget() -> None:
    """Alarms of the strict budget stay under it, and the default settings do not open."""
    rows = laboratory([STREAMS[n] for n in KEPT_NULLS], SMALL)["nulls"]
    assert [(r["stream"], r["default"]) for r in rows] == [(n, 0) for n in KEPT_NULLS]
    assert sum(r["strict"] for r in rows) <= sum(r["budget"] for r in rows)


def test_changes_are_one_episode_each() -> None:
    """More errors are seen once and resolved when they are as few as before; fewer are not told."""
    rows = laboratory([STREAMS[n] for n in KEPT_CHANGES], SMALL)["changes"]
    assert [verdict.change_verdict(r) for r in rows] == [verdict.KEPT] * len(KEPT_CHANGES)
    for row in rows:
        own = row["contestants"]["Driftline"]
        assert (own["false"], own["early"]) == (0, 0)
        assert own["resolved"] == own["ended"] == own["detected"]


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
