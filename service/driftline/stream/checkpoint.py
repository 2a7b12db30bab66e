"""Checkpoints: state rows, alerts and the next offset of a mailbox partition in one fenced Kafka transaction.

Owns: the transactional producer of a partition, and when a checkpoint is made. Invariants: everything of a
checkpoint becomes visible together or not at all; a former owner can write nothing (its producer is fenced by
the next owner's); any doubt about a transaction ends the process, because memory and state may differ then.
Must not know what is in the rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiokafka.errors import KafkaError

from driftline.clients import Clients
from driftline.config import CheckpointSettings, Settings
from driftline.decide.outputs import Checkpoint
from driftline.errors import ExitCode, FatalError
from driftline.publish import actions, alerts, reports
from driftline.publish.metrics import Metrics
from driftline.records import OutputRecord

log = logging.getLogger(__name__)

RELEASE_SECONDS_MAX: Final = 2.0  # a transaction under way may end; beyond, the next owner's fence aborts it
RETRY_BACKOFF_MS: Final = (
    50  # a new transaction meets the end of the last one: asked again soon, not after 100 ms
)
JITTER: Final = 0.1  # of the interval, so that partitions do not checkpoint in step

Fatal = Callable[[FatalError], None]
Clock = Callable[[], float]
Uniform = Callable[[float, float], float]


class Partition(Protocol):
    """What this edge needs of a mailbox partition; ``decide.partition.MailboxPartition`` is the real one."""

    urgent: bool
    dirty: bool

    @property
    def next_offset(self) -> int: ...  # noqa: D102

    @property
    def applied_ms(self) -> int: ...  # noqa: D102

    def apply(self, offset: int, timestamp_ms: int, value: bytes) -> int: ...  # noqa: D102

    def checkpoint(self) -> Checkpoint | None: ...  # noqa: D102

    def drain_notes(self) -> list[str]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Encoded:
    """A checkpoint as bytes."""

    rows: tuple[tuple[bytes, bytes | None], ...]  # key and value of state rows; no value: a tombstone
    alerts: tuple[OutputRecord, ...]
    reports: tuple[OutputRecord, ...] = ()
    actions: tuple[OutputRecord, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of keys and values."""
        rows = sum(len(key) + len(value or b"") for key, value in self.rows)
        return rows + sum(len(record.value) for record in (*self.alerts, *self.reports, *self.actions))


def encode(checkpoint: Checkpoint) -> Encoded:
    """Bytes of a checkpoint; runs in a thread, on arrays copied at the barrier."""
    rows = tuple(record for row in checkpoint.state for record in row.records())
    return Encoded(
        rows,
        tuple(alerts.encode(alert) for alert in checkpoint.alerts),
        tuple(reports.encode(report) for report in checkpoint.reports),
        tuple(actions.encode(action) for action in checkpoint.actions),
    )


class Committer:
    """The transactional producer of one mailbox partition."""

    def __init__(self, settings: Settings, partition: int, clients: Clients) -> None:
        self._partition = partition
        self._state = settings.topics.name("state")
        self._alerts = settings.topics.name("alerts")
        self._reports = settings.topics.name("reports")
        self._actions = settings.topics.name("actions")
        self._producer = clients.producer(
            transactional_id=settings.transactional_id(partition),
            transaction_timeout_ms=int(settings.checkpoint.transaction_timeout_seconds * 1000),
            acks="all",
            retry_backoff_ms=RETRY_BACKOFF_MS,
        )

    async def open(self) -> None:
        """Fence the former owner: the broker aborts its transaction and refuses its further writes."""
        await self._producer.start()

    async def commit(self, encoded: Encoded) -> None:
        """Everything in one transaction. The caller sets the deadline.

        Raises:
            KafkaError, AssertionError: it failed; a producer that was fenced before raises the latter.
        """
        producer = self._producer
        await producer.begin_transaction()
        sent = [
            await producer.send(self._state, value, key=key, partition=self._partition)
            for key, value in encoded.rows
        ]
        outputs = (
            (self._alerts, encoded.alerts),
            (self._reports, encoded.reports),
            (self._actions, encoded.actions),
        )
        for topic, records in outputs:
            for record in records:
                headers = list(record.headers)
                sent.append(await producer.send(topic, record.value, key=record.key, headers=headers))
        # aiokafka's commit returns normally although a send failed (seen): look at each of them first.
        await asyncio.gather(*sent)
        await producer.commit_transaction()

    async def close(self) -> None:
        """Stop; never flushes or aborts. What is open is aborted by the next owner."""
        with contextlib.suppress(TimeoutError, KafkaError, AssertionError):
            async with asyncio.timeout(RELEASE_SECONDS_MAX):
                await self._producer.stop()


