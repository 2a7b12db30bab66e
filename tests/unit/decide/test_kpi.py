"""KPIs through a model and a mailbox partition: episodes, texts, restarts; values against scikit-learn."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from sklearn import metrics

from driftline.config import DetectionSettings, ModelSettings
from driftline.config.kpi import KpiSettings
from driftline.decide.budget import Budget
from driftline.decide.kpi import Kpis
from driftline.decide.kpi_standing import At
from driftline.decide.model import Model
from driftline.decide.model_view import view_of
from driftline.decide.outputs import Alert
from driftline.detect.kpi import Closed
from driftline.errors import MessageError, NewerFormatError
from driftline.records import Source
from harness.decisions import CONTEXT, PROGRESS, block
from harness.labelled import T0, Mailbox, Row, new_partition, restored

SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "alert.v1.json").read_text(encoding="utf-8"))
MINUTE = 60_000


def kpi(**given_: Any) -> KpiSettings:
    """Settings of a KPI; ``lasting`` is ``for``."""
    return KpiSettings(**{"measure": "accuracy", "min_rows": 1, **given_})


def own(**kpis: KpiSettings) -> ModelSettings:
    """A model with these KPIs."""
    return ModelSettings(kpis=dict(kpis))


def judged(agreed: KpiSettings, values: list[float], *, every: int = MINUTE, counted: int = 100) -> str:
    """What windows of these values do, one letter each: o opened, r resolved, . nothing."""
    kpis = Kpis("m")
    kpis.configure(DetectionSettings(), own(k=agreed))
    watched = kpis._by_name["k"]
    out = ""
    for i, value in enumerate(values):
        closed = Closed(0, value, 100, counted, i * every, (i + 1) * every)
        at = At((i + 1) * every, Source("events", 0), i)
        found = kpis.judge(watched, closed, at, CONTEXT)
        assert len(found) <= 1
        out += found[0].type.rpartition(".")[2][0] if found else "."
    return out


NAN = math.nan


@pytest.mark.parametrize(
    ("given_", "values", "want"),
    [
        ({"min": 0.8}, [0.9, 0.8, 0.79, 0.7, 0.8], "..o.r"),
        ({"max": 0.2}, [0.2, 0.21, 0.2], ".or"),
        ({"min": 0.2, "max": 0.8}, [0.1, 0.9, 0.5], "o.r"),
        ({"min": 0.8, "for": 3}, [0.7, 0.7, 0.9, 0.7, 0.7, 0.7, 0.9], ".....or"),
        ({"min": 0.8, "for": "2m"}, [0.7, 0.7, 0.7, 0.9], "..or"),
        ({"min": 0.8, "hysteresis": 0.05}, [0.7, 0.81, 0.84, 0.86], "o..r"),
        ({"max": 0.2, "hysteresis": 0.05}, [0.3, 0.18, 0.14], "o.r"),
        ({"min": 0.8}, [0.7, NAN, NAN, 0.9], "o..r"),
        ({"min": 0.8, "for": 2}, [0.7, NAN, 0.7], "..o"),
        ({"min": 0.8}, [math.inf, -math.inf], ".."),
    ],
)
def test_bounds_for_and_hysteresis(given_: dict[str, Any], values: list[float], want: str) -> None:
    """A window that says nothing neither opens nor resolves, and does not interrupt a breach."""
    assert judged(kpi(**given_), values) == want


def test_few_rows_say_nothing() -> None:
    """Below min_rows of those that count; a sum of nothing is one all the same."""
    assert judged(kpi(min=0.8, min_rows=30), [0.1, 0.1], counted=29) == ".."
    assert judged(kpi(min=0.8, min_rows=30), [0.1], counted=30) == "o"
    assert judged(kpi(measure="sum.x", window="1m", min=5), [0.0], counted=0) == "o"


def stream(kpis: ModelSettings, x: np.ndarray[Any, Any], cuts: list[int]) -> tuple[Model, list[Alert]]:
    """A model fed with numbers, 100 a second, in pieces."""
    model = Model.new("m", DetectionSettings(learning_rows=500, window_rows=1_000), {"m": kpis}, learn=True)
    rows = block({"x": x, "c": ["a" if v > 0 else "b" for v in x.tolist()]})
    out: list[Alert] = []
    edges = [0, *sorted(cuts), len(rows)]
    for lo, hi in pairwise(edges):
        out += model.apply(rows, lo, hi, PROGRESS, CONTEXT)
    return model, out


EVENT_KPIS = own(
    psi=kpi(measure="psi.x", max=0.1),
    gone=kpi(measure="missing.x", max=0.02, window=300),
    level=kpi(measure="mean.x", max=0.5, window="3s"),
    volume=kpi(measure="sum.x", max=40.0, window="1s", **{"for": 2}),
    share=kpi(measure="share.c.a", max=0.6, window=250),
    traffic=kpi(measure="events_per_minute", min=5_000, window="2s"),
)
RNG = np.random.default_rng(1)
X = np.concatenate((RNG.normal(0, 1, 3_000), RNG.normal(1.5, 1, 2_000), RNG.normal(0, 1, 3_000)))
X[RNG.random(8_000) < np.where(np.arange(8_000) < 6_000, 0.0, 0.1)] = np.nan


def test_kpis_of_events_open_and_resolve() -> None:
    """Where the mean moved, and where values are missing; traffic stays as it was."""
    _, alerts = stream(EVENT_KPIS, X, [])
    own_alerts = [a for a in alerts if a.data["signal_kind"] == "kpi"]
    for alert in own_alerts:
        Draft202012Validator(SCHEMA).validate(dict(alert.data))
    seen: dict[str, list[tuple[str, int]]] = {}
    for alert in own_alerts:
        seen.setdefault(alert.signal, []).append((alert.type.rpartition(".")[2], alert.row))
    assert set(seen) == {"kpi.psi", "kpi.gone", "kpi.level", "kpi.volume", "kpi.share"}
    assert [kind for kind, _ in seen["kpi.level"]] == ["opened", "resolved"]
    assert 3_000 <= seen["kpi.level"][0][1] <= 3_600
    assert seen["kpi.gone"][0] == ("opened", 6_299)
    assert seen["kpi.psi"][0][1] in {3_499, 4_499}  # the end of a window of 1,000 rows after 500 learned
    text = str(next(a for a in own_alerts if a.signal == "kpi.level").data["summary"])
    assert text.startswith('m: mean of "x" is ')
    assert ", above the agreed 0.5, since about 00:00 UTC" in text


def test_every_kind_of_kpi_comes_back_without_labels() -> None:
    """Also one that takes the windows of the reference, and has no rows of its own."""
    model, _ = stream(EVENT_KPIS, X[:4_000], [])
    again = Kpis("m")
    again.configure(DetectionSettings(learning_rows=500, window_rows=1_000), EVENT_KPIS)
    again.restore(json.loads(json.dumps(model.kpis.to_json())))
    assert json.dumps(again.to_json()) == json.dumps(model.kpis.to_json())


@given(cuts=st.lists(st.integers(0, 8_000), max_size=6))
@settings(max_examples=15, deadline=None)
def test_cuts_change_nothing(cuts: list[int]) -> None:
    """The same alerts in the same order, and the same state, to the last bit."""
    whole, alerts = stream(EVENT_KPIS, X, [])
    model, found = stream(EVENT_KPIS, X, cuts)
    assert [a.data for a in found] == [a.data for a in alerts]
    assert json.dumps(model.kpis.to_json()) == json.dumps(whole.kpis.to_json())


def test_kpis_draw_on_no_budget() -> None:
    """They are bounds that somebody agreed to: no source, and no threshold changes."""
    with_kpis, _ = stream(EVENT_KPIS, X[:2_000], [])
    without, _ = stream(ModelSettings(), X[:2_000], [])
    layouts = [m.actor.detection.layout for m in (with_kpis, without) if m.actor.detection is not None]
    assert Budget.of(layouts[0]) == Budget.of(layouts[1])
    plans = [m.actor.detection.plan.tobytes() for m in (with_kpis, without) if m.actor.detection is not None]
    assert plans[0] == plans[1]


def test_signals_that_the_reference_does_not_have_are_said() -> None:
    """Once it is known which there are, with the nearest."""
    model, _ = stream(
        own(
            a=kpi(measure="missing.xx", max=0.1),
            b=kpi(measure="share.c.A", max=0.1),
            c=kpi(measure="psi.x", max=0.1),
        ),
        X[:600],
        [],
    )
    assert model.kpis.take_notes() == [
        'model m: kpi a: the reference has no signal "xx", did you mean "x"?',
        'model m: kpi b: "c" is never "A" in the reference',
    ]
    assert model.kpis.take_notes() == []


def test_a_signal_that_never_came_is_no_breach_and_one_that_ceased_is() -> None:
    """Rows count from the first one that has it, wherever they are cut."""
    kpis = Kpis("m")
    agreed = {name: kpi(measure=f"missing.{name}", max=0.5, window=100) for name in ("x", "never")}
    kpis.configure(DetectionSettings(), own(**agreed))
    found = []
    for start, names in ((0, ["other"]), (70, ["other", "x"]), (140, ["other"]), (210, ["other"])):
        rows = block(dict.fromkeys(names, np.ones(70)), start)
        found += kpis.events(rows, 0, 70, PROGRESS, CONTEXT)
    assert [(row, alert.signal) for row, alert in found] == [(59, "kpi.x")]  # of rows 170 to 269 none has it


# --- with labels ------------------------------------------------------------------------------------------


def labelled_rows(n: int, seed: int = 0) -> tuple[list[Row], list[Row]]:
    """Events of a binary model and their labels half an hour later; it is worse in the middle third."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n) < 0.4
    noise = np.where((np.arange(n) >= n // 3) & (np.arange(n) < 2 * n // 3), 0.5, 0.2)
    score = np.clip(truth * 0.5 + 0.25 + rng.normal(0, noise), 0.0, 1.0)
    times = [T0 + MINUTE * i for i in range(n)]
    events = [
        Row(i + 1, t, score=float(s), klass="deny" if s >= 0.5 else "approve")
        for i, (t, s) in enumerate(zip(times, score.tolist(), strict=True))
    ]
    labels = [
        Row(i + 1, t + 30 * MINUTE, label="deny" if y else "approve")
        for i, (t, y) in enumerate(zip(times, truth.tolist(), strict=True))
    ]
    return events, labels


LABEL_KPIS = own(
    accuracy=kpi(min=0.8, window=150, **{"for": 2}),
    recall=kpi(measure="recall.deny", min=0.8, window="4h", severity="critical"),
    precision=kpi(measure="precision", min=0.8),
    f1=kpi(measure="f1.approve", min=0.8, window=170),
    loss=kpi(measure="log_loss", max=0.7, window=170),
    brier=kpi(measure="brier", max=0.2, window=170),
    auc=kpi(measure="auc", min=0.9),
    coverage=kpi(measure="label_coverage", min=0.9, window="5h"),
    delay=kpi(measure="label_delay.p90", max=3600, window="5h"),
)


def sent(
    box: Mailbox, events: list[Row], labels: list[Row], size: int, restart: ModelSettings | None = None
) -> Mailbox:
    """Envelopes of ``size`` minutes; with ``restart``, a new worker after every second."""
    for k, at in enumerate(range(0, len(events) + 31, size)):
        begin, end = T0 + at * MINUTE, T0 + (at + size) * MINUTE
        box.send(events[at : at + size], [r for r in labels if begin <= r.time < end])
        box.checkpoint()
        if restart is not None and k % 2:
            box.partition = restored(box.stored, restart, window_rows=200)
            assert not box.partition.drain_notes()
    box.checkpoint()
    return box


def test_values_equal_scikit_learn() -> None:
    """Of the last complete window of labelled events, which come in the order of their ids."""
    events, labels = labelled_rows(1_200)
    box = sent(Mailbox(new_partition(LABEL_KPIS, window_rows=200)), events, labels, 100)
    value = {view.name: view.value for view in box.partition.models["m"].kpis.views()}
    true = np.array([row.label == "deny" for row in labels])
    score = np.array([row.score for row in events])
    said = score >= 0.5

    def last(size: int) -> tuple[Any, Any, Any]:
        part = slice((1_200 // size - 1) * size, 1_200 // size * size)
        return true[part], said[part], score[part]

    t, s, _ = last(150)
    assert value["accuracy"] == metrics.accuracy_score(t, s)
    t, s, p = last(200)
    assert value["precision"] == pytest.approx(metrics.precision_score(t, s), rel=1e-12)
    assert value["auc"] == pytest.approx(metrics.roc_auc_score(t, p), rel=1e-12)
    t, s, p = last(170)
    assert value["f1"] == pytest.approx(metrics.f1_score(~t, ~s), rel=1e-12)
    assert value["loss"] == pytest.approx(metrics.log_loss(t, p), rel=1e-9)
    assert value["brier"] == pytest.approx(metrics.brier_score_loss(t, p), rel=1e-9)
    assert value["delay"] == pytest.approx(30 * 60, rel=0.5)
    times = [row.time // (4 * 60 * MINUTE) for row in labels]
    whole = np.array(times) == times[-1] - 1
    assert value["recall"] == pytest.approx(metrics.recall_score(true[whole], said[whole]), rel=1e-12)


def test_a_worse_model_opens_episodes_that_read_well() -> None:
    """With text, bound and window; they resolve when it is as good as before."""
    events, labels = labelled_rows(3_000)
    box = sent(Mailbox(new_partition(LABEL_KPIS, window_rows=200)), events, labels, 100)
    found = [a for a in box.alerts if a.signal == "kpi.recall"]
    assert [a.type.rpartition(".")[2] for a in found] == ["opened", "resolved"]
    assert found[0].data["severity"] == "critical"
    text = str(found[0].data["summary"])
    assert text.startswith("m: recall of deny is 0.")
    assert ", below the agreed 0.8, since about " in text
    assert str(found[1].data["summary"]).endswith("(agreed: at least 0.8)")
    seen: Any = found[0].data["kpi"]
    assert (seen["measure"], seen["min"], seen["max"]) == ("recall.deny", 0.8, None)
    assert seen["value"] < 0.8
    assert 0 < seen["window"]["counted"] < seen["window"]["rows"] <= 240
    for alert in (a for a in box.alerts if a.data["signal_kind"] == "kpi"):
        Draft202012Validator(SCHEMA).validate(dict(alert.data))
    assert not [a for a in box.alerts if a.signal in {"kpi.coverage", "kpi.delay"}]


@pytest.mark.parametrize("size", [37, 230])
def test_envelopes_and_restarts_change_nothing(size: int) -> None:
    """Cut differently and restored from checkpoints: the same alerts and the same state."""
    events, labels = labelled_rows(1_500)
    whole = sent(Mailbox(new_partition(LABEL_KPIS, window_rows=200)), events, labels, 100)
    box = sent(Mailbox(new_partition(LABEL_KPIS, window_rows=200)), events, labels, size, LABEL_KPIS)
    by_id = [{a.id: a.data for a in b.alerts if a.data["signal_kind"] == "kpi"} for b in (whole, box)]
    assert by_id[0] == by_id[1]
    assert len(by_id[0]) >= 4
    states = [json.dumps(b.partition.models["m"].kpis.to_json(), sort_keys=True) for b in (whole, box)]
    assert states[0] == states[1]


def test_labels_that_stop_are_a_breach_of_coverage() -> None:
    """While events go on."""
    events, labels = labelled_rows(2_400)
    box = sent(Mailbox(new_partition(LABEL_KPIS, window_rows=200)), events, labels[:1_200], 100)
    found = [a for a in box.alerts if a.signal == "kpi.coverage"]
    assert [a.type.rpartition(".")[2] for a in found] == ["opened"]
    assert "share of predictions that get a label is 0 %, below the agreed 90 %" in str(
        found[0].data["summary"]
    ) or ("share of predictions that get a label is " in str(found[0].data["summary"]))


def test_means_over_classes_are_those_of_scikit_learn() -> None:
    """Of a model with three classes, also where a prediction has none."""
    rng = np.random.default_rng(5)
    true, said = rng.integers(0, 3, 600), rng.integers(0, 3, 600)
    events = [Row(i + 1, T0 + i, klass="abc"[c]) for i, c in enumerate(said.tolist())]
    labels = [Row(i + 1, T0 + i, label="abc"[c]) for i, c in enumerate(true.tolist())]
    kpis = own(**{name: kpi(measure=name, min=0.1, window=300) for name in ("precision", "recall", "f1")})
    box = Mailbox(new_partition(kpis))
    box.send(events, labels)
    value = {view.name: view.value for view in box.partition.models["m"].kpis.views()}
    for name in ("precision", "recall", "f1"):
        want = getattr(metrics, f"{name}_score")(true[300:], said[300:], average="macro")
        assert value[name] == pytest.approx(want, rel=1e-12)


def test_errors_of_numbers_are_those_of_scikit_learn() -> None:
    """And measures of classes say nothing of such a model, which is said."""
    rng = np.random.default_rng(6)
    y = rng.normal(10, 3, 500)
    p = y + rng.normal(0.5, 1, 500)
    events = [Row(i + 1, T0 + i, score=float(v)) for i, v in enumerate(p)]
    labels = [Row(i + 1, T0 + i, label=float(v)) for i, v in enumerate(y)]
    kpis = own(
        **{name: kpi(measure=name, max=99, window=250) for name in ("mae", "rmse", "bias", "accuracy")}
    )
    box = Mailbox(new_partition(kpis))
    box.send(events, labels)
    model = box.partition.models["m"]
    value = {view.name: view.value for view in model.kpis.views()}
    t, s = y[250:], p[250:]
    assert value["mae"] == pytest.approx(metrics.mean_absolute_error(t, s))
    assert value["rmse"] == pytest.approx(metrics.root_mean_squared_error(t, s))
    assert value["bias"] == pytest.approx(float(np.mean(s - t)))
    assert math.isnan(value["accuracy"])
    assert model.kpis.take_notes() == [
        "model m: kpi accuracy: accuracy says nothing of a regression model: it stays unknown"
    ]


# --- settings and storing ---------------------------------------------------------------------------------


def test_an_episode_of_a_removed_kpi_is_closed() -> None:
    """With the first row under the new settings; then nothing is left of it."""
    events, labels = labelled_rows(1_000)
    low = own(agreed=kpi(min=1.1, window=150))
    box = Mailbox(new_partition(low))
    box.send(events, labels)
    box.checkpoint()
    assert [a.type for a in box.alerts if a.signal == "kpi.agreed"] == ["driftline.alert.opened"]
    box.partition = restored(box.stored, ModelSettings())
    box.send([Row(5_000, T0 + 5_000 * MINUTE, klass="deny")], [])
    box.checkpoint()
    closed = [a for a in box.alerts if a.signal == "kpi.agreed"][1:]
    assert [a.data["summary"] for a in closed] == [
        "m: KPI agreed is not watched any more; its episode is closed"
    ]
    Draft202012Validator(SCHEMA).validate(dict(closed[0].data))
    assert view_of(box.partition.models["m"]).kpis == ()


def test_another_measure_or_window_begins_anew_and_another_bound_goes_on() -> None:
    """What was counted is of no use for something else."""
    kpis = Kpis("m")
    base = kpi(measure="mean.x", max=5.0, window=100)
    kpis.configure(DetectionSettings(), own(k=base))
    rows = block({"x": np.ones(50)})
    kpis.events(rows, 0, 50, PROGRESS, CONTEXT)
    counted = []
    for changed in (base.model_copy(update={"max": 6.0}), base.model_copy(update={"window": 200})):
        kpis.configure(DetectionSettings(), own(k=changed))
        counted.append(kpis._by_name["k"].meter.rows)
    assert counted == [50, 0]


def test_a_sum_beyond_all_numbers_is_unknown_and_can_be_stored() -> None:
    """Two values near the largest double: no alert, and the snapshot stays valid JSON."""
    kpis = Kpis("m")
    kpis.configure(DetectionSettings(), own(k=kpi(measure="sum.x", max=5.0, window=3)))
    rows = block({"x": np.full(5, 1.7e308)})
    assert kpis.events(rows, 0, 2, PROGRESS, CONTEXT) == []
    held = json.loads(json.dumps(kpis.to_json(), allow_nan=False))
    other = Kpis("m")
    other.configure(DetectionSettings(), own(k=kpi(measure="sum.x", max=5.0, window=3)))
    other.restore(held)
    assert other.events(rows, 2, 5, PROGRESS, CONTEXT) == []
    assert math.isnan(other.views()[0].value)


@pytest.mark.parametrize("damage", ["counts", "sums", "rows", "newer"])
def test_a_damaged_state_is_refused(damage: str) -> None:
    """Before anything is counted on top of it."""
    kpis = Kpis("m")
    agreed = own(k=kpi(measure="mean.x", max=5.0, window=10))
    kpis.configure(DetectionSettings(), agreed)
    header = kpis.to_json()
    held = header["kpi"]["kpis"]["k"]
    match damage:
        case "counts":
            held["counts"][0] = -1
        case "sums":
            held["sums"] = [0.0, 0.0]
        case "rows":
            held["rows"] = 10
        case _:
            header["kpi_version"] = 99
    with pytest.raises(NewerFormatError if damage == "newer" else MessageError):
        kpis.restore(header)


def test_positive_predictions_are_counted_by_class_or_score() -> None:
    """The class decides where the positive one is named; else the score and its threshold."""
    events = [Row(i + 1, T0 + i, score=i / 100, klass="deny" if i < 10 else "approve") for i in range(100)]
    agreed = kpi(measure="positive_rate", max=2.0, window=100)
    for positive, want in (("deny", 0.1), (None, 0.5)):
        model = own(k=agreed)
        model = replace_performance(model, positive)
        box = Mailbox(new_partition(model))
        box.send(events, [])
        assert box.partition.models["m"].kpis.views()[0].value == want


def replace_performance(model: ModelSettings, positive: str | None) -> ModelSettings:
    """The model with another positive class."""
    performance = model.performance.model_copy(update={"positive_class": positive})
    return model.model_copy(update={"performance": performance})
