"""Detectors of river as plug-ins: their states survive exactly, their alarms are evidence."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from driftline.config import DetectionSettings, ModelSettings, load_settings, river
from driftline.decide import store
from driftline.decide.model import Model
from driftline.decide.model_view import view_of
from driftline.detect.plugins import Plugin, dump, load
from driftline.errors import MessageError, OperatorError
from harness.decisions import CONTEXT, PROGRESS, block, file_reference


def alarms(detector: Any, values: list[Any]) -> list[int]:
    """Indices at which it alarms."""
    out = []
    for i, value in enumerate(values):
        detector.update(value)
        if detector.drift_detected:
            out.append(i)
    return out


@pytest.mark.parametrize("name", river.DETECTORS)
@pytest.mark.parametrize("cut", [0, 1, 37, 900, 1_500])
def test_a_stored_detector_goes_on_as_if_nothing_had_happened(name: str, cut: int) -> None:
    """Through JSON, at any point, also where it has just alarmed."""
    rng = np.random.default_rng(1)
    level = np.where(np.arange(2_000) // 500 % 2 == 0, 0.1, 0.4)
    draws = rng.random(2_000) if river.is_binary(name) else level + 0.1 * rng.normal(size=2_000)
    values: list[Any] = (draws < level).tolist() if river.is_binary(name) else draws.tolist()
    whole = alarms(river.make(name, {}), values)
    first = river.make(name, {})
    found = alarms(first, values[:cut])
    second = load(river.make(name, {}), json.loads(json.dumps(dump(first), allow_nan=False)))
    assert dump(second) == dump(first)
    found += [cut + i for i in alarms(second, values[cut:])]
    assert found == whole
    assert whole


def test_what_does_not_fit_is_refused() -> None:
    """A state of another detector, and one that cannot be read."""
    with pytest.raises(MessageError, match="no place for"):
        load(river.make("EDDM", {}), dump(river.make("DDM", {})))
    with pytest.raises(MessageError, match="does not fit"):
        load(river.make("DDM", {}), {"list": []})
    with pytest.raises(MessageError, match="cannot be stored"):
        dump(object())


@pytest.mark.parametrize(
    ("detector", "says"),
    [
        ({"river": "KSWN"}, "no river detector 'KSWN', did you mean KSWIN"),
        ({"river": "hddm_a", "channel": "missing"}, "did you mean HDDM_A"),
        ({"river": "KSWIN", "args": {"windowsize": 50}}, "did you mean window_size"),
        ({"river": "KSWIN", "args": {"alpha": 7}}, "KSWIN refused its arguments"),
        ({"river": "DDM"}, "DDM reads 0/1 values: name a channel"),
    ],
)
def test_wrong_names_are_refused_at_start(detector: dict[str, Any], says: str) -> None:
    """With the nearest known one."""
    with pytest.raises(OperatorError, match=says):
        load_settings(None, models={"m": {"signals": {"x": {"detectors": [detector]}}}})


WANTED = ModelSettings.model_validate(
    {
        "signals": {
            "x": {"detectors": [{"river": "KSWIN", "args": {"alpha": 0.001}}]},
            "gone": {"detectors": [{"river": "KSWIN"}]},
            "y": {"detectors": [{"river": "DDM", "channel": "missing"}]},
        }
    }
)


def test_alarms_are_evidence_and_survive_restarts() -> None:
    """Counted, in the alerts of their signal; the same whatever the cuts and restarts; none opens."""
    rng = np.random.default_rng(2)
    columns = {"x": np.concatenate([rng.normal(size=4_000), rng.normal(2, 1, 2_000)])}
    columns["y"] = np.where(rng.random(6_000) < 0.3, np.nan, rng.normal(size=6_000))
    reference = file_reference(
        {"x": rng.normal(size=5_000), "y": np.where(rng.random(5_000) < 0.3, np.nan, rng.normal(size=5_000))}
    )
    rows = block(columns)

    def model() -> Model:
        made = Model.new("m", DetectionSettings(), {"m": WANTED}, learn=True)
        made._install(reference, warming=False)
        return made

    whole = model()
    expected = whole.apply(rows, 0, 6_000, PROGRESS, CONTEXT)
    assert whole.notes == ['model m: "gone" has no channel for KSWIN: it does not run']
    other, got = model(), []
    for lo in range(0, 6_000, 1_250):
        got += other.apply(rows, lo, min(lo + 1_250, 6_000), PROGRESS, CONTEXT)
        other.reference_dirty = True
        held = {k: v for row in store.model_rows(other) for k, v in row.records() if v is not None}
        other, problem = store.read_model("m", held, DetectionSettings(), {"m": WANTED})
        assert problem == ""
    assert got == expected
    assert expected[0].signal == "x"
    suspicions: Any = expected[-1].data["suspicions"]
    assert [(s["detector"], s["channel"]) for s in suspicions] == [("KSWIN", "location")]
    assert view_of(other).plugin_alarms == view_of(whole).plugin_alarms > 0


def test_missing_values_are_not_fed() -> None:
    """A detector sees what its channel sees."""
    plugin = Plugin.new("x", "location", 0, "KSWIN", {})
    y = np.array([[0.1, np.nan, 0.2, np.nan]])
    plugin.run(y, np.arange(4), 0, 4, 100)
    assert plugin.detector.n == 2


def test_the_same_setting_twice_is_one_detector() -> None:
    """Else one object would be fed every value twice after the settings changed."""
    twice = ModelSettings.model_validate({"signals": {"x": {"detectors": [{"river": "KSWIN"}] * 2}}})
    model = Model.new("m", DetectionSettings(), {"m": twice}, learn=True)
    model._install(file_reference({"x": np.random.default_rng(3).normal(size=600)}), warming=False)
    model.settings_changed(DetectionSettings(), {"m": twice})
    assert model.actor.detection is not None
    assert [p.name for p in model.actor.detection.plugins] == ["KSWIN"]
