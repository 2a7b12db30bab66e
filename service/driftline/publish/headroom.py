"""How long retention still leaves of a log what was not read yet; shown by both stages once a second.

Told from what a stage knows anyway: the timestamp of the last record it took, and whether more is there. The
oldest record that was not taken is no older than that one, and no older than the last look at which nothing
was left; so the true headroom is at least what is told. (Kafka deletes whole segments, later still.) A wall
clock is right here: retention follows the brokers' wall clock. Nothing but gauges depends on it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from driftline.records import Source


class Headroom:
    """Seconds until retention may delete what was not taken yet.

    Args:
        retention_seconds: by topic, see ``topics.retention``; topics that delete nothing are left out.
        clock: Unix seconds.
    """

    def __init__(
        self, retention_seconds: Mapping[str, float], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._retention = dict(retention_seconds)
        self._clock = clock
        self._empty_at: dict[Source, float] = {}  # Unix seconds at which nothing was left

    def retention(self, topic: str) -> float | None:
        """Seconds that a topic keeps a record; None when for ever or unknown."""
        return self._retention.get(topic)

    def left(self, source: Source, *, behind: int, taken_ms: int) -> float | None:
        """Seconds left, negative when it may have been deleted; None when unknown or never.

        Args:
            source: topic and partition of the log.
            behind: records in the log that were not taken.
            taken_ms: timestamp of the last record taken, ms; -1 when none was.
        """
        retention = self._retention.get(source.topic)
        if retention is None:
            return None
        now = self._clock()
        if behind <= 0:
            self._empty_at[source] = now
            return retention
        oldest = max(taken_ms / 1000 if taken_ms >= 0 else -math.inf, self._empty_at.get(source, -math.inf))
        if math.isinf(oldest):
            return None
        return min(retention, oldest + retention - now)  # records of the future: a producer's wrong clock
