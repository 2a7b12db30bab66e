"""Detectors of river that open episodes: marked as outside of the budget, and never in the way of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from driftline.config import DetectionSettings, ModelSettings
from driftline.decide import store
from driftline.decide.model import Model
from driftline.decide.outputs import Alert
from driftline.publish.alert_page import page_lines
from driftline.records import Block
from harness.decisions import CONTEXT, PROGRESS, block, file_reference

KSWIN = {"river": "KSWIN", "args": {"alpha": 1e-5}}
SETTINGS = DetectionSettings(min_duration_events=500)
ROWS = 10_000
BLIP = slice(3_000, 3_025)  # too short for our own detectors
CHANGE = 8_000


def settings(**detector: Any) -> dict[str, ModelSettings]:
    """KSWIN on x."""
    wanted = {"x": {"detectors": [KSWIN | detector]}} if detector else {}
    return {"m": ModelSettings.model_validate({"signals": wanted})}


def model(models: dict[str, ModelSettings]) -> Model:
    """Active, with a reference of standard normal values."""
    made = Model.new("m", SETTINGS, models, learn=True)
    made._install(file_reference({"x": np.random.default_rng(1).normal(size=20_000)}), warming=False)
    return made


@pytest.fixture(scope="module")
def rows() -> Block:
    """A blip, then quiet, then a change that stays."""
    x = np.random.default_rng(2).normal(size=ROWS)
    x[BLIP] += 3.0
    x[CHANGE:] += 2.0
    return block({"x": x})


def restarted(made: Model, models: dict[str, ModelSettings]) -> Model:
    """The model as another worker restores it."""
    made.reference_dirty = True
    held = {k: v for row in store.model_rows(made) for k, v in row.records() if v is not None}
    again, problem = store.read_model("m", held, SETTINGS, models)
    assert problem == ""
    return again


def told(alerts: list[Alert]) -> list[tuple[str, bool]]:
    """What happened, and whether the budget covers it."""
    return [(a.type.rpartition(".")[2], bool(a.data["budget"]["covered"])) for a in alerts]  # type: ignore[index]


def test_an_alarm_opens_and_silence_resolves(rows: Block) -> None:
    """A blip is an episode of its own; a change is confirmed by ours; the same whatever cuts and restarts."""
    models = settings(opens=True)
    made = model(models)
    whole = made.apply(rows, 0, ROWS, PROGRESS, CONTEXT)
    schema = json.loads((Path(__file__).parents[3] / "schemas" / "alert.v1.json").read_text())
    for alert in whole:
        Draft202012Validator(schema).validate(alert.data)
    assert told(whole) == [("opened", False), ("resolved", False), ("opened", False), ("updated", True)]
    first, end, _, confirmed = (a.data for a in whole)
    assert "a detector alarmed that the false-alarm budget does not cover" in str(first["summary"])
    assert "budget does not cover" in str(first["summary"])
    assert made.actor.detection is not None
    plan = made.actor.detection.plan[1]
    assert f"no alarm of KSWIN in {plan['window']:,} values" in str(end["summary"])
    assert "budget     not covered" in "\n".join(page_lines(first, ascii_only=True))
    assert "budget     1 false alarms a week" in "\n".join(page_lines(confirmed, ascii_only=True))
    evidence: Any = first["evidence"]
    assert evidence[0]["detectors"] == [{"name": "KSWIN", "statistic": None, "threshold": None}]
    assert (confirmed["update"]["reason"], confirmed["page"]) == ("confirmed", True)  # type: ignore[index]
    assert "is higher than in training" in str(confirmed["summary"])
    assert (confirmed["sequence"], confirmed["direction"]) == (1, "up")
    assert BLIP.start < whole[0].time_ms / 10 < BLIP.stop + 30
    step, got, other = 1_111, [], model(models)
    for lo in range(0, ROWS, step):
        got += other.apply(rows, lo, min(lo + step, ROWS), PROGRESS, CONTEXT)
        other = restarted(other, models)
    assert got == whole


def test_without_opens_it_stays_evidence(rows: Block) -> None:
    """The default: the blip is nobody's episode, and the change is one of the budget."""
    alerts = model(settings(opens=False)).apply(rows, 0, ROWS, PROGRESS, CONTEXT)
    assert told(alerts)[0] == ("opened", True)
    assert alerts[0].time_ms >= CHANGE * 10
    suspicions: Any = alerts[0].data["suspicions"]
    assert suspicions[0]["alarms"] >= 1


def test_an_episode_of_a_detector_that_is_gone_ends_with_the_next_row(rows: Block) -> None:
    """Else it would stay open for ever."""
    made = model(settings(opens=True))
    assert told(made.apply(rows, 0, 3_100, PROGRESS, CONTEXT)) == [("opened", False)]
    for models in (settings(), settings(opens=False)):
        other = restarted(made, models)
        (alert,) = other.apply(rows, 3_100, 3_200, PROGRESS, CONTEXT)
        assert (told([alert]), alert.time_ms) == ([("resolved", False)], 31_000)
        assert "is not configured to" in str(alert.data["summary"])
        assert not other.episodes.open
        other.settings_changed(SETTINGS, settings(opens=True))
        assert other.actor.detection is not None
        assert not any(plugin.open for plugin in other.actor.detection.plugins)  # its next alarm opens


def test_it_mutes_no_window_test(rows: Block) -> None:
    """An episode of river's alone counts as untold when a window closes."""
    made = model(settings(opens=True))
    made.apply(rows, 0, 3_100, PROGRESS, CONTEXT)
    assert made.episodes.open
    assert made.episodes.told() == []
    detection = made.actor.detection
    assert detection is not None
    assert detection.window.tainted == []
