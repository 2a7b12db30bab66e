"""The metrics page: closed catalogue, hostile labels, the cap, cost, and what is forgotten."""

import json
import math
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from driftline.decide.outputs import LabelView, ModelView, SignalView
from driftline.errors import BugError
from driftline.publish import catalogue
from driftline.publish.metrics import CHILDREN_MAX, Metrics
from driftline.publish.series import SERIES_PER_LABELLED, SERIES_PER_MODEL, choose_series

ROOT = Path(__file__).parents[3]
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def samples(metrics: Metrics) -> Samples:
    """The page as Prometheus reads it; no series may be there twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, key
            found[key] = sample.value
    return found


def model(name: str, *signals: SignalView, state: str = "active") -> ModelView:
    """A model's view."""
    return ModelView(name, state, 10, 2_500, 4, 3, 2, 1, signals)


# --- the catalogue ------------------------------------------------------------------------------------------


def test_catalogue_and_types_name_the_same_metrics() -> None:
    """The types know exactly the names of the catalogue, each with the verb of its kind."""
    kinds = {
        "counter": get_args(catalogue.CounterName),
        "gauge": get_args(catalogue.GaugeName),
        "histogram": get_args(catalogue.HistogramName),
    }
    derived = get_args(catalogue.DerivedName)
    names = [metric.name for metric in catalogue.CATALOGUE]
    assert sorted(names) == sorted([*derived, *(name for some in kinds.values() for name in some)])
    assert len(set(names)) == len(names)
    for kind, some in kinds.items():
        assert {catalogue.BY_NAME[name].kind for name in some} == {kind}


