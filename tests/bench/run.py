"""``python tests/bench/run.py [--quick]``: what Driftline costs, beside the obvious program.

In one run, programs taking turns: CPU us an event and wall rate of a Faust agent with river and of Driftline
with everything on; the cost by stage; a shape of events that does not flatter the scanner; 50 models at a
steady rate; memory over the run; the latency from append to alert; a recovery. Every figure is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import report, results
from bench.deployment import Deployment
from bench.events import Pool, Shape, make_pool
from bench.measure import Cost
from bench.programs import OBVIOUS, run_peer
from bench.results import say
from bench.steady import latency, many_models
from driftline.localkafka import local_kafka
from harness.kafka_io import Admin

MODEL: Final = "credit-risk"
PEER_WARM_EVENTS: Final = 5_000
MANY_POOL: Final = 500  # distinct events a model in the run with many models


@dataclass(frozen=True)
class Sizes:
    """How much of everything; chosen so that the default run stays under 10 minutes on two cores."""

    rounds: int
    events: int  # of the first round, over which memory is watched
    again: int  # of each later round, of the other shape and of each stage alone
    shuffled_rounds: int
    peer_events: int
    models: int
    rate: int
    many_seconds: float
    latency_models: int
    latency_seconds: float


DEFAULT: Final = Sizes(3, 2_000_000, 1_000_000, 2, 100_000, 50, 5_000, 60.0, 4, 60.0)
QUICK: Final = Sizes(1, 1_000_000, 1_000_000, 1, 30_000, 50, 5_000, 15.0, 4, 25.0)


class Bench:
    """One run of everything."""

    def __init__(self, bootstrap: str, folder: Path, sizes: Sizes) -> None:
        self.bootstrap, self.folder, self.sizes = bootstrap, folder, sizes
        self.admin = Admin(bootstrap)
        self.rounds: list[dict[str, Cost]] = []
        self.results: dict[str, Any] = {}

    def deployment(self, name: str, pools: Sequence[tuple[str, Pool]], **more: Any) -> Deployment:
        """A fresh one."""
        return Deployment(self.bootstrap, self.admin, self.folder, name, pools, more)

    async def throughput(self) -> None:
        """Interleaved rounds of the obvious program and Driftline on both shapes, then Driftline by stage."""
        shapes: tuple[Shape, ...] = ("ordered", "shuffled")
        pools = {shape: make_pool(MODEL, shape) for shape in shapes}
        self.results["bytes_an_event"] = {shape: pool.bytes_an_event() for shape, pool in pools.items()}
        ordered = self.deployment("bench-ordered", [(MODEL, pools["ordered"])])
        shuffled = self.deployment("bench-shuffled", [(MODEL, pools["shuffled"])])
        for deployment in (ordered, shuffled):
            say(f"learning {deployment.name}: ready after {await deployment.learn():.1f} s")
        for number in range(self.sizes.rounds):
            costs: dict[str, Cost] = {}
            events = self.sizes.again if number else self.sizes.events
            await ordered.feed(events)
            costs["obvious"] = await run_peer(
                OBVIOUS, self.bootstrap, ordered.raw, PEER_WARM_EVENTS, self.sizes.peer_events
            )
            costs["driftline"] = await ordered.measure(events)
            if number < self.sizes.shuffled_rounds:
                await shuffled.feed(self.sizes.again)
                costs["shuffled"] = await shuffled.measure(self.sizes.again)
            if number == self.sizes.rounds - 1:
                await ordered.feed(self.sizes.again)
                for role in ("ingest", "detect"):
                    costs[role] = await ordered.measure(self.sizes.again, role)
            self.rounds.append(costs)
            shown = ", ".join(
                f"{key} {cost.cpu_us:.2f} us, {cost.rate / 1000:.0f} k/s" for key, cost in costs.items()
            )
            say(f"round {number + 1}: {shown}")

    async def many(self) -> None:
        """Many models at a steady rate, and a recovery."""
        pools = [
            (f"model-{i:02d}", make_pool(f"model-{i:02d}", seed=i, size=MANY_POOL))
            for i in range(self.sizes.models)
        ]
        self.results["many"] = await many_models(
            self.deployment("bench-many", pools), self.sizes.rate, self.sizes.many_seconds
        )
        say(f"many models: {self.results['many']}")

    async def latency(self) -> None:
        """From append to alert."""
        names = [f"shifted-{i}" for i in range(self.sizes.latency_models)]
        pools = [(name, make_pool(name, seed=n, size=2_000)) for n, name in enumerate(names)]
        deployment = self.deployment("bench-latency", pools)
        self.results["latency"] = await latency(deployment, self.sizes.rate, self.sizes.latency_seconds)
        say(f"latency: {self.results['latency']}")

    def finish(self, quick: bool) -> dict[str, Any]:
        """Everything measured."""
        return self.results | {
            "quick": quick,
            "costs": [{key: cost.to_dict() for key, cost in r.items()} for r in self.rounds],
        }


async def main(options: argparse.Namespace) -> int:
    """Measure, print, store."""
    if options.page:
        results.write_page()
        return 0
    begin, machine = time.monotonic(), results.machine()
    sizes = QUICK if options.quick else DEFAULT
    parts = options.only.split(",") if options.only else ["throughput", "many", "latency"]
    folder = Path(tempfile.mkdtemp(prefix="driftline-bench-"))
    say(f"bench: {', '.join(parts)}; logs in {folder}")
    with local_kafka(options.kafka, heap="768m") as kafka:
        bench = Bench(kafka.bootstrap, folder, sizes)
        for part in parts:
            await {"throughput": bench.throughput, "many": bench.many, "latency": bench.latency}[part]()
        bench.admin.close()
    measured = {"machine": machine} | bench.finish(options.quick)
    path = results.store("bench", measured, folder, docs=options.write_docs)
    say("")
    say("\n".join(report.bench_section(measured)))
    say(f"{time.monotonic() - begin:.0f} s in all; results in {path}")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer events and rounds: about two minutes")
    parser.add_argument("--only", default="", help="comma list of throughput, many, latency")
    parser.add_argument("--write-docs", action="store_true", help=results.WRITE_DOCS_HELP)
    parser.add_argument("--page", action="store_true", help="only make the page of the results stored before")
    parser.add_argument("--kafka", default="auto", help="auto, java, docker or HOST:PORT")
    options = parser.parse_args(arguments)
    if options.only and options.write_docs:
        parser.error("--write-docs needs all parts: the page would lose what this run leaves out")
    return options


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(parse(sys.argv[1:]))))
