"""The engine: states, evidence, room for findings, warm-up; layouts and compilation."""

from __future__ import annotations

import numpy as np
import pytest

from driftline.detect import kernels
from driftline.detect.kernels import state as layout
from driftline.detect.kernels.engine import FINDINGS_MIN, SEGMENT
from oracle.engine import Plan
from oracle.streams import COMPILED, F64, bets, records, shifting


def plan_of(**changes: object) -> Plan:
    """A uniform channel with a short window."""
    lam, m = bets(0.47, 0.53, 0.2887)
    plan = Plan(
        mu0=0.5,
        lam=lam,
        m=m,
        level=1e4,
        exit_band=0.1,
        bucket=4,
        adwin_delta=0.01,
        ph_delta=0.0289,
        ph_lambda=8.0,
    )
    for name, value in changes.items():
        setattr(plan, name, value)
    return plan


def alternating(low: float, high: float, n: int) -> F64:
    """A level without noise to speak of."""
    return np.where(np.arange(n) % 2 == 0, low, high)


def on_off() -> F64:
    """200 values about .5, 200 about .95, 400 about .5."""
    home, away = alternating(0.4, 0.6, 400), alternating(0.9, 1.0, 200)
    return np.concatenate([home[:200], away, home])[None, :]


def run(y: F64, plan: Plan) -> layout.Records:
    """Findings of one channel; times are 1,000 times the row."""
    times = np.arange(y.shape[1], dtype=np.int64) * 1_000
    return kernels.run_block(y, times, 0, y.shape[1], records([plan]), kernels.new_state(1))


def test_an_episode_opens_once_and_resolves_once() -> None:
    """Opened by e-SR soon after the shift, with its onset; resolved when the window came home."""
    found = run(on_off(), plan_of(use_adwin=False, use_ph=False))
    assert found["kind"].tolist() == [layout.KIND_OPEN, layout.KIND_UPDATE, layout.KIND_RESOLVE]
    opened, _, resolved = found
    assert opened["source"] == layout.SOURCE_ESR
    assert 200 <= opened["row"] < 240
    assert 200_000 <= opened["onset_time"] <= opened["row"] * 1_000
    assert opened["onset_updates"] == opened["row"] - opened["onset_time"] // 1_000 + 1
    assert opened["mean"] == pytest.approx(0.95, abs=0.05)
    assert opened["e_value"] >= 1e4
    assert np.isnan([opened["confirm_value"], opened["adwin_stat"], opened["ph_stat"]]).all()
    assert resolved["source"] == 0
    assert resolved["onset_time"] == opened["onset_time"]
    assert abs(resolved["window_mean"] - 0.5) <= 0.1
    assert resolved["updates"] == resolved["row"] + 1
    assert np.isnan(resolved["e_value"])


@pytest.mark.parametrize("hold", [1, 5])
def test_a_resolution_needs_the_window_and_the_hold(hold: int) -> None:
    """The window is home when 16 sub-buckets are; then ``hold`` of them in a row must end so."""
    found = run(on_off(), plan_of(use_adwin=False, use_ph=False, hold=hold, exit_band=0.001))
    resolved = found[found["kind"] == layout.KIND_RESOLVE]
    assert resolved["row"].tolist()[0] == 400 + 64 - 1 + 4 * (hold - 1)


def test_min_run_delays_the_opening() -> None:
    """M must have stayed high for min_run updates."""
    early = run(on_off(), plan_of(use_adwin=False, use_ph=False))
    late = run(on_off(), plan_of(use_adwin=False, use_ph=False, min_run=60))
    assert early["onset_time"][0] == late["onset_time"][0]
    assert late["onset_updates"][0] == 60
    assert late["row"][0] > early["row"][0]


def levels(*means: float, rows: int = 200) -> F64:
    """``rows`` values about each of some levels, after 200 about .5."""
    return np.concatenate(
        [alternating(0.4, 0.6, 200), *(alternating(m - 0.05, m + 0.05, rows) for m in means)]
    )[None, :]


