"""``driftline report``: what happened to a model, as one page for a review meeting."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path

import typer

from driftline.errors import OperatorError

app = typer.Typer(add_completion=False)


class Format(StrEnum):
    """How the report is written."""

    HTML = "html"
    MARKDOWN = "md"
    JSON = "json"


@app.command()
def report(
    model: str = typer.Option(..., "--model", "-m", help="The model."),
    since: str | None = typer.Option(
        None, "--since", help="Begin: a date, an RFC 3339 time, or 7d, 12h before now. Default: all kept."
    ),
    until: str | None = typer.Option(None, "--until", help="End, likewise. Default: now."),
    form: Format = typer.Option(Format.HTML, "--format", help="html is one file that needs nothing else."),
    out: Path | None = typer.Option(None, "--out", "-o", help="Write to this file; default: stdout."),
    config: Path | None = typer.Option(None, "--config", "-c", help="Configuration file (YAML)."),
    replayed: Path | None = typer.Option(
        None, "--from", help="Read what `replay --json --reports` printed, instead of the topics; - is stdin."
    ),
) -> None:
    """Write what happened to a model: summary, alerts, performance and coverage over time, drifted signals.

    It is made of the alerts and reports topics, read committed.
    """
    import asyncio
    import time

    from driftline.config import load_settings
    from driftline.publish import logs, outputs, review_pages
    from driftline.publish.history import fold
    from driftline.publish.kafka import json_object
    from driftline.publish.review import BOUNDS, make

    now = time.time_ns() // 1_000_000
    begin, end = (None if text is None else outputs.moment_of(text, now) for text in (since, until))
    if begin is not None and end is not None and begin >= end:
        raise OperatorError("--since is not before --until.")
    if replayed is not None:
        found = filter(None, map(json_object, _lines(replayed)))
        history = fold(outputs.belonging(found, model, begin, end), BOUNDS)
    else:
        settings = load_settings(config)
        logs.setup(settings.log_format)
        history = asyncio.run(outputs.collect(settings, model, begin, end))
    if model not in history.models:
        raise OperatorError(
            f"there is no alert and no report of model {model} in that time.",
            remedy="The first report comes after a full window (detection.window_rows events). "
            "Is the model's name right? `driftline alerts list` shows those with alerts.",
        )
    text = review_pages.written(make(history.models[model], begin, end), form.value)
    if out is None:
        sys.stdout.buffer.write(text.encode())
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"--out {out}: {error.strerror or error}.") from error
    typer.echo(f"{out}: {len(text.encode()) / 1e3:,.0f} KB", err=True)


def _lines(path: Path) -> list[bytes]:
    try:
        data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    except OSError as error:
        raise OperatorError(f"--from {path}: {error.strerror or error}.") from error
    return data.splitlines()
