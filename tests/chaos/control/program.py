"""The textbook Faust program: counts rows per model in a table, and tells when a count passes a multiple.

Written as Faust's own documentation does it: at least once, a table with a changelog, topics of the app. It
is the control of the chaos run; nothing of Driftline is in it.
"""

from __future__ import annotations

import os

import faust

APP = "control"
EVERY = 500  # rows of a model from one message to the next
PARTITIONS = 4

app = faust.App(
    APP,
    broker=f"kafka://{os.environ['CONTROL_BROKER']}",
    store="memory://",
    topic_partitions=PARTITIONS,
    topic_replication_factor=1,
    broker_session_timeout=float(os.environ["CONTROL_SESSION_SECONDS"]),
    broker_heartbeat_interval=1.0,
)
rows = app.topic(f"{APP}.events", key_type=str, value_type=bytes, value_serializer="raw")
alerts = app.topic(f"{APP}.alerts", key_type=str, value_type=int, value_serializer="json")
counts = app.Table("counts", default=int, key_type=str, value_type=int, partitions=PARTITIONS)


@app.agent(rows)
async def count(stream: faust.StreamT[bytes]) -> None:
    """One row more for its model."""
    async for model, _ in stream.items():  # noqa: PERF102 - a stream, not a dict
        counts[model] += 1
        if counts[model] % EVERY == 0:
            await alerts.send(key=model, value=counts[model])


if __name__ == "__main__":
    app.main()
