"""``driftline replay``: files through the same code as the service, without side effects."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from driftline.decide.outputs import Alert, LabelView
    from driftline.decide.replay import Summary

app = typer.Typer(add_completion=False)


@app.command()
def replay(
    files: list[Path] = typer.Argument(
        help="Events in the order in which they came: .parquet, .csv, else one JSON object a line; "
        ".gz works, - is stdin."
    ),
    config: Path | None = typer.Option(
        None, "--config", "-c", help="Configuration file (YAML); without one, models are discovered."
    ),
    baseline: Path | None = typer.Option(
        None,
        "--baseline",
        "-b",
        help="Compare with this baseline; without one, the first events are learned.",
    ),
    labels: list[Path] = typer.Option(
        [],
        "--labels",
        "-l",
        help="Labels, one JSON object a line (.gz works): joined with the events by time.",
    ),
    batch: int = typer.Option(
        20_000, "--batch", min=1, max=100_000, help="Rows decoded at once; no effect on the alerts."
    ),
    as_json: bool = typer.Option(
        False, "--json", help="One JSON object a line: each alert, each action, then a summary."
    ),
    reports: bool = typer.Option(False, "--reports", help="With --json: the reports of full windows too."),
    model: str | None = typer.Option(
        None, "--model", "-m", help="The model of all events; else each names its own."
    ),
    column: list[str] = typer.Option(
        [],
        "--column",
        help="FIELD=NAME: which column of a table is the model, id, time, model_version, score or class.",
    ),
) -> None:
    """Run events of files through the detectors: which alerts would this configuration have fired?"""
    from driftline import kernelcache

    kernelcache.use()
    from driftline.cli._files import event_files, file_settings, label_lines
    from driftline.cli.baseline import read_baseline
    from driftline.decide.replay import Replay, alert_row
    from driftline.publish import actions
    from driftline.publish.alerts import describe

    settings = file_settings(config, model, labels=bool(labels))
    run = Replay(settings)
    if labels:
        run.add_labels(label_lines(labels))
    if baseline is not None:
        run.promote(read_baseline(baseline))
    start = time.perf_counter()

    def show(alerts: list[Alert]) -> None:
        for alert in alerts:
            # ASCII: whatever reads a pipe may print it to a terminal.
            typer.echo(json.dumps(alert_row(alert)) if as_json else describe(alert.data))
        windows = run.partition.take_reports()
        for report in windows if as_json and reports else ():
            typer.echo(json.dumps(report.data))

    for decoded, rows in event_files(files, settings, run.decoder, column, batch):
        show(run.take(decoded, rows))
    show(run.finish())
    for action in run.take_actions():
        typer.echo(json.dumps(action.data) if as_json else actions.describe(action.data))
    seconds = time.perf_counter() - start
    performance = {v.model: _performance(v.labels) for v in run.views() if v.labels is not None}
    if as_json:
        typer.echo(json.dumps(_as_json(run.summary, seconds, performance)))
        return
    typer.echo(_as_text(run.summary, seconds))
    for name, found in performance.items():
        typer.echo(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()))


def _performance(view: LabelView) -> dict[str, float]:
    """What labels said of a model: the join, and the statistics of the last complete window."""
    joined = {"labels_joined": float(view.matched)}
    if not math.isnan(view.coverage):
        joined["coverage"] = view.coverage
    return joined | dict(view.statistics)


def _as_json(
    summary: Summary, seconds: float, performance: Mapping[str, Mapping[str, float]]
) -> dict[str, object]:
    labelled = {"labels": summary.labels, "performance": performance} if performance else {}
    return {
        "summary": {
            **labelled,
            "rows": summary.rows,
            "accepted": summary.accepted,
            "filtered": summary.filtered,
            "rejected": dict(sorted(summary.rejected.items())),
            "alerts": {state: summary.alerts[state] for state in ("opened", "updated", "resolved")},
            "actions": summary.actions,
            "seconds": round(seconds, 3),
            "rows_per_second": round(summary.rows / seconds) if seconds > 0 else 0,
        }
    }


def _as_text(summary: Summary, seconds: float) -> str:
    rejected = ", ".join(f"{count:,} {code}" for code, count in summary.rejected.most_common())
    return (
        f"{summary.rows:,} rows: {summary.accepted:,} accepted, {summary.filtered:,} empty, "
        f"{summary.rejected.total():,} rejected{f' ({rejected})' if rejected else ''}. "
        f"{summary.alerts['opened']:,} alerts opened, {summary.alerts['resolved']:,} resolved. "
        f"{seconds:.1f} s, {summary.rows / max(seconds, 1e-9):,.0f} rows a second."
    )
