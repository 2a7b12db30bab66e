"""What labels make of a model: the join, its performance, and the episode of its errors.

Owns when the reference of the errors is frozen, what the channel's thresholds are, and the alerts of the
signal ``performance.error_rate``. It opens when predictions get worse, never when they get better
(docs/decisions.md, "Error rate"). It counts as one source of the model's budget from the first event on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.config import ModelSettings
from driftline.config.settings import LabelSettings
from driftline.decide import alerts as build
from driftline.decide.alerts import Context
from driftline.decide.budget import RESERVE, outdated, run_length
from driftline.decide.episodes import Episode, Episodes, effect_size, paged, severity
from driftline.decide.error_change import ErrorChange
from driftline.decide.kpi import Kpis
from driftline.decide.kpi_standing import At
from driftline.decide.outputs import Alert, LabelView, Report
from driftline.decide.policy import plan_channel
from driftline.decide.reports import performance_report
from driftline.detect.intact import check_performance
from driftline.detect.join_log import Read, Shard
from driftline.detect.kernels import join as kernel
from driftline.detect.kernels.state import (
    KIND_DISMISSED,
    STATE_VERSION,
    STATUS_OK,
)
from driftline.detect.labels import Labels, Matches, Rows, rows_of
from driftline.detect.performance import (
    HOUR_MS,
    SIGNAL,
    WEEK_MS,
    ErrorReference,
    Performance,
    Rules,
    WindowResult,
)
from driftline.detect.reference import ChannelReference
from driftline.detect.typed import typed
from driftline.records import Block, Progress, Source

TOLERANCE: Final = 0.1  # of the reference's error rate
DELAY_SHARES: Final = (0.5, 0.9, 0.99)
FORMAT: Final = 1
_MATCH_COLUMNS: Final = ("time", "score", "code", "value", "named")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the thresholds are made for."""

    sources: int  # of the model, this one included
    shared: int  # of them, those that share the budget of the frozen reference
    false_alarms: float  # a week
    events_per_week: float  # of the model, where labels have no times of their own
    tolerance: float
    model_version: str | None = None  # of the model's last event: labels name none


@dataclass(slots=True)
class _State:
    """The header of the shard ``labels``."""

    join: dict[str, int]
    episodes: Episodes
    run_length: float
    dismissed: int
    task: str
    classes: tuple[int, int]
    rows: int
    number: int
    last: WindowResult | None
    error_times: list[int]
    reference: ErrorReference | None


