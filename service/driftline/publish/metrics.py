"""The metrics of one process: cheap to write from the hot path, rendered elsewhere, bounded in size.

Values live in plain cells behind one lock (an ``add`` costs well under a microsecond); prometheus_client
formats them through a registry of our own, so that nothing global is touched. Labels come from closed sets
and from the models' views; the number of series has a hard cap (``series.choose_series``).
"""

from __future__ import annotations

import bisect
import itertools
import math
import platform
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

import driftline
from driftline.decide.outputs import ModelView
from driftline.detect.performance import STATISTICS
from driftline.detect.windows import NAMES
from driftline.errors import BugError
from driftline.publish.catalogue import (
    BY_NAME,
    CATALOGUE,
    DURATION_BUCKETS_SECONDS,
    CounterName,
    GaugeName,
    HistogramName,
    Metric,
    MetricName,
)
from driftline.publish.series import Choice, SignalKey, choose_series
from driftline.records import SEVERITIES

RENDER_SECONDS_MIN: Final = 1.0  # a scrape a second is plenty; more only takes time from the event loop
CHILDREN_MAX: Final = 2_048  # label sets of one metric: topics x partitions of a large deployment
OTHER: Final = "__other__"  # where counts go beyond CHILDREN_MAX; no topic may be called so
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MODEL_STATES: Final = ("queued", "learning", "warming", "active")

# Metric of a statistic of the last full window, by its place in ``SignalView.window``.
WINDOW_METRICS: Final[dict[str, int]] = {
    f"driftline_{name}": at
    for at, name in enumerate(NAMES)
    if name not in {"rows", "g", "degrees_of_freedom"}
}

LabelValues = tuple[str, ...]


class _Cell:
    """The value of one series; ``buckets`` only of a histogram (one more than the bounds, not cumulative)."""

    __slots__ = ("buckets", "value")

    def __init__(self, histogram: bool = False) -> None:
        self.value = 0.0  # of a histogram: the sum
        self.buckets = [0] * (len(DURATION_BUCKETS_SECONDS) + 1) if histogram else []


