"""The model being watched: a logistic regression that predicts late arrivals at departure.

Small on purpose: the demo is about watching a model, not about having a good one. Fitted by Newton's method
on all rows at once, so that it depends on the rows only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from driftline.demo.flights import CATEGORICAL, NUMERIC, FlightTable
from driftline.records import F64

RIDGE: Final = 1.0  # keeps the weights of rare destinations finite
STEPS_MAX: Final = 25  # Newton doubles the digits a step: 6-8 are needed
STEP_TOLERANCE: Final = 1e-9
SCORE_DECIMALS: Final = 4  # last bits differ between linear algebra libraries; events must not
LIMIT_SD: Final = 5.0  # a standardised input is cut here, so that one broken value cannot decide alone


@dataclass(frozen=True, slots=True)
class DelayModel:
    """Weights and what is needed to make the inputs; ``threshold`` turns a score into a class."""

    means: dict[str, float]
    scales: dict[str, float]
    categories: dict[str, tuple[str, ...]]
    weights: F64  # (inputs,)
    threshold: float

    def scores(self, table: FlightTable) -> F64:
        """Probability of a late arrival of each row, shape (n,), rounded to SCORE_DECIMALS."""
        logits = _inputs(table, self.means, self.scales, self.categories) @ self.weights
        return np.asarray(np.round(_sigmoid(logits), SCORE_DECIMALS))


def train(table: FlightTable) -> DelayModel:
    """Fit on the rows whose arrival is known.

    The threshold makes as many rows late by the model as are late in truth.

    Raises:
        ValueError: no row, or only one outcome.
    """
    known = table.take(np.isfinite(table.arrival_delay))
    late = known.late().astype(np.float64)
    if len(known) == 0 or not 0.0 < late.mean() < 1.0:
        raise ValueError("training needs flights with both outcomes")
    means = {name: float(np.nanmean(known.numeric[name])) for name in NUMERIC}
    scales = {name: float(np.nanstd(known.numeric[name])) or 1.0 for name in NUMERIC}
    categories = {name: tuple(sorted(set(known.categorical[name].tolist()))) for name in CATEGORICAL}
    x = _inputs(known, means, scales, categories)
    weights = np.zeros(x.shape[1])
    for _ in range(STEPS_MAX):
        p = _sigmoid(x @ weights)
        gradient = x.T @ (late - p) - RIDGE * weights
        curvature = (x * (p * (1.0 - p))[:, None]).T @ x + RIDGE * np.eye(len(weights))
        step = np.linalg.solve(curvature, gradient)
        weights += step
        if float(np.abs(step).max()) < STEP_TOLERANCE:
            break
    threshold = float(np.round(np.quantile(_sigmoid(x @ weights), 1.0 - late.mean()), SCORE_DECIMALS))
    return DelayModel(means, scales, categories, weights, threshold)


def _inputs(
    table: FlightTable,
    means: dict[str, float],
    scales: dict[str, float],
    categories: dict[str, tuple[str, ...]],
) -> F64:
    """The design matrix (n, inputs): constant, standardised numbers (0: unknown), one column a category."""
    n = len(table)
    parts = [np.ones((n, 1))]
    for name in NUMERIC:
        z = np.clip((table.numeric[name] - means[name]) / scales[name], -LIMIT_SD, LIMIT_SD)
        parts.append(np.nan_to_num(z, nan=0.0)[:, None])
    for name in CATEGORICAL:
        index = {value: i for i, value in enumerate(categories[name])}
        codes = np.array([index.get(value, -1) for value in table.categorical[name].tolist()], dtype=np.int64)
        part = np.zeros((n, len(index)))
        seen = codes >= 0
        part[np.flatnonzero(seen), codes[seen]] = 1.0
        parts.append(part)
    return np.concatenate(parts, axis=1)


def _sigmoid(x: F64) -> F64:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -35.0, 35.0))))
