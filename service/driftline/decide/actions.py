"""Actions: when the rules of a model say so, ask for its retraining (``schemas/action.v1.json``).

Owns which episodes are open as the alerts told it, the cooldown, and where in the raw topics an event time
lies. Rules are looked at after each alert and whenever event time passes a deadline (an episode has lasted
long enough, the cooldown is over), at the time of that deadline. Invariants: ids, times, reasons and ranges
depend on the alerts and on the rows in their order only, not on how they were cut; what is kept is bounded;
without rules there is no state. Pure. Must not know: who retrains.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.config.settings import ActionRule, ActionSettings
from driftline.decide import texts
from driftline.decide.alerts import Context
from driftline.decide.episodes import Episode
from driftline.decide.outputs import Action, Alert
from driftline.detect.performance import HOUR_MS
from driftline.detect.typed import typed
from driftline.errors import MessageError
from driftline.ingest.decode.slow import parse_rfc3339
from driftline.records import I64, SEVERITIES, Block, Progress, Source

NAMESPACE: Final = uuid.UUID("0f0b9a58-6f55-5b7e-9c51-3b1d3d8f7e42")  # ours, fixed for ever: ids depend on it
TYPE: Final = "driftline.action.retrain"
MARK_MS: Final = 60_000  # a range is exact to a minute of event time, near its end
# Of a raw partition, 6 KB. Gaps grow with age: ln(minutes of a year) / 256 makes them 5 % of it.
MARKS_MAX: Final = 256
SOURCES_MAX: Final = 1_000  # raw partitions of a model that have marks
SIGNALS_MAX: Final = 50  # listed in an action, the worst first
NAMED: Final = 3  # in a sentence
INPUT_KINDS: Final = frozenset({"feature", "score", "class"})  # whose share a rule can ask for
UNMENDED: Final = "model"  # alerts on traffic or on the stored state: retraining mends neither


@dataclass(slots=True)
class OpenSignal:
    """An open episode; times are event times in ms."""

    signal: str
    kind: str
    severity: str
    onset: int
    opened: int
    episode: int
    alert_id: str | None  # of the last alert; None: opened before there were rules


@dataclass(slots=True)
class Trail:
    """Where event times lie in the raw partitions: (event time, offset) of a row about every minute.

    Rows wait until time has come to them, so that what is kept when an action is made does not depend on how
    many rows came with it.
    """

    marks: dict[Source, list[tuple[int, int]]] = field(default_factory=dict)
    waiting: list[tuple[Source, I64, I64]] = field(default_factory=list)  # event times, offsets

    def add(self, block: Block, progress: Sequence[Progress]) -> None:
        """Take the rows of a block."""
        for index in np.unique(block.source).tolist():
            own = block.source == index
            source = progress[index].source
            if source in self.marks or len(self.marks) < SOURCES_MAX:
                self.marks.setdefault(source, [])
                self.waiting.append((source, block.event_time[own], block.offset[own]))

    def advance(self, until: float) -> None:
        """Mark the rows that wait, each source's up to its first row of after a time."""
        left, ahead = [], set()
        for source, times, offsets in self.waiting:
            k = 0
            if source not in ahead:
                k = int(np.searchsorted(np.maximum.accumulate(times), until, "right"))
                self.mark(self.marks[source], times[:k], offsets[:k])
            if k < len(times):
                ahead.add(source)
                left.append((source, times[k:], offsets[k:]))
        self.waiting = left

    @staticmethod
    def mark(marks: list[tuple[int, int]], times: I64, offsets: I64) -> None:
        """Mark the rows of a source that come next."""
        newest = np.maximum.accumulate(times)
        at = 0  # the first row is marked whatever it is
        while True:
            if marks:
                at = int(np.searchsorted(newest, marks[-1][0] + MARK_MS, "left"))
            if at >= len(newest):
                return
            marks.append((int(newest[at]), int(offsets[at])))
            if len(marks) > MARKS_MAX:
                _thin(marks)

    def ranges(self, since: int, until: int) -> list[dict[str, Any]]:
        """From the last mark at or before ``since`` to the last one at or before ``until``, by partition."""
        found = []
        for source, marks in sorted(self.marks.items(), key=lambda item: (item[0].topic, item[0].partition)):
            times = [time for time, _ in marks]
            first = max(int(np.searchsorted(times, since, "right")) - 1, 0)
            last = int(np.searchsorted(times, until, "right")) - 1
            if last >= first:
                lo, hi = marks[first][1], marks[last][1]
                found.append(
                    {"topic": source.topic, "partition": source.partition, "from": lo, "to": max(lo, hi)}
                )
        return found


