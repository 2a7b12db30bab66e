"""Prints what was measured, and writes it down: a JSON file a run, and docs/benchmarks.md."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.measure import Cost

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("faust-streaming", "aiokafka", "river", "numba", "numpy")
# The targets of PERFORMANCE.md and of the first pipeline, printed beside what was measured; none is a result.
CPU_US_MAX: Final = 12.0
RATIO_MIN: Final = 8.0
SHARE_MAX: Final = 0.5
RSS_MB_MAX: Final = 400.0
LATENCY_SECONDS_MAX: Final = 1.0
RSS_GROWTH_MAX: Final = 1.10  # "flat": less than a tenth more at 100 % than at 10 %


def machine() -> dict[str, str]:
    """What the figures depend on besides the code."""
    cpu = "unknown"
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    done = subprocess.run(
        ["git", "-C", str(ROOT), "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
    )
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    cores = sum(line.startswith("processor") for line in Path("/proc/cpuinfo").read_text().splitlines())
    return {
        "commit": done.stdout.strip() or "unknown",
        "cpu": f"{cores} x {cpu}",
        "python": platform.python_version(),
        **versions,
    }


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median with min and max."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f} - {max(values):.{digits}f}]"


def throughput_lines(rounds: Sequence[Mapping[str, Cost]], names: Mapping[str, str]) -> list[str]:
    """A table of the programs measured in interleaved rounds, as Markdown."""
    lines = [
        "| program | CPU us an event | events/s wall | CPU, obvious over this | start-up |",
        "|---|---|---|---|---|",
    ]
    for key, text in names.items():
        costs = [r[key] for r in rounds if key in r]
        if not costs:
            continue
        ratios = [r["obvious"].cpu_us / r[key].cpu_us for r in rounds if key in r and "obvious" in r]
        against = f"{spread(ratios)} x less" if ratios and key != "obvious" else "-"
        start_wall = statistics.median(c.start_seconds for c in costs)
        start = f"{start_wall:.1f} s, {statistics.median(c.start_cpu_seconds for c in costs):.1f} s of CPU"
        events = f"{sum(c.events for c in costs) / 1e6:.2f} M"
        lines.append(
            f"| {text}; {events} events in {len(costs)} rounds | {spread([c.cpu_us for c in costs])} "
            f"| {spread([c.rate / 1000 for c in costs])} k | {against} | {start} |"
        )
    return lines


def judged(text: str, value: float, limit: float, unit: str, *, more: bool = False) -> str:
    """A line with its target and whether it was met."""
    met = value >= limit if more else value <= limit
    sign = "at least" if more else "at most"
    return f"- {text}: **{value:.3g} {unit}** (target {sign} {limit:g} {unit}: {'met' if met else 'MISSED'})"


HEAD: Final = """# Benchmarks

Written by `python tests/bench/run.py --write-docs`; every figure is measured: the median [min - max] over the
rounds of one run. Programs take turns on one machine with the broker beside them: trust ratios, not rates.

{machine}, {rounds} rounds.

Events have {ordered:.0f} bytes ({shuffled:.0f} in the shape with 17-digit numbers in changing key order), 18
numeric and 2 categorical features, score and class; 8 partitions, uncompressed, 500 records a batch. CPU is
user + system of the whole process between its first event and its last; Driftline's includes both stages, the
mailbox hop, all channels and detectors, and the checkpoints.
"""


def markdown(results: Mapping[str, Any]) -> str:
    """The whole report."""
    host = results["machine"]
    versions = [f"commit {host['commit']}", host["cpu"], f"Python {host['python']}"]
    versions += [f"{package} {host[package]}" for package in PACKAGES]
    head = HEAD.format(
        machine="Measured at " + ", ".join(versions),
        rounds=f"{results['rounds']}{' short' if results['quick'] else ''}",
        **results["bytes_an_event"],
    )
    return "\n".join([head, *results["throughput"], "", *results["lines"]]) + "\n"


def write(results: Mapping[str, Any], folder: Path, *, docs: bool) -> Path:
    """Store the results; returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{results['machine']['commit']}-{results['finished']}.json"
    path.write_text(json.dumps(results, indent=1), encoding="utf-8")
    if docs:
        (ROOT / "docs").mkdir(exist_ok=True)
        (ROOT / "docs" / "benchmarks.md").write_text(markdown(results), encoding="utf-8")
    return path


def say(text: str) -> None:
    """One line to the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
