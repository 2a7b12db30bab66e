"""What a configuration means for a model with a known reference: budget, delays, tolerance, cost.

Owns: the expected delay of the e-detector, from the growth of its best lane. Everything else is read from a
model that was set up as the service does it, by a promoted baseline. The caller has the clock: ``rows`` gives
what can be timed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.config import ModelSettings, Settings
from driftline.decide import kpi_texts
from driftline.decide.budget import RESERVE, Budget
from driftline.decide.model import WINDOW_ROWS_MAX
from driftline.decide.replay import TOPIC_ID, Replay
from driftline.decide.seasons import unmet
from driftline.detect.actor import WEEK_MS, Detection
from driftline.detect.compare import atom_share, quantile
from driftline.detect.reference import ChannelReference, Reference, SignalReference, mid_pit
from driftline.errors import OperatorError
from driftline.records import F64, Block, Column, ColumnKind, Progress, Source, Tag

SHIFTS: Final = (0.2, 0.5, 1.0, 2.0)  # in reference standard deviations
POINTS: Final = 2_000  # values that stand for the reference's distribution
ONSET_LEVEL: Final = 1_000.0  # evidence below it counts as before the change (docs/decisions.md, "Update" 1)
TRIAL_ROWS: Final = 2_000


@dataclass(frozen=True, slots=True)
class ChannelPart:
    """A channel: its share of the budget and what it leaves alone. Lengths are in events of the channel."""

    name: str
    detectors: tuple[str, ...]  # empty: nothing to compare with
    false_alarms_per_week: float
    run_length: float  # A: between two false openings by it
    detector_run_length: float  # B: of each of its detectors
    mean: float
    tolerated: tuple[float, float]
    tau: float
    block: int


@dataclass(frozen=True, slots=True)
class SignalPart:
    """A signal; ``delays`` are events to an opening after a shift of SHIFTS, None where it stays unseen."""

    name: str
    channels: tuple[ChannelPart, ...]
    delays: tuple[float | None, ...]
    season: str | None  # "daily" or "weekly": numbers compared with their hour


@dataclass(frozen=True, slots=True)
class KpiPart:
    """A KPI: what it measures, over what, and what was agreed."""

    name: str
    measure: str
    window: str
    agreed: str
    severity: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything of one model that a person should know before trusting it."""

    model: str
    reference_id: str
    reference_rows: int
    events_per_week: float
    false_alarms_per_week: float
    min_duration_events: int
    tolerance_sd: float
    sources: int  # channels, window tests, traffic
    window_rows: int  # 0: windows end by time only
    window_ms: int  # 0: by their rows only
    signals: tuple[SignalPart, ...]
    state_bytes: int
    snapshot_bytes: int
    kpis: tuple[KpiPart, ...]
    notes: tuple[str, ...]  # what is configured and cannot be done with this baseline

    def minutes(self, events: float) -> float:
        """How long so many events take."""
        return events / self.events_per_week * WEEK_MS / 60_000.0


