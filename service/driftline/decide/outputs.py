"""What a mailbox partition hands to its edge: alerts, state rows to store, and views for metrics.

Plain data; every float in ``Alert.data`` is finite and every value JSON-ready, so that encoding cannot fail.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

PIECE_BYTES: Final = (
    256 << 10
)  # well under the brokers' default of 1 MiB a record, whatever the model's width


@dataclass(frozen=True, slots=True)
class Alert:
    """One change of state of an episode; ``data`` is the JSON object of ``schemas/alert.v1.json``.

    ``row`` is the raw offset of the deciding row; ``data`` repeats id, type, time, model, signal and state.
    """

    id: str
    type: str  # driftline.alert.opened | updated | resolved
    time_ms: int  # event time of the deciding row
    model: str
    signal: str
    row: int
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Report:
    """What a full window of a model looked like.

    ``data`` is the object of ``schemas/report.v1.json``, or of ``schemas/performance-report.v1.json`` for a
    window of labelled events.
    """

    id: str
    time_ms: int  # event time of the window's last row
    model: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Action:
    """A request for a retraining; ``data`` is the object of ``schemas/action.v1.json``."""

    id: str
    type: str
    time_ms: int  # event time at which the rule was met
    model: str
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class StateRow:
    """A value of the state topic; ``encode`` runs off the event loop on arrays copied at the barrier.

    It returns None for a tombstone.
    """

    key: bytes
    encode: Callable[[], bytes | None]

    def records(self) -> Iterator[tuple[bytes, bytes | None]]:
        """The value as records of at most PIECE_BYTES: a piece of just that size is followed by another.

        What a shorter value leaves behind under later keys is never read.
        """
        value = self.encode()
        yield self.key, value if value is None else value[:PIECE_BYTES]
        for number in range(1, 1 + len(value or b"") // PIECE_BYTES):
            at = number * PIECE_BYTES
            yield piece_key(self.key, number), (value or b"")[at : at + PIECE_BYTES]


def piece_key(key: bytes, number: int) -> bytes:
    """Key of a further piece of a value, from 1 on."""
    return b"%s+%d" % (key, number)


def whole(rows: Mapping[bytes, bytes], key: bytes) -> bytes:
    """A value put together from its pieces.

    Raises:
        KeyError: a piece is missing.
    """
    pieces = [rows[key]]
    while len(pieces[-1]) == PIECE_BYTES:
        pieces.append(rows[piece_key(key, len(pieces))])
    return b"".join(pieces)


@dataclass(frozen=True, slots=True)
class SignalView:
    """One signal as metrics show it."""

    name: str
    kind: str  # feature | score | class
    severity: str | None  # of the open episode, None when there is none
    shift: (
        float  # location (or rank) against the reference, in reference standard deviations; NaN when unknown
    )
    missing_ratio: float  # NaN when unknown
    window: tuple[float, ...] = ()  # statistics of the last full window, in the order of windows.NAMES
    standing: str = "firing"  # of the open episode: firing | acknowledged | muted


@dataclass(frozen=True, slots=True)
class LabelView:
    """Labels and performance of one model as metrics show them."""

    matched: int
    orphans: int
    duplicates: int
    conflicts: int
    expired: int
    no_id: int
    pending: int
    coverage: float  # share of the predictions that have a label; NaN when unknown
    delays: tuple[tuple[float, float], ...]  # (share, seconds); NaN when unknown
    statistics: Mapping[str, float]  # of the last complete window
    window_rows: int
    window_end_ms: int  # -1: none is complete
    severity: str | None  # of the open episode of the errors


@dataclass(frozen=True, slots=True)
class KpiView:
    """One KPI as metrics show it."""

    name: str
    value: float  # of the last window, NaN when it said nothing
    min: float | None
    max: float | None
    severity: str
    breached: bool  # an episode is open


@dataclass(frozen=True, slots=True)
class ModelView:
    """One model as metrics show it."""

    model: str
    state: str  # queued | learning | warming | active
    rows: int
    last_event_ms: int
    episodes_opened: int
    episodes_resolved: int
    dismissed: int  # suspicions of ADWIN or Page-Hinkley that were not confirmed
    mismatches: int  # cells of another type than the reference's
    signals: tuple[SignalView, ...]
    later_features: int = 0  # watched although the reference did not have them
    plugin_alarms: int = 0  # of river's detectors; they open nothing
    labels: LabelView | None = None
    kpis: tuple[KpiView, ...] = ()
    version_changes: int = 0  # times that another model version took over
    actions: int = 0  # ever asked for


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything since the one before, to become visible in one transaction."""

    next_offset: int
    state: tuple[StateRow, ...]
    alerts: tuple[Alert, ...]
    views: tuple[ModelView, ...]
    gone: tuple[str, ...] = ()  # models retired since
    reports: tuple[Report, ...] = ()
    actions: tuple[Action, ...] = ()
