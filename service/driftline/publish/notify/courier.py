"""One target's way: read alerts, tell the target, remember that, commit; in the order of each partition.

Each target has a consumer group of its own, so that one that is down holds up nobody else. Order of one
alert: the target's answer, then the record on ``notified``, then the commit. A crash before the record tells
the target again, with the same idempotency key; a crash after it does not.

Owns: the consumer, the step in flight and its retries. What to send and when is decided in the pure modules.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaConnectionError, KafkaError

from driftline.clients import Clients, group_options
from driftline.config import Settings
from driftline.publish.metrics import Metrics
from driftline.publish.notify import memory, notified
from driftline.publish.notify.memory import Told
from driftline.publish.notify.notice import Channel, Notice, Request, read
from driftline.publish.notify.plan import Skip, skip
from driftline.publish.notify.retry import Answer, GiveUp, Wait, judge

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 0.5  # how often the loop turns when nothing arrives
JOIN_SECONDS: Final = 0.05  # how often it looks whether the group has given it partitions
RECORDS_MAX: Final = 50  # taken from the client at a time
FETCH_BYTES_MAX: Final = 256 << 10  # prefetched a partition and target; some 50 alerts
STEP_SECONDS_MAX: Final = 2**31 / 1000 - 1  # a target may be away for as long as its alerts are kept
HOUR_MS: Final = 3_600_000


class Post(Protocol):
    """Sends a request once."""

    async def send(self, request: Request, timeout_seconds: float) -> Answer:
        """Post the request; a failure is an answer too."""
        ...


class Courier:
    """Tells one target. ``name`` is that of the target in the settings."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        channel: Channel,
        *,
        clients: Clients,
        producer: Any,
        post: Post,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        coin: Callable[[], float] = random.random,
    ) -> None:
        self._settings = settings
        self._name = name
        self._target = settings.notify.targets[name]
        self._channel = channel
        self._clients = clients
        self._producer = producer
        self._post = post
        self._metrics = metrics
        self._clock = clock
        self._coin = coin
        self._topic = settings.topics.name("alerts")
        self._told: dict[int, dict[bytes, Told]] = {}
        self._step = asyncio.Lock()  # held from the attempt to the commit: a revocation waits for it
        self._moved = asyncio.Event()  # partitions were given up, or the process stops: waits end
        self._stopping = False
        self._problem: BaseException | None = None
        self._remind_at = 0.0
        self._missed = 0  # rounds of reminders that failed since one did not
        self.ready = False

    async def run(self, stop: asyncio.Event) -> None:
        """Tell the target until ``stop`` is set.

        Raises:
            Exception: the brokers refuse something, or a bug; what was not committed is read again.
        """
        waker = asyncio.create_task(self._wake_at(stop))
        consumer = self._clients.consumer(
            group_id=f"{self._settings.group_id('notify')}-{self._name}",
            client_id=f"driftline-notify-{self._name}",
            isolation_level="read_committed",
            auto_offset_reset="earliest",  # `max_age_hours` says what is too old
            max_poll_interval_ms=int(STEP_SECONDS_MAX * 1000),
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
            **group_options(self._settings.kafka),
        )
        consumer.subscribe([self._topic], listener=_Listener(self))
        try:
            await _start(consumer, stop)
            while not stop.is_set():
                await self._turn(consumer, stop)
        finally:
            self.ready = False
            waker.cancel()
            await consumer.stop()

    # --- the group ------------------------------------------------------------------------------------------
    async def assign(self, partitions: set[TopicPartition]) -> None:
        """Read what the target was told of the partitions; no record is dealt with before that."""
        numbers = {part.partition for part in partitions}
        topic = self._settings.topics.name("notified")
        self._told = await notified.restore(self._clients, topic, self._name, numbers)
        self._remind_at = 0.0
        self.ready = True

    async def revoke(self) -> None:
        """Finish the step in flight, then forget the partitions: another process goes on with them."""
        self._moved.set()
        async with self._step:
            for number in self._told:
                self._metrics.set(
                    "driftline_notification_lag_records", 0.0, target=self._name, partition=number
                )
            self._told = {}
            self.ready = False
        if not self._stopping:
            self._moved.clear()

    def fail(self, problem: BaseException) -> None:
        """Keep what a callback of the group raised, for the loop to raise."""
        self._problem = problem

    async def _wake_at(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        self._moved.set()

    # --- one turn of the loop -------------------------------------------------------------------------------
    async def _turn(self, consumer: Any, stop: asyncio.Event) -> None:
        if self._problem is not None:
            raise self._problem
        if not self.ready:
            await asyncio.sleep(JOIN_SECONDS)
            return
        await self._remind()
        batches = await consumer.getmany(timeout_ms=int(POLL_SECONDS * 1000), max_records=RECORDS_MAX)
        if not batches:
            await self._all_told(consumer)
        for part, records in batches.items():
            done = 0
            while done < len(records) and not stop.is_set():
                if not await self._deal_with(consumer, part, records[done]):
                    break
                done += 1
            if done:
                await _commit(consumer, part, records[done - 1].offset + 1)  # covers what was skipped
            if done < len(records):
                # While a group moves, the client hands out records that nobody is responsible for yet.
                with contextlib.suppress(IllegalStateError):
                    consumer.seek(part, records[done].offset)

    async def _all_told(self, consumer: Any) -> None:
        """The position moves over markers of transactions too, which are no alerts."""
        for part in consumer.assignment():
            with contextlib.suppress(IllegalStateError):
                self._show_lag(consumer, part, await consumer.position(part))

    def _show_lag(self, consumer: Any, part: TopicPartition, following: int) -> None:
        with contextlib.suppress(IllegalStateError):
            lag = max((consumer.highwater(part) or 0) - following, 0)
            self._metrics.set(
                "driftline_notification_lag_records", lag, target=self._name, partition=part.partition
            )

    async def _deal_with(self, consumer: Any, part: TopicPartition, record: Any) -> bool:
        """Tell the target of one alert, or not; False when it is to be read again, here or elsewhere."""
        notice = read(record.value)
        if notice is None or record.key is None:
            where = f"{record.topic} {record.partition} {record.offset}"
            log.error("a record is no alert", extra={"record": where})
            self._skipped(Skip.MALFORMED)
            return True
        key = memory.key(self._name, record.key)
        attempt = refusals = 0
        while True:
            self._show_lag(consumer, part, record.offset)
            async with self._step:
                if self._moved.is_set() or part.partition not in self._told:
                    return False
                told = self._told[part.partition].get(key, Told())
                why = self._why_not(notice, told, record.timestamp)
                if why is not None:
                    self._skipped(why)
                    return True
                verdict = await self._attempt(notice, told, attempt, refusals)
                if not isinstance(verdict, Wait):
                    await self._remember(
                        part.partition, key, notice, record.timestamp, delivered=verdict is None
                    )
                    await _commit(consumer, part, record.offset + 1)
                    return True
            attempt += 1
            refusals += verdict.failure in {"refused", "redirect"}
            self._failing(attempt)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), verdict.seconds)

    def _why_not(self, notice: Notice, told: Told, written_ms: int) -> Skip | None:
        age = self._clock() - written_ms / 1000.0
        return skip(self._settings.notify, self._name, notice, told, age, keeps_open=self._channel.keeps_open)

    async def _attempt(self, notice: Notice, told: Told, attempt: int, refusals: int) -> Wait | GiveUp | None:
        """Post once; None when it was delivered."""
        known = told.open.known if told.open is not None else None
        request = self._channel.tell(notice, known, self._clock())
        answer = await self._post.send(request, self._target.timeout_seconds)
        if answer.delivered:
            self._metrics.add("driftline_notifications_delivered_total", target=self._name)
            self._failing(0)
            return None
        verdict = judge(answer, attempt, refusals, self._clock(), self._coin())
        about = {"target": self._name, "alert": notice.id, "status": answer.status, "detail": answer.detail}
        self._metrics.add("driftline_notification_failures_total", target=self._name, reason=verdict.failure)
        if isinstance(verdict, GiveUp):
            log.error("given up: %s", verdict.failure, extra={**about, "attempts": attempt + 1})
            self._metrics.add(
                "driftline_notifications_given_up_total", target=self._name, reason=verdict.failure
            )
            self._failing(0)
        else:
            log.warning("not delivered: %s", verdict.failure, extra={**about, "again_in": verdict.seconds})
        return verdict

    async def _remember(
        self, partition: int, key: bytes, notice: Notice, written_ms: int, *, delivered: bool
    ) -> None:
        told = memory.after(
            self._told[partition].get(key, Told()),
            notice,
            written_ms,
            self._channel.remember(notice),
            delivered=delivered,
            retention_ms=self._settings.topics.retention_hours * HOUR_MS,
        )
        topic = self._settings.topics.name("notified")
        await notified.write(self._producer, topic, partition, key, memory.encode(told))
        self._told[partition][key] = told

    async def _remind(self) -> None:
        """Say again what is open, to a target that would take it for ended."""
        now = self._clock()
        if not self._channel.keeps_open or not self.ready or now < self._remind_at:
            return
        self._remind_at = now + self._target.resend_seconds
        known: list[Mapping[str, Any]] = [
            told.open.known for part in self._told.values() for told in part.values() if told.open is not None
        ]
        self._metrics.set("driftline_notifications_open", len(known), target=self._name)
        for request in self._channel.remind(known, now):
            answer = await self._post.send(request, self._target.timeout_seconds)
            if not answer.delivered:
                verdict = judge(answer, 0, 0, now, self._coin())
                self._missed += 1
                self._failing(self._missed)
                self._metrics.add(
                    "driftline_notification_failures_total", target=self._name, reason=verdict.failure
                )
                log.warning(
                    "not reminded: %s",
                    verdict.failure,
                    extra={"target": self._name, "status": answer.status, "detail": answer.detail},
                )
                return
        if self._missed:
            self._missed = 0
            self._failing(0)

    def _skipped(self, why: Skip) -> None:
        self._metrics.add("driftline_notifications_skipped_total", target=self._name, reason=why.value)

    def _failing(self, attempts: int) -> None:
        self._metrics.set("driftline_notification_failed_attempts", attempts, target=self._name)


