"""e-SR: the Shiryaev-Roberts e-detector, a mixture over bets.

Source: J. Shin, A. Ramdas, A. Rinaldo, "E-detectors: a nonparametric framework for sequential change
detection" (2023), sections 2 (e-SR, average run length >= level) and 4 (mixtures of baseline processes); the
bets are those of DECISIONS A. Under every law with mean(y) between the two m's, E[M_t] <= t, hence the run
length to M >= B is at least B.

Owns: the recursion over the 8 lanes. The lanes are eight scalars, not an array, so that the compiler keeps
them in registers over a whole segment. A lane not in use has a = lam = 0 and stays 0: no branch. Must not
know: levels, states, findings.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit, jit_inline
from driftline.detect.kernels.state import LANES_MAX

# Evidence above this is of no use to anyone, and inf would never come down again (nor be JSON).
EVIDENCE_MAX: Final = 1e280

Lanes = tuple[float, float, float, float, float, float, float, float]
LANES_ZERO: Final[Lanes] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@jit_inline
def _step(r: float, a: float, lam: float, y: float) -> float:
    r = (1.0 + r) * (a + lam * y)
    return r if r < EVIDENCE_MAX else EVIDENCE_MAX


@jit_inline
def lanes_update(r: Lanes, a: Lanes, lam: Lanes, y: float) -> Lanes:
    """R' = (1 + R)(1 + lam (y - m)) of every lane, a = 1 - lam m taken out of the loop; at most 1e280."""
    return (
        _step(r[0], a[0], lam[0], y),
        _step(r[1], a[1], lam[1], y),
        _step(r[2], a[2], lam[2], y),
        _step(r[3], a[3], lam[3], y),
        _step(r[4], a[4], lam[4], y),
        _step(r[5], a[5], lam[5], y),
        _step(r[6], a[6], lam[6], y),
        _step(r[7], a[7], lam[7], y),
    )


@jit_inline
def lanes_sum(r: Lanes) -> float:
    """Sum of the lanes in a fixed order, a tree: shorter to wait for than a chain."""
    return ((r[0] + r[4]) + (r[2] + r[6])) + ((r[1] + r[5]) + (r[3] + r[7]))


@jit_inline
def lanes_load(x: npt.NDArray[np.float64]) -> Lanes:
    """The eight entries of an array."""
    return (x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7])


@jit_inline
def lanes_store(x: npt.NDArray[np.float64], r: Lanes) -> None:
    """Write the eight lanes to an array."""
    x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7] = r


@jit
def lane_constants(plan: Any, on: bool, a: npt.NDArray[np.float64], lam: npt.NDArray[np.float64]) -> None:
    """Constants of the recursion of one channel.

    Args:
        plan: CHANNEL_PLAN record.
        on: False = no lane is in use.
        a: (8,) out: 1 - lam m, 0 for a lane not in use.
        lam: (8,) out: the bet, 0 for a lane not in use.
    """
    bets = plan["lam"]
    means = plan["m"]
    for k in range(LANES_MAX):
        a[k] = 0.0
        lam[k] = 0.0
        if on and k < plan["lanes"]:
            a[k] = 1.0 - bets[k] * means[k]
            lam[k] = bets[k]


@jit
def confirm_update(q: npt.NDArray[np.float64], plan: Any, y: float) -> float:
    """Q_k <- Q_k (1 + lam_k (y - m_k)) for the lanes in use; returns their mean q.

    Args:
        q: (8,) in and out.
        plan: CHANNEL_PLAN record with lanes >= 1.
        y: the update.
    """
    bets = plan["lam"]
    means = plan["m"]
    lanes: int = plan["lanes"]
    total = 0.0
    for k in range(lanes):
        v = q[k] * (1.0 + bets[k] * (y - means[k]))
        if v > EVIDENCE_MAX:
            v = EVIDENCE_MAX
        q[k] = v
        total += v
    return total / lanes


@jit
def e_detector_run(
    y: npt.NDArray[np.float64], plan: Any, state: Any, level: float, out: npt.NDArray[np.int64]
) -> int:
    """e-SR alone, restarted after every alarm; for tests and the benchmark.

    Args:
        y: (n,) values in [0, 1].
        plan: CHANNEL_PLAN[1].
        state: CHANNEL_STATE[1]; its R is used.
        level: alarm at M >= level.
        out: (k,) out: indices of the first k alarms.

    Returns:
        How many alarms there were, also beyond k.
    """
    a = np.empty(LANES_MAX)
    lam = np.empty(LANES_MAX)
    lane_constants(plan[0], True, a, lam)
    ca, cl = lanes_load(a), lanes_load(lam)
    r = lanes_load(state[0]["R"])
    top = level * plan[0]["lanes"]
    found = 0
    for i in range(y.shape[0]):
        r = lanes_update(r, ca, cl, y[i])
        if lanes_sum(r) >= top:
            if found < out.shape[0]:
                out[found] = i
            found += 1
            r = LANES_ZERO
    lanes_store(state[0]["R"], r)
    return found
