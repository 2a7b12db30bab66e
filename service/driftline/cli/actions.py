"""``driftline actions``: follow the actions topic."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import typer

from driftline.cli import _tail

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Follow the requests for a retraining.")


@app.callback()
def root() -> None:
    """Follow the requests for a retraining."""


@app.command()
def tail(
    config: Path | None = _tail.CONFIG,
    model: str | None = _tail.MODEL,
    from_beginning: bool = _tail.FROM_BEGINNING,
    follow: bool = _tail.FOLLOW,
    count_max: int | None = _tail.COUNT_MAX,
) -> None:
    """Print actions as they come: a line each on a terminal, the JSON of schemas/action.v1.json elsewhere."""
    _tail.run_tail(
        "actions", _line, config, model=model, from_beginning=from_beginning, follow=follow,
        count_max=count_max,
    )  # fmt: skip


def _line(data: Mapping[str, object]) -> None:
    from driftline.publish.actions import describe

    typer.echo(describe(data))
