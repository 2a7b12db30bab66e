"""``driftline actions``: follow the actions topic."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Follow the requests for a retraining.")


@app.callback()
def root() -> None:
    """Follow the requests for a retraining."""


@app.command()
def tail(
    config: Path | None = typer.Option(None, "--config", "-c", help="Configuration file (YAML)."),
    model: str | None = typer.Option(None, "--model", "-m", help="Only actions of this model."),
    from_beginning: bool = typer.Option(False, "--from-beginning", help="Start with the oldest action kept."),
    follow: bool = typer.Option(
        True, "--follow/--no-follow", help="Wait for more at the end, or stop there."
    ),
    count_max: int | None = typer.Option(None, "--max", min=1, help="Stop after this many actions."),
) -> None:
    """Print actions as they come: a line each on a terminal, the JSON of schemas/action.v1.json elsewhere."""
    import asyncio

    from driftline.config import load_settings
    from driftline.publish import kafka, logs

    settings = load_settings(config)
    logs.setup(settings.log_format)
    asyncio.run(
        kafka.follow_alerts(
            settings,
            _line if sys.stdout.isatty() else _json,
            model=model,
            from_beginning=from_beginning,
            follow=follow,
            count_max=count_max,
            role="actions",
        )
    )


def _line(data: Mapping[str, object]) -> None:
    from driftline.publish.actions import describe

    typer.echo(describe(data))


def _json(data: Mapping[str, object]) -> None:
    # ASCII: whatever reads a pipe may print it to a terminal.
    print(json.dumps(data, separators=(",", ":")), flush=True)
