"""A model as metrics show it: where its signals are, what is open, what was counted. Changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace

from driftline.decide.alerts import KINDS
from driftline.decide.model import Model
from driftline.decide.outputs import ModelView, SignalView
from driftline.decide.policy import BUCKETS
from driftline.decide.traffic import TRAFFIC
from driftline.detect.actor import Detection
from driftline.detect.performance import SIGNAL as PERFORMANCE


def view_of(model: Model) -> ModelView:
    """The model as metrics show it."""
    actor, d = model.actor, model.actor.detection
    signals: list[SignalView] = []
    if d is not None:
        for s, spec in zip(d.layout.signals, d.layout.specs, strict=True):
            first = int(spec["first_channel"])
            names = [c.name for c in s.channels]
            main = next((first + names.index(n) for n in ("location", "rank") if n in names), None)
            opened = model.episodes.open.get(s.signal)
            signals.append(
                SignalView(
                    s.signal,
                    KINDS[s.kind],
                    opened.severity if opened else None,
                    _shift(d, main),
                    _mean(d, first + names.index("missing")),
                    tuple(d.window.last[len(signals)].tolist()),
                )
            )
        if TRAFFIC in model.episodes.open:
            severe = model.episodes.open[TRAFFIC].severity
            signals.append(SignalView(TRAFFIC, "model", severe, float("nan"), float("nan")))
    labels = model.labelled.view() if model.labelled is not None else None
    signals += [
        SignalView(signal, "kpi", e.severity, float("nan"), float("nan"))
        for signal, e in model.kpis.episodes.open.items()
    ]
    if labels is not None and labels.severity is not None:
        nothing = float("nan")
        signals.append(SignalView(PERFORMANCE, "performance", labels.severity, nothing, nothing))
    return ModelView(
        actor.model,
        actor.phase.value,
        actor.rows,
        actor.last_time,
        sum(episodes.opened for episodes in model.all_episodes),
        sum(episodes.resolved for episodes in model.all_episodes),
        actor.dismissed + (model.labelled.dismissed if model.labelled is not None else 0),
        int(d.mismatches.sum()) if d is not None else 0,
        tuple(replace(s, standing=model.life.standing(s.name)) if s.severity else s for s in signals),
        len(d.layout.signals) - d.layout.frozen_signals if d is not None else 0,
        sum(plugin.alarms for plugin in d.plugins) if d is not None else 0,
        labels=labels,
        kpis=model.kpis.views(),
        version_changes=model.versions.changes,
        actions=model.actions.number if model.actions is not None else 0,
    )


def _mean(d: Detection, channel: int) -> float:
    """Mean over the rolling window, or over what it holds so far; NaN before the first sub-bucket."""
    state, plan = d.state[channel], d.plan[channel]
    held = min(int(state["ring_n"]), BUCKETS)
    return float(state["ring"][:held].sum() / (held * plan["bucket"])) if held else math.nan


def _shift(d: Detection, channel: int | None) -> float:
    """From the reference's mean, in its standard deviations; NaN where there is no such channel."""
    if channel is None or d.layout.channels[channel].sd <= 0.0:
        return math.nan
    ref = d.layout.channels[channel]
    return (_mean(d, channel) - ref.mean) / ref.sd
