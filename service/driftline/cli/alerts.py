"""``driftline alerts``: follow the alerts topic, list it, explain an alert; mute, acknowledge, close."""

from __future__ import annotations

import difflib
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from driftline.cli import _tail
from driftline.errors import OperatorError

if TYPE_CHECKING:
    from driftline.config import Settings
    from driftline.publish.commands import AlertAction

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Follow the alerts topic; list alerts, explain one; mute, acknowledge or close.",
)

UNITS_MS = {"m": 60_000, "h": 3_600_000, "d": 86_400_000}
MATCHES_MAX = 5  # ids shown when a beginning fits several

MODEL = typer.Option(..., "--model", "-m", help="The model.")
BY = typer.Option(..., "--by", envvar=["USER", "LOGNAME", "USERNAME"], help="Who asks for it; your login.")
WHY = typer.Option(..., "--why", help="The reason; it stands in the alerts.")
CONFIG = typer.Option(None, "--config", "-c", help="Configuration file (YAML).")

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


@app.command()
def mute(
    model: str = MODEL,
    signal: str | None = typer.Option(None, "--signal", "-s", help="Only this signal; else the whole model."),
    until: str | None = typer.Option(None, "--until", help="End, RFC 3339: 2026-11-25T18:00:00Z."),
    for_: str | None = typer.Option(None, "--for", help="Or how long: 90m, 4h, 3d."),
    by: str = BY,
    why: str = WHY,
    config: Path | None = CONFIG,
) -> None:
    """Let alerts of a model or signal page nobody until a time; they stay on the topic, marked as muted."""
    end = _end(until, for_)
    _send(config, "mute", model, signal, by=by, why=why, until_ms=end)
    typer.echo("What is still open when the mute ends is told again, and may page then.")


@app.command()
def unmute(
    model: str = MODEL,
    signal: str | None = typer.Option(None, "--signal", "-s", help="The signal, if that was muted."),
    by: str = BY,
    why: str = WHY,
    config: Path | None = CONFIG,
) -> None:
    """End a mute before its time; what is still open is told again."""
    _send(config, "unmute", model, signal, by=by, why=why)


@app.command()
def ack(
    model: str = MODEL,
    signal: str | None = typer.Option(
        None, "--signal", "-s", help="Only this signal; else all that is open."
    ),
    by: str = BY,
    why: str = WHY,
    config: Path | None = CONFIG,
) -> None:
    """Acknowledge an open alert: others see who deals with it, and it pages no more until it resolves."""
    _send(config, "ack", model, signal, by=by, why=why)


@app.command()
def close(
    model: str = MODEL,
    signal: str = typer.Option(..., "--signal", "-s", help="The signal."),
    by: str = BY,
    why: str = WHY,
    config: Path | None = CONFIG,
) -> None:
    """End the open alert of a signal; its detectors start anew, so that a change that stays is told again."""
    _send(config, "close", model, signal, by=by, why=why)


def _end(until: str | None, for_: str | None) -> int:
    """When a mute ends, epoch milliseconds."""
    from driftline.ingest.decode.slow import parse_rfc3339

    if (until is None) == (for_ is None):
        raise OperatorError("A mute needs an end.", remedy="Give one of --until TIME and --for DURATION.")
    now = int(time.time() * 1000)
    if for_ is not None:
        found = re.fullmatch(r"(\d{1,6})([mhd])", for_)
        if found is None or int(found[1]) == 0:
            raise OperatorError(f"--for {for_!r} is no duration.", remedy="For example 90m, 4h or 3d.")
        return now + int(found[1]) * UNITS_MS[found[2]]
    end = parse_rfc3339(until or "")
    if end is None:
        raise OperatorError(
            f"--until {until!r} is no time with a zone.",
            remedy="For example 2026-11-25T18:00:00Z, or --for 4h.",
        )
    if end <= now:
        raise OperatorError(f"--until {until} is over.", remedy="Name a time to come.")
    return end


def _send(
    config: Path | None,
    action: AlertAction,
    model: str,
    signal: str | None,
    *,
    by: str,
    why: str,
    until_ms: int | None = None,
) -> None:
    """Send a command on alerts and say where it stands."""
    import asyncio

    from driftline.config import load_settings
    from driftline.publish import commands, kafka
    from driftline.publish.text import printable

    record = commands.on_alerts(action, model, signal, by=by, why=why, until_ms=until_ms)
    settings = load_settings(config)
    known = settings.allowed_models()
    if known is not None and model not in known:
        near = difflib.get_close_matches(model, known, 1)
        raise OperatorError(
            f"The configuration has no model {model}.",
            remedy=f"Do you mean {near[0]}?" if near else f"It has {', '.join(sorted(known)[:MATCHES_MAX])}.",
        )
    topic, partition, offset = asyncio.run(kafka.send_command(settings, record))
    what, where = printable(f"{model}: {signal}" if signal else model), f"{topic}/{partition}/{offset}"
    typer.echo(f"{action} {what}: sent as command {where}; the worker's log says what came of it.")


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
