"""One simulated deployment: cluster, groups, supervised workers, time.

Owns: building everything from a plan, starting and restarting workers with the product's own stages in them,
and the trace of what happened. Mirrors ``app`` where it orders the stages and ends the process. Knows no
invariant: ``invariants.Monitor`` watches.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Final

from driftline.config import Settings
from driftline.errors import DriftlineError, ExitCode, FatalError
from driftline.ingest.service import IngestService
from driftline.publish.headroom import Headroom
from driftline.publish.metrics import Metrics
from driftline.stream.agent import Owner, mailbox_partitions
from simulation.broker import Broker
from simulation.clients import SimClients, SimSource
from simulation.flow import Flow
from simulation.groups import TICK_SECONDS, Group
from simulation.loop import PROCESS, Process, VirtualLoop, unexpected
from simulation.network import Network
from simulation.plan import Plan

STOP_SECONDS_MAX: Final = 28.0  # as in ``app``: then the process is ended
RESTART_SECONDS: Final = (0.2, 4.0)  # what a supervisor takes
RETENTION_SECONDS: Final = 600.0
EPOCH: Final = 1_700_000_000.0  # Unix seconds when a run begins
JUMP_SECONDS: Final = 3_600.0
JUMP_EVERY_SECONDS: Final = 3.0
OUTPUTS: Final = ("alerts", "reports", "actions", "rejects", "commands")


class World:
    """Everything but the checks.

    Args:
        plan: sizes and settings of this run.
        loop: time.
        seed: of all dice in here.
        jumps: whether wall clocks do.
    """

    def __init__(self, plan: Plan, loop: VirtualLoop, seed: int, *, jumps: bool = True) -> None:
        self.plan, self.loop, self.jumps = plan, loop, jumps
        self.settings: Settings = plan.settings
        self.dice = random.Random(seed)
        self.trace: list[str] = []
        self.faults: Counter[str] = Counter()
        self.network = Network(loop, random.Random(seed + 1))
        self.broker = Broker(loop.time, loop.outside, self.dice.uniform)
        self.broker.note = self.note
        topics = self.settings.topics
        self.mailbox, self.state = topics.name("mailbox"), topics.name("state")
        self.alerts, self.rejects = topics.name("alerts"), topics.name("rejects")
        self.actions = topics.name("actions")
        self.reports = topics.name("reports")
        for name in plan.raws:
            self.broker.create(name, plan.raw_partitions)
        for name in (self.mailbox, self.state):
            self.broker.create(name, topics.mailbox_partitions)
        for role in OUTPUTS:
            self.broker.create(topics.name(role), 2 if role != "commands" else 1)
        session = self.settings.kafka.session_timeout_seconds

        def group(role: str, *names: str) -> Group:
            return Group(
                f"{self.settings.group}-{role}", tuple(sorted(names)), broker=self.broker, loop=loop,
                uniform=self.dice.uniform, session=session, rebalance=max(session, 10.0),
            )  # fmt: skip

        self.ingest = group("ingest", *plan.raws, topics.name("commands"))
        self.detect = group("detect", self.mailbox)
        self.workers = [Worker(self, number) for number in range(plan.workers)]

    def wall(self) -> float:
        """Unix seconds as the process that asks has them: its clock jumps an hour on, or back again."""
        now, process = self.loop.time(), PROCESS.get()
        name = process.name if process is not None and self.jumps else ""
        jump = random.Random(f"{name} {now // JUMP_EVERY_SECONDS}").choice((-1, 0, 1)) if name else 0
        return EPOCH + now + JUMP_SECONDS * jump

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.loop.time():9.3f}  {text}")

    def begin(self) -> None:
        """Start the workers and the broker's housekeeping."""
        for worker in self.workers:
            self.loop.outside(self.dice.uniform(0.0, 2.0), worker.start)
        self._tick()

    def _tick(self) -> None:
        self.ingest.tick()
        self.detect.tick()
        self.broker.expire()
        for worker in self.workers:
            worker.tick()
        self.loop.outside(TICK_SECONDS, self._tick)


class Worker:
    """One supervised worker: its current process, and starting the next one when it ends."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.starts = 0
        self.process: Process | None = None
        self.owner: Owner | None = None
        self.service: IngestService | None = None
        self.flow: Flow | None = None
        self.stop: asyncio.Event | None = None
        self.supervised = True
        self.exits: list[FatalError] = []

    def start(self) -> None:
        """A new process."""
        if not self.supervised:
            return
        self.starts += 1
        world = self.world
        process = self.process = Process(f"w{self.number}.{self.starts}", world.loop)
        process.on_end = lambda: self._ended(process)
        world.note(f"{process.name} starts")
        process.start(self._main(process))

    def _ended(self, process: Process) -> None:
        error = process.error
        if error is not None:
            self.exits.append(error)
            self.world.faults[f"exit {error.code.name}"] += 1
        self.world.note(f"{process.name} ended: {error or 'killed'}")
        self.world.loop.outside(self.world.dice.uniform(*RESTART_SECONDS), self.start)

    async def _main(self, process: Process) -> None:
        """What ``app.Service`` does, from the check of the topics on."""
        try:
            await self._stages(process)
        except FatalError as error:
            process.exit(error)
        except DriftlineError as error:
            process.exit(FatalError(ExitCode.CONFIG, str(error)))
        except Exception as error:  # noqa: BLE001 - as in app
            process.exit(unexpected(error))
        self.world.note(f"{process.name} stopped")
        process.on_end = lambda: None
        process.kill()
        self.world.loop.outside(self.world.dice.uniform(*RESTART_SECONDS), self.start)

    async def _stages(self, process: Process) -> None:
        world = self.world
        groups = {g.name: g for g in (world.ingest, world.detect)}
        clients = SimClients(process, world.broker, world.network, groups, random.Random(world.dice.random()))
        ids = await world.network.request(process, lambda: dict(world.broker.ids))
        metrics = Metrics()
        self.owner = Owner(
            world.settings,
            topic_id=ids[world.mailbox],
            metrics=metrics,
            fatal=process.exit,
            partition_factory=mailbox_partitions(world.settings),
            clients=clients,  # type: ignore[arg-type]
            clock=world.loop.time,
            uniform=world.dice.uniform,
        )
        self.flow = Flow(clients, world.detect, world.mailbox, self.owner)
        self.service = IngestService(
            world.settings,
            topic_ids=ids,
            metrics=metrics,
            producer_name=process.name,
            clients=clients,  # type: ignore[arg-type]
            headroom=Headroom(dict.fromkeys(world.plan.raws, RETENTION_SECONDS), clock=world.wall),
            source=SimSource,
            clock=world.loop.time,
        )
        self.stop = asyncio.Event()
        await asyncio.gather(self.flow.run(self.stop), self.service.run(self.stop))

    def terminate(self) -> None:
        """SIGTERM: an orderly stop within the deadline."""
        process = self.process
        if process is None or self.stop is None or not process.running:
            return
        self.stop.set()
        self.world.loop.outside(STOP_SECONDS_MAX, process.kill)

    def tick(self) -> None:
        """The watchdog's question to stage 1."""
        process = self.process
        if process is not None and process.running and self.service is not None:
            problem = self.service.problem()
            if problem is not None:
                process.exit(problem)
