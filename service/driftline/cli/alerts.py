"""``driftline alerts``: follow the alerts topic, list what is on it, explain one alert."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from driftline.cli import _tail
from driftline.errors import OperatorError

if TYPE_CHECKING:
    from driftline.config import Settings

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Follow the alerts topic; list alerts and explain one."
)

MATCHES_MAX = 5  # ids shown when a beginning fits several

COLOURS = {"critical": typer.colors.RED, "warning": typer.colors.YELLOW, "info": typer.colors.CYAN}


@app.command()
def tail(
    config: Path | None = _tail.CONFIG,
    model: str | None = _tail.MODEL,
    from_beginning: bool = _tail.FROM_BEGINNING,
    follow: bool = _tail.FOLLOW,
    count_max: int | None = _tail.COUNT_MAX,
) -> None:
    """Print alerts as they come: a line each on a terminal, the JSON of schemas/alert.v1.json elsewhere."""
    _tail.run_tail(
        "alerts", _line, config, model=model, from_beginning=from_beginning, follow=follow,
        count_max=count_max,
    )  # fmt: skip


@app.command("list")
def list_alerts(
    config: Path | None = typer.Option(None, "--config", "-c", help="Configuration file (YAML)."),
    model: str | None = typer.Option(None, "--model", "-m", help="Only alerts of this model."),
    last: int = typer.Option(20, "--last", min=1, max=10_000, help="How many, the newest ones."),
) -> None:
    """List the newest alerts with their ids, oldest first."""
    from driftline.publish.alerts import describe
    from driftline.publish.text import printable

    found: deque[Mapping[str, object]] = deque(maxlen=last)
    _read_all(config, found.append, model)
    for data in found:
        typer.echo(f"{printable(str(data.get('id')), 36)}  {describe(data)}")


@app.command()
def show(
    alert: str = typer.Argument(help="Id of an alert, or how it begins; `alerts list` shows them."),
    config: Path | None = typer.Option(None, "--config", "-c", help="Configuration file (YAML)."),
    as_json: bool = typer.Option(False, "--json", help="As it is on the topic."),
) -> None:
    """Explain one alert: reference against current, statistics, thresholds, tolerance, budget, origin."""
    from driftline.cli._files import ascii_only
    from driftline.publish.alert_page import page_lines
    from driftline.publish.text import printable

    found: dict[str, Mapping[str, object]] = {}

    def take(data: Mapping[str, object]) -> None:
        if str(data.get("id")).startswith(alert) and len(found) <= MATCHES_MAX:
            found[str(data["id"])] = data

    topic = _read_all(config, take, None)
    if len(found) != 1:
        ids = ", ".join(printable(i, 36) for i in list(found)[:MATCHES_MAX])
        raise OperatorError(
            f"{topic}: {'no alert has' if not found else 'several alerts have'} an id that begins with "
            f"{printable(alert)}{f': {ids}' if found else ''}.",
            remedy="`driftline alerts list` shows the ids.",
        )
    data = next(iter(found.values()))
    if as_json:
        _tail.as_json(data)
        return
    for line in page_lines(data, ascii_only=ascii_only()):
        typer.echo(line)


def _read_all(config: Path | None, take: Callable[[Mapping[str, object]], None], model: str | None) -> str:
    """Hand every alert that is on the topic to ``take``; returns the topic's name."""
    import asyncio

    from driftline.config import load_settings
    from driftline.publish import kafka, logs

    settings: Settings = load_settings(config)
    logs.setup(settings.log_format)
    asyncio.run(kafka.follow_alerts(settings, take, model=model, from_beginning=True, follow=False))
    return settings.topics.name("alerts")


def _line(data: Mapping[str, object]) -> None:
    from driftline.publish.alerts import describe

    resolved = data.get("state") == "resolved"
    colour = typer.colors.GREEN if resolved else COLOURS.get(str(data.get("severity")))
    typer.secho(describe(data), fg=colour)
