"""Synthetic inference events, steady or drifting from a known row on; for `driftline simulate`.

Pure: the same generator state and plan give the same bytes. No clock, no Kafka.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from driftline.errors import OperatorError
from driftline.records import F64, FEATURES_MAX, MODELS_PER_PARTITION_MAX

BATCH_ROWS: Final = (
    1_000  # rows drawn at once; part of the format of a seed: another value gives other events
)
CATEGORIES: Final = (
    "north",
    "south",
    "east",
    "west",
    "central",
    "islands",
    "abroad",
    "online",
    "mobile",
    "other",
)
CATEGORY_SHARES: Final = np.array([0.30, 0.20, 0.14, 0.10, 0.08, 0.06, 0.05, 0.04, 0.02, 0.01])
CATEGORICAL_EVERY: Final = 5  # every fifth feature is categorical, as in a typical tabular model
MISSING_STEADY: Final = 0.01  # of the second numeric feature: real data has holes
MISSING_DRIFT: Final = 0.10
DECIMALS: Final = 4


class DriftKind(StrEnum):
    """What changes, each in the first feature it applies to."""

    NONE = "none"
    LOCATION = "location"  # num_00 moves up by `size` standard deviations
    SPREAD = "spread"  # num_00 spreads by a factor 1 + size
    CATEGORIES = "categories"  # the share of the rarest categories of the first categorical feature grows
    MISSING = "missing"  # num_00 is null in a tenth of the events


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """What to generate; ``rate`` (events a second of event time) only spaces the times of the events."""

    events: int
    models: int = 1
    features: int = 10
    drift: DriftKind = DriftKind.NONE
    drift_from: int = 0  # first row that drifts
    size: float = 0.5
    rate: float = 500.0
    start_ms: int = 1_767_225_600_000  # 2026-01-01T00:00:00Z

    def __post_init__(self) -> None:
        """Refuse what the service would refuse too, before anything is sent."""
        if not 1 <= self.features <= FEATURES_MAX:
            raise OperatorError(f"--features {self.features}: 1 to {FEATURES_MAX}.")
        if not 1 <= self.models <= MODELS_PER_PARTITION_MAX:
            raise OperatorError(f"--models {self.models}: 1 to {MODELS_PER_PARTITION_MAX}.")
        if self.events < 0 or self.rate <= 0:
            raise OperatorError("--events must not be negative, --rate must be positive.")
        if self.drift is DriftKind.CATEGORIES and self.features < CATEGORICAL_EVERY:
            raise OperatorError(
                f"--drift categories needs a categorical feature: --features {CATEGORICAL_EVERY} or more."
            )


def model_name(index: int) -> str:
    """Id of the simulated model ``index``."""
    return f"sim-{index:03}"


def feature_names(features: int) -> tuple[str, ...]:
    """Names in column order: ``num_00``, ... with every fifth one ``cat_04``, ..."""
    return tuple(
        f"cat_{i:02}" if i % CATEGORICAL_EVERY == CATEGORICAL_EVERY - 1 else f"num_{i:02}"
        for i in range(features)
    )


def drift_row(text: str, rate: float) -> int:
    """``--drift-after``: events (``20000``) or seconds at the rate (``30s``).

    Raises:
        OperatorError: it is neither.
    """
    try:
        row = round(float(text[:-1]) * rate) if text.endswith("s") else int(text)
    except ValueError:
        row = -1
    if row < 0:
        raise OperatorError(f"--drift-after {text!r}: give events (20000) or seconds (30s).")
    return row


def generate(rng: np.random.Generator, plan: TrafficPlan) -> Iterator[list[bytes]]:
    """The events as JSON, in lists of BATCH_ROWS; row i belongs to model i modulo the number of models."""
    names = feature_names(plan.features)
    for first in range(0, plan.events, BATCH_ROWS):
        rows = min(BATCH_ROWS, plan.events - first)
        drifting = np.arange(first, first + BATCH_ROWS) >= plan.drift_from
        columns, scores = _draw(rng, plan, names, drifting)
        yield _encode(plan, names, first, rows, columns, scores)


def _draw(
    rng: np.random.Generator, plan: TrafficPlan, names: tuple[str, ...], drifting: npt.NDArray[np.bool_]
) -> tuple[list[list[str]], F64]:
    """One batch: JSON text of every cell by column, and the scores.

    Always BATCH_ROWS, so that a seed means one sequence whatever ``events`` is.
    """
    n = BATCH_ROWS
    columns: list[list[str]] = []
    logit = np.zeros(n)
    categorical_seen = False
    for i, name in enumerate(names):
        if name.startswith("cat"):
            columns.append(
                _categories(rng, drifting & (plan.drift is DriftKind.CATEGORIES and not categorical_seen))
            )
            categorical_seen = True
            continue
        z, hole = rng.standard_normal(n), rng.random(n)
        limit = np.full(n, MISSING_STEADY if i == 1 else 0.0)
        if i == 0 and plan.drift is DriftKind.LOCATION:
            z = np.where(drifting, z + plan.size, z)
        elif i == 0 and plan.drift is DriftKind.SPREAD:
            z = np.where(drifting, z * (1.0 + plan.size), z)
        elif i == 0 and plan.drift is DriftKind.MISSING:
            limit = np.where(drifting, MISSING_DRIFT, limit)
        logit += z / (1.0 + i)
        columns.append(_numbers(_scale(z, i), hole < limit))
    return columns, np.asarray(1.0 / (1.0 + np.exp(-np.clip(logit, -30.0, 30.0))))


def _scale(z: F64, i: int) -> F64:
    """Normal, skewed, counted and bounded features in turn, all increasing functions of a normal value."""
    kind = i % 4
    if kind == 0:
        return np.asarray(np.round(50.0 + 10.0 * z, DECIMALS))
    if kind == 1:
        return np.asarray(np.round(np.exp(7.0 + 0.6 * z), 2))
    if kind == 2:
        return np.asarray(np.floor(np.maximum(3.0 + 2.0 * z, 0.0)))
    return np.asarray(np.round(1.0 / (1.0 + np.exp(-z)), DECIMALS))


def _numbers(values: F64, missing: npt.NDArray[np.bool_]) -> list[str]:
    return ["null" if gone else repr(v) for v, gone in zip(values.tolist(), missing.tolist(), strict=True)]


def _categories(rng: np.random.Generator, drifting: npt.NDArray[np.bool_]) -> list[str]:
    """Drift turns the order of the shares round in a third of the events."""
    steady = rng.choice(len(CATEGORIES), size=len(drifting), p=CATEGORY_SHARES)
    turned = rng.random(len(drifting)) < 1.0 / 3.0
    codes = np.where(drifting & turned, len(CATEGORIES) - 1 - steady, steady)
    return [f'"{CATEGORIES[code]}"' for code in codes.tolist()]


def _encode(
    plan: TrafficPlan, names: tuple[str, ...], first: int, rows: int, columns: list[list[str]], scores: F64
) -> list[bytes]:
    cells = ",".join(f'"{name}":%s' for name in names)
    template = (
        '{"id":"s-%d","model":"%s","model_version":"1","time":"%s","features":{'
        + cells
        + '},"prediction":{"score":%s,"class":"%s"}}'
    )
    events = []
    for k, (score, *values) in enumerate(zip(np.round(scores, DECIMALS).tolist(), *columns, strict=True)):
        if k == rows:
            break
        i = first + k
        at = datetime.fromtimestamp((plan.start_ms + i * 1000.0 / plan.rate) / 1000.0, UTC)
        time = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        fixed = (i, model_name(i % plan.models), time)
        events.append((template % (*fixed, *values, repr(score), "yes" if score >= 0.5 else "no")).encode())
    return events
