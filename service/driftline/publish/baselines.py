"""Baselines as text for a person: one by itself, and two against each other. Names in them are made safe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from driftline.decide.texts import duration, number, percent
from driftline.detect.compare import Difference, atom_share, bounds_of, differences, histogram, shares
from driftline.detect.reference import NumericReference, Reference, SignalReference
from driftline.publish.drawing import bar, columns, table
from driftline.publish.text import printable, rfc3339
from driftline.records import Tag

WIDTH: Final = 40
TOP: Final = 8
TYPES: Final = {Tag.NUMBER: "number", Tag.STRING: "text", Tag.BOOL: "boolean"}


def show_lines(reference: Reference, *, ascii_only: bool) -> Iterator[str]:
    """A baseline: where it is from, then each signal with its histogram."""
    yield from _head("baseline", reference)
    for signal in reference.signals:
        yield ""
        yield from _signal(signal, ascii_only=ascii_only)


def diff_lines(reference: Reference, other: Reference, *, ascii_only: bool) -> Iterator[str]:
    """Two baselines: a table ranked by PSI, then the histograms of reference (above) and other (below)."""
    yield from _head("reference", reference)
    yield from _head("other", other)
    found = differences(reference, other)
    yield ""
    yield from table([["signal", "PSI", "shift (sd)", "missing", "was"], *(_row(d) for d in found)])
    for d in found:
        yield ""
        yield from _pair(d, ascii_only=ascii_only)


def _head(label: str, reference: Reference) -> Iterator[str]:
    span = duration(reference.last_time - reference.first_time)
    rate = (
        f"{reference.rows_per_week:,.0f} rows a week" if reference.rows_per_week > 0.0 else "no usable times"
    )
    order = "all the traffic of its time" if reference.time_ordered else "dependence is read from live rows"
    yield (
        f"{label} {reference.id} of {printable(reference.model)}: {reference.rows:,} rows from "
        f"{rfc3339(reference.first_time)} on, {span}; {rate}; from a {reference.origin}, {order}"
    )


def _signal(signal: SignalReference, *, ascii_only: bool) -> Iterator[str]:
    tau = max(c.tau for c in signal.channels)
    yield (
        f"{printable(signal.signal)}  {TYPES[signal.tag]}, {signal.rows - signal.missing:,} values, "
        f"missing {percent(signal.missing / max(signal.rows, 1))}, tau {number(tau)}"
    )
    if signal.numeric is not None:
        yield from _numeric(signal.numeric, atom_share(signal), ascii_only=ascii_only)
    for name, share in list(shares(signal).items())[:TOP]:
        drawn = bar(share, WIDTH, ascii_only=ascii_only)
        yield f"  {drawn:<{WIDTH}}  {percent(share):>7}  {printable(name, 40)}"
    rest = len(shares(signal)) - TOP
    if rest > 0:
        yield f"  and {rest:,} more"


def _numeric(numeric: NumericReference, atom: float, *, ascii_only: bool) -> Iterator[str]:
    bounds = bounds_of([numeric], WIDTH)
    drawn = columns(histogram(numeric, bounds), ascii_only=ascii_only)
    yield f"  {number(float(bounds[0]))} |{drawn}| {number(float(bounds[-1]))}"
    named = zip((5, 25, 50, 75, 95), numeric.quantiles, strict=True)
    text = "  ".join(f"p{at} {number(q)}" for at, q in named)
    yield (
        f"  min {number(numeric.knots[0])}  {text}  max {number(numeric.knots[-1])}  "
        f"mean {number(numeric.mean)}  sd {number(numeric.sd)}"
    )
    if numeric.atom is not None:
        yield f"  {percent(atom)} of the values are {number(numeric.atom)}; the histogram is of the others"


def _row(d: Difference) -> list[str]:
    only = "only in other" if d.reference is None else "only in reference" if d.other is None else None
    shift = "" if d.shift is None else f"{d.shift:+.2f}"
    value = only or (f"{d.psi:.4f}" if d.psi is not None else "other type")
    return [printable(d.signal, 40), value, shift, percent(d.missing[1]), percent(d.missing[0])]


def _pair(d: Difference, *, ascii_only: bool) -> Iterator[str]:
    a, b = d.reference, d.other
    if a is None or b is None or a.tag is not b.tag:
        for one in (a, b):
            yield from _signal(one, ascii_only=ascii_only) if one is not None else ()
        return
    yield printable(d.signal)
    if a.numeric is not None and b.numeric is not None:
        bounds = bounds_of([a.numeric, b.numeric], WIDTH)
        for label, numeric in (("reference", a.numeric), ("other", b.numeric)):
            drawn = columns(histogram(numeric, bounds), ascii_only=ascii_only)
            yield f"  {label:<9} |{drawn}| median {number(numeric.quantiles[2])}"
        yield f"  {number(float(bounds[0]))} to {number(float(bounds[-1]))}"
        return
    was, now = shares(a), shares(b)
    moved = sorted({**was, **now}, key=lambda c: (-abs(now.get(c, 0.0) - was.get(c, 0.0)), c))
    for name in moved[:TOP]:
        old, new = was.get(name, 0.0), now.get(name, 0.0)
        drawn = bar(new, WIDTH // 2, ascii_only=ascii_only)
        before = bar(old, WIDTH // 2, ascii_only=ascii_only)
        yield (
            f"  {before:<{WIDTH // 2}} {percent(old):>7} -> {drawn:<{WIDTH // 2}} {percent(new):>7}  "
            f"{printable(name, 40)}"
        )
