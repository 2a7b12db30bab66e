"""Windows: statistics against scipy on the bins and on the raw values, the test of the shape, its budget."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from driftline.detect import kernels
from driftline.detect.bins import bin_reference, category_bins, cells_of, numeric_bins, numeric_groups
from driftline.detect.kernels import windows as columns
from driftline.detect.reference import RawColumn, SignalReference, mid_pit, signal_reference
from driftline.detect.windows import Bins, Window, judge, named, noncentral_level
from driftline.records import F64, I64, ColumnKind, Tag

Draw = Callable[[np.random.Generator, int], F64]
NUMERIC: dict[str, Draw] = {
    "normal": lambda g, n: g.normal(size=n),
    "lognormal": lambda g, n: np.exp(1.5 * g.normal(size=n)),
    "cauchy": lambda g, n: g.standard_cauchy(size=n),
    "poisson": lambda g, n: g.poisson(3, size=n).astype(np.float64),
    "zero-inflated": lambda g, n: np.where(g.random(n) < 0.6, 0.0, g.exponential(size=n)),
    "uniform": lambda g, n: g.random(n),
    "bimodal": lambda g, n: g.normal(size=n) + 6.0 * (g.random(n) < 0.5),
}


def signal(values: F64, tag: Tag = Tag.NUMBER, strings: tuple[str, ...] = ()) -> SignalReference:
    """A frozen feature."""
    made = signal_reference(
        RawColumn(ColumnKind.FEATURE, "x", np.full(len(values), tag, dtype=np.uint8), values, strings)
    )
    assert made is not None
    return made


def binned(reference: SignalReference, values: F64) -> I64:
    """Counts of a numeric signal's values by bin."""
    assert reference.numeric is not None
    assert reference.bins is not None
    atom = None if reference.numeric.atom is None else values == reference.numeric.atom
    placed = numeric_bins(mid_pit(reference.numeric, values), atom)
    return np.bincount(placed, minlength=len(reference.bins.counts))


def compared(reference: SignalReference, counts: I64) -> dict[str, float]:
    """Statistics by name."""
    found = named(Bins([reference]).statistics(counts)[0])
    return {name: float("nan") if value is None else value for name, value in found.items()}


def test_cells_without_reference_rows_join_their_neighbours() -> None:
    """Before or, at the start, after; the numbers are dense."""
    assert cells_of([0, 3, 0, 0, 2, 1], range(6)).tolist() == [0, 0, 0, 0, 1, 2]
    assert cells_of([0, 0], range(2)).tolist() == [0, 0]
    assert numeric_groups(101)[::10] == list(range(11))


@pytest.mark.parametrize("seed", range(5))
def test_statistics_equal_scipy_on_the_cells(seed: int) -> None:
    """Jensen-Shannon, chi-squared, G and the textbook formulas of the others, empty cells included."""
    rng = np.random.default_rng(seed)
    reference = signal(rng.choice(12, 4_000, p=rng.dirichlet(np.ones(12))).astype(float), Tag.STRING,
                       tuple("abcdefghijkl"))  # fmt: skip
    assert reference.bins is not None
    was = np.array(reference.bins.counts)
    now = rng.multinomial(3_000, rng.dirichlet(np.ones(len(was))))
    now[1] = 0
    found = compared(reference, now)
    cells = cells_of(was, range(len(was)))
    c, r = (np.bincount(cells, weights=part).astype(float) for part in (now, was))
    p, q = c / c.sum(), r / r.sum()
    table = np.array([c, r])
    assert found["jensen_shannon_distance"] == pytest.approx(jensenshannon(p, q, base=2), rel=1e-9)
    assert found["chi_squared"] == pytest.approx(stats.chi2_contingency(table, correction=False)[0], rel=1e-9)
    g = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")[0]
    assert found["g"] == pytest.approx(g, rel=1e-9)
    assert found["degrees_of_freedom"] == len(c) - 1
    assert found["hellinger_distance"] == pytest.approx(np.sqrt(0.5 * ((np.sqrt(p) - np.sqrt(q)) ** 2).sum()))
    assert found["l_infinity_distance"] == pytest.approx(np.abs(p - q).max())
    ps = np.maximum(c, 0.5) / c.sum()
    assert found["psi"] == pytest.approx(((ps - q) * np.log(ps / q)).sum())
    assert np.isnan(found["ks_distance"])


