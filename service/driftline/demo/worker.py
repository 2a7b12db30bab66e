"""The demo's worker and console: the commands as in production, but they never outlive the demo."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client.parser import text_string_to_metric_families

from driftline.config import ENV_PREFIX
from driftline.demo.flights import MODEL
from driftline.demo.view import SignalLine
from driftline.errors import OutsideError

READY_TIMEOUT_SECONDS: Final = 120.0  # a cold start compiles the kernels first
STOP_TIMEOUT_SECONDS: Final = 10.0  # a last checkpoint takes one; its state dies with the demo
LOG_TAIL_LINES: Final = 15
# As for the local broker: a shell reads a pipe whose other end only we hold, and kills its process group,
# which the worker joins, when we are gone in whatever way. The terminal's Ctrl-C goes to our group only.
GUARD: Final = "read -r _; kill -9 -$$"
START: Final = "from driftline.cli import main; main()"


class Child:
    """One ``driftline`` command that serves HTTP."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, port: int) -> None:
        """``name`` is for messages and for the log in ``folder``; ``port`` is where it serves."""
        self.name, self._arguments = name, list(arguments)
        self.log_path = folder / f"{name}.log"
        self.address = f"http://127.0.0.1:{port}"
        self._guard: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; ``wait_ready`` waits."""
        env = {
            k: v for k, v in os.environ.items() if not k.startswith(ENV_PREFIX)
        }  # they would win over the file
        self._guard = subprocess.Popen(["sh", "-c", GUARD], stdin=subprocess.PIPE, process_group=0)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", START, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                process_group=self._guard.pid,
            )

    def wait_ready(self) -> None:
        """Wait for /ready.

        Raises:
            OutsideError: it ended, or was not ready in READY_TIMEOUT_SECONDS; with the end of its log.
        """
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            self.check()
            if self._get("/ready") is not None:
                return
            time.sleep(0.1)
        raise OutsideError(f"the {self.name} was not ready in {READY_TIMEOUT_SECONDS:.0f} s.\n{self.tail()}")

    def check(self) -> None:
        """Raise OutsideError, with the end of its log, if the worker has ended."""
        if self._process is not None and self._process.poll() is not None:
            raise OutsideError(f"the {self.name} ended with code {self._process.returncode}.\n{self.tail()}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that takes too long; reaps all. Idempotent."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_TIMEOUT_SECONDS)
        if self._guard is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)  # not reaped yet, so the id is still its own
            if self._process is not None:
                self._process.wait()
            self._guard.wait()
            if self._guard.stdin is not None:
                self._guard.stdin.close()
        self._process = self._guard = None

    def _get(self, path: str) -> str | None:
        try:
            with urllib.request.urlopen(self.address + path, timeout=5) as answer:  # noqa: S310 - ours, http
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError, TimeoutError):
            return None

    def tail(self) -> str:
        """The end of its log."""
        lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(["The end of its log:", *lines[-LOG_TAIL_LINES:]])


class Worker(Child):
    """One ``driftline run``."""

    def __init__(self, config: Mapping[str, Any], folder: Path, port: int) -> None:
        """``config`` is written to ``folder``, where the log goes too; ``port`` is its ``http.port``."""
        self.config_path = folder / "driftline.yaml"
        self.config_path.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
        super().__init__("worker", ["run", "--config", str(self.config_path)], folder, port)

    def metrics(self) -> str:
        """The page /metrics; empty while it cannot be had."""
        return self._get("/metrics") or ""


class Console(Child):
    """One ``driftline console`` with a token of its own."""

    def __init__(self, config: Path, folder: Path, port: int) -> None:
        """``config`` is the worker's; the token is written to ``folder``."""
        token = folder / "console-token"
        token.touch(mode=0o600)
        self.token = secrets.token_urlsafe(16)
        token.write_text(self.token, encoding="utf-8")
        arguments = ["console", "--config", str(config), "--port", str(port), "--token-file", str(token)]
        super().__init__("console", arguments, folder, port)


def read_metrics(page: str) -> tuple[str, int, list[SignalLine]]:
    """State of the demo's model, rows applied, and its signals, out of a /metrics page."""
    state, rows = "", 0
    shift: dict[str, float] = {}
    missing: dict[str, float] = {}
    severity: dict[str, str] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            labels = sample.labels
            if labels.get("model") != MODEL:
                continue
            match sample.name:
                case "driftline_model_state" if sample.value == 1.0:
                    state = labels["state"]
                case "driftline_model_rows_total":
                    rows = int(sample.value)
                case "driftline_signal_shift_sd":
                    shift[labels["signal"]] = sample.value
                case "driftline_signal_missing_ratio":
                    missing[labels["signal"]] = sample.value
                case "driftline_alert_active":
                    severity[labels["signal"]] = labels["severity"]
                case _:
                    pass
    names = sorted(shift.keys() | missing.keys() | severity.keys())
    return (
        state,
        rows,
        [SignalLine(n, shift.get(n, math.nan), missing.get(n, math.nan), severity.get(n)) for n in names],
    )
