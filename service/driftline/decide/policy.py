"""From a budget of false alarms a week to the thresholds of every channel.

Formulas: docs/decisions.md, "A channel" and "Update"; each constant below has its evidence there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betainccinv, betaincinv, ndtri

from driftline.detect.actor import Detection
from driftline.detect.kernels.state import CHANNEL_PLAN, RING, STATUS_OK
from driftline.detect.rate import BUCKETS_RUN_MIN, FACTOR, HIGH, LOW, SUB_BUCKET, RateReference
from driftline.detect.reference import BLOCK_SIZES, ChannelReference, solve_theta
from driftline.detect.wander import block_size, tau_error
from driftline.records import F64

NULL_LEVEL: Final = 0.05  # chance that any source's widened null misses the reference's own sampling error
TOLERANCE_MIN: Final = 0.001
BETS: Final = (0.06, 0.2, 0.6, 1.6)
BET_MAX: Final = 0.9
BET_SD_MIN: Final = 0.02
# What these watch can only get worse, and their reference is an upper bound: no lanes for a decrease. ADWIN
# and Page-Hinkley add nothing to the e-detector on a share next to 0 (docs/decisions.md, "Thresholds").
RISING: Final = frozenset({"range", "type"})
UNBINNED: Final = frozenset({"missing", "type", "range"})  # say nothing of how values fall into bins
DETECTORS: Final = 3  # e-detector, ADWIN, Page-Hinkley share a channel's run length
RUN_LENGTH_MIN: Final = 1_000.0
CONFIRM: Final = 20.0  # e-value that confirms a suspicion of ADWIN or Page-Hinkley; 1/20 dismisses it
SUSPICION_RUN_MIN: Final = 200.0
UNIFORM_SD: Final = 0.2887  # standard deviation of a uniform value, the scale ADWIN's table was fitted on
WINDOW: Final = 4_096
WINDOW_MIN: Final = 256
WINDOW_MAX: Final = 1 << 18
BUCKETS: Final = 16
RARE_EVENTS: Final = (
    4.0  # events of the null's bound in a window; with 2 a slowly growing share flaps (ADR 1)
)
HOLD: Final = 5


def null_bounds(ref: ChannelReference, tau: float, sources: int, tolerance: float) -> tuple[float, float]:
    """The widened null [mlo, mhi] of a channel's mean; under a season, of the hour that is known least."""
    tol = max(tolerance * ref.sd, TOLERANCE_MIN)
    level = NULL_LEVEL / (2.0 * max(sources, 1))
    if not ref.binary:
        up = down = max(tol, -float(ndtri(level)) * ref.sd * math.sqrt(tau / (ref.hour_values or ref.n)))
    else:
        n, k = ref.n / tau, round(ref.mean * ref.n) / tau  # Clopper-Pearson on the effective counts
        high = float(betainccinv(k + 1.0, n - k, level)) if k < n else 1.0
        low = float(betaincinv(k, n - k + 1.0, level)) if k > 0.0 else 0.0
        up, down = max(high - ref.mean, tol), max(ref.mean - low, tol)
    if max(ref.wander) > 0.0:  # what the reference did itself is no news
        down, up = max(down, ref.wander[0] + tol), max(up, ref.wander[1] + tol)
    return max(ref.mean - down, 0.0), min(ref.mean + up, 1.0)


def lanes(mlo: float, mhi: float, sd: float) -> tuple[list[float], list[float]]:
    """Bets and null bounds of the e-detector's lanes; a side without room is dropped.

    A zero bet would make R grow like t: a certain false alarm.
    """
    scale = max(sd, BET_SD_MIN)
    lam: list[float] = []
    bound: list[float] = []
    if mhi < 1.0:
        lam += [min(g / scale, BET_MAX / mhi) for g in BETS]
        bound += [mhi] * len(BETS)
    if mlo > 0.0:
        lam += [-min(g / scale, BET_MAX / (1.0 - mlo)) for g in BETS]
        bound += [mlo] * len(BETS)
    return lam, bound


def adwin_delta(run_length: float) -> float:
    """ADWIN's delta for a mean run length, by the fitted table (extrapolated below delta .002)."""
    if run_length < 2.5e6:
        return float(min(1.0, 0.1 * (1.13e5 / run_length) ** (1.0 / 1.36)))
    return float(0.01 * 2.5e6 / run_length)


