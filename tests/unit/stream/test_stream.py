"""Ownership, checkpoints and the watchdog, with fakes in the place of Kafka."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from driftline.clients import Clients
from driftline.config import Settings
from driftline.decide.outputs import Checkpoint, StateRow
from driftline.errors import ExitCode, FatalError, HoleError, OperatorError
from driftline.publish.metrics import Metrics
from driftline.stream import agent, compat
from driftline.stream.agent import Owner
from driftline.stream.checkpoint import Checkpointer, Committer, Encoded
from driftline.stream.restore import Stored
from driftline.stream.watchdog import Watchdog


class FakePartition:
    """Counts rows; its rows are the bytes of its envelopes."""

    def __init__(self, next_offset: int = 0) -> None:
        self.next_offset = next_offset
        self.urgent = self.dirty = False
        self.applied: list[int] = []
        self.applied_ms = -1

    def apply(self, offset: int, timestamp_ms: int, value: bytes) -> int:
        """See MailboxPartition."""
        if offset > self.next_offset:
            raise HoleError(f"expected {self.next_offset}, got {offset}.")
        if value == b"bad":
            raise ZeroDivisionError
        self.applied.append(offset)
        self.next_offset = offset + 1
        self.dirty = True
        self.urgent = value == b"urgent"
        return 1

    def checkpoint(self) -> Checkpoint | None:
        """See MailboxPartition."""
        if not self.dirty:
            return None
        self.dirty = self.urgent = False
        text = b"%d" % self.next_offset
        return Checkpoint(
            self.next_offset, (StateRow(b"n|0", lambda: text), StateRow(b"x", lambda: None)), (), ()
        )

    def drain_notes(self) -> list[str]:
        """See MailboxPartition."""
        return []


class FakeCommitter(Committer):
    """Remembers what was committed; ``fail`` is raised instead."""

    made: list[FakeCommitter]

    def __init__(self, settings: Settings, partition: int, clients: Clients) -> None:
        self.partition = partition
        self.stored: list[Encoded] = []
        self.opened = self.closed = 0
        self.fail: Exception | None = None
        self.gate: asyncio.Event | None = None
        type(self).made.append(self)

    async def open(self) -> None:
        """Fence."""
        self.opened += 1

    async def commit(self, encoded: Encoded) -> None:
        """Store."""
        if self.gate is not None:
            await self.gate.wait()
        if self.fail is not None:
            raise self.fail
        self.stored.append(encoded)

    async def close(self) -> None:
        """Stop."""
        self.closed += 1


class FakeMailbox:
    """The mailbox's consumer."""

    def __init__(self, world: World) -> None:
        self.world = world

    def generation(self) -> int:
        """See Mailbox."""
        return self.world.generation

    async def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        """See Mailbox."""
        return {p: self.world.committed.get(p) for p in partitions}

    async def log_starts(self, partitions: Iterable[int]) -> dict[int, int]:
        """See Mailbox."""
        return dict.fromkeys(partitions, self.world.log_start)

    async def seek(self, offsets: Mapping[int, int]) -> None:
        """See Mailbox."""
        self.world.sought.append(dict(offsets))
        if self.world.rebalance_during_seek:
            self.world.generation += 1

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """See Mailbox."""
        self.world.committed.update(offsets)


