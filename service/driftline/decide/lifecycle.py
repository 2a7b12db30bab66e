"""What people and time make of a model's alerts: mutes, acknowledgements, cooldown, incidents.

Owns who muted what until when, which open episodes somebody has acknowledged, and which episodes are one
incident. ``told`` writes it on an alert; nothing here opens or resolves an episode. Invariants: every alert
goes out, only its ``page`` can turn false; the result depends on the alerts, the commands and the record
times of rows alone, never on cuts; memory is bounded by the number of signals. Rules: docs/alerts.md.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from driftline.decide import texts
from driftline.decide.episodes import EFFECT_CRITICAL, EFFECT_WARNING, Episode, effect_size
from driftline.decide.kpi import of_labels
from driftline.decide.outputs import Alert
from driftline.detect.rate import NAMES
from driftline.errors import MessageError
from driftline.ingest.decode.slow import parse_rfc3339
from driftline.records import SEVERITIES

EVERY_SIGNAL: Final = ""  # the key of a mute of the whole model; no signal is called so
NO_DEADLINE: Final = 1 << 62
INCIDENT_GAP_MS: Final = 3_600_000  # people call changes that began within an hour of each other one
INCIDENT_SIGNALS_MAX: Final = 10  # named in an alert; a broken join moves hundreds
TOO_FEW, TOO_MANY = NAMES  # channels of the traffic: events a minute, not shares
# The least effect of each severity stands for one that is in other units.
LEAST_EFFECT: Final = {"info": 0.0, "warning": EFFECT_WARNING, "critical": EFFECT_CRITICAL}
GRADED: Final = frozenset({"location", "spread", "rank", "rank-spread"})  # channels of more than 0 and 1
UNWATCHED: Final = frozenset({"driftline.state"})  # told once and never resolved: no part of an incident
NAMESPACE: Final = uuid.UUID("1f0b7a52-4f43-5d0e-8d52-7c55d3f2a0c4")  # ours, fixed for ever


@dataclass(frozen=True, slots=True)
class Mute:
    """A signal, or the whole model, is not to wake anyone until ``until`` (record time, ms)."""

    until: int
    by: str
    why: str
    topic: str  # where the command stood
    partition: int
    offset: int

    def to_json(self) -> dict[str, str]:
        """As it stands in an alert."""
        return {"until": texts.rfc3339(self.until), "by": self.by, "why": self.why}


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody has seen the open episode of a signal and deals with it."""

    at: int  # record time of the command, ms
    by: str
    why: str

    def to_json(self) -> dict[str, str]:
        """As it stands in an alert."""
        return {"at": texts.rfc3339(self.at), "by": self.by, "why": self.why}


@dataclass(frozen=True, slots=True)
class Opening:
    """What an incident needs to know of an episode that opens; event times in ms."""

    signal: str
    episode: int
    onset: int
    opened: int
    severity: str
    effect: float


@dataclass(slots=True)
class Incident:
    """Episodes of a model that began close to each other; named by the first of them."""

    signal: str
    episode: int
    severity: str  # the worst that was told of it
    last_opened: int  # event time, ms
    effects: dict[str, float] = field(default_factory=dict)  # of every signal in it, at its opening
    open: list[str] = field(default_factory=list)

    def ranked(self) -> list[dict[str, Any]]:
        """Its signals, the largest effect first."""
        order = sorted(self.effects.items(), key=lambda item: (-item[1], item[0]))[:INCIDENT_SIGNALS_MAX]
        return [{"signal": s, "effect": effect, "open": s in self.open} for s, effect in order]


