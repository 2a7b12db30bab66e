"""The KPIs of one model: from windows that have ended to episodes of the signals ``kpi.NAME``.

Owns: how long a breach has lasted, the last known values, the episodes and their alerts. A KPI is the
owner's bound and no test: it is no source of the false-alarm budget (ADR 7). A window that says nothing (too
few rows, no value) neither opens nor resolves, and does not interrupt a breach. Where a window ends is the
meters' business (``detect/kpi.py``). Pure.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from driftline.config import ModelSettings
from driftline.config.kpi import Origin
from driftline.config.settings import DetectionSettings
from driftline.decide import alerts as build
from driftline.decide import kpi_texts, texts
from driftline.decide.alerts import Context
from driftline.decide.episodes import Episode, Episodes
from driftline.decide.kpi_standing import PREFIX, At, Breach, Kpi, Stored
from driftline.decide.outputs import Alert, KpiView
from driftline.detect.actor import Detection
from driftline.detect.kpi import Closed, Meter
from driftline.detect.kpi_feed import feed_events, feed_labelled, first_seen, fits
from driftline.detect.labels import Labels, Rows
from driftline.detect.performance import Performance
from driftline.detect.signals import Layout
from driftline.detect.typed import typed
from driftline.detect.windows import NAMES
from driftline.errors import NewerFormatError
from driftline.records import Block, Progress

FORMAT: Final = 1
CHANNEL: Final = "kpi"


@dataclass(slots=True)
class _State:
    """The header of the shard ``kpi``."""

    kpis: dict[str, Stored]
    episodes: Episodes


class Kpis:
    """All KPIs of a model."""

    def __init__(self, model: str) -> None:
        self.model = model
        self.episodes = Episodes()
        self.notes: list[str] = []
        self.stored = False  # there is a shard, even if nothing is to be kept any more
        self._by_name: dict[str, Kpi] = {}
        self._own = ModelSettings()
        self._task_known = False

    def configure(self, settings: DetectionSettings, own: ModelSettings) -> None:
        """Take the settings: what is measured as before goes on, the rest begins."""
        labelled_rows = settings.labels.window_rows if settings.labels is not None else 0
        before, self._by_name, self._own = self._by_name, {}, own
        for name, kpi in settings.kpis_of(own).items():
            measure = kpi.parsed
            rows = kpi.window if isinstance(kpi.window, int) else None
            of_events = measure.origin is Origin.EVENTS
            usual = (settings.window_rows or 0) if of_events else labelled_rows
            window_ms = kpi.window_ms
            if of_events and kpi.window is None and settings.window_rows is None:
                window_ms = settings.window_ms  # the usual window is one of time
            made = Kpi(name, kpi, Meter(measure, rows or usual, window_ms))
            was = before.get(name)
            if was is not None and was.key == made.key:
                made.meter, made.breach, made.value = was.meter, was.breach, was.value
            self._by_name[name] = made

    def _of(self, *origins: Origin) -> list[Kpi]:
        return [kpi for kpi in self._by_name.values() if kpi.meter.measure.origin in origins]

    # --- rows

    def events(
        self, block: Block, lo: int, hi: int, progress: Sequence[Progress], context: Context
    ) -> list[tuple[int, Alert]]:
        """Take rows of events; gives alerts with the rows that decided them."""
        if not self._by_name and not self.episodes.open:
            return []
        performance = self._own.performance
        out = [(lo, alert) for alert in self._dropped(_at(block, lo, progress), context)]
        ended: list[tuple[int, Kpi, Closed]] = []
        for kpi in self._of(Origin.EVENTS):
            meter = kpi.meter
            first = lo if meter.seen else first_seen(meter.measure, block, lo, hi)
            if first == hi:
                continue
            meter.seen = True
            fed = feed_events(
                meter.measure, block, first, hi, performance.positive_class, performance.threshold
            )
            ended += [(first + closed.row, kpi, closed) for closed in meter.run(fed)]
        for row, kpi, closed in sorted(ended, key=lambda e: e[0]):  # stored in this order: cuts must not show
            out += [(row, a) for a in self.judge(kpi, closed, _at(block, row, progress), context)]
        return out

    def window(self, d: Detection, at: At, context: Context) -> list[Alert]:
        """Take the window in which signals are compared with the reference, full with the row ``at``."""
        index = {s.signal: i for i, s in enumerate(d.layout.signals)}
        out: list[Alert] = []
        for kpi in self._of(Origin.WINDOWS):
            measure = kpi.meter.measure
            if measure.signal in index:
                last = d.window.last[index[measure.signal]]
                counted = int(np.nan_to_num(last[NAMES.index("rows")]))
                value = float(last[NAMES.index(measure.name)])
                first = min(d.window.first_time, at.time_ms)
                closed = Closed(0, value, d.window.rows, counted, first, at.time_ms)
                out += self.judge(kpi, closed, at, context)
        return out

    def labelled(self, p: Performance, rows: slice, labels: Labels) -> Iterator[tuple[Kpi, Closed]]:
        """Take labelled rows of the window of performance; gives the windows that end with them."""
        if not self._task_known and p.task != "auto":
            self._task_known = True
            self.notes += self._misfits(p)
        for kpi in self._of(Origin.LABELLED):
            fed = feed_labelled(kpi.meter.measure, p, rows, labels.names)
            if fed is not None:
                yield from ((kpi, closed) for closed in kpi.meter.run(fed))

    def scored(self, p: Performance, at: At, context: Context) -> list[Alert]:
        """Take the window of performance that has ended last."""
        out: list[Alert] = []
        if p.last is None:
            return out
        for kpi in self._of(Origin.SCORED):
            value = p.last.values.get(kpi.meter.measure.name, math.nan)
            closed = Closed(0, value, p.last.rows, p.last.rows, p.last.first_time, p.last.last_time)
            out += self.judge(kpi, closed, at, context)
        return out

    def parts(self, events: Rows, labels: Rows) -> list[tuple[Rows, Rows]]:
        """Rows of a join, cut where a window of record time ends: with the row behind it begins a part."""
        ends: set[int] = set()
        for width in {kpi.meter.window_ms or 1 for kpi in self._of(Origin.LABELS)}:
            for rows in (events, labels):
                ends.update((np.unique(rows.record_time // width) * width).tolist())
        if not ends:
            return [(events, labels)]
        cuts = sorted(ends)
        both = []
        for rows in (events, labels):
            at = [0, *np.searchsorted(rows.record_time, cuts[1:], "left").tolist(), len(rows)]
            both.append([rows.part(a, b) for a, b in pairwise(at)])
        return [part for part in zip(*both, strict=True) if len(part[0]) + len(part[1])]

    def joined(
        self, labels: Labels, events: Rows, rows: Rows, progress: Sequence[Progress], context: Context
    ) -> list[Alert]:
        """The join has come to the first of these rows, and has not taken it yet."""
        watching = self._of(Origin.LABELS)
        if not watching:
            return []
        first = min(
            (r for r in (events, rows) if len(r)), key=lambda r: (r.record_time[0], r.source[0], r.offset[0])
        )
        at = At(int(first.event_time[0]), progress[int(first.source[0])].source, int(first.offset[0]))
        now = np.concatenate((labels.counts, labels.delays))
        out: list[Alert] = []
        for kpi in watching:
            closed = kpi.meter.reach(int(first.record_time[0]), now)
            if closed is not None:
                out += self.judge(kpi, closed, at, context)
        return out

    # --- episodes

    @property
    def signals(self) -> list[str]:
        """The signals of all KPIs, with those that are no more configured and have an episode open."""
        return list(dict.fromkeys([*(kpi.signal for kpi in self._by_name.values()), *self.episodes.open]))

    def begin_anew(self, signal: str) -> None:
        """Forget how long a breach has lasted."""
        kpi = self._by_name.get(signal.removeprefix(PREFIX))
        if kpi is not None:
            kpi.breach = Breach()

    def judge(self, kpi: Kpi, closed: Closed, at: At, context: Context) -> list[Alert]:
        """What a window does to the episode of its KPI: at most one alert."""
        if not kpi.take(closed):
            return []
        opened = self.episodes.open.get(kpi.signal)
        if opened is None and kpi.beyond() and kpi.lasted(closed.end_time):
            low = kpi.settings.min is not None and kpi.value < kpi.settings.min
            episode = self.episodes.begin(
                kpi.signal, 0, opened_time=at.time_ms, onset_time=min(kpi.breach.first_time, at.time_ms),
                severity=kpi.settings.severity, channel=CHANNEL, direction="down" if low else "up",
            )  # fmt: skip
            text = kpi_texts.opened(self.model, kpi.settings, kpi.value, episode.onset_time, at.time_ms)
            return [self._alert(kpi, closed, episode, "open", text, at, context)]
        if opened is not None and not kpi.beyond(kpi.settings.hysteresis):
            self.episodes.end(kpi.signal)
            text = kpi_texts.resolved(self.model, kpi.settings, kpi.value, at.time_ms - opened.opened_time)
            return [self._alert(kpi, closed, opened, "resolved", text, at, context)]
        return []

    def _alert(
        self, kpi: Kpi, closed: Closed, episode: Episode, state: str, text: str, at: At, context: Context
    ) -> Alert:
        alert = _plain(self.model, kpi.signal, episode, state, text, at, context)
        found = {
            "name": kpi.name,
            "measure": kpi.settings.measure,
            "origin": kpi.meter.measure.origin.value,
            "value": kpi.value,
            "min": kpi.settings.min,
            "max": kpi.settings.max,
            "window": {
                "rows": closed.rows,
                "counted": closed.counted,
                "from": texts.rfc3339(closed.first_time),
                "to": texts.rfc3339(closed.end_time),
            },
            "windows": kpi.breach.windows,
        }
        return replace(alert, data={**alert.data, "events_since_onset": kpi.breach.rows, "kpi": found})

    def _dropped(self, at: At, context: Context) -> list[Alert]:
        """End the episodes of what is not configured any more, at the first row after that."""
        gone = [s for s in self.episodes.open if s.removeprefix(PREFIX) not in self._by_name]
        return [
            _plain(
                self.model, signal, self.episodes.end(signal), "resolved",
                kpi_texts.dropped(self.model, signal.removeprefix(PREFIX)), at, context,
            )
            for signal in gone
        ]  # fmt: skip

    # --- what does not fit

    def take_notes(self) -> list[str]:
        """Sentences for the log since the last call."""
        notes, self.notes = self.notes, []
        return [f"model {self.model}: {note}" for note in notes]

    def unknown(self, layout: Layout) -> list[str]:
        """What to say of KPIs whose signal or category a new reference does not have."""
        tables = {s.signal: s.categorical.categories if s.categorical else () for s in layout.signals}
        out = []
        for kpi in self._of(Origin.EVENTS, Origin.WINDOWS):
            signal, member = kpi.meter.measure.signal, kpi.meter.measure.member
            known = tables.get(signal, ())
            if signal and signal not in tables:
                out.append(f'kpi {kpi.name}: the reference has no signal "{signal}"{_near(signal, tables)}')
            elif known and member and member not in known:
                near = _near(member, known)
                out.append(f'kpi {kpi.name}: "{signal}" is never "{member}" in the reference{near}')
        return out

    def _misfits(self, p: Performance) -> list[str]:
        return [
            f"kpi {kpi.name}: {kpi.meter.measure.name} says nothing of a {p.task} model: it stays unknown"
            for kpi in self._of(Origin.LABELLED, Origin.SCORED)
            if not fits(kpi.meter.measure, p.task)
        ]

    # --- views and storing

    def views(self) -> tuple[KpiView, ...]:
        """What metrics show."""
        return tuple(
            KpiView(
                kpi.name, kpi.value, kpi.settings.min, kpi.settings.max, kpi.settings.severity,
                kpi.signal in self.episodes.open,
            )
            for kpi in self._by_name.values()
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The header of the shard, JSON-ready; ``restore`` reads it."""
        kpis = {name: kpi.stored() for name, kpi in self._by_name.items()}
        self.stored = bool(kpis) or bool(self.episodes.numbers)
        return {"kpi_version": FORMAT, "kpi": asdict(_State(kpis, self.episodes))}

    @property
    def kept(self) -> bool:
        """Whether a checkpoint has to write something."""
        return self.stored or bool(self._by_name)

    def restore(self, header: Mapping[str, Any]) -> None:
        """The inverse of ``to_json``, for what is still measured in the same way.

        Raises:
            NewerFormatError: a newer version wrote it.
            MessageError: it contradicts itself.
        """
        if header["kpi_version"] > FORMAT:
            raise NewerFormatError(
                f"KPIs of format {header['kpi_version']}; this version reads up to {FORMAT}."
            )
        state = typed(_State, header["kpi"])
        self.episodes, self.stored = state.episodes, True
        for name, held in state.kpis.items():
            kpi = self._by_name.get(name)
            if kpi is not None and kpi.key == held.key:
                kpi.restore(held)


def of_labels(alert: Alert) -> bool:
    """Whether an alert was decided in the order of labels, not of events."""
    if alert.data["signal_kind"] == "performance":
        return True
    kpi = alert.data.get("kpi")
    return isinstance(kpi, Mapping) and kpi["origin"] in {Origin.LABELLED, Origin.SCORED, Origin.LABELS}


def _plain(
    model: str, signal: str, episode: Episode, state: str, text: str, at: At, context: Context
) -> Alert:
    return build.without_cause(
        context, model, signal, state, text, episode=episode, kind="kpi", time_ms=at.time_ms,
        origin=(at.source, at.offset), reference_id="", budget=0.0,
    )  # fmt: skip


def _at(block: Block, row: int, progress: Sequence[Progress]) -> At:
    source = progress[int(block.source[row])].source
    return At(int(block.event_time[row]), source, int(block.offset[row]))


def _near(word: str, known: Any) -> str:
    found = difflib.get_close_matches(word, list(known), 1, 0.5)
    return f', did you mean "{found[0]}"?' if found else ""
