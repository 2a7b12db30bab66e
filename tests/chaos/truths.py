"""Labels for the traffic of a run: what turned out to be true of events.

Pure, as ``traffic`` is. Most labels come late, some before their event, some twice, some contradict the
first, some are broken, and some events never get one. A label of an event that was rejected is an orphan.
What must become of all that is recomputed from the topics.
"""

from __future__ import annotations

import heapq
import json
import random
from typing import Final, Literal, NamedTuple

from chaos.traffic import Plan, Traffic

CLASSES: Final = ("no", "yes")
RIGHT_RATIO: Final = 0.85
DELAY_SECONDS_MEAN: Final = 3.0
DELAY_SECONDS_MAX: Final = 20.0
NEVER_RATIO: Final = 0.1
TWICE_RATIO: Final = 0.1
CONFLICT_RATIO: Final = 0.05
EARLY_RATIO: Final = 0.05  # the event is held back, its label goes first
HELD_SECONDS_MAX: Final = 2.0
BROKEN_RATIO: Final = 0.01
WORSE_PERIOD_SECONDS: Final = 40.0  # in the last quarter of each the predictions are as good as a coin
WORSE_SECONDS: Final = 10.0

Topic = Literal["events", "labels"]


class Waiting(NamedTuple):
    """A record that is sent later; ``number`` breaks ties."""

    due: float
    number: int
    topic: Topic
    value: bytes


class LabelledTraffic:
    """Yields records of both raw topics."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.events = Traffic(plan, seed, self._predict)
        self._dice = random.Random(seed + 6)
        self._waiting: list[Waiting] = []
        self._number = 0
        self._second = 0.0
        self._made: list[tuple[str, str, str]] = []  # model, id and truth of the events made in a draw

    def _predict(self, model: str, event_id: str) -> str:
        worse = self._second % WORSE_PERIOD_SECONDS >= WORSE_PERIOD_SECONDS - WORSE_SECONDS
        truth = self._dice.choice(CLASSES)
        self._made.append((model, event_id, truth))
        right = self._dice.random() < (0.5 if worse else RIGHT_RATIO)
        return truth if right else CLASSES[1 - CLASSES.index(truth)]

    def draw(self, second: float, now_ms: int) -> tuple[Topic, bytes | None]:
        """The next record: one that is due, or a new event."""
        if self._waiting and self._waiting[0].due <= second:
            waited = heapq.heappop(self._waiting)
            return waited.topic, waited.value
        self._second = second
        self._made.clear()
        value = self.events.draw(second, now_ms)
        if value is None or not self._made:
            return "events", value
        label = _label(*self._made[0])
        if self._dice.random() < EARLY_RATIO:
            self._later("events", value, second + self._dice.uniform(0.0, HELD_SECONDS_MAX))
            return "labels", label
        self._plan_labels(label, second)
        return "events", value

    def _plan_labels(self, label: bytes, second: float) -> None:
        if self._dice.random() < NEVER_RATIO:
            return
        if self._dice.random() < BROKEN_RATIO:
            label = self._dice.choice(BREAKERS)(json.loads(label))
        self._later("labels", label, self._due(second))
        if self._dice.random() < TWICE_RATIO:
            self._later("labels", label, self._due(second))
        if self._dice.random() < CONFLICT_RATIO:
            other = (
                label.replace(b'"yes"', b'"no"') if b'"yes"' in label else label.replace(b'"no"', b'"yes"')
            )
            self._later("labels", other, self._due(second))

    def _due(self, second: float) -> float:
        return second + min(self._dice.expovariate(1.0 / DELAY_SECONDS_MEAN), DELAY_SECONDS_MAX)

    def _later(self, topic: Topic, value: bytes, due: float) -> None:
        self._number += 1
        heapq.heappush(self._waiting, Waiting(due, self._number, topic, value))


def _label(model: str, event_id: str, truth: str) -> bytes:
    return json.dumps({"id": event_id, "model": model, "label": truth}).encode()


def _without(label: dict[str, object], key: str) -> bytes:
    return json.dumps({k: v for k, v in label.items() if k != key}).encode()


# As those of ``traffic``: each has one clear reason code, which the verifier finds by itself.
BREAKERS: Final = (
    lambda label: _without(label, "id"),
    lambda label: _without(label, "label"),
    lambda label: _without(label, "model"),
    lambda label: json.dumps(label | {"label": ["yes"]}).encode(),
    lambda label: json.dumps(label | {"label": None}).encode(),
    lambda label: json.dumps(label | {"model": "nobody-knows-me"}).encode(),
    lambda label: json.dumps(label).encode()[:-3],
)
