"""From what was seen to what is wrong, each with its remedy. Pure: two looks in, findings out.

Owns: which observations are faults. A fault stops data or alerts, now; anything else worth a line is a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from driftline.config import Settings
from driftline.detect.actor import Phase
from driftline.records import RejectCode

Level = Literal["good", "note", "WRONG"]
Place = tuple[str, int]  # topic, partition

HOUR_SECONDS: Final = 3_600
REJECTED_RATIO_MAX: Final = 0.01  # as DriftlineRejectsSuspicious
CODES_SHOWN: Final = 3
NAMES_SHOWN: Final = 5

# What mends the codes that a configuration causes; the others are the producer's.
CODE_REMEDIES: Final[Mapping[str, str]] = {
    RejectCode.MODEL_UNKNOWN: "list the model under models, or set ingest.discover_models: true",
    RejectCode.MODEL_MISSING: "say which it is (inputs[].model) or where its name is (inputs[].mapping)",
    RejectCode.MODEL_LIMIT: "too many names: does inputs[].mapping.model point at something else?",
    RejectCode.TIME_LATE: "for a backlog raise ingest.max_event_age_hours",
    RejectCode.SYNTAX: "the topic holds no JSON: correct inputs[].topic, or the producer",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the answer."""

    level: Level
    what: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """Logs and groups at one moment; offsets by topic and partition."""

    begins: Mapping[Place, int]
    ends: Mapping[Place, int]
    an_hour_ago: Mapping[Place, int]  # the first offset of the last hour
    committed: Mapping[str, Mapping[Place, int]]  # by group
    members: Mapping[str, int]  # by group

    def grown(self, topic: str) -> int:
        """Records of the last hour."""
        return sum(end - self.an_hour_ago[p] for p, end in self.ends.items() if p[0] == topic)

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """Records that a group has not committed; without a commit from the begin of the log."""
        done = self.committed.get(group, {})
        return sum(
            max(0, end - max(done.get(p, 0), self.begins[p]))
            for p, end in self.ends.items()
            if p[0] in topics
        )

    def position(self, group: str) -> int:
        """Sum of what a group has committed: only whether it moves means anything."""
        return sum(self.committed.get(group, {}).values())


@dataclass(slots=True)
class Rejected:
    """The newest rejects."""

    codes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)  # code: topic[partition] offset: detail


def groups(settings: Settings, before: Look, after: Look, seconds: float) -> Iterator[Finding]:
    """Whether each stage runs, and keeps up."""
    mailbox = settings.topics.name("mailbox")
    raw = [item.topic for item in settings.inputs]
    stages: tuple[tuple[Literal["ingest", "detect"], list[str]], ...] = (
        ("ingest", [*raw, settings.topics.name("commands")]),
        ("detect", [mailbox]),
    )
    for role, topics in stages:
        group = settings.group_id(role)
        lag = after.lag(group, topics)
        if not after.members.get(group):
            yield Finding(
                "WRONG",
                f"No worker of stage {role} is in group {group}; {lag:,} records wait.",
                f"Start `driftline run`. If it ends again: docs/runbook.md has its exit code ({role}).",
            )
        elif lag and after.position(group) == before.position(group):
            yield Finding(
                "WRONG",
                f"Stage {role} stands still: {lag:,} records wait in {', '.join(topics)}, none was done in "
                f"{seconds:.0f} s.",
                "Its log says why: a take-over, brokers that do not answer, a worker that ends again.",
            )
        else:
            work = f"{lag:,} records behind and at work" if lag else "nothing waits"
            members = after.members[group]
            yield Finding("good", f"Stage {role}: {members} member(s) in group {group}, {work}.")


def events(settings: Settings, before: Look, after: Look, seconds: float) -> Iterator[Finding]:
    """Whether anything arrives in the raw topics."""
    for item in settings.inputs:
        places = [p for p in after.ends if p[0] == item.topic]
        if not any(after.ends[p] for p in places):
            yield Finding(
                "WRONG",
                f"{item.topic} has never held a record.",
                "Point the producers at it, or correct inputs[].topic. `driftline simulate` writes events.",
            )
            continue
        came = sum(after.ends[p] - before.ends[p] for p in places)
        hour = after.grown(item.topic)
        text = f"{item.topic}: {hour:,} records in the last hour, {came:,} in {seconds:.0f} s."
        yield Finding("good" if hour else "note", text, "" if hour else "Have the producers stopped?")


def rejects(settings: Settings, after: Look, rejected: Rejected) -> Iterator[Finding]:
    """Whether rows are refused, and why."""
    topic = settings.topics.name("rejects")
    refused = after.grown(topic)
    rows = sum(after.grown(item.topic) for item in settings.inputs)
    if not refused:
        yield Finding("good", "No row was rejected in the last hour.")
        return
    ratio = refused / max(rows, refused)
    top = rejected.codes.most_common(CODES_SHOWN)
    total = max(1, rejected.codes.total())
    share = ", ".join(f"{code} {count / total:.0%}" for code, count in top)
    first = top[0][0] if top else ""
    remedy = CODE_REMEDIES.get(first, "the producer has to mend it")
    yield Finding(
        "WRONG" if ratio > REJECTED_RATIO_MAX else "note",
        f"{refused:,} rows were rejected in the last hour ({ratio:.1%}): {share}."
        + (f" For example {rejected.examples[first]}." if first in rejected.examples else ""),
        f"{first or 'each code'}: {remedy}. docs/events.md has all codes, topic {topic} each row.",
    )


def models(settings: Settings, phases: Mapping[str, Phase]) -> Iterator[Finding]:
    """Whether the models that should be watched are."""
    counts = Counter(phases.values())
    if not phases:
        yield Finding(
            "WRONG", "No model has state: nothing is watched.", "It comes with the first accepted events."
        )
        return
    states = ", ".join(f"{counts[phase]} {phase}" for phase in Phase if counts[phase])
    yield Finding("good" if counts[Phase.ACTIVE] else "note", f"Models: {states}.")
    if counts[Phase.QUEUED]:
        yield Finding(
            "note",
            f"{counts[Phase.QUEUED]} models wait until fewer than detection.learning_models_max learn.",
            "Raise it, or promote baselines: a model with one need not learn.",
        )
    if counts[Phase.LEARNING]:
        yield Finding(
            "note",
            f"{counts[Phase.LEARNING]} models learn what is normal and cannot alert yet.",
            f"It takes {settings.detection.learning_rows:,} events; a promoted baseline needs none.",
        )
    missing = sorted((settings.allowed_models() or frozenset()) - phases.keys())
    if missing:
        names = ", ".join(missing[:NAMES_SHOWN]) + (", ..." if len(missing) > NAMES_SHOWN else "")
        yield Finding(
            "WRONG",
            f"{len(missing)} configured models have had no event: {names}.",
            "Is that what the producers call them? Otherwise remove them from models.",
        )