@pytest.mark.parametrize("change", ["none", "shift", "stretch"])
@pytest.mark.parametrize("name", NUMERIC)
def test_ordered_statistics_equal_scipy_on_the_raw_values(name: str, change: str) -> None:
    """Within the error of the bins: their largest share for KS, share times extent for Wasserstein."""
    rng = np.random.default_rng(len(name))
    known, live = NUMERIC[name](rng, 5_000), NUMERIC[name](rng, 8_000)
    scale = np.subtract(*np.quantile(known, [0.75, 0.25]))
    live = live + scale / 2 if change == "shift" else live * 1.5 if change == "stretch" else live
    reference = signal(known)
    assert reference.numeric is not None
    counts = binned(reference, live)
    found = compared(reference, counts)
    assert found["rows"] == 8_000

    bins = Bins([reference])
    p, q = counts / counts.sum(), bins.counts / bins.counts.sum()
    values = np.concatenate([known, live])
    place = binned_places(reference, values)
    mixed = [k for k in range(len(p)) if len(np.unique(values[place == k])) > 1]  # not a single value
    error = float(np.maximum(p, q)[mixed].max(initial=0.0))
    raw = stats.ks_2samp(known, live, method="asymp").statistic
    assert found["ks_distance"] == pytest.approx(raw, abs=error + 1e-9)

    low, high = reference.numeric.knots[0], reference.numeric.knots[-1]
    if reference.numeric.atom is not None:
        low, high = min(low, reference.numeric.atom), max(high, reference.numeric.atom)
    inside = np.clip(live, low, high)
    error = float((np.maximum(p, q) * bins.width).sum())
    raw = stats.wasserstein_distance(known, inside) / reference.numeric.sd
    assert found["wasserstein_distance"] == pytest.approx(raw, abs=error + 1e-9)


def binned_places(reference: SignalReference, values: F64) -> I64:
    """Bin of each value."""
    assert reference.numeric is not None
    atom = None if reference.numeric.atom is None else values == reference.numeric.atom
    return numeric_bins(mid_pit(reference.numeric, values), atom)


@pytest.mark.parametrize("name", NUMERIC)
def test_the_kernel_counts_as_numpy_does(name: str) -> None:
    """Through the channels of the engine, with missing values, whatever the cuts."""
    rng = np.random.default_rng(3)
    reference = signal(NUMERIC[name](rng, 2_000))
    assert reference.numeric is not None
    x = NUMERIC[name](rng, 600)
    x[::7] = np.nan
    first = np.isnan(x).astype(float)
    u = mid_pit(reference.numeric, np.nan_to_num(x))
    u[np.isnan(x) | (x == (np.nan if reference.numeric.atom is None else reference.numeric.atom))] = np.nan
    y = (
        [first]
        if reference.numeric.atom is None
        else [first, np.where(np.isnan(x), np.nan, x == reference.numeric.atom)]
    )
    specs = np.zeros(1, kernels.SIGNAL_SPEC)
    specs[0]["has_location"], specs[0]["has_atom"] = 1, reference.numeric.atom is not None
    window, bins = Window.new(Bins([reference])), Bins([reference])
    channels = np.array([*y, u])
    for lo, hi in pairwise([0, 1, 64, 300, 600]):
        kernels.count_window(channels, x[None, :], lo, hi, specs, bins.start, window.counts, window.missing)
    present = x[~np.isnan(x)]
    assert window.counts.tolist() == binned(reference, present).tolist()
    assert window.missing.tolist() == [len(x) - len(present)]


def test_categories_beyond_the_bins_share_the_last() -> None:
    """Also codes that the reference never had."""
    assert category_bins(np.array([0, 5, -1, 30, 31, 90]), 40).tolist() == [0, 5, 31, 30, 31, 31]
    specs = np.zeros(1, kernels.SIGNAL_SPEC)
    specs[0]["kind"], specs[0]["n_channels"] = 1, 3
    counts, missing = np.zeros(4, dtype=np.int64), np.zeros(1, dtype=np.int64)
    y = np.array([[0.0] * 6, [0, 0, 0, 0, 0, 1], [0.0] * 6])
    x = np.array([[0.0, 2.0, 3.0, 99.0, 0.0, np.nan]])
    kernels.count_window(y, x, 0, 6, specs, np.array([0, 4]), counts, missing)
    assert counts.tolist() == [2, 0, 1, 2]
    assert missing.tolist() == [1]


