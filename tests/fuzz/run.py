"""``python tests/fuzz/run.py --seconds 60``: hostile inputs against everything that reads bytes.

A child process runs the inputs, so that an abort of the interpreter is seen, too. Each input is made from a
target and a number; a failing one prints the line that repeats it. Exit code 0 only if nothing crashed and
every row was accounted for.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.targets import TARGETS, attempt

SELF: Final = "tests/fuzz/run.py"
CRASHES_MAX: Final = 20  # then something is so wrong that more of it says nothing


def child(targets: list[str], first: int, seconds: float) -> int:
    """Runs inputs until the time is up; says which before each, so that the parent knows the last one."""
    end = time.monotonic() + seconds
    number = first
    while time.monotonic() < end:
        for target in targets:
            print(f"run {target} {number}", flush=True)
            try:
                rows, accounted, outcome = attempt(target, number)
            except Exception:  # noqa: BLE001 - any other error is what this is looking for
                print(f"crash {target} {number}", flush=True)
                traceback.print_exc()
                continue
            print(f"done {rows} {accounted} {outcome}", flush=True)
        number += 1
    print(f"rss {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}", flush=True)
    return 0


def main() -> int:
    """Parses, runs, sums up."""
    parser = argparse.ArgumentParser(description="Hostile inputs against every reader of bytes.")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="number of the first input of each target")
    parser.add_argument("--target", choices=sorted(TARGETS), help="only this one")
    parser.add_argument("--one", action="store_true", help="one input only: repeats a failure")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    targets = [args.target] if args.target else list(TARGETS)
    if args.one:
        print(attempt(targets[0], args.seed))
        return 0
    if args.child:
        return child(targets, args.seed, args.seconds)
    return parent(targets, args.seed, args.seconds)


def parent(targets: list[str], seed: int, seconds: float) -> int:
    """Starts children one after the other until the time is up, and prints what they found."""
    start = time.monotonic()
    outcomes: Counter[tuple[str, str]] = Counter()
    failures: list[tuple[str, int]] = []
    unaccounted = rss = 0
    while (left := start + seconds - time.monotonic()) > 0 and len(failures) < CRASHES_MAX:
        command = [sys.executable, __file__, "--child", "--seed", str(seed), "--seconds", str(left)]
        command += ["--target", targets[0]] if len(targets) == 1 else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        running: tuple[str, int] | None = None
        for line in process.stdout:
            kind, *words = line.split()
            if kind == "run":
                running = (words[0], int(words[1]))
            elif kind == "crash" and running is not None:
                failures.append(running)
                running = None
            elif kind == "done" and running is not None:
                outcomes[running[0], words[2]] += 1
                if words[0] != words[1]:
                    unaccounted += abs(int(words[0]) - int(words[1]))
                    failures.append(running)
                seed = running[1]
                running = None
            elif kind == "rss":
                rss = max(rss, int(words[0]))
        if process.wait() != 0 and running is not None:
            print(f"the interpreter ended with {process.returncode} in {running}", file=sys.stderr)
            failures.append(running)
            seed = running[1]
        seed += 1
    report(outcomes, failures, unaccounted, rss, time.monotonic() - start)
    return 1 if failures or unaccounted else 0


def report(
    outcomes: Counter[tuple[str, str]],
    failures: list[tuple[str, int]],
    unaccounted: int,
    rss: int,
    seconds: float,
) -> None:
    """The table, the sums, and how to repeat what failed."""
    for target in dict.fromkeys(name for name, _ in outcomes):
        found = {what: count for (name, what), count in sorted(outcomes.items()) if name == target}
        print(
            f"{target:10} {sum(found.values()):8,}  "
            + ", ".join(f"{n:,} {what}" for what, n in found.items())
        )
    inputs = outcomes.total()
    print(
        f"inputs {inputs:,}  crashes {len(failures)}  unaccounted rows {unaccounted}  "
        f"peak RSS {rss // 1024} MB  {inputs / max(seconds, 1e-9):,.0f} inputs a second"
    )
    for target, number in failures:
        print(f"repeat: python {SELF} --one --target {target} --seed {number}")


if __name__ == "__main__":
    sys.exit(main())
