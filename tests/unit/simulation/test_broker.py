"""The simulated cluster keeps Kafka's rules: else the simulation would prove nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from aiokafka.errors import ConcurrentTransactions, ProducerFenced

from simulation.broker import Broker, Log
from simulation.loop import Process, VirtualLoop


class Bench:
    """A broker whose markers are written on demand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[Callable[[], None]] = []
        self.broker = Broker(lambda: self.now, lambda _, action: self.waiting.append(action), lambda a, _: a)
        self.broker.create("t", 1)

    @property
    def log(self) -> Log:
        """The one partition."""
        return self.broker.log("t", 0)

    def settle(self) -> None:
        """Write the markers."""
        waiting, self.waiting = self.waiting, []
        for action in waiting:
            action()

    def write(self, epoch: int, key: bytes, value: bytes | None) -> None:
        """A record in the open transaction of producer p."""
        txn = self.broker.begin("p", epoch, "process")
        self.broker.append(self.log, key, value, txn=txn)

    def values(self, *, committed: bool = True) -> list[bytes | None]:
        """What a reader gets."""
        return [record.value for record in self.log.read(0, committed=committed, count=99)[0]]


def test_a_transaction_is_visible_behind_its_marker() -> None:
    """Until then its records are beyond the last stable offset, and records behind it too."""
    bench = Bench()
    epoch = bench.broker.init_producer("p", 60.0)
    bench.write(epoch, b"k", b"1")
    bench.broker.append(bench.log, b"k", b"outside")
    assert (bench.values(), bench.values(committed=False)) == ([], [b"1", b"outside"])
    bench.broker.end("p", epoch, commit=True)
    assert bench.values() == []
    bench.settle()
    assert bench.values() == [b"1", b"outside"]
    assert bench.log.end == 3, "the marker has an offset"
    assert bench.log.read(2, committed=True, count=9) == ([], 3)


def test_opening_a_producer_fences_the_former_one() -> None:
    """Its open transaction is aborted and its later writes are refused."""
    bench = Bench()
    old = bench.broker.init_producer("p", 60.0)
    bench.write(old, b"k", b"1")
    with pytest.raises(ConcurrentTransactions):
        bench.broker.init_producer("p", 60.0)
    bench.settle()
    new = bench.broker.init_producer("p", 60.0)
    with pytest.raises(ProducerFenced):
        bench.write(old, b"k", b"2")
    with pytest.raises(ProducerFenced):
        bench.broker.end("p", old, commit=True)
    bench.write(new, b"k", b"3")
    bench.broker.end("p", new, commit=True)
    bench.settle()
    assert bench.values() == [b"3"]


def test_a_transaction_that_is_open_for_too_long_is_aborted() -> None:
    """And who opened it is fenced."""
    bench = Bench()
    epoch = bench.broker.init_producer("p", 5.0)
    bench.write(epoch, b"k", b"1")
    bench.now = 6.0
    bench.broker.expire()
    bench.settle()
    with pytest.raises(ProducerFenced):
        bench.broker.end("p", epoch, commit=True)
    assert bench.values() == []


def test_compaction_keeps_the_latest_committed_value() -> None:
    """Superseded and aborted records go, tombstones later, what is young stays as it is."""
    bench = Bench()
    epoch = bench.broker.init_producer("p", 60.0)
    for value in (b"1", b"2"):
        bench.write(epoch, b"a", value)
    bench.write(epoch, b"gone", None)
    bench.broker.end("p", epoch, commit=True)
    bench.settle()
    bench.write(epoch, b"a", b"aborted")
    bench.broker.end("p", epoch, commit=False)
    bench.settle()
    bench.now = 20.0
    bench.broker.append(bench.log, b"a", b"young")
    bench.broker.compact(bench.log, quiet_ms=5_000, tombstones_ms=30_000)
    assert bench.values() == [b"2", None, b"young"]
    bench.now = 40.0
    bench.broker.append(bench.log, b"b", b"last")
    bench.broker.compact(bench.log, quiet_ms=5_000, tombstones_ms=30_000)
    assert bench.values() == [b"young", b"last"]


def test_a_topic_made_again_has_another_id() -> None:
    """And is empty."""
    bench = Bench()
    bench.broker.append(bench.log, None, b"1")
    before = bench.broker.ids["t"]
    bench.broker.create("t", 1)
    assert (bench.broker.ids["t"] != before, bench.log.end) == (True, 0)


def test_a_killed_process_runs_nothing_more() -> None:
    """Not even a finally-block; a paused one goes on where it was, when time has passed."""
    loop = VirtualLoop(random.Random(1))
    said: list[tuple[str, float]] = []

    async def work(name: str) -> None:
        try:
            for _ in range(4):
                await asyncio.sleep(1.0)
                said.append((name, loop.time()))
        finally:
            said.append((f"{name} ends", loop.time()))

    killed, paused = Process("killed", loop), Process("paused", loop)
    for process in (killed, paused):
        process.start(work(process.name))
    loop.outside(2.5, killed.kill)
    loop.outside(1.5, paused.pause)
    loop.outside(10.0, paused.wake)
    loop.outside(20.0, loop.stop)
    loop.run_forever()
    seen = [entry for entry in said if entry[0].startswith("killed")]
    assert seen == [("killed", 1.0), ("killed", 2.0)]
    assert [at for name, at in said if name.startswith("paused")] == [1.0, 10.0, 11.0, 12.0, 12.0]
    loop.dispose()


def test_a_process_is_killed_at_a_chosen_await() -> None:
    """Each step of each task can be the last one."""
    for steps in range(1, 6):
        loop = VirtualLoop(random.Random(1))
        said: list[int] = []

        async def work(said: list[int] = said) -> None:
            for number in range(9):
                said.append(number)
                await asyncio.sleep(0)

        process = Process("p", loop)
        process.crash_in = steps
        process.start(work())
        loop.outside(1.0, loop.stop)
        loop.run_forever()
        assert said == list(range(steps - 1))
        loop.dispose()
