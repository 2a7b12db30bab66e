"""The model that is served: an online logistic regression of river on the features of an event.

It knows nothing of Kafka. What it learns from and predicts on is the ``features`` object of an event, as it
is on the topic, so that serving and retraining cannot differ.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from river import compose, linear_model, optim, preprocessing

Features = Mapping[str, Any]

LEARNING_RATE: Final = 0.02
SEED: Final = 1
PASSES: Final = 5  # over the fresh rows: there are few of them, and all are of the changed world
THRESHOLD: Final = 0.5


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the model; it is not changed once it is served."""

    name: str
    pipeline: Any

    @classmethod
    def first(cls, rows: Iterable[tuple[Features, bool]]) -> Self:
        """Version 1, learned from rows in their order."""
        numbers = compose.SelectType(float, int) | preprocessing.StandardScaler()
        texts = compose.SelectType(str) | preprocessing.OneHotEncoder()
        pipeline = (numbers + texts) | linear_model.LogisticRegression(optim.SGD(LEARNING_RATE))
        for features, late in rows:
            pipeline.learn_one(known(features), late)
        return cls("1", pipeline)

    def retrained(self, rows: Iterable[tuple[Features, bool]]) -> Self:
        """The next version: a copy of this one that went on with fresh rows."""
        pipeline, fresh = copy.deepcopy(self.pipeline), [(known(f), late) for f, late in rows]
        dice = random.Random(SEED)  # the last rows of a pass weigh most: they must not all be of one evening
        for _ in range(PASSES):
            dice.shuffle(fresh)
            for features, late in fresh:
                pipeline.learn_one(features, late)
        return type(self)(str(int(self.name) + 1), pipeline)

    def score(self, features: Features) -> float:
        """Probability that a flight arrives late."""
        return float(self.pipeline.predict_proba_one(known(features)).get(True, 0.0))


def known(features: Features) -> dict[str, Any]:
    """The features that have a value."""
    return {name: value for name, value in features.items() if value is not None}
