"""``driftline notify``: alerts to webhooks, Slack and Alertmanager."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(add_completion=False)

FAILED = 1  # exit code of a check that a target did not pass


@app.command()
def notify(
    config: Path | None = typer.Option(
        None, "--config", "-c", help="Configuration file (YAML); without one: environment only."
    ),
    check: bool = typer.Option(
        False, "--check", help="Send each target a test message and end; Kafka is not needed."
    ),
) -> None:
    """Tell the targets that the configuration names of alerts, until it is told to stop (docs/notify.md)."""
    from driftline import notifier
    from driftline.config import load_settings
    from driftline.publish import logs

    settings = load_settings(config)
    logs.setup(settings.log_format)
    if not check:
        raise typer.Exit(notifier.run(settings))

    import asyncio

    results = asyncio.run(notifier.check(settings))
    for name, problem in results.items():
        typer.echo(f"{name}: {problem or 'ok'}", err=problem is not None)
    raise typer.Exit(FAILED if any(results.values()) else 0)
