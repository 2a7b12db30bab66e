"""``driftline demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command()
def demo(
    events: Annotated[
        int | None,
        typer.Option(
            help="How many flights to stream; default: all of February to December.", show_default=False
        ),
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(
            help="Times real time: 86400 is a day a second. Default: as fast as the pipeline takes it.",
            show_default=False,
        ),
    ] = None,
    kafka: Annotated[str, typer.Option(help="auto, java, docker, HOST:PORT, or none (no broker).")] = "auto",
    keep: Annotated[bool, typer.Option(help="Leave Kafka and the worker running until Ctrl-C.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Write the review of the flights' model to this file (HTML).", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Chooses the January days that are held out as a control.")] = 1,
) -> None:
    """Watch drift being found in real flights: a real Kafka, a real worker, one planted fault.

    Exit code 0: the planted fault was found and resolved, and every event is accounted for. 1: not so.
    """
    from rich.console import Console

    from driftline import kernelcache

    kernelcache.use()  # before any kernel is imported
    from driftline.demo.preparation import DemoOptions
    from driftline.demo.story import run_demo

    console = Console()
    if not console.is_terminal:
        console = Console(width=110)  # a log has no width of its own
    raise typer.Exit(run_demo(DemoOptions(events, speed, kafka, keep, seed, report), console))
