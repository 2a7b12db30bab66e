"""A model: learning, alerts, cuts, restarts, commands."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from driftline.config import DetectionSettings
from driftline.decide import store
from driftline.decide.commands import carry_out
from driftline.decide.model import Model
from driftline.decide.model_view import view_of
from driftline.decide.outputs import PIECE_BYTES, Alert
from driftline.detect.actor import Phase
from driftline.detect.reference import to_json
from driftline.records import Block, Command
from harness.decisions import CONTEXT, PROGRESS, SOURCE, block, file_reference, new_model, run

RNG = np.random.default_rng(11)
CATEGORIES = ["DE", "US", "FR", "GB"]


def countries(n: int, p: list[float] | None = None) -> list[str | None]:
    """Random categories."""
    return [str(c) for c in RNG.choice(CATEGORIES, n, p=p)]


REFERENCE = file_reference(
    {"age": RNG.normal(41, 12, 20_000), "country": countries(20_000, [0.4, 0.3, 0.2, 0.1])}
)


def drifting() -> Block:
    """Ten thousand quiet rows, ten thousand with an older population, twenty thousand quiet ones."""
    age = np.concatenate([RNG.normal(41, 12, 10_000), RNG.normal(53, 12, 10_000), RNG.normal(41, 12, 20_000)])
    return block({"age": age, "country": countries(40_000, [0.4, 0.3, 0.2, 0.1])})


DRIFTING = drifting()


def stored(model: Model) -> dict[bytes, bytes]:
    """The records of a checkpoint of the model, tombstones left out."""
    return {k: v for row in store.model_rows(model) for k, v in row.records() if v is not None}


def restored(model: Model) -> Model:
    """The model as a take-over would read it."""
    rows = stored(model)
    back, problem = store.read_model("m", rows, DetectionSettings(), {})
    assert problem == ""
    return back


def state_bytes(model: Model) -> bytes:
    """Everything that decides, as bytes."""
    model.learn_shards = 0  # tombstones of learning rows depend on when checkpoints were taken
    model.reference_dirty = True
    return b"".join(r.key + (r.encode() or b"") for r in store.model_rows(model))


def test_one_change_is_one_episode() -> None:
    """Opened after row 10,000, resolved after row 20,000, on the right signal, with words and evidence."""
    opened, _, resolved = run(new_model(REFERENCE), DRIFTING)
    assert (opened.type, opened.signal) == ("driftline.alert.opened", "age")
    assert 10_000 <= opened.row < 10_300
    assert (resolved.type, resolved.data["opened_at"]) == ("driftline.alert.resolved", opened.data["time"])
    assert 20_000 <= resolved.row < 33_000
    assert opened.data["severity"] == "critical"
    summary = str(opened.data["summary"])
    assert summary.startswith('m: "age" is higher than in training: median 5')
    assert "expected, up to 51.4 % tolerated), since about 00:01 UTC" in summary
    assert opened.data["origin"] == {"topic": "events", "partition": 0, "offset": opened.row}
    evidence = opened.data["evidence"]
    assert isinstance(evidence, list)
    assert {"e-detector"} <= {d["name"] for d in evidence[0]["detectors"]}


def test_the_effect_is_restated_after_one_window() -> None:
    """The second word on an episode: the same episode, not worth waking anyone, less than at the opening."""
    opened, updated, resolved = run(new_model(REFERENCE), DRIFTING)
    assert (updated.type, updated.data["state"]) == ("driftline.alert.updated", "open")
    assert [a.data["sequence"] for a in (opened, updated, resolved)] == [0, 1, 2]
    assert [a.data["page"] for a in (opened, updated, resolved)] == [True, False, False]
    assert len({a.id for a in (opened, updated, resolved)}) == 3
    update, evidence = updated.data["update"], updated.data["evidence"]
    assert isinstance(update, dict)
    assert isinstance(evidence, list)
    assert update["reason"] == "restated"
    assert 4_096 <= updated.row - opened.row < 4_096 + 300
    # A shift of one standard deviation: u has a mean of Phi(1 / sqrt 2) = .760, and .25 is left of the bias.
    assert evidence[0]["current_mean"] == pytest.approx(0.760, abs=0.015)
    assert evidence[0]["opened_at"] == opened.data["time"]
    assert {d["name"] for d in evidence[0]["detectors"]} >= {"e-detector"}
    assert [e["channel"] for e in evidence] == ["location", "spread"]
    assert "; measured over more events, the change is " in str(updated.data["summary"])


@pytest.mark.parametrize(
    ("second", "page", "words"),
    [
        (53.0, True, "; it has grown to "),
        (35.0, True, "; it has turned round"),
        (42.5, False, "; it has shrunk to "),
    ],
)
def test_a_drift_that_moves_is_told_again(second: float, page: bool, words: str) -> None:
    """Once a level; it pages when the change turned round or grew by half, not when it shrank."""
    rng = np.random.default_rng(5)
    age = np.concatenate([rng.normal(level, 12, 12_000) for level in (41, 46, second)])
    rows = block({"age": age, "country": countries(36_000, [0.4, 0.3, 0.2, 0.1])})
    alerts = [a for a in run(new_model(REFERENCE), rows) if a.signal == "age"]
    moved = [a for a in alerts if a.data.get("update", {}).get("reason") == "moved"]  # type: ignore[attr-defined]
    assert [a.type for a in alerts][:2] == ["driftline.alert.opened", "driftline.alert.updated"]
    assert len(moved) == 1
    assert moved[0].data["page"] is page
    assert words in str(moved[0].data["summary"])
    assert 24_000 + 2_048 <= moved[0].row < 24_000 + 3 * 4_096


@pytest.mark.parametrize("size", [1, 100, 777, 4_096, 10_001])
def test_cuts_do_not_show(size: int) -> None:
    """The same alerts and the same state bytes whatever the cuts (the smallest cut on fewer rows)."""
    n = 1_500 if size == 1 else 40_000
    whole, cut = new_model(REFERENCE), new_model(REFERENCE)
    expected = whole.apply(
        DRIFTING, 9_500 if size == 1 else 0, (9_500 + n) if size == 1 else n, PROGRESS, CONTEXT
    )
    got: list[Alert] = []
    start = 9_500 if size == 1 else 0
    for lo in range(start, start + n, size):
        got += cut.apply(DRIFTING, lo, min(lo + size, start + n), PROGRESS, CONTEXT)
    assert got == expected
    assert expected
    assert state_bytes(cut) == state_bytes(whole)


def test_restarts_do_not_show() -> None:
    """Stored and read back every 3,001 rows: the same alerts and state bytes."""
    whole, other = new_model(REFERENCE), new_model(REFERENCE)
    expected = run(whole, DRIFTING)
    got: list[Alert] = []
    for lo in range(0, len(DRIFTING), 3_001):
        got += other.apply(DRIFTING, lo, min(lo + 3_001, len(DRIFTING)), PROGRESS, CONTEXT)
        other.reference_dirty = True
        other = restored(other)
    assert got == expected
    assert state_bytes(other) == state_bytes(whole)


def test_a_checkpoint_is_what_stood_at_its_barrier() -> None:
    """It is encoded later, in another thread, while rows go on: also what they change in place is a copy."""
    model, twin = new_model(REFERENCE), new_model(REFERENCE)
    for other in (model, twin):
        assert other.apply(DRIFTING, 0, 10_000, PROGRESS, CONTEXT) == []
    rows = list(store.model_rows(model))
    assert model.apply(DRIFTING, 10_000, 12_000, PROGRESS, CONTEXT)
    assert [r.encode() for r in rows] == [r.encode() for r in store.model_rows(twin)]


def test_a_reference_is_learned_from_the_first_rows_whatever_the_cuts() -> None:
    """Frozen at exactly row 5,000; restarts while learning lose nothing."""
    whole, other = new_model(), new_model()
    expected = run(whole, DRIFTING)
    got: list[Alert] = []
    held: dict[bytes, bytes] = {}
    for lo in range(0, len(DRIFTING), 1_237):
        got += other.apply(DRIFTING, lo, min(lo + 1_237, len(DRIFTING)), PROGRESS, CONTEXT)
        if other.actor.phase is Phase.LEARNING:
            held |= stored(other)
            other, problem = store.read_model("m", held, DetectionSettings(), {})
            assert problem == ""
    assert whole.actor.detection is not None
    assert whole.actor.detection.layout.reference.rows == 5_000
    assert got == expected
    assert [a.type.rpartition(".")[2] for a in expected][:3] == ["opened", "updated", "resolved"]
    assert "than in the first 5,000 events" in str(expected[0].data["summary"])
    assert state_bytes(other) == state_bytes(whole)


def test_a_promoted_baseline_takes_over_at_its_row() -> None:
    """Open episodes are closed, detection starts from zero, a foreign baseline is refused."""
    model = new_model(REFERENCE)
    model.apply(DRIFTING, 0, 15_000, PROGRESS, CONTEXT)
    assert list(model.episodes.open) == ["age"]
    body = json.dumps({"type": "baseline.promote", "baseline": json.loads(to_json(REFERENCE))}).encode()
    alerts, note = carry_out(model, Command("m", 0, 0, 7, body), PROGRESS, CONTEXT)
    assert [a.data["state"] for a in alerts] == ["resolved"]
    assert "new baseline" in str(alerts[0].data["summary"])
    assert "is in force" in note
    assert model.episodes.open == {}
    foreign = json.dumps(
        {"type": "baseline.promote", "baseline": json.loads(to_json(replace(REFERENCE, model="other")))}
    ).encode()
    alerts, note = carry_out(model, Command("m", 0, 0, 8, foreign), PROGRESS, CONTEXT)
    assert (alerts, "of model other" in note) == ([], True)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"type":"x"}', b'{"type":"baseline.promote","baseline":{}}', b"[1]"]
)
def test_a_command_that_does_not_fit_is_refused(body: bytes) -> None:
    """Never an exception, never a change."""
    model = new_model(REFERENCE)
    alerts, note = carry_out(model, Command("m", 0, 0, 7, body), PROGRESS, CONTEXT)
    assert alerts == []
    assert "refused" in note


def test_a_reference_without_time_order_warms_up_first() -> None:
    """Rows of the warm-up find nothing; then tau and the event rate of live traffic are in force."""
    model = new_model()
    shuffled = replace(REFERENCE, time_ordered=False)
    body = b'{"type":"baseline.promote","baseline":%s}' % to_json(shuffled)
    carry_out(model, Command("m", 0, 0, 7, body), PROGRESS, CONTEXT)
    assert model.actor.phase is Phase.WARMING
    walk = np.repeat(RNG.normal(41, 12, 600), 20)  # runs of 20 equal values
    rows = block({"age": walk, "country": countries(12_000, [0.4, 0.3, 0.2, 0.1])})
    found = model.apply(rows, 0, 5_000, PROGRESS, CONTEXT)
    assert (found, model.actor.phase) == ([], Phase.ACTIVE)
    detection = model.actor.detection
    assert detection is not None
    location = [c.name for c in detection.layout.channels].index("location")
    assert detection.tau_live[location] > 10
    assert detection.plan[location]["b"] > 1


def test_values_out_of_range_are_taken_to_depend_on_each_other_as_the_others_do() -> None:
    """Live traffic is autocorrelated, its reference was shuffled: a warm-up sees too few of them to tell."""
    rng = np.random.default_rng(11)
    steps = rng.normal(size=30_000)
    walk = np.zeros(30_000)
    for i in range(1, 30_000):
        walk[i] = 0.9 * walk[i - 1] + steps[i]
    reference = file_reference({"x": rng.permutation(walk[:20_000])}, time_ordered=False)
    model = new_model(reference, warming=True)
    run(model, block({"x": walk[20_000:]}))
    d = model.actor.detection
    assert d is not None
    tau = dict(zip([c.name for c in d.layout.channels], d.tau_live, strict=True))
    assert tau["range"] >= tau["location"] > 3.0


def test_values_of_another_type_are_counted_not_raised() -> None:
    """Strings in a numeric feature feed no channel; a missing column is missing values."""
    model = new_model(REFERENCE)
    run(model, block({"age": ["x"] * 1_000, "other": np.zeros(1_000)}))
    assert view_of(model).mismatches == 1_000
    assert model.actor.detection is not None


def test_thresholds_follow_the_event_rate() -> None:
    """A tenth of the expected traffic means a tenth of the run length at the next check."""
    model = new_model(replace(REFERENCE, rows_per_week=604_800_000.0))
    assert model.actor.detection is not None
    before = model.actor.detection.run_length
    run(model, block({"age": RNG.normal(41, 12, 4_096), "country": countries(4_096)}))
    assert model.actor.detection.run_length == pytest.approx(before / 10, rel=0.01)


def test_source_rows_count_every_row() -> None:
    """Rows by raw partition, the ground for checking that nothing was lost or counted twice."""
    model = new_model(REFERENCE)
    run(model, DRIFTING, cuts=(5, 17_000))
    assert model.actor.source_rows == {SOURCE: 40_000}


def test_a_corrupt_shard_sets_the_model_back_to_learning() -> None:
    """Counts survive, the alert says so, and nothing crashes."""
    model = new_model(REFERENCE)
    run(model, DRIFTING)
    rows = stored(model)
    damaged = bytearray(rows[b"m|m|det.0"])
    damaged[100] ^= 1
    rows[b"m|m|det.0"] = bytes(damaged)
    back, problem = store.read_model("m", rows, DetectionSettings(), {})
    assert "checksum" in problem
    assert back.actor.phase is Phase.LEARNING
    assert back.actor.source_rows == {SOURCE: 40_000}
    alert = back.state_lost(CONTEXT, 0, 5)
    assert "unreadable" in str(alert.data["summary"])


def test_a_model_of_five_hundred_features_is_stored_in_records_that_brokers_take() -> None:
    """Learning rows and the reference are cut into pieces under the record limit, and come back whole."""
    rng = np.random.default_rng(1)
    wide = block({f"f{i:03d}": rng.normal(size=1_200) for i in range(500)})
    learning = new_model(learning_rows=5_000)
    run(learning, wide)
    other = new_model(file_reference({f"f{i:03d}": rng.normal(size=600) for i in range(500)}))
    run(other, wide)
    for model in (learning, other):
        expected = state_bytes(model)
        model.reference_dirty = True
        if model.actor.learning is not None:
            model.actor.learning.stored = 0
        held = stored(model)
        assert max(map(len, held.values())) <= PIECE_BYTES
        assert len(held) > len({k.split(b"+")[0] for k in held})
        back, problem = store.read_model("m", held, DetectionSettings(), {})
        assert problem == ""
        if back.actor.learning is not None:
            back.actor.learning.stored = 0
        assert state_bytes(back) == expected