class Metrics:
    """All metrics of a process. Thread-safe; make one in the composition root and pass it on."""

    def __init__(
        self,
        *,
        series_max: int = 5_000,
        signals_per_model_max: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._series_max = series_max
        self._signals_per_model_max = signals_per_model_max
        self._clock = clock
        self._lock = threading.Lock()
        self._render_lock = threading.Lock()
        self._cells: dict[MetricName, dict[LabelValues, _Cell]] = {m.name: {} for m in CATALOGUE}
        # Call sites repeat the same few label sets: this finds the cell without sorting or checking labels.
        self._cache: dict[tuple[object, ...], _Cell] = {}
        self._overflow: set[tuple[MetricName, LabelValues]] = set()
        self._views: dict[int, dict[str, ModelView]] = {}
        self._admitted: dict[SignalKey, float] = {}
        self._rendered = b""
        self._rendered_at = -math.inf
        self._scrape_seconds = 0.0
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_Exposition(self))
        ProcessCollector(registry=self.registry)  # process_*: memory, CPU, file descriptors
        self.set("driftline_build_info", 1.0, version=driftline.__version__, python=platform.python_version())
        self.set("driftline_ready", 0.0)

    def add(self, name: CounterName, amount: float = 1.0, **labels: str | int) -> None:
        """Add to a counter. Raises BugError for unknown labels or a negative amount."""
        cell = self._cache.get((name, *labels, *labels.values())) or self._cell(name, labels)
        if amount < 0.0:
            raise BugError(f"metric {name}: a counter cannot fall by {amount}")
        with self._lock:
            cell.value += amount

    def set(self, name: GaugeName, value: float, **labels: str | int) -> None:
        """Set a gauge. Raises BugError for unknown labels."""
        cell = self._cache.get((name, *labels, *labels.values())) or self._cell(name, labels)
        cell.value = value

    def observe(self, name: HistogramName, value: float, **labels: str | int) -> None:
        """Count an observation, in the metric's unit. Raises BugError for unknown labels."""
        cell = self._cache.get((name, *labels, *labels.values())) or self._cell(name, labels)
        at = bisect.bisect_left(DURATION_BUCKETS_SECONDS, value)
        with self._lock:
            cell.value += value
            cell.buckets[at] += 1

    def update_models(self, partition: int, views: Sequence[ModelView], gone: Sequence[str] = ()) -> None:
        """Take over the views of the models that changed since the last checkpoint of a mailbox partition."""
        with self._lock:
            known = self._views.setdefault(partition, {})
            for view in views:
                known[view.model] = view
            for model in gone:
                known.pop(model, None)

    def forget_partition(self, partition: int) -> None:
        """Another worker owns the mailbox partition now: drop its models and its gauges."""
        with self._lock:
            self._views.pop(partition, None)
        self._forget({"partition": str(partition)}, without="topic")

    def forget_source(self, topic: str, partition: int) -> None:
        """Another worker reads the raw partition now: drop its gauges."""
        self._forget({"topic": topic, "partition": str(partition)})

    def render(self) -> bytes:
        """The page in Prometheus' text format; at most ``RENDER_SECONDS_MIN`` old."""
        with self._render_lock:
            if self._clock() - self._rendered_at < RENDER_SECONDS_MIN:
                return self._rendered
            start = time.perf_counter()
            self._rendered = generate_latest(self.registry)
            self._scrape_seconds = time.perf_counter() - start
            self._rendered_at = self._clock()
            return self._rendered

    # --- cells ------------------------------------------------------------------------------------------
    def _cell(self, name: CounterName | GaugeName | HistogramName, labels: dict[str, str | int]) -> _Cell:
        """The slow way: check the labels, find or make the cell, remember the spelling of this call site."""
        metric = BY_NAME[name]
        if set(labels) != set(metric.labels):
            raise BugError(f"metric {name} has the labels {metric.labels}, not {tuple(labels)}")
        values = tuple(str(labels[label]) for label in metric.labels)
        with self._lock:
            cells = self._cells[name]
            cell = cells.get(values)
            if cell is None and len(cells) >= CHILDREN_MAX:
                if len(self._overflow) < CHILDREN_MAX:
                    self._overflow.add((name, values))
                if metric.kind == "gauge":
                    return _Cell()  # the last of several values means nothing: show none
                values = (OTHER,) * len(values)
                return cells.setdefault(values, _Cell(metric.kind == "histogram"))
            if cell is None:
                cell = cells[values] = _Cell(metric.kind == "histogram")
            self._cache[(name, *labels, *labels.values())] = cell
        return cell

    def _forget(self, labels: dict[str, str], without: str | None = None) -> None:
        with self._lock:
            for metric in CATALOGUE:
                if (
                    metric.kind != "gauge"
                    or not set(labels) <= set(metric.labels)
                    or without in metric.labels
                ):
                    continue
                cells = self._cells[metric.name]
                for values in list(cells):
                    named = dict(zip(metric.labels, values, strict=True))
                    if labels.items() <= named.items():
                        del cells[values]
            self._cache.clear()

    # --- exposition -------------------------------------------------------------------------------------
    def _choose(self) -> tuple[list[ModelView], Choice]:
        with self._lock:
            views = [view for models in self._views.values() for view in models.values()]
        choice = choose_series(
            views,
            self._admitted,
            self._clock(),
            series_max=self._series_max,
            signals_per_model_max=self._signals_per_model_max,
        )
        self._admitted = dict(choice.admitted)
        return views, choice

    def _snapshot(self, name: MetricName) -> list[tuple[LabelValues, float, list[int]]]:
        with self._lock:
            return [(values, cell.value, list(cell.buckets)) for values, cell in self._cells[name].items()]

    def families(self) -> Iterator[Family]:
        """Every family with its samples, in the order of the catalogue. Called by the registry."""
        views, choice = self._choose()
        derived = _derived(views, choice)
        derived["driftline_series_dropped"] = [((), float(choice.dropped + len(self._overflow)))]
        derived["driftline_scrape_duration_seconds"] = [((), self._scrape_seconds)]
        for metric in CATALOGUE:
            family = _family(metric)
            if isinstance(family, HistogramMetricFamily):
                for values, total, buckets in self._snapshot(metric.name):
                    bounds = [*map(str, DURATION_BUCKETS_SECONDS), "+Inf"]
                    cumulative = itertools.accumulate(buckets)
                    family.add_metric(values, list(zip(bounds, map(float, cumulative), strict=True)), total)
            elif metric.name in derived:
                for values, value in derived[metric.name]:
                    family.add_metric(values, value)
            else:
                for values, value, _ in self._snapshot(metric.name):
                    family.add_metric(values, value)
            yield family


