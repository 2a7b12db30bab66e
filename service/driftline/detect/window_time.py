"""Windows by event time: where one ends, and which rows come too late for it.

Owns: the start of the window that is filling, aligned to the epoch, and the rows that belonged to one that
was closed before. A window ends with the first row past its end; that row is the first of the next. Which row
this is does not depend on how rows are cut. Must not know: what is counted, what a window leads to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from driftline.records import I64

NEVER = -1


@dataclass(slots=True)
class WindowTime:
    """``length_ms`` 0: windows have no end in time."""

    length_ms: int = 0
    since: int = NEVER  # ms; rows before it belong to a window that was closed
    late: int = 0  # such rows while this window was filling

    def rows_to_end(self, times: I64) -> int:
        """How many of the next rows come before the first one past the end; all of them if there is none."""
        if not self.length_ms or not len(times):
            return len(times)
        past = times >= self._end(int(times[0]))
        return int(past.argmax()) if past.any() else len(times)

    def is_over(self, time_ms: int) -> bool:
        """Whether a row of this time is past the end."""
        return self.length_ms > 0 and time_ms >= self._end(time_ms)

    def _end(self, first_ms: int) -> int:
        start = first_ms if self.since == NEVER else self.since
        return (start // self.length_ms + 1) * self.length_ms

    @property
    def end(self) -> int:
        """Where the window that is filling ends, ms."""
        return self._end(self.since)

    def move(self, time_ms: int) -> None:
        """The next window is that of a row of this time."""
        self.since, self.late = time_ms // self.length_ms * self.length_ms, 0

    def take(self, times: I64, lo: int, hi: int) -> Iterator[tuple[int, int]]:
        """The runs of rows lo..hi that are not late, none of which is past the end."""
        if not self.length_ms:
            yield lo, hi
            return
        if self.since == NEVER and hi > lo:
            self.move(int(times[lo]))
        due = times[lo:hi] >= self.since
        self.late += int((~due).sum())
        edges = np.flatnonzero(np.diff(due, prepend=False, append=False)) + lo
        yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