def test_an_open_channel_restates_its_effect_and_reports_what_moved() -> None:
    """One restatement after a window; then a report a level, at most one a window; none for a wobble."""
    y = levels(0.7, 0.72, 0.9, 0.65)
    found = run(y, plan_of(use_adwin=False, use_ph=False, report_band=0.06))
    assert found["kind"].tolist() == [1, 8, 8, 8]
    assert found["restated"].tolist() == [0, 1, 0, 0]
    opened, restated, grown, shrunk = found
    assert restated["row"] - opened["row"] == pytest.approx(64, abs=4)
    assert restated["reported"] == opened["mean"]
    assert grown["reported"] == restated["window_mean"] == pytest.approx(0.7, abs=0.01)
    assert 600 < grown["row"] <= 600 + 64
    assert grown["window_mean"] == pytest.approx(0.9, abs=0.05)
    assert 800 < shrunk["row"] <= 800 + 64
    assert shrunk["reported"] == grown["window_mean"]


def test_a_step_in_the_middle_of_a_window_waits_until_the_halves_agree() -> None:
    """Otherwise a level would be reported that never was."""
    found = run(levels(0.7, 0.95), plan_of(use_adwin=False, use_ph=False, report_band=0.02))
    moved = found[(found["kind"] == 8) & (found["restated"] == 0)]
    assert len(moved) == 1
    assert moved["window_mean"][0] > 0.85


@pytest.mark.parametrize(
    ("off", "source", "fields"),
    [
        ("use_ph", layout.SOURCE_ADWIN, ("adwin_stat", "adwin_bound")),
        ("use_adwin", layout.SOURCE_PH, ("ph_stat",)),
    ],
)
def test_an_alarm_is_confirmed(off: str, source: int, fields: tuple[str, ...]) -> None:
    """Without e-SR an alarm opens after its own e-value of 20, and its evidence is reported."""
    (opened, *_) = run(on_off(), plan_of(use_esr=False, **{off: False}))
    assert opened["kind"] == layout.KIND_OPEN
    assert opened["source"] == source
    assert opened["confirm_value"] >= 20.0
    assert opened["onset_updates"] < opened["row"] - 199
    assert np.isnan(opened["e_value"])
    for name in ("adwin_stat", "adwin_bound", "ph_stat"):
        assert np.isnan(opened[name]) == (name not in fields)
    if "adwin_stat" in fields:
        assert opened["adwin_stat"] > opened["adwin_bound"] > 0.0
    else:
        assert opened["ph_stat"] > 8.0


def test_an_alarm_that_is_not_confirmed_is_dismissed() -> None:
    """A blip alarms; what follows is the reference."""
    home = alternating(0.3, 0.7, 2_000)
    home[100:130] = 1.0
    found = run(home[None, :], plan_of(use_esr=False, use_adwin=False, ph_lambda=10.0))
    assert found["kind"].tolist()[0] == layout.KIND_DISMISSED
    assert found["confirm_value"][0] <= 1 / 20
    assert layout.KIND_OPEN not in found["kind"].tolist()


def test_without_lanes_an_alarm_is_passed_over() -> None:
    """Nothing could confirm it; the channel must not hang in PENDING."""
    found = run(on_off(), plan_of(lam=[], m=[]))
    assert len(found) == 0


