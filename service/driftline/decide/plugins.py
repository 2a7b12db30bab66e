"""Which detectors of river run on which channels of a model: from its settings to plug-ins."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from driftline.config.settings import RiverDetector, SignalSettings
from driftline.detect.actor import Detection
from driftline.detect.plugins import DEFAULT_CHANNELS, Plugin
from driftline.detect.signals import Layout
from driftline.errors import MessageError


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
            made[key] = running.get(key, plugin)
    return list(made.values()), notes


def _plugin(layout: Layout, signal: str, wanted: RiverDetector) -> Plugin | None:
    """A detector of river on its channel; None when the signal has no such channel."""
    for s, spec in zip(layout.signals, layout.specs, strict=True):
        names = [c.name for c in s.channels]
        for channel in DEFAULT_CHANNELS if wanted.channel is None else (wanted.channel,):
            if s.signal == signal and channel in names:
                index = int(spec["first_channel"]) + names.index(channel)
                return Plugin.new(signal, channel, index, wanted.river, wanted.args)
    return None
