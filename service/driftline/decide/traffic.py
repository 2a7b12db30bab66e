"""Traffic in words and numbers: what a finding of the rate's channels means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from driftline.decide import texts
from driftline.detect.kernels.state import KIND_OPEN
from driftline.detect.rate import FACTOR, LOW, NAMES, RateReference

TRAFFIC: Final = "driftline.traffic"  # the signal; a feature of this name would be a strange one
CRITICAL: Final = 10.0  # times more or less than the reference


@dataclass(frozen=True, slots=True)
class TrafficSeen:
    """Rates in events a minute."""

    channel: str
    direction: str
    severity: str
    now: float
    was: float
    bound: float
    mean: float  # of the channel

    def opened(self, model: str, learned: bool, onset_ms: int, decided_ms: int) -> str:
        """The first line of an opening."""
        level, bound = ("lower", "down to") if self.direction == "down" else ("higher", "up to")
        than = "when it was learned" if learned else "in training"
        return (
            f"{model}: traffic is {level} than {than}: {texts.number(self.now)} events a minute, was "
            f"{texts.number(self.was)} ({bound} {texts.number(self.bound)} tolerated), "
            f"since about {texts.since(onset_ms, decided_ms)}"
        )

    def resolved(self, model: str, lasted_ms: int) -> str:
        """The first line of a resolution."""
        return f"{model}: traffic is back to what it was after {texts.duration(lasted_ms)}"


def traffic_seen(reference: RateReference, finding: Any) -> TrafficSeen:
    """A finding of a rate channel as rates; counts beyond the channel's cap count as the cap."""
    low = int(finding["channel"]) == LOW
    mean = float(finding["mean"] if int(finding["kind"]) == KIND_OPEN else finding["window_mean"])
    was = reference.rows * 60_000.0 / reference.bucket_ms
    now = mean * was * (1.0 if low else FACTOR**2)
    ratio = max(now / was, 1e-9)
    severe = ratio >= CRITICAL or ratio <= 1.0 / CRITICAL
    bound = was / FACTOR if low else was * FACTOR
    return TrafficSeen(
        NAMES[int(finding["channel"])],
        "down" if low else "up",
        "critical" if severe else "warning",
        now,
        was,
        bound,
        mean,
    )