class World:
    """One owner with everything around it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.generation = 1
        self.seconds = 0.0
        self.committed: dict[int, int | None] = {}
        self.log_start = 0
        self.sought: list[dict[int, int]] = []
        self.rebalance_during_seek = False
        self.rows: dict[int, dict[bytes, bytes]] = {}
        self.errors: list[FatalError] = []
        self.read_seconds = 0.0
        self.first_offsets: dict[int, int] = {}
        self.committers: list[FakeCommitter] = []
        FakeCommitter.made = self.committers
        self.settings = Settings(
            ingest={"discover_models": True}, checkpoint={"interval_seconds": 0.1, **settings}
        )
        self.clients = Clients(self.settings.kafka)
        monkeypatch.setattr(agent, "read_state", self._read)
        self.owner = Owner(
            self.settings,
            topic_id="id",
            metrics=Metrics(),
            fatal=self.errors.append,
            partition_factory=self._make,
            clients=self.clients,
            committer=FakeCommitter,
            clock=lambda: time.monotonic() + self.seconds,
        )

    async def _read(
        self, settings: Settings, partitions: Iterable[int], clients: Clients
    ) -> dict[int, Stored]:
        del settings, clients
        assert all(c.opened for c in self.committers), "fence before reading"
        await asyncio.sleep(self.read_seconds)
        return {p: Stored(dict(self.rows.get(p, {}))) for p in partitions}

    def _make(self, rows: Mapping[bytes, bytes], **more: Any) -> FakePartition:
        self.first_offsets[more["partition"]] = more["first_offset"]
        return FakePartition(int(rows[b"n|0"]) if rows else more["first_offset"])

    async def take_over(self, *partitions: int) -> None:
        """A take-over in the current generation."""
        await self.owner.take_over(FakeMailbox(self), frozenset(partitions))

    def apply(
        self, offset: int, value: bytes = b"", *, partition: int = 0, generation: int | None = None
    ) -> None:
        """One record."""
        self.owner.apply(partition, self.generation if generation is None else generation, offset, 1, value)

    def partition(self, number: int = 0) -> FakePartition:
        """An owned partition."""
        found = self.owner.owned[number].partition
        assert isinstance(found, FakePartition)
        return found

    def codes(self) -> list[ExitCode]:
        """What ended the process, were it one."""
        return [error.code for error in self.errors]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """An owner of nothing yet."""
    return World(monkeypatch)


def run(story: Coroutine[Any, Any, None]) -> None:
    """A story in an event loop of its own."""
    asyncio.run(story)


# --- taking over ------------------------------------------------------------------------------------------


def test_take_over_fences_restores_and_seeks_to_the_state(world: World) -> None:
    """The state's next offset counts, not the group's commit."""
    world.rows[0], world.committed[0] = {b"n|0": b"7"}, 5

    async def story() -> None:
        await world.take_over(0)
        assert world.sought == [{0: 7}]
        assert [c.opened for c in world.committers] == [1]
        world.apply(7)
        assert world.partition().applied == [7]

    run(story())
    assert world.codes() == []


def test_a_take_over_commits_what_the_former_owner_only_stored(world: World) -> None:
    """Killed between transaction and commit: without new rows the group would show a lag for ever."""
    world.rows |= {0: {b"n|0": b"7"}, 1: {b"n|0": b"4"}}
    world.committed |= {0: 5, 1: 4}
    run(world.take_over(0, 1))
    assert world.committed == {0: 7, 1: 4}
    assert world.codes() == []


def test_a_new_partition_begins_where_the_log_begins(world: World) -> None:
    """Nothing stored, nothing committed."""
    world.log_start = 3
    run(world.take_over(0))
    assert (world.first_offsets, world.sought, world.codes()) == ({0: 3}, [{0: 3}], [])


def test_again_in_one_generation_opens_no_second_producer(world: World) -> None:
    """It would fence our own first one; only the position is set again."""

    async def story() -> None:
        await world.take_over(0, 1)
        world.apply(0)
        await world.take_over(0, 1)
        assert len(world.committers) == 2
        assert world.sought == [{0: 0, 1: 0}, {0: 1, 1: 0}]
        world.generation += 1
        await world.take_over(0)
        assert len(world.committers) == 3
        assert [c.closed for c in world.committers] == [1, 1, 0]

    run(story())


def test_a_take_over_that_a_rebalance_overtakes_installs_nothing(world: World) -> None:
    """Its producers are closed; the next generation's take-over does the work."""
    world.rebalance_during_seek = True
    run(world.take_over(0))
    assert (world.owner.owned, [c.closed for c in world.committers], world.codes()) == ({}, [1], [])


@pytest.mark.parametrize(
    ("rows", "committed", "log_start", "code"),
    [
        ({}, 5, 0, ExitCode.STATE_MISSING),
        ({b"n|0": b"5"}, 6, 0, ExitCode.STATE_MISSING),
        ({b"n|0": b"5"}, 5, 6, ExitCode.IDENTITY),
        ({b"x": b"5"}, None, 0, ExitCode.TAKE_OVER),
    ],
    ids=["state lost", "end of the state lost", "mailbox overrun", "factory fails"],
)
def test_what_does_not_fit_ends_the_process(
    world: World, rows: dict[bytes, bytes], committed: int | None, log_start: int, code: ExitCode
) -> None:
    """Before anything is applied."""
    world.rows[0], world.committed[0], world.log_start = rows, committed, log_start
    run(world.take_over(0))
    assert (world.codes(), world.owner.owned) == ([code], {})


