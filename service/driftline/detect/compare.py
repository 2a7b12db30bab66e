"""Two references of a model against each other, and a reference as a histogram. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from driftline.detect.reference import NumericReference, Reference, SignalReference, mid_pit
from driftline.records import F64

CELLS: Final = 10  # deciles: the usual limits of PSI (0.1, 0.25) are made for them
SHARE_MIN: Final = 1e-4  # an empty cell counts as this: PSI has no value at 0
HISTOGRAM_TAIL: Final = 0.005  # of the rows at each end share the outermost column


@dataclass(frozen=True, slots=True)
class Difference:
    """A signal in two references; ``psi`` and ``shift`` (in reference sd) None where meaningless."""

    signal: str
    reference: SignalReference | None  # None: only the other has it
    other: SignalReference | None
    psi: float | None
    shift: float | None
    missing: tuple[float, float]  # shares


def quantile(numeric: NumericReference, at: F64) -> F64:
    """Values at ranks ``at`` by the knots: linear between, as ``mid_pit`` is."""
    u = np.array([numeric.below, numeric.upto]).T.ravel()
    return np.asarray(np.interp(at, u, np.repeat(numeric.knots, 2)), dtype=np.float64)


def cumulative(numeric: NumericReference, x: F64) -> F64:
    """Share of values up to x, by the knots."""
    knots = np.asarray(numeric.knots)
    at = np.searchsorted(knots, x, "right") - 1
    on = (at >= 0) & (knots[np.maximum(at, 0)] == x)
    return np.where(on, np.asarray(numeric.upto)[np.maximum(at, 0)], mid_pit(numeric, x))


def shares(signal: SignalReference) -> dict[str, float]:
    """Categories with their shares, most frequent first."""
    table = signal.categorical
    if table is None:
        return {}
    total = max(table.total, 1)
    return {name: n / total for name, n in zip(table.categories, table.counts, strict=True)}


def atom_share(signal: SignalReference) -> float:
    """Share of the atom among the values, 0.0 without one."""
    return next((c.mean for c in signal.channels if c.name.startswith("share[=")), 0.0)


def psi(expected: F64, actual: F64) -> float:
    """Population stability index of two rows of shares; empty cells count as SHARE_MIN."""
    e, a = np.maximum(expected, SHARE_MIN), np.maximum(actual, SHARE_MIN)
    return float(np.sum((a - e) * np.log(a / e)))


def histogram(numeric: NumericReference, bounds: F64) -> F64:
    """Shares of values in the cells between bounds; what lies outside counts to the outermost cells."""
    upto = cumulative(numeric, bounds)
    upto[0], upto[-1] = 0.0, 1.0
    return np.diff(upto)


def bounds_of(numerics: list[NumericReference], cells: int) -> F64:
    """Bounds of equal cells over what most values of all of them lie in."""
    ends = np.array([quantile(n, np.array([HISTOGRAM_TAIL, 1.0 - HISTOGRAM_TAIL])) for n in numerics])
    low, high = float(ends[:, 0].min()), float(ends[:, 1].max())
    return np.linspace(low, high if high > low else low + 1.0, cells + 1)


def differences(reference: Reference, other: Reference) -> list[Difference]:
    """All signals of both, the most different first; those that only one has come before."""
    mine, theirs = ({s.signal: s for s in r.signals} for r in (reference, other))
    found = [_difference(name, mine.get(name), theirs.get(name)) for name in {**mine, **theirs}]

    def rank(d: Difference) -> tuple[bool, float, float, str]:
        return (d.psi is not None, -(d.psi or 0.0), -abs(d.missing[1] - d.missing[0]), d.signal)

    return sorted(found, key=rank)


def _difference(name: str, a: SignalReference | None, b: SignalReference | None) -> Difference:
    missing = tuple(s.missing / max(s.rows, 1) if s else 0.0 for s in (a, b))
    found = Difference(name, a, b, None, None, (missing[0], missing[1]))
    if a is None or b is None or a.tag is not b.tag:
        return found
    if a.numeric is not None and b.numeric is not None:
        sd = a.numeric.sd
        shift = (b.numeric.mean - a.numeric.mean) / sd if sd > 0.0 else None
        return Difference(name, a, b, _numeric_psi(a, b), shift, found.missing)
    if a.categorical is not None and b.categorical is not None:
        kept = a.categorical.categories[: a.categorical.kept]
        rows = []
        for one in (shares(a), shares(b)):
            cells = [one.get(c, 0.0) for c in kept]
            rows.append(np.array([*cells, max(1.0 - sum(cells), 0.0)]))
        return Difference(name, a, b, psi(rows[0], rows[1]), None, found.missing)
    return found


def _numeric_psi(a: SignalReference, b: SignalReference) -> float:
    """Over the deciles of ``a`` without its atom, and the atom as a cell of its own."""
    assert a.numeric is not None  # the caller has looked
    assert b.numeric is not None
    bounds = np.unique(quantile(a.numeric, np.arange(CELLS + 1) / CELLS))
    if len(bounds) < 2:
        bounds = np.array([bounds[0], bounds[0] + 1.0])
    rows = []
    for s, numeric in ((a, a.numeric), (b, b.numeric)):
        atom = atom_share(s) if a.numeric.atom is not None and numeric.atom == a.numeric.atom else 0.0
        rows.append(np.array([*(histogram(numeric, bounds) * (1.0 - atom)), atom]))
    return psi(rows[0], rows[1])
