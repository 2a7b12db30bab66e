"""Secrets that a configuration names: a value, or better a file that holds it."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from driftline.errors import OperatorError


def secret(value: SecretStr | None, file: Path | None, key: str) -> str | None:
    """The secret itself, from the file if one is named; None where there is neither.

    Args:
        value: the value of the key, from the configuration or the environment.
        file: the value of the key with ``_file`` behind it.
        key: how the configuration spells the key, for the message.

    Raises:
        OperatorError: the file cannot be read.
    """
    if file is None:
        return value.get_secret_value() if value else None
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise OperatorError(
            f"{key}_file: {reason}: {file}.", remedy="Mount the file or correct the path."
        ) from error
