"""``make bench-peers [ARGS="--rounds N --events N"]``: Driftline beside programs one could write instead.

In one run over one topic, programs taking turns: the obvious Faust + river program, hand-written loops on
aiokafka and confluent-kafka, Kafka Streams with MOA, and Driftline with everything on. After that the first
start on an empty kernel cache, and a topic with little traffic. Every figure is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import programs, report, results
from bench.deployment import LEARN_ROWS, Deployment
from bench.events import make_pool
from bench.measure import Cost
from bench.results import say
from bench.steady import pace
from driftline.localkafka import local_kafka
from harness import workers
from harness.kafka_io import Admin, until
from harness.workers import Worker

MODEL: Final = "credit-risk"
ROUNDS: Final = 5
EVENTS: Final = 1_000_000  # a round; see programs.Peer for what each peer reads of it
EVENTS_MIN: Final = 100_000  # with fewer, start-up and the broker's noise are all one sees
SMALL_RATE: Final = 100  # events/s
SMALL_SECONDS: Final = 20.0
SMALL_WARM_SECONDS: Final = 5.0
DRAIN_SECONDS_MAX: Final = 60.0


class PeersBench:
    """One run of everything."""

    def __init__(self, bootstrap: str, folder: Path, events: int) -> None:
        self.bootstrap, self.folder, self.events = bootstrap, folder, events
        self.admin = Admin(bootstrap)
        self.pool = make_pool(MODEL)

    def deployment(self, name: str) -> Deployment:
        """A fresh one, with a learned reference once ``learn`` was called."""
        return Deployment(self.bootstrap, self.admin, self.folder, name, [(MODEL, self.pool)])

    async def rounds(self, count: int) -> list[dict[str, Cost]]:
        """Every program once a round, each round beginning with another one."""
        deployment = self.deployment("peers")
        say(f"learning: ready after {await deployment.learn():.1f} s")
        found = []
        for number in range(count):
            await deployment.feed(self.events)
            first = number % len(report.PEER_PROGRAMS)
            order = [*report.PEER_PROGRAMS, *report.PEER_PROGRAMS][first : first + len(report.PEER_PROGRAMS)]
            costs = {key: await self._measure(key, deployment) for key in order}
            found.append(costs)
            shown = ", ".join(
                f"{key} {cost.cpu_us:.1f} us {cost.rate / 1000:.0f} k/s" for key, cost in costs.items()
            )
            say(f"round {number + 1}: {shown}")
        return found

    async def _measure(self, key: str, deployment: Deployment) -> Cost:
        if key == "driftline":
            return await deployment.measure(self.events)
        peer = next(peer for peer in programs.PEERS if peer.key == key)
        return await programs.measure_peer(peer, self.bootstrap, deployment.raw, self.events)

    async def cold(self) -> dict[str, float]:
        """A start with an empty kernel cache: everything is compiled."""
        deployment = self.deployment("peers-cold")
        with tempfile.TemporaryDirectory() as cache:
            command = ["env", f"NUMBA_CACHE_DIR={cache}", *workers.driftline("run", "--config")]
            worker = Worker(
                deployment.config, self.folder / "cold.log", command=[*command, str(deployment.config)]
            )
            try:
                seconds = await asyncio.to_thread(worker.wait_ready)
                cpu = worker.usage().cpu
            finally:
                await asyncio.to_thread(worker.stop)
        say(f"cold start: ready after {seconds:.0f} s, {cpu:.0f} s of CPU")
        return {"seconds": seconds, "cpu_seconds": cpu}

    async def small(self) -> dict[str, Any]:
        """Driftline and the aiokafka loop side by side on a topic with little traffic."""
        deployment = self.deployment("peers-small")
        await deployment.learn()
        worker = deployment.worker()
        warm, events = int(SMALL_RATE * SMALL_WARM_SECONDS), int(SMALL_RATE * SMALL_SECONDS)
        try:
            await asyncio.to_thread(worker.wait_ready)
            loop = asyncio.create_task(
                programs.run_peer(
                    programs.AIOKAFKA, self.bootstrap, deployment.raw, LEARN_ROWS + warm, events
                )
            )
            await pace(deployment.mixed, deployment, SMALL_RATE, SMALL_WARM_SECONDS)
            before, begin = worker.usage(), time.monotonic()
            await pace(deployment.mixed, deployment, SMALL_RATE, SMALL_SECONDS)
            after, seconds = worker.usage(), time.monotonic() - begin
            # Some more until the loop has seen all it was asked for: the last tick of a pace may fall short.
            await pace(deployment.mixed, deployment, SMALL_RATE, 1.0)
            cost = await loop
            await until(deployment.drained, DRAIN_SECONDS_MAX)
        finally:
            await asyncio.to_thread(worker.stop)
        cpu = after.cpu - before.cpu
        found = {
            "rate": SMALL_RATE,
            "seconds": seconds,
            "driftline": _share(cpu / seconds, after.rss / 1e6),
            "aiokafka": _share(cost.cpu_us * SMALL_RATE / 1e6, cost.rss_peak_mb),
        }
        say(f"{SMALL_RATE} events/s: {found}")
        return found


def _share(cpu_share: float, rss_mb: float) -> dict[str, float]:
    return {"cpu_share": cpu_share, "cpu_us": cpu_share / SMALL_RATE * 1e6, "rss_mb": rss_mb}


async def main(options: argparse.Namespace) -> int:
    """Build, measure, print, store."""
    begin, machine = time.monotonic(), results.machine()
    folder = Path(tempfile.mkdtemp(prefix="driftline-bench-"))
    try:
        programs.build_jvm()
    except programs.BuildError as error:
        say(f"bench-peers: {error}")
        return 2
    say(f"bench-peers: {options.rounds} rounds of {options.events:,} events; logs in {folder}")
    with local_kafka(options.kafka, heap="768m") as kafka:
        bench = PeersBench(kafka.bootstrap, folder, options.events)
        rounds = await bench.rounds(options.rounds)
        measured = {
            "machine": machine,
            "events": options.events,
            "bytes_an_event": bench.pool.bytes_an_event(),
            "jvm": {"flags": programs.JVM_FLAGS, "versions": programs.jvm_versions()},
            "costs": [{key: cost.to_dict() for key, cost in costs.items()} for costs in rounds],
            "small": await bench.small(),
            "cold": await bench.cold(),
        }
        bench.admin.close()
    path = results.store("peers", measured, folder, docs=options.write_docs)
    say("")
    say("\n".join(report.peers_section(measured)))
    say(f"{time.monotonic() - begin:.0f} s in all; results in {path}")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument(
        "--events", type=int, default=EVENTS, help=f"a round; default {EVENTS:,}, at least {EVENTS_MIN:,}"
    )
    parser.add_argument("--write-docs", action="store_true", help=results.WRITE_DOCS_HELP)
    parser.add_argument("--kafka", default="auto", help="auto, java, docker or HOST:PORT")
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.events < EVENTS_MIN:
        parser.error(f"--rounds is at least 1 and --events at least {EVENTS_MIN:,}")
    return options


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(parse(sys.argv[1:]))))
