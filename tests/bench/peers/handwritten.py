"""The work of the hand-written loops: orjson, and river's ADWIN and Page-Hinkley on every numeric feature.

The loops differ in their client only (aiokafka_loop.py, confluent_loop.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import itemgetter
from typing import Final

import orjson
from river import drift

from bench.events import NUMERIC

NUMBERS: Final = itemgetter(*NUMERIC)  # one call an event instead of 18 look-ups
CHUNK_RECORDS: Final = 10_000  # at most, from one call of the client
FETCH_BYTES: Final = 4 << 20  # a partition; the clients' default of 1 MiB is 1,600 events


class Work:
    """One set of detectors for the whole topic, in memory."""

    def __init__(self) -> None:
        self.detections = 0
        self._detectors = [(drift.ADWIN(), drift.PageHinkley()) for _ in NUMERIC]

    def run(self, values: Iterable[bytes]) -> None:
        """Events one after another."""
        found = 0
        for value in values:
            numbers = NUMBERS(orjson.loads(value)["features"])
            for (adwin, page_hinkley), number in zip(self._detectors, numbers, strict=True):
                adwin.update(number)
                page_hinkley.update(number)
                found += adwin.drift_detected + page_hinkley.drift_detected
        self.detections += found
