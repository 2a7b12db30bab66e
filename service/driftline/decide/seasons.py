"""Seasons as configured, put on the reference of a model that has learned it, with words for the log."""

from __future__ import annotations

import numpy as np

from driftline.config import ModelSettings
from driftline.detect.reference import Reference
from driftline.detect.rows import Segment
from driftline.detect.season import Period
from driftline.detect.seasonal import Wanted, add_seasons, blocks_of


def wanted(settings: ModelSettings) -> Wanted:
    """The seasons that a model's settings ask for."""
    own = {
        name: None if signal.season == "none" else Period(signal.season)
        for name, signal in settings.signals.items()
        if signal.season is not None
    }
    return Wanted(None if settings.season is None else Period(settings.season), own)


def learned(reference: Reference, seasons: Wanted, rows: Segment) -> tuple[Reference, list[str]]:
    """The reference with its seasons, read from the rows that it was learned from; and notes."""
    if not seasons:
        return reference, []
    return add_seasons(
        reference, seasons, lambda: blocks_of(rows, reference.model, np.arange(len(rows), dtype=np.int64))
    )


def unmet(reference: Reference, seasons: Wanted) -> list[str]:
    """Numbers of a promoted baseline without the season that the settings want."""
    found = []
    for signal in reference.signals:
        period = seasons.of(signal.signal)
        has = None if signal.season is None else signal.season.period
        if period is not None and signal.numeric is not None and has is not period:
            found.append(
                f'"{signal.signal}": its baseline has {has or "no"} season, {period} is configured; it is '
                "watched as the baseline says. Build it again with this configuration"
            )
    return found
