"""Quantiles for others: Apache DataSketches' own library reads what we write."""

from __future__ import annotations

import datasketches
import numpy as np
import pytest

from driftline.detect.datasketches import of_signal, serialize, values_of
from driftline.detect.quantiles import K, Kll, rank_error
from driftline.detect.reference import RawColumn, signal_reference
from driftline.records import F64, ColumnKind, Tag

RANKS = np.linspace(0.001, 0.999, 333)


def ranks_of(x: F64, found: F64) -> F64:
    """Distance of each wanted rank from the ranks that a value has in x; 0 within a run of equal ones."""
    ordered = np.sort(x)
    low, high = (np.searchsorted(ordered, found, side) / len(x) for side in ("left", "right"))
    return np.asarray(np.maximum(np.maximum(low - RANKS, RANKS - high), 0.0))


def columns(n: int) -> dict[str, F64]:
    """Shapes that a baseline has to hold."""
    rng = np.random.default_rng(n)
    return {
        "normal": rng.normal(size=n),
        "skewed": np.exp(2.0 * rng.normal(size=n)),
        "whole": rng.poisson(3.0, n).astype(np.float64),
        "zeros": np.where(rng.random(n) < 0.7, 0.0, rng.normal(size=n)),
        "nearly constant": np.where(np.arange(n) < 5, np.arange(n), 9.0),
        "constant": np.full(n, 2.5),
    }


@pytest.mark.parametrize("n", [500, 2_048, 2_049, 4_095, 30_000])
@pytest.mark.parametrize("name", columns(5))
def test_datasketches_reads_the_quantiles_of_a_baseline(name: str, n: int) -> None:
    """Count, ends, and ranks within the sketch's 1 / k and the baseline's distance of two knots."""
    x = columns(n)[name]
    signal = signal_reference(RawColumn(ColumnKind.FEATURE, "x", np.full(n, Tag.NUMBER, np.uint8), x, ()))
    assert signal is not None
    data = of_signal(signal)
    assert data is not None
    sketch = datasketches.kll_doubles_sketch.deserialize(data)
    assert (sketch.n, sketch.k, values_of(signal)) == (n, K, n)
    assert (sketch.get_min_value(), sketch.get_max_value()) == (x.min(), x.max())
    found = np.array(sketch.get_quantiles(RANKS.tolist()))
    assert ranks_of(x, found).max() <= 1.0 / K + 1.0 / 255 + 1.0 / n
    assert data == of_signal(signal)


@pytest.mark.parametrize("n", [2, 200, 100_000])
def test_our_own_sketch_is_one_of_theirs(n: int) -> None:
    """Item for item: count, ranks within the published error, and it can be merged with theirs."""
    x = np.random.default_rng(n).normal(size=n)
    ours = Kll()
    ours.add(x)
    sketch = datasketches.kll_doubles_sketch.deserialize(
        serialize(ours.levels(), float(x.min()), float(x.max()))
    )
    assert (sketch.n, sketch.num_retained) == (n, sum(map(len, ours.levels())))
    found = np.array(sketch.get_quantiles(RANKS.tolist()))
    assert ranks_of(x, found).max() <= rank_error(K) + 1.0 / n
    assert rank_error(K) == pytest.approx(sketch.normalized_rank_error(False), rel=0.01)
    theirs = datasketches.kll_doubles_sketch(K)
    theirs.update(x + 100.0)
    theirs.merge(sketch)
    assert theirs.n == 2 * n
    assert theirs.get_rank(50.0) == pytest.approx(0.5, abs=2.0 * rank_error(K))


def test_what_has_no_quantiles_has_no_sketch() -> None:
    """Text; and the format of fewer than two values is another one."""
    tags = np.full(600, Tag.STRING, np.uint8)
    text = signal_reference(RawColumn(ColumnKind.FEATURE, "x", tags, np.zeros(600), ("a",)))
    assert text is not None
    assert of_signal(text) is None
    with pytest.raises(ValueError, match="1 values"):
        serialize([np.zeros(1)], 0.0, 0.0)
