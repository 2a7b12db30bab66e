"""Result files: what a run measured and where, one a kind of run; docs/benchmarks.md is made of them.

``tests/bench/results/bench.json`` comes from run.py, ``peers.json`` from run_peers.py; report.py turns both
into the page, so that no figure on it is written by hand.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench import report

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = Path(__file__).parent / "results"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
WRITE_DOCS_HELP: Final = "keep the results in tests/bench/results and make docs/benchmarks.md of them"
PACKAGES: Final = ("faust-streaming", "aiokafka", "confluent-kafka", "orjson", "river", "numba", "numpy")


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code; ask before the run, as the load is part of it."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "commit": done.stdout.strip() or "unknown",
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "cpu": f"{os.cpu_count()} x {cpu}",
        "load_before": round(os.getloadavg()[1], 1),  # over five minutes: was the machine ours alone?
        "versions": {"Python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def load(folder: Path = FOLDER) -> dict[str, Any]:
    """The stored results by kind."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def store(kind: str, results: Mapping[str, Any], folder: Path, *, docs: bool) -> Path:
    """Write a run's results into ``folder``, or with ``docs`` beside the others, and the page; the file."""
    path = (FOLDER if docs else folder) / f"{kind}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    if docs:
        write_page()
    return path


def write_page() -> None:
    """Make docs/benchmarks.md of the stored results."""
    PAGE.write_text(report.page(load(FOLDER)), encoding="utf-8")


def say(text: str) -> None:
    """One line to the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
