"""The command line: it parses, calls and prints; there is no logic here.

One file a command or command group, each with ``app: typer.Typer`` (a Typer with a single command becomes
that command). They are imported when used, so that ``driftline --help`` and completion stay fast; the module
level of a command file imports typer and the standard library only, everything heavy is imported inside the
functions.

Errors end here: ``OperatorError`` 64, ``FatalError`` its own code, ``MessageError`` 65, ``OutsideError`` 69,
Ctrl-C 130, each as a message and a remedy on stderr, never a traceback. Anything else is a bug and shows its
traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from driftline.errors import DriftlineError, FatalError, MessageError, OperatorError, OutsideError

EXIT_DATA: Final = 65  # the input is not what it should be (sysexits EX_DATAERR)
EXIT_OUTSIDE: Final = 69  # the environment failed (EX_UNAVAILABLE)
EXIT_INTERRUPTED: Final = 130  # 128 + SIGINT
EXIT_PIPE: Final = 141  # 128 + SIGPIPE: the reader of our output left

# name: (module, one line for --help), in the order in which a newcomer meets them
COMMANDS: Final[Mapping[str, tuple[str, str]]] = {
    "demo": (
        "driftline.cli.demo",
        "See drift found in live data: a local pipeline with a known change in it.",
    ),
    "replay": (
        "driftline.cli.replay",
        "Run files of events through the detectors: what would have been alerted?",
    ),
    "run": ("driftline.cli.run", "Run the service: read events from Kafka, write metrics and alerts."),
    "notify": (
        "driftline.cli.notify",
        "Tell webhooks, Slack and Alertmanager of alerts; --check sends each a test message.",
    ),
    "alerts": ("driftline.cli.alerts", "Follow, list and explain alerts; mute, acknowledge and close them."),
    "actions": ("driftline.cli.actions", "Follow the requests for a retraining."),
    "console": (
        "driftline.cli.console",
        "Show all models, their drift, performance and alerts in a browser, live.",
    ),
    "report": (
        "driftline.cli.report",
        "Write what happened to a model as one page for a review: HTML, Markdown or JSON.",
    ),
    "baseline": (
        "driftline.cli.baseline",
        "Build a baseline from training data, look at it, promote it to a running service.",
    ),
    "topics": ("driftline.cli.topics", "Show, create and check the topics of a deployment."),
    "doctor": ("driftline.cli.doctor", "What is wrong with this set-up, and what mends it."),
    "config": (
        "driftline.cli.config",
        "Check a configuration file; explain what it means for detection; print the schema of one.",
    ),
    "simulate": ("driftline.cli.simulate", "Write synthetic events, with drift where you want it."),
}


class LazyGroup(TyperGroup):
    """A group whose commands are imported when they are called, and whose errors become exit codes."""

    _listing = False

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        for name, (_, text) in COMMANDS.items():  # stand-ins: for the list, and for "did you mean"
            self.commands[name] = TyperCommand(name, help=text)

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - typer's signature
        """All names, in the order of ``COMMANDS``."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - typer's signature
        """The command itself, or only its line of help while the list is shown."""
        if cmd_name not in COMMANDS:
            return None
        if self._listing:
            return self.commands[cmd_name]
        command = typer.main.get_command(importlib.import_module(COMMANDS[cmd_name][0]).app)
        command.name = cmd_name
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help page, without importing the commands."""
        self._listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self._listing = False

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors that a person can act on end as a message and an exit code."""
        try:
            return super().invoke(ctx)
        except (DriftlineError, FatalError) as error:
            code = exit_code(error)
            if code is None:
                raise
            _complain(error)
            raise typer.Exit(code) from error
        except KeyboardInterrupt:
            raise typer.Exit(EXIT_INTERRUPTED) from None
        except BrokenPipeError:
            # The interpreter flushes stdout at exit: give it something to flush into.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(EXIT_PIPE) from None


def exit_code(error: BaseException) -> int | None:
    """The exit code that belongs to an error; None when only a traceback helps."""
    match error:
        case FatalError():
            return int(error.code)
        case OperatorError():
            return 64
        case MessageError():
            return EXIT_DATA
        case OutsideError():
            return EXIT_OUTSIDE
    return None


def _complain(error: DriftlineError | FatalError) -> None:
    from driftline.publish.text import printable

    for line in str(error).splitlines() or [type(error).__name__]:
        typer.echo(f"driftline: {printable(line, 4_096)}", err=True)


def _version(value: bool) -> None:
    if value:
        import driftline

        typer.echo(driftline.__version__)
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_show_locals=False)


@app.callback()
def root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Watch machine-learning models for drift: events in on Kafka, metrics and alert events out."""
    del version


def main() -> None:
    """Entry point of the ``driftline`` command."""
    app(prog_name="driftline")
