"""``driftline baseline``: build a baseline from training data, promote it to a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from driftline.errors import OperatorError

if TYPE_CHECKING:
    from driftline.detect.reference import Reference

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Build a baseline from training data, and promote it to a running service.",
)

BATCH_ROWS = 20_000
BASELINE_BYTES_MAX = 64 << 20  # 500 features with all their knots are 8 MB


@app.command()
def build(
    file: Path = typer.Argument(
        help="What the model saw in training: .parquet, .csv, else one JSON object a line."
    ),
    model: str = typer.Option(..., "--model", "-m", help="The model whose rows are taken."),
    output: Path = typer.Option(..., "--output", "-o", help="Where to write the baseline (JSON)."),
    config: Path | None = typer.Option(None, "--config", "-c", help="Configuration file (YAML)."),
    one_model: bool = typer.Option(
        False, "--one-model", help="All rows are the model's; they need not name it."
    ),
    column: list[str] = typer.Option(
        [],
        "--column",
        help="FIELD=NAME: which column of a table is the model, id, time, model_version, score or class.",
    ),
    time_ordered: bool = typer.Option(
        False,
        "--time-ordered",
        help="The rows are all the traffic of their time: measure their dependence now, not on live rows.",
    ),
) -> None:
    """Freeze the rows of a file into a baseline: what "normal" looks like."""
    from driftline import kernelcache

    kernelcache.use()
    from driftline.cli._files import event_files, file_settings
    from driftline.decide.replay import Replay
    from driftline.detect.baseline import BaselineRows
    from driftline.detect.reference import to_json

    settings = file_settings(config, model if one_model else None)
    decoder = Replay(settings).decoder
    rows, seen = BaselineRows(model), 0
    for decoded, count in event_files([file], settings, decoder, column, BATCH_ROWS):
        rows.add(decoded.blocks)
        seen += count
    if not len(rows):
        raise OperatorError(
            f"{file}: none of its {seen:,} rows is of model {model}.",
            remedy="Check --model; add --one-model when the rows name no model.",
        )
    reference = rows.reference(time_ordered=time_ordered)
    try:
        output.write_bytes(to_json(reference))
    except OSError as error:
        raise OperatorError(
            f"{output}: {error.strerror}.", remedy="Name a file that can be written."
        ) from error
    typer.echo(
        f"{output}: baseline {reference.id} of {model}, {len(rows):,} of {seen:,} rows, "
        f"{len(reference.signals)} signals."
    )


@app.command()
def promote(
    file: Path = typer.Argument(help="A baseline, as `baseline build` writes it."),
    config: Path | None = typer.Option(None, "--config", "-c", help="Configuration file (YAML)."),
    by: str = typer.Option(..., "--by", envvar="USER", help="Who asks for it; kept with the command."),
    why: str = typer.Option(..., "--why", help="The reason; kept with the command."),
) -> None:
    """Make a baseline the reference of its model in the running service, through the commands topic."""
    import asyncio

    from driftline.config import load_settings
    from driftline.detect.reference import to_json
    from driftline.publish import commands, kafka

    settings = load_settings(config)
    reference = read_baseline(file)
    record = commands.promote(reference.model, json.loads(to_json(reference)), by=by, why=why)
    topic, partition, offset = asyncio.run(kafka.send_command(settings, record))
    typer.echo(
        f"{reference.model}: baseline {reference.id} promoted by command {topic}/{partition}/{offset}."
    )


def read_baseline(file: Path) -> Reference:
    """A baseline from its file.

    Raises:
        OperatorError: the file cannot be read.
        MessageError: it is no baseline.
    """
    from driftline.detect.reference import from_json

    try:
        if file.stat().st_size > BASELINE_BYTES_MAX:
            raise OperatorError(f"{file}: larger than any baseline.", remedy="Is it the file of events?")
        return from_json(file.read_bytes())
    except OSError as error:
        raise OperatorError(
            f"{file}: {error.strerror}.", remedy="Name a file that `driftline baseline build` wrote."
        ) from error
