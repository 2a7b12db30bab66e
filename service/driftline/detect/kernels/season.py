"""Season: a value's place among those of its own hour, from its place in the whole reference.

Owns: the map of u (see ``pit.py``) through the distributions of the two hours whose middles it lies between,
so that nothing jumps when an hour ends. Time is event time in UTC. Must not know: where the maps come from,
which signals have a season.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]

CELLS: Final = 64  # of u, equally wide: bounds at quantiles of the whole reference
HOUR_MS: Final = 3_600_000


@jit
def deseason(y: F64, times: I64, lo: int, hi: int, location: I64, start: I64, hours: I64, maps: F64) -> None:
    """Replace location and spread of signals with a season, rows lo..hi.

    Args:
        y: (C, n) channel values in and out; the spread of a signal follows its location.
        times: (n,) event times, ms.
        lo: first row.
        hi: row after the last.
        location: (P,) channel of the location of each signal with a season.
        start: (P,) first row of its maps.
        hours: (P,) how many it has: 24 or 168.
        maps: (H, CELLS + 1) place within the hour at u = 0, 1 / CELLS ... 1; each starts at 0, ends at 1.
    """
    before = np.empty(hi - lo, np.int64)
    way = np.empty(hi - lo, np.float64)
    held = 0
    for p in range(location.shape[0]):
        size = hours[p]
        if size != held:
            held = size
            for i in range(lo, hi):
                since = times[i] - HOUR_MS // 2  # of the middle of hour 0
                hour = since // HOUR_MS
                way[i - lo] = (since - hour * HOUR_MS) / HOUR_MS
                before[i - lo] = hour % size
        c = location[p]
        for i in range(lo, hi):
            u = y[c, i]
            if u == u:
                a = before[i - lo]
                b = a + 1 if a + 1 < size else 0
                k = int(u * CELLS)
                if k >= CELLS:
                    k = CELLS - 1
                part = u * CELLS - k
                a += start[p]
                b += start[p]
                one = maps[a, k] + part * (maps[a, k + 1] - maps[a, k])
                other = maps[b, k] + part * (maps[b, k + 1] - maps[b, k])
                v = one + way[i - lo] * (other - one)
                y[c, i] = v
                y[c + 1, i] = abs(2.0 * v - 1.0)
