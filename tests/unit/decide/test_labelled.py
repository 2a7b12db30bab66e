"""Labels through a mailbox partition: confusion counts, the episode of errors, checkpoints, views."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from driftline.config import ModelSettings
from driftline.config.settings import LabelSettings, PerformanceSettings
from driftline.decide.budget import Budget
from driftline.decide.labelled import Labelled
from driftline.detect.performance import SIGNAL
from driftline.errors import MessageError
from harness.labelled import EVENTS, LABELS, T0, Mailbox, Row, new_partition, restored
from oracle.labels import confusion, join

BATCH = 500


def story(shares: list[tuple[int, float]], seed: int = 0, *, late: int = 700) -> tuple[list[Row], list[Row]]:
    """Events by class and their labels ``late`` events later; ``shares`` are (events, share of errors)."""
    rng = np.random.default_rng(seed)
    wrong = np.concatenate([rng.random(n) < share for n, share in shares])
    truth = rng.choice(["deny", "approve"], len(wrong))
    said = np.where(wrong, np.where(truth == "deny", "approve", "deny"), truth)
    times = [T0 + 60_000 * i for i in range(len(wrong))]
    events = [Row(i + 1, t, klass=k) for i, (t, k) in enumerate(zip(times, said.tolist(), strict=True))]
    labels = [
        Row(i + 1, t + 60_000 * late, label=y)
        for i, (t, y) in enumerate(zip(times, truth.tolist(), strict=True))
    ]
    return events, labels


def sent(
    box: Mailbox,
    events: list[Row],
    labels: list[Row],
    *,
    until: int | None = None,
    begin: int = 0,
    late: int = 700,
) -> Mailbox:
    """Both topics by time, in envelopes of BATCH events."""
    for at in range(begin, len(events) + late + BATCH if until is None else until, BATCH):
        box.send(events[at : at + BATCH], labels[max(at - late, 0) : max(at + BATCH - late, 0)])
    return box


def labelled(box: Mailbox) -> Labelled:
    """The labels of the one model."""
    found = box.partition.models["m"].labelled
    assert found is not None
    return found


def shown(box: Mailbox) -> Any:
    """State that has to be the same."""
    own = labelled(box)
    header = own.shards()[0][1]
    return json.dumps(header, sort_keys=True), own.performance.state.tobytes(), own.view().statistics


def test_worse_predictions_open_one_episode_and_better_ones_resolve_it() -> None:
    """With a text that says what happened; it opens once and resolves once."""
    events, labels = story([(6_000, 0.05), (3_000, 0.2), (6_000, 0.05)])
    box = sent(Mailbox(new_partition()), events, labels)
    box.checkpoint()
    own = [alert for alert in box.alerts if alert.signal == SIGNAL]
    assert [alert.type.rpartition(".")[2] for alert in own] == ["opened", "updated", "resolved"]
    schema = json.loads((Path(__file__).parents[3] / "schemas" / "alert.v1.json").read_text())
    for alert in own:
        Draft202012Validator(schema).validate(dict(alert.data))
    assert "predictions are still worse than before" in str(own[1].data["summary"])
    assert str(own[0].data["summary"]).startswith("m: predictions are wrong more often than before: ")
    assert " of the last " in str(own[0].data["summary"])
    assert str(own[2].data["summary"]).startswith("m: predictions are as good as before again after ")
    assert own[0].data["origin"]["topic"] == "labels"  # type: ignore[index]
    assert own[0].data["signal_kind"] == "performance"
    onset = datetime.fromisoformat(str(own[0].data["onset"])).timestamp() * 1000
    begun = labels[6_000].time  # of the first label of the worse ones
    assert begun - 6 * 3_600_000 < onset < begun + 24 * 3_600_000


def performance_of(box: Mailbox) -> list[Any]:
    """The reports of performance that checkpoints stored; they fit their schema."""
    path = Path(__file__).parents[3] / "schemas" / "performance-report.v1.json"
    schema = Draft202012Validator(json.loads(path.read_text()))
    found = [report.data for report in box.reports if report.data["kind"] == "performance"]
    for data in found:
        schema.validate(json.loads(json.dumps(data, allow_nan=False)))
    return found


def test_each_complete_window_is_reported_once() -> None:
    """Rows, statistics and confusion counts of the window, coverage and delay of the join."""
    events, labels = story([(6_000, 0.05), (3_000, 0.2)])
    box = sent(Mailbox(new_partition()), events, labels)
    box.checkpoint()
    found = performance_of(box)
    assert [data["window"]["number"] for data in found] == list(range(1, 10))
    total: Counter[tuple[str, str]] = Counter()
    for data in found:
        counts = {(said, true): n for said, true, n in data["confusion"]}
        assert sum(counts.values()) == data["window"]["rows"] == 1_000
        right = sum(n for (said, true), n in counts.items() if said == true)
        assert data["statistics"]["accuracy"] == right / 1_000
        total.update(counts)
    own = labelled(box)
    assert total == Counter(own.performance.totals(own.labels.names))
    last = found[-1]["labels"]
    assert (last["predictions"], last["covered"], last["pending"]) == (9_000, 9_000, 0)
    assert last["delay_seconds"]["p50"] == pytest.approx(700 * 60, rel=0.5)
    assert [data["open"] for data in found][-1]
    assert not found[0]["open"]


def test_a_report_of_many_classes_is_bounded() -> None:
    """The most frequent pairs of classes are listed, the rest is a number."""
    rng = np.random.default_rng(4)
    said, truth = (rng.integers(0, 30, 2_000).astype(str).tolist() for _ in range(2))
    events = [Row(i + 1, T0 + i, klass=f"c{v}") for i, v in enumerate(said)]
    labels = [Row(i + 1, T0 + i, label=f"c{v}") for i, v in enumerate(truth)]
    box = sent(Mailbox(new_partition()), events, labels, late=0)
    box.checkpoint()
    data = performance_of(box)[0]
    assert data["task"] == "multiclass"
    assert len(data["confusion"]) == 100
    assert sum(pair[2] for pair in data["confusion"]) + data["confusion_left_out"] == 1_000


def test_a_regression_reports_no_classes() -> None:
    """MAE and its kind; a window of numbers has no confusion counts."""
    events = [Row(i + 1, T0 + 1_000 * i, score=float(i % 7)) for i in range(1_000)]
    labels = [Row(i + 1, T0 + 1_000 * i, label=float(i % 7) + 0.5) for i in range(1_000)]
    box = sent(Mailbox(new_partition()), events, labels, late=0)
    box.checkpoint()
    (data,) = performance_of(box)
    assert (data["task"], data["confusion"], data["statistics"]["mae"]) == ("regression", [], 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_opens_when_errors_fall(seed: int) -> None:
    """Increases only: a model that gets better is no alarm."""
    events, labels = story([(4_000, 0.1), (8_000, 0.02)], seed)
    box = sent(Mailbox(new_partition()), events, labels)
    box.checkpoint()
    assert not [alert for alert in box.alerts if alert.signal == SIGNAL]


def test_larger_errors_of_a_regression_open_an_episode() -> None:
    """By the rank of the absolute error among those of the reference."""
    rng = np.random.default_rng(1)
    y = rng.normal(20, 5, 8_000)
    p = y + rng.normal(0, np.where(np.arange(8_000) < 5_000, 1.0, 1.6))
    events = [Row(i + 1, T0 + 60_000 * i, score=float(v)) for i, v in enumerate(p)]
    labels = [Row(i + 1, T0 + 60_000 * (i + 700), label=float(v)) for i, v in enumerate(y)]
    box = sent(Mailbox(new_partition()), events, labels)
    box.checkpoint()
    own = [alert for alert in box.alerts if alert.signal == SIGNAL]
    assert [alert.type.rpartition(".")[2] for alert in own] == ["opened", "updated"]
    assert "predictions are further off than before" in str(own[0].data["summary"])
    view = labelled(box).view()
    assert set(view.statistics) == {"mae", "rmse", "bias", "r2"}
    assert view.severity is not None


def test_restarts_change_nothing() -> None:
    """A worker that is restarted from its checkpoints at any place ends with the same state and alerts."""
    events, labels = story([(5_000, 0.05), (3_000, 0.2)])
    whole = sent(Mailbox(new_partition()), events, labels)
    whole.checkpoint()
    box = Mailbox(new_partition())
    for at in range(0, len(events) + 700 + BATCH, BATCH):
        sent(box, events, labels, begin=at, until=at + BATCH)
        if at % 1_500 == 0:
            box.checkpoint()
            box.partition = restored(box.stored)
            assert not box.partition.drain_notes()
    box.checkpoint()
    assert [alert.id for alert in box.alerts] == [alert.id for alert in whole.alerts]
    assert [alert.data for alert in box.alerts] == [alert.data for alert in whole.alerts]
    assert [report.data for report in box.reports] == [report.data for report in whole.reports]
    assert len({report.id for report in box.reports}) == len(box.reports) > 0
    assert shown(box) == shown(whole)


def test_confusion_equals_the_oracle() -> None:
    """Labels early, late, twice, contradicting and of unknown events: as the dictionaries say."""
    rng = np.random.default_rng(2)
    events, labels = story([(3_000, 0.3)], late=0)
    extra = [labels[i]._replace(label="approve") for i in rng.integers(0, 3_000, 500)]
    labels += [*extra, *(Row(9_000_000 + i, T0 + i, label="deny") for i in range(200))]
    mixed = [labels[i] for i in rng.permutation(len(labels))]
    box = Mailbox(new_partition())
    history: list[tuple[str, int, Any]] = []
    for at in range(0, 4_000, BATCH):
        some = [r._replace(time=T0 + 60_000 * (at + i)) for i, r in enumerate(mixed[at : at + BATCH])]
        now = [r._replace(time=T0 + 60_000 * (at + i)) for i, r in enumerate(events[at : at + BATCH])]
        box.send(now, some)
        rows = [(r.time, 0, i, ("event", r.id, r.klass)) for i, r in enumerate(now)]
        rows += [(r.time, 1, i, ("label", r.id, r.label)) for i, r in enumerate(some)]
        history += [row for *_, row in sorted(rows, key=lambda r: r[:3])]
    want = join(history)
    own = labelled(box)
    assert Counter(own.performance.totals(own.labels.names)) == confusion(want)
    view = own.view()
    assert (view.duplicates, view.conflicts) == (want.counts["duplicates"], want.counts["conflicts"])
    assert view.matched == len(want.pairs)


def test_labels_without_a_model_in_use_are_kept() -> None:
    """They may come before the first event of their model."""
    box = Mailbox(new_partition())
    box.send([], [Row(1, T0, label="a")])
    box.send([Row(1, T0 + 1, klass="a")], [])
    assert labelled(box).view().matched == 1
    assert box.partition.model_rows() == {"m": {EVENTS: 1, LABELS: 1}}


def test_the_configured_class_is_positive() -> None:
    """``models.NAME.performance.positive_class`` decides what precision and recall are of."""
    events, labels = story([(2_000, 0.2)], late=0)
    seen = {}
    for name in ("deny", "approve"):
        model = ModelSettings(performance=PerformanceSettings(positive_class=name))
        box = sent(Mailbox(new_partition(model)), events, labels, late=0)
        seen[name] = labelled(box).view().statistics
    assert seen["deny"]["accuracy"] == seen["approve"]["accuracy"]
    assert seen["deny"]["recall"] != seen["approve"]["recall"]


def test_errors_are_a_source_of_the_budget() -> None:
    """One more than the channels, for their thresholds too."""
    events, labels = story([(4_000, 0.05)])
    box = sent(Mailbox(new_partition()), events, labels)
    model = box.partition.models["m"]
    assert model.actor.detection is not None
    budgets = [
        Budget.of(model.actor.detection.layout, labelled=with_them).sources for with_them in (True, False)
    ]
    assert model._budget(model.actor.detection.layout).sources == budgets[0] == budgets[1] + 1


def test_checkpoints_are_small_while_much_waits() -> None:
    """20,000 waiting predictions more do not make a checkpoint larger."""
    events = [Row(i + 1, T0 + 1_000 * i, klass="a") for i in range(41_000)]
    box = Mailbox(new_partition())
    sizes = []
    for at in range(0, 41_000, 1_000):
        box.send(events[at : at + 1_000], [])
        box.checkpoint()
        sizes.append(box.checkpoint_bytes)
    assert sizes[-1] < 1.2 * sizes[20]
    assert labelled(box).view().pending == 41_000


@pytest.mark.parametrize(
    ("name", "index", "value"),
    [
        ("code", 3, -5),
        ("value", 3, 1e9),
        ("confusion", (0, 0), -1),
        ("plan", "lanes", 99),
        ("state", "a_last", 1 << 40),
        ("time", 3, 1 << 62),
        ("time", 3, -(1 << 63)),
    ],
)
def test_damaged_performance_is_refused(name: str, index: Any, value: float) -> None:
    """Before a kernel or a count is reached with it: an error with words."""
    events, labels = story([(3_900, 0.1)], late=0)
    box = sent(Mailbox(new_partition()), events, labels, late=0)
    (_, header, arrays), *rest = labelled(box).shards()
    assert arrays is not None
    assert len(arrays["time"]) == 900
    shards = {shard: (head, found) for shard, head, found in rest if found is not None}
    fresh = Labelled.new("m", LabelSettings(), ModelSettings())
    fresh.restore(header, arrays, shards.get)  # as it was it is taken
    arrays[name][index] = value
    with pytest.raises(MessageError):
        Labelled.new("m", LabelSettings(), ModelSettings()).restore(header, arrays, shards.get)
