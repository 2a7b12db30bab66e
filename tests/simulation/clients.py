"""The Kafka clients of a simulated worker, as far as the product uses aiokafka's.

Owns: how producers and consumers behave towards their caller: order of sends, a transactional producer that
was fenced, positions, what is read. Rules of storage are ``broker``'s, delays and faults ``network``'s.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import (
    ConcurrentTransactions,
    IllegalStateError,
    ProducerFenced,
)  # fmt: skip

from driftline.ingest.chunks import DecoderKey, Rows, rows_of
from driftline.ingest.source import Committed, ConsumerSource, OutOfRange
from driftline.records import Source
from simulation.broker import Broker, Headers, Log
from simulation.groups import Group, Membership
from simulation.loop import Process
from simulation.network import Network


class SimClients:
    """Stands in for ``driftline.clients.Clients`` in one process.

    Args:
        process: the owner of all clients made here.
        broker: the cluster.
        network: the way there.
        groups: by group id.
        dice: sizes of reads.
    """

    def __init__(
        self,
        process: Process,
        broker: Broker,
        network: Network,
        groups: Mapping[str, Group],
        dice: random.Random,
    ) -> None:
        self.process, self.broker, self.network, self.groups, self.dice = (
            process,
            broker,
            network,
            groups,
            dice,
        )

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.broker.note(f"{self.process.name} {text}")

    def producer(self, **options: Any) -> SimProducer:
        """See ``driftline.clients.Clients``."""
        if "transactional_id" in options:
            timeout = options["transaction_timeout_ms"] / 1000
            return SimTransactionalProducer(self, options["transactional_id"], timeout)
        return SimProducer(self)

    def consumer(self, **options: Any) -> SimConsumer:
        """See ``driftline.clients.Clients``."""
        return SimConsumer(self, options)


class SimProducer:
    """An idempotent producer: sends arrive in order, once."""

    def __init__(self, clients: SimClients) -> None:
        self._clients = clients
        self._last = 0.0  # when the last send arrives

    async def start(self) -> None:
        """Connect."""
        await self._clients.network.request(self._clients.process, lambda: None)

    async def stop(self) -> None:
        """Close."""
        await asyncio.sleep(0)

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Headers = (),
    ) -> asyncio.Future[Any]:
        """Queue one record; the future is its acknowledgement."""
        await asyncio.sleep(0)
        logs = self._clients.broker.topics[topic]
        at = partition if partition is not None else sum(key or b"") % len(logs)
        return self._dispatch(topic, at, key, value, headers)

    def _dispatch(
        self, topic: str, at: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> asyncio.Future[Any]:
        network, broker = self._clients.network, self._clients.broker
        self._last = max(self._last + 1e-6, network.loop.time() + network.delay())
        return network.request(
            self._clients.process,
            lambda: broker.append(broker.log(topic, at), key, value, headers),
            at=self._last,
            fails=network.weather.send_fails,
            kind="send failed",
        )


class SimTransactionalProducer(SimProducer):
    """A transactional producer."""

    def __init__(self, clients: SimClients, name: str, timeout: float) -> None:
        super().__init__(clients)
        self._name, self._timeout = name, timeout
        self._epoch = -1
        self._fenced = False
        self._sent: list[asyncio.Future[Any]] = []

    async def start(self) -> None:
        """Open: fences whoever has the same transactional id."""
        while True:
            try:
                self._epoch = await self._clients.network.request(
                    self._clients.process,
                    lambda: self._clients.broker.init_producer(self._name, self._timeout),
                )
            except ConcurrentTransactions:
                await asyncio.sleep(0.05)
            else:
                self._clients.note(f"opens {self._name}, epoch {self._epoch}")
                return

    async def begin_transaction(self) -> None:
        """Begin."""
        await asyncio.sleep(0)
        if self._fenced:
            raise ProducerFenced
        self._sent = []
        while True:  # the end of the last transaction may still be under way
            try:
                await self._clients.network.request(
                    self._clients.process,
                    lambda: self._clients.broker.begin(self._name, self._epoch, self._clients.process),
                )
            except ConcurrentTransactions:
                await asyncio.sleep(0.05)
            except ProducerFenced:
                self._fenced = True
                raise
            else:
                return

    def _dispatch(
        self, topic: str, at: int, key: bytes | None, value: bytes | None, headers: Headers
    ) -> asyncio.Future[Any]:
        network, broker = self._clients.network, self._clients.broker

        def arrive() -> object:
            txn = broker.begin(self._name, self._epoch, self._clients.process)
            return broker.append(broker.log(topic, at), key, value, headers, txn)

        self._last = max(self._last + 1e-6, network.loop.time() + network.delay())
        future = network.request(
            self._clients.process, arrive, at=self._last, fails=network.weather.send_fails, kind="send failed"
        )
        self._sent.append(future)
        return future

    async def commit_transaction(self) -> None:
        """Commit; as aiokafka's it does not mind sends that failed."""
        await asyncio.wait(self._sent) if self._sent else await asyncio.sleep(0)
        try:
            await self._clients.network.request(
                self._clients.process,
                lambda: self._clients.broker.end(self._name, self._epoch, commit=True),
                fails=self._clients.network.weather.commit_fails,
                kind="commit failed",
            )
        except ProducerFenced:
            self._fenced = True
            raise


