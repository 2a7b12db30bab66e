"""What must hold at the end of a chaos run, as pure functions of what was read from topics and state.

Owns the independent answer to "what should have happened to this raw record" (plain ``json.loads``, none of
the product's decoder) and the comparisons. Knows no Kafka client, no clock and no worker: everything it
judges is handed in, so that the unit tests can hand in a lost row and see it found.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Final

VALUE_BYTES_MAX: Final = (
    1 << 20
)  # DESIGN 11, written again here so that a wrong constant in the product shows
DEPTH_MAX: Final = 8
AHEAD_MAX: Final = timedelta(minutes=5)
AGE_MAX: Final = timedelta(days=7)
MODEL_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
VALUES_MAX: Final = 1 << 15  # distinct values remembered: traffic at a high rate repeats prepared ones
EXAMPLES_MAX: Final = 8  # findings named in a report; the counts are complete

Origin = tuple[str, int, int]  # raw topic, partition, offset
Place = tuple[str, int]  # raw topic, partition


class Kind(Enum):
    """What must become of a raw record."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    FILTERED = "filtered"


@dataclass(frozen=True, slots=True)
class Fate:
    """``detail`` is the model of an accepted row, the reason code of a rejected one."""

    kind: Kind
    detail: str = ""


@dataclass(slots=True)  # not frozen, which would double the cost of making tens of millions
class RawRecord:
    """A record of a raw topic as the verifier read it; ``timestamp`` in ms."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    value: bytes | None


class DuplicateKeyError(ValueError):
    """An object names a key twice."""


def fate_of(record: RawRecord, models: frozenset[str], *, label: bool = False) -> Fate:
    """What must become of ``record`` when ``models`` are the ones that may be named."""
    if record.value is None:
        return Fate(Kind.FILTERED)
    fate, time = _value_fate(record.value, models)
    code = _time_code(time, record.timestamp) if fate.kind is Kind.ACCEPTED else ""
    if not code and label and fate.kind is Kind.ACCEPTED:
        code = _label_code(json.loads(record.value))
    return Fate(Kind.REJECTED, code) if code else fate


def _label_code(label: Mapping[str, Any]) -> str:
    """What is wrong with a record that would do as an event; those of the run never carry a prediction."""
    if not isinstance(label.get("label"), str):
        return "label_invalid"
    return "" if isinstance(label.get("id"), str) else "id_missing"


@lru_cache(maxsize=VALUES_MAX)
def _value_fate(value: bytes, models: frozenset[str]) -> tuple[Fate, Any]:
    """What the value alone decides, and the time it names, which is judged against the record's."""
    code = _broken(value)
    if code:
        return Fate(Kind.REJECTED, code), None
    event = json.loads(value)
    model = event.get("model")
    if model is None:
        code = "model_missing"
    elif not isinstance(model, str) or not MODEL_ID.fullmatch(model):
        code = "model_invalid"
    elif model not in models:
        code = "model_unknown"
    return (Fate(Kind.REJECTED, code), None) if code else (Fate(Kind.ACCEPTED, model), event.get("time"))


def _broken(value: bytes) -> str:
    """The reason code of a record that is no event at all, "" for one that may be."""
    if len(value) > VALUE_BYTES_MAX:
        return "too_large"
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return "not_utf8"
    try:
        parsed = json.loads(text, object_pairs_hook=_no_duplicates)
    except DuplicateKeyError:
        return "duplicate_key"
    except RecursionError:
        return "too_deep"
    except ValueError:
        return "syntax"
    if not isinstance(parsed, dict):
        return "not_object"
    return "too_deep" if _depth(parsed) > DEPTH_MAX else ""


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DuplicateKeyError
    return found


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def _time_code(time: Any, timestamp: int) -> str:
    if time is None:
        return ""
    at = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
    try:
        judged = datetime.fromisoformat(time) if isinstance(time, str) else at + timedelta(milliseconds=time)
    except (TypeError, ValueError, OverflowError):
        return "time_invalid"
    if judged.tzinfo is None:
        return "time_invalid"
    ahead = judged - (at + timedelta(milliseconds=timestamp))
    return "time_future" if ahead > AHEAD_MAX else "time_late" if -ahead > AGE_MAX else ""


@dataclass(slots=True)
class Expected:
    """What the raw topics say should be found."""

    labels: str = ""  # the topic whose records are labels
    records: int = 0
    filtered: int = 0
    rows: dict[Place, Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )  # accepted, by model
    rejects: dict[Origin, str] = field(default_factory=dict)

    def add(self, record: RawRecord, models: frozenset[str]) -> None:
        """Judge one raw record; each is handed in once."""
        self.records += 1
        fate = fate_of(record, models, label=record.topic == self.labels)
        if fate.kind is Kind.ACCEPTED:
            self.rows[record.topic, record.partition][fate.detail] += 1
        elif fate.kind is Kind.REJECTED:
            self.rejects[record.topic, record.partition, record.offset] = fate.detail
        else:
            self.filtered += 1

    @property
    def accepted(self) -> int:
        """Rows that must be counted in the state."""
        return sum(counts.total() for counts in self.rows.values())


def expect(records: Iterable[RawRecord], models: frozenset[str]) -> Expected:
    """Judge every raw record once."""
    expected = Expected()
    for record in records:
        expected.add(record, models)
    return expected


