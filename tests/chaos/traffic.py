"""Seeded traffic for the chaos run: good rows of several models, planted drifts, all kinds of rejects, nulls.

Pure: what it yields depends on the seed and the times handed in. It keeps no books on purpose; what should
have happened is recomputed from the raw topics by ``verify``.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FEATURES: Final = tuple(f"f{i}" for i in range(6))
WIDE: Final = tuple(f"w{i:02d}" for i in range(24))
CITIES: Final = ("berlin", "lisbon", "oslo")
BROKEN_RATIO: Final = 0.01
NULL_RATIO: Final = 0.005
OVERSIZED_RATIO: Final = 0.0002  # of a MiB each: a few a minute are enough
DRIFT_PERIOD_SECONDS: Final = 24.0
DRIFT_ON_SECONDS: Final = 10.0
DRIFT_SD: Final = 4.0
LEARN_SECONDS: Final = 8.0  # no drift is planted before, so that references are learned from normal rows


@dataclass(frozen=True, slots=True)
class Plan:
    """``models`` all of them; ``quiet`` maps those that fall silent to the second in which they do."""

    models: tuple[str, ...]
    quiet: dict[str, float]

    def active(self, second: float) -> tuple[str, ...]:
        """The models that send now."""
        return tuple(m for m in self.models if second < self.quiet.get(m, float("inf")))


def make_plan(models: int, seconds: float, seed: int) -> Plan:
    """Half of the models fall quiet, each at its own time before the end of the first third."""
    dice = random.Random(seed)
    names = tuple(f"model-{i:02d}" for i in range(models))
    chosen = dice.sample(names, models // 2)
    earliest = min(LEARN_SECONDS, seconds / 4)
    return Plan(names, {m: dice.uniform(earliest, seconds / 3) for m in sorted(chosen)})


class Traffic:
    """Yields record values; ``row`` one good event, ``draw`` any record of the mix.

    ``predict`` gives the predicted class of a model's event by its id; without it there is a score only.
    """

    def __init__(self, plan: Plan, seed: int, predict: Callable[[str, str], str] | None = None) -> None:
        self._plan = plan
        self._predict = predict
        self._dice = random.Random(seed + 1)
        self._number = 0

    def draw(self, second: float, now_ms: int) -> bytes | None:
        """The next record: a row of a random active model, sometimes something else."""
        at = self._dice.random()
        if at < NULL_RATIO:
            return None
        model = self.pick(second)
        good = self.row(model, second, now_ms)
        if at < NULL_RATIO + BROKEN_RATIO:
            return self._dice.choice(BREAKERS)(good)
        if at < NULL_RATIO + BROKEN_RATIO + OVERSIZED_RATIO:
            return good[:-1] + b" " * (1 << 20) + b"}"
        return good

    def pick(self, second: float) -> str:
        """A random model of those that send now."""
        return self._dice.choice(self._plan.active(second))

    def row(self, model: str, second: float, now_ms: int) -> bytes:
        """A good event, drifted if the plan has a drift for this model now."""
        return self._event(model, self.drifted(model, second), {"time": now_ms}, {})

    def timeless(self, model: str, drifted: str) -> bytes:
        """A good event without a time, one feature drifted ("" for none): it can be sent again and again.

        It is wider than ``row``: more work for a worker for the same work of sending it.
        """
        wide = {name: round(self._dice.gauss(0.0, 1.0), 3) for name in WIDE}
        return self._event(model, drifted, {}, wide)

    def _event(self, model: str, drifted: str, more: dict[str, object], wide: dict[str, float]) -> bytes:
        self._number += 1
        features: dict[str, object] = {name: self._dice.gauss(0.0, 1.0) for name in FEATURES}
        features |= wide
        if drifted:
            features[drifted] = self._dice.gauss(DRIFT_SD, 1.0)
        features["city"] = self._dice.choice(CITIES)
        event = {"id": f"e{self._number}", "model": model} | more
        prediction: dict[str, object] = {"score": self._dice.random()}
        if self._predict is not None:
            prediction["class"] = self._predict(model, f"e{self._number}")
        event |= {"features": features, "prediction": prediction}
        return json.dumps(event).encode()

    def drifted(self, model: str, second: float) -> str:
        """The feature of ``model`` that is shifted at ``second``, "" for none."""
        since = second - LEARN_SECONDS - 2.0 * self._plan.models.index(model)
        if since < 0:
            return ""
        cycle, into = divmod(since, DRIFT_PERIOD_SECONDS)
        return FEATURES[int(cycle) % len(FEATURES)] if into < DRIFT_ON_SECONDS else ""


def _with(good: bytes, **changes: object) -> bytes:
    return json.dumps(json.loads(good) | changes).encode()


def _without_model(good: bytes) -> bytes:
    event = json.loads(good)
    del event["model"]
    return json.dumps(event).encode()


def _nested(good: bytes) -> bytes:
    deep: object = 1
    for _ in range(40):
        deep = {"x": deep}
    return _with(good, features={"f0": deep})


# Each breaks a good event in a way with one clear reason code; what that is, the verifier decides by itself.
BREAKERS: Final[tuple[Callable[[bytes], bytes], ...]] = (
    lambda good: good[: len(good) // 2],
    lambda good: good + b"}",
    lambda good: b"",
    lambda good: good[:-1] + b', "model": "model-00"}',
    lambda good: good.replace(b'"f1":', b'"f0":'),
    lambda good: good.replace(b'"id": "e', b'"id": "\xff'),
    lambda good: good.replace(b'"id": "e', b'"id": "\xed\xa0\x80'),
    lambda good: b"[" + good + b"]",
    lambda good: b"null",
    lambda good: b"[" * 50_000,
    _nested,
    _without_model,
    lambda good: _with(good, model=17),
    lambda good: _with(good, model="model 00"),
    lambda good: _with(good, model="nobody-knows-me"),
    lambda good: _with(good, time="half past noon"),
    lambda good: _with(good, time="2031-01-01T00:00:00Z"),
    lambda good: _with(good, time="2001-01-01T00:00:00Z"),
)