class _Exposition(Collector):
    """The door through which the registry reads ``Metrics``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Family]:
        return self._metrics.families()


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    if metric.kind == "counter":
        return CounterMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    if metric.kind == "histogram":
        return HistogramMetricFamily(metric.name, metric.meaning, labels=metric.labels)
    return GaugeMetricFamily(metric.name, metric.meaning, labels=metric.labels)


def _derived(views: Sequence[ModelView], choice: Choice) -> dict[str, list[tuple[LabelValues, float]]]:
    """Samples from the models' views: totals over all of them, then what the choice admits."""
    firing: dict[str, int] = dict.fromkeys(SEVERITIES, 0)
    states = dict.fromkeys(MODEL_STATES, 0)
    for view in views:
        states[view.state] = states.get(view.state, 0) + 1
        for signal in view.signals:
            if signal.severity is not None:
                firing[signal.severity] = firing.get(signal.severity, 0) + 1
    models = choice.models
    windows: dict[str, list[tuple[LabelValues, float]]] = {
        name: [
            ((m, s.name), s.window[at]) for m, s in choice.signals if s.window and math.isfinite(s.window[at])
        ]
        for name, at in WINDOW_METRICS.items()
    }
    return (
        windows
        | _labelled(choice)
        | _kpis(choice)
        | {
            "driftline_plugin_alarms_total": [((v.model,), float(v.plugin_alarms)) for v in models],
            "driftline_model_version_changes_total": [((v.model,), float(v.version_changes)) for v in models],
            "driftline_actions_total": [((v.model,), float(v.actions)) for v in models],
            "driftline_later_features": [((v.model,), float(v.later_features)) for v in models],
            "driftline_signals_firing": [((s,), float(n)) for s, n in firing.items()],
            "driftline_models": [((s,), float(n)) for s, n in states.items()],
            "driftline_alert_active": [(key, 1.0) for key in choice.firing],
            "driftline_model_state": [((v.model, v.state), 1.0) for v in models],
            "driftline_last_event_timestamp_seconds": [
                ((v.model,), v.last_event_ms / 1000.0) for v in models if v.last_event_ms >= 0
            ],
            "driftline_model_rows_total": [((v.model,), float(v.rows)) for v in models],
            "driftline_episodes_opened_total": [((v.model,), float(v.episodes_opened)) for v in models],
            "driftline_episodes_resolved_total": [((v.model,), float(v.episodes_resolved)) for v in models],
            "driftline_suspicions_dismissed_total": [((v.model,), float(v.dismissed)) for v in models],
            "driftline_type_mismatches_total": [((v.model,), float(v.mismatches)) for v in models],
            "driftline_signal_shift_sd": [
                ((m, s.name), s.shift) for m, s in choice.signals if not math.isnan(s.shift)
            ],
            "driftline_signal_missing_ratio": [
                ((m, s.name), s.missing_ratio) for m, s in choice.signals if not math.isnan(s.missing_ratio)
            ],
        }
    )


def _kpis(choice: Choice) -> dict[str, list[tuple[LabelValues, float]]]:
    """Samples of the KPIs that owners defined."""
    shown = [(v.model, kpi) for v in choice.agreed for kpi in v.kpis]
    bounds = [((m, k.name, "min"), k.min) for m, k in shown] + [((m, k.name, "max"), k.max) for m, k in shown]
    return {
        "driftline_kpi_value": [((m, k.name), k.value) for m, k in shown if not math.isnan(k.value)],
        "driftline_kpi_bound": [(labels, bound) for labels, bound in bounds if bound is not None],
        "driftline_kpi_breached": [((m, k.name, k.severity), float(k.breached)) for m, k in shown],
    }


def _labelled(choice: Choice) -> dict[str, list[tuple[LabelValues, float]]]:
    """Samples of labels and performance, of the models that have them."""
    shown = [(v.model, v.labels) for v in choice.labelled if v.labels is not None]
    found: dict[str, list[tuple[LabelValues, float]]] = {
        f"driftline_performance_{name}": [
            ((m,), v.statistics[name]) for m, v in shown if name in v.statistics
        ]
        for name in STATISTICS
    }
    return found | {
        "driftline_labels_joined_total": [((m,), float(v.matched)) for m, v in shown],
        "driftline_labels_orphaned_total": [((m,), float(v.orphans)) for m, v in shown],
        "driftline_labels_duplicate_total": [((m,), float(v.duplicates)) for m, v in shown],
        "driftline_labels_conflicting_total": [((m,), float(v.conflicts)) for m, v in shown],
        "driftline_predictions_expired_total": [((m,), float(v.expired)) for m, v in shown],
        "driftline_predictions_without_id_total": [((m,), float(v.no_id)) for m, v in shown],
        "driftline_predictions_pending": [((m,), float(v.pending)) for m, v in shown],
        "driftline_label_coverage_ratio": [
            ((m,), v.coverage) for m, v in shown if not math.isnan(v.coverage)
        ],
        "driftline_label_delay_seconds": [
            ((m, f"{share:g}"), seconds)
            for m, v in shown
            for share, seconds in v.delays
            if not math.isnan(seconds)
        ],
        "driftline_performance_window_end_timestamp_seconds": [
            ((m,), v.window_end_ms / 1000.0) for m, v in shown if v.window_end_ms >= 0
        ],
    }
