"""``driftline run``: the service."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(add_completion=False)


@app.command()
def run(
    config: Path | None = typer.Option(
        None, "--config", "-c", help="Configuration file (YAML); without one: environment only."
    ),
    roles: str = typer.Option(
        "ingest,detect", help="Stages of this process: ingest, detect or both, with a comma."
    ),
) -> None:
    """Run the service until it is told to stop (SIGTERM or Ctrl-C drains first).

    Ends with a code of its own for every promise it could not keep: docs/runbook.md lists them.
    """
    from driftline import app as application
    from driftline.config import load_settings
    from driftline.publish import logs

    settings = load_settings(config)
    logs.setup(settings.log_format)
    raise typer.Exit(application.run(settings, roles=application.parse_roles(roles)))
