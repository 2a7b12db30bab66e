"""Errors of labelled events: streams of them, and who watches them.

Driftline gets labels that carry their predictions, from the first one on: what it learns its reference of,
and all that follows, is the production path behind the join. The values of a stream are 0 and 1 for classes,
and for numbers label less prediction. An alarm is a labelled event, counted from the end of the reference.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from river import drift
from river.drift import binary

from driftline.config import ModelSettings
from driftline.config.settings import LabelSettings, PerformanceSettings
from driftline.decide.kpi import Kpis
from driftline.decide.labelled import Labelled, Traffic
from driftline.decide.outputs import Alert
from driftline.records import F64, Block, Column, ColumnKind, Progress, Source, Tag
from harness.decisions import CONTEXT, STEP_MS
from quality.contestants import MILLION, STRICT, WEEK_ROWS, Alarms, Panel, Peer
from quality.score import Change
from quality.streams import (
    LAWS,
    ONE,
    UNNOTICED,
    Cells,
    Law,
    Rng,
    Stream,
    bernoulli,
    every,
    normal,
    replaced_law,
    rows_of,
    same,
)

REFERENCES: Final = (500, 2_000, 20_000)  # the least, the default and the most that can be configured
DEFAULT_REFERENCE: Final = (2_000,)
SOURCES: Final = 60  # that share one false alarm a week: a dozen features, traffic and the errors
TOLERANCE: Final = 0.05  # the default, in reference standard deviations
BATCH: Final = 50_000  # labels an envelope
PROGRESS: Final = (Progress(Source("labels", 0), "t", -1, 0, 0),)
SPREAD: Final = {
    "normal": math.sqrt(math.pi / 2 - 1),
    "t3": math.sqrt(math.pi**2 / 4 - 1),
}  # sd / mean of |x|


# --- streams -----------------------------------------------------------------------------------------------


def persistent(p: float, phi: float) -> Law:
    """0 and 1; each is with the chance ``phi`` the one before, else drawn anew: the autocorrelation."""

    def law(rng: Rng, n: int) -> F64:
        fresh = rng.random(n) >= phi
        drawn = np.maximum.accumulate(np.where(fresh, np.arange(n), 0))
        return (rng.random(n) < p).astype(np.float64)[drawn]

    return law


def t3(rng: Rng, n: int) -> F64:
    """Student's t of three degrees of freedom."""
    return rng.standard_t(3, size=n)


def grown(law: Law, spread: float, sds: float) -> Law:
    """Errors larger by a factor: their mean absolute value by so many of its standard deviations."""
    return lambda rng, n: law(rng, n) * (1.0 + sds * spread)


def nulls() -> list[Stream]:
    """Errors that stay as they are."""
    rates = {f"error rate {p}": bernoulli(float(p)) for p in (".02", ".1", ".3")}
    rates |= {f"error rate .1, autocorrelation {phi}": persistent(0.1, float(phi)) for phi in (".5", ".9")}
    sizes = {f"error of a number, {name}": LAWS[name]
             for name in ("normal", "t2", "Cauchy", "rounded to halves", "AR .5", "AR .9")}  # fmt: skip
    return [
        Stream(name, same(law), MILLION, REFERENCES, binary=name in rates, labelled=True)
        for name, law in (rates | sizes).items()
    ]


def changing() -> list[Stream]:
    """Errors that become more or larger, and some that become fewer."""
    once = every(1, 20_000)
    rate = [
        (".02 to .05", 0.02, 0.05, DEFAULT_REFERENCE, None),
        (".02 to .05, 20,000 in the reference", 0.02, 0.05, (20_000,), None),
        (".1 to .15", 0.1, 0.15, DEFAULT_REFERENCE, None),
        (".1 to .15, 20,000 in the reference", 0.1, 0.15, (20_000,), None),
        (".1 to .3", 0.1, 0.3, DEFAULT_REFERENCE, ONE),
        (".1 to .05, better", 0.1, 0.05, DEFAULT_REFERENCE, UNNOTICED),
    ]
    out = [
        _stream(f"error rate {name}", bernoulli(a), bernoulli(b), once, references, promised, classes=True)
        for name, a, b, references, promised in rate
    ]
    out.append(
        _stream("error rate .1 to .3, 5 times", bernoulli(0.1), bernoulli(0.3), every(5, 20_000),
                DEFAULT_REFERENCE, ONE, classes=True)
    )  # fmt: skip
    laws: dict[str, Law] = {"normal": normal, "t3": t3}
    out += [
        _stream(f"error of a number, {name}, + {sds:g} sd", law, grown(law, SPREAD[name], sds), once,
                DEFAULT_REFERENCE, ONE)
        for name, law in laws.items() for sds in (0.5, 1.0)
    ]  # fmt: skip
    return out