@dataclass(slots=True)
class Labelled:
    """Labels and performance of one model."""

    model: str
    labels: Labels
    performance: Performance
    min_duration: int
    episodes: Episodes = field(default_factory=Episodes)
    run_length: float = 1.0  # that the thresholds in force are made for
    dismissed: int = 0

    @classmethod
    def new(cls, model: str, settings: LabelSettings, own: ModelSettings) -> Labelled:
        """Of a model without labels yet."""
        hours = settings.window_hours
        rules = Rules(
            own.performance.task,
            own.performance.positive_class,
            own.performance.threshold,
            settings.window_rows,
            None if hours is None else max(int(hours * HOUR_MS), 1),
            settings.reference_rows,
        )
        delay = max(int(settings.max_delay_hours * 3600), 1)
        join = Labels(settings.max_pending, delay, settings.sample)
        return cls(model, join, Performance(rules), settings.min_duration_events)

    # --- rows

    def apply(
        self, events: Sequence[Block], labels: Sequence[Block], progress: Sequence[Progress], time_ms: int,
        traffic: Traffic, context: Context, kpis: Kpis,
    ) -> list[Alert]:  # fmt: skip
        """Join the rows of an envelope and follow the errors; returns the alerts in the matches' order."""
        out: list[Alert] = []
        names = self.labels.names
        for event_rows, label_rows in kpis.parts(rows_of(events, names), rows_of(labels, names)):
            out += kpis.joined(self.labels, event_rows, label_rows, progress, context)
            found = self.labels.join(event_rows, label_rows, time_ms)
            where = _Origins(found, event_rows, label_rows, progress)
            at = 0
            while at < len(found):
                at, some = self._step(at, where, traffic, context, kpis)
                out += some
        return out

    def _step(
        self, lo: int, where: _Origins, traffic: Traffic, context: Context, kpis: Kpis
    ) -> tuple[int, list[Alert]]:
        """Take matches from ``lo`` on, up to a boundary; returns where it stopped, and alerts by match."""
        p, names = self.performance, self.labels.names
        task, number = p.task, p.number
        hi, findings = p.add(where.found, lo, names)
        seen: list[tuple[int, Alert]] = []
        if p.number != number:  # time had passed beyond the window
            seen += [(lo, alert) for alert in kpis.scored(p, where.at(lo), context)]
        for finding in findings:
            row = int(finding["row"])
            time, source, offset = where.at(row)
            alert = self._finding(finding, time, (source, offset), traffic, context)
            seen += [(row, alert)] if alert is not None else []
        new = p.filled if task == "auto" else hi - lo  # rows of a window that waited for the task count now
        if p.task != "auto":
            ended = kpis.labelled(p, slice(p.filled - new, p.filled), self.labels)
            for kpi, closed in sorted(ended, key=lambda e: e[1].row):
                row = hi - 1 if task == "auto" else lo + closed.row
                seen += [(row, alert) for alert in kpis.judge(kpi, closed, where.at(row), context)]
        if p.reference_due():
            p.freeze()
            self._plan(traffic)
        if p.filled >= p.rules.window_rows:
            p.settle(names)
            seen += [(hi - 1, alert) for alert in kpis.scored(p, where.at(hi - 1), context)]
            self._follow_rate(traffic)
        return hi, [alert for _, alert in sorted(seen, key=lambda item: item[0])]

    def _wanted(self, traffic: Traffic) -> float:
        """The run length for the rate of labelled events since the reference began."""
        p = self.performance
        assert p.reference is not None  # nothing is planned before
        last = p.reference.last_time if p.last is None else max(p.last.last_time, p.reference.last_time)
        span = last - p.reference.first_time
        rate = p.rows * WEEK_MS / span if span > 0 else traffic.events_per_week
        return run_length(rate, traffic.shared, (1.0 - RESERVE) * traffic.false_alarms)

    def _follow_rate(self, traffic: Traffic) -> None:
        """New thresholds when there are other labels or sources than they were made for."""
        if self.performance.reference is None or self.performance.state["status"][0] != STATUS_OK:
            return
        if outdated(self.run_length, self._wanted(traffic)):
            self._plan(traffic)

    def _plan(self, traffic: Traffic) -> None:
        reference = self.performance.reference
        assert reference is not None  # frozen before it is planned
        self.run_length = self._wanted(traffic)
        self.performance.plan = plan_errors(
            reference.channel, traffic, run_length=self.run_length, min_duration=self.min_duration
        )

    # --- episodes

    def _finding(
        self, finding: Any, time: int, origin: tuple[Source, int], traffic: Traffic, context: Context
    ) -> Alert | None:
        kind = int(finding["kind"])
        if kind == KIND_DISMISSED:
            self.dismissed += 1
            return None
        step = self.episodes.finding(SIGNAL, 0, kind)
        reference = self.performance.reference
        if step is None or reference is None:
            return None
        channel = reference.channel
        seen = ErrorChange(self.model, reference, self.performance.plan[0], finding)
        effect = severity(effect_size(seen.mean, channel.mean, channel.sd, binary=channel.binary))
        if step == "open":
            onset = min(int(finding["onset_time"]), time)
            episode = self.episodes.begin(
                SIGNAL, 0, opened_time=time, onset_time=onset, severity=effect, channel=channel.name,
                direction="up",
            )  # fmt: skip
        elif step == "resolve":
            episode = self.episodes.end(SIGNAL)
        elif step == "update":
            episode = self.episodes.open[SIGNAL]
            episode.sequence += 1
            episode.severity = effect
        else:
            return None  # "join": there is one channel only
        return self._alert(step, seen, episode, (time, origin), traffic, context)

    def _alert(
        self, step: str, seen: ErrorChange, episode: Episode, at: tuple[int, tuple[Source, int]],
        traffic: Traffic, context: Context,
    ) -> Alert:  # fmt: skip
        time, origin = at
        alert = build.without_cause(
            context, self.model, SIGNAL, "resolved" if step == "resolve" else "open",
            seen.summary(step, episode, time), episode=episode, kind="performance", time_ms=time,
            origin=origin, reference_id="", budget=traffic.false_alarms,
            model_version=traffic.model_version,
        )  # fmt: skip
        channel, numeric = seen.reference.channel, seen.reference.numeric
        data = {
            **alert.data,
            "evidence": [seen.evidence()],
            "events_since_onset": seen.rows,
            "reference": {
                "id": "", "rows": channel.n, "tau": channel.tau, "block": seen.block,
                "quantiles": None if numeric is None else build.named_quantiles(numeric.quantiles),
                "top": None,
            },
            "current": {"rows": seen.rows, "quantiles": None, "top": None},
            "budget": {
                "false_alarms_per_week": traffic.false_alarms,
                "sources": traffic.sources,
                "run_length_target": self.run_length,
            },
        }  # fmt: skip
        if step != "update":
            return replace(alert, data=data)
        reported = float(seen.finding["reported"])
        data["type"] = "driftline.alert.updated"
        data["page"] = paged(seen.mean, reported, channel.mean)
        reason = "restated" if seen.finding["restated"] else "moved"
        data["update"] = {"reason": reason, "reported_mean": reported}
        return replace(alert, type="driftline.alert.updated", data=data)

    # --- views and storing

    def take_reports(self, topic_id: str) -> list[Report]:
        """The reports of the windows that were completed since the last call."""
        closed, self.performance.closed = self.performance.closed, []
        if not closed:
            return []
        seen = self.view()
        c = self.labels.counts
        predictions, covered = int(c[kernel.PREDICTIONS]), int(c[kernel.COVERED])
        return [
            performance_report(topic_id, self.model, window, seen, predictions=predictions, covered=covered)
            for window in closed
        ]

    def view(self) -> LabelView:
        """What metrics show."""
        c, last = self.labels.counts, self.performance.last
        opened = self.episodes.open.get(SIGNAL)
        return LabelView(
            matched=int(c[kernel.MATCHED]),
            orphans=int(c[kernel.ORPHANS]),
            duplicates=int(c[kernel.DUPLICATES]),
            conflicts=int(c[kernel.CONFLICTS]),
            expired=int(c[kernel.EXPIRED]),
            no_id=int(c[kernel.NO_ID]),
            pending=self.labels.pending,
            coverage=self.labels.coverage,
            delays=tuple((share, self.labels.delay(share)) for share in DELAY_SHARES),
            statistics={} if last is None else dict(last.values),
            window_rows=0 if last is None else last.rows,
            window_end_ms=-1 if last is None else last.last_time,
            severity=None if opened is None else opened.severity,
        )

    def shards(self) -> list[Shard]:
        """What a checkpoint has to write; the logs only as far as they changed."""
        p = self.performance
        state = _State(
            self.labels.header(), self.episodes, self.run_length, self.dismissed, p.task,
            (p.positive, p.negative), p.rows, p.number, p.last, p.error_times, p.reference,
        )  # fmt: skip
        header = {"labels_version": FORMAT, "state_version": STATE_VERSION, "labelled": asdict(state)}
        arrays = {name: getattr(p.window, name)[: p.filled].copy() for name in _MATCH_COLUMNS}
        arrays |= {"confusion": p.confusion.copy(), "plan": p.plan.copy(), "state": p.state.copy()}
        arrays["errors"] = np.concatenate(p.errors) if p.errors else np.zeros(0)
        return [("labels", header, arrays), *self.labels.shards()]

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, Any], read: Read) -> None:
        """The inverse of all ``shards``; ``read(name)`` gives a further one, None where there is none.

        Raises:
            MessageError: they contradict each other.
        """
        p = self.performance
        held = typed(_State, {**header["labelled"], "join": {}})
        self.labels.restore(header["labelled"]["join"], read)
        self.episodes, self.run_length, self.dismissed = held.episodes, held.run_length, held.dismissed
        p.task, (p.positive, p.negative) = held.task, held.classes  # type: ignore[assignment] # checked below
        p.rows, p.number, p.last = held.rows, held.number, held.last
        p.error_times, p.reference = held.error_times, held.reference
        check_performance(p, arrays)
        p.filled = len(arrays["time"])
        if p.filled > len(p.window):  # a smaller window was configured meanwhile
            p.window = Performance(replace(p.rules, window_rows=p.filled)).window
        for name in _MATCH_COLUMNS:
            getattr(p.window, name)[: p.filled] = arrays[name]
        p.confusion, p.plan, p.state = arrays["confusion"], arrays["plan"], arrays["state"]
        p.errors = [arrays["errors"]] if len(arrays["errors"]) else []
        p.settle(self.labels.names)


