"""The Faust methods that are overridden, each with what it does upstream and which issue it works round.

Written against faust-streaming 0.15.3 (``compat`` checks). F is github.com/faust-streaming/faust, R is
robinhood/faust. Everything here is the adapter between Faust's consumer and ``agent.Owner``; decisions are
made there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final

import faust
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError
from faust.app.base import BootStrategy as FaustBootStrategy
from faust.transport.drivers import aiokafka as driver

from driftline.stream.agent import Owner

log = logging.getLogger(__name__)
# Faust's services log through a logger named after the module of their class: here they would pass for ours.
faust_log: Final = logging.getLogger("faust.driftline")

COMMIT_SECONDS_MAX: Final = 10.0  # for lag displays only; a later one covers it


class Consumer(driver.Consumer):
    """Faust's consumer, with its take-over replaced by ours."""

    logger = faust_log
    _fetching: asyncio.Task[Any] | None = None

    def on_init(self) -> None:
        """Called by Faust at the end of construction."""
        super().on_init()
        self._fetch_idle = asyncio.Event()
        self._fetch_idle.set()

    async def _getmany(self, active_partitions: Any, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        """Upstream: fetch. Here also: note who fetches and when none is in progress.

        A seek while a fetch is in progress is undone when it returns (F#596, R#115); upstream's own
        ``wait_for_stopped_flow`` cannot tell, because its flag is set and never cleared.
        """
        self._fetching = asyncio.current_task()
        self._fetch_idle.clear()
        try:
            return await super()._getmany(active_partitions, timeout)
        finally:
            self._fetch_idle.set()

    async def perform_seek(self) -> None:
        """Upstream: seek to the group's commit. Here: fence, restore the state, seek to where it goes on.

        It is the one place that runs after every assignment and before the flow resumes. Upstream also calls
        it from the fetcher when records came while the flow was stopped: these are dropped, and the take-over
        that follows every assignment seeks anyway; a second producer opened here would fence the first one.
        """
        if asyncio.current_task() is self._fetching:
            return
        self.stop_flow()
        await self._fetch_idle.wait()
        assigned = frozenset(tp.partition for tp in self.assignment() if tp.topic == self.app.mailbox_topic)
        await self.app.owner.take_over(MailboxConsumer(self, self.app.mailbox_topic), assigned)

    def verify_event_path(self, now: float, tp: Any) -> None:
        """Upstream: log errors about partitions that seem stuck. Here: nothing.

        It compares wall-clock milliseconds with a monotonic clock (F#629), and expects commits that we do not
        make through Faust. ``watchdog`` does this job, and acts.
        """

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Upstream: commit what streams acknowledged. Here: nothing, see ``MailboxConsumer.commit``.

        Upstream commits beyond a message that is still being worked on (F#606), and acknowledging would need
        every event, with its bytes, to be kept until the checkpoint.
        """
        del topics, start_new_transaction
        return False


class MailboxConsumer:
    """``agent.Mailbox`` over Faust's consumer, whose aiokafka consumer lives in a thread of its own."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self._consumer = consumer
        self._thread = consumer._thread  # noqa: SLF001
        self._topic = topic

    def _tp(self, partition: int) -> TopicPartition:
        return TopicPartition(self._topic, partition)

    def generation(self) -> int:
        """The group's generation."""
        return int(self._consumer.app.consumer_generation_id)

    async def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        """The group's offsets."""
        kafka = self._thread._ensure_consumer()  # noqa: SLF001
        return {p: await self._thread.call_thread(kafka.committed, self._tp(p)) for p in partitions}

    async def log_starts(self, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset that is kept."""
        tps = [self._tp(p) for p in partitions]
        if not tps:
            return {}
        kafka = self._thread._ensure_consumer()  # noqa: SLF001
        found = await self._thread.call_thread(kafka.beginning_offsets, tps)
        return {tp.partition: int(found[tp]) for tp in tps}

    async def seek(self, offsets: Mapping[int, int]) -> None:
        """Go on reading at these offsets. In the consumer's thread: ``seek`` is not thread-safe."""
        if offsets:
            await self._consumer.seek_wait({self._tp(p): offset for p, offset in offsets.items()})

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit for lag displays. Upstream's crashes the worker when the group is rebalancing."""
        kafka = self._thread._ensure_consumer()  # noqa: SLF001
        wanted = {self._tp(p): offset for p, offset in offsets.items()}
        try:
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                await self._thread.call_thread(kafka.commit, wanted)
        except (TimeoutError, KafkaError, IllegalStateError) as error:
            log.info("the group's commit did not follow the state", extra={"error": type(error).__name__})


class Transport(driver.Transport):
    """Faust's transport with our consumer."""

    Consumer = Consumer


class BootStrategy(FaustBootStrategy):
    """What starts with the app: no web server, which would listen on 0.0.0.0:6066, and no producer."""

    enable_web = False
    enable_kafka_producer = False


class App(faust.App):
    """A Faust app that knows the owner of the mailbox partitions."""

    logger = faust_log
    BootStrategy = BootStrategy
    owner: Owner
    mailbox_topic: str

    def _new_transport(self) -> Any:
        """Upstream: the transport that the broker's URL names. Here: ours."""
        return Transport(self.conf.broker_consumer, self, loop=self.loop)

    def _create_directories(self) -> None:
        """Upstream: folders for tables, in the working directory. Here: none, there is no table."""

    async def _on_partitions_revoked(self, revoked: Any) -> None:
        """Upstream: stop the flow and drop what is buffered. Here also: give up what we own.

        The next owner may be told before we are: a checkpoint that it has fenced would end this process.
        """
        await super()._on_partitions_revoked(revoked)
        await self.owner.revoke("rebalance")

    async def _producer_flush(self, logger: Any) -> None:
        """Upstream: flush Faust's producer at a revoke and at the end. Here: nothing, it is never started."""
        del logger