@dataclass(slots=True)
class Incidents:
    """Incidents of a model, and its signals that may come back within the cooldown.

    What labels say has incidents of its own: how their alerts mingle with those of events depends on how both
    were cut into envelopes, and nothing in an alert may.
    """

    incidents: list[Incident] = field(default_factory=list)
    resolved: dict[str, int] = field(default_factory=dict)  # event time, ms, while the cooldown runs

    def holds(self, signal: str) -> bool:
        """Whether an episode of the signal is open in one of them."""
        return any(signal in incident.open for incident in self.incidents)

    def follow(self, alert: Alert, topic_id: str, cooldown_ms: int) -> tuple[bool, dict[str, object]]:
        """Follow the alert's episode through its incident: whether the alert pages, and the incident."""
        data, signal, page = alert.data, alert.signal, bool(alert.data["page"])
        again = False
        if alert.type.endswith(".opened"):
            onset = parse_rfc3339(str(data["onset"])) or 0
            severity = str(data["severity"])
            opening = Opening(
                signal, _number(data["episode"]), onset, alert.time_ms, severity,
                _effect(data["evidence"], severity),
            )  # fmt: skip
            incident, worse, again = self.join(opening, cooldown_ms)
            # What the others are hints of, a model that gets worse or a broken bound, pages beside them.
            page = page and (worse or (data["signal_kind"] in {"performance", "kpi"} and not again))
        else:
            incident = self._incident_of(alert)
        if alert.type.endswith(".updated") and page:
            incident.severity = max(incident.severity, str(data["severity"]), key=SEVERITIES.index)
        if data["state"] == "resolved":
            incident.open.remove(signal)
            if "cause" not in data:  # what a person or a new baseline ended is news when it opens again
                self.resolved[signal] = alert.time_ms
            self._forget(alert.time_ms, cooldown_ms)
        return page, {
            "incident": incident_id(topic_id, alert.model, incident),
            "incident_open": len(incident.open),
            "incident_signals": incident.ranked(),
            "reopened": again,
        }

    def join(self, opening: Opening, cooldown_ms: int) -> tuple[Incident, bool, bool]:
        """The incident of an opening, whether it is worse than was told of it, and whether it is back."""
        self._forget(opening.opened, cooldown_ms)
        signal, severity = opening.signal, opening.severity
        again = self.resolved.pop(signal, None) is not None
        incident = next((i for i in reversed(self.incidents) if again and signal in i.effects), None)
        if incident is None:
            going_on = [i for i in self.incidents if i.open]
            newest = max(going_on, key=lambda i: i.last_opened, default=None)
            if newest is not None and opening.onset <= newest.last_opened + INCIDENT_GAP_MS:
                incident = newest
        worse = incident is None or SEVERITIES.index(severity) > SEVERITIES.index(incident.severity)
        if incident is None:
            incident = Incident(signal, opening.episode, severity, opening.opened)
            self.incidents.append(incident)
        incident.severity = severity if worse else incident.severity
        incident.last_opened = max(incident.last_opened, opening.opened)
        incident.effects[signal] = opening.effect
        incident.open.append(signal)
        return incident, worse, again

    def _incident_of(self, alert: Alert) -> Incident:
        """The incident of an open episode; one of its own where it was opened before there were incidents."""
        found = next((i for i in self.incidents if alert.signal in i.open), None)
        if found is None:
            severity = str(alert.data["severity"])
            found = Incident(alert.signal, _number(alert.data["episode"]), severity, alert.time_ms)
            found.effects[alert.signal] = _effect(alert.data["evidence"], severity)
            found.open.append(alert.signal)
            self.incidents.append(found)
        return found

    def _forget(self, now: int, cooldown_ms: int) -> None:
        """Drop what is over: cooldowns, and incidents without an open or cooling signal."""
        self.resolved = {s: at for s, at in self.resolved.items() if now - at <= cooldown_ms}
        self.incidents = [i for i in self.incidents if i.open or any(s in self.resolved for s in i.effects)]


