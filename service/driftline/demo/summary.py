"""What came out, against what is known: a pure function of the alerts, the planted fault and the counts.

Positions are offsets of the raw topic; the demo writes it as one partition, so an offset is the number of
the event in the stream. Knows no Kafka and no terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from driftline.decide.kpi_standing import PREFIX
from driftline.demo.faults import PlantedFault
from driftline.demo.flights import LATE
from driftline.detect.performance import SIGNAL as ERRORS

OPENED: Final = "driftline.alert.opened"
RESOLVED: Final = "driftline.alert.resolved"
WEEK_SECONDS: Final = 7 * 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Episode:
    """One abnormal period of a signal, put together from its alerts."""

    signal: str
    number: int
    severity: str
    opened_row: int
    opened_at: str  # RFC 3339, event time
    onset: str
    text: str  # first line of the opening
    resolved_row: int | None = None
    resolved_at: str | None = None


@dataclass(frozen=True, slots=True)
class RowCount:
    """Where every event went; ``source`` says what each number was read from."""

    events: int
    accepted: int
    rejected: int
    rejected_expected: int
    source: str

    @property
    def holds(self) -> bool:
        """Nothing lost, nothing twice, and only the broken records refused."""
        return self.events == self.accepted + self.rejected and self.rejected == self.rejected_expected


@dataclass(frozen=True, slots=True)
class Control:
    """The held-out January days through the same code with the same baseline."""

    rows: int
    days: int
    episodes: tuple[Episode, ...]
    budget_per_week: float

    @property
    def allowed(self) -> float:
        """False alarms that the budget allows in that time."""
        return self.budget_per_week * self.days / 7.0


@dataclass(frozen=True, slots=True)
class FaultResult:
    """The planted fault: the episode that found it, and how many events opening and resolution took.

    ``before`` is an episode of the same signal that was already open when the fault began: then the fault
    could open nothing.
    """

    fault: PlantedFault
    episode: Episode | None
    before: Episode | None

    @property
    def opened_after(self) -> int | None:
        """Events from the first wrong one to the opening."""
        return None if self.episode is None else self.episode.opened_row - self.fault.begin

    @property
    def resolved_after(self) -> int | None:
        """Events from the first right one to the resolution; None: not resolved after the fault's end."""
        if self.episode is None or self.episode.resolved_row is None:
            return None
        after = self.episode.resolved_row - self.fault.end
        return after if after >= 0 else None

    @property
    def passed(self) -> bool:
        """Found while it was there, and resolved after it had gone."""
        return self.opened_after is not None and self.resolved_after is not None


@dataclass(frozen=True, slots=True)
class Performance:
    """What labels said of the model over the whole stream."""

    confusion: Mapping[tuple[str, str], int]  # (predicted, true) -> flights
    labels: int  # that were sent
    coverage: float  # share of the predictions that got one
    watched: bool  # there were enough labels for a reference of the errors
    delay_hours: tuple[float, float] | None = None  # from departure to arrival: median, 99 % below

    @property
    def joined(self) -> int:
        """Flights with a prediction and a label."""
        return sum(self.confusion.values())

    @property
    def accuracy(self) -> float:
        """Share of them whose class was predicted."""
        return sum(n for (said, true), n in self.confusion.items() if said == true) / max(self.joined, 1)

    @property
    def recall(self) -> float:
        """Share of the late ones that were predicted late."""
        late = sum(n for (_, true), n in self.confusion.items() if true == LATE)
        return self.confusion.get((LATE, LATE), 0) / max(late, 1)


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything the demo says at its end."""

    rows: RowCount
    fault: FaultResult
    changes: tuple[tuple[str, tuple[Episode, ...]], ...]  # by signal, most episodes' severity first
    control: Control | None
    seconds: float
    latencies: tuple[
        float, ...
    ]  # seconds from the deciding event in Kafka to its alert read back; empty without Kafka
    performance: Performance | None = None
    worse: tuple[Episode, ...] = ()  # episodes of the model's errors; their rows are those of labels
    broken: tuple[Episode, ...] = ()  # episodes of the KPIs, likewise

    @property
    def still_open(self) -> tuple[Episode, ...]:
        """Episodes of real changes that had not ended with the stream."""
        return tuple(e for _, group in self.changes for e in group if e.resolved_row is None)

    @property
    def passed(self) -> bool:
        """What decides the exit code."""
        return self.rows.holds and self.fault.passed


def episodes_of(alerts: Iterable[Mapping[str, Any]]) -> tuple[Episode, ...]:
    """Pair openings and resolutions of alerts (``schemas/alert.v1.json``) by signal and episode number.

    Repeated alerts (same id) count once. Ordered by opening.
    """
    opened: dict[tuple[str, int], Episode] = {}
    ends: dict[tuple[str, int], tuple[int, str]] = {}
    for alert in alerts:
        key = (str(alert["signal"]), int(alert["episode"]))
        row = int(alert["origin"]["offset"])
        if alert["type"] == OPENED:
            opened[key] = Episode(
                *key,
                str(alert["severity"]),
                row,
                str(alert["time"]),
                str(alert["onset"]),
                str(alert["summary"]),
            )
        elif alert["type"] == RESOLVED:
            ends[key] = (row, str(alert["time"]))
    paired = []
    for key, e in opened.items():
        if key in ends:
            row, at = ends[key]
            e = replace(e, resolved_row=row, resolved_at=at)  # noqa: PLW2901 - the same episode, complete
        paired.append(e)
    return tuple(sorted(paired, key=lambda e: (e.opened_row, e.signal)))


def summarise(
    alerts: Iterable[Mapping[str, Any]],
    fault: PlantedFault,
    rows: RowCount,
    control: Control | None,
    seconds: float,
    latencies: Sequence[float] = (),
    performance: Performance | None = None,
) -> Summary:
    """Judge the alerts: which belongs to the planted fault, which are changes in the real data."""
    found = episodes_of(alerts)
    worse = tuple(e for e in found if e.signal == ERRORS)
    broken = tuple(e for e in found if e.signal.startswith(PREFIX))
    episodes = tuple(e for e in found if e.signal != ERRORS and e not in broken)
    result = _judge_fault(episodes, fault)
    groups: dict[str, list[Episode]] = {}
    for e in episodes:
        if e is not result.episode:
            groups.setdefault(e.signal, []).append(e)
    ordered = sorted(groups.items(), key=lambda item: item[1][0].opened_row)
    changes = tuple((signal, tuple(group)) for signal, group in ordered)
    ordered_latencies = tuple(sorted(latencies))
    return Summary(rows, result, changes, control, seconds, ordered_latencies, performance, worse, broken)


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the ordered values lie (nearest rank)."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def _judge_fault(episodes: Sequence[Episode], fault: PlantedFault) -> FaultResult:
    """The first episode of the fault's signal that opened while the fault was there."""
    mine = [e for e in episodes if e.signal == fault.signal]
    found = next((e for e in mine if fault.begin <= e.opened_row < fault.end), None)
    before = next(
        (
            e
            for e in mine
            if e.opened_row < fault.begin and (e.resolved_row is None or e.resolved_row >= fault.begin)
        ),
        None,
    )
    return FaultResult(fault, found, before)