@dataclass(frozen=True, slots=True)
class _Origins:
    """Matches, and the rows that made them."""

    found: Matches
    events: Rows
    labels: Rows
    progress: Sequence[Progress]

    def at(self, match: int) -> At:
        """The row that made a match."""
        row = int(self.found.row[match])
        rows, row = (self.events, row) if row >= 0 else (self.labels, -1 - row)
        source = self.progress[int(rows.source[row])].source
        return At(int(self.found.time[match]), source, int(rows.offset[row]))


def plan_errors(
    reference: ChannelReference, traffic: Traffic, *, run_length: float, min_duration: int
) -> npt.NDArray[np.void]:
    """The plan of a channel of errors: as of any channel, but only an increase can open it."""
    tolerance = traffic.tolerance
    if reference.binary:
        tolerance = TOLERANCE * reference.mean / reference.sd if reference.sd > 0.0 else 0.0
    plan = plan_channel(
        reference,
        sources=traffic.sources,
        run_length=run_length,
        min_duration=min_duration,
        tolerance=tolerance,
    )
    up = plan["lam"][0] > 0.0  # those come first
    plan["lanes"] = int(up.sum())
    plan["lam"][0][~up] = plan["m"][0][~up] = 0.0
    plan["null_low"] = 0.0  # an open channel is home again at any rate that is low enough
    return plan
