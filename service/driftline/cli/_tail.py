"""Following one of our topics on a terminal: the options and the loop that its commands share."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

import typer

CONFIG: Final = typer.Option(None, "--config", "-c", help="Configuration file (YAML).")
MODEL: Final = typer.Option(None, "--model", "-m", help="Only those of this model.")
FROM_BEGINNING: Final = typer.Option(False, "--from-beginning", help="Start with the oldest one kept.")
FOLLOW: Final = typer.Option(True, "--follow/--no-follow", help="Wait for more at the end, or stop there.")
COUNT_MAX: Final = typer.Option(None, "--max", min=1, help="Stop after so many.")


def run_tail(
    role: Literal["alerts", "actions"],
    line: Callable[[Mapping[str, object]], None],
    config: Path | None,
    *,
    model: str | None,
    from_beginning: bool,
    follow: bool,
    count_max: int | None,
) -> None:
    """Print what is on a topic as it comes: with ``line`` on a terminal, as JSON elsewhere."""
    import asyncio

    from driftline.config import load_settings
    from driftline.publish import kafka, logs

    settings = load_settings(config)
    logs.setup(settings.log_format)
    asyncio.run(
        kafka.follow_alerts(
            settings,
            line if sys.stdout.isatty() else as_json,
            model=model,
            from_beginning=from_beginning,
            follow=follow,
            count_max=count_max,
            role=role,
        )
    )


def as_json(data: Mapping[str, object]) -> None:
    """A record as it is on the topic."""
    # ASCII: whatever reads a pipe may print it to a terminal.
    print(json.dumps(data, separators=(",", ":")), flush=True)
