"""The page of ``config explain``: delays against simulation, budget, cost."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from driftline.config import Settings, load_settings
from driftline.decide.explain import SHIFTS, Trial, synthetic
from driftline.decide.explain_plugins import PluginTrial
from driftline.detect.kernels.engine import run_block
from driftline.detect.kernels.state import KIND_OPEN, new_state
from driftline.detect.reference import RawColumn, Reference, build_reference
from driftline.errors import OperatorError
from driftline.publish.explanation import as_json, explanation_lines
from driftline.records import F64, ColumnKind, Tag

ROWS = 20_000
RUNS = 15


def autoregressive(rng: np.random.Generator, n: int, phi: float) -> F64:
    """An AR(1)."""
    noise = rng.normal(size=n)
    out: F64 = np.empty(n)
    last = 0.0
    for i, e in enumerate(noise.tolist()):
        last = phi * last + e
        out[i] = last
    return out


def reference(x: F64) -> Reference:
    """One numeric, one categorical and one zero-inflated signal, a row a second."""
    n = len(x)
    rng = np.random.default_rng(5)
    words: F64 = (rng.random(n) < 0.3).astype(np.float64)
    numbers, texts = np.full(n, Tag.NUMBER, np.uint8), np.full(n, Tag.STRING, np.uint8)
    zeros: F64 = np.abs(x) * (rng.random(n) >= 0.6)
    raw = [
        RawColumn(ColumnKind.FEATURE, "x", numbers, x, ()),
        RawColumn(ColumnKind.FEATURE, "word", texts, words, ("a", "b")),
        RawColumn(ColumnKind.FEATURE, "zeros", numbers, zeros, ()),
    ]
    return build_reference("m", "file", raw, np.arange(n, dtype=np.int64) * 1_000, time_ordered=True)


def settings(**models: dict[str, float]) -> Settings:
    """Settings that name models."""
    return load_settings(None, models=models or {"m": {}})


NORMAL = reference(np.random.default_rng(6).normal(size=ROWS))


def simulated(trial: Trial, name: str, values: list[F64]) -> float:
    """Mean events until the e-detector of a signal opens, ADWIN and Page-Hinkley being off."""
    d = trial.detection
    s = [signal.signal for signal in d.layout.signals].index(name)
    first, count = int(d.layout.specs[s]["first_channel"]), int(d.layout.specs[s]["n_channels"])
    plan = d.plan[first : first + count].copy()
    plan["use_adwin"] = plan["use_ph"] = 0
    found = []
    for x in values:
        block = synthetic(d.layout.reference, len(x), 1)
        place = [c.name for c in block.columns].index(name)
        block.values[place], block.tags[place] = x, d.layout.want_tag[s]
        y, _ = d.layout.derive(block, d.codes, d.mismatches, 0, len(x))
        rows = y[first : first + count].copy()
        events = run_block(rows, block.event_time, 0, len(x), plan, new_state(count))
        opened = events[events["kind"] == KIND_OPEN]
        assert len(opened)
        found.append(int(opened["row"][0]) + 1)
    return float(np.mean(found))


@pytest.mark.parametrize("phi", [0.0, 0.9])
def test_delays_are_those_of_a_simulation(phi: float) -> None:
    """Within a factor of 1.5, for independent and for dependent rows."""
    rng = np.random.default_rng(7)
    made = NORMAL if phi == 0.0 else reference(autoregressive(rng, ROWS, phi))
    trial = Trial(settings(), made, 100.0)
    expected = {s.name: s.delays for s in trial.explanation().signals}["x"]
    numeric = next(s.numeric for s in made.signals if s.name == "x")
    assert numeric is not None
    for shift, delay in zip(SHIFTS, expected, strict=True):
        if delay is None or delay > 30_000:
            continue
        draws = [autoregressive(rng, 120_000, phi) + shift * numeric.sd for _ in range(RUNS)]
        ratio = simulated(trial, "x", draws) / delay
        assert 1 / 1.5 <= ratio <= 1.5, (shift, delay, ratio)
    assert sum(d is not None for d in expected) >= 3


def test_delays_of_a_share() -> None:
    """A category's share moves by a standard deviation of its indicator."""
    rng = np.random.default_rng(8)
    trial = Trial(settings(), NORMAL, 100.0)
    delays = {s.name: s.delays for s in trial.explanation().signals}["word"]
    share = next(c for c in trial.detection.layout.channels if c.name == "share[a]")
    for shift, delay in zip(SHIFTS[:2], delays[:2], strict=True):
        assert delay is not None
        p = share.mean + shift * share.sd
        draws: list[F64] = [(rng.random(60_000) >= p).astype(np.float64) for _ in range(RUNS)]
        ratio = simulated(trial, "word", draws) / delay
        assert 1 / 1.5 <= ratio <= 1.5, (shift, delay, ratio)


def test_smaller_shifts_take_longer_and_tolerated_ones_for_ever() -> None:
    """A reference of 500 rows sees small shifts late; what is within the tolerance is not seen at all."""
    page = Trial(settings(), NORMAL, 100.0).explanation()
    for delays in (s.delays for s in page.signals):
        known = [d for d in delays if d is not None]
        assert known == sorted(known, reverse=True)
    small = Trial(settings(), reference(np.random.default_rng(9).normal(size=500)), 100.0).explanation()
    late, soon = ({s.name: s.delays[0] for s in one.signals}["x"] for one in (small, page))
    assert soon is not None
    assert late is None or late > 2.0 * soon
    deaf = load_settings(None, models={"m": {}}, detection={"tolerance": 0.8})
    seen = {s.name: s.delays for s in Trial(deaf, NORMAL, 100.0).explanation().signals}["x"]
    assert [d is None for d in seen] == [True, True, False, False]