def _stream(
    name: str, before: Law, after: Law, changes: tuple[Change, ...], references: tuple[int, ...],
    promised: tuple[float, float] | None, *, classes: bool = False,
) -> Stream:  # fmt: skip
    return Stream(
        name, replaced_law(before, after, changes), rows_of(changes), references, changes, promised,
        binary=classes, labelled=True,
    )  # fmt: skip


# --- who watches -------------------------------------------------------------------------------------------


def driftline(stream: Stream, reference: Cells, live: Cells) -> Alarms:
    """Default settings: errors are one of ``SOURCES`` that share one false alarm a week."""
    return _watched(stream, reference, live, Traffic(SOURCES, SOURCES, 1.0, WEEK_ROWS, TOLERANCE))


def driftline_strict(stream: Stream, reference: Cells, live: Cells) -> tuple[Alarms, float]:
    """``STRICT`` for errors alone, without a minimal duration; with the budget of these events."""
    traffic = Traffic(1, 1, STRICT * WEEK_ROWS / MILLION, WEEK_ROWS, TOLERANCE)
    alarms = _watched(stream, reference, live, traffic, min_duration_events=0)
    return alarms, STRICT * len(live["x"]) / MILLION


def _watched(stream: Stream, reference: Cells, live: Cells, traffic: Traffic, **settings: int) -> Alarms:
    known = len(reference["x"])
    errors = np.concatenate([np.asarray(reference["x"]), np.asarray(live["x"])])
    own = PerformanceSettings(task="binary" if stream.binary else "regression")
    labelled = Labelled.new(
        "m", LabelSettings(reference_rows=known, **settings), ModelSettings(performance=own)
    )
    alerts: list[Alert] = []
    kpis = Kpis("m")  # none
    for first in range(0, len(errors), BATCH):
        block = _labels(errors[first : first + BATCH], first)
        alerts += labelled.apply((), (block,), PROGRESS, -1, traffic, CONTEXT, kpis)
    assert labelled.performance.rows == len(errors)  # nothing was lost on the way
    rows = {
        kind: tuple(a.row - known for a in alerts if a.type.endswith(kind))
        for kind in (".opened", ".resolved")
    }
    return Alarms(rows[".opened"], rows[".resolved"])


def _labels(errors: F64, first: int) -> Block:
    """Labels that carry the prediction 0, so that the label is the error."""
    n = len(errors)
    offsets = np.arange(first, first + n, dtype=np.int64)
    return Block(
        "m", (Column(ColumnKind.SCORE, ""), Column(ColumnKind.LABEL, "")),
        np.full((2, n), Tag.NUMBER, np.uint8), np.stack([np.zeros(n), errors]),
        offsets * STEP_MS, offsets * STEP_MS, np.zeros(n, np.int32), offsets,
        np.full(n, -1, np.int32), (), np.zeros(n, np.uint64),
    )  # fmt: skip


PEERS: Final = (
    Peer("DDM", binary.DDM, binary_only=True),
    Peer("EDDM", binary.EDDM, binary_only=True),
    Peer("HDDM_A", binary.HDDMA, binary_only=True),
    Peer("ADWIN", drift.ADWIN),
)


def peer_values(stream: Stream, reference: Cells, live: Cells) -> list[F64]:
    """0 and 1 as they are; of numbers the absolute error, standardised as the reference says."""
    known, now = np.abs(np.asarray(reference["x"])), np.abs(np.asarray(live["x"]))
    return [now if stream.binary else (now - known.mean()) / known.std()]


ERRORS: Final = Panel(nulls, changing, driftline, driftline_strict, PEERS, peer_values)
