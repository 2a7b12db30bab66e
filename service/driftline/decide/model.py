"""One model: its actor and its episodes; where findings become alerts and boundaries become decisions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.config import DetectionSettings, ModelSettings
from driftline.config.settings import SignalSettings
from driftline.decide import alerts as build
from driftline.decide import seasons, texts
from driftline.decide.actions import Actions, Facts
from driftline.decide.advice import check_first, how_sure
from driftline.decide.alerts import KINDS, Cause, Context
from driftline.decide.budget import Budget, by_signal, outdated
from driftline.decide.episodes import Episode, Episodes, severity
from driftline.decide.kpi import Kpis
from driftline.decide.kpi_standing import At
from driftline.decide.labelled import Labelled, Traffic
from driftline.decide.lifecycle import Lifecycle
from driftline.decide.outputs import Alert, Report
from driftline.decide.plugins import attached, closings, orphans, place_of
from driftline.decide.policy import plan_detection, window_design
from driftline.decide.reports import window_report
from driftline.decide.traffic import TRAFFIC, traffic_seen
from driftline.decide.versions import LEARNINGS_MAX, Policy, Versions, is_version, policy_of, settings_of
from driftline.detect.actor import (
    Actor,
    Applied,
    Detection,
    Phase,
    extend_detection,
    later_signals,
    live_tau,
    new_detection,
    restart_rings,
    restart_signal,
    warm_blocks,
)
from driftline.detect.kernels.state import (
    CHANNEL_PLAN,
    KIND_DISMISSED,
    KIND_OPEN,
    KIND_RESOLVE,
    STATUS_OK,
    new_state,
)
from driftline.detect.performance import SIGNAL as PERFORMANCE
from driftline.detect.reference import Reference, build_reference
from driftline.detect.rows import raw_columns
from driftline.detect.seasonal import Wanted
from driftline.detect.signals import Layout
from driftline.detect.windows import HOME_WINDOWS, judge
from driftline.errors import MessageError
from driftline.records import Block, Progress, Source

WINDOW_ROWS_MAX: Final = 1 << 53  # of windows that end by time only
STATE_SIGNAL: Final = "driftline.state"


@dataclass(slots=True)
class Model:
    """An actor with its episodes and settings."""

    actor: Actor
    false_alarms: float  # a week
    min_duration: int
    tolerance: float
    pinned_rate: float | None
    episodes: Episodes = field(default_factory=Episodes)
    finished_learning: bool = False
    lost_states: int = 0
    reference_dirty: bool = True  # the reference shard has to be written
    learn_shards: int = 0  # shards of learning rows on the state topic
    reports: list[Report] = field(default_factory=list)  # since the partition last took them
    notes: list[str] = field(default_factory=list)  # for the log
    orphans: list[int] = field(default_factory=list)  # plug-ins that are gone and hold an episode open
    signal_settings: Mapping[str, SignalSettings] = field(default_factory=dict)
    seasons: Wanted = field(default_factory=Wanted)
    labelled: Labelled | None = None  # None: no input has labels
    labels_lost: str = ""  # why the stored ones were set aside, until it is told
    life: Lifecycle = field(default_factory=Lifecycle)
    cooldown_ms: int = 0
    actions: Actions | None = None  # None: there are no rules
    versions: Versions = field(default_factory=Versions)
    on_new_version: Policy = "keep"
    room_to_learn: Callable[[], bool] = lambda: True  # whether one model more may learn now
    kpis: Kpis = field(init=False)

    def __post_init__(self) -> None:
        self.kpis = Kpis(self.actor.model)

    @classmethod
    def new(
        cls, name: str, settings: DetectionSettings, models: Mapping[str, ModelSettings], *, learn: bool
    ) -> Model:
        """A model that was never seen."""
        own = settings_of(models, name)
        rows = own.learning_rows or settings.learning_rows
        model = cls(Actor(name, Phase.LEARNING if learn else Phase.QUEUED, rows), 1.0, 0, 0.0, None)
        if settings.labels is not None and not is_version(settings, models, name):
            model.labelled = Labelled.new(name, settings.labels, own)
            model.actor.labelled = True
        model.configure(settings, models)
        return model

    @property
    def name(self) -> str:
        """The model id."""
        return self.actor.model

    def configure(self, settings: DetectionSettings, models: Mapping[str, ModelSettings]) -> None:
        """Take the settings; thresholds in force stay as they are."""
        own = settings_of(models, self.name)
        self.on_new_version = policy_of(settings, models, self.name)
        self.false_alarms = own.false_alarms_per_week or settings.false_alarms_per_week
        self.min_duration, self.tolerance = settings.min_duration_events, settings.tolerance
        self.pinned_rate = own.rows_per_week
        self.actor.window_rows = settings.window_rows or WINDOW_ROWS_MAX
        self.actor.window_ms = settings.window_ms
        self.signal_settings, self.seasons = own.signals, seasons.wanted(own)
        self.kpis.configure(settings, own)
        cooldown = own.cooldown_seconds if own.cooldown_seconds is not None else settings.cooldown_seconds
        self.cooldown_ms = int(cooldown * 1000)
        asked = own.actions if own.actions is not None else settings.actions
        if self.actions is not None:
            self.actions.settings = asked
        elif asked.rules:
            kinds = self.watched()
            opened = ((kinds[s], s, self.episodes_of(s).open[s]) for s in self.open_signals())
            self.actions = Actions.new(self.name, asked, opened)

    def facts(self) -> Facts:
        """What an action says of the model as it is now."""
        d, labels = self.actor.detection, None if self.labelled is None else self.labelled.view()
        known = labels is not None and not math.isnan(labels.coverage)
        return Facts(
            len(d.layout.signals) if d is not None else 0,
            self.actor.version,
            d.layout.reference_id if d is not None else None,
            labels.coverage if labels is not None and known else None,
            labels.matched if labels is not None else 0,
        )

    def attach_plugins(self, stored: Sequence[Mapping[str, Any]] = ()) -> None:
        """Put the configured detectors of river on their channels, with their stored states if there are."""
        d = self.actor.detection
        if d is None:
            return
        d.plugins, notes = attached(d, self.signal_settings, stored)
        self.orphans = orphans(d, self.episodes)
        self.notes += [f"model {self.name}: {note}" for note in notes]

    def settings_changed(self, settings: DetectionSettings, models: Mapping[str, ModelSettings]) -> None:
        """Adopt another configuration: new thresholds on channels that are OK, other plug-ins."""
        self.configure(settings, models)
        self.attach_plugins()
        if self.actor.phase is Phase.ACTIVE and self.actor.detection is not None:
            self._plan(self._rate() or self.actor.detection.layout.reference.rows_per_week)

    # --- rows --------------------------------------------------------------------------------------------

    def apply(
        self, block: Block, lo: int, hi: int, progress: Sequence[Progress], context: Context
    ) -> list[Alert]:
        """Apply rows lo..hi of a block, stopping at every boundary; returns the alerts in row order."""
        out: list[Alert] = []
        self._count(block.source[lo:hi], progress)
        while lo < hi:
            to = lo + self.actor.rows_to_boundary(block, lo, hi)
            leave = False
            if self.on_new_version == "relearn" and self.actor.phase is Phase.LEARNING:
                to, leave = self.versions.stretch(block, lo, to, self.actor.learning_rows)
            before = self.versions.changes
            to, former = self.versions.follow(block, lo, to)
            if leave:
                self.versions.left_out += to - lo
                self.actor.pass_over(block, lo, to)
                applied = None
            else:
                applied = self.actor.apply(block, lo, to)
            seen: list[tuple[int, Alert]] = []  # with the row that decided it
            if applied is not None:
                if self.orphans:
                    ends = closings(self.orphans, self.episodes, lo, int(block.event_time[lo]))
                    applied.findings, self.orphans = np.concatenate((ends, applied.findings)), []
                found = [*((f, True) for f in applied.findings), *((f, False) for f in applied.traffic)]
                for finding, of_signal in sorted(found, key=lambda f: int(f[0]["row"])):
                    if of_signal:
                        alert = self._finding(finding, applied, block, progress, context)
                    else:
                        alert = self._traffic(finding, block, progress, context)
                    if alert is not None:
                        seen.append((int(finding["row"]), alert))
            seen += self.kpis.events(block, lo, to, progress, context)
            if applied is not None:
                if self.actor.window_full() or applied.next_window is not None:
                    seen += [(to - 1, a) for a in self._close_window(applied, block, progress, context)]
                    self.actor.count_next(applied, block)
                self.actor.keep_recent(applied)
            out += [alert for _, alert in sorted(seen, key=lambda item: item[0])]
            lo = to
            if self.actor.at_boundary():
                self._boundary()
            if self.versions.changes > before:
                out += self._new_version(former, block, to - 1, progress, context)
        return out

    def _count(self, sources: npt.NDArray[np.int32], progress: Sequence[Progress]) -> None:
        """Count rows by the raw partition they came from."""
        counts = np.bincount(sources)
        for index in np.flatnonzero(counts).tolist():
            source = progress[index].source
            self.actor.source_rows[source] = self.actor.source_rows.get(source, 0) + int(counts[index])

    def _new_version(
        self, former: str | None, block: Block, row: int, progress: Sequence[Progress], context: Context
    ) -> list[Alert]:
        """Another version has taken over at a row: say so, and learn its reference if that is asked for."""
        source, offset = progress[int(block.source[row])].source, int(block.offset[row])
        told = (
            f"model {self.name}: version {self.versions.in_force!r} has taken over from {former!r} at "
            f"{source.topic}/{source.partition}/{offset}"
        )
        if self.on_new_version != "relearn" or self.actor.phase is Phase.QUEUED:
            self.notes.append(f"{told}; on_new_version is {self.on_new_version}")
            return []
        if not self.versions.may_learn():
            self.notes.append(f"{told}; it was learned {LEARNINGS_MAX} times before, so the reference stays")
            return []
        self.notes.append(f"{told}; its next {self.actor.learning_rows} rows are its reference")
        text = texts.new_version(str(self.versions.in_force), self.actor.learning_rows)
        alerts = self._supersede(text, (source, offset), context)
        self.actor.detection = self.actor.learning = self.actor.later = None
        self.orphans = []  # their episodes are closed
        self.actor.phase = Phase.QUEUED
        if self.room_to_learn():
            self.actor.phase = Phase.LEARNING
        return alerts

    def _finding(
        self, finding: Any, applied: Applied, block: Block, progress: Sequence[Progress], context: Context
    ) -> Alert | None:
        d = self.actor.detection
        if d is None:
            return None
        if int(finding["kind"]) == KIND_DISMISSED:
            self.actor.dismissed += 1
            return None
        row, channel = int(finding["row"]), int(finding["channel"])
        source = progress[int(block.source[row])].source
        if channel < 0:
            index, channel, name = place_of(d, finding, self.episodes)
            return self._step(
                d, Cause(block, row, source, applied, finding, index, channel, plugin=name), context
            )
        index = int(d.layout.signal_of_channel[channel])
        return self._step(d, Cause(block, row, source, applied, finding, index, channel), context)

    def _traffic(
        self, finding: Any, block: Block, progress: Sequence[Progress], context: Context
    ) -> Alert | None:
        """What a finding of the traffic does: opened or resolved, one episode for both directions."""
        d = self.actor.detection
        step = self.episodes.finding(TRAFFIC, int(finding["channel"]), int(finding["kind"]))
        if d is None or d.rate is None or step not in {"open", "resolve"}:
            return None
        row = int(finding["row"])
        if step == "open":
            seen = traffic_seen(d.rate.reference, finding)
            episode = self.episodes.begin(
                TRAFFIC,
                int(finding["channel"]),
                opened_time=int(block.event_time[row]),
                onset_time=build.onset_of(finding, block, row),
                severity=seen.severity,
                channel=seen.channel,
                direction=seen.direction,
            )
        else:
            episode = self.episodes.end(TRAFFIC)
        source = progress[int(block.source[row])].source
        return build.traffic(context, self.actor, self.false_alarms, episode, finding, block, source)

    def _step(self, d: Detection, cause: Cause, context: Context) -> Alert | None:
        """What a finding does to the episode of its signal."""
        signal, channel, finding = d.layout.signals[cause.signal].signal, cause.channel, cause.finding
        number = int(finding["channel"])  # a plug-in's is not that of the channel that it reads
        step = self.episodes.finding(signal, number, int(finding["kind"]))
        if step is None:
            return None
        if signal not in d.window.tainted and number >= 0:
            d.window.tainted.append(signal)
        seen = build.evidence(d, cause)
        if step == "join":
            return self._join(self.episodes.open[signal], seen, cause, context)
        if step == "update":
            return build.update(
                context, self.actor, self.false_alarms, self._moved(signal, channel, finding), cause
            )
        if step == "resolve":
            return build.resolution(context, self.actor, self.false_alarms, self.episodes.end(signal), cause)
        episode = self.episodes.begin(
            signal,
            number,
            opened_time=int(cause.block.event_time[cause.row]),
            onset_time=build.onset_of(finding, cause.block, cause.row),
            severity=severity(build.effect_of(d, channel, finding)),
            channel=str(seen["channel"]),
            direction=_direction(seen),
        )
        episode.evidence[str(number)] = seen
        return build.opening(context, self.actor, self.false_alarms, episode, cause)

    def _join(self, episode: Episode, seen: dict[str, Any], cause: Cause, context: Context) -> Alert | None:
        """One more channel of an episode: news only if plug-ins had opened it, which the budget ignores."""
        uncovered = not episode.covered
        episode.evidence[str(int(cause.finding["channel"]))] = seen
        d = self.actor.detection
        if d is None or not uncovered or not episode.covered:
            return None
        episode.sequence += 1
        episode.severity = severity(build.effect_of(d, cause.channel, cause.finding))
        episode.channel, episode.direction = str(seen["channel"]), _direction(seen)
        episode.onset_time = build.onset_of(cause.finding, cause.block, cause.row)  # river's knew none
        return build.confirmation(context, self.actor, self.false_alarms, episode, cause)

    def _close_window(
        self, applied: Applied, block: Block, progress: Sequence[Progress], context: Context
    ) -> list[Alert]:
        """The window is full: report it, and let the test of its shape open or resolve episodes.

        It opens none where another channel had an episode within the window: that change is told already.
        """
        d, row = self.actor.detection, applied.hi - 1
        if d is None or d.window.rows == 0:
            return []
        window, layout = d.window, d.layout
        window.last = layout.bins.statistics(window.counts)
        lengths = by_signal(layout, d.run_length, d.later_run_length)
        design = window_design(d)
        bins = layout.bins
        verdict = judge(window.last, bins.rows(), design, bins.wander, lengths, self.tolerance, window.rows)
        source = progress[int(block.source[row])].source
        told = {*window.tainted, *self.episodes.told()}
        out: list[Alert] = []
        for s, signal in enumerate(layout.signals):
            name = signal.signal
            home = bool(verdict.statistic[s] <= verdict.home[s])
            window.home[s] = window.home[s] + 1 if home else 0
            kind = 0
            if window.open[s] and window.home[s] >= HOME_WINDOWS:
                window.open[s], kind = 0, KIND_RESOLVE
            elif not window.open[s] and verdict.statistic[s] >= verdict.level[s] and name not in told:
                window.open[s], kind = 1, KIND_OPEN
            if kind:
                finding, shape = build.shape_finding(d, s, kind, row, verdict)
                cause = Cause(block, row, source, applied, finding, s, int(finding["channel"]), shape)
                alert = self._step(d, cause, context)
                out += [] if alert is None else [alert]
        end = int(block.event_time[row])
        out += self.kpis.window(d, At(end, source, int(block.offset[row])), context)
        if applied.next_window is not None:
            end = window.time.end - 1
        self.reports.append(window_report(context.topic_id, self.actor, d, verdict, end_ms=end))
        window.begin()
        window.tainted = self.episodes.told()
        return out

    def _moved(self, signal: str, channel: int, finding: Any) -> Episode:
        """The episode of a signal after its effect was measured again."""
        d = self.actor.detection
        assert d is not None  # a finding has come from it
        episode = self.episodes.open[signal]
        episode.sequence += 1
        episode.severity = severity(build.effect_of(d, channel, finding))
        up = float(finding["window_mean"]) > d.layout.channels[channel].mean
        episode.direction = "up" if up else "down"
        return episode

    def join(
        self, events: Sequence[Block], labels: Sequence[Block], progress: Sequence[Progress], time_ms: int,
        context: Context,
    ) -> list[Alert]:  # fmt: skip
        """Join the rows of an envelope; returns the alerts on the model's performance.

        The events were applied before. ``time_ms`` is the partition's time, -1 if unknown.
        """
        if self.labelled is None:
            return []
        for block in labels:
            self._count(block.source, progress)
        d = self.actor.detection
        budget = self._budget(d.layout) if d is not None else Budget(1, 0)
        traffic = Traffic(
            budget.sources, budget.frozen, self.false_alarms, self._rate(), self.tolerance, self.actor.version
        )
        out = self.labelled.apply(events, labels, progress, time_ms, traffic, context, self.kpis)
        self.reports += self.labelled.take_reports(context.topic_id)
        return out

    # --- boundaries --------------------------------------------------------------------------------------

    def _boundary(self) -> None:
        match self.actor.phase:
            case Phase.LEARNING:
                self._freeze()
            case Phase.WARMING:
                self._end_warm_up()
            case Phase.ACTIVE:
                if self.actor.later_complete():
                    self._freeze_later()
                if self.actor.rate_due():
                    self._follow_rate()
            case Phase.QUEUED:
                pass

    def _freeze(self) -> None:
        rows = self.actor.learning
        if rows is None:
            return
        table = rows.all()
        try:
            reference = build_reference(
                self.name, "stream", raw_columns(table), table.times, time_ordered=True
            )
        except MessageError:
            self.actor.learning = None  # no column had a value: look at the next rows
            return
        self.finished_learning = True
        reference, notes = seasons.learned(reference, self.seasons, table)
        self.notes += [f"model {self.name}: {note}" for note in notes]
        self._install(reference, warming=False)

    def _install(self, reference: Reference, *, warming: bool) -> None:
        """Start detection from zero under a reference."""
        actor, layout = self.actor, Layout(reference)
        lengths = self._budget(layout).run_lengths(
            self.pinned_rate or reference.rows_per_week, self.false_alarms
        )
        plan = np.zeros(len(layout.channels), CHANNEL_PLAN)
        actor.detection = d = new_detection(reference, plan, warming=warming, run_length=lengths[0])
        self._plan_channels(d, range(len(plan)), lengths)
        restart_rings(d)
        self.attach_plugins()
        self.kpis.notes += self.kpis.unknown(layout)
        actor.phase = Phase.WARMING if warming else Phase.ACTIVE
        actor.learning = actor.later = None
        if reference.origin == "file":
            actor.rate_marks = []  # the rate of this traffic is read from its own rows
        self.reference_dirty = True

    def _end_warm_up(self) -> None:
        d = self.actor.detection
        if d is None:
            return
        d.tau_live = live_tau(d.layout, d.warm, warm_blocks(d.layout))
        self.actor.phase = Phase.ACTIVE
        self._plan(self._rate() or d.layout.reference.rows_per_week)
        restart_rings(d)

    def _freeze_later(self) -> None:
        """Watch the features that appeared after the reference was frozen."""
        d, rows = self.actor.detection, self.actor.later
        if d is None or rows is None:
            return
        self.actor.later, self.reference_dirty = None, True
        made = later_signals(rows, len(d.layout.signals))
        if not made:
            return
        reference = d.layout.reference
        reference = replace(reference, signals=(*reference.signals, *made))
        layout = Layout(reference)
        plan = np.zeros(len(layout.channels), CHANNEL_PLAN)
        plan[: len(d.plan)] = d.plan
        self.actor.detection = more = extend_detection(d, reference, plan)
        # Window tests are numbered behind all channels.
        self.episodes.renumber(len(d.layout.channels), len(plan) - len(d.layout.channels))
        self.attach_plugins()
        rate = self._rate() or reference.rows_per_week
        lengths = self._budget(layout).run_lengths(rate, self.false_alarms)
        later = range(layout.frozen_channels, len(plan))
        ok = more.state["status"] == STATUS_OK
        self._plan_channels(more, [i for i in later if ok[i]], (d.run_length, lengths[1]))
        for signal in made:
            self.notes.append(
                f'model {self.name}: "{signal.signal}" appeared after the reference was frozen; it was '
                f"learned from its first {signal.rows} rows and is watched from now on"
            )

    def _follow_rate(self) -> None:
        d = self.actor.detection
        self.actor.mark_rate()
        rate = self._rate()
        if d is None or rate <= 0.0:
            return
        length, _ = self._budget(d.layout).run_lengths(rate, self.false_alarms)
        if outdated(d.run_length, length):
            self._plan(rate)

    def _plan(self, rate: float) -> None:
        """New thresholds for an event rate, on channels in OK."""
        d = self.actor.detection
        if d is not None:
            ok = np.flatnonzero(d.state["status"] == STATUS_OK).tolist()
            self._plan_channels(d, ok, self._budget(d.layout).run_lengths(rate, self.false_alarms))

    def _plan_channels(self, d: Detection, channels: Sequence[int], lengths: tuple[float, float]) -> None:
        """New thresholds on some channels, for the run lengths of frozen and of later ones."""
        plan_detection(
            d,
            channels,
            lengths,
            sources=self._budget(d.layout).sources,
            min_duration=self.min_duration,
            tolerance=self.tolerance,
        )

    def _rate(self) -> float:
        return self.pinned_rate or self.actor.events_per_week()

    def _budget(self, layout: Layout) -> Budget:
        """The sources that share the model's budget."""
        return Budget.of(layout, labelled=self.actor.labelled)

    # --- commands ----------------------------------------------------------------------------------------

    def watched(self) -> dict[str, str]:
        """Every signal that can have an episode, and its kind."""
        d = self.actor.detection
        found = {} if d is None else {s.signal: KINDS[s.kind] for s in d.layout.signals}
        found |= {TRAFFIC: "model"} if d is not None and d.rate is not None else {}
        found |= {PERFORMANCE: "performance"} if self.labelled is not None else {}
        return found | dict.fromkeys(self.kpis.signals, "kpi")

    def episodes_of(self, signal: str) -> Episodes:
        """Where the episodes of a signal are kept."""
        if signal in self.kpis.signals:
            return self.kpis.episodes
        return self.labelled.episodes if signal == PERFORMANCE and self.labelled else self.episodes

    def open_signals(self) -> list[str]:
        """Signals with an open episode."""
        return [s for s in self.watched() if s in self.episodes_of(s).open]

    def promote(self, reference: Reference, origin: tuple[Source, int], context: Context) -> list[Alert]:
        """Put a baseline in force; returns the resolutions of episodes measured against the former one."""
        self.notes += [f"model {self.name}: {note}" for note in seasons.unmet(reference, self.seasons)]
        alerts = self._supersede(texts.SUPERSEDED, origin, context)
        self.versions.promoted()
        self.finished_learning = self.actor.phase is Phase.LEARNING
        rate_known = (self.pinned_rate or reference.rows_per_week) > 0.0
        self._install(reference, warming=not (reference.time_ordered and rate_known))
        return alerts

    def learn_again(self, origin: tuple[Source, int], context: Context) -> list[Alert]:
        """Forget the reference and queue for learning another one."""
        alerts = self._supersede(texts.LEARNS_AGAIN, origin, context)
        actor = self.actor
        actor.phase, actor.detection, actor.learning, actor.later = Phase.QUEUED, None, None, None
        actor.rate_marks, self.finished_learning = [], True  # whoever waits may learn, this one perhaps
        return alerts

    def _supersede(self, words: str, origin: tuple[Source, int], context: Context) -> list[Alert]:
        """Resolve the episodes of the reference that goes."""
        out = []
        for signal in list(self.episodes.open):
            alert = self.told_by_hand(signal, "resolved", words, origin, context)
            out.append(replace(alert, data={**alert.data, "cause": "another baseline"}))
        return out

    def told_by_hand(
        self, signal: str, state: str, words: str, origin: tuple[Source, int], context: Context
    ) -> Alert:
        """An alert on an open episode, "open" or "resolved", that no row decided; ``words`` say what."""
        d, episodes = self.actor.detection, self.episodes_of(signal)
        episode = episodes.open[signal]
        if state == "resolved":
            episodes.end(signal)
        else:
            episode.sequence += 1
        time = max(self.actor.last_time, episode.opened_time)
        since = texts.since(episode.onset_time, time)
        subject = texts.subject(self.name, signal, episode.channel, episode.direction, since)
        alert = build.without_cause(
            context,
            self.name,
            signal,
            state,
            f"{subject} {words}",
            episode=episode,
            kind=self.watched().get(signal, "feature"),
            time_ms=time,
            origin=origin,
            reference_id="" if d is None else d.layout.reference_id,
            budget=self.false_alarms,
            model_version=self.actor.version,
        )
        return replace(alert, data={**alert.data, "evidence": list(episode.evidence.values())})

    def begin_anew(self, signal: str) -> None:
        """Let the detectors of a signal start from OK."""
        d = self.actor.detection
        if signal in self.kpis.signals:
            self.kpis.begin_anew(signal)
        elif signal == PERFORMANCE and self.labelled is not None:
            self.labelled.performance.state = new_state(1)
        elif signal == TRAFFIC and d is not None and d.rate is not None:
            d.rate.state = new_state(2)
        elif d is not None:
            restart_signal(d, signal)

    def told(self, alert: Alert, context: Context) -> Alert:
        """An alert of this model with advice and what people said of it, as it goes out."""
        advice = {"how_sure": how_sure(alert.data), "check_first": check_first(alert.data)}
        alert = replace(alert, data={**alert.data, **{key: text for key, text in advice.items() if text}})
        return self.life.told(alert, context.topic_id, self.cooldown_ms)

    @property
    def all_episodes(self) -> tuple[Episodes, ...]:
        """Those of features, of KPIs and, last, of labels."""
        of_labels = () if self.labelled is None else (self.labelled.episodes,)
        return (self.episodes, self.kpis.episodes, *of_labels)

    def number_from(self, number: int) -> None:
        """Number the first episodes of signals after ``number``: ids that were used stay unique."""
        for episodes in self.all_episodes:
            episodes.before = number

    def retire(self, origin: tuple[Source, int], context: Context) -> list[Alert]:
        """The alerts of a model that is not watched any more."""
        return self._supersede(texts.RETIRED, origin, context)

    def forget_labels(self, settings: DetectionSettings, models: Mapping[str, ModelSettings]) -> None:
        """Start the join and the performance anew; the rest of the model stays as it is."""
        if settings.labels is not None:
            self.labelled = Labelled.new(self.name, settings.labels, settings_of(models, self.name))
            self.life.drop(PERFORMANCE)

    def state_lost(self, context: Context, partition: int, offset: int) -> Alert:
        """The alert that this model's stored state, or what labels had made of it, was unreadable."""
        self.lost_states += 1
        if self.labels_lost and self.labelled is not None:
            self.labelled.episodes.before = offset
        else:
            self.number_from(offset)
        what, text = ("labels", texts.labels_lost) if self.labels_lost else ("state", texts.state_lost)
        self.labels_lost = ""
        at = max(self.actor.last_time, 0)
        episode = Episode(offset + 1, at, at, "critical", what, "both")
        return build.without_cause(
            context,
            self.name,
            STATE_SIGNAL,
            "open",
            text(self.name),
            episode=episode,
            kind="feature",
            time_ms=at,
            origin=(Source("mailbox", partition), offset),
            reference_id="",
            budget=self.false_alarms,
        )


def _direction(seen: Mapping[str, Any]) -> str:
    if seen["channel"] == texts.SHAPE:
        return "both"
    return "up" if seen["current_mean"] > seen["reference_mean"] else "down"
