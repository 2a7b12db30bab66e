"""The demo's pipeline without a broker: the same decoding, detection and decisions, called directly.

Also the control: what the same code with the same baseline says of January days that nobody learned from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from driftline.config import Settings
from driftline.decide.labelled import Labelled
from driftline.decide.outputs import ModelView
from driftline.decide.replay import Replay, chunk_of
from driftline.demo.flights import MODEL
from driftline.demo.summary import RowCount
from driftline.detect.baseline import BaselineRows
from driftline.detect.reference import Reference

BATCH_ROWS: Final = 1_000  # about a day of flights: the screen moves, and a batch costs little


def build_baseline(events: Sequence[bytes], settings: Settings) -> Reference:
    """The reference from events in time order, as ``driftline baseline build --time-ordered`` makes it."""
    replay = Replay(settings)
    rows = BaselineRows(MODEL)
    first = 0
    for lines in _batches(events):
        rows.add(replay.decoder.decode(chunk_of(lines, replay.source, first)).blocks)
        first += len(lines)
    return rows.reference(time_ordered=True)


def replay_events(
    events: Sequence[bytes],
    settings: Settings,
    baseline: Reference,
    *,
    on_alert: Callable[[Mapping[str, Any]], None] = lambda _: None,
    on_batch: Callable[[int, ModelView], None] = lambda _n, _v: None,
    broken: int = 0,
    labels: Sequence[bytes] = (),
    on_report: Callable[[Mapping[str, Any]], None] = lambda _: None,
) -> tuple[list[Mapping[str, Any]], RowCount, Labelled | None]:
    """All alerts of the events, where every event went, and what labels said.

    ``broken`` of them were cut in half on purpose. ``on_batch`` gets the rows so far and the state of the
    model after every BATCH_ROWS rows.
    """
    replay = Replay(settings)
    replay.promote(baseline)
    if labels:
        replay.add_labels(labels)
    alerts: list[Mapping[str, Any]] = []
    for lines in (*_batches(events), None):
        for alert in replay.finish() if lines is None else replay.feed(lines):
            alerts.append(alert.data)
            on_alert(alert.data)
        for report in replay.partition.take_reports():
            on_report(report.data)
        on_batch(replay.summary.rows, _view(replay))
    total = replay.summary
    count = RowCount(
        total.rows,
        _view(replay).rows,
        sum(total.rejected.values()),
        broken,
        "the model's state and the rejects (no broker)",
    )
    return alerts, count, replay.partition.models[MODEL].labelled


def _view(replay: Replay) -> ModelView:
    return next(view for view in replay.views() if view.model == MODEL)


def _batches(events: Sequence[bytes]) -> Iterator[list[bytes]]:
    for first in range(0, len(events), BATCH_ROWS):
        yield list(events[first : first + BATCH_ROWS])