class Trial:
    """A model as the service would run it after the promotion of a baseline, without warm-up.

    Raises:
        OperatorError: neither configuration nor baseline nor ``events_per_second`` say how many events come.
    """

    def __init__(self, settings: Settings, reference: Reference, events_per_second: float | None) -> None:
        name = reference.model
        own = settings.models.get(name)
        rate = events_per_second * WEEK_MS / 1000.0 if events_per_second else 0.0
        if rate and own is not None:
            models = {**settings.models, name: own.model_copy(update={"rows_per_week": rate})}
            settings = settings.model_copy(update={"models": models})
        self.rate = rate or (own.rows_per_week if own and own.rows_per_week else reference.rows_per_week)
        if self.rate <= 0.0:
            raise OperatorError(
                f"{name}: its rows had no times, so how many events come is unknown.",
                remedy="Give --rate EVENTS_PER_SECOND.",
            )
        self.reference, self._settings = reference, settings
        run = Replay(settings)
        run.promote(replace(reference, time_ordered=True, rows_per_week=self.rate))
        self._partition = run.partition
        self._model = run.partition.models[name]

    @property
    def detection(self) -> Detection:
        """What the model runs."""
        found = self._model.actor.detection
        assert found is not None  # it was promoted
        return found

    def rows(self, number: int) -> None:
        """Run TRIAL_ROWS synthetic rows like the reference: what they cost is the caller's to measure."""
        progress = [Progress(Source("trial", 0), TOPIC_ID, -1, 0, TRIAL_ROWS)]
        block = synthetic(self.reference, TRIAL_ROWS, number)
        self._model.apply(block, 0, TRIAL_ROWS, progress, self._partition.context)

    def explanation(self) -> Explanation:
        """The page; snapshot and state have their size after the rows that were run."""
        d, model = self.detection, self._model
        checkpoint = self._partition.checkpoint()
        stored = sum(len(row.encode() or b"") for row in checkpoint.state) if checkpoint else 0
        arrays = (
            d.plan,
            d.state,
            d.warm,
            d.recent,
            d.layout.knot_q,
            d.layout.knot_lo,
            d.layout.knot_hi,
            d.layout.seasons.maps,
        )
        budget = Budget.of(d.layout, labelled=model.actor.labelled)
        share = (1.0 - RESERVE) * model.false_alarms / budget.frozen
        signals = []
        for signal, spec in zip(d.layout.signals, d.layout.specs, strict=True):
            first = int(spec["first_channel"])
            plans = d.plan[first : first + len(signal.channels)]
            parts = [_part(c, p, d, share) for c, p in zip(signal.channels, plans, strict=True)]
            delays = tuple(signal_delay(signal, plans, shift, model.min_duration) for shift in SHIFTS)
            season = None if signal.season is None else signal.season.period.value
            signals.append(SignalPart(signal.signal, tuple(parts), delays, season))
        return Explanation(
            self.reference.model,
            self.reference.id,
            self.reference.rows,
            self.rate,
            model.false_alarms,
            model.min_duration,
            model.tolerance,
            budget.sources,
            0 if model.actor.window_rows == WINDOW_ROWS_MAX else model.actor.window_rows,
            model.actor.window_ms,
            tuple(signals),
            sum(a.nbytes for a in arrays),
            stored,
            kpi_parts(self._settings, self.reference.model),
            tuple(unmet(self.reference, model.seasons)),
        )


def kpi_parts(settings: Settings, model: str) -> tuple[KpiPart, ...]:
    """The KPIs of a model, with or without a reference."""
    own = settings.models.get(model, ModelSettings())
    out = []
    for name, kpi in settings.detection.kpis_of(own).items():
        window = (
            kpi.window if isinstance(kpi.window, str) else f"{kpi.window:,} rows" if kpi.window else "usual"
        )
        last = f" for {kpi.lasting}" if isinstance(kpi.lasting, str) else f" in {kpi.lasting} windows"
        agreed = kpi_texts.agreed(kpi) + (last if kpi.lasting != 1 else "")
        out.append(KpiPart(name, kpi_texts.subject(kpi.parsed), window, agreed, kpi.severity))
    return tuple(out)


def _part(channel: ChannelReference, plan: Any, d: Detection, share: float) -> ChannelPart:
    used = {"use_esr": "e-detector", "use_adwin": "ADWIN", "use_ph": "Page-Hinkley"}
    names = tuple(name for key, name in used.items() if plan[key])
    level = float(plan["level"]) * int(plan["b"])
    low, high = (float(plan[k]) if names else end for k, end in (("null_low", 0.0), ("null_high", 1.0)))
    share = share if names else 0.0
    run = d.run_length if names else math.inf
    tau = channel.tau
    return ChannelPart(channel.name, names, share, run, level, channel.mean, (low, high), tau, int(plan["b"]))


# --- delay ------------------------------------------------------------------------------------------------


def signal_delay(
    signal: SignalReference, plans: npt.NDArray[Any], shift: float, min_duration: int
) -> float | None:
    """Events from a shift to an opening by the fastest e-detector of a signal; None when none sees it.

    The shift is in reference standard deviations: of the value of a numeric signal, of the indicator of its
    most frequent category for a categorical one.
    """
    found = [
        channel_delay(values, weights, plan, min_duration) / share
        for channel, plan in zip(signal.channels, plans, strict=True)
        for values, weights, share in [_shifted(signal, channel, shift)]
        if len(values) and plan["lanes"]
    ]
    best = min(found, default=math.inf)
    return best if math.isfinite(best) else None