@pytest.mark.parametrize("df", [1.0, 9.0, 31.0])
@pytest.mark.parametrize("shift", [0.0, 1.0, 20.0])
def test_levels_are_those_of_the_non_central_chi_squared(df: float, shift: float) -> None:
    """Patnaik's approximation is up to 15 % too high down to a chance of one in a million: too few alarms."""
    for alpha in (0.05, 1e-3, 1e-6):
        exact = stats.ncx2.isf(alpha, df, shift) if shift else stats.chi2.isf(alpha, df)
        got = noncentral_level(np.array([alpha]), np.array([df]), np.array([shift]))[0]
        assert 0.98 * exact <= got <= 1.15 * exact


def test_dependent_rows_have_a_design_effect() -> None:
    """Runs of 20 equal values inflate the statistic 20-fold, independent rows not at all."""
    rng = np.random.default_rng(1)
    cells = rng.integers(0, 10, 20_000)
    assert bin_reference(cells, 10, range(10)).design == pytest.approx(1.0, abs=0.15)
    runs = np.repeat(cells[:1_000], 20)
    assert bin_reference(runs, 10, range(10)).design == pytest.approx(18.0, abs=4.0)


@pytest.mark.parametrize("rows", [500, 20_000])
@pytest.mark.parametrize("name", [*NUMERIC, "long tail"])
def test_a_window_like_the_reference_is_like_it(name: str, rows: int) -> None:
    """At a level of 1 %: of 400 windows under 20 fresh references at most 8 exceed it."""
    fired = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        if name == "long tail":
            known, live = (np.minimum(rng.zipf(1.5, size=n), 999) - 1.0 for n in (rows, 80_000))
            reference = signal(known, Tag.STRING, tuple(map(str, range(999))))
            assert reference.categorical is not None
            table = {int(c): i for i, c in enumerate(reference.categorical.categories)}
            codes = np.array([table.get(i, -1) for i in range(999)])[live.astype(np.int64)]
            places = category_bins(codes, reference.categorical.kept)
        else:
            known, live = NUMERIC[name](rng, rows), NUMERIC[name](rng, 80_000)
            reference = signal(known)
            places = binned_places(reference, live)
        bins = Bins([reference])
        for part in places.reshape(20, 4_000):
            counts = np.bincount(part, minlength=len(bins))
            verdict = judge(
                bins.statistics(counts), bins.rows(), bins.design, bins.wander, np.array([4e5]), 0.05, 4_000
            )
            fired += bool(verdict.statistic[0] >= verdict.level[0])
    assert fired <= 8


def test_p_values_are_those_of_scipy() -> None:
    """Of a discrete sample they are too large, never too small."""
    rng = np.random.default_rng(2)
    known, live = rng.normal(size=5_000), rng.normal(0.06, 1, 8_000)
    reference = signal(known)
    bins = Bins([reference])
    found = bins.statistics(binned(reference, live))
    verdict = judge(found, bins.rows(), np.ones(1), np.zeros(1), np.array([1e6]), 0.05, 8_000)
    df, chi2 = found[0, columns.DF], found[0, columns.CHI2]
    assert verdict.chi2_p[0] == pytest.approx(stats.chi2.sf(chi2, df))
    exact = stats.ks_2samp(known, live, method="asymp").pvalue
    assert exact * 0.9 <= verdict.ks_p[0] <= exact * 12


def test_a_window_with_few_rows_is_not_judged() -> None:
    """Nothing to say of a signal that is nearly always missing."""
    reference = signal(np.random.default_rng(4).normal(size=1_000))
    bins = Bins([reference])
    verdict = judge(
        bins.statistics(np.full(100, 0)), bins.rows(), bins.design, bins.wander, np.array([1e6]), 0.05, 8_000
    )
    assert np.isnan(verdict.statistic[0])
    assert not verdict.statistic[0] >= verdict.level[0]
