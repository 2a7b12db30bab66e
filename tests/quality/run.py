"""``make quality``: what Driftline's alarms are worth, on streams whose truth is known, beside others.

Prints a table and a verdict for features, and for the errors of labelled events; the exit code is 1 when
Driftline missed anything. Seeded: the same code gives the same table. How to read it: docs/quality.md.
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

from quality import errors_report, report, verdict
from quality.contestants import FEATURES
from quality.errors import ERRORS
from quality.measure import FULL, QUICK, laboratory

PROCESSES_MAX: Final = 2
PARTS: Final = {"features": (FEATURES, report.RESULTS), "errors": (ERRORS, errors_report.RESULTS)}


def main(arguments: list[str]) -> int:
    """Measure, print, store."""
    options = parse(arguments)
    if options.page:
        report.PAGE.write_text(errors_report.page(), encoding="utf-8")
        return 0
    begin, missed, measured = time.monotonic(), False, 0
    for part in [options.part] if options.part else PARTS:
        panel, stored = PARTS[part]
        streams = [s for s in panel.streams() if options.only in s.name]
        if not streams:
            continue
        measured += len(streams)
        processes = min(PROCESSES_MAX, os.cpu_count() or 1)
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            results = laboratory(streams, QUICK if options.quick else FULL, pool.map, say)
        say(f"{time.monotonic() - begin:.0f} s")
        print("\n".join([*report.table(results, panel), "", *verdict.verdicts(results)]))
        missed |= bool(verdict.missed(results))
        if options.write:
            stored.write_text(report.dumps(results), encoding="utf-8")
            report.PAGE.write_text(errors_report.page(), encoding="utf-8")
    if not measured:
        print(f"no stream has {options.only!r} in its name", file=sys.stderr)
        return 2
    return 1 if missed else 0


def say(line: str) -> None:
    """Progress, beside the table."""
    print(line, file=sys.stderr, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer runs: about a minute instead of 11")
    parser.add_argument("--only", default="", metavar="TEXT", help="streams with this in their name")
    parser.add_argument("--part", choices=list(PARTS), help="only this table")
    parser.add_argument("--write", action="store_true", help="store the results and docs/quality.md")
    parser.add_argument(
        "--page", action="store_true", help="write docs/quality.md again, from the results stored"
    )
    options = parser.parse_args(arguments)
    if options.write and (options.only or options.quick):
        parser.error("--write stores a whole run: leave out --quick and --only")
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
