"""Log lines: JSON or text, one line each, bounded, without secrets, not too many."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from driftline.publish import logs


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    """The root logger as pytest wants it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


def record(
    message: str, *args: object, created: float = 1_795_428_000.123, level: int = logging.INFO, **extra: Any
) -> logging.LogRecord:
    """A record at a known time."""
    made = logging.LogRecord("driftline.x", level, "f.py", 1, message, args, None)
    made.created = created
    made.__dict__.update(extra)
    return made


def raised(text: str) -> Any:
    """What sys.exc_info gives for an error with this text."""
    try:
        raise ValueError(text)  # noqa: TRY301 - the test needs a traceback
    except ValueError:
        return sys.exc_info()


def test_json_line() -> None:
    """Time, level, logger, message, then the fields."""
    line = logs.JsonFormatter().format(
        record("sent %d", 3, topic="t", ratio=0.5, none=None, bad=float("nan"))
    )
    assert json.loads(line) == {
        "time": "2026-11-23T10:00:00.123Z", "level": "info", "logger": "driftline.x", "message": "sent 3",
        "topic": "t", "ratio": 0.5, "none": None, "bad": "nan",
    }  # fmt: skip


def test_text_line() -> None:
    """Short, for people."""
    assert logs.TextFormatter().format(record("sent", topic="t")) == "10:00:00 info     sent topic=t"


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.TextFormatter()])
def test_no_value_makes_a_second_line_or_moves_the_cursor(formatter: logging.Formatter) -> None:
    """CR/LF and ANSI in messages, arguments and fields."""
    hostile = "x\r\n10:00:00 critical FAKE\x1b[2J\u202e\u2028\x85"
    line = formatter.format(record(f"m {hostile} %s", hostile, field=hostile))
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert "FAKE" in line


def test_values_are_cut() -> None:
    """128 characters of a value, 2,048 of a message, 32 fields."""
    many = {f"f{i}": i for i in range(100)}
    body = json.loads(logs.JsonFormatter().format(record("m" * 9_999, value="v" * 9_999, **many)))
    assert len(body["value"]) == 128
    assert len(body["message"]) == 2_048
    assert len(body) == 4 + logs.FIELDS_MAX


@pytest.mark.parametrize(
    "text",
    [
        "password=hunter2",
        "sasl_plain_password='hunter2'",
        "{'sasl_plain_password': 'hunter2', 'x': 1}",
        'ssl_password: "hunter2"',
        "token=hunter2&x",
        "api_key hunter2".replace(" ", "="),
        "PASSWORD = hunter2,",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    """In messages, fields and tracebacks."""
    made = record(text, detail=text)
    made.__dict__.update(password="hunter2")  # noqa: S106 - what must not be shown
    made.exc_info = raised(text)
    for formatter in (logs.JsonFormatter(), logs.TextFormatter()):
        line = formatter.format(made)
        assert "hunter2" not in line
        assert "***" in line


def test_arguments_that_do_not_fit_lose_nothing() -> None:
    """A wrong template is shown as it is."""
    assert json.loads(logs.JsonFormatter().format(record("%d rows", "many")))["message"] == "%d rows"


def test_traceback_is_bounded_and_keeps_the_end() -> None:
    """The cause is at the end."""
    made = record("failed")
    made.exc_info = raised("x" * 20_000 + "the end")
    trace = json.loads(logs.JsonFormatter().format(made))["traceback"]
    assert trace.endswith("the end")
    assert len(trace) == logs.TRACEBACK_CHARS_MAX


def test_rate_limit_by_message() -> None:
    """Ten a minute of one template; the next minute's first says how many were left out; others are free."""
    limit = logs.RateLimit()
    passed = [limit.filter(record("bad row %d", i, created=100.0 + i)) for i in range(50)]
    assert passed == [True] * logs.BURST + [False] * (50 - logs.BURST)
    assert limit.filter(record("something else", created=120.0))
    assert limit.filter(record("bad row %d", 1, created=120.0, level=logging.ERROR))
    late = record("bad row %d", 51, created=160.0)
    assert limit.filter(late)
    assert json.loads(logs.JsonFormatter().format(late))["suppressed"] == 50 - logs.BURST


def test_critical_always_passes() -> None:
    """It says why the process ends."""
    limit = logs.RateLimit()
    assert all(limit.filter(record("x", level=logging.CRITICAL)) for _ in range(100))


def test_rate_limit_is_bounded() -> None:
    """Messages with values in them do not fill the memory."""
    limit = logs.RateLimit()
    for i in range(5_000):
        limit.filter(record(f"row {i}"))
    assert len(limit._seen) <= logs.KEYS_MAX


@pytest.mark.parametrize(
    ("log_format", "stream", "is_json"),
    [
        ("auto", io.StringIO, True),
        ("auto", Terminal, False),
        ("json", Terminal, True),
        ("text", io.StringIO, False),
    ],
)
def test_setup_chooses_the_format(
    log_format: logs.LogFormat, stream: type[io.StringIO], is_json: bool
) -> None:
    """JSON off a terminal, text on one, unless said otherwise; a second call replaces the first."""
    out = stream()
    logs.setup(log_format, stream=io.StringIO())
    logs.setup(log_format, stream=out)
    logging.getLogger("driftline.test").info("hello", extra={"a": 1})
    lines = out.getvalue().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("{") is is_json
