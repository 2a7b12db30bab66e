"""References: knots and mid-PIT, channels, autocorrelation, JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from driftline.detect.reference import (
    RawColumn,
    Reference,
    build_reference,
    category_ranks,
    channel_reference,
    from_json,
    long_run_tau,
    mid_pit,
    signal_name,
    solve_theta,
    to_json,
)
from driftline.errors import MessageError
from driftline.records import ColumnKind, Tag


def column(
    name: str, values: list[float] | np.ndarray, tag: Tag = Tag.NUMBER, strings: tuple[str, ...] = ()
) -> RawColumn:
    """A feature whose NaN cells are null."""
    x = np.asarray(values, dtype=np.float64)
    tags = np.where(np.isnan(x), Tag.NULL, tag).astype(np.uint8)
    return RawColumn(ColumnKind.FEATURE, name, tags, x, strings)


def reference(*columns: RawColumn) -> Reference:
    """A reference of columns with one row a second."""
    times = np.arange(len(columns[0].tags), dtype=np.int64) * 1000
    return build_reference("m", "file", columns, times, time_ordered=True)


def test_mid_pit_on_ties_and_outside() -> None:
    """DECISIONS D 1: the half-sum of the jump at a knot, linear between, 0 below and 1 above."""
    rows = np.tile([0.0, 0, 0, 1, 2, 3, 3, 4], 100)
    numeric = reference(column("x", rows)).signals[0].numeric
    assert numeric is not None
    assert numeric.atom == 0.0  # 3 of 8 rows: location is then built from the other rows
    others = reference(column("x", np.tile([1.0, 2, 3, 3, 4, 5, 6, 7], 100))).signals[0].numeric
    assert others is not None
    x = np.array([0.0, 1, 1.5, 2, 3, 7, 9])
    # atom 3 has a share of 1/4: the remaining six values each have 1/6
    assert mid_pit(others, x) == pytest.approx([0, 1 / 12, 1 / 6, 3 / 12, 1 / 3, 11 / 12, 1])


def test_reference_keeps_atoms_and_extremes_beyond_256_knots() -> None:
    """A value with 1/256 of the rows, the minimum and the maximum are always knots."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=20_000), np.full(200, 0.123)])
    numeric = reference(column("x", rng.permutation(x))).signals[0].numeric
    assert numeric is not None
    assert {0.123, x.min(), x.max()} <= set(numeric.knots)
    assert len(numeric.knots) <= 260


def test_zero_inflated_feature_splits_its_atom() -> None:
    """A value with 20 % of the rows gets a share channel; a constant has no location."""
    rng = np.random.default_rng(2)
    x = np.where(rng.random(5_000) < 0.9, 0.0, rng.exponential(size=5_000))
    assert [c.name for c in reference(column("x", x)).signals[0].channels] == [
        "missing",
        "share[=0]",
        "location",
        "spread",
        "range",
        "type",
    ]
    constant = reference(column("x", np.ones(5_000))).signals[0]
    assert [c.name for c in constant.channels] == ["missing", "share[=1]", "type"]


def test_categories_come_from_the_first_half() -> None:
    """The table is from the first half, the statistics from the second: a new category there is unseen."""
    codes = np.concatenate([np.tile([0.0, 0, 1], 200), np.tile([0.0, 2, 2], 200)])
    signal = reference(column("c", codes, Tag.STRING, ("a", "b", "z"))).signals[0]
    table = signal.categorical
    assert table is not None
    assert table.categories == ("a", "b")
    assert table.counts == (400, 200)
    by_name = {c.name: c for c in signal.channels}
    assert by_name["unseen"].mean == pytest.approx(2 / 3)
    assert by_name["share[a]"].mean == pytest.approx(1 / 3)
    assert category_ranks(table) == pytest.approx([1 / 3, 5 / 6, 1.0])


