"""Baselines of few rows are exact; those of many are read twice, the same up to the sketch's error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from driftline.detect import baseline
from driftline.detect.baseline import BaselineRows, build_baseline
from driftline.detect.quantiles import K, rank_error
from driftline.detect.reference import Reference, from_json, mid_pit, to_json
from driftline.errors import MessageError, OperatorError
from driftline.ingest.columns import take_rows
from driftline.records import I64, Block, Column, ColumnKind, Tag
from oracle.streams import COMPILED

MANY = 300_000 if COMPILED else 12_000
WORDS = ("a", "b", "c", "d")


def block(n: int, *, seed: int = 1) -> Block:
    """Rows of a normal, a dependent, a zero-inflated and a mixed column, categories and a boolean."""
    rng = np.random.default_rng(seed)
    walk = np.convolve(rng.normal(size=n + 19), np.ones(20), "valid")
    late = np.where(np.arange(n) < n // 2, rng.integers(0, 3, n), rng.integers(0, 4, n))
    columns = {
        "normal": (rng.normal(size=n), Tag.NUMBER, ()),
        "walk": (walk, Tag.NUMBER, ()),
        "zeros": (np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n)), Tag.NUMBER, ()),
        "gaps": (rng.normal(size=n), Tag.NUMBER, ()),
        "word": (late.astype(np.float64), Tag.STRING, WORDS),
        "flag": (rng.integers(0, 2, n).astype(np.float64), Tag.BOOL, ()),
    }
    tags = np.repeat(np.array([[c[1]] for c in columns.values()], dtype=np.uint8), n, axis=1)
    tags[3, rng.random(n) < 0.1] = Tag.NULL
    tags[3, rng.random(n) < 0.02] = Tag.STRING
    values = np.array([c[0] for c in columns.values()])
    values[3, tags[3] == Tag.NULL] = np.nan
    values[3, tags[3] == Tag.STRING] = 0.0
    named = [Column(ColumnKind.FEATURE, name, c[2] or ("n/a",)) for name, c in columns.items()]
    times = np.arange(n, dtype=np.int64) * 1_000
    nothing = np.zeros(n, dtype=np.int32)
    return Block(
        "m", tuple(named), tags, values, times, times, nothing, np.arange(n), nothing - 1, (),
        np.zeros(n, dtype=np.uint64),
    )  # fmt: skip


def pieces(whole: Block, cuts: Sequence[int]) -> list[list[Block]]:
    """The rows of a block in batches, others' rows between them."""
    parts = np.split(np.arange(len(whole)), cuts)
    return [[replace(take_rows(whole, part), model="other"), take_rows(whole, part)] for part in parts]


def exact(whole: Block) -> Reference:
    """As from rows held in memory."""
    rows = BaselineRows("m")
    rows.add([whole])
    return rows.reference(time_ordered=True)


def test_few_rows_are_exact() -> None:
    """Up to the limit the result is that of the exact build, bit for bit, read once."""
    whole = block(baseline.EXACT_ROWS_MAX)
    read: list[str] = []

    def source(label: str) -> Iterator[Sequence[Block]]:
        read.append(label)
        yield from pieces(whole, range(7_000, len(whole), 7_000))

    assert build_baseline("m", source, time_ordered=True) == exact(whole)
    assert read == ["reading"]


