"""The fleet: all models of a deployment, the ones that need a look first."""

from __future__ import annotations

from typing import Any

from tools.dashboards.panels import JOB, fill, graph, new, number, ranking, row, table

MODEL_LINK = (
    "/d/driftline-model?var-model=${__data.fields.model}&${datasource:queryparam}&${__url_time_range}"
)
LAST_EVENT = f"driftline_last_event_timestamp_seconds{{{JOB}}}"
REJECTED = f"sum by (topic) (rate(driftline_events_rejected_total{{{JOB}}}[$__rate_interval]))"
ACCEPTED = f"sum by (topic) (rate(driftline_events_accepted_total{{{JOB}}}[$__rate_interval]))"
# Where several workers show a model during a hand-over, it is counted once.
OPEN = f"max by (model, signal, severity) (driftline_alert_active{{{JOB}}})"


def build() -> Any:
    """The dashboard."""
    board = new(
        "driftline-fleet", "Driftline / Fleet", "All models: which drift, which are silent, which learn."
    )
    return fill(board, _now(), [row("Drift")], _drift(), [row("Traffic")], _traffic())


def _now() -> list[Any]:
    return [
        number(
            "Signals that drift",
            "Signals with an open episode, by severity. Exact even where the cap on series hides some.",
            "none",
            (f"sum by (severity) (driftline_signals_firing{{{JOB}}})", "{{severity}}"),
            steps=((None, "green"), (1, "orange")),
            span=8,
        ),
        number(
            "Models by state",
            "Only active models can alert. Queued and learning ones become active after enough events.",
            "none",
            (f"sum by (state) (driftline_models{{{JOB}}})", "{{state}}"),
            span=8,
        ),
        number(
            "Workers ready",
            "Workers that have recovered all their partitions.",
            "none",
            (f"sum(driftline_ready{{{JOB}}})", "ready"),
            steps=((None, "red"), (1, "green")),
            span=4,
        ),
        number(
            "Events a second",
            "Rows applied to models, all models together.",
            "cps",
            (f"sum(rate(driftline_rows_applied_total{{{JOB}}}[$__rate_interval]))", "rows"),
            span=4,
        ),
    ]


def _drift() -> list[Any]:
    return [
        table(
            "Models with open alerts",
            "How many signals of a model have an open episode. A click leads to the model.",
            "none",
            f"sort_desc(count by (model, severity) ({OPEN}))",
            value="signals",
            link=MODEL_LINK,
        ),
        ranking(
            "Largest shift by model",
            "The signal of each model that moved furthest, in reference standard deviations; the 15 largest.",
            "none",
            (f"sort_desc(topk(15, max by (model) (abs(driftline_signal_shift_sd{{{JOB}}}))))", "{{model}}"),
        ),
        graph(
            "Signals that drift",
            "Open episodes over time. Many at once mostly have one cause upstream.",
            "none",
            (f"sum by (severity) (driftline_signals_firing{{{JOB}}})", "{{severity}}"),
            stacked=True,
        ),
        graph(
            "Episodes opened in an hour",
            "The ten models with most; more than the budget of false alarms a week allows means real change, "
            "or data that depends on itself.",
            "none",
            (
                f"topk(10, sum by (model) (increase(driftline_episodes_opened_total{{{JOB}}}[1h])))",
                "{{model}}",
            ),
        ),
    ]


def _traffic() -> list[Any]:
    return [
        graph(
            "Events by model",
            "Rows a second applied to each model, the ten busiest. A gap is a producer that stopped.",
            "cps",
            (
                f"topk(10, sum by (model) (rate(driftline_model_rows_total{{{JOB}}}[$__rate_interval])))",
                "{{model}}",
            ),
        ),
        ranking(
            "Silent longest",
            "Time since the newest event of each model (by its own time stamp); the 15 longest.",
            "s",
            (
                f"sort_desc(topk(15, time() - max by (model) ({LAST_EVENT})))",
                "{{model}}",
            ),
        ),
        graph(
            "Rejected share by topic",
            "Rows refused, of all rows read. They reach no model.",
            "percentunit",
            (
                f"{REJECTED} / ({REJECTED} + {ACCEPTED})",
                "{{topic}}",
            ),
        ),
        graph(
            "Alert events",
            "Alerts made visible on the alerts topic in five minutes: opened, updated, resolved.",
            "none",
            (f"sum by (state) (increase(driftline_alerts_emitted_total{{{JOB}}}[5m]))", "{{state}}"),
        ),
    ]