@pytest.mark.parametrize("metric", catalogue.CATALOGUE, ids=lambda metric: metric.name)
def test_names_follow_the_conventions(metric: catalogue.Metric) -> None:
    """One prefix, _total on counters and only there, no milliseconds, a meaning and a remedy."""
    assert metric.name.startswith("driftline_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert not any(unit in metric.name for unit in ("_ms", "millis", "percent"))
    assert len(metric.meaning) > 20
    assert len(metric.remedy) > 20
    assert len(set(metric.labels)) == len(metric.labels)


def test_docs_are_generated_from_the_catalogue() -> None:
    """Run ``python -m driftline.publish.catalogue > docs/metrics.md`` after a change."""
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == catalogue.markdown()


def test_module_prints_the_page() -> None:
    """The documented command works."""
    run = subprocess.run(
        [sys.executable, "-m", "driftline.publish.catalogue"], capture_output=True, text=True, check=True
    )
    assert run.stdout == catalogue.markdown()


def test_every_metric_is_on_the_page() -> None:
    """Each family is announced with its help and type, even before its first sample."""
    page = Metrics().render().decode()
    for metric in catalogue.CATALOGUE:
        assert f"# TYPE {metric.name} {metric.kind}" in page


# --- writing ------------------------------------------------------------------------------------------------


def test_counters_gauges_and_histograms() -> None:
    """The three verbs, seen through Prometheus' parser; labels in any order, numbers as text."""
    metrics = Metrics()
    metrics.add("driftline_events_rejected_total", 2, topic="t", code="syntax")
    metrics.add("driftline_events_rejected_total", code="syntax", topic="t")
    metrics.set("driftline_mailbox_lag_records", 7, partition=3)
    metrics.set("driftline_mailbox_lag_records", 5, partition="3")
    for seconds in (0.001, 0.005, 0.3, 99.0):
        metrics.observe("driftline_flush_duration_seconds", seconds)
    found = samples(metrics)
    assert found["driftline_events_rejected_total", (("code", "syntax"), ("topic", "t"))] == 3
    assert found["driftline_mailbox_lag_records", (("partition", "3"),)] == 5
    bucket = "driftline_flush_duration_seconds_bucket"
    assert found[bucket, (("le", "0.005"),)] == 2  # a bound belongs to its bucket
    assert found[bucket, (("le", "0.5"),)] == 3
    assert found[bucket, (("le", "30.0"),)] == 3
    assert found[bucket, (("le", "+Inf"),)] == 4
    assert found["driftline_flush_duration_seconds_count", ()] == 4
    assert found["driftline_flush_duration_seconds_sum", ()] == pytest.approx(99.306)


def test_wrong_labels_are_our_bug() -> None:
    """Missing, unknown or too many labels stop us, not the scrape."""
    metrics = Metrics()
    for labels in ({}, {"topic": "t", "code": "c"}, {"model": "m"}):
        with pytest.raises(BugError, match="has the labels"):
            metrics.add("driftline_events_accepted_total", **labels)  # type: ignore[arg-type]
    with pytest.raises(BugError, match="cannot fall"):
        metrics.add("driftline_envelopes_sent_total", -1)


def test_threads_lose_no_count() -> None:
    """The ingest, detect and HTTP threads write at once."""
    metrics = Metrics()

    def work() -> None:
        for _ in range(5_000):
            metrics.add("driftline_envelopes_sent_total")
            metrics.observe("driftline_checkpoint_duration_seconds", 0.01)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = samples(metrics)
    assert found["driftline_envelopes_sent_total", ()] == 20_000
    assert found["driftline_checkpoint_duration_seconds_count", ()] == 20_000


def test_label_sets_of_a_counter_are_bounded() -> None:
    """A deployment with absurdly many topics keeps its sums and its memory."""
    metrics = Metrics()
    for i in range(CHILDREN_MAX + 10):
        metrics.add("driftline_events_accepted_total", topic=f"t{i}")
        metrics.set("driftline_recovery_bytes", i, partition=i)
    found = samples(metrics)
    accepted = {
        labels: value for (name, labels), value in found.items() if name == "driftline_events_accepted_total"
    }
    assert len(accepted) == CHILDREN_MAX + 1
    assert accepted[("topic", "__other__"),] == 10
    assert sum(accepted.values()) == CHILDREN_MAX + 10
    assert sum(name == "driftline_recovery_bytes" for name, _ in found) == CHILDREN_MAX
    assert found["driftline_series_dropped", ()] == 20


# --- models -------------------------------------------------------------------------------------------------


def test_views_become_series() -> None:
    """A model's view in the units of Prometheus; NaN is absent, not a number."""
    metrics = Metrics()
    metrics.update_models(
        0,
        [
            model(
                "m",
                SignalView(
                    "age", "feature", "warning", -0.4, 0.25, (8e3, 0.3, 0.2, *[math.nan] * 5, 9.0, 8.0)
                ),
                SignalView("x", "feature", None, math.nan, math.nan),
            )
        ],
    )
    found = samples(metrics)
    assert (
        found[
            "driftline_alert_active",
            (("model", "m"), ("severity", "warning"), ("signal", "age"), ("state", "firing")),
        ]
        == 1
    )
    assert found["driftline_signals_firing", (("severity", "warning"),)] == 1
    assert found["driftline_signals_firing", (("severity", "critical"),)] == 0
    assert found["driftline_models", (("state", "active"),)] == 1
    assert found["driftline_model_state", (("model", "m"), ("state", "active"))] == 1
    assert found["driftline_last_event_timestamp_seconds", (("model", "m"),)] == 2.5
    assert found["driftline_episodes_opened_total", (("model", "m"),)] == 4
    assert found["driftline_signal_shift_sd", (("model", "m"), ("signal", "age"))] == -0.4
    assert found["driftline_signal_missing_ratio", (("model", "m"), ("signal", "age"))] == 0.25
    assert ("driftline_signal_shift_sd", (("model", "m"), ("signal", "x"))) not in found
    assert found["driftline_psi", (("model", "m"), ("signal", "age"))] == 0.3
    assert found["driftline_jensen_shannon_distance", (("model", "m"), ("signal", "age"))] == 0.2
    assert ("driftline_ks_distance", (("model", "m"), ("signal", "age"))) not in found
    assert found["driftline_later_features", (("model", "m"),)] == 0


@pytest.mark.parametrize(
    "name", ["a\nb", 'a"b', "a\\b", "a{b}", 'x",signal="y', "a\\", "\\n", "größe", "# HELP x", "a} 1\nevil 2"]
)
def test_hostile_signal_names_stay_one_label_value(name: str) -> None:
    """Whatever a feature is called, the page parses and the name comes back unchanged."""
    metrics = Metrics()
    metrics.update_models(0, [model("m", SignalView(name, "feature", "critical", 1.0, 0.0))])
    found = samples(metrics)
    assert (
        found[
            "driftline_alert_active",
            (("model", "m"), ("severity", "critical"), ("signal", name), ("state", "firing")),
        ]
        == 1
    )
    assert not any(series == "evil" for series, _ in found)


def test_what_is_muted_has_a_state_of_its_own() -> None:
    """One series, that a rule on ``state="firing"`` does not see; it still counts as open."""
    metrics = Metrics()
    muted = SignalView("age", "feature", "warning", 1.0, 0.0, standing="muted")
    metrics.update_models(0, [model("m", muted)])
    found = samples(metrics)
    states = [dict(labels)["state"] for name, labels in found if name == "driftline_alert_active"]
    assert states == ["muted"]
    assert found["driftline_signals_firing", (("severity", "warning"),)] == 1


def test_updates_replace_and_gone_models_go() -> None:
    """A checkpoint brings only what changed; resolved episodes and retired models disappear."""
    clock = Clock()
    metrics = Metrics(clock=clock)
    metrics.update_models(0, [model("a", SignalView("s", "feature", "info", 1.0, 0.0)), model("b")])
    assert (
        "driftline_alert_active",
        (("model", "a"), ("severity", "info"), ("signal", "s"), ("state", "firing")),
    ) in samples(metrics)
    metrics.update_models(0, [model("a", SignalView("s", "feature", None, 0.0, 0.0))], gone=["b"])
    clock.now = 1.0
    found = samples(metrics)
    assert not any(name == "driftline_alert_active" for name, _ in found)
    assert {dict(labels)["model"] for name, labels in found if name == "driftline_model_state"} == {"a"}


def test_a_partition_that_moved_is_forgotten() -> None:
    """Its models and gauges belong to another worker now; counters of this process stay."""
    clock = Clock()
    metrics = Metrics(clock=clock)
    for partition in (0, 1):
        metrics.update_models(partition, [model(f"m{partition}")])
        metrics.set("driftline_checkpoint_last_timestamp_seconds", 5.0, partition=partition)
        metrics.add("driftline_rows_applied_total", 3, partition=partition)
        metrics.set("driftline_input_lag_records", 9, topic="t", partition=partition)
    metrics.forget_partition(0)
    metrics.forget_source("t", 1)
    found = samples(metrics)
    gauge: Literal["driftline_checkpoint_last_timestamp_seconds"] = (
        "driftline_checkpoint_last_timestamp_seconds"
    )
    assert [labels for name, labels in found if name == gauge] == [(("partition", "1"),)]
    assert {dict(labels)["model"] for name, labels in found if name == "driftline_model_state"} == {"m1"}
    assert found["driftline_rows_applied_total", (("partition", "0"),)] == 3
    lag = "driftline_input_lag_records"
    assert [labels for name, labels in found if name == lag] == [(("partition", "0"), ("topic", "t"))]
    metrics.set(gauge, 8.0, partition=0)  # the cached cell must not be the dead one
    clock.now = 1.0
    assert samples(metrics)[gauge, (("partition", "0"),)] == 8.0


def test_page_is_cached_for_a_second() -> None:
    """Scraping in a loop costs one rendering a second."""
    clock = Clock()
    metrics = Metrics(clock=clock)
    first = metrics.render()
    metrics.add("driftline_envelopes_sent_total", 41)
    clock.now = 0.999
    assert metrics.render() is first
    clock.now = 1.0
    assert b"driftline_envelopes_sent_total 41.0" in metrics.render()


def test_series_of_ten_thousand_signals_stay_under_the_cap() -> None:
    """Twenty models of 500 features, one in ten firing: exactly what fits is shown, the rest is counted."""
    metrics = Metrics(series_max=3_000, signals_per_model_max=100)
    for i in range(20):
        signals = [
            SignalView(f"f{j}", "feature", "warning" if j % 10 == 0 else None, j / 100, 0.0, (1.0,) * 10)
            for j in range(500)
        ]
        metrics.update_models(i % 4, [model(f"m{i}", *signals)])
    found = samples(metrics)
    shown = [name for name, labels in found if "model" in dict(labels)]
    assert shown.count("driftline_alert_active") == 1_000
    assert len(shown) <= 3_000
    assert len(shown) > 3_000 - 9
    total = 1_000 + 20 * SERIES_PER_MODEL + 10_000 * 9
    assert found["driftline_series_dropped", ()] == total - len(shown)
    assert found["driftline_signals_firing", (("severity", "warning"),)] == 1_000


def test_import_leaves_the_global_registry_alone() -> None:
    """Another library's metrics in the same process stay its own."""
    code = (
        "import json, prometheus_client as p; before = sorted(p.REGISTRY._names_to_collectors);"
        "from driftline.publish.metrics import Metrics; Metrics();"
        "print(json.dumps(before == sorted(p.REGISTRY._names_to_collectors)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) is True


def test_labels_and_performance_are_shown_of_models_that_have_them() -> None:
    """What is unknown or makes no sense for the task is not there; the cap counts them too."""
    nan = float("nan")
    view = LabelView(
        matched=9, orphans=1, duplicates=2, conflicts=3, expired=4, no_id=5, pending=6, coverage=0.5,
        delays=((0.5, 60.0), (0.99, nan)), statistics={"accuracy": 0.75}, window_rows=1_000,
        window_end_ms=2_500, severity=None,
    )  # fmt: skip
    metrics = Metrics()
    metrics.update_models(0, [replace(model("m"), labels=view), model("n")])
    found = samples(metrics)
    label = (("model", "m"),)
    assert found["driftline_labels_joined_total", label] == 9
    assert found["driftline_label_coverage_ratio", label] == 0.5
    assert found["driftline_performance_accuracy", label] == 0.75
    assert found["driftline_label_delay_seconds", (("model", "m"), ("quantile", "0.5"))] == 60.0
    assert found["driftline_performance_window_end_timestamp_seconds", label] == 2.5
    names = {name for name, labels in found if ("model", "m") in labels}
    assert "driftline_performance_mae" not in names
    assert not [key for key in found if key[0].startswith("driftline_labels") and ("model", "n") in key[1]]
    choice = choose_series(
        [replace(model("m"), labels=view)], {}, 0.0, series_max=20, signals_per_model_max=1
    )
    assert choice.labelled == ()
    assert choice.dropped == SERIES_PER_LABELLED
