"""``make quality``: what Driftline's alarms are worth, on streams whose truth is known, beside others.

Prints one table and a verdict; the exit code is 1 when Driftline missed anything. Seeded: the same code
gives the same table. How to read it: docs/quality.md.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from quality import report, verdict
from quality.measure import FULL, QUICK, laboratory
from quality.streams import changing, nulls

PROCESSES_MAX: Final = 2


def main(arguments: list[str]) -> int:
    """Measure, print, store."""
    options = parse(arguments)
    if options.page:
        report.PAGE.write_text(report.page(report.load()), encoding="utf-8")
        return 0
    begin = time.monotonic()
    streams = [s for s in (*nulls(), *changing()) if options.only in s.name]
    if not streams:
        print(f"no stream has {options.only!r} in its name", file=sys.stderr)
        return 2
    processes = min(PROCESSES_MAX, os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        results = laboratory(streams, QUICK if options.quick else FULL, pool.map, say)
    say(f"{time.monotonic() - begin:.0f} s")
    print("\n".join([*report.table(results), "", *verdict.verdicts(results)]))
    if options.write:
        report.RESULTS.write_text(report.dumps(results), encoding="utf-8")
        report.PAGE.write_text(report.page(report.load()), encoding="utf-8")
    return 1 if verdict.missed(results) else 0


def say(line: str) -> None:
    """Progress, beside the table."""
    print(line, file=sys.stderr, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="fewer runs: about 40 seconds instead of 8 minutes"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="streams with this in their name")
    parser.add_argument("--write", action="store_true", help="store results.json and docs/quality.md")
    parser.add_argument("--page", action="store_true", help="write docs/quality.md again, from results.json")
    options = parser.parse_args(arguments)
    if options.write and (options.only or options.quick):
        parser.error("--write stores a whole run: leave out --quick and --only")
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