def test_a_slow_take_over_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust would give up in silence."""
    world = World(monkeypatch, take_over_timeout_seconds=5)
    object.__setattr__(world.settings.checkpoint, "take_over_timeout_seconds", 0.05)
    world.read_seconds = 5.0
    run(world.take_over(0))
    assert world.codes() == [ExitCode.TAKE_OVER]


# --- applying ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [(1, b"", ExitCode.HOLE), (0, b"bad", ExitCode.APPLY)],
    ids=["hole", "exception"],
)
def test_nothing_is_applied_after_a_failure(world: World, offset: int, value: bytes, code: ExitCode) -> None:
    """Neither past a hole nor after an exception, also if the process should live on for a moment."""

    async def story() -> None:
        await world.take_over(0)
        world.apply(offset, value)
        world.apply(0)
        assert world.partition().applied == []

    run(story())
    assert world.codes() == [code]


def test_records_of_another_generation_are_left_alone(world: World) -> None:
    """They were read for a former assignment and will be read again."""

    async def story() -> None:
        await world.take_over(0)
        world.apply(0, generation=0)
        world.apply(0, partition=1)
        assert world.partition().applied == []

    run(story())


def test_a_mailbox_that_ends_before_what_was_applied_ends_the_process(world: World) -> None:
    """It was recreated or cut: what comes next is below the next offset and would be skipped in silence."""

    async def story() -> None:
        await world.take_over(0)
        world.apply(0)
        world.owner.check_end(0, 1)
        world.owner.check_end(7, 0)  # not ours
        world.owner.check_end(0, 0)  # as a new leader may say for a moment
        world.seconds += agent.CUT_SECONDS
        world.owner.check_end(0, 1)
        world.owner.check_end(0, 0)
        assert world.codes() == []
        world.seconds += agent.CUT_SECONDS
        world.owner.check_end(0, 0)
        world.apply(1)
        assert world.partition().applied == [0]

    run(story())
    assert world.codes() == [ExitCode.IDENTITY]


def test_a_revoke_stores_nothing(world: World) -> None:
    """What was not stored by then is the next owner's to apply."""

    async def story() -> None:
        await world.take_over(0)
        world.apply(0)
        await world.owner.revoke("test")
        await asyncio.sleep(0.3)
        assert world.committers[0].stored == []
        assert world.owner.owned == {}

    run(story())


def test_the_end_stores_what_was_applied(world: World) -> None:
    """SIGTERM: a last checkpoint, then nothing more is applied."""

    async def story() -> None:
        await world.take_over(0)
        world.apply(0)
        partition = world.partition()
        await world.owner.drain(2.0)
        world.apply(1)
        assert world.committers[0].stored == [Encoded(((b"n|0", b"1"), (b"x", None)), ())]
        assert partition.applied == [0]
        assert world.committed == {0: 1}

    run(story())


# --- checkpoints ------------------------------------------------------------------------------------------


def _checkpointer(world: World, partition: FakePartition, committer: FakeCommitter) -> Checkpointer:
    async def stored(number: int, offset: int) -> None:
        world.committed[number] = offset

    return Checkpointer(
        number=0,
        partition=partition,
        committer=committer,
        settings=world.settings.checkpoint,
        metrics=Metrics(),
        executor=ThreadPoolExecutor(1),
        fatal=world.errors.append,
        stored=stored,
    )


def test_a_failed_transaction_ends_the_process_unless_the_partition_was_given_up(world: World) -> None:
    """A fenced former owner goes quietly: its writes were refused."""

    async def story(release: bool) -> None:
        partition, committer = FakePartition(), FakeCommitter(world.settings, 0, world.clients)
        checkpointer = _checkpointer(world, partition, committer)
        committer.fail, committer.gate = RuntimeError("fenced"), asyncio.Event()
        partition.apply(0, 1, b"")
        storing = asyncio.create_task(checkpointer.checkpoint())
        await asyncio.sleep(0.05)
        checkpointer.open = not release
        committer.gate.set()
        await storing

    run(story(release=True))
    assert world.codes() == []
    run(story(release=False))
    assert world.codes() == [ExitCode.TRANSACTION]
    assert world.committed == {}


