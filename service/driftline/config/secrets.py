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
        OperatorError: see ``read_secret``.
    """
    if file is not None:
        return read_secret(file, f"{key}_file")
    return value.get_secret_value() if value else None


def read_secret(file: Path, key: str) -> str:
    """The content of a secret's file without white space around it; ``key`` names it in errors.

    Raises:
        OperatorError: the file cannot be read, is no text or empty; never shows what is in it.
    """
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise OperatorError(
            f"{key}: {error.strerror}: {file}.", remedy="Mount the file or correct the path."
        ) from error
    text = raw.decode("utf-8", errors="replace").strip()
    problem = "" if text else "it is empty"
    if "\ufffd" in text:  # not an exception of the decoder, which would hold the bytes
        problem = "it is not UTF-8 text"
    if problem:
        raise OperatorError(f"{key}: {problem}: {file}.", remedy="Write the secret into it, and no more.")
    return text
