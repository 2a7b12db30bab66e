"""Consumer groups: eager rebalances, generations, session time-outs, commits refused for old generations.

``Group`` is the coordinator's side, ``Membership`` the client's: it calls its listener as aiokafka and Faust
do. A member that is paused past the session time-out is put out, and learns it some time after it woke.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from aiokafka.errors import CommitFailedError

from simulation.broker import Broker
from simulation.loop import Process, VirtualLoop

Place = tuple[str, int]  # topic, partition
HEARTBEAT_SECONDS: Final = 1.5  # a member learns of a rebalance within this time
TICK_SECONDS: Final = 0.5


class Group:
    """One consumer group at its coordinator.

    Args:
        name: the group id.
        topics: what its members subscribe to.
        broker: knows the partitions.
        loop: time.
        uniform: a random number between two.
        session: seconds without a heartbeat after which a member is put out.
        rebalance: seconds that the others wait for a member to join again.
    """

    def __init__(
        self,
        name: str,
        topics: tuple[str, ...],
        *,
        broker: Broker,
        loop: VirtualLoop,
        uniform: Callable[[float, float], float],
        session: float,
        rebalance: float,
    ) -> None:
        self.name, self.topics = name, topics
        self._broker, self._loop, self._uniform = broker, loop, uniform
        self._session, self._rebalance = session, rebalance
        self.generation = 0
        self.members: dict[Membership, float] = {}  # last heartbeat
        self._waiting: dict[Membership, asyncio.Future[tuple[int, list[Place]]]] = {}
        self._joining_until: float | None = None
        self.offsets: dict[Place, int] = {}
        self.notes: dict[Place, str] = {}
        self.on_commit: Callable[[Group, Mapping[Place, int]], None] = lambda group, offsets: None
        self.rebalances = 0

    def join(self, member: Membership, answer: asyncio.Future[tuple[int, list[Place]]]) -> None:
        """A member's JoinGroup; answered when the rebalance ends."""
        self.members[member] = self._loop.time()
        self._waiting[member] = answer
        if self._joining_until is None:
            self._prepare()
        self._complete_if_joined()

    def leave(self, member: Membership) -> None:
        """A member is gone."""
        self._waiting.pop(member, None)
        if self.members.pop(member, None) is not None:
            self._prepare()
            self._complete_if_joined()

    def shake(self) -> None:
        """A rebalance that nobody knows the reason of, as an operator's tool or new metadata causes."""
        if self.members:
            self._prepare()

    def _prepare(self) -> None:
        if self._joining_until is None:
            self._joining_until = self._loop.time() + self._rebalance
        for member in self.members:
            if member not in self._waiting:
                self._loop.outside(self._uniform(0.0, HEARTBEAT_SECONDS), lambda m=member: self._tell(m))  # type: ignore[misc]

    def _tell(self, member: Membership) -> None:
        if self._joining_until is not None and member in self.members and member not in self._waiting:
            member.told()

    def _complete_if_joined(self) -> None:
        if self._joining_until is not None and self._waiting and self._waiting.keys() == self.members.keys():
            self._complete()

    def _complete(self) -> None:
        self._joining_until = None
        self.generation += 1
        self.rebalances += 1
        places = [(t, log.partition) for t in self.topics for log in self._broker.topics[t]]
        members = sorted(self._waiting, key=lambda member: self._uniform(0.0, 1.0))
        for i, member in enumerate(members):
            share = places[i :: len(members)]
            self._answer(self._waiting[member], (self.generation, share))
        self._waiting = {}

    def _answer(self, future: asyncio.Future[Any], value: Any) -> None:
        def arrive() -> None:
            if not future.done():
                future.set_result(value)

        self._loop.outside(self._uniform(0.0, 0.1), arrive)

    def tick(self) -> None:
        """Heartbeats and deadlines; called every ``TICK_SECONDS``."""
        now = self._loop.time()
        for member, seen in list(self.members.items()):
            if member.process.running:
                self.members[member] = now
            elif now - seen > self._session:
                self.leave(member)
        if self._joining_until is not None and now > self._joining_until:
            for member in [m for m in self.members if m not in self._waiting]:
                del self.members[member]
            self._joining_until = now
            self._complete_if_joined()
            if not self.members:
                self._joining_until = None

    def knows(self, member: Membership) -> bool:
        """Whether it was not put out."""
        return member in self.members

    def commit(self, member: Membership, generation: int, noted: Mapping[Place, tuple[int, str]]) -> None:
        """Store offsets, if the generation is the current one."""
        if member not in self.members or generation != self.generation:
            member.told()
            raise CommitFailedError("the group has rebalanced")
        offsets = {(*place,): offset for place, (offset, _) in noted.items()}
        self.offsets.update(offsets)
        self.notes.update({place: note for place, (_, note) in noted.items()})
        self.on_commit(self, offsets)


class Membership:
    """One consumer's part in a group.

    Args:
        group: the group.
        process: whose heart beats.
        assigned: called with what this member gets in a new generation.
        revoked: called before it joins again.
    """

    def __init__(
        self,
        group: Group,
        process: Process,
        assigned: Callable[[list[Place]], Awaitable[None]],
        revoked: Callable[[list[Place]], Awaitable[None]],
    ) -> None:
        self.group, self.process = group, process
        self._assigned, self._revoked = assigned, revoked
        self._rejoin = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.generation = -1
        self.places: list[Place] = []
        self.rebalancing = True

    def start(self) -> None:
        """Join, and again whenever the group rebalances."""
        self._task = asyncio.create_task(self._run())

    def told(self) -> None:
        """The coordinator asks to join again."""
        self._rejoin.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._rejoin.clear()
            answer: asyncio.Future[tuple[int, list[Place]]] = loop.create_future()
            self.group.join(self, answer)
            beat = asyncio.create_task(self._watch())
            joined = asyncio.create_task(_first(answer, self._rejoin))
            generation = await joined
            beat.cancel()
            if generation is None:
                continue  # put out while joining
            self.generation, self.places = generation
            await self._assigned(self.places)
            self.rebalancing = False
            beat = asyncio.create_task(self._watch())
            await self._rejoin.wait()
            beat.cancel()
            self.rebalancing = True
            await self._revoked(self.places)

    async def _watch(self) -> None:
        """Heartbeats: one of them finds out that this member was put out."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            if not self.group.knows(self):
                self._rejoin.set()

    async def stop(self) -> None:
        """Leave the group."""
        if self._task is not None:
            self._task.cancel()
        self.group.leave(self)


async def _first(answer: asyncio.Future[Any], again: asyncio.Event) -> Any:
    """The answer, or None when asked to join again before it came."""
    waiting = asyncio.ensure_future(again.wait())
    await asyncio.wait([answer, waiting], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    return answer.result() if answer.done() else None
