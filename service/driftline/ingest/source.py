"""Where stage 1 gets its records: a small protocol, and its implementation over aiokafka's consumer.

aiokafka does what it does well: group, offsets, fetching ahead. Its prefetched batches are taken apart here,
because it makes an object of each record; what is out of the ordinary (old formats, aborted transactions,
errors) is left to its own ``getmany``, with the same result.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from driftline.ingest.batches import RowsBuilder, batches, is_modern
from driftline.ingest.chunks import DecoderKey, Fetched, Rows, gather, rows_of
from driftline.ingest.cursors import Cursor
from driftline.ingest.inflate import BATCH_BYTES_MAX
from driftline.records import Source

log = logging.getLogger(__name__)


class OutOfRange(Exception):  # noqa: N818 - an outcome, handled by the service
    """The log of a raw partition has no record at ``offset`` (any more)."""

    def __init__(self, source: Source, offset: int) -> None:
        super().__init__(f"{source.topic}[{source.partition}] has no offset {offset}")
        self.source = source
        self.offset = offset


@dataclass(frozen=True, slots=True)
class Committed:
    """What the group has committed for a raw partition; ``note`` is the text stored with the offset."""

    offset: int
    note: str = ""


class RecordSource(Protocol):
    """What the ingest loop needs of a consumer."""

    async def committed(self, tps: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        """The group's offsets; partitions without one are left out."""
        ...

    async def next_chunk(
        self, wanted: Mapping[Source, Cursor], rows_max: int, timeout_seconds: float
    ) -> Fetched | None:
        """Records of the wanted raw partitions from their cursors on; None when nothing moved in time.

        Takes about the same number from each, about ``rows_max`` in all (batches stay whole).

        Raises:
            OutOfRange: the log does not hold what comes next.
            OutsideError: what came is damaged.
        """
        ...

    def behind(self, source: Source) -> int:
        """Records in the log behind what was handed out, as far as known."""
        ...

    def check(self) -> None:
        """Raise what the group coordinator found wrong; has to be called while there is nothing to fetch."""
        ...


class KeptRecords:
    """aiokafka's reader of a fetched buffer, which also keeps the buffer and how far it was taken apart."""

    __slots__ = ("at", "data", "has_next", "next_batch", "size_in_bytes")

    def __init__(self, data: bytes) -> None:
        inner = _MemoryRecords(data)
        self.data = data
        self.at = 0
        self.has_next = inner.has_next
        self.next_batch = inner.next_batch
        self.size_in_bytes = inner.size_in_bytes


_MemoryRecords: Final[Any] = aiokafka_fetcher.MemoryRecords
# The one place where aiokafka hands a fetched buffer to a reader. Without it everything works through
# getmany.
aiokafka_fetcher.MemoryRecords = KeptRecords