class Checkpointer:
    """Makes the checkpoints of one owned mailbox partition, from ``start`` until ``release``.

    Args:
        number: the mailbox partition.
        partition: its actors.
        committer: its open producer.
        settings: when.
        metrics: where to count.
        executor: where bytes are made.
        fatal: ends the process.
        stored: told the next offset after each checkpoint, so that the group's commit follows.
        clock: monotonic seconds.
        uniform: a random number between two.
    """

    def __init__(
        self,
        *,
        number: int,
        partition: Partition,
        committer: Committer,
        settings: CheckpointSettings,
        metrics: Metrics,
        executor: Executor,
        fatal: Fatal,
        stored: Callable[[int, int], Awaitable[None]],
        clock: Clock = time.monotonic,
        uniform: Uniform = random.uniform,
    ) -> None:
        self._clock = clock
        self._uniform = uniform
        self.number = number
        self.partition = partition
        self.open = True
        self.dirty_since: float | None = None  # monotonic seconds; for the watchdog
        self.applied_at = self._clock()
        self._committer = committer
        self._settings = settings
        self._metrics = metrics
        self._executor = executor
        self._fatal = fatal
        self._stored = stored
        self._wake = asyncio.Event()
        self._lock = asyncio.Lock()  # held while a transaction is under way
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to make checkpoints."""
        self._task = asyncio.create_task(self._run(), name=f"checkpoint-{self.number}")

    def touched(self) -> None:
        """The partition has applied something."""
        self.applied_at = self._clock()
        if self.dirty_since is None and self.partition.dirty:
            self.dirty_since = self.applied_at
        if self.partition.urgent:
            self._wake.set()

    async def _run(self) -> None:
        interval = self._settings.interval_seconds
        gap = 1.0 / self._settings.urgent_per_second_max
        await self._sleep(self._uniform(0.0, interval))  # not in step with the other partitions
        while self.open:
            began = self._clock()
            await self.checkpoint()
            await asyncio.sleep(max(0.0, min(gap, interval) - (self._clock() - began)))
            rest = interval * self._uniform(1 - JITTER, 1 + JITTER)
            await self._sleep(rest - (self._clock() - began))

    async def _sleep(self, seconds: float) -> None:
        """Until the time has passed or something urgent came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, seconds)):
                await self._wake.wait()

    async def checkpoint(self) -> None:
        """Store everything since the last one; nothing to do is done at once. One at a time."""
        async with self._lock:
            self._wake.clear()
            checkpoint = self.partition.checkpoint() if self.open else None
            if checkpoint is None:
                return
            self.dirty_since = None
            began = self._clock()
            try:
                async with asyncio.timeout(self._settings.transaction_timeout_seconds):
                    loop = asyncio.get_running_loop()
                    encoded = await loop.run_in_executor(self._executor, encode, checkpoint)
                    await self._committer.commit(encoded)
            except Exception as error:  # noqa: BLE001 - whatever it was, the transaction's outcome is unknown
                if self.open:
                    self._fatal(_failed(self.number, error))
                return
        if self.open:
            self._count(checkpoint, encoded, self._clock() - began)
            await self._stored(self.number, checkpoint.next_offset)

    def _count(self, checkpoint: Checkpoint, encoded: Encoded, seconds: float) -> None:
        metrics, number = self._metrics, self.number
        metrics.update_models(number, checkpoint.views, checkpoint.gone)
        metrics.set("driftline_checkpoint_last_timestamp_seconds", time.time(), partition=number)
        metrics.observe("driftline_checkpoint_duration_seconds", seconds)
        metrics.add("driftline_checkpoint_bytes_total", encoded.size)
        for alert in checkpoint.alerts:
            labels = _alert_labels(alert.data)
            metrics.add("driftline_alerts_emitted_total", 1, **labels)

    async def release(self) -> None:
        """Give the partition up without storing anything; a transaction under way may end."""
        self.open = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS_MAX):
                await self._lock.acquire()
        if self._task is not None:
            self._task.cancel()
        await self._committer.close()


def _failed(number: int, error: Exception) -> FatalError:
    if isinstance(error, TimeoutError):
        what = "did not end in time"
    else:
        what = f"failed: {type(error).__name__}: {error}"
    return FatalError(
        ExitCode.TRANSACTION,
        f"the checkpoint of mailbox partition {number} {what}.",
        remedy="Its rows will be applied again from the last checkpoint.",
    )


def _alert_labels(data: Mapping[str, Any]) -> dict[str, str]:
    event = str(data.get("type", "unknown")).rpartition(".")[2]
    return {"state": event, "severity": str(data.get("severity", "unknown"))}
