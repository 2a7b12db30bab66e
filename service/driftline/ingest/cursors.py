"""How far each raw partition has come, and which ones have to wait for others.

Pure: the clock is an argument.

Owns: the chain (``prev_hi``) that lets stage 2 notice a hole, the flags of the first link, and the decision
to hold a raw partition back that runs ahead in time: a backlog delivered in runs looks like drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from driftline.errors import ExitCode, FatalError
from driftline.records import Progress, ProgressFlag, Source

AHEAD_MS_MAX: Final = 10_000  # further ahead, order across partitions is lost within a window of detection
IDLE_SECONDS: Final = 60.0  # a partition that delivers nothing for so long holds nobody back


@dataclass(slots=True)
class Cursor:
    """One assigned raw partition. ``next`` is the first offset that no envelope covers."""

    next: int
    flags: int = 0  # ProgressFlag bits for the next progress entry
    record_time: int = -1  # largest record timestamp delivered, ms; -1 before the first record
    moved_at: float = 0.0  # monotonic seconds of the last record, or of the assignment
    behind: int = 0  # records in the log that were not fetched yet, as far as known


def progress(cursor: Cursor, source: Source, topic_id: str, next_offset: int, record_time: int) -> Progress:
    """The progress entry up to, but without, ``next_offset``; moves the cursor.

    The range always begins where the one before ended, so that offsets without a record (compacted, control
    records) leave no hole. Every flush goes to every mailbox partition, so one cursor serves them all.
    """
    entry = Progress(
        source=source,
        topic_id=topic_id,
        prev_hi=cursor.next - 1,
        lo=cursor.next,
        hi=next_offset - 1,
        flags=cursor.flags,
        record_time_max=record_time,
    )
    cursor.next = next_offset
    cursor.flags = 0
    cursor.record_time = max(cursor.record_time, record_time)
    return entry


def held_back(cursors: Mapping[Source, Cursor], now: float) -> frozenset[Source]:
    """The raw partitions that have to wait: more than ``AHEAD_MS_MAX`` ahead of the slowest.

    A partition with nothing left to fetch, or without a record for ``IDLE_SECONDS``, slows nobody down. One
    with a backlog of which nothing has arrived yet does: its time is unknown, and probably long ago.
    """
    slowest = min(
        (c.record_time for c in cursors.values() if c.behind > 0 and now - c.moved_at <= IDLE_SECONDS),
        default=None,
    )
    if slowest is None:
        return frozenset()
    return frozenset(s for s, c in cursors.items() if c.record_time > slowest + AHEAD_MS_MAX)


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin with a raw partition; ``lost`` records before it were deleted unread (accepted)."""

    offset: int
    flags: int = 0
    lost: int = 0


def start_of(
    source: Source,
    committed: int | None,
    log: tuple[int, int],
    *,
    when_new: Literal["earliest", "latest"],
    accept_gap: bool,
    begun: bool = False,
) -> Start:
    """Where to begin.

    Args:
        source: the raw partition.
        committed: the group's offset, None if there is none.
        log: first offset kept and end of the log.
        when_new: where to begin without a commit in a log that no longer begins at 0.
        accept_gap: whether the operator accepts that records are lost.
        begun: ``committed`` is where the partition was begun; nothing of it may have been sent yet.

    Raises:
        FatalError: INGEST, records were deleted before they were read, or the log is shorter than what was
        read.
    """
    first, end = log
    if committed is None:
        if first == 0:
            return Start(0, ProgressFlag.START)
        return Start(first if when_new == "earliest" else end, ProgressFlag.START)
    if committed > end:
        raise FatalError(
            ExitCode.INGEST,
            f"{source.topic}[{source.partition}] ends at offset {end}, but was read up to {committed}: "
            "the topic was recreated or cut.",
            remedy="Reset the pipeline's state, or read the new topic under another name.",
        )
    flags = ProgressFlag.START if begun else 0
    if committed >= first:
        return Start(committed, flags)
    if not accept_gap:
        raise FatalError(
            ExitCode.INGEST,
            f"{source.topic}[{source.partition}]: offsets {committed} to {first - 1} "
            f"({first - committed} records) "
            "were deleted by retention before they were read.",
            remedy="Set ingest.accept_gap: true (or run with --accept-gap) to go on without them.",
        )
    return Start(first, flags | ProgressFlag.ACCEPTED_GAP, first - committed)
