"""Stage 1 at the Kafka edge: raw topics in, mailbox out, offsets committed after everything was stored.

Owns: the consumer (group ``<group>-ingest``), the idempotent producer, and the order of things: fetch,
decode, send, wait for every acknowledgement, commit. The next flush is fetched and decoded while one is being
sent, but sent only after the commit of the one before. Any broken promise raises ``FatalError`` (INGEST) out
of ``run``; a commit refused because the group rebalanced is no failure: the rows come again and stage 2 knows
them.
Invariants: a raw offset is committed only after all its rows are in the mailbox (or among the rejects); the
envelopes of this worker for one mailbox partition form a chain without holes. Must not know: Faust, actors.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from aiokafka import TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from driftline.clients import Clients, group_options
from driftline.config import Settings
from driftline.errors import ExitCode, FatalError, OutsideError
from driftline.ingest.chunks import DecoderKey, Fetched
from driftline.ingest.cursors import Cursor, Start, held_back, progress, start_of
from driftline.ingest.flush import Flush, Packer
from driftline.ingest.source import Committed, ConsumerSource, OutOfRange, RecordSource
from driftline.publish.headroom import Headroom
from driftline.publish.metrics import Metrics
from driftline.records import ProgressFlag, Source

log = logging.getLogger(__name__)

# Long enough for a broker to be restarted, short enough that somebody is told on the same day it is gone.
SEND_SECONDS_MAX: Final = 120.0
REVOKE_SECONDS_MAX: Final = (
    20.0  # beyond, the group goes on without us; the commit is refused, rows come again
)
FETCH_WAIT_SECONDS: Final = 0.5  # how often the loop turns when nothing arrives
FETCH_BYTES_MAX: Final = (
    2 << 20
)  # prefetched a raw partition; 3,000 events of 656 bytes, so 0.1 s at 30 k/s each
TURN_SECONDS_MAX: Final = SEND_SECONDS_MAX + 60.0  # between two turns of the loop; beyond, it hangs
BEGUN: Final = "begun "  # note of a commit before which nothing was sent, with the topic's id behind it
LAG_SECONDS: Final = 1.0  # how often lags are written to the metrics
_REBALANCED: Final = (
    CommitFailedError, IllegalGenerationError, IllegalStateError, RebalanceInProgressError,
    UnknownMemberIdError,
)  # fmt: skip


class IngestService:
    """Stage 1 of one worker.

    Args:
        settings: inputs, topics, limits.
        topic_ids: id by name of every raw topic and of the commands topic.
        metrics: where to count.
        producer_name: names this worker in envelopes, for people.
        clients: makes Kafka clients.
        headroom: what retention leaves, for the metrics.
        source: how records are taken from the consumer.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topic_ids: Mapping[str, str],
        metrics: Metrics,
        producer_name: str,
        clients: Clients,
        headroom: Headroom,
        source: Callable[[Any, Mapping[str, DecoderKey]], RecordSource] = ConsumerSource,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._headroom = headroom
        self._make_source = source
        self._clock = clock
        self._topic_ids = dict(topic_ids)
        self._metrics = metrics
        self._packer = Packer(settings, producer=producer_name)
        self._starts = {i.topic: i.start for i in settings.inputs}
        self._mailbox = settings.topics.name("mailbox")
        self._rejects = settings.topics.name("rejects")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="driftline-ingest")
        self._cursors: dict[Source, Cursor] = {}
        self._epoch = 0  # moves with every revoke and assignment: what was fetched before is void
        self.failure: FatalError | None = None
        self._in_flight: asyncio.Task[None] | None = None
        self._fetching: asyncio.Future[Fetched | None] | None = None
        self._assigned = asyncio.Event()
        self._lags_at = 0.0
        self.turned_at = self._clock()  # the watchdog's evidence that the loop goes round
        self._running = False

    @property
    def ready(self) -> bool:
        """True from the first assignment on, an empty one included."""
        return self._assigned.is_set()

    def problem(self) -> FatalError | None:
        """For the watchdog: the loop has stopped turning although nothing was raised."""
        idle = self._clock() - self.turned_at
        if idle <= TURN_SECONDS_MAX or not self._running:
            return None
        return FatalError(ExitCode.STALLED, f"ingest has not moved for {idle:.0f} s.")

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then finish the flush in progress and leave the group.

        Raises:
            FatalError: INGEST.
        """
        compression = self._settings.topics.compression
        self._producer = self._clients.producer(
            enable_idempotence=True,
            acks="all",
            compression_type=None if compression == "none" else compression,
        )
        self._consumer = self._clients.consumer(
            **group_options(self._settings.kafka),
            group_id=self._settings.group_id("ingest"),
            auto_offset_reset="none",
            isolation_level="read_committed",  # rows of an aborted transaction never happened
            max_partition_fetch_bytes=FETCH_BYTES_MAX,
        )
        self._source = self._make_source(self._consumer, self._packer.keys)
        try:
            await self._producer.start()
            await self._consumer.start()
            self._consumer.subscribe(topics=sorted(self._packer.keys), listener=_Listener(self))
            self.turned_at = self._clock()
            self._running = True
            for topic in self._packer.keys:
                kept = self._headroom.retention(topic)
                if kept is not None:
                    self._metrics.set("driftline_input_retention_seconds", kept, topic=topic)
            await self._loop(stop)
        except (KafkaError, OutsideError) as error:
            raise FatalError(ExitCode.INGEST, f"ingest: {type(error).__name__}: {error}.") from error
        finally:
            self._running = False
            await self._close()

    async def _close(self) -> None:
        for client in (self._consumer, self._producer):
            try:
                async with asyncio.timeout(5):
                    await client.stop()
            except (TimeoutError, KafkaError) as error:
                log.warning("a Kafka client of ingest did not stop", extra={"error": repr(error)})
        self._thread.shutdown(wait=False)

    # --- the loop

    async def _loop(self, stop: asyncio.Event) -> None:
        interval = self._settings.ingest.flush_interval_seconds
        turned = 0.0
        while not stop.is_set():
            self.turned_at = self._clock()
            if self.failure is not None:
                raise self.failure
            if self._in_flight is not None and self._in_flight.done():
                await self._land()  # also when nothing follows: its failure must not wait for the next row
            backlog = any(cursor.behind for cursor in self._cursors.values())
            if not backlog:  # wait, so that an envelope holds more than a few rows
                await _wait(stop, max(0.0, turned + interval - self._clock()))
            turned = self._clock()
            await self._turn(stop)
        await self._land()

    async def _turn(self, stop: asyncio.Event) -> None:
        epoch = self._epoch
        fetched = await self._fetch(stop)
        if fetched is None or epoch != self._epoch:
            return
        now = self._clock()
        entries = []
        for source, offset, newest in zip(
            fetched.sources, fetched.next_offsets, fetched.record_times, strict=True
        ):
            cursor = self._cursors[source]
            if newest >= 0:
                cursor.moved_at = now
            entries.append(progress(cursor, source, self._topic_ids[source.topic], offset, newest))
        loop = asyncio.get_running_loop()
        flush = await loop.run_in_executor(self._thread, self._packer.flush, fetched, entries)
        await self._land()
        if epoch == self._epoch:
            self._in_flight = asyncio.create_task(self._deliver(flush))

    async def _fetch(self, stop: asyncio.Event) -> Fetched | None:
        if not self._cursors:
            self._source.check()
            await _wait(stop, FETCH_WAIT_SECONDS)
            return None
        waiting = held_back(self._cursors, self._clock())
        wanted = {source: cursor for source, cursor in self._cursors.items() if source not in waiting}
        fetching = self._fetching = asyncio.ensure_future(
            self._source.next_chunk(wanted, self._settings.ingest.flush_rows, FETCH_WAIT_SECONDS)
        )
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({fetching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not fetching.done() or fetching.cancelled():
                return None
            fetched = fetching.result()
        except OutOfRange as error:
            await self._out_of_range(error)
            return None
        finally:
            fetching.cancel()
            stopping.cancel()
        self._lags()
        return fetched

    def _lags(self) -> None:
        now = self._clock()
        for source, cursor in self._cursors.items():
            cursor.behind = self._source.behind(source)
            if now - self._lags_at >= LAG_SECONDS:
                self._show_lag(source, cursor)
        if now - self._lags_at >= LAG_SECONDS:
            self._lags_at = now

    def _show_lag(self, source: Source, cursor: Cursor) -> None:
        """How far behind, in records and against the clock of retention."""
        metrics, topic, partition = self._metrics, source.topic, source.partition
        metrics.set("driftline_input_lag_records", cursor.behind, topic=topic, partition=partition)
        left = self._headroom.left(source, behind=cursor.behind, taken_ms=cursor.record_time)
        if left is not None:
            metrics.set("driftline_input_retention_headroom_seconds", left, topic=topic, partition=partition)

    async def _out_of_range(self, error: OutOfRange) -> None:
        """Retention has overtaken us while running: stop, or go on at the first offset that is left."""
        cursor = self._cursors.get(error.source)
        if cursor is None or cursor.next > error.offset:
            return  # revoked or moved meanwhile
        tp = TopicPartition(error.source.topic, error.source.partition)
        first = (await self._consumer.beginning_offsets([tp]))[tp]
        end = (await self._consumer.end_offsets([tp]))[tp]
        if self._cursors.get(error.source) is cursor:
            new = cursor.flags & ProgressFlag.START
            note = BEGUN + self._topic_ids[error.source.topic] if new else ""
            start = self._start_of(error.source, Committed(cursor.next, note), (first, end))
            self._begin(error.source, start, end)

    # --- delivery

    async def _land(self) -> None:
        """Wait for the flush in flight, if any."""
        task = self._in_flight
        if task is not None:
            await task  # a revoke meanwhile has to find it, too
            self._in_flight = None

    async def _deliver(self, flush: Flush) -> None:
        started = self._clock()
        try:
            async with asyncio.timeout(SEND_SECONDS_MAX):
                sent = [
                    await self._producer.send(self._mailbox, value, partition=partition)
                    for partition, value in flush.envelopes
                ]
                for record in flush.rejects:
                    headers = list(record.headers)
                    sent.append(
                        await self._producer.send(
                            self._rejects, record.value, key=record.key, headers=headers
                        )
                    )
                await asyncio.gather(*sent)
                await self._commit(flush)
        except TimeoutError as error:
            raise FatalError(
                ExitCode.INGEST,
                f"a flush was not stored within {SEND_SECONDS_MAX:.0f} s: the brokers do not answer.",
            ) from error
        except KafkaError as error:
            raise FatalError(
                ExitCode.INGEST, f"a flush could not be stored: {type(error).__name__}: {error}."
            ) from error
        self._count(flush, self._clock() - started)

    async def _commit(self, flush: Flush) -> None:
        offsets = {TopicPartition(s.topic, s.partition): offset for s, offset in flush.commits.items()}
        try:
            await self._consumer.commit(offsets)
        except _REBALANCED as error:
            log.info("commit refused, the group is rebalancing", extra={"error": type(error).__name__})

    def _count(self, flush: Flush, seconds: float) -> None:
        metrics = self._metrics
        for topic, count in flush.accepted.items():
            metrics.add("driftline_events_accepted_total", count, topic=topic)
        for topic, count in flush.filtered.items():
            metrics.add("driftline_events_filtered_total", count, topic=topic)
        for (topic, code), count in flush.rejected.items():
            metrics.add("driftline_events_rejected_total", count, topic=topic, code=code)
        metrics.add("driftline_envelopes_sent_total", len(flush.envelopes))
        metrics.observe("driftline_flush_duration_seconds", seconds)

    # --- the group

    async def revoke(self) -> None:
        """Give up all raw partitions: what is being sent may finish, what is only fetched is dropped."""
        self._epoch += 1
        if self._fetching is not None:
            # It could outlast a quick rebalance: what it then takes lies behind the new positions, and would
            # be dropped as fetched before, without being read again.
            self._fetching.cancel()
        gone, self._cursors = self._cursors, {}
        task = self._in_flight
        if task is not None:
            await asyncio.wait({task}, timeout=REVOKE_SECONDS_MAX)  # its error is raised by _land
        for source in gone:
            self._metrics.forget_source(source.topic, source.partition)

    async def assign(self, assigned: set[TopicPartition]) -> None:
        """Find out where to begin with each raw partition, and seek there."""
        self._epoch += 1
        epoch = self._epoch
        tps = sorted(assigned)
        committed = await self._source.committed(tps)
        first = await self._consumer.beginning_offsets(tps) if tps else {}
        end = await self._consumer.end_offsets(tps) if tps else {}
        starts = {tp: self._start_of(Source(*tp), committed.get(tp), (first[tp], end[tp])) for tp in tps}
        if epoch != self._epoch or not await self._note_begun(
            {tp: start.offset for tp, start in starts.items() if start.flags & ProgressFlag.START}
        ):
            return
        if epoch != self._epoch:
            return
        for tp, start in starts.items():
            self._begin(Source(*tp), start, end[tp])
        self._assigned.set()
        log.info("raw partitions assigned", extra={"partitions": len(tps)})

    async def _note_begun(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit where new partitions begin; False when the group is rebalancing.

        The first envelope says START. Were it sent and the commit after it not made, whoever comes next would
        begin elsewhere (at the end, or where retention left off), and stage 2 would find a hole for ever.
        """
        noted = {tp: (o, BEGUN + self._topic_ids[tp.topic]) for tp, o in offsets.items() if o > 0}
        try:
            if noted:
                await self._consumer.commit(noted)
        except _REBALANCED as error:
            log.info("commit refused, the group is rebalancing", extra={"error": type(error).__name__})
            return False
        return True

    def _start_of(self, source: Source, committed: Committed | None, ends: tuple[int, int]) -> Start:
        """Where a raw partition begins.

        Raises:
            FatalError: INGEST, see ``start_of``.
        """
        begun = committed is not None and committed.note == BEGUN + self._topic_ids[source.topic]
        if committed is not None and committed.note.startswith(BEGUN) and not begun:
            committed = None  # it was recreated before anything of it was read
        return start_of(
            source,
            committed.offset if committed is not None else None,
            ends,
            when_new=self._starts.get(source.topic, "earliest"),
            accept_gap=self._settings.ingest.accept_gap,
            begun=begun,
        )

    def _begin(self, source: Source, start: Start, end: int) -> None:
        """Seek to where a raw partition begins."""
        self._consumer.seek(TopicPartition(source.topic, source.partition), start.offset)
        self._cursors[source] = Cursor(
            start.offset, start.flags, moved_at=self._clock(), behind=max(0, end - start.offset)
        )
        if start.flags & ProgressFlag.ACCEPTED_GAP:
            self._metrics.add("driftline_events_lost_total", start.lost, topic=source.topic)
            log.warning(
                "records were lost by retention and accepted as lost",
                extra={"topic": source.topic, "partition": source.partition, "records": start.lost},
            )


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """aiokafka logs and swallows what a listener raises: keep it, the loop raises it."""

    def __init__(self, service: IngestService) -> None:
        self._service = service

    async def on_partitions_revoked(self, revoked: Any) -> None:
        del revoked  # an eager group revokes everything
        await self._guard(self._service.revoke())

    async def on_partitions_assigned(self, assigned: Any) -> None:
        await self._guard(self._service.assign(set(assigned)))

    async def _guard(self, step: Any) -> None:
        try:
            await step
        except FatalError as error:
            self._service.failure = error
        except Exception as error:  # noqa: BLE001 - the loop raises it
            self._service.failure = FatalError(
                ExitCode.INGEST, f"taking over raw partitions failed: {type(error).__name__}: {error}."
            )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Until the event is set or the time has passed; at least one turn of the event loop."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
