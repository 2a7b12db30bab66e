"""The obvious program: a Faust agent that feeds each numeric feature of each event to river's detectors.

Arguments as in meter.Task. It stores nothing and emits nothing, which Driftline does.
"""

from __future__ import annotations

import os
import sys
import uuid
from typing import Any

import faust
from river import drift

from bench.events import NUMERIC
from bench.peers.meter import Meter, Task


class Detectors:
    """ADWIN and Page-Hinkley for every numeric feature."""

    def __init__(self) -> None:
        self.detections = 0
        self._by_name = {name: (drift.ADWIN(), drift.PageHinkley()) for name in NUMERIC}

    def update(self, features: dict[str, Any]) -> None:
        """Every numeric feature through both."""
        for name in NUMERIC:
            adwin, page_hinkley = self._by_name[name]
            value = features[name]
            adwin.update(value)
            page_hinkley.update(value)
            self.detections += adwin.drift_detected + page_hinkley.drift_detected


def make_app(task: Task) -> faust.App:
    """The program; it ends its own process after the last event, as a Faust worker has no other early end."""
    app = faust.App(
        f"obvious-{uuid.uuid4()}",
        broker=f"kafka://{task.bootstrap}",
        store="memory://",
        datadir="state",  # in the folder it is started in
        topic_disable_leader=True,
        consumer_auto_offset_reset="earliest",
        autodiscover=False,
    )
    detectors, meter = Detectors(), Meter(task)

    @app.agent(app.topic(task.topic, value_serializer="json"))
    async def watch(stream: Any) -> None:
        """One event at a time."""
        async for event in stream:
            meter.before()
            detectors.update(event["features"])
            if meter.after(1):
                meter.result(detectors.detections)
                os._exit(0)

    return app


if __name__ == "__main__":
    asked = Task.from_argv()
    sys.argv = ["faust", "worker", "-l", "warn", "--without-web"]
    make_app(asked).main()