def test_rare_categories_are_pooled() -> None:
    """Categories with fewer than five rows share one rank and the channel other."""
    codes = np.concatenate([np.zeros(496), [1.0, 2, 3, 1], np.zeros(500)])
    signal = reference(column("c", codes, Tag.STRING, ("a", "r1", "r2", "r3"))).signals[0]
    assert signal.categorical is not None
    assert signal.categorical.kept == 1
    assert "other" in [c.name for c in signal.channels]
    assert category_ranks(signal.categorical)[1:] == pytest.approx([1 - 0.008 / 2] * 4)


def test_majority_tag_is_the_logical_type() -> None:
    """A few strings among numbers leave the feature numeric; booleans are two categories."""
    x = np.arange(1_000, dtype=np.float64)
    mixed = column("x", x)
    mixed.tags[::10] = Tag.STRING
    flags = column("b", x % 2, Tag.BOOL)
    signals = reference(mixed, flags).signals
    assert [(s.name, s.tag) for s in signals] == [("b", Tag.BOOL), ("x", Tag.NUMBER)]


def test_tau_of_an_autoregressive_series() -> None:
    """An AR(1) with .9 inflates the variance of means by 19; white noise by 1."""
    rng = np.random.default_rng(3)
    noise = rng.normal(size=40_000)
    y = np.empty_like(noise)
    last = 0.0
    for i, e in enumerate(noise):
        last = 0.9 * last + e
        y[i] = last
    assert 12 < long_run_tau(y) < 26
    assert long_run_tau(noise) < 1.4
    assert long_run_tau(noise[:399]) == 1.0


def test_theta_solves_its_equation() -> None:
    """Mean exp(theta z) = 1 at the root; no root without a positive value."""
    z = np.random.default_rng(4).normal(-0.1, 1, 5_000)
    theta = solve_theta(z, np.full(5_000, 1 / 5_000))
    assert np.mean(np.exp(theta * z)) == pytest.approx(1.0, abs=1e-6)
    assert solve_theta(np.array([-1.0, -2.0]), np.array([0.5, 0.5])) == 0.0


def test_json_round_trip_is_exact() -> None:
    """The same reference gives the same bytes and id, and comes back equal."""
    rng = np.random.default_rng(5)
    made = reference(
        column("x", rng.normal(size=1_000)),
        column("c", rng.integers(0, 3, 1_000), Tag.STRING, ("a", "b", "c")),
    )
    assert from_json(to_json(made)) == made
    assert from_json(to_json(made)).id == made.id


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda b: b.update(format=9), "format 9"),
        (lambda b: b.pop("rows"), "not a baseline"),
        (lambda b: b["signals"][0]["numeric"]["knots"].reverse(), "must increase"),
        (lambda b: b["signals"][0]["channels"][0].update(mean=2.0), "out of range"),
        (lambda b: b["signals"][0]["channels"][0].update(block_sds=[]), "inconsistent"),
        (lambda b: b.update(signals=[]), "0 signals"),
    ],
)
def test_a_broken_baseline_is_refused_with_what_is_wrong(change: object, says: str) -> None:
    """Nothing reaches the kernels that could make them read out of bounds."""
    body = json.loads(to_json(reference(column("x", np.random.default_rng(6).normal(size=600)))))
    change(body)  # type: ignore[operator]
    with pytest.raises(MessageError, match=says):
        from_json(json.dumps(body))


def test_too_few_rows_are_refused() -> None:
    """A reference needs 500 rows."""
    with pytest.raises(MessageError, match="at least 500 rows, got 10"):
        reference(column("x", np.arange(10.0)))


def test_prediction_names_cannot_be_taken_by_features() -> None:
    """A feature called prediction.score is another signal than the score."""
    assert signal_name(ColumnKind.SCORE, "") == "prediction.score"
    assert signal_name(ColumnKind.FEATURE, "prediction.score") == "feature.prediction.score"
    assert signal_name(ColumnKind.FEATURE, "age") == "age"


def test_block_sds_shrink_like_white_noise() -> None:
    """Means of 16 independent values have a quarter of the standard deviation."""
    y = np.random.default_rng(7).random(40_000)
    made = channel_reference("u", y, binary=False)
    assert made.block_sds[3] == pytest.approx(made.sd / 4, rel=0.05)
