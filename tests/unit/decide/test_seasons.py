"""A model with a season: learned from the stream, promoted, too short, restarted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from driftline.config import DetectionSettings, ModelSettings
from driftline.decide import store
from driftline.decide.commands import carry_out
from driftline.decide.model import Model
from driftline.detect.actor import Phase
from driftline.detect.reference import to_json
from driftline.detect.season import Period
from driftline.records import Block, Command
from harness.decisions import CONTEXT, PROGRESS, block, file_reference, run

DAY_MS = 86_400_000
STEP = 20_000  # 4,320 rows a day
LEARNED = 30_240  # seven days
SEASON = ModelSettings.model_validate({"season": "daily", "learning_rows": LEARNED})
MODELS = {"m": SEASON}


def days(count: float, start: int = 0, shift_from: int | None = None) -> Block:
    """A sine of twice the noise; from a row on half a standard deviation of the noise higher."""
    n = round(count * DAY_MS / STEP)
    rng = np.random.default_rng(start)
    rows = np.arange(start, start + n)
    x = 2.0 * np.sin(rows * STEP * (2 * np.pi / DAY_MS)) + rng.normal(size=n)
    if shift_from is not None:
        x[shift_from:] += 0.5
    return block({"x": x}, start, step_ms=STEP)


def new(settings: ModelSettings = SEASON) -> Model:
    """A model that learns."""
    return Model.new("m", DetectionSettings(), {"m": settings}, learn=True)


@pytest.fixture(scope="module")
def learned() -> dict[bytes, bytes]:
    """The state of a model that has learned seven days."""
    model = new()
    assert run(model, days(7)) == []
    assert model.notes == []
    return {k: v for row in store.model_rows(model) for k, v in row.records() if v is not None}


def restored(rows: dict[bytes, bytes]) -> Model:
    """The model as a take-over reads it."""
    model, problem = store.read_model("m", rows, DetectionSettings(), MODELS)
    assert problem == ""
    return model


def test_a_learned_season_sees_a_small_shift_and_calm_days_are_calm(
    learned: dict[bytes, bytes],
) -> None:
    """Five calm days open nothing; half a standard deviation of the noise, a fifth of all, opens in hours."""
    model = restored(learned)
    assert model.actor.phase is Phase.ACTIVE
    alerts = run(model, days(8, LEARNED, shift_from=5 * 4_320))
    assert [(a.type.rpartition(".")[2], a.signal) for a in alerts][:1] == [("opened", "x")]
    assert str(alerts[0].data["summary"]).startswith(
        'm: "x" is higher than in the first 30,240 events at the same hours: ('
    )
    assert 5 * 4_320 <= alerts[0].row - LEARNED < 5 * 4_320 + 1_000


def test_cuts_and_restarts_do_not_show(learned: dict[bytes, bytes]) -> None:
    """Alerts and state to the last bit, with a restart in the middle of an hour."""
    rows = days(3, LEARNED, shift_from=6_000)
    whole, cut = restored(learned), restored(learned)
    expected = run(whole, rows)
    found = [a for lo, hi in ((0, 1), (1, 7_001)) for a in cut.apply(rows, lo, hi, PROGRESS, CONTEXT)]
    again = restored(
        learned | {k: v for row in store.model_rows(cut) for k, v in row.records() if v is not None}
    )
    found += again.apply(rows, 7_001, len(rows), PROGRESS, CONTEXT)
    assert [(a.id, a.data) for a in found] == [(a.id, a.data) for a in expected]
    one, other = whole.actor.detection, again.actor.detection
    assert one is not None
    assert other is not None
    assert one.state.tobytes() == other.state.tobytes()


def test_too_short_a_reference_is_used_without_and_says_so() -> None:
    """A note for the log; the model goes on."""
    model = new(ModelSettings.model_validate({"season": "weekly", "learning_rows": 10_000}))
    run(model, days(3))
    assert model.actor.phase is Phase.ACTIVE
    assert len(model.notes) == 1
    assert model.notes[0].startswith('model m: "x": its weekly season is not used: 0 % of its values lie in')


def test_a_promoted_baseline_without_the_season_is_told() -> None:
    """It counts as it is; the note says what to do."""
    model = new()
    reference = file_reference({"x": np.random.default_rng(1).normal(size=2_000)})
    body = json.dumps({"type": "baseline.promote", "baseline": json.loads(to_json(reference))}).encode()
    _, note = carry_out(model, Command("m", 0, 0, 5, body), PROGRESS, CONTEXT)
    assert "is in force" in note
    assert len(model.notes) == 1
    assert model.notes[0].startswith('model m: "x": its baseline has no season, daily is configured; it is')
    assert model.seasons.of("x") is Period.DAILY


def test_a_signal_can_have_its_own_or_none() -> None:
    """Over that of the model."""
    own = {"season": "daily", "signals": {"a": {"season": "weekly"}, "b": {"season": "none"}}}
    seasons = new(ModelSettings.model_validate(own)).seasons
    assert [seasons.of(n) for n in "abc"] == [Period.WEEKLY, None, Period.DAILY]