def page_hinkley_lambda(run_length: float, sd: float, thetas: tuple[float, float]) -> float:
    """Page-Hinkley's threshold for a mean run length of the two-sided test with alpha 1."""
    best = 0.5 * sd + 1e-3
    for theta in thetas:
        if theta > 0.0 and sd > 0.0:
            target = run_length * theta * theta * sd * sd
            q = float(brentq(_page_hinkley_gap, 1e-9, 200.0, args=(target,)))
            best = max(best, q / theta - 1.166 * sd)
    return best


def _page_hinkley_gap(q: float, target: float) -> float:
    """Zero where exp(q) - 1 - q equals the target."""
    return math.expm1(q) - q - target


def plan_channel(
    ref: ChannelReference,
    *,
    sources: int,
    run_length: float,
    min_duration: int,
    tolerance: float,
    tau_live: float = 1.0,
) -> npt.NDArray[np.void]:
    """The plan of one channel as a (1,) array of CHANNEL_PLAN.

    ``run_length`` is A = rows a week * sources / false alarms a week: the mean run length of the channel.
    """
    plan = np.zeros(1, dtype=CHANNEL_PLAN)
    row: Any = plan[0]
    tau = max(ref.tau, tau_live)
    b = block_size(tau, ref.n)
    row["b"], row["mu0"], row["confirm"], row["hold"] = b, ref.mean, CONFIRM, HOLD
    row["min_run"], row["window"], row["bucket"] = min_duration // b, WINDOW_MIN, WINDOW_MIN // BUCKETS
    row["adwin_delta"], row["ph_lambda"], row["level"], row["z_raw"] = 1.0, 1.0, math.inf, 1
    if ref.n == 0:
        return plan  # nothing to compare with: no lanes, no detectors
    # An underestimate of tau would keep opening episodes; one of noise is not inflated, it has no tau.
    inflated = tau if b == 1 else tau * (1.0 + float(tau_error(ref.n)))
    mlo, mhi = null_bounds(ref, inflated, sources, tolerance)
    sd_used = ref.sd if b == 1 else ref.sd * math.sqrt(tau / b)
    lam, bound = lanes(0.0 if ref.name in RISING else mlo, mhi, sd_used)
    if not lam:
        return plan
    level = max(DETECTORS * run_length / b, RUN_LENGTH_MIN)
    suspicion = max(level / CONFIRM, SUSPICION_RUN_MIN)
    half_width = max(mhi - ref.mean, ref.mean - mlo)
    row["lanes"], row["level"] = len(lam), level
    row["lam"][: len(lam)], row["m"][: len(lam)] = lam, bound
    row["use_esr"] = 1
    row["use_adwin"] = row["use_ph"] = int(ref.name not in RISING)
    row["adwin_delta"] = adwin_delta(suspicion)
    row["exit_band"], row["null_low"], row["null_high"] = 0.5 * half_width, mlo, mhi
    row["report_band"] = 2.0 * half_width
    row["window"], row["bucket"] = _window(ref, tau, b, half_width, mhi)
    _scales(row, ref, tau, b, mhi, suspicion)
    return plan


def plan_rate(rate: RateReference, *, run_length: float, min_duration: int) -> npt.NDArray[np.void]:
    """The plans of ``too-few`` and ``too-many``: the e-detector alone, each to its side.

    ``run_length`` and ``min_duration`` are in rows; an update is a bucket.
    """
    plan = np.zeros(2, dtype=CHANNEL_PLAN)
    low, high = rate.means[LOW] / FACTOR, min(rate.means[HIGH] * FACTOR, BET_MAX)
    for c, (mlo, mhi) in enumerate(((low, 1.0), (0.0, high))):
        row: Any = plan[c]
        lam, bound = lanes(mlo, mhi, rate.sds[c])
        row["b"], row["mu0"], row["z_raw"] = 1, rate.means[c], 1
        row["confirm"], row["hold"], row["use_esr"] = CONFIRM, 1, 1
        row["lanes"], row["level"] = len(lam), max(run_length / rate.rows, RUN_LENGTH_MIN)
        row["lam"][: len(lam)], row["m"][: len(lam)] = lam, bound
        row["min_run"] = max(math.ceil(min_duration / rate.rows), BUCKETS_RUN_MIN)
        row["bucket"], row["window"] = SUB_BUCKET, SUB_BUCKET * RING
        row["exit_band"] = 0.5 * abs(rate.means[c] - (low if c == LOW else high))
        row["null_low"], row["null_high"], row["report_band"] = 0.0, 1.0, math.inf
        row["adwin_delta"], row["ph_lambda"] = 1.0, 1.0
    return plan


