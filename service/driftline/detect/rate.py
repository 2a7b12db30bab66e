"""Traffic: how many rows of a model come in a bucket of event time, too few or too many.

Owns: the reference of the rate, the buckets, and two channels on them: ``too-few`` is the count over its
mean, at most 1; ``too-many`` the count over 16 means, at most 1. Rates between a quarter and the fourfold of
the reference are left alone: real traffic has days and weeks, which a short reference does not show. The
e-detector asks nothing of the distribution of counts, so bursts cost speed, not false alarms. A bucket ends
with the first row beyond it. A silence is not judged: a pipeline that stood still, a file that leaves days
out and a dead producer look the same (``driftline_last_event_timestamp_seconds`` is for that). Must not know:
clocks, episodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels.engine import run_block
from driftline.detect.kernels.state import CHANNEL_PLAN, new_state
from driftline.records import F64, I64

FACTOR: Final = 4.0  # from a quarter to the fourfold of the reference's rate is tolerated
ROWS_A_BUCKET: Final = 20
BUCKET_MS_MIN: Final = 1_000
BUCKET_MS_MAX: Final = 3_600_000
BUCKETS_MIN: Final = 30  # of the reference; fewer say nothing
SILENT_MAX: Final = 30  # empty buckets in a row that count: too few to open an episode by themselves
SUB_BUCKET: Final = 4  # 64 buckets like the reference resolve an episode
BUCKETS_RUN_MIN: Final = 60  # of evidence: a minute's pause of a fast producer is none
NAMES: Final = ("too-few", "too-many")
LOW, HIGH = 0, 1


@dataclass(frozen=True, slots=True)
class RateReference:
    """Rows of a bucket in the reference: their mean, and means and deviations of the two channels."""

    bucket_ms: int
    rows: float
    means: tuple[float, float]
    sds: tuple[float, float]


@dataclass(slots=True)
class Rate:
    """The traffic of a model that is being watched."""

    reference: RateReference
    plan: npt.NDArray[Any]  # CHANNEL_PLAN (2,)
    state: npt.NDArray[Any]  # CHANNEL_STATE (2,)
    bucket: int = -1  # number of the one that is filling, -1 before the first row
    count: int = 0  # rows in it

    @classmethod
    def new(cls, reference: RateReference) -> Rate:
        """Before the first row."""
        return cls(reference, np.zeros(2, CHANNEL_PLAN), new_state(2))

    def run(self, times: I64, lo: int, hi: int) -> npt.NDArray[Any]:
        """Findings of rows lo..hi; their ``row`` is the row that ended the deciding bucket."""
        size = self.reference.bucket_ms
        place = np.maximum.accumulate(np.maximum(times[lo:hi] // size, self.bucket))
        if self.bucket < 0:
            self.bucket = int(place[0])
        ends = np.flatnonzero(np.diff(place, prepend=self.bucket))
        counts: list[int] = []
        rows: list[int] = []
        starts: list[int] = []
        before = 0
        for end in ends.tolist():
            closed = [self.count + end - before, *[0] * min(int(place[end]) - self.bucket - 1, SILENT_MAX)]
            counts += closed
            rows += [lo + end] * len(closed)
            starts += [(self.bucket + k) * size for k in range(len(closed))]
            self.bucket, self.count, before = int(place[end]), 0, end
        self.count += hi - lo - before
        found = run_block(values(np.array(counts), self.reference.rows), np.array(starts, dtype=np.int64), 0,
                          len(counts), self.plan, self.state)  # fmt: skip
        found["row"] = [rows[i] for i in found["row"].tolist()]
        return found


def values(counts: I64, mean: float) -> F64:
    """Both channels of the rows of some buckets: (2, n)."""
    share = counts.astype(np.float64) / mean
    return np.ascontiguousarray([np.minimum(share, 1.0), np.minimum(share / FACTOR**2, 1.0)])


def rate_reference(times: I64) -> RateReference | None:
    """From the event times of all traffic of a time, in order; None when they say too little."""
    highest = np.maximum.accumulate(times)
    span = int(highest[-1] - highest[0])
    if span <= 0:
        return None
    bucket_ms = bucket_size(span, len(times))
    return rate_of(np.bincount((highest // bucket_ms - highest[0] // bucket_ms).astype(np.int64)), bucket_ms)


def bucket_size(span: int, rows: int) -> int:
    """Length of a bucket for so many rows in so many milliseconds."""
    return int(min(max(ROWS_A_BUCKET * span / rows, BUCKET_MS_MIN), BUCKET_MS_MAX))


def rate_of(counts: I64, bucket_ms: int) -> RateReference | None:
    """From the rows of each bucket, the first and the last of which are cut."""
    counts = counts[1:-1]
    if len(counts) < BUCKETS_MIN or not counts.any():
        return None
    mean = float(counts.mean())
    y = values(counts, mean)
    means, sds = y.mean(axis=1), y.std(axis=1)
    return RateReference(bucket_ms, mean, (float(means[0]), float(means[1])), (float(sds[0]), float(sds[1])))


def check_rate(reference: RateReference) -> bool:
    """Whether the numbers are ones that the kernels can work with."""
    shares = (*reference.means, *reference.sds)
    sound = all(0.0 <= v <= 1.0 for v in shares) and min(reference.means, default=0.0) > 0.0
    sound = sound and [len(reference.means), len(reference.sds)].count(2) == 2
    return sound and 1 <= reference.bucket_ms <= BUCKET_MS_MAX and 0.0 < reference.rows < math.inf
