"""`driftline run` as its own process: configuration, start, stop, and what the kernel and /metrics say of it.

Only processes started here are ever signalled, each through its own handle.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

READY_SECONDS_MAX: Final = 180.0  # a cold start compiles every kernel
STOP_SECONDS_MAX: Final = 60.0
SAMPLE_LINE: Final = re.compile(r"^(?P<name>[a-z_]+)(?:\{(?P<labels>[^}]*)\})? (?P<value>\S+)")


def settings(bootstrap: str, prefix: str, raw: str, **more: Any) -> dict[str, Any]:
    """A configuration for one broker on this machine; ``more`` replaces or adds whole sections."""
    base: dict[str, Any] = {
        "kafka": {"bootstrap_servers": bootstrap},
        "inputs": [{"topic": raw, "start": "earliest"}],
        "topics": {"prefix": prefix, "replication_factor": 1, "min_insync_replicas": 1},
        "group": prefix,
        "log_format": "json",
    }
    return base | more


def write_settings(path: Path, values: Mapping[str, Any]) -> Path:
    """The configuration file that workers read."""
    path.write_text(yaml.safe_dump(dict(values), sort_keys=False), encoding="utf-8")
    return path


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def driftline(*arguments: str) -> list[str]:
    """The command line of the `driftline` beside this Python."""
    return [str(Path(sys.executable).with_name("driftline")), *arguments]


def create_topics(config: Path) -> None:
    """`driftline topics create`.

    Raises:
        RuntimeError: it failed; with what it printed.
    """
    done = subprocess.run(
        driftline("topics", "create", "--config", str(config)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"topics create: exit {done.returncode}\n{done.stdout}{done.stderr}")


@dataclass
class Worker:
    """One `driftline run`."""

    config: Path
    log: Path
    roles: str | None = None
    command: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] = field(init=False)
    port: int = field(init=False)
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.port = free_port()
        command = self.command or driftline("run", "--config", str(self.config))
        if self.roles:
            command = [*command, "--roles", self.roles]
        environment = os.environ | {"DRIFTLINE_HTTP__PORT": str(self.port)}
        self.started = time.monotonic()
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, env=environment, start_new_session=True
            )

    @property
    def alive(self) -> bool:
        """Whether the process runs (a stopped one counts as running)."""
        return self.process.poll() is None

    def check(self) -> None:
        """Raise if it died.

        Raises:
            RuntimeError: it ended by itself; with the end of its log.
        """
        if not self.alive:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
            raise RuntimeError(
                f"driftline run ended with {self.process.returncode}; the end of {self.log}:\n{tail}"
            )

    def http(self, path: str) -> str:
        """Body of a page of its HTTP server; "" while it does not answer with 200."""
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer,
        ):
            return str(answer.read().decode())
        return ""

    def metrics(self) -> dict[str, dict[str, float]]:
        """Values by metric name and label text."""
        return parse_metrics(self.http("/metrics"))

    def ready(self) -> bool:
        """Whether /ready says so."""
        self.check()
        return bool(self.http("/ready"))

    def wait_ready(self) -> float:
        """Seconds from the start of the process until it was ready.

        Raises:
            TimeoutError: it never was.
            RuntimeError: it ended.
        """
        while not self.ready():
            if time.monotonic() - self.started > READY_SECONDS_MAX:
                raise TimeoutError(f"not ready after {READY_SECONDS_MAX:.0f} s, see {self.log}")
            time.sleep(0.1)
        return time.monotonic() - self.started

    def signal(self, number: signal.Signals) -> None:
        """Send a signal if it still runs."""
        if self.alive:
            self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and SIGKILL when it does not end in time; the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit code of a worker that was told to stop; SIGKILL when it does not in time."""
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        """SIGKILL, and gone."""
        if self.alive:
            self.process.kill()
        self.process.wait()

    def usage(self) -> Usage:
        """CPU and memory of the process and its children by now; zeros when it ended."""
        return usage_of(self.process.pid)


@dataclass(frozen=True, slots=True)
class Usage:
    """User + system CPU seconds (ended children included) and resident bytes."""

    cpu: float
    rss: int


def usage_of(pid: int) -> Usage:
    """CPU and memory of a process and everything it started, from the kernel's accounts."""
    cpu, rss = 0.0, 0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                cpu += times.user + times.system + times.children_user + times.children_system
                rss += process.memory_info().rss
    return Usage(cpu, rss)


def parse_metrics(text: str) -> dict[str, dict[str, float]]:
    """Values by metric name and label text, from the Prometheus text format."""
    found: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        match = SAMPLE_LINE.match(line)
        if match:
            found.setdefault(match["name"], {})[match["labels"] or ""] = float(match["value"])
    return found
