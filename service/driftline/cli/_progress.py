"""How far a long reading has come: a bar on a terminal, a line when it is over elsewhere; on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from driftline.ingest.files import Batch


def watched(label: str, batches: Iterable[Batch], total: int | None) -> Iterator[Batch]:
    """The batches; ``total`` is the number of their rows, None when unknown."""
    start, rows = time.perf_counter(), 0
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        text = TextColumn("{task.fields[rows]}")
        with Progress(
            TextColumn(label), BarColumn(), text, TimeRemainingColumn(), console=Console(stderr=True)
        ) as bar:
            task = bar.add_task(label, total=total, rows="")
            for batch in batches:
                yield batch
                rows += batch.rows
                bar.update(task, completed=rows, rows=rate(rows, time.perf_counter() - start))
        return
    for batch in batches:
        yield batch
        rows += batch.rows
    typer.echo(f"{label}: {rate(rows, time.perf_counter() - start)}", err=True)


def rate(rows: int, seconds: float) -> str:
    """Rows and how many a second."""
    return f"{rows:,} rows, {rows / max(seconds, 1e-9):,.0f} rows/s"
