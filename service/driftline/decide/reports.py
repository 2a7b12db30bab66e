"""The reports of full windows: of every signal, and of the labelled events (performance).

Owns the objects of ``schemas/report.v1.json`` and ``schemas/performance-report.v1.json``; both go to the
reports topic and ``kind`` tells them apart. Small on purpose: a row a signal with its cells (deciles of the
reference, or categories), about 400 bytes; about 500 bytes for a window of performance.
"""

from __future__ import annotations

import math
import uuid
from itertools import pairwise
from typing import Any, Final

import numpy as np

from driftline.decide import texts
from driftline.decide.outputs import LabelView, Report
from driftline.detect.actor import Actor, Detection
from driftline.detect.bins import COARSE
from driftline.detect.kernels.windows import FINE
from driftline.detect.performance import ClosedWindow
from driftline.detect.windows import Judgement, named
from driftline.records import F64, I64

NAMESPACE: Final = uuid.UUID("b5b3a1c7-2d0f-5c4e-8b0a-7f5f8e6d9c21")  # ours, fixed for ever: ids depend on it
PAIRS_MAX: Final = 100  # of predicted and true class in a report: all of ten classes, 3 KB at the most


def window_report(topic_id: str, actor: Actor, d: Detection, verdict: Judgement, *, end_ms: int) -> Report:
    """The report of the window that is full now.

    How many rows the actor has seen names the window for ever; ``end_ms`` is the event time of its last row.
    """
    model = actor.model
    window, reference_id = d.window, d.layout.reference_id
    ident = str(uuid.uuid5(NAMESPACE, "\x1f".join((topic_id, model, reference_id, str(actor.rows)))))
    data: dict[str, Any] = {
        "id": ident,
        "kind": "signals",
        "time": texts.rfc3339(end_ms),
        "model": model,
        "model_version": actor.version,
        "reference": reference_id,
        "window": {
            "number": window.number,
            "rows": window.rows,
            "from": texts.rfc3339(min(window.first_time, end_ms)),
            "to": texts.rfc3339(end_ms),
        },
        "signals": [_signal(d, s, verdict) for s in range(len(d.layout.signals))],
    }
    if window.time.length_ms:
        data["window"]["late"] = window.time.late
    return Report(ident, end_ms, model, data)


def performance_report(
    topic_id: str, model: str, closed: ClosedWindow, seen: LabelView, *, predictions: int, covered: int
) -> Report:
    """The report of a complete window of labelled events.

    ``seen``, ``predictions`` and ``covered`` (those with a label) are the join's at the end of the envelope
    that completed the window: totals since the model's first event.
    """
    window = closed.result
    name = (topic_id, model, "performance", str(window.number), str(window.last_time))
    ident = str(uuid.uuid5(NAMESPACE, "\x1f".join(name)))
    pairs = [list(pair) for pair in closed.confusion]
    data: dict[str, Any] = {
        "id": ident,
        "kind": "performance",
        "time": texts.rfc3339(window.last_time),
        "model": model,
        "task": closed.task,
        "window": {
            "number": window.number,
            "rows": window.rows,
            "from": texts.rfc3339(window.first_time),
            "to": texts.rfc3339(window.last_time),
        },
        "statistics": {name: _short(value) for name, value in window.values.items()},
        "confusion": pairs[:PAIRS_MAX],
        "confusion_left_out": sum(pair[2] for pair in closed.confusion[PAIRS_MAX:]),
        "labels": {
            "predictions": predictions,
            "covered": covered,
            "pending": seen.pending,
            "coverage": _short(seen.coverage),
            "delay_seconds": {f"p{round(share * 100)}": _short(value) for share, value in seen.delays},
        },
        "open": seen.severity is not None,
    }
    return Report(ident, window.last_time, model, data)


def _signal(d: Detection, s: int, verdict: Judgement) -> dict[str, Any]:
    signal, window = d.layout.signals[s], d.window
    return {
        "signal": signal.signal,
        "missing": int(window.missing[s]) / window.rows,
        "statistics": {
            **{k: _short(v) for k, v in named(window.last[s]).items()},
            "chi_squared_p": _short(verdict.chi2_p[s]),
            "ks_p": _short(verdict.ks_p[s]),
            "shape": _short(verdict.statistic[s]),
            "shape_level": _short(verdict.level[s]),
        },
        "open": bool(window.open[s]),
        "cells": cells(d, s),
    }


def cells(d: Detection, s: int) -> list[list[Any]]:
    """Cells of a signal's window: what is in them, rows of the window, rows of the reference."""
    bins, start, end = d.layout.bins, int(d.layout.bins.start[s]), int(d.layout.bins.start[s + 1])
    if start == end:
        return []
    now, was = d.window.counts[start:end], bins.counts[start:end]
    names, groups = _cells(d, s, end - start)
    size = len(names)
    return [
        [name, int(n), int(r)]
        for name, n, r in zip(
            names,
            np.bincount(groups, weights=now, minlength=size),
            np.bincount(groups, weights=was, minlength=size),
            strict=True,
        )
    ]


def _cells(d: Detection, s: int, size: int) -> tuple[list[Any], I64]:
    """Names of the cells of a signal, and the cell of each bin."""
    signal, edges = d.layout.signals[s], d.layout.bins.edges[s]
    if signal.categorical is not None:
        return [*signal.categorical.categories[: size - 1], None], np.arange(size)
    deciles: F64 = np.zeros(0) if edges is None else edges[:: FINE // COARSE]
    names: list[Any] = [[_short(a), _short(b)] for a, b in pairwise(deciles)]
    if size > FINE:
        names.append(signal.numeric.atom if signal.numeric is not None else None)
    return names, np.minimum(np.arange(size), FINE) // (FINE // COARSE)


def _short(value: Any) -> float | None:
    """Six significant digits: what a report is read for, and half of the bytes."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
