"""What the demo plants in the real data, so that part of the truth is known: a fault and broken records.

The fault: somebody upstream switches ``distance`` from miles to kilometres, and later back. It is applied
before the model sees the values, as in life: the predictions move with it. The broken records are events
cut in half, as a producer that dies while writing leaves them: they must be rejected and counted, and
change nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from driftline.demo.flights import FlightTable

KILOMETRES_A_MILE: Final = 1.609344
FAULT_SIGNAL: Final = "distance"
# Early in the stream: after the fault ends, a signal counts as back to normal only when thousands of rows
# in a row look like the reference again, and that needs room behind the fault.
FAULT_BEGIN: Final = 0.15
FAULT_END: Final = 0.25
BROKEN_EVERY: Final = 10_000


@dataclass(frozen=True, slots=True)
class PlantedFault:
    """The rows [begin, end) of the stream whose distance is in kilometres."""

    begin: int
    end: int
    signal: str = FAULT_SIGNAL

    def apply(self, table: FlightTable) -> FlightTable:
        """The table with the fault in it; the one given stays as it was."""
        values = table.numeric[self.signal].copy()
        values[self.begin : self.end] *= KILOMETRES_A_MILE
        return replace(table, numeric={**table.numeric, self.signal: values})


def plan_fault(events: int, begin_share: float = FAULT_BEGIN, end_share: float = FAULT_END) -> PlantedFault:
    """Where the fault lies in a stream of ``events`` rows."""
    return PlantedFault(int(events * begin_share), int(events * end_share))


def break_records(events: Sequence[bytes], every: int = BROKEN_EVERY) -> tuple[list[bytes], int]:
    """The events with every ``every``-th one cut in half, and how many those are; positions stay."""
    broken = range(every - 1, len(events), every)
    records = list(events)
    for i in broken:
        records[i] = records[i][: len(records[i]) // 2]
    return records, len(broken)
