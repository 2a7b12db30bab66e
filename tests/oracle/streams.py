"""What the kernel tests share: plans, streams, a kernel's and a twin's findings in one form."""

from __future__ import annotations

import math

import numba
import numpy as np
import numpy.typing as npt

from driftline.detect import kernels
from driftline.detect.kernels.state import Records
from oracle.engine import Channel, Event, Plan

F64 = npt.NDArray[np.float64]

COMPILED = not numba.config.DISABLE_JIT
"""False with NUMBA_DISABLE_JIT=1: the same tests then run on sizes that plain Python can do."""

KINDS = {"open": 1, "resolve": 2, "dismissed": 4, "update": 8}
SOURCES = {"esr": 1, "adwin": 2, "ph": 4}


def bets(low: float, high: float, sd: float) -> tuple[list[float], list[float]]:
    """Lanes of DECISIONS A: bets and the means they bet against."""
    s = max(0.02, sd)
    up = [min(g / s, 0.9 / high) for g in (0.06, 0.2, 0.6, 1.6)] if high < 1.0 else []
    down = [-min(g / s, 0.9 / (1.0 - low)) for g in (0.06, 0.2, 0.6, 1.6)] if low > 0.0 else []
    return up + down, [high] * len(up) + [low] * len(down)


def records(plans: list[Plan]) -> Records:
    """The kernels' CHANNEL_PLAN of twins' plans."""
    out = kernels.new_plan(len(plans))
    for i, plan in enumerate(plans):
        out[i]["lanes"] = len(plan.lam)
        out[i]["lam"][: len(plan.lam)] = plan.lam
        out[i]["m"][: len(plan.m)] = plan.m
        out[i]["window"] = 16 * plan.bucket
        for name, value in vars(plan).items():
            if name not in ("lam", "m"):
                out[i][name] = value
    return out


def expected(plans: list[Plan], y: F64, times: npt.NDArray[np.int64]) -> list[tuple[int, Event]]:
    """(channel, event) of the twins, in order of (row, channel)."""
    channels = [Channel(plan) for plan in plans]
    out = []
    for row in range(y.shape[1]):
        for c, channel in enumerate(channels):
            event = channel.row(float(y[c, row]), row, int(times[row]))
            if event is not None:
                out.append((c, event))
    return out


def key(finding: Records) -> tuple[int, ...]:
    """The integer part of a kernel's finding."""
    names = ("row", "channel", "kind", "source", "onset_time", "onset_updates", "updates", "restated")
    return tuple(int(finding[name]) for name in names)


def event_key(channel: int, event: Event) -> tuple[int, ...]:
    """The same of a twin's event."""
    source = sum(SOURCES[name] for name in event.source)
    head = (event.row, channel, KINDS[event.kind], source)
    return (*head, event.onset_time, len(event.values), event.updates, int(event.restated))


def numbers(finding: Records) -> list[float]:
    """The real part of a kernel's finding."""
    names = ("mean", "window_mean", "e_value", "confirm_value", "adwin_stat", "adwin_bound", "ph_stat")
    return [float(finding[name]) for name in (*names, "reported")]


def event_numbers(event: Event) -> list[float]:
    """The same of a twin's event."""
    mean = math.fsum(event.values) / len(event.values)
    seen = [mean, event.window_mean, event.e_value, event.confirm_value, *event.adwin, event.ph]
    return [*seen, event.reported]


def shifting(rng: np.random.Generator, channels: int, rows: int, *, nan_share: float = 0.0) -> F64:
    """Values in [0, 1] that change level every few hundred rows, often back to 0.5: (channels, rows)."""
    y = np.empty((channels, rows))
    for c in range(channels):
        at = 0
        while at < rows:
            length = int(rng.integers(20, max(40, rows // 3)))
            power = float(rng.choice([1.0, 1.0, 0.4, 3.0, 1.3]))
            y[c, at : at + length] = rng.random(min(length, rows - at)) ** power
            at += length
    if nan_share:
        y[rng.random(y.shape) < nan_share] = np.nan
    return y


def lively_plans(rng: np.random.Generator, channels: int) -> list[Plan]:
    """Plans that open, dismiss and resolve often: short windows, generous alarms."""
    plans = []
    for _ in range(channels):
        b = int(rng.choice([1, 1, 1, 4]))
        sd = 0.2887 / math.sqrt(b)
        lam, m = bets(0.48, 0.52, sd)
        plans.append(
            Plan(
                mu0=0.5,
                lam=lam,
                m=m,
                b=b,
                level=float(rng.choice([1e3, 1e5])),
                exit_band=float(rng.choice([0.05, 0.3])),
                bucket=int(rng.choice([1, 3, 8])),
                adwin_delta=float(rng.choice([0.3, 0.01])),
                ph_delta=0.0289,
                ph_lambda=float(rng.choice([1.5, 4.0])),
                z_raw=b == 1 and bool(rng.integers(2)),
                z_scale=float(rng.choice([0.7, math.sqrt(b)])),
                ph_input_z=b > 1,
                min_run=int(rng.choice([0, 5, 30])) // b,
                hold=int(rng.choice([1, 5])),
                report_band=float(rng.choice([0.01, 0.1])),
                use_esr=bool(rng.random() < 0.8),
                use_adwin=bool(rng.random() < 0.8),
                use_ph=bool(rng.random() < 0.8),
            )
        )
    return plans