class SimConsumer:
    """A consumer, in a group or assigned by hand."""

    def __init__(self, clients: SimClients, options: Mapping[str, Any]) -> None:
        self.clients = clients
        self.committed_only = options.get("isolation_level") == "read_committed"
        self._group = clients.groups.get(options.get("group_id", ""))
        self._membership: Membership | None = None
        self._listener: Any = None
        self.positions: dict[TopicPartition, int] = {}
        self._assigned: set[TopicPartition] = set()
        self.by_hand: list[TopicPartition] = []

    async def start(self) -> None:
        """Connect."""
        await self.clients.network.request(self.clients.process, lambda: None)

    async def stop(self) -> None:
        """Leave the group."""
        if self._membership is not None:
            await self._membership.stop()
        await asyncio.sleep(0)

    # --- in a group

    def subscribe(self, topics: list[str], listener: Any) -> None:
        """Join the group."""
        assert self._group is not None
        assert tuple(topics) == self._group.topics, topics
        self._listener = listener
        self._membership = Membership(self._group, self.clients.process, self._on_assigned, self._on_revoked)
        self._membership.start()

    async def _on_assigned(self, places: list[tuple[str, int]]) -> None:
        self._assigned = {TopicPartition(*place) for place in places}
        self.positions = {}
        await self._listener.on_partitions_assigned(frozenset(self._assigned))

    async def _on_revoked(self, places: list[tuple[str, int]]) -> None:
        await self._listener.on_partitions_revoked(frozenset(self._assigned))

    @property
    def rebalancing(self) -> bool:
        """Whether the assignment is not settled."""
        return self._membership is None or self._membership.rebalancing

    async def committed(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, Committed]:
        """The group's offsets with their notes."""
        group = self._group
        assert group is not None
        return await self.clients.network.request(
            self.clients.process,
            lambda: {
                tp: Committed(group.offsets[tp], group.notes.get(tp, "")) for tp in tps if tp in group.offsets
            },
        )

    async def commit(self, offsets: Mapping[TopicPartition, int | tuple[int, str]]) -> None:
        """Commit; refused in another generation than the current one."""
        member, group = self._membership, self._group
        assert member is not None
        assert group is not None
        if any(tp not in self._assigned for tp in offsets):
            raise IllegalStateError("partition is not assigned")
        generation = member.generation
        noted = {tp: value if isinstance(value, tuple) else (value, "") for tp, value in offsets.items()}
        network = self.clients.network
        await network.request(
            self.clients.process,
            lambda: group.commit(member, generation, noted),
            fails=network.weather.commit_fails,
            kind="commit failed",
        )

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Go on reading there."""
        if tp not in self._assigned:
            raise IllegalStateError("partition is not assigned")
        self.positions[tp] = offset

    # --- by hand

    def assign(self, tps: Iterable[TopicPartition]) -> None:
        """Read these partitions."""
        self.by_hand = list(tps)
        self._assigned = set(self.by_hand)

    async def seek_to_beginning(self, *tps: TopicPartition) -> None:
        """From the first offset kept."""
        self.positions.update(await self.beginning_offsets(tps))

    async def position(self, tp: TopicPartition) -> int:
        """The next offset."""
        return self.positions[tp]

    async def getmany(self, *tps: TopicPartition, timeout_ms: int = 0) -> dict[TopicPartition, list[Any]]:
        """Some records of these partitions."""
        found: dict[TopicPartition, list[Any]] = {}
        count = self.clients.dice.randint(5, 60)
        for tp in sorted(tps):
            read = partial(self.log(tp).read, self.positions[tp], committed=self.committed_only, count=count)
            records, position = await self.clients.network.request(self.clients.process, read)
            self.positions[tp] = position
            if records:
                found[tp] = records
        return found

    # --- both

    def log(self, tp: TopicPartition) -> Log:
        """The partition at the broker."""
        return self.clients.broker.log(tp.topic, tp.partition)

    async def beginning_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """First offset kept."""
        return await self.clients.network.request(
            self.clients.process, lambda: {tp: self.log(tp).start for tp in tps}
        )

    async def end_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where readers of this isolation level come to an end."""
        return await self.clients.network.request(self.clients.process, lambda: dict(map(self._end, tps)))

    def _end(self, tp: TopicPartition) -> tuple[TopicPartition, int]:
        log = self.log(tp)
        self.clients.broker.on_read(log, self.clients.process)
        return tp, log.stable if self.committed_only else log.end


class SimSource(ConsumerSource):
    """The product's source, with the parts that look inside aiokafka replaced."""

    def __init__(self, consumer: SimConsumer, decoders: Mapping[str, DecoderKey]) -> None:
        super().__init__(consumer, decoders)
        self._sim = consumer

    async def _take(self, tp: TopicPartition, rows_max: int) -> Rows | None:
        consumer = self._sim
        position = consumer.positions.get(tp)
        weather = consumer.clients.network.weather
        if (
            consumer.rebalancing
            or position is None
            or consumer.clients.network.loop.time() < weather.silent_until
        ):
            return None
        log = consumer.log(tp)
        if not log.start <= position <= log.end:
            raise OutOfRange(Source(tp.topic, tp.partition), position)
        count = min(rows_max, consumer.clients.dice.choice((3, 20, 100, 100)))
        records, consumer.positions[tp] = log.read(position, committed=consumer.committed_only, count=count)
        return rows_of(records) if records else None

    async def _wait(self, timeout_seconds: float) -> None:
        await asyncio.sleep(timeout_seconds * self._sim.clients.dice.choice((0.1, 1.0, 1.0)))

    def _position(self, tp: TopicPartition) -> int | None:
        return self._sim.positions.get(tp) if tp in self._sim._assigned else None

    async def committed(self, tps: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        """See ``RecordSource``."""
        return await self._sim.committed(tps)

    def behind(self, source: Source) -> int:
        """See ``RecordSource``."""
        tp = TopicPartition(source.topic, source.partition)
        position = self._position(tp)
        return 0 if position is None else max(0, self._sim.log(tp).stable - position)

    def check(self) -> None:
        """The coordinator finds nothing wrong here."""
