"""ADWIN: adaptive windowing, equal to river 0.26.1 alarm for alarm.

Source: A. Bifet, R. Gavalda, "Learning from time-changing data with adaptive windowing", SDM 2007, section 3
(ADWIN2: exponential histogram of buckets, cut test with the variance term of section 3.2); the order of
operations is river's (``rust_src/adwin.rs``), because two roundings apart is one alarm apart.

Owns: the window of one channel, kept in the ``a_*`` fields of its CHANNEL_STATE record. Row r of the
histogram holds at most 6 buckets of 2**r values, oldest first; row ``a_last`` is the oldest. Must not know:
what an alarm leads to.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit
from driftline.detect.kernels.state import ADWIN_CAP, ADWIN_ROWS

CLOCK: Final = 32  # a cut is looked for at every 32nd value
MIN_WINDOW: Final = 5.0  # values a sub-window needs
GRACE: Final = 10.0  # no test before the window is longer than this

# Rounding slack of the division-free test, about 90 ulps; see adwin_check.
_SLACK: Final = 1e-14
_TINY: Final = 1e-250
_HUGE: Final = 1e250


@jit
def _drop_oldest(rec: Any) -> None:
    """Remove the oldest bucket from the window."""
    tot = rec["a_tot"]
    var = rec["a_var"]
    cnt = rec["a_cnt"]
    last = rec["a_last"]
    size = float(1 << last)
    width = rec["a_width"] - size
    total = rec["a_total"] - tot[last, 0]
    mu = tot[last, 0] / size
    mw = total / width
    rec["a_variance"] -= var[last, 0] + size * width * (mu - mw) * (mu - mw) / (size + width)
    rec["a_width"] = width
    rec["a_total"] = total
    for j in range(1, cnt[last]):
        tot[last, j - 1] = tot[last, j]
        var[last, j - 1] = var[last, j]
    cnt[last] -= 1
    if cnt[last] == 0:
        rec["a_last"] = last - 1


@jit
def _exact(n0: float, n1: float, u0: float, u1: float, v: float, dp: float) -> tuple[float, float]:
    """|difference of means| and epsilon cut, in river's order of operations.

    m = 1/(n0 - min + 1) + 1/(n1 - min + 1); eps = sqrt(2 m v dp) + 2/3 dp m.
    """
    m = 1.0 / (n0 - MIN_WINDOW + 1.0) + 1.0 / (n1 - MIN_WINDOW + 1.0)
    arg = 2.0 * m * v * dp
    eps = math.nan
    if arg >= 0.0:
        eps = math.sqrt(arg) + 2.0 / 3.0 * dp * m
    return abs(u0 / n0 - u1 / n1), eps


@jit
def _merge(rec: Any, last: int) -> int:
    """Every full row merges its two oldest buckets into one of the next row. Returns the new last row."""
    tot = rec["a_tot"]
    var = rec["a_var"]
    cnt = rec["a_cnt"]
    r = 0
    while cnt[r] == ADWIN_CAP:
        if r + 1 == ADWIN_ROWS:
            # 4 * 2**40 values without a cut: never. Starting afresh keeps the arrays' bounds all the same.
            rec["a_reset"] = 1
            break
        size = float(1 << r)
        mu1 = tot[r, 0] / size
        mu2 = tot[r, 1] / size
        if r + 1 > last:
            last = r + 1
            cnt[last] = 0
        c = cnt[r + 1]
        tot[r + 1, c] = tot[r, 0] + tot[r, 1]
        var[r + 1, c] = var[r, 0] + var[r, 1] + size * 0.5 * (mu1 - mu2) * (mu1 - mu2)
        cnt[r + 1] = c + 1
        for k in range(2, ADWIN_CAP):
            tot[r, k - 2] = tot[r, k]
            var[r, k - 2] = var[r, k]
        cnt[r] = ADWIN_CAP - 2
        r += 1
    return last


@jit
def adwin_check(rec: Any, delta: float) -> tuple[bool, float, float]:
    """Drop the oldest buckets while some cut of the window separates two different means.

    Args:
        rec: a CHANNEL_STATE record; its window shrinks.
        delta: ADWIN's confidence, in (0, 1].

    Returns:
        (whether anything was dropped, |difference of means| at the first such cut, its epsilon cut);
        NaN, NaN if nothing was.
    """
    tot = rec["a_tot"]
    cnt = rec["a_cnt"]
    fired = False
    stat = math.nan
    bound = math.nan
    again = rec["a_width"] > GRACE
    while again:
        again = False
        n0 = 0.0
        n1 = rec["a_width"]
        u0 = 0.0
        u1 = rec["a_total"]
        dp = math.log(2.0 * math.log(n1) / delta)
        v = rec["a_variance"] / n1
        floor = 2.0 * v * dp * n1
        r = rec["a_last"]
        while r >= 0 and not again:
            size = float(1 << r)
            for k in range(cnt[r]):
                t = tot[r, k]
                n0 += size
                n1 -= size
                u0 += t
                u1 -= t
                if n1 < MIN_WINDOW or n0 < MIN_WINDOW:
                    continue
                # |u0/n0 - u1/n1| > eps needs (u0 n1 - u1 n0)^2 > n0 n1 (n0 + n1) 2 v dp, because eps is
                # larger than sqrt(2 (1/n0 + 1/n1) v dp). This saves two divisions and a root at nearly every
                # bucket. It only ever skips a cut that the exact test below refuses: d is widened by more
                # than all roundings of both forms, and ranges where squares leave normal numbers go to the
                # exact test.
                if u0 == 0.0 and u1 == 0.0:
                    continue
                a = u0 * n1
                b = u1 * n0
                d = abs(a - b) + _SLACK * (abs(a) + abs(b))
                room = n0 * n1 * floor
                if _TINY < room < _HUGE and d * d * (1.0 + 1e-9) <= room:
                    continue
                diff, eps = _exact(n0, n1, u0, u1, v, dp)
                if diff > eps:
                    if not fired:
                        stat = diff
                        bound = eps
                    fired = True
                    again = True
                    _drop_oldest(rec)
                    break
            r -= 1
    return fired, stat, bound


@jit
def adwin_segment(
    x: npt.NDArray[np.float64],
    n: int,
    rec: Any,
    delta: float,
    alarm: npt.NDArray[np.uint8],
    stat: npt.NDArray[np.float64],
    bound: npt.NDArray[np.float64],
) -> None:
    """Feed x[:n] to the window of one channel.

    Args:
        x: (>= n,) values, finite.
        n: how many of them.
        rec: the channel's CHANNEL_STATE record.
        delta: confidence.
        alarm: (>= n,) out: 1 where ADWIN alarmed, else 0.
        stat: (>= n,) out: |difference of means|, where alarm is 1.
        bound: (>= n,) out: the epsilon cut, where alarm is 1.
    """
    tot = rec["a_tot"]
    var = rec["a_var"]
    cnt = rec["a_cnt"]
    total = rec["a_total"]
    variance = rec["a_variance"]
    width = rec["a_width"]
    last = rec["a_last"]
    tick = rec["a_tick"]
    for i in range(n):
        v = x[i]
        alarm[i] = 0
        if rec["a_reset"] != 0:
            for r in range(last + 1):
                cnt[r] = 0
            total, variance, width, last, tick = 0.0, 0.0, 0.0, 0, 0
            rec["a_reset"] = 0
        # Insert: Welford's update of the window's sum of squared deviations, then the value itself.
        c = cnt[0]
        tot[0, c] = v
        var[0, c] = 0.0
        cnt[0] = c + 1
        width += 1.0
        if width > 1.0:
            d = v - total / (width - 1.0)
            variance += (width - 1.0) * d * d / width
        total += v
        if cnt[0] == ADWIN_CAP:
            last = _merge(rec, last)
        tick += 1
        if tick % CLOCK == 0:
            rec["a_total"] = total
            rec["a_variance"] = variance
            rec["a_width"] = width
            rec["a_last"] = last
            fired, value, limit = adwin_check(rec, delta)
            if fired:
                alarm[i] = 1
                stat[i] = value
                bound[i] = limit
                rec["a_reset"] = 1
                total = rec["a_total"]
                variance = rec["a_variance"]
                width = rec["a_width"]
                last = rec["a_last"]
    rec["a_total"] = total
    rec["a_variance"] = variance
    rec["a_width"] = width
    rec["a_last"] = last
    rec["a_tick"] = tick


@jit
def adwin_run(x: npt.NDArray[np.float64], state: Any, delta: float, out: npt.NDArray[np.int64]) -> int:
    """Feed a whole series to one channel's ADWIN; for tests and the benchmark.

    Args:
        x: (n,) values, finite.
        state: CHANNEL_STATE[1].
        delta: confidence.
        out: (n // 32 + 1,) out: indices of the alarms.

    Returns:
        How many alarms there were.
    """
    n = x.shape[0]
    alarm = np.empty(n, np.uint8)
    stat = np.empty(n, np.float64)
    bound = np.empty(n, np.float64)
    adwin_segment(x, n, state[0], delta, alarm, stat, bound)
    found = 0
    for i in range(n):
        if alarm[i] != 0:
            out[found] = i
            found += 1
    return found
