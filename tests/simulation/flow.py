"""What Faust does for stage 2, as ``stream/overrides`` and ``stream/worker`` make it do it.

Owns: the order revoke -> stopped flow -> take-over -> deliveries with the generation they were fetched in.
As in Faust, a rebalance does not wait for a take-over (it may be cancelled or left to run), a take-over may
be asked for twice in a generation, and records of a former assignment may still lie in the buffer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from aiokafka.errors import KafkaError

from driftline.stream.agent import Owner
from driftline.stream.worker import BUFFER_ENVELOPES_MAX, DRAIN_SECONDS_MAX, LAG_SECONDS
from simulation.broker import Log, Record
from simulation.clients import SimClients
from simulation.groups import Group, Membership, Place

IDLE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Message:
    """A record on its way to the agent."""

    partition: int
    generation: int
    record: Record


class Flow:
    """Stage 2's consumer and agent in one worker.

    Args:
        clients: of this process.
        group: the mailbox's group.
        topic: the mailbox.
        owner: the product.
    """

    def __init__(self, clients: SimClients, group: Group, topic: str, owner: Owner) -> None:
        self.clients, self.group, self.topic, self.owner = clients, group, topic, owner
        self.membership = Membership(group, clients.process, self._on_assigned, self._on_revoked)
        self.generation = -1
        self.positions: dict[int, int] = {}
        self.ends: dict[int, int] = {}  # high watermarks, of the last fetch in this assignment
        self.fetched: dict[int, int] = {}  # how far the broker has handed out, for faults to look at
        self.buffer: deque[Message] = deque()
        self._flowing = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._arrived = asyncio.Event()
        self._taking_over: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """See ``DetectWorker.run``."""
        tasks = [asyncio.create_task(step()) for step in (self._fetch, self._agent, self._lags)]
        self.membership.start()
        await stop.wait()
        await self.owner.drain(DRAIN_SECONDS_MAX)
        for task in (*tasks, *self._taking_over):
            task.cancel()
        await self.membership.stop()

    # --- rebalances

    async def _on_revoked(self, places: list[Place]) -> None:
        self._flowing.clear()
        if self.clients.dice.random() < 0.5:
            self.buffer.clear()
        await self.owner.revoke("rebalance")

    async def _on_assigned(self, places: list[Place]) -> None:
        self._flowing.clear()
        self.generation = self.membership.generation
        mine = sorted(partition for _, partition in places)
        self.clients.note(f"is given mailbox partitions {mine} in generation {self.generation}")
        self.positions = {partition: 0 for _, partition in places}
        self.ends = {}
        if self.clients.dice.random() < 0.5:
            for task in self._taking_over:
                task.cancel()
        task = asyncio.create_task(self._perform_seek(self.membership.generation))
        self._taking_over.add(task)
        task.add_done_callback(self._taking_over.discard)

    async def _perform_seek(self, generation: int) -> None:
        """See ``overrides.Consumer.perform_seek``."""
        for _ in range(1 + (self.clients.dice.random() < 0.2)):
            await self._idle.wait()
            await self.owner.take_over(SimMailbox(self), frozenset(self.positions))
        if generation == self.generation and not self.membership.rebalancing:
            self._flowing.set()

    # --- deliveries

    async def _fetch(self) -> None:
        dice, network = self.clients.dice, self.clients.network
        while True:
            await self._flowing.wait()
            if not self.positions or len(self.buffer) >= BUFFER_ENVELOPES_MAX:
                await asyncio.sleep(IDLE_SECONDS)
                continue
            self._idle.clear()
            try:
                positions, generation = self.positions, self.generation
                partition = dice.choice(sorted(positions))
                count = dice.randint(1, 12)
                log = self.clients.broker.log(self.topic, partition)
                try:
                    found, position, end = await network.request(
                        self.clients.process,
                        lambda log=log, at=positions[partition], count=count: self._read(log, at, count),  # type: ignore[misc]
                    )
                except KafkaError:
                    continue
                # What comes while the flow is stopped is dropped; a take-over seeks before it flows again.
                if positions is self.positions and self._flowing.is_set():
                    positions[partition], self.ends[partition] = position, end
                    self.buffer.extend(Message(partition, generation, record) for record in found)
            finally:
                self._idle.set()
            self._arrived.set()
            if not found:
                await asyncio.sleep(dice.uniform(0.0, IDLE_SECONDS))

    def _read(self, log: Log, at: int, count: int) -> tuple[list[Record], int, int]:
        """Records, where to go on, and the high watermark."""
        if not log.start <= at <= log.end:
            at = log.start  # consumer_auto_offset_reset="earliest"
        found, position = log.read(at, committed=False, count=count)
        self.fetched[log.partition] = position
        return found, position, log.end

    async def _lags(self) -> None:
        """See ``DetectWorker._lags``."""
        while True:
            for partition, end in list(self.ends.items()):
                self.owner.check_end(partition, end)
            await asyncio.sleep(LAG_SECONDS)

    async def _agent(self) -> None:
        """See ``DetectWorker._agent``."""
        dice = self.clients.dice
        while True:
            while not self.buffer:
                self._arrived.clear()
                await self._arrived.wait()
            message = self.buffer.popleft()
            record = message.record
            self.owner.apply(
                message.partition, message.generation, record.offset, record.timestamp, record.value or b""
            )
            await asyncio.sleep(0 if dice.random() < 0.8 else dice.uniform(0.0, 0.1))


class SimMailbox:
    """See ``overrides.MailboxConsumer``."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def generation(self) -> int:
        """The group's generation as the app knows it."""
        return self._flow.generation

    async def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        """The group's offsets."""
        flow = self._flow
        return await flow.clients.network.request(
            flow.clients.process,
            lambda: {p: flow.group.offsets.get((flow.topic, p)) for p in partitions},
        )

    async def log_starts(self, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset that is kept."""
        flow = self._flow
        return await flow.clients.network.request(
            flow.clients.process,
            lambda: {p: flow.clients.broker.log(flow.topic, p).start for p in partitions},
        )

    async def seek(self, offsets: Mapping[int, int]) -> None:
        """Go on reading at these offsets."""
        self._flow.clients.note(f"seeks to {dict(offsets)}")
        await asyncio.sleep(0)
        positions = self._flow.positions
        positions.update({p: offset for p, offset in offsets.items() if p in positions})

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit for lag displays; a refusal is not an error."""
        flow = self._flow
        generation = flow.membership.generation
        places = {(flow.topic, p): (offset, "") for p, offset in offsets.items()}
        try:
            await flow.clients.network.request(
                flow.clients.process,
                lambda: flow.group.commit(flow.membership, generation, places),
                fails=flow.clients.network.weather.commit_fails,
                kind="commit failed",
            )
        except KafkaError:
            return
