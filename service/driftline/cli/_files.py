"""What the commands that read event files share: opening them, and settings without a file."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from driftline.errors import OperatorError

if TYPE_CHECKING:
    from driftline.config import Settings


@contextmanager
def opened(files: Sequence[Path]) -> Iterator[Iterator[IO[bytes]]]:
    """The files one after the other; ``-`` is standard input, ``*.gz`` is decompressed.

    All are looked at before the first is read, so that a wrong name is not found after an hour.

    Raises:
        OperatorError: a file cannot be opened or read.
    """
    for file in files:
        if str(file) != "-" and not file.is_file():
            raise OperatorError(
                f"{file}: there is no such file.", remedy="Name files of events, or - for stdin."
            )
    with ExitStack() as stack:
        try:
            yield (stack.enter_context(_open(file)) for file in files)
        except (OSError, EOFError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            raise OperatorError(f"reading events: {error}.", remedy="Is the file complete?") from error


def _open(file: Path) -> IO[bytes]:
    if str(file) == "-":
        return sys.stdin.buffer
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


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
