"""Which detectors of river run on which channels of a model, and what their findings belong to.

A finding of a plug-in has a negative channel number. An episode may be held open by a plug-in that is gone,
because the configuration changed or its state did not fit: that is an orphan, and the next row closes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.config.settings import RiverDetector, SignalSettings
from driftline.decide.episodes import Episodes
from driftline.detect.actor import Detection
from driftline.detect.kernels.state import FINDING, KIND_RESOLVE
from driftline.detect.plugins import DEFAULT_CHANNELS, Plugin, bare_finding
from driftline.detect.signals import Layout
from driftline.errors import BugError, MessageError

GONE: Final = -1  # updates of a finding that closes an orphan


def attached(
    d: Detection, settings: Mapping[str, SignalSettings], stored: Sequence[Mapping[str, Any]]
) -> tuple[list[Plugin], list[str]]:
    """The plug-ins that the settings want, and what is to be said about them.

    One that runs already goes on, one with a stored state goes on from it, others begin.
    """
    held = {json.dumps(body["key"]): body for body in stored}
    running = {json.dumps(plugin.key()): plugin for plugin in d.plugins}
    made: dict[str, Plugin] = {}  # the same setting twice is one detector
    notes: list[str] = []
    for name, signal in settings.items():
        for wanted in signal.detectors:
            plugin = _plugin(d.layout, name, wanted)
            if plugin is None:
                notes.append(f'"{name}" has no channel for {wanted.river}: it does not run')
                continue
            key = json.dumps(plugin.key())
            if key in held:
                try:
                    plugin.restore(held[key])
                except MessageError as error:
                    notes.append(f"{wanted.river} begins anew: {error}")
            opens = wanted.opens or (key in made and made[key].opens)
            made[key] = running.get(key, plugin)
            made[key].opens = opens
            made[key].open &= opens  # else it would think later that its episode is still there
    return list(made.values()), notes


def place_of(d: Detection, finding: Any, episodes: Episodes) -> tuple[int, int, str]:
    """Signal and channel of a plug-in's finding, and the detector's name; "" where an orphan is closed."""
    signals, number = [s.signal for s in d.layout.signals], int(finding["channel"])
    for plugin in d.plugins:
        if plugin.number == number and int(finding["updates"]) != GONE:
            return signals.index(plugin.signal), plugin.index, plugin.name
    for signal, episode in episodes.open.items():
        if number in episode.channels:
            at = signals.index(signal)
            names = [c.name for c in d.layout.signals[at].channels]
            channel = episode.evidence[str(number)]["channel"]
            return at, int(d.layout.specs[at]["first_channel"]) + names.index(channel), ""
    raise BugError(f"a finding of channel {number}, which nothing has")


def orphans(d: Detection, episodes: Episodes) -> list[int]:
    """Numbers in open episodes of plug-ins that do not hold them open any more."""
    held = {plugin.number for plugin in d.plugins if plugin.opens and plugin.open}
    return [c for e in episodes.open.values() for c in e.channels if c < 0 and c not in held]


def closings(numbers: Sequence[int], episodes: Episodes, row: int, time: int) -> npt.NDArray[Any]:
    """The findings that close orphans at a row; they know the mean of the opening only."""
    seen = {c: e.evidence[str(c)] for e in episodes.open.values() for c in e.channels if c in numbers}
    return np.array(
        [bare_finding(row, c, KIND_RESOLVE, time, float(s["current_mean"]), GONE) for c, s in seen.items()],
        FINDING,
    )


def _plugin(layout: Layout, signal: str, wanted: RiverDetector) -> Plugin | None:
    """A detector of river on its channel; None when the signal has no such channel."""
    for s, spec in zip(layout.signals, layout.specs, strict=True):
        names = [c.name for c in s.channels]
        for channel in DEFAULT_CHANNELS if wanted.channel is None else (wanted.channel,):
            if s.signal == signal and channel in names:
                index = int(spec["first_channel"]) + names.index(channel)
                return Plugin.new(signal, channel, index, wanted.river, wanted.args)
    return None
