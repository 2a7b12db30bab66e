"""The obvious program: a Faust agent that feeds each numeric feature of each event to river's detectors.

The detectors are ADWIN and Page-Hinkley. ``python faust_river.py BOOTSTRAP TOPIC EVENTS`` reads EVENTS events
from the start of TOPIC, prints one JSON line with what it cost between the first and the last, and ends. It
stores nothing and emits nothing, which Driftline does.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

import faust
from river import drift

BOOTSTRAP, TOPIC, EVENTS = sys.argv[1], sys.argv[2], int(sys.argv[3])
NUMERIC = tuple(f"feature_{i:02d}" for i in range(18))
BORN = time.time()

app = faust.App(
    f"obvious-{os.getpid()}",
    broker=f"kafka://{BOOTSTRAP}",
    store="memory://",
    datadir=os.environ["FAUST_DATADIR"],
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
    autodiscover=False,
)
events = app.topic(TOPIC, value_serializer="json")
detectors = {name: (drift.ADWIN(), drift.PageHinkley()) for name in NUMERIC}
drifts = 0


def cpu_seconds() -> float:
    """User and system time of this process, its threads and ended children."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def update(features: dict[str, Any]) -> None:
    """Every numeric feature through both detectors."""
    global drifts  # noqa: PLW0603 - the obvious program is written the obvious way
    for name in NUMERIC:
        adwin, page_hinkley = detectors[name]
        value = features[name]
        adwin.update(value)
        page_hinkley.update(value)
        drifts += adwin.drift_detected + page_hinkley.drift_detected


@app.agent(events)
async def watch(stream: Any) -> None:
    """One event at a time."""
    seen, first_wall, first_cpu = 0, 0.0, 0.0
    async for event in stream:
        if not seen:
            first_wall, first_cpu = time.time(), cpu_seconds()
        update(event["features"])
        seen += 1
        if seen >= EVENTS:
            wall, cpu = time.time() - first_wall, cpu_seconds() - first_cpu
            result = {
                "events": seen,
                "wall_seconds": wall,
                "cpu_seconds": cpu,
                "start_seconds": first_wall - BORN,
                "start_cpu_seconds": first_cpu,
                "drifts": drifts,
            }
            os.write(1, json.dumps(result).encode() + b"\n")  # Faust turns sys.stdout into log lines
            os._exit(0)


if __name__ == "__main__":
    sys.argv = ["faust", "worker", "-l", "warn", "--without-web"]
    app.main()