def plan_detection(
    d: Detection,
    channels: Sequence[int],
    lengths: tuple[float, float],
    *,
    sources: int,
    min_duration: int,
    tolerance: float,
) -> None:
    """New thresholds on some channels, and on traffic where it is OK.

    ``lengths`` are the run lengths of frozen and of later channels, in rows.
    """
    for i in channels:
        d.plan[i] = plan_channel(
            d.layout.channels[i],
            sources=sources,
            run_length=lengths[i >= d.layout.frozen_channels],
            min_duration=min_duration,
            tolerance=tolerance,
            tau_live=float(d.tau_live[i]),
        )[0]
    d.run_length, d.later_run_length = lengths
    if d.rate is not None:
        made = plan_rate(d.rate.reference, run_length=lengths[0], min_duration=min_duration)
        ok = d.rate.state["status"] == STATUS_OK
        d.rate.plan[ok] = made[ok]


def window_design(d: Detection) -> F64:
    """Factor by which dependence inflates the window test of each signal: (S,).

    The largest of what blocks of the reference showed and of the signal's taus, these at the upper end of
    their own uncertainty (batch means: sqrt n blocks): an underestimate would multiply false alarms.
    """
    channels = d.layout.channels
    rows = np.array([max(c.n, 1) for c in channels], dtype=np.float64)
    tau = np.maximum(np.array([c.tau for c in channels]), d.tau_live)
    counted = np.array([c.name not in UNBINNED for c in channels])
    inflated = np.where(counted, tau * (1.0 + tau_error(rows)), 1.0)
    largest = np.maximum.reduceat(inflated, d.layout.specs["first_channel"])
    return np.asarray(np.maximum(largest, d.layout.bins.design), dtype=np.float64)


def _window(ref: ChannelReference, tau: float, b: int, half_width: float, mhi: float) -> tuple[int, int]:
    size = WINDOW * (tau / b) * (0.05 * max(ref.sd, 1e-6) / half_width) ** 2
    if ref.binary:
        size = max(size, math.ceil(RARE_EVENTS / mhi))
    window = int(min(max(WINDOW_MIN, size), WINDOW_MAX)) // BUCKETS * BUCKETS
    return window, window // BUCKETS


def _scales(row: Any, ref: ChannelReference, tau: float, b: int, mhi: float, suspicion: float) -> None:
    """ADWIN's input scale and Page-Hinkley's threshold."""
    row["z_offset"] = 0.5
    if b > 1:
        known = ref.block_sds[BLOCK_SIZES.index(b)] if b in BLOCK_SIZES else 0.0
        sd_block = max(known, 0.8 * ref.sd * math.sqrt(tau / b), 0.001)
        row["z_raw"], row["z_scale"], row["ph_input_z"] = 0, UNIFORM_SD / sd_block, 1
        delta = 0.1 * UNIFORM_SD
        theta = 2.0 * delta / UNIFORM_SD**2
        row["ph_delta"] = delta
        row["ph_lambda"] = page_hinkley_lambda(suspicion, UNIFORM_SD, (theta, theta))
        return
    row["z_raw"] = int(ref.sd <= UNIFORM_SD)
    row["z_scale"] = UNIFORM_SD / ref.sd if ref.sd > UNIFORM_SD else 1.0
    delta = 0.1 * max(ref.sd, 0.01)
    row["ph_delta"] = delta
    if ref.binary:
        p = min(0.5, mhi) if ref.mean < 0.5 else ref.mean
        weights = np.array([p, 1.0 - p])
        y = np.array([1.0, 0.0])
        thetas = (solve_theta(y - p - delta, weights), solve_theta(p - y - delta, weights))
        row["ph_lambda"] = page_hinkley_lambda(suspicion, math.sqrt(p * (1.0 - p)), thetas)
    elif ref.sd > 1e-6:
        row["ph_lambda"] = page_hinkley_lambda(suspicion, ref.sd, (ref.theta_up, ref.theta_down))
