"""The traffic must hold what the chaos run promises to send, or its zeros mean nothing."""

from __future__ import annotations

import json
from collections import Counter

from chaos import traffic, truths, verify

NOW = 1_764_000_000_000


def fates(rows: int, seed: int) -> Counter[tuple[verify.Kind, str]]:
    """What the verifier makes of a run of traffic."""
    plan = traffic.make_plan(4, 60, seed)
    source = traffic.Traffic(plan, seed)
    records = [verify.RawRecord("raw", 0, i, NOW, source.draw(i / 1000, NOW)) for i in range(rows)]
    found = [verify.fate_of(record, frozenset(plan.models)) for record in records]
    return Counter((f.kind, "" if f.kind is verify.Kind.ACCEPTED else f.detail) for f in found)


def test_every_breaker_is_a_reject_with_its_code() -> None:
    """Each way of breaking a row gives the code it was written for, and none passes as good."""
    plan = traffic.make_plan(2, 60, 0)
    good = traffic.Traffic(plan, 0).row("model-00", 0, NOW)
    codes = [
        verify.fate_of(verify.RawRecord("raw", 0, 0, NOW, broken(good)), frozenset(plan.models)).detail
        for broken in traffic.BREAKERS
    ]
    assert codes == [
        "syntax", "syntax", "syntax", "duplicate_key", "duplicate_key", "not_utf8", "not_utf8", "not_object",
        "not_object", "too_deep", "too_deep", "model_missing", "model_invalid", "model_invalid",
        "model_unknown", "time_invalid", "time_future", "time_late",
    ]  # fmt: skip


def test_the_mix_has_all_kinds() -> None:
    """Accepted rows, nulls and oversized records are all in the mix, and mostly rows."""
    found = fates(20_000, 3)
    assert found[verify.Kind.ACCEPTED, ""] > 19_000
    assert found[verify.Kind.FILTERED, ""] > 50
    assert found[verify.Kind.REJECTED, "too_large"] >= 1


def test_labels_come_late_early_twice_and_broken() -> None:
    """Both topics get records; labels of each kind are there, some before their event."""
    plan = traffic.make_plan(4, 60, 3)
    source = truths.LabelledTraffic(plan, 3)
    sent = [source.draw(i / 1000, NOW) for i in range(30_000)]
    labels = [
        verify.RawRecord("labels", 0, i, NOW, value)
        for i, (topic, value) in enumerate(sent)
        if topic == "labels"
    ]
    codes = Counter(verify.fate_of(r, frozenset(plan.models), label=True).detail for r in labels)
    assert {"id_missing", "label_invalid", "model_missing", "model_unknown", "syntax"} <= set(codes)
    join = verify.Join()
    before = 0
    predicted: set[int] = set()
    for topic, value in sent:
        fate = verify.fate_of(
            verify.RawRecord("raw", 0, 0, NOW, value), frozenset(plan.models), label=topic == "labels"
        )
        if value is None or fate.kind is not verify.Kind.ACCEPTED:
            continue
        row = json.loads(value)
        key = int(row["id"][1:])
        if topic == "events":
            join.event(key, row["prediction"]["class"])
            predicted.add(key)
        else:
            join.label(key, row["label"])
            before += key not in predicted
    assert join.joined.confusion.total() > 10_000
    assert min(join.joined.repeats.values()) > 300
    assert before > 300


def test_half_of_the_models_fall_quiet_in_the_first_third() -> None:
    """Quiet ones stop between learning and a third of the run; the others never do."""
    plan = traffic.make_plan(10, 180, 1)
    assert len(plan.quiet) == 5
    assert all(traffic.LEARN_SECONDS <= second <= 60 for second in plan.quiet.values())
    assert len(plan.active(61)) == 5


def test_the_seed_decides() -> None:
    """The same seed gives the same bytes, another one others."""
    first, again, other = (
        [traffic.Traffic(traffic.make_plan(4, 60, s), s).draw(i, NOW) for i in range(3)] for s in (1, 1, 2)
    )
    assert first == again != other


def test_drifts_begin_and_end() -> None:
    """A feature shifts after the learning time and returns, so that episodes open and resolve."""
    source = traffic.Traffic(traffic.make_plan(2, 60, 0), 0)
    second = traffic.LEARN_SECONDS
    assert source.drifted("model-00", second - 1) == ""
    assert source.drifted("model-00", second + 1) == "f0"
    assert source.drifted("model-00", second + traffic.DRIFT_ON_SECONDS + 1) == ""
    assert source.drifted("model-00", second + traffic.DRIFT_PERIOD_SECONDS + 1) == "f1"
