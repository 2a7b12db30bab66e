"""``python tests/chaos/run.py --seconds 180 --seed 1``: kill -9 and SIGTERM under traffic, then verify.

Two supervised workers, both roles in each, on a real Kafka; the verifier reads topics and state, never a
worker's word. Exit code 0 only if no row is lost or counted twice, no alert is lost or there twice, all is
drained, and every kill was recovered from in time.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from aiokafka import AIOKafkaProducer

from chaos import readback, verify
from chaos.supervisor import FaultKind, Supervisor, inflict
from chaos.tail import PositionTail
from chaos.traffic import Plan, Traffic, make_plan
from driftline.config import Settings, load_settings
from driftline.localkafka import local_kafka
from harness import workers
from harness.kafka_io import REQUEST_BYTES_MAX, Admin, until

RAW: Final = "chaos.events"
RAW_PARTITIONS: Final = 4
MAILBOX_PARTITIONS: Final = 4
MODELS: Final = 10
SESSION_SECONDS: Final = (
    6.0  # the shortest a broker allows by default: how long a killed member holds up its group
)
SETTLE_SECONDS: Final = SESSION_SECONDS + 4.0  # a group may notice this long after a fault
DRAIN_SECONDS_MAX: Final = 120.0
RECOVERY_SECONDS_MAX: Final = 30.0
CALM_SECONDS: Final = 12.0  # traffic goes on after the last fault, or its standstill could not be seen
TICK_SECONDS: Final = 0.05
# The broker rolls and cleans the state topic within seconds, so that restores read compacted segments.
BROKER: Final = {"log.cleaner.backoff.ms": "1000", "log.initial.task.delay.ms": "1000"}
COMPACTION: Final = {
    "segment.ms": "3000",
    "min.cleanable.dirty.ratio": "0.01",
    "max.compaction.lag.ms": "4000",
    "delete.retention.ms": "1000",
}


@dataclass
class Run:
    """One chaos run: its settings, its processes, and what was observed from outside."""

    bootstrap: str
    folder: Path
    seconds: float
    seed: int
    rate: int
    kinds: tuple[FaultKind, ...]
    compaction_seconds: float
    plan: Plan = field(init=False)
    settings: Settings = field(init=False)
    supervisor: Supervisor = field(init=False)
    admin: Admin = field(init=False)
    tail: PositionTail = field(init=False)
    drains: list[float] = field(default_factory=list)

    def prepare(self) -> None:
        """Topics, configuration, and the objects that need them."""
        self.plan = make_plan(MODELS, self.seconds, self.seed)
        values = workers.settings(
            self.bootstrap,
            "chaos",
            RAW,
            kafka={"bootstrap_servers": self.bootstrap, "session_timeout_seconds": SESSION_SECONDS},
            models={model: {} for model in self.plan.models},
            detection={"learning_rows": 500},
            checkpoint={"interval_seconds": 1.0},
        )
        values["topics"]["mailbox_partitions"] = MAILBOX_PARTITIONS
        config = workers.write_settings(self.folder / "driftline.yaml", values)
        self.settings = load_settings(config)
        self.admin = Admin(self.bootstrap)
        self.admin.create(RAW, RAW_PARTITIONS, {"max.message.bytes": str(REQUEST_BYTES_MAX)})
        workers.create_topics(config)
        state = self.settings.topics.name("state")
        self.admin.configure(state, COMPACTION)
        self.supervisor = Supervisor(config, self.folder)
        self.tail = PositionTail(self.bootstrap, state, MAILBOX_PARTITIONS)

    def drained(self) -> bool:
        """Both groups committed everything there is."""
        raw = self.admin.caught_up(self.settings.group_id("ingest"), RAW)
        return raw and self.admin.caught_up(
            self.settings.group_id("detect"), self.settings.topics.name("mailbox")
        )

    def started(self) -> bool:
        """Every worker is ready for the first time."""
        found = list(self.supervisor.workers)
        return len(found) == self.supervisor.count and all(worker.http("/ready") for worker in found)

    async def drain(self) -> None:
        """Liveness: once faults and traffic stop, the lag goes to 0."""
        self.drains.append(await until(self.drained, DRAIN_SECONDS_MAX))

    async def traffic(self, producer: AIOKafkaProducer, source: Traffic, begin: float, end: float) -> None:
        """Send the mix at the rate between two seconds of the plan's time."""
        dice = random.Random(self.seed + 2)
        started, sent = time.monotonic(), 0
        while (passed := time.monotonic() - started) < end - begin:
            while sent < passed * self.rate:
                value = source.draw(begin + passed, time.time_ns() // 1_000_000)
                key = b"gone" if value is None else None  # a client sends no record with neither
                await producer.send(RAW, value=value, key=key, partition=dice.randrange(RAW_PARTITIONS))
                sent += 1
            await asyncio.sleep(TICK_SECONDS)
        await producer.flush()

    async def execute(self) -> None:
        """Faults under traffic, drain, compaction, kill all, restart, every model again, drain."""
        stop = asyncio.Event()
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap,
            acks="all",
            enable_idempotence=True,
            linger_ms=5,
            max_request_size=REQUEST_BYTES_MAX,
        )
        await producer.start()
        source = Traffic(self.plan, self.seed)
        tending = asyncio.create_task(self.supervisor.run(stop))
        tailing = asyncio.create_task(self.tail.run(stop))
        try:
            await until(self.started, workers.READY_SECONDS_MAX)  # a cold start compiles; that is no fault
            hurting = asyncio.create_task(
                inflict(self.supervisor, self.kinds, self.seconds, random.Random(self.seed + 3))
            )
            await self.traffic(producer, source, 0.0, self.seconds + CALM_SECONDS)
            await hurting
            await self.drain()
            say(f"faults over; drained in {self.drains[-1]:.1f} s")
            calm = self.seconds + CALM_SECONDS
            await self.traffic(producer, source, calm, calm + self.compaction_seconds)
            await self.drain()
            self.supervisor.kill_all()
            for model in self.plan.models:
                for partition in range(RAW_PARTITIONS):
                    value = source.row(model, 0.0, time.time_ns() // 1_000_000)
                    await producer.send(RAW, value=value, partition=partition)
            await producer.flush()
            await self.drain()
            say(f"all killed and restarted on the compacted state; drained in {self.drains[-1]:.1f} s")
        finally:
            stop.set()
            await asyncio.gather(tending, tailing)
            self.supervisor.stop_all()
            await producer.stop()

    def pauses(self, kinds: tuple[FaultKind, ...]) -> list[float]:
        """Standstill after each fault of these kinds, in seconds."""
        faults = self.supervisor.faults
        nexts = [at for _, at in faults[1:]] + [float("inf")] * bool(faults)
        return [
            verify.standstill(at, following, self.tail.commits, SETTLE_SECONDS)
            for (kind, at), following in zip(faults, nexts, strict=True)
            if kind in kinds
        ]


@dataclass(frozen=True)
class Verdict:
    """The four zeros and what stands behind them."""

    expected: verify.Expected
    rows: verify.Differences
    positions: verify.Differences
    rejects: verify.Differences
    alerts: verify.Differences
    states: verify.Differences
    alerts_due: Counter[str]
    stored: readback.Stored
    seconds: float

    @property
    def rows_lost(self) -> int:
        """Rows not in the state, rejects not on their topic, offsets no mailbox partition heard of."""
        return self.rows.lost + self.rejects.lost + self.positions.lost

    @property
    def rows_twice(self) -> int:
        """Rows counted more often than sent, rejects of rows that were none, positions beyond the log."""
        return self.rows.twice + self.rejects.unexpected + self.positions.unexpected

    @property
    def alerts_lost(self) -> int:
        """Alerts an uninterrupted run makes that the topic lacks or has with other content."""
        return self.alerts.lost + self.alerts.different

    @property
    def alerts_twice(self) -> int:
        """Alerts that are there again, or that an uninterrupted run does not make."""
        return self.alerts.twice + self.alerts.unexpected


async def judge(run: Run) -> Verdict:
    """Read topics and state; compare."""
    begin = time.monotonic()
    names = run.settings.topics.name
    expected = verify.expect(await readback.raw_records(run.bootstrap, RAW), frozenset(run.plan.models))
    stored = await readback.stored_state(run.bootstrap, run.settings, run.admin)
    ends = {(RAW, p): end for p, end in run.admin.ends(RAW).items()}
    watermarks = {p: stored.watermarks.get(p, {}) for p in range(MAILBOX_PARTITIONS)}
    replayed = await readback.replay(run.bootstrap, run.settings, run.admin)
    return Verdict(
        expected=expected,
        rows=verify.compare_rows(expected.rows, stored.rows),
        positions=verify.compare_positions(ends, watermarks),
        rejects=verify.compare_rejects(
            expected.rejects, await readback.stored_rejects(run.bootstrap, names("rejects"))
        ),
        alerts=verify.compare_alerts(
            replayed.alerts, await readback.stored_alerts(run.bootstrap, names("alerts"))
        ),
        states=verify.compare_states(replayed.models, stored.models),
        alerts_due=Counter(
            str(data.get("state")) for data in replayed.alerts.values() if isinstance(data, dict)
        ),
        stored=stored,
        seconds=time.monotonic() - begin,
    )


def report(run: Run, verdict: Verdict) -> bool:
    """Print what was found; whether every promise held."""
    faults = Counter(kind for kind, _ in run.supervisor.faults)
    kills, terms = run.pauses(("kill",)), run.pauses(("term",))
    expected, stored = verdict.expected, verdict.stored
    parts = f"accepted {expected.accepted} + rejected {len(expected.rejects)} + filtered {expected.filtered}"
    say(f"records {expected.records} = {parts}; models {len(run.plan.models)}, quiet {len(run.plan.quiet)}")
    say(f"rejects by code {dict(sorted(Counter(expected.rejects.values()).items()))}")
    say(f"faults {sum(faults.values())}: {dict(faults)}; exits {dict(run.supervisor.exits)}")
    say(
        f"state topic: {stored.records} records left of {stored.offsets}; verified in {verdict.seconds:.1f} s"
    )
    say(f"alerts due {sum(verdict.alerts_due.values())}: {dict(verdict.alerts_due)}")
    if terms:
        say(f"after SIGTERM p50 {statistics.median(terms):.1f} s, max {max(terms):.1f} s (n={len(terms)})")
    for found in (verdict.rows, verdict.positions, verdict.rejects, verdict.alerts, verdict.states):
        for example in found.examples:
            say(f"  {example[:400]}")
    say(f"models whose stored state is not the replay's {verdict.states.lost + verdict.states.different}")
    say(f"rejects with another code {verdict.rejects.different}")
    say("")
    say(f"rows {expected.records}")
    say(f"faults {sum(faults.values())}")
    say(f"rows lost {verdict.rows_lost}")
    say(f"rows counted twice {verdict.rows_twice}")
    say(f"alerts lost {verdict.alerts_lost}")
    say(f"alerts twice {verdict.alerts_twice}")
    if kills:
        say(f"recovery p50 {statistics.median(kills):.1f} s, max {max(kills):.1f} s ({len(kills)} kill -9)")
    say(f"lag back to 0 after the faults in {run.drains[0]:.1f} s")
    clean = all(
        d.clean for d in (verdict.rows, verdict.positions, verdict.rejects, verdict.alerts, verdict.states)
    )
    busy = bool(faults) and bool(verdict.alerts_due) and expected.accepted > 0
    if not busy:
        say("nothing was proved: no fault, no alert or no row")
    return clean and busy and max(kills, default=0.0) < RECOVERY_SECONDS_MAX


def say(text: str) -> None:
    """One line to the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def commit() -> str:
    """The commit this ran on."""
    done = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"


async def main(options: argparse.Namespace) -> int:
    """Run, verify, report."""
    folder = Path(tempfile.mkdtemp(prefix="driftline-chaos-", dir=options.folder or None))
    say(f"chaos: seed {options.seed}, {options.seconds:.0f} s, commit {commit()}")
    say(f"Python {platform.python_version()}, logs in {folder}")
    with local_kafka(options.kafka, properties=BROKER) as kafka:
        run = Run(
            bootstrap=kafka.bootstrap,
            folder=folder,
            seconds=options.seconds,
            seed=options.seed,
            rate=options.rate,
            kinds=tuple(options.kinds.split(",")),
            compaction_seconds=options.compaction_seconds,
        )
        await asyncio.to_thread(run.prepare)
        await run.execute()
        good = report(run, await judge(run))
        run.admin.close()
    say("all promises held" if good else f"FAILED: seed {options.seed}, commit {commit()}, logs in {folder}")
    return 0 if good else 1


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=180.0, help="how long faults are injected under traffic"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=int, default=1_500, help="records a second")
    parser.add_argument(
        "--kinds", default="kill,term", help="comma list of kill, term, stop (a freeze and a wake-up)"
    )
    parser.add_argument(
        "--compaction-seconds", type=float, default=20.0, help="trickle while the cleaner runs"
    )
    parser.add_argument("--kafka", default="auto", help="auto, java, docker or HOST:PORT")
    parser.add_argument("--folder", default="", help="where to put the folder with logs and configuration")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(parse(sys.argv[1:]))))