class ConsumerSource:
    """Records from an aiokafka consumer, in bulk.

    A partition that is not wanted is simply not asked for: its prefetched records stay, and while they do
    nothing more of it is fetched (aiokafka's own pause would throw them away).
    """

    def __init__(
        self, consumer: AIOKafkaConsumer, decoders: Mapping[str, DecoderKey], *, raw: bool = True
    ) -> None:
        self._consumer = consumer
        self._decoders = decoders
        self._raw = raw
        self._first = 0  # whose turn it is to be asked first
        self._pending: OutOfRange | None = (
            None  # found when others had been drained already: raised next time
        )

    async def committed(self, tps: Sequence[TopicPartition]) -> Mapping[TopicPartition, Committed]:
        """See ``RecordSource``; aiokafka's own ``committed`` leaves the note out."""
        found = await self._consumer._coordinator.fetch_committed_offsets(list(tps))  # noqa: SLF001
        return {tp: Committed(entry.offset, entry.metadata) for tp, entry in found.items()}

    async def next_chunk(
        self, wanted: Mapping[Source, Cursor], rows_max: int, timeout_seconds: float
    ) -> Fetched | None:
        """See ``RecordSource``."""
        if not wanted:
            await asyncio.sleep(timeout_seconds)
            return None
        if self._pending is not None:
            pending, self._pending = self._pending, None
            raise pending
        self.check()
        tps = {TopicPartition(s.topic, s.partition): s for s in wanted}
        found = await self._drain(list(tps), rows_max)
        if not found and not any(cursor.flags for cursor in wanted.values()):
            await self._wait(timeout_seconds)
            found = await self._drain(list(tps), rows_max)
        moved = []
        for tp, source in tps.items():
            cursor = wanted[source]
            # Behind the last record: control records and holes of compaction count as read.
            position = self._position(tp)
            if position is None or position < cursor.next:
                continue  # not sought yet
            if position > cursor.next or cursor.flags:
                moved.append((source, position, found.get(tp)))
        return gather(moved, self._decoders) if moved else None

    async def _wait(self, timeout_seconds: float) -> None:
        """Until something was fetched."""
        waiter = self._consumer._fetcher._create_fetch_waiter()  # noqa: SLF001
        await asyncio.wait([waiter], timeout=timeout_seconds)
        if not waiter.done():
            waiter.cancel()
        elif not waiter.cancelled():
            waiter.result()  # raises what authorisation found

    async def _drain(self, tps: list[TopicPartition], rows_max: int) -> dict[TopicPartition, Rows]:
        """What is there already, a fair share of each partition, in turn."""
        share = max(1, rows_max // len(tps))
        self._first = (self._first + 1) % len(tps)
        found: dict[TopicPartition, Rows] = {}
        left, room = rows_max, BATCH_BYTES_MAX
        for tp in tps[self._first :] + tps[: self._first]:
            try:
                rows = await self._take(tp, min(share, left))
            except OutOfRange as error:
                if not found:
                    raise
                self._pending = error  # what was drained counts as read by the consumer: hand it out
                break
            if rows is not None:
                found[tp] = rows
                left -= len(rows)
                room -= rows.size
                if left <= 0 or room <= 0:
                    break
        return found

    async def _take(self, tp: TopicPartition, rows_max: int) -> Rows | None:
        """Prefetched records of a partition; does not wait."""
        consumer = self._consumer
        if consumer._subscription.reassignment_in_progress:  # noqa: SLF001
            return None
        fetcher = consumer._fetcher  # noqa: SLF001
        result = fetcher._records.get(tp)  # noqa: SLF001
        if result is None:
            return None
        if not self._plain(result, tp):
            return await self._getmany(tp, rows_max)
        partition = result._partition_records  # noqa: SLF001
        kept: KeptRecords = partition._records  # noqa: SLF001
        least: int = partition.next_fetch_offset
        where = f"{tp.topic}[{tp.partition}]"
        builder = RowsBuilder()
        exhausted = True
        with consumer._subscription.fetch_context():  # noqa: SLF001
            for batch in batches(kept.data, kept.at, where=where):
                if not builder.add(kept.data, batch, least=least, where=where):
                    log.warning(
                        "a record batch unpacks to more than is allowed: refused as a whole",
                        extra={"where": where, "offset": batch.base_offset, "records": batch.count},
                    )
                kept.at = batch.end
                partition.next_fetch_offset = max(least, batch.next_offset)
                if builder.rows >= rows_max or builder.size >= BATCH_BYTES_MAX:
                    exhausted = False
                    break
            result._update_position()  # noqa: SLF001
        if exhausted:
            del fetcher._records[tp]  # noqa: SLF001
            fetcher._notify(fetcher._wait_consume_future)  # noqa: SLF001 - fetch more of it
        return builder.build()

    def _plain(self, result: Any, tp: TopicPartition) -> bool:
        """Whether a prefetched result can be taken apart here."""
        if not self._raw or type(result) is not aiokafka_fetcher.FetchResult:
            return False
        if not result.has_more() or not result.check_assignment(tp):
            return False
        partition = result._partition_records  # noqa: SLF001
        kept = partition._records  # noqa: SLF001
        return (
            isinstance(kept, KeptRecords)
            and not partition._aborted_transactions  # noqa: SLF001
            and not partition._aborted_producers  # noqa: SLF001
            and is_modern(kept.data, kept.at)
        )

    async def _getmany(self, tp: TopicPartition, rows_max: int) -> Rows | None:
        try:
            found = await self._consumer.getmany(tp, timeout_ms=0, max_records=rows_max)
        except OffsetOutOfRangeError as error:
            lost, offset = next(iter(error.args[0].items()))
            raise OutOfRange(Source(lost.topic, lost.partition), offset) from error
        except NoOffsetForPartitionError:
            return None  # of before the seek; the position is ours
        records = found.get(tp)
        return rows_of(records) if records else None

    def _position(self, tp: TopicPartition) -> int | None:
        """The consumer's position without waiting for one."""
        subscription = self._consumer._subscription.subscription  # noqa: SLF001
        assignment = subscription.assignment if subscription is not None else None
        if assignment is None or tp not in assignment.tps:
            return None
        state = assignment.state_value(tp)
        return int(state.position) if state is not None and state.has_valid_position else None

    def behind(self, source: Source) -> int:
        """See ``RecordSource``."""
        tp = TopicPartition(source.topic, source.partition)
        position = self._position(tp)
        if position is None:
            return 0
        # Beyond the last stable offset lie open transactions, which may not be read yet.
        end = self._consumer.last_stable_offset(tp)
        if end is None or end < 0:
            end = self._consumer.highwater(tp)
        return max(0, end - position) if end is not None else 0

    def check(self) -> None:
        """See ``RecordSource``. aiokafka waits for ever to be asked."""
        self._consumer._coordinator.check_errors()  # noqa: SLF001
