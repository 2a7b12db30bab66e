"""Who is measured: Driftline's policy, four detectors of river with defaults, and two that know nothing.

An alarm is a row number. The detectors of river get what their users would give them: the value less the
mean of the reference over its standard deviation, 0/1 values as they are, categories numbered by frequency
(unseen ones -1), one detector a feature. They have no budget to set and no end of an alarm to tell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from river import drift
from river.drift import binary

from driftline.decide.model import Model
from driftline.detect.actor import WEEK_MS
from driftline.detect.reference import Reference
from driftline.detect.season import Period
from driftline.records import F64
from harness import decisions
from quality.streams import DAY_ROWS, Cells, Stream, changing, nulls

WEEK_ROWS: Final = 60_480_000  # at the 100 events a second of all streams here
STRICT: Final = 10.0  # false alarms a million updates of a channel, so that a budget can be seen used up
MILLION: Final = 1_000_000
DAY_STEP_MS: Final = WEEK_MS // 7 // DAY_ROWS


@dataclass(frozen=True, slots=True)
class Alarms:
    """Rows of openings and resolutions of a run."""

    opened: tuple[int, ...]
    resolved: tuple[int, ...]


def driftline(stream: Stream, reference: Cells, live: Cells) -> Alarms:
    """The production policy, default settings: one false alarm a week."""
    frozen = _frozen(stream, reference)
    model = decisions.new_model(frozen, warming=not stream.ordered, rows_per_week=WEEK_ROWS)
    return _apply(stream, model, reference, live)


def driftline_strict(stream: Stream, reference: Cells, live: Cells) -> tuple[Alarms, float]:
    """The same at a budget of ``STRICT``, without a minimal duration; with the budget of these rows."""
    frozen = _frozen(stream, reference)
    budget = STRICT * sum(len(signal.channels) for signal in frozen.signals)  # a week of a million rows
    model = decisions.new_model(
        frozen,
        warming=not stream.ordered,
        rows_per_week=MILLION,
        false_alarms_per_week=budget,
        min_duration_events=0,
    )
    return _apply(stream, model, reference, live), budget * len(next(iter(live.values()))) / MILLION


def _frozen(stream: Stream, reference: Cells) -> Reference:
    if not stream.season:
        return decisions.file_reference(reference, time_ordered=stream.ordered)
    frozen = decisions.file_reference(
        reference, time_ordered=stream.ordered, rows_per_week=WEEK_MS / DAY_STEP_MS
    )
    return decisions.seasonal(frozen, reference, Period.DAILY, DAY_STEP_MS)


def _apply(stream: Stream, model: Model, reference: Cells, live: Cells) -> Alarms:
    start = len(next(iter(reference.values()))) if stream.season else 0  # live rows follow those known
    step = DAY_STEP_MS if stream.season else decisions.STEP_MS
    alerts = decisions.run(model, decisions.block(live, start, step_ms=step))
    return Alarms(
        tuple(a.row - start for a in alerts if a.type.endswith(".opened")),
        tuple(a.row - start for a in alerts if a.type.endswith(".resolved")),
    )


# --- peers -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Peer:
    """A detector of river. KSWIN costs 160 us a row where the others cost .2 to .4: it gets fewer rows."""

    name: str
    make: Callable[[], Any]
    slow: bool = False
    binary_only: bool = False


PEERS: Final = (
    Peer("ADWIN", drift.ADWIN),
    Peer("PageHinkley", drift.PageHinkley),
    Peer("KSWIN", lambda: drift.KSWIN(seed=1), slow=True),
    Peer("DDM", binary.DDM, binary_only=True),
)


def peer_values(stream: Stream, reference: Cells, live: Cells) -> list[F64]:
    """What a peer is given of each feature; NaN where there is nothing to give."""
    out = []
    for name, cells in live.items():
        known = reference[name]
        if isinstance(cells, np.ndarray) and isinstance(known, np.ndarray):
            if stream.indicator:
                out.append(np.isnan(cells).astype(np.float64))
                continue
            before, now = known, cells
        else:
            order = {c: i for i, (c, _) in enumerate(Counter(known).most_common())}
            before = np.array([order[c] for c in known], dtype=np.float64)
            now = np.array([order.get(c, -1) for c in cells], dtype=np.float64)
        sd = float(np.nanstd(before))
        plain = stream.binary or sd == 0.0
        out.append(now if plain else (now - float(np.nanmean(before))) / sd)
    return out


def peer_alarms(peer: Peer, features: list[F64]) -> Alarms:
    """Rows at which a detector of any feature alarms."""
    out: list[int] = []
    for values in features:
        detector = peer.make()
        for row, value in enumerate(values.tolist()):
            detector.update(int(value) if peer.binary_only else value)
            if detector.drift_detected:
                out.append(row)
    return Alarms(tuple(sorted(out)), ())


def always(rows: int) -> Alarms:
    """Fires every 1,000 rows."""
    return Alarms(tuple(range(999, rows, 1_000)), ())


def never(rows: int) -> Alarms:
    """Never fires."""
    return Alarms((), ())


KNOW_NOTHING: Final[Mapping[str, Callable[[int], Alarms]]] = {"every 1,000": always, "never": never}


@dataclass(frozen=True, slots=True)
class Panel:
    """Who is measured on which streams; ``values`` is what the peers are given."""

    nulls: Callable[[], list[Stream]]
    changing: Callable[[], list[Stream]]
    driftline: Callable[[Stream, Cells, Cells], Alarms]
    strict: Callable[[Stream, Cells, Cells], tuple[Alarms, float]]
    peers: tuple[Peer, ...]
    values: Callable[[Stream, Cells, Cells], list[F64]]

    def streams(self) -> list[Stream]:
        """All of them, in the order of the table."""
        return [*self.nulls(), *self.changing()]

    @property
    def others(self) -> tuple[str, ...]:
        """Who stands beside Driftline."""
        return (*(p.name for p in self.peers), *KNOW_NOTHING)


FEATURES: Final = Panel(nulls, changing, driftline, driftline_strict, PEERS, peer_values)
