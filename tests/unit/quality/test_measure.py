"""A small part of ``make quality``: few runs of some streams, so that a lost promise shows in the suite."""

from __future__ import annotations

import pytest

from quality import verdict
from quality.contestants import KNOW_NOTHING, PEERS, peer_values
from quality.errors import ERRORS
from quality.measure import PANELS, SMALL, laboratory, measure

STREAMS = {s.name: s for panel in PANELS for s in panel.streams()}
KEPT_NULLS = (
    "normal",
    "Cauchy",
    "zeros 90 %",
    "AR .9",
    "AR .9, reference shuffled",
    "long-tail categories",
    "error rate .02",
    "error rate .1, autocorrelation .5",
    "error of a number, t2",
)
KEPT_CHANGES = (
    "abrupt 0.5 sd",
    "recurring 1 sd, 5 times",
    "blips of 30 at 2 sd, 20 times",
    "spread x 2",
    "category swap, 32 % and 8 %",
    "missing 1 % to 10 %",
    *(s.name for s in ERRORS.changing() if s.episodes is not None),
)


def test_nulls_keep_the_budget() -> None:
    """Alarms of the strict budget stay under it, and the default settings do not open."""
    rows = laboratory([STREAMS[n] for n in KEPT_NULLS], SMALL)["nulls"]
    assert [(r["stream"], r["default"]) for r in rows] == [(n, 0) for n in KEPT_NULLS]
    assert sum(r["strict"] for r in rows) <= sum(r["budget"] for r in rows) / 2
    assert all(r["strict"] <= r["budget"] for r in rows)


def test_changes_are_one_episode_each() -> None:
    """Every one is seen once and resolved, blips of 30 events and fewer errors are not seen."""
    rows = laboratory([STREAMS[n] for n in KEPT_CHANGES], SMALL)["changes"]
    assert [verdict.change_verdict(r) for r in rows] == [verdict.KEPT] * len(KEPT_CHANGES)
    for row in rows:
        own = row["contestants"]["Driftline"]
        assert (own["false"], own["early"]) == (0, 0)
        assert own["resolved"] == own["ended"] == own["detected"]


def test_a_run_repeats() -> None:
    """All contestants are seeded."""
    for name in ("Bernoulli .1", "abrupt 1 sd"):
        assert measure(STREAMS[name], 1, SMALL) == measure(STREAMS[name], 1, SMALL)


def test_those_that_know_nothing() -> None:
    """One fires a thousand times a million rows and so finds every change, the other finds none."""
    assert len(KNOW_NOTHING["every 1,000"](1_000_000).opened) == 1_000
    assert KNOW_NOTHING["never"](1_000_000).opened == ()


def test_who_can_watch_what() -> None:
    """DDM watches 0/1 streams only; the others watch all."""
    plain = measure(STREAMS["abrupt 1 sd"], 0, SMALL)
    ones = measure(STREAMS["0/1 rate .1 to .15"], 0, SMALL)
    names = {"Driftline", *KNOW_NOTHING, *(p.name for p in PEERS)}
    assert set(plain) == names - {"DDM"}
    assert set(ones) == names


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("normal", -6.0, 6.0), ("category swap, 32 % and 8 %", -2.0, 5.0), ("missing 1 % to 10 %", 0.0, 1.0)],
)
def test_peers_are_given_plain_numbers(name: str, low: float, high: float) -> None:
    """Standardised values, numbered categories, missingness: one stream a feature, nothing missing."""
    stream = STREAMS[name]
    reference, live = stream.sample(0, stream.rows)
    (values,) = peer_values(stream, reference, live)
    assert len(values) == stream.rows
    assert low <= values.min() < values.max() <= high
