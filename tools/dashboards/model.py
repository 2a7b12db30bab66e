"""One model: its signals ranked by shift, what is open, and whether it gets its events."""

from __future__ import annotations

from typing import Any

from tools.dashboards.panels import (
    JOB,
    SEVERITY_VALUES,
    alert_annotations,
    fill,
    graph,
    label,
    label_variable,
    new,
    number,
    ranking,
    row,
    table,
    timeline,
)

MODEL = f'{JOB}, model="$model"'
SIGNALS = f'{MODEL}, signal=~"$signal"'
PREDICTIONS = f'{MODEL}, signal=~"prediction[.].*"'
OPEN = f"max by (signal, severity) (driftline_alert_active{{{MODEL}}})"
# One value for each severity, so that a band has the colour of its severity.
LEVEL = " or ".join(
    f'max by (signal) (driftline_alert_active{{{MODEL}, severity="{name}"}}) * {value}'
    for name, value in sorted(SEVERITY_VALUES.items(), key=lambda item: -item[1])
)
SHIFT = ((None, "green"), (0.2, "orange"), (0.5, "red"))  # a small and a medium effect, after Cohen


def build() -> Any:
    """The dashboard."""
    board = (
        new("driftline-model", "Driftline / Model", "One model: what moved, since when, and how far.")
        .with_variable(
            label_variable("model", "Model", f"driftline_model_state{{{JOB}}}", "model", multi=False)
        )
        .with_variable(label_variable("signal", "Signal", f"driftline_signal_shift_sd{{{MODEL}}}", "signal"))
        .annotation(alert_annotations(OPEN, "{{signal}} drifts"))
    )
    return fill(
        board,
        _now(),
        [row("Signals")],
        _signals(),
        [row("KPIs")],
        _kpis(),
        [row("Windows")],
        _windows(),
        [row("Predictions")],
        _predictions(),
        [row("Alerts and data")],
        _history(),
    )


def _now() -> list[Any]:
    return [
        label(
            "State",
            "queued, learning, warming or active; only an active model can alert.",
            (f"max by (state) (driftline_model_state{{{MODEL}}})", "{{state}}"),
            span=4,
        ),
        number(
            "Open alerts",
            "Signals of this model with an open episode.",
            "none",
            (f"count({OPEN}) or max(driftline_model_state{{{MODEL}}}) * 0", "open"),
            steps=((None, "green"), (1, "red")),
            span=4,
        ),
        number(
            "Last event",
            "Time since the newest event, by its own time stamp.",
            "s",
            (f"time() - max(driftline_last_event_timestamp_seconds{{{MODEL}}})", "age"),
            span=4,
        ),
        number(
            "Events a second",
            "Rows applied to this model.",
            "cps",
            (f"sum(rate(driftline_model_rows_total{{{MODEL}}}[$__rate_interval]))", "rows"),
            span=4,
        ),
        number(
            "Events so far",
            "Rows applied since the model's state began; survives restarts.",
            "short",
            (f"max(driftline_model_rows_total{{{MODEL}}})", "rows"),
            span=4,
        ),
        number(
            "Episodes so far",
            "Episodes opened since the model's state began.",
            "none",
            (f"max(driftline_episodes_opened_total{{{MODEL}}})", "opened"),
            span=4,
        ),
    ]


def _signals() -> list[Any]:
    return [
        ranking(
            "Signals by shift",
            "Distance of each signal from the reference, in reference standard deviations: the 20 largest.",
            "none",
            (
                f"sort_desc(topk(20, max by (signal) (abs(driftline_signal_shift_sd{{{MODEL}}}))))",
                "{{signal}}",
            ),
            steps=SHIFT,
        ),
        table(
            "Open alerts",
            "What is open now, and whether somebody muted or acknowledged it. The alert itself says in "
            "words what changed: driftline alerts tail --model MODEL --from-beginning.",
            "none",
            OPEN.replace("severity)", "severity, state)"),
            value="open",
        ),
        graph(
            "Shift",
            "Location of the current window against the reference, in reference standard deviations; for "
            "categories that of their ranks. Above 0: higher than in the reference.",
            "none",
            (f"max by (signal) (driftline_signal_shift_sd{{{SIGNALS}}})", "{{signal}}"),
        ),
        graph(
            "Missing",
            "Share of the current window's events in which the signal is null or absent.",
            "percentunit",
            (f"max by (signal) (driftline_signal_missing_ratio{{{SIGNALS}}})", "{{signal}}"),
        ),
    ]


