"""Applies envelopes to the mailbox partitions that this worker owns, and takes partitions over.

Owns: which partitions are ours in which generation of the group, and the order of a take-over: open the
producer (fence) -> restore -> seek -> run. The state is the truth, not the group's commit. Nothing is stored
on a revoke. Must not know Faust: ``overrides`` adapts its consumer to ``Mailbox``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol

from driftline.clients import Clients
from driftline.config import Settings
from driftline.decide.partition import MailboxPartition
from driftline.errors import ExitCode, FatalError, HoleError
from driftline.publish.metrics import Metrics
from driftline.stream.checkpoint import Checkpointer, Clock, Committer, Fatal, Partition, Uniform
from driftline.stream.restore import Stored, read_state

log = logging.getLogger(__name__)

# A broker that has just become leader shows a log's end late, until its followers have fetched.
CUT_SECONDS: Final = 10.0


class PartitionFactory(Protocol):
    """Makes a mailbox partition from its stored rows; without any, one that begins at ``first_offset``."""

    def __call__(  # noqa: D102
        self,
        rows: Mapping[bytes, bytes],
        *,
        partition: int,
        topic_id: str,
        partitions: int,
        first_offset: int,
    ) -> Partition: ...


class Mailbox(Protocol):
    """What a take-over needs of the mailbox's consumer; partitions by number."""

    def generation(self) -> int:
        """The group's generation; moves with every rebalance."""
        ...

    async def committed(self, partitions: Iterable[int]) -> dict[int, int | None]:
        """The group's offsets."""
        ...

    async def log_starts(self, partitions: Iterable[int]) -> dict[int, int]:
        """The first offset that is kept."""
        ...

    async def seek(self, offsets: Mapping[int, int]) -> None:
        """Go on reading at these offsets."""
        ...

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Commit for lag displays; nothing depends on it, so a refusal is not an error."""
        ...


def mailbox_partitions(settings: Settings) -> PartitionFactory:
    """The factory of real partitions."""
    revision = settings.revision()

    def make(
        rows: Mapping[bytes, bytes], *, partition: int, topic_id: str, partitions: int, first_offset: int
    ) -> Partition:
        common: dict[str, Any] = {
            "partition": partition,
            "topic_id": topic_id,
            "partitions": partitions,
            "settings": settings.detection,
            "models": settings.models,
            "revision": revision,
            "runbook_url": settings.runbook_url,
        }
        if rows:
            return MailboxPartition.restore(rows, **common)
        return MailboxPartition(first_offset=first_offset, **common)

    return make


class Owner:
    """The mailbox partitions of this worker.

    Args:
        settings: names and deadlines.
        topic_id: id of the mailbox topic.
        metrics: where to count.
        fatal: ends the process; in tests it may return, then nothing further is applied.
        partition_factory: makes partitions.
        clients: makes Kafka clients.
        committer: makes the producer of a partition.
        clock: monotonic seconds.
        uniform: a random number between two, for times at which nothing depends.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topic_id: str,
        metrics: Metrics,
        fatal: Fatal,
        partition_factory: PartitionFactory,
        clients: Clients,
        committer: Callable[[Settings, int, Clients], Committer] = Committer,
        clock: Clock = time.monotonic,
        uniform: Uniform = random.uniform,
    ) -> None:
        self._settings = settings
        self._topic_id = topic_id
        self._metrics = metrics
        self._fatal = fatal
        self._factory = partition_factory
        self._clients = clients
        self._committer = committer
        self._clock = clock
        self._uniform = uniform
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="driftline-checkpoint")
        self._lock = asyncio.Lock()
        self._epoch = 0  # moves with every revoke: a take-over that a revoke overtakes installs nothing
        self._closing = False
        self._short_since: dict[
            int, float
        ] = {}  # mailbox partitions whose log seems shorter than what was applied
        self.generation = -1
        self.owned: dict[int, Checkpointer] = {}
        self.taken_over = False  # a take-over has succeeded, be it of nothing

    # --- applying

    def apply(self, number: int, generation: int, offset: int, timestamp_ms: int, value: bytes) -> None:
        """Apply one record of the mailbox. No await in here: a checkpoint always sees whole envelopes."""
        owned = self.owned.get(number)
        if self._closing or owned is None or generation != self.generation:
            return  # of a former assignment, or read before its take-over: it will be read again
        try:
            rows = owned.partition.apply(offset, timestamp_ms, value)
        except HoleError as error:
            self._end(FatalError(ExitCode.HOLE, str(error)))
            return
        except FatalError as error:
            self._end(error)
            return
        except Exception as error:
            log.exception("applying an envelope failed")
            self._end(
                FatalError(
                    ExitCode.APPLY,
                    f"mailbox partition {number}, offset {offset}: {type(error).__name__}: {error}.",
                    remedy="Please report it with the traceback above; restarting repeats the envelope.",
                )
            )
            return
        owned.touched()
        self._metrics.add("driftline_envelopes_applied_total", 1, partition=number)
        self._metrics.add("driftline_rows_applied_total", rows, partition=number)
        self.notes(number, owned.partition)

    def _end(self, error: FatalError) -> None:
        self._closing = True
        self._fatal(error)

    def notes(self, number: int, partition: Partition) -> None:
        """Log what the partition has to say."""
        for note in partition.drain_notes():
            log.warning("%s", note, extra={"partition": number})

    def check_end(self, number: int, end: int) -> None:
        """Told the end of a mailbox partition's log now and then: what was applied cannot lie beyond it.

        A consumer that finds its offset out of range begins anew, and what it then reads is below the next
        offset: without this check it would be skipped in silence. It only counts when it lasts (CUT_SECONDS).
        """
        owned = self.owned.get(number)
        if self._closing or owned is None or end >= owned.partition.next_offset:
            self._short_since.pop(number, None)
            return
        if self._clock() - self._short_since.setdefault(number, self._clock()) < CUT_SECONDS:
            return
        self._end(
            FatalError(
                ExitCode.IDENTITY,
                f"mailbox partition {number} ends at offset {end}, but was applied up to "
                f"{owned.partition.next_offset}: the topic was recreated or cut.",
                remedy="If the topic was recreated on purpose, delete the state topic and create both again.",
            )
        )

    # --- taking over and giving up

    async def revoke(self, why: str) -> None:
        """Give everything up; nothing is stored."""
        self._epoch += 1
        gone, self.owned = self.owned, {}
        self._short_since.clear()
        for owned in gone.values():
            owned.open = False
        await asyncio.gather(*(owned.release() for owned in gone.values()))
        for number in gone:
            self._metrics.forget_partition(number)
        if gone:
            log.info("mailbox partitions released", extra={"why": why, "partitions": sorted(gone)})

    async def take_over(self, mailbox: Mailbox, assigned: frozenset[int]) -> None:
        """Fence, restore and seek every assigned partition. May be called again in the same generation.

        Ends the process (TAKE_OVER) when it takes too long: Faust would give up in silence.
        """
        seconds = self._settings.checkpoint.take_over_timeout_seconds
        try:
            async with asyncio.timeout(seconds), self._lock:
                behind = await self._take_over(mailbox, assigned)
        except TimeoutError:
            self._end(
                FatalError(
                    ExitCode.TAKE_OVER,
                    f"mailbox partitions {sorted(assigned)} were not taken over within {seconds:.0f} s.",
                    remedy="If the state is large, raise checkpoint.take_over_timeout_seconds.",
                )
            )
        except FatalError as error:
            self._end(error)
        except Exception as error:
            log.exception("take-over failed")
            self._end(FatalError(ExitCode.TAKE_OVER, f"take-over failed: {type(error).__name__}: {error}."))
        else:
            if behind:  # the former owner stored but did not commit: lag would show until new rows come
                await mailbox.commit(behind)

    async def _take_over(self, mailbox: Mailbox, assigned: frozenset[int]) -> dict[int, int]:
        """Returns the positions that the state has and the group has not."""
        generation, epoch = mailbox.generation(), self._epoch
        if generation != self.generation or frozenset(self.owned) != assigned:
            await self.revoke("left over")  # nothing, after an orderly revoke
            epoch = self._epoch
        elif self.owned:
            # Again in one generation: a second producer would fence our own first one. Only seek.
            await mailbox.seek({p: owned.partition.next_offset for p, owned in self.owned.items()})
            return {}
        began = self._clock()
        new: dict[int, Checkpointer] = {}
        committers = {p: self._committer(self._settings, p, self._clients) for p in sorted(assigned)}
        try:
            await asyncio.gather(*(committer.open() for committer in committers.values()))
            # Before the state: whoever is frozen here and was overtaken must not find that what others have
            # committed, or what retention has deleted meanwhile, does not fit an old state.
            committed = await mailbox.committed(assigned)
            starts = await mailbox.log_starts(assigned)
            stored = await read_state(self._settings, assigned, self._clients)
            for p, committer in committers.items():
                partition = await asyncio.to_thread(self._restore, p, stored[p], committed[p], starts[p])
                new[p] = self._checkpointer(p, partition, committer, mailbox)
            if (generation, epoch) != (mailbox.generation(), self._epoch):
                log.info("take-over overtaken by a rebalance")
                return {}
            offsets = {p: checkpointer.partition.next_offset for p, checkpointer in new.items()}
            await mailbox.seek(offsets)
            if (generation, epoch) != (mailbox.generation(), self._epoch):
                log.info("take-over overtaken by a rebalance")
                return {}
            self.generation, self.owned = generation, new
        finally:
            if self.owned is not new:
                await asyncio.shield(
                    asyncio.gather(*(committer.close() for committer in committers.values()))
                )
        self.taken_over = True
        for p, checkpointer in new.items():
            checkpointer.start()
            self.notes(p, checkpointer.partition)
            self._metrics.set("driftline_recovery_duration_seconds", self._clock() - began, partition=p)
            self._metrics.set("driftline_recovery_bytes", stored[p].size, partition=p)
        log.info(
            "mailbox partitions taken over",
            extra={
                "partitions": sorted(new),
                "generation": generation,
                "records": sum(s.records for s in stored.values()),
                "seconds": round(self._clock() - began, 2),
            },
        )
        return {p: offset for p, offset in offsets.items() if stored[p].rows and offset > (committed[p] or 0)}

    def _checkpointer(
        self, number: int, partition: Partition, committer: Committer, mailbox: Mailbox
    ) -> Checkpointer:
        async def stored(number: int, offset: int) -> None:
            await mailbox.commit({number: offset})

        return Checkpointer(
            number=number,
            partition=partition,
            committer=committer,
            settings=self._settings.checkpoint,
            metrics=self._metrics,
            executor=self._executor,
            fatal=self._end,
            stored=stored,
            clock=self._clock,
            uniform=self._uniform,
        )

    def _restore(self, number: int, stored: Stored, committed: int | None, start: int) -> Partition:
        """The partition as stored, and what speaks against going on with it.

        Raises:
            FatalError: STATE_MISSING, IDENTITY, CONFIG.
        """
        mailbox, state = self._settings.topics.name("mailbox"), self._settings.topics.name("state")
        if not stored.rows and committed:
            raise FatalError(
                ExitCode.STATE_MISSING,
                f"offset {committed} of {mailbox}[{number}] is committed, "
                f"but {state}[{number}] holds no state.",
                remedy=f"The state topic was lost. To learn everything anew, delete the offsets of group "
                f"{self._settings.group_id('detect')}.",
            )
        partition = self._factory(
            stored.rows,
            partition=number,
            topic_id=self._topic_id,
            partitions=self._settings.topics.mailbox_partitions,
            first_offset=start,
        )
        offset = partition.next_offset
        if start > offset:
            raise FatalError(
                ExitCode.IDENTITY,
                f"{mailbox}[{number}] begins at offset {start}, the state goes on at {offset}: "
                f"{start - offset} envelopes were deleted by retention before they were applied.",
                remedy="Raise topics.mailbox_retention_hours; to go on without these rows, delete "
                "the state topic and let the models learn again.",
            )
        if committed is not None and committed > offset:
            raise FatalError(
                ExitCode.STATE_MISSING,
                f"offset {committed} of {mailbox}[{number}] is committed, "
                f"but {state}[{number}] goes only up to {offset}: the end of the state was lost.",
                remedy="Restore the state topic; going on would count rows twice or lose alerts.",
            )
        return partition

    async def drain(self, seconds: float) -> None:
        """Stop applying, store what was applied within the deadline, and give everything up."""
        self._closing = True
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(owned.checkpoint() for owned in self.owned.values()))
        except TimeoutError:
            log.warning("the last checkpoint did not end in time; its rows will be applied again")
        await self.revoke("shutdown")
        self._executor.shutdown(wait=False)
