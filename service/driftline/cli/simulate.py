"""``driftline simulate``."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

app = typer.Typer(add_completion=False)


@app.command()
def simulate(
    bootstrap: Annotated[str, typer.Option(help="Kafka broker, HOST:PORT.")] = "127.0.0.1:9092",
    topic: Annotated[str, typer.Option(help="Topic to write to; it must exist.")] = "inference.events",
    rate: Annotated[
        float, typer.Option(help="Events a second; 0: as fast as the broker takes them.")
    ] = 500.0,
    events: Annotated[int, typer.Option(help="How many events in all.")] = 100_000,
    models: Annotated[int, typer.Option(help="Models sim-000, sim-001, ..., in turn.")] = 1,
    features: Annotated[int, typer.Option(help="Features of a model; every fifth is categorical.")] = 10,
    drift: Annotated[
        Literal["none", "location", "spread", "categories", "missing"], typer.Option(help="What changes.")
    ] = "none",
    drift_after: Annotated[
        str, typer.Option(help="When: events (50000) or seconds at the rate (30s).")
    ] = "50000",
    size: Annotated[
        float, typer.Option(help="How much: standard deviations, or growth of the spread.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="The same seed gives the same events, times aside.")] = 1,
    config: Annotated[
        str | None,
        typer.Option(
            help="Configuration file: its kafka section is used, --bootstrap is not.", show_default=False
        ),
    ] = None,
) -> None:
    """Write synthetic events to a topic, steady or drifting from a known event on."""
    from rich.console import Console

    from driftline.demo.simulate import SimulateOptions, run_simulate

    options = SimulateOptions(
        bootstrap, topic, rate, events, models, features, drift, drift_after, size, seed, config
    )
    run_simulate(options, Console())