def test_blocks_of_rows() -> None:
    """Blocks of 4: the finding sits at the row that completes the block, the onset at a block's first row."""
    found = run(on_off(), plan_of(b=4, bucket=1, use_adwin=False, use_ph=False))
    assert found["kind"].tolist() == [1, 8, 2]
    assert (found["row"] % 4).tolist() == [3, 3, 3]
    assert (found["onset_time"] // 1_000 % 4).tolist() == [0, 0, 0]
    assert found["updates"].tolist() == [(row + 1) // 4 for row in found["row"].tolist()]


def test_missing_values_do_not_count() -> None:
    """NaN skips the channel: the same findings at other rows."""
    dense = on_off()
    sparse = np.full((1, 2 * dense.shape[1]), np.nan)
    sparse[0, ::2] = dense[0]
    a, b = run(dense, plan_of()), run(sparse, plan_of())
    assert (2 * a["row"]).tolist() == b["row"].tolist()
    for name in ("kind", "source", "onset_updates", "mean", "updates"):
        np.testing.assert_array_equal(a[name], b[name])


def test_findings_that_do_not_fit_come_in_the_next_call() -> None:
    """The least room allowed gives the same findings in several calls, none lost."""
    rng = np.random.default_rng(8)
    channels, rows = (12, 6_000) if COMPILED else (2, 600)
    y = shifting(rng, channels, rows)
    plan = records([plan_of(ph_lambda=0.6, adwin_delta=1.0, bucket=1, hold=1, exit_band=0.4)] * channels)
    times = np.arange(rows, dtype=np.int64)
    whole = kernels.run_block(y, times, 0, rows, plan, kernels.new_state(channels))
    assert len(whole) > 2 * channels
    state, cursor, parts = kernels.new_state(channels), np.array([0, 0]), []
    scratch = np.zeros(FINDINGS_MIN, layout.FINDING)
    calls = 0
    while cursor[0] < channels:
        n = kernels.run_channels(y, times, 0, rows, plan, state, scratch, 0, cursor)
        parts.append(scratch[:n].copy())
        calls += 1
    assert calls > 1
    got = np.concatenate(parts)
    got = got[np.lexsort((got["channel"], got["row"]))]
    assert got.tobytes() == whole.tobytes()


def test_a_full_array_of_findings_changes_nothing() -> None:
    """Without room for a segment the kernel returns at once, state and cursor as they were."""
    y = on_off()
    state, cursor = kernels.new_state(1), np.array([0, 0])
    scratch = np.zeros(FINDINGS_MIN, layout.FINDING)
    times = np.arange(y.shape[1], dtype=np.int64)
    n = kernels.run_channels(y, times, 0, SEGMENT, records([plan_of()]), state, scratch, 1, cursor)
    assert n == 1
    assert cursor.tolist() == [0, 0]
    assert state.tobytes() == kernels.new_state(1).tobytes()


def test_warm_up_matches_its_formula_and_any_cut() -> None:
    """tau_live = b0 * 0.5 * mean(diff(block means)^2) / var."""
    rng = np.random.default_rng(9)
    y = np.zeros((2, 500))
    for i in range(1, 500):
        y[0, i] = 0.8 * y[0, i - 1] + rng.normal()
    y[1] = rng.random(500)
    y[1, ::7] = np.nan
    b0 = np.array([20, 9])
    whole, parts = kernels.new_warmup(2), kernels.new_warmup(2)
    kernels.warm_channels(y, 0, 500, b0, whole)
    for lo, hi in ((0, 1), (1, 222), (222, 500)):
        kernels.warm_channels(y, lo, hi, b0, parts)
    assert whole.tobytes() == parts.tobytes()
    tau = kernels.tau_live(whole, b0)
    for c in range(2):
        values = y[c][~np.isnan(y[c])]
        k = len(values) // b0[c]
        means = values[: k * b0[c]].reshape(k, b0[c]).mean(axis=1)
        assert tau[c] == pytest.approx(b0[c] * 0.5 * np.mean(np.diff(means) ** 2) / values.var(), rel=1e-9)
    assert kernels.tau_live(kernels.new_warmup(2), b0).tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "dtype", [layout.CHANNEL_PLAN, layout.CHANNEL_STATE, layout.FINDING, layout.SIGNAL_SPEC, layout.WARMUP]
)
def test_layouts_have_no_hidden_padding(dtype: np.dtype[np.void]) -> None:
    """Hidden bytes are not copied by every assignment: equal states could have different bytes."""
    assert dtype.fields is not None
    assert sum(field[0].itemsize for field in dtype.fields.values()) == dtype.itemsize
    assert dtype.isalignedstruct


def test_compile_all_then_no_other_types() -> None:
    """Read-only and writable inputs share one compilation; another layout is refused instead of compiled."""
    kernels.compile_all()
    y = on_off()
    y.flags.writeable = False
    plan = plan_of()
    frozen, free = run(y, plan), run(on_off(), plan)
    assert frozen.tobytes() == free.tobytes()
    if COMPILED:
        with pytest.raises(TypeError):
            kernels.update_recent(
                np.zeros((8, 3)).T, np.zeros(1, np.int64), np.ones(3, np.int64), np.zeros((3, 5)), 0, 5
            )
