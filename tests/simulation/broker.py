"""A Kafka cluster of one broker, in memory: logs, transactions, fencing, compaction, retention, topic ids.

Owns: what is stored, and the rules by which a reader sees it. Everything here happens at one moment; delays
and faults are the clients'. Behaves as Kafka 4 does: a commit is decided at once, its markers follow; opening
a transactional producer aborts what its predecessor left open, and refuses its later writes.
"""

from __future__ import annotations

import bisect
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

from aiokafka.errors import ConcurrentTransactions, ProducerFenced

EPOCH_MS: Final = 1_790_000_000_000  # where virtual time begins
MARKER_SECONDS: Final = 0.03  # at most, from the decision to the marker in a log
Headers = Sequence[tuple[str, bytes]]


@dataclass(slots=True)
class Txn:
    """One transaction."""

    producer: str  # transactional id
    process: Any  # who wrote it; None: nobody of ours
    began: float
    state: str = "open"  # committed, aborted
    first: dict[Log, int] = field(default_factory=dict)  # first offset in each log without a marker
    records: list[tuple[Log, Record]] = field(default_factory=list)


@dataclass(slots=True)
class Record:
    """One offset of a log; a control record has no value."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    txn: Txn | None = None
    control: bool = False

    @property
    def committed(self) -> bool:
        """Whether a reader of committed records gets it."""
        return not self.control and (self.txn is None or self.txn.state == "committed")


_OFFSET: Final = attrgetter("offset")


class Log:
    """One partition. ``records`` are kept, ``history`` is everything that was ever there (for the checks)."""

    def __init__(self, topic: str, partition: int) -> None:
        self.topic, self.partition = topic, partition
        self.records: list[Record] = []
        self.history: list[Record] = []
        self.start = self.end = 0
        self.open: list[Txn] = []  # transactions without a marker here

    @property
    def stable(self) -> int:
        """The last stable offset."""
        return min((txn.first[self] for txn in self.open), default=self.end)

    def read(self, offset: int, *, committed: bool, count: int) -> tuple[list[Record], int]:
        """Up to ``count`` records from an offset on, and where to go on; control records are skipped."""
        limit = self.stable if committed else self.end
        found: list[Record] = []
        at = bisect.bisect_left(self.records, offset, key=_OFFSET)
        position = offset
        while at < len(self.records) and len(found) < count:
            record = self.records[at]
            if record.offset >= limit:
                break
            position = record.offset + 1
            if record.committed or (not committed and not record.control):
                found.append(record)
            at += 1
        if at >= len(self.records) or self.records[at].offset >= limit:
            position = max(position, limit)
        return found, position


@dataclass(slots=True)
class Producer:
    """What the transaction coordinator knows of a transactional id."""

    epoch: int = -1
    timeout: float = 60.0
    txn: Txn | None = None


class Broker:
    """The cluster.

    Args:
        clock: virtual seconds.
        later: does something after some seconds.
        uniform: a random number between two.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        later: Callable[[float, Callable[[], None]], None],
        uniform: Callable[[float, float], float],
    ) -> None:
        self._clock, self._later, self._uniform = clock, later, uniform
        self.topics: dict[str, list[Log]] = {}
        self.ids: dict[str, str] = {}
        self.producers: dict[str, Producer] = {}
        self.committed_count = self.aborted_count = 0
        self.on_append: Callable[[Log, Record], None] = lambda log, record: None
        self.on_commit: Callable[[Txn], None] = lambda txn: None
        self.note: Callable[[str], None] = lambda text: None
        self.on_read: Callable[[Log, object], None] = lambda log, process: None
        self.by_id: dict[str, list[Log]] = {}  # by topic id, also of topics that were deleted

    def now_ms(self) -> int:
        """The broker's clock."""
        return EPOCH_MS + int(self._clock() * 1000)

    def create(self, topic: str, partitions: int) -> None:
        """Create a topic; again means with another id and empty."""
        self.topics[topic] = [Log(topic, p) for p in range(partitions)]
        self.ids[topic] = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{topic}/{len(self.by_id)}"))
        self.by_id[self.ids[topic]] = self.topics[topic]

    def log(self, topic: str, partition: int) -> Log:
        """One partition."""
        return self.topics[topic][partition]

    def logs(self) -> Iterator[Log]:
        """All partitions."""
        for logs in self.topics.values():
            yield from logs

    def append(
        self, log: Log, key: bytes | None, value: bytes | None, headers: Headers = (), txn: Txn | None = None
    ) -> Record:
        """Append one record; LogAppendTime."""
        record = Record(log.end, self.now_ms(), key, value, headers, txn)
        self._put(log, record)
        if txn is not None:
            if log not in txn.first:
                txn.first[log] = record.offset
                log.open.append(txn)
            txn.records.append((log, record))
        self.on_append(log, record)
        return record

    def _put(self, log: Log, record: Record) -> None:
        log.records.append(record)
        log.history.append(record)
        log.end = record.offset + 1

    # --- transactions

    def init_producer(self, name: str, timeout: float) -> int:
        """Open a transactional producer: fence the former one, abort what it left; its epoch."""
        known = self.producers.setdefault(name, Producer())
        self._busy(known)
        if known.txn is not None and known.txn.state == "open":
            self.resolve(known.txn, "aborted")
            known.epoch += 1  # from now on its predecessor is fenced, also while we wait for the markers
            raise ConcurrentTransactions
        known.epoch += 1
        known.timeout = timeout
        return known.epoch

    def begin(self, name: str, epoch: int, process: Any) -> Txn:
        """The open transaction of a producer, a new one if there is none."""
        known = self._current(name, epoch)
        self._busy(known)
        if known.txn is None or known.txn.state != "open":
            known.txn = Txn(name, process, self._clock())
        return known.txn

    def end(self, name: str, epoch: int, *, commit: bool) -> None:
        """Commit or abort."""
        known = self._current(name, epoch)
        if known.txn is not None and known.txn.state == "open":
            self.resolve(known.txn, "committed" if commit else "aborted")

    def _current(self, name: str, epoch: int) -> Producer:
        known = self.producers[name]
        if known.epoch != epoch:
            raise ProducerFenced
        return known

    def _busy(self, known: Producer) -> None:
        if known.txn is not None and known.txn.state != "open" and known.txn.first:
            raise ConcurrentTransactions  # its markers are not all written

    def resolve(self, txn: Txn, state: str) -> None:
        """Decide a transaction; its markers follow."""
        txn.state = state
        if state == "committed":
            self.committed_count += 1
            self.on_commit(txn)
        elif txn.records:
            self.aborted_count += 1
        for log in list(txn.first):
            self._later(self._uniform(0.0, MARKER_SECONDS), lambda log=log: self._mark(txn, log))  # type: ignore[misc]

    def _mark(self, txn: Txn, log: Log) -> None:
        log.open.remove(txn)
        del txn.first[log]
        self._put(log, Record(log.end, self.now_ms(), None, None, txn=txn, control=True))

    def expire(self) -> None:
        """Abort transactions that are open for too long, and fence who opened them."""
        for known in self.producers.values():
            txn = known.txn
            if txn is not None and txn.state == "open" and self._clock() - txn.began > known.timeout:
                known.epoch += 1
                self.resolve(txn, "aborted")

    # --- cleaning

    def compact(self, log: Log, *, quiet_ms: int, tombstones_ms: int) -> None:
        """Keep the latest committed value of each key, in what is older than ``quiet_ms``."""
        now, limit = self.now_ms(), log.stable
        clean = [r for r in log.records if r.offset < limit and r.timestamp <= now - quiet_ms]
        if not clean:
            return
        latest = {r.key: r.offset for r in clean if r.committed}
        first_dirty = clean[-1].offset + 1

        def kept(record: Record) -> bool:
            if record.offset >= first_dirty:
                return True
            if not record.committed or latest[record.key] != record.offset:
                return False
            return record.value is not None or record.timestamp > now - tombstones_ms

        log.records = [r for r in log.records if kept(r)]

    def trim(self, log: Log, start: int) -> None:
        """Retention: delete everything below an offset."""
        log.start = max(log.start, min(start, log.end))
        log.records = [r for r in log.records if r.offset >= log.start]
