"""One KPI and where it stands: its bounds, the last value, how long a breach has lasted, and storing that."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from driftline.config.kpi import EXTENSIVE, KpiSettings, duration_ms
from driftline.detect.kpi import Closed, Meter
from driftline.errors import MessageError
from driftline.records import Source

PREFIX: Final = "kpi."  # of the signals


class At(NamedTuple):
    """The row that decides: its event time and where it came from."""

    time_ms: int
    source: Source
    offset: int


@dataclass(slots=True)
class Breach:
    """Windows in a row beyond a bound; those that say nothing are passed over."""

    windows: int = 0
    rows: int = 0
    first_time: int = -1  # of the first row of the first one, ms
    first_end: int = -1  # end of the first one


@dataclass(slots=True)
class Stored:
    """A KPI in the snapshot."""

    key: str
    breach: Breach
    value: float | None
    rows: int
    place: int
    partial: bool
    seen: bool
    first_time: int
    last_time: int
    counts: list[int]
    sums: list[float | None]


@dataclass(slots=True)
class Kpi:
    """One KPI and where it stands."""

    name: str
    settings: KpiSettings
    meter: Meter
    breach: Breach = field(default_factory=Breach)
    value: float = math.nan  # of the last window, NaN if it said nothing

    @property
    def signal(self) -> str:
        """Its signal."""
        return PREFIX + self.name

    @property
    def key(self) -> str:
        """What its counts are of: with another measure or window they begin anew."""
        return f"{self.settings.measure} over {self.meter.window_ms or self.meter.window_rows}"

    def beyond(self, margin: float = 0.0) -> bool:
        """Whether the value is out of the bounds, or nearer to them than the margin."""
        low, high = self.settings.min, self.settings.max
        return (low is not None and self.value < low + margin) or (
            high is not None and self.value > high - margin
        )

    def take(self, closed: Closed) -> bool:
        """Take a window; whether it says something."""
        enough = closed.counted >= self.settings.min_rows or self.meter.measure.name in EXTENSIVE
        self.value = closed.value if enough and math.isfinite(closed.value) else math.nan
        if math.isnan(self.value):
            return False
        if not self.beyond():
            self.breach = Breach()
        elif not self.breach.windows:
            end = closed.first_time + (closed.end_time - closed.first_time) // closed.windows
            self.breach = Breach(closed.windows, closed.rows, closed.first_time, end)
        else:
            self.breach.windows += closed.windows
            self.breach.rows += closed.rows
        return True

    def lasted(self, end: int) -> bool:
        """Whether the breach has lasted long enough at the end of a window."""
        wanted = self.settings.lasting
        if isinstance(wanted, str):
            return end - self.breach.first_end >= duration_ms(wanted)
        return self.breach.windows >= wanted

    def stored(self) -> Stored:
        """What the snapshot keeps."""
        m = self.meter
        return Stored(
            self.key, self.breach, None if math.isnan(self.value) else self.value,
            m.rows, m.place, m.partial, m.seen, m.first_time, m.last_time, m.counts.tolist(),
            [v if math.isfinite(v) else None for v in m.sums.tolist()],
        )  # fmt: skip

    def restore(self, held: Stored) -> None:
        """The inverse of ``stored``.

        Raises:
            MessageError: it contradicts itself.
        """
        m, counts = self.meter, np.array(held.counts, np.int64)
        shapes = (counts.shape, len(held.sums))
        wrong = shapes != (m.counts.shape, len(m.sums)) or int(counts.min()) < 0
        full = m.window_ms is None and held.rows >= max(m.window_rows, 1)  # 0: its windows are made elsewhere
        if wrong or held.rows < 0 or full:
            raise MessageError(f"the counts of KPI {self.name} are inconsistent.")
        m.counts, m.sums = counts, np.array([math.nan if v is None else v for v in held.sums])
        m.rows, m.place, m.partial, m.seen = held.rows, held.place, held.partial, held.seen
        m.first_time, m.last_time = held.first_time, held.last_time
        self.breach, self.value = held.breach, math.nan if held.value is None else held.value
