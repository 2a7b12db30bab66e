"""Synthetic streams whose truth is known: nulls, on which every alarm is false, and changes.

A stream is a name and a pure function of (random generator, rows of the reference, rows): the same name and
run give the same values wherever NumPy is the same. Shifts are in standard deviations of the reference.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from scipy.signal import lfilter
from scipy.special import ndtri

from driftline.records import F64
from quality.score import Change

Rng = np.random.Generator
Cells = Mapping[str, F64 | list[str | None]]
Draw = Callable[[Rng, int, int], tuple[Cells, Cells]]
Law = Callable[[Rng, int], F64]
Names = Callable[[Rng, int], list[str | None]]
Shape = Callable[[int], F64 | float]  # what a change of a length adds, or how much of it there is
Changes = tuple[Change, ...]
Promise = tuple[float, float] | None

SEED: Final = 20_261
LEAD: Final = 20_000  # rows before the first change
SPAN: Final = 20_000  # rows of a change, and of the calm after it
DAY_ROWS: Final = 20_000
LONG_SPAN: Final = 100_000  # where a change takes 10,000 rows to see, or its episode 20,000 to resolve
SIZES: Final = (500, 5_000, 50_000)  # of references under a null: each is judged by itself
ONE: Final = (0.9, 1.2)  # episodes a change, of those that must be seen once
UNNOTICED: Final = (0.0, 0.05)  # for what is too short to be told: one in 20, as the acceptance tests allow


@dataclass(frozen=True, slots=True)
class Stream:
    """``episodes`` is what is promised of a change; None promises nothing and is printed all the same."""

    name: str
    draw: Draw
    rows: int  # a run; of a null, at most
    references: tuple[int, ...] = (20_000,)  # rows; run k takes the k-th, round and round
    changes: Changes = ()
    episodes: Promise = None
    ordered: bool = True  # False: the reference is shuffled, and the model warms up on live rows
    indicator: bool = False  # the peers are given "is missing" instead of the value
    binary: bool = False  # values are 0 and 1, so that DDM can watch them
    season: bool = False  # the option season: daily; rows come DAY_ROWS a day
    labelled: bool = False  # values are a model's errors on labelled events: errors.py

    def sample(self, run: int, rows: int) -> tuple[Cells, Cells]:
        """Reference and live rows of a run."""
        rng = np.random.default_rng([SEED, zlib.crc32(self.name.encode()), run])
        return self.draw(rng, self.references[run % len(self.references)], rows)


# --- laws --------------------------------------------------------------------------------------------------


def normal(rng: Rng, n: int) -> F64:
    """Standard normal."""
    return rng.normal(size=n)


def autoregressive(phi: float) -> Law:
    """AR(1) with standard normal innovations."""
    return lambda rng, n: np.asarray(lfilter([1.0], [1.0, -phi], rng.normal(size=n + 500))[500:])


def bernoulli(p: float) -> Law:
    """0 and 1."""
    return lambda rng, n: (rng.random(n) < p).astype(np.float64)


def daily(period: int) -> Law:
    """A sine of amplitude 1 with standard normal noise."""
    return lambda rng, n: np.sin(np.arange(n) * (2 * np.pi / period)) + rng.normal(size=n)


def categories(weight: F64) -> Names:
    """Category names c0, c1 ... with these relative frequencies."""
    return lambda rng, n: [f"c{c}" for c in rng.choice(len(weight), n, p=weight / weight.sum())]


TWELVE: Final = 1.0 / np.arange(1, 13)
SWAPPED: Final = TWELVE[[3, 1, 2, 0, *range(4, 12)]]  # the first, 32 %, and the fourth, 8 %, change places
LONG_TAIL: Final = 1.0 / np.arange(1, 3_001)

LAWS: Final[Mapping[str, Law]] = {
    "normal": normal,
    "lognormal": lambda rng, n: np.exp(1.5 * rng.normal(size=n)),
    "t2": lambda rng, n: rng.standard_t(2, size=n),
    "Cauchy": lambda rng, n: rng.standard_cauchy(size=n),
    "Poisson 3": lambda rng, n: rng.poisson(3, size=n).astype(np.float64),
    "rounded to halves": lambda rng, n: np.round(rng.normal(size=n) * 2) / 2,
    "zeros 90 %": lambda rng, n: np.where(rng.random(n) < 0.9, 0.0, rng.exponential(size=n)),
    "Bernoulli .1": bernoulli(0.1),
    "constant": lambda rng, n: np.ones(n),
    "AR .5": autoregressive(0.5),
    "AR .9": autoregressive(0.9),
}


# --- nulls -------------------------------------------------------------------------------------------------


def same(law: Law | Names) -> Draw:
    """Live rows from the law of the reference."""
    return lambda rng, n, rows: ({"x": law(rng, n)}, {"x": law(rng, rows)})


def _shuffled(rng: Rng, n: int, rows: int) -> tuple[Cells, Cells]:
    law = LAWS["AR .9"]
    return {"x": rng.permutation(law(rng, n))}, {"x": law(rng, rows)}


def _cycle(period: int) -> Draw:
    def draw(rng: Rng, n: int, rows: int) -> tuple[Cells, Cells]:
        x = daily(period)(rng, n + rows)
        return {"x": x[:n]}, {"x": x[n:]}

    return draw


def _forty(correlation: float) -> Draw:
    def columns(rng: Rng, n: int) -> Cells:
        common = np.sqrt(correlation) * rng.normal(size=n)
        own = np.sqrt(1.0 - correlation)
        return {f"x{i:02d}": common + own * rng.normal(size=n) for i in range(40)}

    return lambda rng, n, rows: (columns(rng, n), columns(rng, rows))


def _tolerated(shift: float) -> Draw:
    return lambda rng, n, rows: ({"x": normal(rng, n)}, {"x": normal(rng, rows) + shift})


def _missing(before: float, after: float, changes: Changes = ()) -> Draw:
    def cells(rng: Rng, n: int, spans: Changes) -> Cells:
        x, p = normal(rng, n), np.full(n, before)
        for change in spans:
            p[change.start : change.end] = after
        x[rng.random(n) < p] = np.nan
        return {"x": x}

    return lambda rng, n, rows: (cells(rng, n, ()), cells(rng, rows, changes))


def nulls() -> list[Stream]:
    """Streams without a change, each of which has to keep the budget."""
    million = 1_000_000
    out = [
        Stream(name, same(law), million, SIZES, binary=name == "Bernoulli .1") for name, law in LAWS.items()
    ]
    return [
        *out,
        Stream("AR .9, reference shuffled", _shuffled, million, SIZES, ordered=False),
        Stream("daily cycle of 2,000 rows, 10 in the reference", _cycle(2_000), million),
        Stream("daily cycle of 20,000 rows, 10 in the reference", _cycle(DAY_ROWS), million, (200_000,)),
        Stream("the same, season: daily", _cycle(DAY_ROWS), million, (200_000,), season=True),
        Stream("long-tail categories", same(categories(LONG_TAIL)), 200_000, SIZES),
        Stream("40 features, independent", _forty(0.0), 100_000),
        Stream("40 features, correlated .95", _forty(0.95), 100_000),
        Stream("shift of .04 sd, tolerated", _tolerated(0.04), million, (100_000,)),
        Stream("missing 1e-4, none in the reference", _missing(0.0, 1e-4, (Change(0, million),)), million,
               (5_000,), indicator=True),
    ]  # fmt: skip


# --- changes -----------------------------------------------------------------------------------------------


def every(count: int, length: int, period: int = 2 * SPAN) -> Changes:
    """Changes of a length, one a period."""
    return tuple(Change(LEAD + i * period, LEAD + i * period + length) for i in range(count))


def rows_of(changes: Changes) -> int:
    """Rows of a run: calm after the last change for as long as it lasted, and for SPAN at least."""
    last = changes[-1]
    return last.end + max(SPAN, last.end - last.start)


def _additive(law: Law, shape: Shape, changes: Changes) -> Draw:
    """The law, plus ``shape(length)`` within every change."""

    def draw(rng: Rng, n: int, rows: int) -> tuple[Cells, Cells]:
        reference, x = law(rng, n), law(rng, rows)
        for change in changes:
            x[change.start : change.end] += shape(change.end - change.start) * float(np.std(reference))
        return {"x": reference}, {"x": x}

    return draw


def replaced_law(before: Law | Names, after: Law | Names, changes: Changes) -> Draw:
    """One law, and another within every change."""

    def draw(rng: Rng, n: int, rows: int) -> tuple[Cells, Cells]:
        x: Any = before(rng, rows)
        for change in changes:
            x[change.start : change.end] = after(rng, change.end - change.start)
        return {"x": before(rng, n)}, {"x": x}

    return draw


def ramp(height: float) -> Callable[[int], F64]:
    """Up to a height within the first half of a change, and there for the second."""
    return lambda n: np.minimum(np.arange(n) / (n / 2), 1.0) * height


def flat(height: float) -> Callable[[int], float]:
    """The same height all through a change."""
    return lambda n: height


def two_humps(rng: Rng, n: int) -> F64:
    """Another shape, the same mean of u and of |2u - 1|: u in .15-.35 or .65-.85, of the standard normal."""
    u = rng.uniform(0.15, 0.35, n) + np.where(rng.random(n) < 0.5, 0.0, 0.5)
    return np.asarray(ndtri(u))


def _unseen(shape: Shape, changes: Changes) -> Draw:
    """A category that the reference does not know, with the share ``shape(length)`` within every change."""
    known = categories(TWELVE)

    def draw(rng: Rng, n: int, rows: int) -> tuple[Cells, Cells]:
        x = known(rng, rows)
        p = np.zeros(rows)
        for change in changes:
            p[change.start : change.end] = shape(change.end - change.start)
        for i in np.flatnonzero(rng.random(rows) < p).tolist():
            x[i] = "new"
        return {"x": known(rng, n)}, {"x": x}

    return draw


def changing() -> list[Stream]:
    """Streams with true changes."""
    once, five, long = every(1, SPAN), every(5, SPAN), every(5, LONG_SPAN, 2 * LONG_SPAN)
    rows, swap = rows_of(once), replaced_law(categories(TWELVE), categories(SWAPPED), once)

    def added(
        name: str, shape: Shape, changes: Changes, episodes: Promise = None, law: Law = normal
    ) -> Stream:
        draw = _additive(law, shape, changes)
        return Stream(name, draw, rows_of(changes), changes=changes, episodes=episodes)

    def replaced(
        name: str,
        before: Law,
        after: Law,
        changes: Changes,
        episodes: Promise = None,
        *,
        binary: bool = False,
    ) -> Stream:
        draw = replaced_law(before, after, changes)
        return Stream(name, draw, rows_of(changes), changes=changes, episodes=episodes, binary=binary)

    out = [
        added("abrupt 0.2 sd", flat(0.2), once),
        added("abrupt 0.5 sd", flat(0.5), once, ONE),
        added("abrupt 1 sd", flat(1.0), once, ONE),
        added("abrupt 2 sd", flat(2.0), once, ONE),
        added("gradual, to 1 sd in 10,000", ramp(1.0), once, ONE),
        added("gradual, to .2 sd in 10,000", ramp(0.2), once),
        added("recurring 1 sd, 5 times", flat(1.0), five, ONE),
        added("recurring .5 sd, 5 times", flat(0.5), five, ONE),
        added("recurring .3 sd, 5 times", flat(0.3), five, ONE),
        added("recurring 1 sd, 5 times 100,000, on AR .9", flat(1.0), long, law=LAWS["AR .9"]),
        added("blips of 10 at 2 sd, 20 times", flat(2.0), every(20, 10, SPAN), UNNOTICED),
        added("blips of 30 at 2 sd, 20 times", flat(2.0), every(20, 30, SPAN), UNNOTICED),
        added("blips of 200 at 2 sd, 20 times", flat(2.0), every(20, 200, SPAN), ONE),
        replaced("spread x 2", normal, lambda rng, n: 2.0 * normal(rng, n), once, ONE),
        replaced("spread x 2, 5 times", normal, lambda rng, n: 2.0 * normal(rng, n), five, ONE),
        replaced("spread x 1.1, 5 times 100,000", normal, lambda rng, n: 1.1 * normal(rng, n), long, ONE),
        replaced("shape only, two humps", normal, two_humps, once, ONE),
        Stream("category swap, 32 % and 8 %", swap, rows, changes=once, episodes=ONE),
        Stream("unseen category, 5 %", _unseen(flat(0.05), once), rows, changes=once, episodes=ONE),
    ]
    days = every(1, LONG_SPAN)
    for size in (0.2, 1.0):
        draw, name = _additive(daily(DAY_ROWS), flat(size), days), f"{size:g} sd on days of 20,000 rows"
        out += [
            Stream(name, draw, rows_of(days), (200_000,), days),
            Stream(f"{name}, season: daily", draw, rows_of(days), (200_000,), days, ONE, season=True),
        ]
    slow = (Change(0, 300_000),)
    creeping = _unseen(lambda n: np.linspace(0.0, 0.008, n), slow)
    out += [
        Stream("unseen category, 0 to .8 % in 300,000", creeping, 300_000, (10_000,), slow, ONE),
        Stream(
            "missing 1 % to 10 %", _missing(0.01, 0.1, once), rows, changes=once, episodes=ONE, indicator=True
        ),
        replaced("0/1 rate .02 to .05", bernoulli(0.02), bernoulli(0.05), once, binary=True),
        replaced("0/1 rate .1 to .15", bernoulli(0.1), bernoulli(0.15), once, binary=True),
    ]
    return out