@dataclass(slots=True)
class Lifecycle:
    """The life of a model's alerts beyond what the detectors say."""

    mutes: dict[str, Mute] = field(default_factory=dict)  # by signal or EVERY_SIGNAL
    acknowledged: dict[str, Acknowledgement] = field(default_factory=dict)  # by signal with an open episode
    of_events: Incidents = field(default_factory=Incidents)
    of_labels: Incidents = field(default_factory=Incidents)

    # --- what people said

    def mute_of(self, signal: str) -> Mute | None:
        """The mute that holds a signal longest."""
        found = [self.mutes[key] for key in (signal, EVERY_SIGNAL) if key in self.mutes]
        return max(found, key=lambda mute: mute.until, default=None)

    def standing(self, signal: str) -> str:
        """What metrics say of an open episode: firing, acknowledged or muted."""
        if self.mute_of(signal) is not None:
            return "muted"
        return "acknowledged" if signal in self.acknowledged else "firing"

    @property
    def deadline(self) -> int:
        """When the next mute ends; NO_DEADLINE without mutes."""
        return min((mute.until for mute in self.mutes.values()), default=NO_DEADLINE)

    def end_mutes(self, now_ms: int) -> dict[str, Mute]:
        """Drop the mutes that have ended; returns them by signal or EVERY_SIGNAL."""
        ended = {key: mute for key, mute in self.mutes.items() if mute.until <= now_ms}
        for key in ended:
            del self.mutes[key]
        return ended

    def drop(self, signal: str) -> None:
        """An open episode of a signal was lost: nothing waits for its end."""
        self.acknowledged.pop(signal, None)
        for incident in (*self.of_events.incidents, *self.of_labels.incidents):
            incident.open = [s for s in incident.open if s != signal]

    # --- what an alert says of it

    def told(self, alert: Alert, topic_id: str, cooldown_ms: int) -> Alert:
        """The alert with its incident, its mute and its acknowledgement, and whether it still pages.

        ``topic_id`` is that of the mailbox: ids differ between pipelines.
        """
        data, signal = alert.data, alert.signal
        page, extra = bool(data["page"]), dict[str, object]()
        if signal not in UNWATCHED:
            by_label = of_labels(alert) or self.of_labels.holds(signal)  # the latter of what is told by hand
            incidents = self.of_labels if by_label else self.of_events
            page, extra = incidents.follow(alert, topic_id, cooldown_ms)
        mute, seen = self.mute_of(signal), self.acknowledged.get(signal)
        extra["muted"] = mute is not None
        if mute is not None:
            extra["mute"] = mute.to_json()
        if seen is not None:
            extra["acknowledged"] = seen.to_json()
        extra["page"] = page and mute is None and seen is None
        if data["state"] == "resolved":
            self.acknowledged.pop(signal, None)
        return replace(alert, data={**data, **extra})

    # --- storing

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form, for the snapshot; ``store`` reads it back."""
        return asdict(self)


def adopted(episodes: Mapping[str, Episode]) -> Lifecycle:
    """Of a model that was stored before there were incidents: its open episodes in the order they opened."""
    life = Lifecycle()
    for signal, episode in sorted(episodes.items(), key=lambda item: (item[1].opened_time, item[0])):
        effect = _effect(list(episode.evidence.values()), episode.severity)
        opening = Opening(
            signal, episode.number, episode.onset_time, episode.opened_time, episode.severity, effect
        )
        life.of_events.join(opening, 0)
    return life


def check_lifecycle(life: Lifecycle) -> None:
    """Refuse stored state on which an alert could not be told.

    Raises:
        MessageError: it contradicts itself.
    """
    for incident in (*life.of_events.incidents, *life.of_labels.incidents):
        if incident.severity not in SEVERITIES or not set(incident.open) <= set(incident.effects):
            raise MessageError(f"the incident of {incident.signal} contradicts itself.")


def incident_id(topic_id: str, model: str, incident: Incident) -> str:
    """uuid5 of the mailbox topic, the model and the first episode."""
    parts = (topic_id, model, incident.signal, str(incident.episode))
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))


def _effect(evidence: Any, severity: str) -> float:
    """Effect of what an opening saw first, in standard deviations or Cohen's h."""
    first: Mapping[str, Any] = evidence[0] if evidence else {"channel": TOO_FEW}
    channel, least = first["channel"], LEAST_EFFECT[severity]
    if channel in {TOO_FEW, TOO_MANY}:
        return least
    if channel in GRADED:
        return least if first["shift_sd"] is None else abs(float(first["shift_sd"]))
    if channel == texts.SHAPE:
        return math.sqrt(max(float(first["current_mean"]), 0.0))
    return effect_size(first["current_mean"], first["reference_mean"], 1.0, binary=True)


def _number(value: object) -> int:
    assert isinstance(value, int)  # the builders of alerts write it so
    return value
