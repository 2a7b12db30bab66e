"""``python tests/simulation/run.py --seeds 200``: runs seeds, says what was found; ``--seed N`` repeats one.

A run: traffic and faults for a while, then calm until nothing is left to do, then the judgement. The same
seed gives the same events in the same order, on any machine and under any hash seed.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation import judge
from simulation.faults import Faults
from simulation.invariants import Monitor, Violation
from simulation.loop import VirtualLoop
from simulation.patching import patched
from simulation.plan import STOPS, TOLERATED, TRAFFIC_SECONDS, Plan, make_plan
from simulation.traffic import Traffic
from simulation.world import World

DRAIN_SECONDS_MAX: Final = 150.0  # from the end of faults to lag 0: time-outs of groups and transactions
STOP_SECONDS_MAX: Final = 60.0  # from a fault that must stop the deployment to the exit code that says so
TAIL_LINES: Final = 60


@dataclass
class Result:
    """What came of one seed."""

    seed: int
    violation: Violation | None
    trace: list[str] = field(repr=False)
    faults: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    alerts: int = 0
    actions: int = 0
    transactions: int = 0
    envelopes: int = 0
    seconds: float = 0.0  # virtual

    @property
    def digest(self) -> str:
        """Identity of everything that happened."""
        return hashlib.sha256("\n".join(self.trace).encode()).hexdigest()


def simulate(seed: int, *, jumps: bool = True) -> Result:
    """Run one seed from begin to end; the workers' wall clocks jump unless told otherwise."""
    plan = make_plan(seed)
    loop = VirtualLoop(random.Random(seed + 1_000_003))
    run = Run(plan, loop, jumps=jumps)
    try:
        with patched() as patch:
            patch.set(time, "time", run.wall)
            return run.execute()
    finally:
        loop.dispose()


class Run:
    """One seed: the world, its watcher, and when it is over.

    Args:
        plan: what happens.
        loop: time.
        jumps: whether wall clocks do.
    """

    def __init__(self, plan: Plan, loop: VirtualLoop, *, jumps: bool = True) -> None:
        self._plan, self._loop = plan, loop
        self._world = World(plan, loop, plan.seed * 7 + 1, jumps=jumps)
        self.wall = self._world.wall
        self._traffic = Traffic(self._world, plan.seed * 7 + 4)
        self._monitor = Monitor(self._world)
        self._faults = Faults(self._world, self._traffic, plan.seed * 7 + 5)

    def execute(self) -> Result:
        """Until everything is drained, stopped as it must, or a promise is broken."""
        self._world.begin()
        self._traffic.begin()
        self._faults.schedule()
        self._loop.outside(1.0, self._look)
        self._loop.run_forever()
        world, monitor = self._world, self._monitor
        return Result(
            seed=self._plan.seed,
            violation=monitor.violation,
            trace=world.trace,
            faults=world.faults + world.network.faults,
            rows=self._traffic.rows,
            alerts=monitor.alerts,
            actions=monitor.actions,
            transactions=monitor.transactions,
            envelopes=monitor.envelopes,
            seconds=self._loop.time(),
        )

    def _look(self) -> None:
        """Every second: is it over, or has something ended that must not."""
        now = self._loop.time()
        if self._exits(now):
            self._loop.stop()
            return
        if self._faults.stopped_at is None and now > TRAFFIC_SECONDS + 1.0:
            left = judge.lag(self._world, self._monitor)
            if not left:
                self._world.note("drained")
                judge.judge(self._world, self._monitor, self._traffic)
                self._loop.stop()
                return
            if now > TRAFFIC_SECONDS + DRAIN_SECONDS_MAX:
                self._monitor.broken("progress", f"{DRAIN_SECONDS_MAX:.0f} s after the last fault: {left}")
                return
        self._loop.outside(1.0, self._look)

    def _exits(self, now: float) -> bool:
        """True when the deployment has stopped as it must."""
        stopped_at = self._faults.stopped_at
        errors = [error for worker in self._world.workers for error in worker.exits]
        if stopped_at is not None:
            assert self._plan.stop is not None
            expected = STOPS[self._plan.stop.kind]
            if any(error.code in expected for error in errors):
                return True
            if now > stopped_at + STOP_SECONDS_MAX:
                self._monitor.broken("stop", f"nothing stopped after: {self._plan.stop.kind}")
        for error in errors:
            if self._plan.calm or error.code not in TOLERATED:
                self._monitor.broken("exit", f"{error.code.name}: {error}")
        return False


def show(result: Result) -> None:
    """A failure: what, how to repeat it, and what led to it."""
    assert result.violation is not None
    print(*result.trace[-TAIL_LINES:], sep="\n")
    print(f"\nseed {result.seed}: {result.violation.check}: {result.violation.text}")
    print(f'repeat it: make sim ARGS="--seed {result.seed}"')


def main() -> int:
    """The command line; the exit code is the number of failed seeds, at most 1."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="run this one only and print its trace")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if arguments.seed is not None:
        result = simulate(arguments.seed)
        print(*result.trace, sep="\n")
        print(f"trace {result.digest}")
        if result.violation is not None:
            print(f"seed {result.seed}: {result.violation.check}: {result.violation.text}")
        return int(result.violation is not None)
    return campaign(range(arguments.first, arguments.first + arguments.seeds))


def campaign(seeds: range) -> int:
    """Run many seeds and sum up."""
    began = time.monotonic()
    faults: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    failed: list[Result] = []
    for seed in seeds:
        result = simulate(seed)
        faults += result.faults
        totals += Counter(
            rows=result.rows, envelopes=result.envelopes, transactions=result.transactions,
            alerts=result.alerts, actions=result.actions, seconds=round(result.seconds),
        )  # fmt: skip
        if result.violation is not None:
            show(result)
            failed.append(result)
    seconds = time.monotonic() - began
    print(f"seeds {len(seeds)} in {seconds:.1f} s: {len(seeds) / seconds:.1f} a second")
    for name, count in totals.items():
        print(f"{'virtual seconds' if name == 'seconds' else name} {count}")
    print("faults " + ", ".join(f"{kind} {n}" for kind, n in sorted(faults.items())))
    print(f"found {len(failed)}" + "".join(f"\n  seed {r.seed}: {r.violation}" for r in failed))
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
