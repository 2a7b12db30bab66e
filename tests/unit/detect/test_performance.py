"""Statistics of labelled events: those of scikit-learn on the same rows, whatever the cuts."""

from __future__ import annotations

import math
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from sklearn import metrics

from driftline.detect.labels import NAMED, Matches, Names
from driftline.detect.performance import Performance, Rules, Task, WindowResult
from driftline.records import F64

HOUR = 3_600_000


def matches(value: Any, names: Names, score: Any = None, klass: Any = None, times: Any = None) -> Matches:
    """Matches of labels (numbers or names) with scores or classes."""
    n = len(value)
    named = isinstance(value[0], str)
    codes = [names.code(v) for v in value] if named else value
    return Matches(
        np.arange(n) * 1_000 if times is None else np.asarray(times, np.int64),
        np.full(n, np.nan) if score is None else np.asarray(score, np.float64),
        np.full(n, -1, np.int32) if klass is None else np.array([names.code(k) for k in klass], np.int32),
        np.asarray(codes, np.float64),
        np.full(n, NAMED if named else 0, np.int32),
        np.arange(n),
    )


def note(performance: Performance, windows: list[WindowResult]) -> None:
    """Keep the last window, if it is another than the one kept last."""
    if performance.last is not None and performance.last.number > len(windows):
        windows.append(performance.last)


def fed(
    found: Matches, names: Names, rules: Rules, cuts: set[int] | None = None
) -> tuple[Performance, list[WindowResult]]:
    """All matches, cut at some places; and every window that was complete."""
    performance, windows = Performance(rules), list[WindowResult]()
    at = 0
    for end in sorted({*(cuts or set()), len(found)}):
        part = Matches(*(getattr(found, f)[:end] for f in ("time", "score", "code", "value", "named", "row")))
        while at < end:
            at, _ = performance.add(part, at, names)
            note(performance, windows)  # a row may have ended a window by time, and the next ones filled one
            performance.settle(names)
            note(performance, windows)
    return performance, windows


def one_window(rows: int, **given_: Any) -> dict[str, float]:
    """Statistics of one window of all rows."""
    names = Names()
    rules = Rules(window_rows=rows, **{k: given_.pop(k) for k in ("task", "positive_class") if k in given_})
    _, windows = fed(matches(names=names, **given_), names, rules)
    assert [w.rows for w in windows] == [rows]
    return windows[0].values


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [1, 17])
def test_binary_scores_equal_scikit_learn(seed: int, decimals: int) -> None:
    """Accuracy to calibration error, with ties among the scores and without."""
    rng = np.random.default_rng(seed)
    y = (rng.random(1_000) < 0.3).astype(int)
    p = np.clip(rng.normal(0.3 + 0.3 * y, 0.25), 0, 1).round(decimals)
    got = one_window(1_000, value=y, score=p)
    said = (p >= 0.5).astype(int)
    want = {
        "accuracy": metrics.accuracy_score(y, said),
        "precision": metrics.precision_score(y, said),
        "recall": metrics.recall_score(y, said),
        "f1": metrics.f1_score(y, said),
        "auc": metrics.roc_auc_score(y, p),
        "log_loss": metrics.log_loss(y, p),
        "brier": metrics.brier_score_loss(y, p),
        "calibration_error": calibration_error(y, p),
    }
    assert got == pytest.approx(want, rel=1e-12)


def calibration_error(y: Any, p: F64) -> float:
    """By its definition: scikit-learn has none."""
    bins = np.minimum((p * 10).astype(int), 9)
    gaps = [
        abs(p[bins == k].mean() - y[bins == k].mean()) * (bins == k).mean()
        for k in range(10)
        if (bins == k).any()
    ]
    return float(sum(gaps))


@pytest.mark.parametrize("positive", ["fraud", "fine"])
def test_binary_classes_equal_scikit_learn(positive: str) -> None:
    """By class, with the positive one as configured."""
    rng = np.random.default_rng(1)
    y = rng.choice(["fine", "fraud"], 500, p=[0.9, 0.1])
    said = np.where(rng.random(500) < 0.8, y, "fraud")
    got = one_window(500, value=y.tolist(), klass=said.tolist(), positive_class=positive)
    want = {
        "accuracy": metrics.accuracy_score(y, said),
        "precision": metrics.precision_score(y, said, pos_label=positive),
        "recall": metrics.recall_score(y, said, pos_label=positive),
        "f1": metrics.f1_score(y, said, pos_label=positive),
    }
    assert got == pytest.approx(want, rel=1e-12)


def test_multiclass_equals_scikit_learn() -> None:
    """Means over the classes that occur; a class never predicted has precision 0."""
    rng = np.random.default_rng(2)
    y = rng.choice(list("abcd"), 700)
    said = np.where(rng.random(700) < 0.7, y, "a")
    got = one_window(700, value=y.tolist(), klass=said.tolist())
    want = {
        "accuracy": metrics.accuracy_score(y, said),
        "precision": metrics.precision_score(y, said, average="macro", zero_division=0),
        "recall": metrics.recall_score(y, said, average="macro"),
        "f1": metrics.f1_score(y, said, average="macro"),
    }
    assert got == pytest.approx(want, rel=1e-12)


