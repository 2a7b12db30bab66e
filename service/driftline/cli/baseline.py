"""``driftline baseline``: build a baseline from training data, promote it to a running service."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from driftline.errors import OperatorError

if TYPE_CHECKING:
    from driftline.config import Settings
    from driftline.detect.reference import Reference
    from driftline.records import Block

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Build a baseline from training data, look at it, promote it to a running service.",
)

BATCH_ROWS = 20_000
BASELINE_BYTES_MAX = 64 << 20  # 500 features with all their knots are 8 MB


@app.command()
def build(
    file: Path | None = typer.Argument(
        None, help="What the model saw in training: .parquet, .csv, else one JSON object a line."
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
    topic: str | None = typer.Option(
        None, "--topic", help="Read this raw topic, one of the configured inputs, instead of a file."
    ),
    start: str | None = typer.Option(
        None, "--from", help="Of the topic: first offset of each partition, or a time (RFC 3339)."
    ),
    end: str | None = typer.Option(None, "--to", help="Of the topic: offset or time to stop before."),
) -> None:
    """Freeze the rows of a file, or of a stretch of a topic, into a baseline: what "normal" looks like."""
    from driftline import kernelcache

    kernelcache.use()
    from driftline.cli._progress import rate

    if (file is None) == (topic is None):
        raise OperatorError("give a file or --topic.", remedy="One of the two.")
    begin = time.perf_counter()
    if file is not None:
        from driftline.cli._files import file_settings

        settings = file_settings(config, model if one_model else None)
        reference, seen = _from_file(file, model, settings, column, time_ordered=time_ordered)
    else:
        reference, seen = _from_topic(str(topic), model, config, (start, end), time_ordered=time_ordered)
    if reference is None:
        raise OperatorError(
            f"{file or topic}: none of its {seen:,} rows is of model {model}.",
            remedy="Check --model; add --one-model when the rows name no model.",
        )
    _write(output, reference)
    typer.echo(
        f"{output}: baseline {reference.id} of {model}, {reference.rows:,} of {seen:,} rows, "
        f"{len(reference.signals)} signals; in all {rate(seen, time.perf_counter() - begin)}."
    )


def _from_file(
    file: Path, model: str, settings: Settings, columns: list[str], *, time_ordered: bool
) -> tuple[Reference | None, int]:
    """The reference, and how many rows the file has."""
    from driftline.cli._files import event_files
    from driftline.cli._progress import watched
    from driftline.config import ModelSettings
    from driftline.decide.replay import Replay
    from driftline.decide.seasons import wanted
    from driftline.detect.baseline import build_baseline
    from driftline.publish.text import printable

    seen: dict[str, int] = {}

    def read(label: str) -> Iterator[Sequence[Block]]:
        if seen and str(file) == "-":
            raise OperatorError("stdin cannot be read twice.", remedy="Put so many rows into a file.")
        files = event_files([file], settings, Replay(settings).decoder, columns, BATCH_ROWS)
        seen[label] = 0
        for decoded, count in watched(label, files, files.rows()):
            seen[label] += count
            yield decoded.blocks

    named = dict(item.partition("=")[::2] for item in columns)
    time_name = f"column {named['time']}" if "time" in named else "time"
    reference = build_baseline(
        model,
        read,
        time_ordered=time_ordered,
        time_name=time_name,
        wanted=wanted(settings.models.get(model, ModelSettings())),
        note=lambda text: typer.echo(printable(text, 500), err=True),
    )
    return reference, next(iter(seen.values()))


def _from_topic(
    topic: str, model: str, config: Path | None, bounds: tuple[str | None, str | None], *, time_ordered: bool
) -> tuple[Reference | None, int]:
    """The reference, and how many rows of the model there were."""
    from driftline.config import ModelSettings, load_settings
    from driftline.decide.seasons import wanted
    from driftline.detect.baseline import build_baseline
    from driftline.ingest.topic_range import read_range
    from driftline.publish.text import printable

    settings = load_settings(config)
    blocks = read_range(settings, topic, model, *bounds)
    rows = sum(map(len, blocks))
    reference = build_baseline(
        model,
        lambda _: [blocks],
        time_ordered=time_ordered,
        exact_rows=rows,
        wanted=wanted(settings.models.get(model, ModelSettings())),
        note=lambda text: typer.echo(printable(text, 500), err=True),
    )
    return reference, rows


def _write(output: Path, reference: Reference) -> None:
    from driftline.detect.reference import to_json

    try:
        output.write_bytes(to_json(reference))
    except OSError as error:
        raise OperatorError(
            f"{output}: {error.strerror}.", remedy="Name a file that can be written."
        ) from error


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
        f"{reference.model}: baseline {reference.id} promoted by command {topic}/{partition}/{offset}; the "
        "worker's log says from which raw offset on it is in force."
    )


@app.command()
def reset(
    model: str = typer.Option(..., "--model", "-m", help="The model."),
    config: Path | None = typer.Option(None, "--config", "-c", help="Configuration file (YAML)."),
    by: str = typer.Option(..., "--by", envvar="USER", help="Who asks for it; kept with the command."),
    why: str = typer.Option(..., "--why", help="The reason; kept with the command."),
) -> None:
    """Let a model of the running service learn its reference again, from its next events."""
    import asyncio

    from driftline.config import load_settings
    from driftline.publish import commands, kafka

    record = commands.reset(model, by=by, why=why)
    topic, partition, offset = asyncio.run(kafka.send_command(load_settings(config), record))
    where = f"{topic}/{partition}/{offset}"
    typer.echo(f"{model}: sent as command {where}; it raises no alerts until it has learned.")


@app.command()
def show(file: Path = typer.Argument(help="A baseline, as `baseline build` writes it.")) -> None:
    """Draw a baseline: a histogram, quantiles or categories, missing values and dependence of each signal."""
    from driftline.cli._files import ascii_only
    from driftline.publish.baselines import show_lines

    for line in show_lines(read_baseline(file), ascii_only=ascii_only()):
        typer.echo(line)


@app.command()
def export(
    file: Path = typer.Argument(help="A baseline, as `baseline build` writes it."),
    datasketches: Path = typer.Option(
        ...,
        "--datasketches",
        help="Folder for one Apache DataSketches KLL sketch (doubles) a numeric signal.",
    ),
) -> None:
    """Write the quantiles of a baseline for other tools: sketches, and index.json, which lists them."""
    from driftline.detect.datasketches import of_signal, values_of
    from driftline.detect.quantiles import K

    reference = read_baseline(file)
    index: list[dict[str, object]] = []
    try:
        datasketches.mkdir(parents=True, exist_ok=True)
        for signal in reference.signals:
            data = of_signal(signal)
            if data is None:
                continue
            name = f"{len(index):03d}.kll"  # names of signals are no file names
            (datasketches / name).write_bytes(data)
            index.append({"signal": signal.signal, "file": name, "n": values_of(signal), "k": K})
        body = {"model": reference.model, "baseline": reference.id, "sketches": index}
        (datasketches / "index.json").write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise OperatorError(
            f"{datasketches}: {error.strerror}.", remedy="Name a folder that can be written."
        ) from error
    typer.echo(f"{reference.model}: {len(index)} sketches of baseline {reference.id} in {datasketches}.")


@app.command()
def diff(
    reference: Path = typer.Argument(help="The baseline to compare with."),
    other: Path = typer.Argument(help="The baseline that is compared."),
) -> None:
    """Compare two baselines: PSI and shift of each signal, the most different first, with histograms."""
    from driftline.cli._files import ascii_only
    from driftline.publish.baselines import diff_lines

    for line in diff_lines(read_baseline(reference), read_baseline(other), ascii_only=ascii_only()):
        typer.echo(line)


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
