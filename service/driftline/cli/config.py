"""``driftline config``: check a configuration, explain what it means, print its schema."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from driftline.errors import OperatorError

if TYPE_CHECKING:
    from driftline.config import Settings
    from driftline.decide.explain_plugins import PluginPart
    from driftline.detect.actor import Detection

CPU_RUNS = 3

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Check a configuration file; explain what it means for detection; print its schema.",
)


@app.command()
def check(
    config: Path | None = typer.Argument(
        None, help="Configuration file (YAML); without one: environment only."
    ),
    option: Path | None = typer.Option(None, "--config", "-c", help="The same, as `run` takes it."),
) -> None:
    """Say whether `run` would accept it; nothing is connected to."""
    from driftline.config import load_settings
    from driftline.publish.text import printable

    path = config or option
    settings = load_settings(path)
    models = settings.allowed_models()
    named = (
        "any model that events name"
        if models is None
        else f"{len(models)} model{'s' if len(models) != 1 else ''}"
    )
    topics = ", ".join(source.topic for source in settings.inputs)
    for warning in settings.warnings():
        typer.echo(f"warning: {printable(warning, 500)}", err=True)
    typer.echo(f"{path or 'environment'}: good. {named} from {topics}; revision {settings.revision()}.")


@app.command()
def explain(
    config: Path | None = typer.Option(None, "--config", "-c", help="Configuration file (YAML)."),
    baseline: list[Path] = typer.Option([], "--baseline", "-b", help="Baseline of a model; repeatable."),
    rate: float | None = typer.Option(
        None, "--rate", min=1e-6, help="Events a second; else as configured or as in the baseline."
    ),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a model, a line each."),
) -> None:
    """For each model: channels, detectors and their share of the budget, expected delays, memory and CPU."""
    from driftline import kernelcache

    kernelcache.use()
    from driftline.cli.baseline import read_baseline
    from driftline.config import load_settings
    from driftline.decide.explain import TRIAL_ROWS, Trial, kpi_parts
    from driftline.publish import explanation
    from driftline.publish.text import printable

    settings = load_settings(config)
    references = [read_baseline(file) for file in baseline]
    allowed = settings.allowed_models()
    for reference in references:
        if allowed is not None and reference.model not in allowed:
            raise OperatorError(
                f"the baseline is of {reference.model}, which this configuration does not name.",
                remedy="Add it to models, or give the baseline of one of them.",
            )
        trial = Trial(settings, reference, rate)
        trial.rows(0)  # what is compiled or touched first is no cost of an event
        began = time.process_time()
        for number in range(1, CPU_RUNS + 1):
            trial.rows(number)
        cpu_us = (time.process_time() - began) / (CPU_RUNS * TRIAL_ROWS) * 1e6
        page, plugins = trial.explanation(), _plugins(trial.detection)
        if as_json:
            typer.echo(json.dumps(explanation.as_json(page, cpu_us, plugins)))
            continue
        for line in explanation.explanation_lines(page, cpu_us, plugins):
            typer.echo(line)
        typer.echo()
    for name in sorted((allowed or frozenset()) - {r.model for r in references}):
        typer.echo(
            f"{printable(name)}: no baseline given; it learns what is normal from its first "
            f"{_learning_rows(settings, name):,} events. `driftline baseline build` makes one to explain.",
            err=as_json,
        )
        kpis = kpi_parts(settings, name)
        if kpis and not as_json:
            for line in explanation.kpi_lines(kpis):
                typer.echo(line)


def _plugins(detection: Detection) -> list[PluginPart]:
    """The detectors of river that the configuration names, each with its cost as measured now."""
    from driftline.decide.explain_plugins import PLUGIN_ROWS, PluginTrial

    trial, parts = PluginTrial(detection), []
    for place in range(len(trial.plugins)):
        began = time.process_time()
        trial.run(place)
        parts.append(trial.part(place, (time.process_time() - began) / PLUGIN_ROWS * 1e6))
    return parts


def _learning_rows(settings: Settings, model: str) -> int:
    own = settings.models.get(model)
    return (own.learning_rows if own else None) or settings.detection.learning_rows


@app.command()
def schema() -> None:
    """Print the JSON Schema of a configuration file, for editors and checks."""
    from driftline.config import json_schema

    typer.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