def _shifted(signal: SignalReference, channel: ChannelReference, shift: float) -> tuple[F64, F64, float]:
    """Values of a channel after the shift, their shares, and the share of events that feed it."""
    numeric, nothing = signal.numeric, np.zeros(0)
    if numeric is not None and channel.name in {"location", "spread"}:
        x = quantile(numeric, (np.arange(POINTS) + 0.5) / POINTS) + shift * numeric.sd
        u = mid_pit(numeric, x)
        y = u if channel.name == "location" else np.abs(2.0 * u - 1.0)
        share = max(1.0 - atom_share(signal), 1e-9) if numeric.atom is not None else 1.0
        return y, np.full(POINTS, 1.0 / POINTS), share
    table = signal.categorical
    if table is not None and table.shares and channel.name == f"share[{table.categories[0]}]":
        moved = channel.mean + shift * channel.sd
        p = moved if moved <= 1.0 else max(channel.mean - shift * channel.sd, 0.0)
        return np.array([0.0, 1.0]), np.array([1.0 - p, p]), 1.0
    return nothing, nothing, 1.0


def channel_delay(y: F64, weights: F64, plan: Any, min_duration: int) -> float:
    """Expected events of a channel until its e-detector opens, from values after a change; inf: never.

    A lane grows by E log(1 + lambda (y - m)) an update; with R near its null level at the change it reaches B
    after about log(B L (1 - exp(-g))) / g updates: the sum over starting points is a geometric series.
    """
    b, lanes = int(plan["b"]), int(plan["lanes"])
    if b > 1:  # means of b values: as far from their mean as the reference's block means are
        mean = float(np.dot(weights, y))
        y = mean + (y - mean) * _block_scale(plan, y, weights)
    bets, nulls = plan["lam"][:lanes], plan["m"][:lanes]
    growth = max(
        float(np.dot(weights, np.log1p(bet * (y - null)))) for bet, null in zip(bets, nulls, strict=True)
    )
    if growth <= 1e-9:
        return math.inf

    def reached(level: float) -> float:
        return max(math.log(max(level * lanes * -math.expm1(-growth), 1.0)) / growth, 1.0)

    needed = reached(ONSET_LEVEL) + min_duration // b
    return b * max(reached(float(plan["level"])), needed)


def _block_scale(plan: Any, y: F64, weights: F64) -> float:
    """Standard deviation of block means as a share of that of values."""
    mean = float(np.dot(weights, y))
    sd = math.sqrt(max(float(np.dot(weights, (y - mean) ** 2)), 1e-12))
    return min(0.2887 / float(plan["z_scale"]) / sd, 1.0)


# --- synthetic rows ---------------------------------------------------------------------------------------


def synthetic(reference: Reference, rows: int, seed: int) -> Block:
    """Independent rows with the marginals of a reference; the same for the same seed."""
    rng = np.random.default_rng(seed)
    columns, tags, values = [], [], []
    for s in reference.signals:
        cells = np.full(rows, s.tag, dtype=np.uint8)
        words: tuple[str, ...] = ()
        x = np.full(rows, np.nan)
        if s.numeric is not None:
            x = quantile(s.numeric, rng.random(rows))
            if s.numeric.atom is not None:
                x = np.where(rng.random(rows) < atom_share(s), s.numeric.atom, x)
        elif s.categorical is not None and s.categorical.total:
            words = s.categorical.categories if s.tag is Tag.STRING else ()
            share = np.array(s.categorical.counts, dtype=np.float64)
            x = rng.choice(len(share), rows, p=share / share.sum()).astype(np.float64)
            if s.tag is Tag.BOOL:
                x = np.array([float(c == "true") for c in s.categorical.categories])[x.astype(int)]
        cells[np.isnan(x) | (rng.random(rows) < s.missing / max(s.rows, 1))] = Tag.NULL
        x = np.where(cells == Tag.NULL, np.nan, x)
        columns.append(Column(ColumnKind(s.kind), s.name, words))
        tags.append(cells)
        values.append(x)
    at = np.arange(rows, dtype=np.int64)
    zeros = np.zeros(rows, dtype=np.int32)
    return Block(
        reference.model, tuple(columns), np.array(tags), np.array(values), at, at, zeros, at, zeros - 1, (),
        np.zeros(rows, dtype=np.uint64),
    )  # fmt: skip