def _kpis() -> list[Any]:
    """What the model's owner agreed to; empty where no KPI is configured."""
    return [
        table(
            "KPIs",
            "1: out of the agreed bounds for as long as its `for` says. Since when: driftline alerts tail.",
            "none",
            f"sort_desc(max by (kpi, severity) (driftline_kpi_breached{{{MODEL}}}))",
            value="breached",
            span=8,
        ),
        graph(
            "KPIs and their bounds",
            "Value of each KPI in its last window, and what was agreed, in its own unit. A line that "
            "ends: too few rows that count, or no labels. Click a name to see one alone.",
            "none",
            (f"max by (kpi) (driftline_kpi_value{{{MODEL}}})", "{{kpi}}"),
            (f"max by (kpi, side) (driftline_kpi_bound{{{MODEL}}})", "{{kpi}} {{side}}"),
            span=16,
        ),
    ]


def _windows() -> list[Any]:
    """One panel for one statistic: their values mean different things and are never mixed."""
    statistics = (
        (
            "Population stability index",
            "driftline_psi",
            "none",
            "Below 0.1 little has changed, above 0.25 much.",
        ),
        (
            "Jensen-Shannon distance",
            "driftline_jensen_shannon_distance",
            "none",
            "0 to 1; 1: nothing is in common.",
        ),
        (
            "Hellinger distance",
            "driftline_hellinger_distance",
            "none",
            "0 to 1; read it like Jensen-Shannon.",
        ),
        (
            "Largest change of one share",
            "driftline_l_infinity_distance",
            "percentunit",
            "The decile or category that changed most.",
        ),
        (
            "Kolmogorov-Smirnov distance",
            "driftline_ks_distance",
            "none",
            "Over percentiles; numeric signals only.",
        ),
        (
            "Wasserstein distance",
            "driftline_wasserstein_distance",
            "none",
            "In reference standard deviations; numeric signals only.",
        ),
        (
            "Chi-squared",
            "driftline_chi_squared",
            "none",
            "Grows with the window; its p-value is in the report.",
        ),
    )
    panels = [
        graph(
            title,
            f"Last full window against the reference, over deciles or categories. {meaning}",
            unit,
            (f"max by (signal) ({metric}{{{SIGNALS}}})", "{{signal}}"),
            span=8,
        )
        for title, metric, unit, meaning in statistics
    ]
    learned = number(
        "Later features",
        "Features watched that appeared after the reference was frozen. Promote a baseline that has them.",
        "none",
        (f"max(driftline_later_features{{{MODEL}}})", "features"),
        span=8,
    )
    plugin = number(
        "Alarms of named detectors",
        "Alarms of river's detectors that models.NAME.signals names; they open no episode.",
        "none",
        (f"max(driftline_plugin_alarms_total{{{MODEL}}})", "alarms"),
        span=8,
    )
    return [*panels, learned, plugin]


def _predictions() -> list[Any]:
    return [
        graph(
            "Shift of the predictions",
            "As for features: the score and the class that the model answers. A shift here without one in "
            "the features is a new model version, or a combination of features that is new.",
            "none",
            (f"max by (signal) (driftline_signal_shift_sd{{{PREDICTIONS}}})", "{{signal}}"),
        ),
        graph(
            "Missing predictions",
            "Share of the current window's events without this prediction.",
            "percentunit",
            (f"max by (signal) (driftline_signal_missing_ratio{{{PREDICTIONS}}})", "{{signal}}"),
        ),
    ]


def _history() -> list[Any]:
    return [
        timeline(
            "Alerts",
            "When each signal had an open episode, and how severe it was.",
            (LEVEL, "{{signal}}"),
            {name: float(value) for name, value in SEVERITY_VALUES.items()},
        ),
        graph(
            "Events",
            "Rows a second. Fewer rows make detection slower in time, not in events.",
            "cps",
            (f"sum(rate(driftline_model_rows_total{{{MODEL}}}[$__rate_interval]))", "rows"),
            span=8,
        ),
        graph(
            "Suspicions dismissed in an hour",
            "Alarms of ADWIN or Page-Hinkley that were not confirmed and made no alert. A sudden rise can "
            "precede one.",
            "none",
            (f"sum(increase(driftline_suspicions_dismissed_total{{{MODEL}}}[1h]))", "dismissed"),
            span=8,
        ),
        graph(
            "Cells of another type",
            "Cells a second whose type is not the reference's, such as text in a numeric feature.",
            "cps",
            (f"sum(rate(driftline_type_mismatches_total{{{MODEL}}}[$__rate_interval]))", "cells"),
            span=8,
        ),
    ]