@dataclass(frozen=True, slots=True)
class Facts:
    """What an action says of its model besides; as of the end of the envelope."""

    signals: int  # features and predictions that are watched
    model_version: str | None
    reference: str | None
    coverage: float | None  # share of the predictions with a label; None: no labels, or no prediction
    joined: int


@dataclass(slots=True)
class _Stored:
    """The header of the shard ``actions``."""

    number: int
    quiet_until: int
    time: int
    open: list[OpenSignal]
    sources: list[tuple[str, int]]


@dataclass(slots=True)
class Actions:
    """The actions of one model that has rules."""

    model: str
    settings: ActionSettings
    open: dict[str, OpenSignal] = field(default_factory=dict)
    trail: Trail = field(default_factory=Trail)
    number: int = 0
    quiet_until: int = -1
    time: int = -1  # event time up to which rules were looked at

    @classmethod
    def new(
        cls, model: str, settings: ActionSettings, episodes: Iterable[tuple[str, str, Episode]]
    ) -> Actions:
        """Of a model whose open episodes are ``episodes``: (kind of signal, signal, episode)."""
        made = cls(model, settings)
        for kind, signal, e in episodes:
            if kind != UNMENDED:
                made.open[signal] = OpenSignal(
                    signal, kind, e.severity, e.onset_time, e.opened_time, e.number, None
                )
        return made

    def follow(
        self, alerts: Iterable[Alert], time_ms: int, facts: Callable[[], Facts], context: Context
    ) -> list[Action]:
        """Take the alerts of an envelope and event time up to ``time_ms``; returns the actions in order."""
        out: list[Action] = []
        for alert in sorted(alerts, key=lambda a: a.time_ms):
            out += self._pass(alert.time_ms - 1, facts, context)
            self._take(alert)
            self.time = max(self.time, alert.time_ms)
            out += self._consider(facts, context)
        out += self._pass(time_ms, facts, context)
        self.trail.advance(math.inf)
        return out

    def _take(self, alert: Alert) -> None:
        data: Mapping[str, Any] = alert.data
        if data["signal_kind"] == UNMENDED:
            return
        if data["state"] == "resolved":
            self.open.pop(alert.signal, None)
            return
        self.open[alert.signal] = OpenSignal(
            alert.signal,
            data["signal_kind"],
            data["severity"],
            parse_rfc3339(data["onset"]) or 0,
            parse_rfc3339(data["opened_at"]) or 0,
            data["episode"],
            alert.id,
        )

    def _pass(self, until: int, facts: Callable[[], Facts], context: Context) -> list[Action]:
        """Look at the rules at each deadline up to a time."""
        out: list[Action] = []
        while (due := self._next_deadline()) <= until:
            self.time = int(due)
            out += self._consider(facts, context)
        self.time = max(self.time, until)
        return out

    def _next_deadline(self) -> float:
        due = [self.quiet_until]
        for rule in self.settings.rules:
            if rule.lasting_hours is not None:
                due += [s.opened + _lasting_ms(rule) for s in self.open.values() if _fits(rule, s)]
        return min((time for time in due if time > self.time), default=math.inf)

    def _consider(self, facts: Callable[[], Facts], context: Context) -> list[Action]:
        """An action, if a rule is met now and no cooldown runs."""
        if self.time < self.quiet_until or not self.open:
            return []
        now = facts()
        met = [(rule, found) for rule in self.settings.rules if (found := self._met(rule, now.signals))]
        if not met:
            return []
        self.trail.advance(self.time)
        self.number += 1
        self.quiet_until = self.time + round(self.settings.cooldown_hours * HOUR_MS)
        return [self._action(met, now, context)]

    def _met(self, rule: ActionRule, signals: int) -> list[OpenSignal]:
        """The open episodes that meet a rule, the worst first; none: it is not met."""
        found = [s for s in self.open.values() if _fits(rule, s) and self._lasts(rule, s)]
        if rule.drifted_share is not None:
            found = [s for s in found if s.kind in INPUT_KINDS]
            if not signals or len(found) / signals < rule.drifted_share:
                return []
        return sorted(found, key=lambda s: (-SEVERITIES.index(s.severity), s.onset, s.signal))

    def _lasts(self, rule: ActionRule, signal: OpenSignal) -> bool:
        return rule.lasting_hours is None or self.time - signal.opened >= _lasting_ms(rule)

    def _action(
        self, met: Sequence[tuple[ActionRule, Sequence[OpenSignal]]], facts: Facts, context: Context
    ) -> Action:
        parts = (context.topic_id, self.model, "retrain", str(self.number))
        ident = str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))
        reasons = [
            {
                "rule": rule.model_dump(mode="json", exclude_none=True),
                "text": self._reason(rule, found, facts.signals),
                "signals": [s.signal for s in found[:SIGNALS_MAX]],
            }
            for rule, found in met
        ]
        signals = list({s.signal: s for _, found in met for s in found}.values())
        signals.sort(key=lambda s: (-SEVERITIES.index(s.severity), s.onset, s.signal))
        since = min(s.onset for s in signals)
        labels = None if facts.coverage is None else {"coverage": facts.coverage, "joined": facts.joined}
        data = {
            "id": ident,
            "type": TYPE,
            "time": texts.rfc3339(self.time),
            "model": self.model,
            "action": "retrain",
            "number": self.number,
            "summary": f"{self.model}: asks to be retrained: {'; '.join(str(r['text']) for r in reasons)}",
            "reasons": reasons,
            "signals": [
                {
                    "signal": s.signal,
                    "kind": s.kind,
                    "severity": s.severity,
                    "onset": texts.rfc3339(s.onset),
                    "opened_at": texts.rfc3339(s.opened),
                    "episode": s.episode,
                    "alert_id": s.alert_id,
                }
                for s in signals[:SIGNALS_MAX]
            ],
            "fresh": {
                "since": texts.rfc3339(since),
                "until": texts.rfc3339(self.time),
                "ranges": self.trail.ranges(since, self.time),
            },
            "labels": labels,
            "model_version": facts.model_version,
            "reference": facts.reference,
            "cooldown_until": texts.rfc3339(self.quiet_until),
            "runbook": context.runbook_url,
        }
        return Action(ident, TYPE, self.time, self.model, data)

    def _reason(self, rule: ActionRule, found: Sequence[OpenSignal], signals: int) -> str:
        """Why, in words."""
        if rule.drifted_share is not None:
            asked = texts.percent(rule.drifted_share)
            return f"{len(found)} of {signals} signals are abnormal at once ({asked} is the limit)"
        first = found[0]
        what = f'"{first.signal}" is abnormal ({first.severity})'
        if rule.lasting_hours is not None:
            lasted = texts.duration(self.time - first.opened)
            what = f'"{first.signal}" has been abnormal for {lasted} ({first.severity})'
        others = [f'"{s.signal}"' for s in found[1:NAMED]]
        more = len(found) - 1 - len(others)
        if more:
            others.append(f"{more} more")
        return what + (f", as {'are' if len(found) > 2 else 'is'} {', '.join(others)}" if others else "")

    # --- storing

    def shard(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Header and arrays of the shard ``actions``."""
        sources = list(self.trail.marks)
        rows = [(i, *mark) for i, source in enumerate(sources) for mark in self.trail.marks[source]]
        stored = _Stored(
            self.number, self.quiet_until, self.time, list(self.open.values()),
            [(s.topic, s.partition) for s in sources],
        )  # fmt: skip
        return {"actions": asdict(stored)}, {"marks": np.array(rows, np.int64).reshape(-1, 3)}

    def restore(self, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """The inverse of ``shard``.

        Raises:
            MessageError, ValueError, KeyError: it is none.
        """
        stored, marks = typed(_Stored, header["actions"]), arrays["marks"]
        if marks.dtype != np.int64 or marks.ndim != 2 or marks.shape[1] != 3:
            raise MessageError("the marks of the actions have another shape.")
        if len(marks) and not (0 <= marks[:, 0].min() <= marks[:, 0].max() < len(stored.sources)):
            raise MessageError("a mark of the actions is of no source.")
        if any(s.severity not in SEVERITIES for s in stored.open) or stored.number < 0:
            raise MessageError("the open episodes of the actions are none.")
        self.number, self.quiet_until, self.time = stored.number, stored.quiet_until, stored.time
        self.open = {s.signal: s for s in stored.open}
        names = [Source(topic, partition) for topic, partition in stored.sources]
        self.trail = Trail({name: [] for name in names})
        for index, time, offset in marks.tolist():
            self.trail.marks[names[index]].append((time, offset))


def _thin(marks: list[tuple[int, int]]) -> None:
    """Take out the mark whose gap will be smallest beside its age; the first and the last two stay."""
    times = np.fromiter((time for time, _ in marks), np.int64, len(marks))
    age = times[-1] - times[1:-2]
    del marks[1 + int(np.argmin((times[2:-1] - times[:-3]) / age))]


def _fits(rule: ActionRule, signal: OpenSignal) -> bool:
    """Whether a rule is about a signal of this name and severity."""
    wanted = rule.signal
    if wanted is not None:
        named = signal.signal.startswith(wanted[:-1]) if wanted.endswith("*") else signal.signal == wanted
        if not named:
            return False
    return SEVERITIES.index(signal.severity) >= SEVERITIES.index(rule.severity or "info")


def _lasting_ms(rule: ActionRule) -> int:
    return round((rule.lasting_hours or 0.0) * HOUR_MS)
