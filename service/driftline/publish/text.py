"""Text from outside made safe to show (one line, no control or bidi characters), times and data as text."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from driftline.errors import BugError

VALUE_CHARS_MAX: Final = 128  # of one value in a log line: enough for any name, too little to flood a log
ELLIPSIS: Final = "…"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Control, format (bidi overrides, zero width), surrogate, line and paragraph separators.
_UNSAFE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def json_bytes(data: Mapping[str, object], what: str) -> bytes:
    """The JSON of an output's data: the same data always gives the same bytes.

    Raises:
        BugError: it is not JSON-ready (a NaN, an object), against the contract of ``decide.outputs``; names
            ``what``.
    """
    try:
        return json.dumps(dict(data), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise BugError(f"{what} cannot be encoded: {error}") from error


def printable(text: str, chars_max: int = VALUE_CHARS_MAX) -> str:
    r"""One line of ``text``: unsafe characters as ``\n``, ``\x1b``, ``\u202e``; cut to ``chars_max``."""
    if len(text) > chars_max:
        text = text[: chars_max - 1] + ELLIPSIS
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(c) if unicodedata.category(c) in _UNSAFE else c for c in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def rfc3339(time_ms: int) -> str:
    """Unix milliseconds in UTC, e.g. ``2026-11-23T10:00:00.123Z``; clamped to the years 1-9999."""
    try:
        when = _EPOCH + timedelta(milliseconds=time_ms)
    except OverflowError:
        when = datetime.max.replace(tzinfo=UTC) if time_ms > 0 else datetime.min.replace(tzinfo=UTC)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{when.microsecond // 1000:03d}Z".rjust(24, "0")
