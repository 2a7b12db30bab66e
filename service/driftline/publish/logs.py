"""Logging set-up: JSON lines for machines, short lines on a terminal; bounded, escaped, without secrets.

Standard library only. Code logs as usual, with values in ``extra``: ``log.warning("row rejected",
extra={"code": code})``. Rules enforced here, for other people's loggers too: a value is one line of at most
128 characters, secrets are masked, and the same message comes at most ``BURST`` times a minute (the next one
says how many were left out).
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from math import isfinite
from typing import Final, Literal, TextIO

from driftline.publish.text import VALUE_CHARS_MAX, printable, rfc3339

LogFormat = Literal["auto", "json", "text"]

MESSAGE_CHARS_MAX: Final = 2_048  # an error with its remedy has about 300
TRACEBACK_CHARS_MAX: Final = 8_192  # the last frames, where the cause is
FIELDS_MAX: Final = 32
BURST: Final = 10  # records of one message a minute: enough to see a pattern
PERIOD_SECONDS: Final = 60.0
KEYS_MAX: Final = 1_024  # messages whose rate is remembered

_STANDARD: Final = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_SECRET_NAME: Final = re.compile(r"(?i)password|passwd|secret|token|credential|api_?key|private_?key")
_SECRET_TEXT: Final = re.compile(
    r"(?i)((?:password|passwd|secret|token|credential|api_?key|private_?key)\w*['\"]?\s*[=:]\s*)"
    r"(SecretStr\([^)]*\)|'[^']*'|\"[^\"]*\"|[^\s,;)}\]]+)"
)
MASK: Final = "***"


def setup(log_format: LogFormat = "auto", *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Send all logs of the process to ``stream`` (stderr by default) and to nothing else."""
    out = sys.stderr if stream is None else stream
    as_json = log_format == "json" or (log_format == "auto" and not out.isatty())
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonFormatter() if as_json else TextFormatter())
    handler.addFilter(RateLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # Clients say at INFO what only concerns their authors.
    for name in ("aiokafka", "kafka", "faust", "mode", "numba"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    logging.captureWarnings(True)


def mask(text: str) -> str:
    """``text`` with the values of anything called password, secret, token or key replaced."""
    return _SECRET_TEXT.sub(rf"\1{MASK}", text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the fields of ``extra``."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as ASCII JSON."""
        body: dict[str, object] = {
            "time": rfc3339(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        for name, value in _fields(record).items():
            body.setdefault(name, value)
        trace = _traceback(self, record)
        if trace:
            body["traceback"] = trace
        return json.dumps(body, ensure_ascii=True, allow_nan=False)


class TextFormatter(logging.Formatter):
    """A short line for people; a traceback follows on lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Time of day (UTC), level, message, fields."""
        when = rfc3339(int(record.created * 1000))[11:19]
        fields = "".join(f" {name}={value}" for name, value in _fields(record).items())
        text = f"{when} {record.levelname.lower():<8} {_message(record)}{fields}"
        trace = _traceback(self, record)
        return "\n".join([text, *(printable(line, MESSAGE_CHARS_MAX) for line in trace.splitlines())])


class RateLimit(logging.Filter):
    """At most ``BURST`` records a minute with the same logger, level and message template.

    The time is the record's own. CRITICAL always passes: it says why the process ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record passes; the first one after a pause gets a field ``suppressed``."""
        if record.levelno >= logging.CRITICAL:
            return True
        key = (record.name, record.levelno, str(record.msg)[:VALUE_CHARS_MAX])
        with self._lock:
            since, count = self._seen.get(key, (record.created, 0))
            if record.created - since >= PERIOD_SECONDS:
                if count > BURST:
                    record.suppressed = count - BURST
                since, count = record.created, 0
            if len(self._seen) >= KEYS_MAX and key not in self._seen:
                self._seen.clear()  # so many different messages are no repetition
            self._seen[key] = (since, count + 1)
        return count < BURST


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError):
        text = str(record.msg)  # arguments that do not fit the template must not lose the message
    return printable(mask(text), MESSAGE_CHARS_MAX)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in record.__dict__.items():
        if name in _STANDARD or name.startswith("_") or len(fields) >= FIELDS_MAX:
            continue
        if _SECRET_NAME.search(name):
            fields[printable(name)] = MASK
        elif (
            isinstance(value, (bool, int)) or value is None or (isinstance(value, float) and isfinite(value))
        ):
            fields[printable(name)] = value
        else:
            fields[printable(name)] = printable(mask(str(value)), VALUE_CHARS_MAX)
    return fields


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if not record.exc_info or record.exc_info[0] is None:
        return ""
    return mask(formatter.formatException(record.exc_info))[-TRACEBACK_CHARS_MAX:]