def test_regression_equals_scikit_learn() -> None:
    """MAE, RMSE, bias and R2."""
    rng = np.random.default_rng(3)
    y = rng.normal(10, 3, 900)
    p = y + rng.normal(0.5, 1, 900)
    got = one_window(900, value=y, score=p)
    want = {
        "mae": metrics.mean_absolute_error(y, p),
        "rmse": metrics.root_mean_squared_error(y, p),
        "bias": float(np.mean(p - y)),
        "r2": metrics.r2_score(y, p),
    }
    assert got == pytest.approx(want, rel=1e-10)


def test_statistics_without_meaning_are_not_there() -> None:
    """No AUC of one class, no log loss of scores that are no probabilities, no R2 of a constant."""
    rng = np.random.default_rng(4)
    assert "auc" not in one_window(200, value=np.ones(200), score=rng.random(200))
    margins = one_window(200, value=np.arange(200) % 2, score=rng.normal(0, 3, 200))
    assert "auc" in margins
    assert not {"log_loss", "brier", "calibration_error"} & set(margins)
    assert "r2" not in one_window(200, value=np.full(200, 7.5), score=rng.random(200))
    assert one_window(200, value=np.ones(200)) == {}  # labels without any prediction


@pytest.mark.parametrize(
    ("given_", "task"),
    [
        ({"value": ["a", "b"] * 60, "klass": ["a", "b"] * 60}, "binary"),
        ({"value": ["a", "b", "c"] * 40, "klass": ["a"] * 120}, "multiclass"),
        ({"value": [0.0, 1.0] * 60, "score": [0.5] * 120}, "binary"),
        ({"value": [0.0, 1.0] * 60, "klass": ["0", "1"] * 60}, "binary"),
        ({"value": [1.5, 2.5] * 60, "score": [0.5] * 120}, "regression"),
        ({"value": ["true", "false"] * 60, "score": [0.5] * 120}, "binary"),
    ],
)
def test_the_task_is_seen(given_: dict[str, Any], task: Task) -> None:
    """From the first hundred labelled events."""
    names = Names()
    performance, _ = fed(matches(names=names, **given_), names, Rules())
    assert performance.task == task
    if task == "binary":
        assert names.name(performance.positive) in {"b", "1", "true"}


def test_confusion_counts_are_of_all_rows() -> None:
    """Those before the task was known included."""
    names = Names()
    value, klass = ["a", "b", "b"] * 500, ["a", "b", "a"] * 500
    performance, _ = fed(matches(value, names, klass=klass), names, Rules(window_rows=300))
    assert performance.totals(names) == {("a", "a"): 500, ("b", "b"): 500, ("a", "b"): 500}
    assert performance.rows == 1_500


@given(st.sets(st.integers(1, 2_999), max_size=8), st.integers(0, 3), st.booleans())
def test_cuts_change_nothing(cuts: set[int], seed: int, numbers: bool) -> None:
    """The same windows, counts, reference rows and task to the last bit, however the matches were cut."""
    rng = np.random.default_rng(seed)
    y = rng.normal(0, 1, 3_000) if numbers else (rng.random(3_000) < 0.4).astype(float)
    p, times = rng.random(3_000), np.sort(rng.integers(0, 40 * HOUR, 3_000))
    results = []
    for some in (set(), cuts):
        names = Names()
        rules = Rules(window_rows=400, window_ms=5 * HOUR, reference_rows=100_000)
        performance, windows = fed(matches(y, names, score=p, times=times), names, rules, some)
        state = (performance.task, performance.filled, performance.confusion.tolist(), names.names)
        results.append((windows, state, np.concatenate(performance.errors).tolist(), performance.error_times))
    assert results[0] == results[1]
    assert len(results[0][0]) >= 7


def test_windows_by_time() -> None:
    """One ends with its stretch of time, or when it is full."""
    names = Names()
    times = np.concatenate([np.arange(150) * 10_000, HOUR + np.arange(450) * 1_000, [3 * HOUR]])
    _, windows = fed(
        matches([0.0, 1.0] * 300 + [0.0], names, score=[0.4] * 601, times=times),
        names,
        Rules(window_rows=400, window_ms=HOUR),
    )
    assert [w.rows for w in windows] == [150, 400, 50]
    assert windows[0].last_time < HOUR <= windows[1].first_time


def test_the_reference_is_the_first_errors() -> None:
    """In order, 0 and 1 for classes, ranks of absolute errors for numbers."""
    names = Names()
    performance, _ = fed(
        matches(["a"] * 1_000, names, klass=["a", "b", "a", "a"] * 250), names, Rules(reference_rows=1_000)
    )
    assert performance.reference_due()
    assert performance.freeze().channel.mean == 0.25
    names = Names()
    rng = np.random.default_rng(5)
    y = rng.normal(0, 1, 1_000)
    performance, _ = fed(
        matches(y, names, score=y + rng.normal(0, 2, 1_000)), names, Rules(reference_rows=1_000)
    )
    reference = performance.freeze()
    assert reference.numeric is not None
    assert math.isclose(reference.channel.mean, 0.5, abs_tol=0.01)
