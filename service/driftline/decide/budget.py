"""The budget: how many rows may pass between two false openings of one source.

A source is whatever can open an episode of the model: every channel, every window test, traffic, errors. All
share ``false_alarms_per_week`` alike; features that appear after the reference was frozen share a tenth of
their own, so that they never make the others deafer or noisier (docs/decisions.md, "Thresholds").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from driftline.detect.signals import Layout
from driftline.records import F64

RESERVE: Final = 0.1  # of the budget, for features that appear later
RATE_CHANGE: Final = 1.5  # thresholds follow the rate when it left [1 / 1.5, 1.5] of the one in force
RUN_LENGTH_MIN: Final = 1_000.0
RUN_LENGTH_MAX: Final = 1e13  # a rate read from rows without a time span says nothing


def run_length(rate: float, sources: int, false_alarms: float) -> float:
    """A = rows a week * sources / false alarms a week."""
    return float(min(max(rate * max(sources, 1) / false_alarms, RUN_LENGTH_MIN), RUN_LENGTH_MAX))


def outdated(in_force: float, wanted: float) -> bool:
    """Whether thresholds made for a run length are to be made anew for another."""
    return not 1.0 / RATE_CHANGE <= wanted / in_force <= RATE_CHANGE


@dataclass(frozen=True, slots=True)
class Budget:
    """What a model's sources share."""

    frozen: int  # sources of the frozen reference
    later: int  # sources of features that appeared later

    @classmethod
    def of(cls, layout: Layout, *, labelled: bool = False) -> Budget:
        """Count the sources of a layout; ``labelled``: and the model's errors, where labels are joined."""
        tests = [s.bins is not None for s in layout.signals]
        at = layout.frozen_signals
        later = len(layout.channels) - layout.frozen_channels + sum(tests[at:])
        traffic = 2 if layout.reference.rate is not None else 0
        return cls(layout.frozen_channels + sum(tests[:at]) + traffic + labelled, later)

    @property
    def sources(self) -> int:
        """All of them: their number widens every null."""
        return self.frozen + self.later

    def run_lengths(self, rate: float, false_alarms: float) -> tuple[float, float]:
        """Run lengths of a frozen and of a later source, in rows, at a rate in rows a week."""
        return (
            run_length(rate, self.frozen, (1.0 - RESERVE) * false_alarms),
            run_length(rate, self.later, RESERVE * false_alarms),
        )


def by_signal(layout: Layout, frozen: float, later: float) -> F64:
    """Run length of the window test of each signal: (S,)."""
    out = np.full(len(layout.signals), frozen)
    out[layout.frozen_signals :] = later
    return out