async def _start(consumer: Any, stop: asyncio.Event) -> None:
    """Connect, however long the brokers are away."""
    while not stop.is_set():
        try:
            await consumer.start()
            return
        except KafkaConnectionError as error:
            log.warning("waiting for Kafka: %s", error)
            await asyncio.sleep(notified.AGAIN_SECONDS)


async def _commit(consumer: Any, part: TopicPartition, offset: int) -> None:
    """Commit a position. A refusal loses nothing: the record on ``notified`` is what counts."""
    try:
        await consumer.commit({part: offset})
    except (CommitFailedError, IllegalStateError):
        log.info("a commit came after the group had moved on", extra={"partition": part.partition})
    except KafkaError as error:
        log.warning("commit: %s", error, extra={"partition": part.partition})


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """aiokafka logs and swallows what a listener raises: keep it, the loop raises it."""

    def __init__(self, courier: Courier) -> None:
        self._courier = courier

    async def on_partitions_revoked(self, revoked: Any) -> None:
        del revoked  # an eager group revokes everything
        await self._guard(self._courier.revoke())

    async def on_partitions_assigned(self, assigned: Any) -> None:
        await self._guard(self._courier.assign(set(assigned)))

    async def _guard(self, work: Any) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - the loop raises it
            self._courier.fail(error)
