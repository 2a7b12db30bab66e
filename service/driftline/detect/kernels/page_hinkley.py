"""Page-Hinkley test, two-sided, equal to river 0.26.1 alarm for alarm.

Source: E. S. Page, "Continuous inspection schemes", Biometrika 41 (1954), in the form of river's
``drift.PageHinkley(mode="both")`` with ``min_instances`` 30 and ``alpha`` 1 (a forgetting factor below 1 puts
a ceiling on the run length: DECISIONS A). River starts the running maximum at -1, not at minus infinity, and
so does this.

Owns: the ``p_*`` fields of a CHANNEL_STATE record. Must not know: what an alarm leads to.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit, jit_inline

MIN_INSTANCES: Final = 30.0
MAX_START: Final = -1.0  # river's start value of the running maximum

Test = tuple[float, float, float, float, float, float]
FRESH: Final[Test] = (0.0, 0.0, 0.0, 0.0, math.inf, MAX_START)


@jit_inline
def page_hinkley_update(x: float, test: Test, delta: float) -> tuple[Test, float]:
    """One value.

    Args:
        x: the value.
        test: (mean, n, up, dn, low, high): running mean, values seen, cumulative sums of x - mean - delta and
        of
            x - mean + delta, minimum of up, maximum of dn.
        delta: tolerated magnitude of change.

    Returns:
        The new test and its statistic, the larger of up - low and high - dn; 0 before 30 values.
    """
    mean, n, up, dn, low, high = test
    n = n + 1.0
    mean = mean + (1.0 / n) * (x - mean)
    dev = x - mean
    up = up + dev - delta
    dn = dn + dev + delta
    if up < low:
        low = up
    if dn > high:
        high = dn
    stat = 0.0
    if n >= MIN_INSTANCES:
        stat = up - low
        if high - dn > stat:
            stat = high - dn
    return (mean, n, up, dn, low, high), stat


@jit_inline
def page_hinkley_load(rec: Any) -> Test:
    """The test of a CHANNEL_STATE record; a fresh one if it is to start afresh."""
    test = (rec["p_mean"], rec["p_n"], rec["p_up"], rec["p_dn"], rec["p_min"], rec["p_max"])
    return FRESH if rec["p_reset"] != 0 else test


@jit_inline
def page_hinkley_store(rec: Any, test: Test, reset: bool) -> None:
    """Write the test to a CHANNEL_STATE record; ``reset``: the last value alarmed."""
    rec["p_mean"], rec["p_n"], rec["p_up"], rec["p_dn"], rec["p_min"], rec["p_max"] = test
    rec["p_reset"] = 1 if reset else 0


@jit
def page_hinkley_run(
    x: npt.NDArray[np.float64], state: Any, delta: float, threshold: float, out: npt.NDArray[np.int64]
) -> int:
    """Feed a whole series to one channel's Page-Hinkley test; for tests and the benchmark.

    Args:
        x: (n,) values, finite.
        state: CHANNEL_STATE[1].
        delta: tolerated magnitude of change.
        threshold: lambda.
        out: (n // 30 + 1,) out: indices of the alarms.

    Returns:
        How many alarms there were.
    """
    reset = state[0]["p_reset"] != 0
    test = page_hinkley_load(state[0])
    found = 0
    for i in range(x.shape[0]):
        if reset:
            test = FRESH
        test, stat = page_hinkley_update(x[i], test, delta)
        reset = stat > threshold
        if reset:
            out[found] = i
            found += 1
    page_hinkley_store(state[0], test, reset)
    return found
