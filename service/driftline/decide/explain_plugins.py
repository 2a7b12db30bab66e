"""What a detector of river that a configuration names would do to a model: its alarms, and a run to be timed.

The rows are independent, with the marginals of the reference; where real rows depend on each other it alarms
more often. Pure: what a run costs is the caller's to measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from driftline.decide.explain import synthetic
from driftline.detect.actor import Detection
from driftline.detect.plugins import Plugin

PLUGIN_ROWS: Final = 10_000  # about 3 s of KSWIN, the slowest


@dataclass(frozen=True, slots=True)
class PluginPart:
    """One detector; ``alarms`` are those in ``rows`` rows like the reference: all of them false."""

    signal: str
    channel: str
    detector: str
    opens: bool
    alarms: int
    rows: int
    cpu_us: float  # a row


class PluginTrial:
    """All plug-ins of a detection, fresh, and the values that they will read."""

    def __init__(self, d: Detection, seed: int = 0) -> None:
        self.plugins: Sequence[Plugin] = [
            Plugin.new(p.signal, p.channel, p.index, p.name, p.args) for p in d.plugins
        ]
        self._opens = [p.opens for p in d.plugins]
        self._values = np.zeros((0, 0))
        if self.plugins:
            block = synthetic(d.layout.reference, PLUGIN_ROWS, seed)
            none = np.zeros(len(d.layout.signals), np.int64)
            self._values, _ = d.layout.derive(block, d.layout.new_codes(), none, 0, PLUGIN_ROWS)

    def run(self, place: int) -> None:
        """Feed all rows to one of the plug-ins."""
        plugin = self.plugins[place]
        plugin.run(self._values, np.arange(PLUGIN_ROWS), 0, PLUGIN_ROWS, PLUGIN_ROWS)

    def part(self, place: int, cpu_us: float) -> PluginPart:
        """What came of it; ``cpu_us`` is what the run took of a row."""
        p = self.plugins[place]
        return PluginPart(p.signal, p.channel, p.name, self._opens[place], p.alarms, PLUGIN_ROWS, cpu_us)
