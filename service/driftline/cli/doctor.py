"""``driftline doctor``: what is wrong with a deployment, and what mends it."""

from __future__ import annotations

from pathlib import Path

import typer

app = typer.Typer(add_completion=False)

PROBLEMS = 1  # exit code when something is wrong


@app.command()
def doctor(
    config: Path | None = typer.Option(
        None, "--config", "-c", help="Configuration file (YAML); without one: environment only."
    ),
    worker: str = typer.Option("", "--worker", help="Also ask a running worker, e.g. http://127.0.0.1:9464."),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a finding and line."),
) -> None:
    """What is wrong with this set-up, likeliest first: brokers, topics, groups, events, models.

    Changes nothing. Exit code 0: all is well; 1: something is wrong, each finding with its remedy; 64: the
    configuration itself cannot be used.
    """
    import asyncio
    import json
    import logging
    from dataclasses import asdict

    from driftline import kernelcache

    kernelcache.use()
    from driftline.config import load_settings
    from driftline.doctor.examine import examine
    from driftline.publish.text import printable

    settings = load_settings(config)
    logging.disable(logging.CRITICAL)  # the clients' own lines: what they mean is found here

    async def run() -> bool:
        good = True
        async for finding in examine(settings, worker):
            good &= finding.level != "WRONG"
            if as_json:
                typer.echo(json.dumps(asdict(finding)))
                continue
            typer.echo(f"{finding.level:5} {printable(finding.what, 1_000)}")
            if finding.remedy:
                typer.echo(f"      -> {printable(finding.remedy, 1_000)}")
        return good

    try:
        good = asyncio.run(run())
    finally:
        logging.disable(logging.NOTSET)
    raise typer.Exit(0 if good else PROBLEMS)
