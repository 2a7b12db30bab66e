"""What the commands that read event files share: opening them, and settings without a file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
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
    return EventFiles(
        files,
        settings.inputs[0],
        decoder,
        allowed_models=settings.allowed_models(),
        columns=named,
        batch_rows=batch_rows,
    )


def file_settings(config: Path | None, model: str | None) -> Settings:
    """Settings for files: without a configuration any model is accepted; ``model`` fixes that of all events.

    Raises:
        OperatorError: the configuration or the model id is wrong.
    """
    from driftline.config import load_settings

    if config is None:
        inputs = {} if model is None else {"inputs": [{"topic": "file", "model": model}]}
        return load_settings(None, ingest={"discover_models": True}, **inputs)
    settings = load_settings(config)
    if model is None:
        return settings
    source = settings.inputs[0].model_copy(update={"topic": "file", "model": model})  # keeps the mapping
    return settings.model_copy(update={"inputs": (source,)})


def ascii_only() -> bool:
    """Whether to draw in ASCII: stdout is no terminal, or it cannot or should not show more."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return not sys.stdout.isatty() or "NO_COLOR" in os.environ or encoding != "utf8"