def test_a_transaction_that_hangs_ends_the_process(world: World) -> None:
    """The whole of it has one deadline: aiokafka's sender retries without end."""
    object.__setattr__(world.settings.checkpoint, "transaction_timeout_seconds", 0.05)

    async def story() -> None:
        partition, committer = FakePartition(), FakeCommitter(world.settings, 0, world.clients)
        committer.gate = asyncio.Event()
        partition.apply(0, 1, b"")
        await _checkpointer(world, partition, committer).checkpoint()

    run(story())
    assert world.codes() == [ExitCode.TRANSACTION]
    assert "did not end in time" in str(world.errors[0])


def test_urgent_is_stored_at_once_but_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """An opened episode does not wait for the interval; ten of them do not make ten transactions."""
    world = World(monkeypatch, interval_seconds=60, urgent_per_second_max=5)

    async def story() -> None:
        await world.take_over(0)
        began = time.monotonic()
        for offset in range(20):
            world.apply(offset, b"urgent")
            await asyncio.sleep(0.05)
        seconds = time.monotonic() - began
        await asyncio.sleep(0.3)
        stored = world.committers[0].stored
        assert 3 <= len(stored) <= 5 * (seconds + 0.3) + 1
        assert stored[-1].rows[0] == (b"n|0", b"20")

    run(story())


def test_checkpoints_of_a_partition_never_overlap(world: World) -> None:
    """Two at once would mix their rows in one transaction."""

    async def story() -> None:
        partition, committer = FakePartition(), FakeCommitter(world.settings, 0, world.clients)
        checkpointer = _checkpointer(world, partition, committer)
        committer.gate = asyncio.Event()
        partition.apply(0, 1, b"")
        one = asyncio.create_task(checkpointer.checkpoint())
        await asyncio.sleep(0.05)
        partition.apply(1, 1, b"")
        two = asyncio.create_task(checkpointer.checkpoint())
        await asyncio.sleep(0.05)
        assert partition.dirty, "the second one has not begun"
        committer.gate.set()
        await asyncio.gather(one, two)
        assert [encoded.rows[0][1] for encoded in committer.stored] == [b"1", b"2"]

    run(story())


# --- watchdog and versions --------------------------------------------------------------------------------


def test_the_watchdog_notices_a_blocked_loop() -> None:
    """From its own thread, whatever blocks the loop."""
    found: list[FatalError] = []
    seen = threading.Event()

    def fatal(error: FatalError) -> None:
        found.append(error)
        seen.set()

    async def story() -> None:
        watchdog = Watchdog([], fatal, loop_seconds_max=0.2, check_seconds=0.02)
        watchdog.start()
        await asyncio.sleep(0.4)
        assert not found
        assert watchdog.alive
        blocked = watchdog  # a new name: mypy does not know that time passes
        time.sleep(0.5)  # noqa: ASYNC251 - the point of the test
        assert not blocked.alive
        watchdog.stop()

    run(story())
    assert seen.is_set()
    assert [error.code for error in found] == [ExitCode.STALLED]


def test_the_watchdog_reports_the_first_problem_once() -> None:
    """A check that raises is no verdict."""
    found: list[FatalError] = []
    problem = FatalError(ExitCode.REBALANCING, "does not settle")

    def torn() -> FatalError | None:
        raise RuntimeError("dictionary changed size")

    async def story() -> None:
        watchdog = Watchdog([torn, lambda: problem], found.append, check_seconds=0.01)
        watchdog.start()
        await asyncio.sleep(0.2)
        watchdog.stop()

    run(story())
    assert found == [problem]


def test_untested_versions_stop_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Overridden methods are not an interface."""
    compat.check_versions()
    monkeypatch.setitem(compat.TESTED, "aiokafka", ("0.13.0",))
    with pytest.raises(OperatorError, match=r"pip install 'aiokafka==0\.13\.0'"):
        compat.check_versions()


def test_faust_without_its_compiled_parts_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pure Python iterator acknowledges what nobody processed."""
    import faust.streams

    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    with pytest.raises(OperatorError, match="wheel"):
        compat.check_stream_iterator()