def test_many_rows_are_within_the_error_of_the_sketch() -> None:
    """Many rows: counts are exact, ranks within the published error, the statistics of channels follow."""
    whole = block(MANY)
    batches = pieces(whole, range(20_000, len(whole), 20_000))
    made = build_baseline("m", lambda _: batches, time_ordered=True, exact_rows=MANY // 6)
    assert made is not None
    right = exact(whole)
    assert from_json(to_json(made)) == made
    assert replace(made, signals=()) == replace(right, signals=())
    bound = 2.0 * rank_error(K)
    for got, want in zip(made.signals, right.signals, strict=True):
        assert (got.name, got.tag, got.missing, got.categorical) == (
            want.name, want.tag, want.missing, want.categorical
        )  # fmt: skip
        if got.numeric is not None and want.numeric is not None:
            x = np.array(want.numeric.knots)
            assert np.abs(mid_pit(got.numeric, x) - mid_pit(want.numeric, x)).max() < bound + 1 / 255
            assert (got.numeric.knots[0], got.numeric.knots[-1]) == (x[0], x[-1])
            assert got.numeric.atom == want.numeric.atom
            assert got.numeric.sd == pytest.approx(want.numeric.sd)
        assert got.bins is not None
        assert want.bins is not None
        assert sum(got.bins.counts) == sum(want.bins.counts)
        apart = np.cumsum(got.bins.counts) - np.cumsum(want.bins.counts)
        assert np.abs(apart).max() < bound * sum(want.bins.counts)
        assert got.bins.design == pytest.approx(want.bins.design, rel=0.05)
        for mine, theirs in zip(got.channels, want.channels, strict=True):
            assert (mine.name, mine.binary) == (theirs.name, theirs.binary)
            assert mine.n == pytest.approx(theirs.n, rel=0.05 if mine.name == "range" else 0.0)
            loose = {"location": bound, "spread": bound, "range": 0.01}.get(mine.name, 1e-9)
            assert mine.mean == pytest.approx(theirs.mean, abs=loose)
            assert mine.sd == pytest.approx(theirs.sd, abs=loose)
            assert mine.tau == pytest.approx(theirs.tau, rel=0.05)
            near = 0.01 if mine.name == "range" else 1e-9  # its half is that of the rows, not of the values
            assert mine.block_sds == pytest.approx(theirs.block_sds, rel=0.02, abs=near)
            assert mine.theta_up == pytest.approx(theirs.theta_up, rel=0.02)
            assert mine.theta_down == pytest.approx(theirs.theta_down, rel=0.02)


def test_pieces_change_nothing() -> None:
    """Whatever the batches, the same reference to the bit."""
    whole = block(9_001)
    some = [
        build_baseline("m", lambda _, cuts=cuts: pieces(whole, cuts), time_ordered=False, exact_rows=1_000)  # type: ignore[misc]
        for cuts in ([], [1, 4_499, 4_500, 4_501, 9_000], range(100, 9_001, 100))
    ]
    assert some[0] is not None
    assert some[0] == some[1] == some[2]
    assert not some[0].time_ordered


def test_rows_out_of_order_are_sorted_while_they_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """In memory, exactly; beyond it the first such row and the time's name are in the message."""
    whole = block(3_000)
    order: I64 = np.r_[0:1_000, 2_000:3_000, 1_000:2_000]
    shuffled = take_rows(whole, order)
    build = partial(build_baseline, "m", lambda _: [[shuffled]], time_ordered=True, exact_rows=1_000)
    assert build() == exact(whole)
    monkeypatch.setattr(baseline, "SORTED_CELLS_MAX", 17_999)
    with pytest.raises(OperatorError, match=r"row 2,000 of m .* Sort the file by column ts"):
        build(time_name="column ts")


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_changes_is_refused(change: int) -> None:
    """More or fewer rows at the second reading: nothing is frozen."""
    whole = block(3_001)
    first, second = take_rows(whole, np.arange(3_000)), take_rows(whole, np.arange(3_000 + change))
    batches = iter([[[first]], [[second]]])
    with pytest.raises(MessageError, match="3,000 rows were read at first, then"):
        build_baseline("m", lambda _: next(batches), time_ordered=True, exact_rows=1_000)


def test_too_many_categories_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column of identifiers: the frequent ones stay, unseen is not watched."""
    monkeypatch.setattr("driftline.detect.measure.NAMES_MAX", 1_000)
    n = 8_000
    names = tuple(f"id{i}" for i in range(n))
    base = block(n)
    codes = np.where(np.arange(n) % 4 == 0, 0, np.arange(n)).astype(np.float64)
    ids = replace(
        base,
        columns=(Column(ColumnKind.FEATURE, "id", names),),
        tags=np.full((1, n), Tag.STRING, dtype=np.uint8),
        values=codes[None, :],
    )
    made = build_baseline("m", lambda _: [[ids]], time_ordered=True, exact_rows=1_000)
    assert made is not None
    table = made.signals[0].categorical
    assert table is not None
    assert (table.categories[0], table.counts[0], table.seen_complete) == ("id0", 1_000, False)
    assert len(table.categories) <= 1_000 + 2_048


def test_no_rows_and_no_values() -> None:
    """None of the model: None. Columns that are always null: refused."""
    assert build_baseline("x", lambda _: [[block(600)]], time_ordered=True) is None
    empty = block(3_000)
    empty.tags[:] = Tag.NULL
    with pytest.raises(MessageError, match="no column has a value"):
        build_baseline("m", lambda _: [[empty]], time_ordered=True, exact_rows=1_000)