@dataclass(slots=True)
class Differences:
    """Counts of what is wrong; ``examples`` names the first few."""

    lost: int = 0
    twice: int = 0
    unexpected: int = 0
    different: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep ``text`` if there is still room."""
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append(text)

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.lost or self.twice or self.unexpected or self.different)


def compare_rows(
    expected: Mapping[Place, Mapping[str, int]], counted: Mapping[str, Mapping[Place, int]]
) -> Differences:
    """Rows of each raw partition and model: as recomputed against as counted in the stored state."""
    found = Differences()
    want = {(place, model): n for place, counts in expected.items() for model, n in counts.items()}
    have = {(place, model): n for model, counts in counted.items() for place, n in counts.items()}
    for (topic, partition), model in sorted(want.keys() | have.keys()):
        due, got = want.get(((topic, partition), model), 0), have.get(((topic, partition), model), 0)
        found.lost += max(0, due - got)
        found.twice += max(0, got - due)
        if due != got:
            found.note(f"{model} from {topic}/{partition}: {got} rows in the state, {due} on the raw topic")
    return found


def compare_rejects(expected: Mapping[Origin, str], stored: Iterable[tuple[Origin, str]]) -> Differences:
    """Rejects by origin; the topic may repeat one, readers drop repeats by origin."""
    found = Differences()
    have = dict(stored)
    for origin in sorted(expected.keys() | have.keys()):
        if origin not in have:
            found.lost += 1
            found.note(f"no reject for {origin}, due {expected[origin]}")
        elif origin not in expected:
            found.unexpected += 1
            found.note(f"reject {have[origin]} for {origin}, which is no reject")
        elif have[origin] != expected[origin]:
            found.different += 1
            found.note(f"reject {origin}: {have[origin]}, due {expected[origin]}")
    return found


def compare_alerts(expected: Mapping[str, object], stored: Sequence[tuple[str, object]]) -> Differences:
    """Alerts by id, with content: as one uninterrupted replay of the mailbox yields them and as stored."""
    found = Differences()
    times = Counter(alert for alert, _ in stored)
    content = dict(stored)
    found.twice = sum(n - 1 for n in times.values())
    for alert in sorted(expected.keys() | times.keys()):
        if alert not in times:
            found.lost += 1
            found.note(f"lost {alert}: {expected[alert]}")
        elif alert not in expected:
            found.unexpected += 1
            found.note(f"unexpected {alert}: {content[alert]}")
        elif content[alert] != expected[alert]:
            found.different += 1
            found.note(f"{alert} on the topic: {content[alert]}, from the replay: {expected[alert]}")
        if times[alert] > 1:
            found.note(f"{times[alert]} times {alert}")
    return found


def compare_positions(
    ends: Mapping[Place, int], watermarks: Mapping[int, Mapping[Place, int]]
) -> Differences:
    """Every mailbox partition must know that every raw partition was covered to its end.

    ``ends`` is the next offset of each raw partition, ``watermarks`` the last applied, by mailbox partition.
    """
    found = Differences()
    for partition, marks in sorted(watermarks.items()):
        for place, end in sorted(ends.items()):
            mark = marks.get(place, -1)
            found.lost += max(0, end - 1 - mark)
            found.unexpected += max(0, mark - (end - 1))
            if mark != end - 1:
                found.note(
                    f"mailbox partition {partition} knows {place} up to {mark}, its log ends at {end - 1}"
                )
    return found


@dataclass(slots=True)
class Joined:
    """Labels of a model: (predicted, true) -> matches, and the labels that were one too many, by name."""

    confusion: Counter[tuple[str, str]] = field(default_factory=Counter)
    repeats: Counter[str] = field(default_factory=Counter)


class Join:
    """Joins a model's rows in the order of the mailbox with plain dictionaries; the first label wins."""

    def __init__(self) -> None:
        self.joined = Joined()
        self._predicted: dict[int, str] = {}
        self._true: dict[int, str] = {}

    def event(self, key: int, predicted: str) -> None:
        """A prediction; the same id never comes twice."""
        self._predicted[key] = predicted
        if key in self._true:
            self.joined.confusion[predicted, self._true[key]] += 1

    def label(self, key: int, true: str) -> None:
        """A label."""
        if key in self._true:
            same = self._true[key] == true
            self.joined.repeats["duplicates" if same else "conflicts"] += 1
            return
        self._true[key] = true
        if key in self._predicted:
            self.joined.confusion[self._predicted[key], true] += 1


def compare_joins(due: Mapping[str, Joined], stored: Mapping[str, Joined]) -> Differences:
    """Confusion counts and repeats of each model: of an exact join of the mailbox, of the stored state."""
    found = Differences()
    for model in sorted(due.keys() | stored.keys()):
        want, have = due.get(model, Joined()), stored.get(model, Joined())
        missing, extra = want.confusion - have.confusion, have.confusion - want.confusion
        found.lost += missing.total()
        found.twice += extra.total()
        found.different += want.repeats != have.repeats
        if missing or extra or want.repeats != have.repeats:
            found.note(f"labels of {model}: {have} in the state, {want} from the mailbox")
    return found


def compare_states(replayed: Mapping[str, str], stored: Mapping[str, str]) -> Differences:
    """Models as an uninterrupted replay leaves them against as the last checkpoint has them."""
    found = Differences()
    for model in sorted(replayed.keys() | stored.keys()):
        if model not in stored:
            found.lost += 1
        elif model not in replayed:
            found.unexpected += 1
        elif replayed[model] != stored[model]:
            found.different += 1
            found.note(f"{model} {_first_difference(replayed[model], stored[model])}")
    return found


def _first_difference(due: str, got: str) -> str:
    at = next((i for i, (a, b) in enumerate(zip(due, got, strict=False)) if a != b), min(len(due), len(got)))
    begin = max(0, at - 60)
    return f"replayed ...{due[begin : at + 60]}..., stored ...{got[begin : at + 60]}..."


def rate_bound(count: int) -> float:
    """Upper bound (95 %) of the rate of something that happened 0 times in ``count``: about 3/count."""
    return min(1.0, -math.log(0.05) / count) if count else 1.0
