"""Which signals get series of their own on /metrics: a pure choice under a hard cap.

The cap always wins. In order: one series for each open episode (worst first), the models' own series (whole
models only, those with open episodes first), their KPIs, their labels, then the series of signals: open
episodes, signals shown within the last hour, then the largest shifts. No clock here: ``now`` is an argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from driftline.decide.outputs import ModelView, SignalView

STICKY_SECONDS: Final = 3_600.0  # a graph of an hour keeps its lines
# State, last event, rows, opened, resolved, dismissed, mismatches, later features, alarms of plug-ins,
# take-overs by another version, actions.
SERIES_PER_MODEL: Final = 11
SERIES_PER_SIGNAL: Final = 9  # shift, missing ratio, seven statistics of the last window
# Joined, orphaned, duplicate, conflicting, expired, without id, pending, coverage, three delays, the end of
# the window, and at most twelve statistics.
SERIES_PER_LABELLED: Final = 24
SERIES_PER_KPI: Final = 4  # value, breached, at most two bounds
_SEVERITY_ORDER: Final = {"critical": 0, "warning": 1, "info": 2}

SignalKey = tuple[str, str]  # (model, signal)


@dataclass(frozen=True, slots=True)
class Choice:
    """What to show; ``admitted`` is the memory for the next call: when each signal last earned its place."""

    firing: tuple[tuple[str, str, str, str], ...]  # (model, signal, severity, state)
    models: tuple[ModelView, ...]
    signals: tuple[tuple[str, SignalView], ...]  # (model, view)
    admitted: Mapping[SignalKey, float]
    dropped: int  # series left out
    labelled: tuple[ModelView, ...] = ()  # models with labels whose performance is shown
    agreed: tuple[ModelView, ...] = ()  # models whose KPIs are shown

    def __len__(self) -> int:
        """Number of series."""
        labelled = SERIES_PER_LABELLED * len(self.labelled)
        return (
            len(self.firing)
            + labelled
            + SERIES_PER_KPI * sum(len(v.kpis) for v in self.agreed)
            + SERIES_PER_MODEL * len(self.models)
            + SERIES_PER_SIGNAL * len(self.signals)
        )


def choose_series(
    views: Sequence[ModelView],
    admitted: Mapping[SignalKey, float],
    now: float,
    *,
    series_max: int,
    signals_per_model_max: int,
) -> Choice:
    """The series to show, at most ``series_max``; the order of ``views`` does not matter.

    ``admitted`` is that of the choice before, ``now`` in seconds of any clock that does not go back.
    """
    unique = {(v.model, s.name): (v.model, s) for v in views for s in v.signals}
    signals = sorted(unique.values(), key=_rank)
    firing = [(m, s.name, s.severity, s.standing) for m, s in signals if s.severity is not None]
    shown_firing = firing[:series_max]
    room = series_max - len(shown_firing)

    alarmed = {model for model, *_ in firing}
    ordered = sorted(views, key=lambda v: (v.model not in alarmed, v.model))
    shown_models = ordered[: room // SERIES_PER_MODEL]
    room -= SERIES_PER_MODEL * len(shown_models)

    agreed: list[ModelView] = []
    for view in shown_models:  # what owners asked for comes before what we think of
        if SERIES_PER_KPI * len(view.kpis) <= room:
            agreed += [view] if view.kpis else []
            room -= SERIES_PER_KPI * len(view.kpis)

    with_labels = [v for v in ordered if v.labels is not None]
    labelled = [v for v in shown_models if v.labels is not None][: room // SERIES_PER_LABELLED]
    room -= SERIES_PER_LABELLED * len(labelled)

    quota = room // SERIES_PER_SIGNAL
    chosen, memory = _admit(signals, admitted, now, quota, signals_per_model_max)
    dropped = (
        (len(firing) - len(shown_firing))
        + SERIES_PER_MODEL * (len(ordered) - len(shown_models))
        + SERIES_PER_SIGNAL * (sum(len(v.signals) for v in views) - len(chosen))
        + SERIES_PER_LABELLED * (len(with_labels) - len(labelled))
        + SERIES_PER_KPI * (sum(len(v.kpis) for v in ordered) - sum(len(v.kpis) for v in agreed))
    )
    return Choice(
        tuple(shown_firing),
        tuple(shown_models),
        tuple(chosen),
        memory,
        dropped,
        tuple(labelled),
        tuple(agreed),
    )


def _rank(item: tuple[str, SignalView]) -> tuple[int, float, str, str]:
    """Sort key: worst severity, then largest shift, then name."""
    model, signal = item
    shift = 0.0 if math.isnan(signal.shift) else abs(signal.shift)
    severity = 9 if signal.severity is None else _SEVERITY_ORDER.get(signal.severity, 3)
    return (severity, -shift, model, signal.name)


def _admit(
    ranked: Iterable[tuple[str, SignalView]],
    admitted: Mapping[SignalKey, float],
    now: float,
    quota: int,
    per_model_max: int,
) -> tuple[list[tuple[str, SignalView]], dict[SignalKey, float]]:
    """The signals that get series, and when each earned its place: open ones, sticky ones, largest shifts.

    A place is earned by an open episode or by rank when there is room; it is kept for ``STICKY_SECONDS``
    after that even if others now rank higher. Afterwards the signal competes again.
    """
    firing: list[tuple[str, SignalView]] = []
    sticky: list[tuple[str, SignalView]] = []
    rest: list[tuple[str, SignalView]] = []
    for item in ranked:
        since = admitted.get((item[0], item[1].name), -math.inf)
        if item[1].severity is not None:
            firing.append(item)
        elif now - since < STICKY_SECONDS:
            sticky.append(item)
        else:
            rest.append(item)
    chosen: list[tuple[str, SignalView]] = []
    memory: dict[SignalKey, float] = {}
    per_model: dict[str, int] = {}
    for earned, group in ((True, firing), (False, sticky), (True, rest)):
        for model, signal in group:
            if len(chosen) >= quota:
                return chosen, memory
            if per_model.get(model, 0) >= per_model_max:
                continue
            per_model[model] = per_model.get(model, 0) + 1
            chosen.append((model, signal))
            key = (model, signal.name)
            memory[key] = now if earned else admitted[key]
    return chosen, memory
