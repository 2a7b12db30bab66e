"""A real Prometheus of Debian's package as a process of ours: started, asked over HTTP, ended."""

from __future__ import annotations

import json
import math
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final, Self

import yaml

from harness.workers import free_port

READY_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 10.0
RANGE_SECONDS: Final = 60  # what a graph is asked for
STEP_SECONDS: Final = 5


class Prometheus:
    """Scrapes one worker every second and evaluates rules as often; a context manager."""

    def __init__(self, folder: Path, target: str, rules: list[Path]) -> None:
        """``folder`` gets configuration, data and log; ``target`` is HOST:PORT of the worker."""
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = folder / "prometheus.log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in rules],
            "scrape_configs": [{"job_name": "driftline", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def __enter__(self) -> Self:
        """Start it and wait until it answers.

        Raises:
            TimeoutError: it never did; with the end of its log.
        """
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={self._folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                    "--log.level=warn",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_SECONDS_MAX
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2):  # noqa: S310 - ours, http
                    return self
            except OSError:
                time.sleep(0.1)
        self.__exit__()
        raise TimeoutError(f"prometheus did not start:\n{self._log.read_text(errors='replace')[-2000:]}")

    def __exit__(self, *_: object) -> None:
        """End it."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def instant(self, expr: str) -> list[float]:
        """Present values of an expression, one a series; NaN left out.

        Raises:
            ValueError: Prometheus refuses the expression.
        """
        result = self._get("query", query=expr)["result"]
        return [v for v in (float(item["value"][1]) for item in result) if not math.isnan(v)]

    def over_time(self, expr: str) -> list[float]:
        """Values of an expression over the last minute, of all series in turn; NaN left out.

        Raises:
            ValueError: Prometheus refuses the expression.
        """
        now = time.time()
        found = self._get(
            "query_range", query=expr, start=str(now - RANGE_SECONDS), end=str(now), step=str(STEP_SECONDS)
        )
        values = (float(value) for item in found["result"] for _, value in item["values"])
        return [v for v in values if not math.isnan(v)]

    def rules(self) -> list[dict[str, Any]]:
        """Every loaded rule with its health, as /api/v1/rules tells it."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - ours, http
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(f"{error.read().decode()[:500]}: {parameters}") from error