def test_the_budget_is_shared_out() -> None:
    """Shares add up to no more than it; twice the traffic or half of it doubles run lengths; a pin yields."""
    page = Trial(settings(), NORMAL, 100.0).explanation()
    parts = [c for s in page.signals for c in s.channels]
    assert 0.5 < sum(c.false_alarms_per_week for c in parts) <= 0.9 * page.false_alarms_per_week
    assert parts[0].run_length == pytest.approx(page.events_per_week / parts[0].false_alarms_per_week)
    assert page.events_per_week == 100.0 * 7 * 86_400
    half = Trial(settings(m={"false_alarms_per_week": 0.5}), NORMAL, 100.0).explanation()
    twice = Trial(settings(m={"rows_per_week": 1.0}), NORMAL, 200.0).explanation()
    for other in (half, twice):
        assert other.signals[0].channels[0].run_length == pytest.approx(2 * parts[0].run_length)


def test_without_a_rate_it_says_so() -> None:
    """The stored one is used where there is one."""
    assert Trial(settings(), NORMAL, None).rate == NORMAL.rows_per_week
    with pytest.raises(OperatorError, match="--rate"):
        Trial(settings(), replace(NORMAL, rows_per_week=0.0), None)


def test_the_page_is_readable_and_plain_json() -> None:
    """Everything that a person sizes by is on it."""
    trial = Trial(settings(), NORMAL, 100.0)
    trial.rows(1)
    page = trial.explanation()
    text = "\n".join(explanation_lines(page, 3.5))
    for part in ("m: baseline", "false alarms a week", "100 events", "3.5 us of CPU", "% to 51.", "ADWIN"):
        assert part in text
    body = json.loads(json.dumps(as_json(page, 3.5), allow_nan=False))
    assert [d["shift_sd"] for d in body["signals"][0]["delays"]] == list(SHIFTS)
    assert body["snapshot_bytes"] > 1_000


def test_detectors_of_river_show_their_false_alarms_and_cost() -> None:
    """The same alarms each time; the page says that the budget does not cover them."""
    detectors = [
        {"river": "HDDM_W", "channel": "share[a]", "opens": True},
        {"river": "DDM", "channel": "missing"},
    ]
    named = load_settings(None, models={"m": {"signals": {"word": {"detectors": detectors}}}})
    trial = Trial(named, NORMAL, 100.0)
    found = []
    for _ in range(2):
        plugins = PluginTrial(trial.detection)
        for place in range(len(plugins.plugins)):
            plugins.run(place)
        found.append([plugins.part(place, 1.5) for place in range(len(plugins.plugins))])
    assert found[0] == found[1]
    hddm, ddm = found[0]
    assert (hddm.detector, hddm.opens, hddm.rows, ddm.opens, ddm.alarms) == ("HDDM_W", True, 10_000, False, 0)
    assert hddm.alarms > 0
    page = trial.explanation()
    text = "\n".join(explanation_lines(page, 3.5, found[0]))
    assert "which the budget does not cover" in text
    rows = {line.split()[2]: line for line in text.splitlines() if "HDDM_W" in line or "DDM " in line}
    assert "opens an episode" in rows["HDDM_W"]
    assert "is evidence" in rows["DDM"]
    assert "under 18,144" in rows["DDM"]  # the rule of three
    body = json.loads(json.dumps(as_json(page, 3.5, found[0]), allow_nan=False))
    weekly = hddm.alarms / 10_000 * 100.0 * 7 * 86_400
    assert body["plugins"][0]["false_alarms_per_week"] == pytest.approx(weekly)
    assert body["plugins"][0]["covered"] is False


def test_kpis_are_listed() -> None:
    """Of the model and the defaults, with window, bounds and how long a breach lasts; none without."""
    kpis = {
        "agreed": {"measure": "recall.fraud", "min": 0.8, "window": "7d", "for": 2, "severity": "critical"},
        "few": {"measure": "missing.x", "max": 0.05, "window": 500, "for": "30m"},
        "shape": {"measure": "psi.x", "max": 0.25},
    }
    page = Trial(load_settings(None, models={"m": {"kpis": kpis}}), NORMAL, 100.0).explanation()
    rows = [re.split(r" {2,}", line.strip()) for line in explanation_lines(page, 1.0)]
    cells = {row[0]: row[1:] for row in rows if row[0] in kpis}
    assert cells == {
        "agreed": ["recall of fraud", "7d", "at least 0.8 in 2 windows", "critical"],
        "few": ['share of events without "x"', "500 rows", "at most 5 % for 30m", "warning"],
        "shape": ['PSI of "x"', "usual", "at most 0.25", "warning"],
    }
    assert [k["name"] for k in as_json(page, 1.0)["kpis"]] == list(kpis)
    assert "KPI" not in "\n".join(explanation_lines(Trial(settings(), NORMAL, 100.0).explanation(), 1.0))


def test_synthetic_rows_are_like_the_reference() -> None:
    """The same for the same seed; shares, moments and missing values of the reference."""
    made, again = synthetic(NORMAL, 20_000, 3), synthetic(NORMAL, 20_000, 3)
    assert made.values.tobytes() == again.values.tobytes()
    by_name = dict(zip([c.name for c in made.columns], made.values, strict=True))
    assert np.mean(by_name["zeros"] == 0.0) == pytest.approx(0.6, abs=0.02)
    assert np.std(by_name["x"]) == pytest.approx(1.0, abs=0.03)
