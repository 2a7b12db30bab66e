"""What the commands that read event files share: opening them, and settings without a file."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from driftline.errors import OperatorError

if TYPE_CHECKING:
    from driftline.config import Settings
    from driftline.ingest.decode import Decoder
    from driftline.ingest.files import EventFiles


def event_files(
    files: Sequence[Path], settings: Settings, decoder: Decoder, columns: Sequence[str], batch_rows: int
) -> EventFiles:
    """The files, read under the settings; ``columns`` are FIELD=NAME from the command line.

    Raises:
        OperatorError: a file is not there or a column is not given as FIELD=NAME.
    """
    from driftline.ingest.files import EventFiles

    named: dict[str, str] = {}
    for item in columns:
        name, equals, column = item.partition("=")
        if not equals or not column:
            raise OperatorError(f"--column {item}: not FIELD=NAME.", remedy="For example --column time=ts.")
        named[name] = column
    source = settings.first_input()
    assert source is not None  # the settings promise one
    return EventFiles(
        files,
        source,
        decoder,
        allowed_models=settings.allowed_models(),
        columns=named,
        batch_rows=batch_rows,
    )


def label_lines(files: Sequence[Path]) -> Iterator[bytes]:
    """The lines of files of labels, one file after the other.

    Raises:
        OperatorError: a file cannot be read.
    """
    from driftline.decide.replay import read_lines

    for path in files:
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
                yield from read_lines([stream])
        except (OSError, EOFError, zlib.error) as error:
            raise OperatorError(
                f"--labels {path}: {error.strerror or error}." if isinstance(error, OSError) else f"{error}.",
                remedy="Name a file of labels, one JSON object a line.",
            ) from error


def file_settings(config: Path | None, model: str | None, *, labels: bool = False) -> Settings:
    """Settings for files: without a configuration any model is accepted; ``model`` fixes that of all events.

    ``labels``: the join of labels is on even if the configuration names no topic of labels.

    Raises:
        OperatorError: the configuration or the model id is wrong.
    """
    from driftline.config.settings import LabelSettings

    settings = _file_settings(config, model)
    if not labels or settings.detection.labels is not None:
        return settings
    detection = settings.detection.model_copy(update={"labels": LabelSettings()})
    return settings.model_copy(update={"detection": detection})


def _file_settings(config: Path | None, model: str | None) -> Settings:
    from driftline.config import load_settings

    if config is None:
        inputs = {} if model is None else {"inputs": [{"topic": "file", "model": model}]}
        return load_settings(None, ingest={"discover_models": True}, **inputs)
    settings = load_settings(config)
    if model is None:
        return settings
    source = settings.first_input()
    assert source is not None  # the settings promise one
    fixed = source.model_copy(update={"topic": "file", "model": model})  # keeps the mapping
    others = tuple(item for item in settings.inputs if item.kind != "events")
    return settings.model_copy(update={"inputs": (fixed, *others)})


def ascii_only() -> bool:
    """Whether to draw in ASCII: stdout is no terminal, or it cannot or should not show more."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return not sys.stdout.isatty() or "NO_COLOR" in os.environ or encoding != "utf8"
