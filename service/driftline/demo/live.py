"""The demo on a real Kafka: stream the events, show what the worker says, and count from what it stored.

The live screen reads /metrics and follows the alerts topic; the figures of the summary are read back from
the topics when the stream is over, never from a process's own counters.
"""

from __future__ import annotations

import asyncio
import bisect
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from driftline.clients import client_options
from driftline.config import Settings
from driftline.decide import store
from driftline.decide.labelled import Labelled
from driftline.demo.faults import PlantedFault
from driftline.demo.flights import MODEL
from driftline.demo.summary import Performance, RowCount
from driftline.demo.view import Frame, SignalLine, View, ranked
from driftline.demo.wire import Sender, end_of, follow, read_all
from driftline.demo.worker import Worker, read_metrics
from driftline.detect.reference import Reference, to_json
from driftline.errors import OutsideError
from driftline.publish.commands import promote

EVENTS_PARTITIONS: Final = 1  # then an offset is the number of the event, and order is the order of departure
SEND_ROWS: Final = 500
# Without --speed the sender stays this close to the worker: about a second of its work, so that the screen
# shows detection at work and not a backlog.
AHEAD_ROWS_MAX: Final = 25_000
METRICS_EVERY_SECONDS: Final = 0.5
PROMOTE_TIMEOUT_SECONDS: Final = 60.0
STALL_SECONDS: Final = 60.0
SETTLE_SECONDS: Final = 6.0  # longer than a flush and a checkpoint together
STORED_TIMEOUT_SECONDS: Final = 60.0
END_SECONDS_MAX: Final = 5.0  # for clients to disconnect; somebody who pressed Ctrl-C waits for it


@dataclass(frozen=True, slots=True)
class Stream:
    """What is streamed: the records, the departure of each (ms), and what was planted."""

    records: Sequence[bytes]
    times_ms: Sequence[int]
    fault: PlantedFault
    broken: int
    label_times_ms: Sequence[int] = ()
    labels: Sequence[bytes] = ()  # arrivals, in the order of these times
    label_delays_hours: tuple[float, float] | None = None  # after departure: median, 99 % below

    def date(self, row: int) -> str:
        """The date the stream has reached with ``row`` rows."""
        at = self.times_ms[min(max(row - 1, 0), len(self.times_ms) - 1)]
        return time.strftime("%Y-%m-%d", time.gmtime(at / 1000))

    def done(self, applied: int) -> int:
        """Rows dealt with when ``applied`` are applied: broken ones are rejected instead."""
        return applied + applied * self.broken // max(len(self.records) - self.broken, 1)

    def arrived(self, row: int) -> int:
        """How many labels are known when ``row`` rows have been sent."""
        return bisect.bisect_right(self.label_times_ms, self.times_ms[row - 1])

    def note(self, row: int) -> str:
        """What was last planted when ``row`` rows have been sent."""
        if row < self.fault.begin:
            return ""
        if row < self.fault.end:
            return f'Planted: "{self.fault.signal}" now comes in kilometres instead of miles'
        span = f"{self.fault.begin:,} to {self.fault.end:,}"
        return f'Planted: "{self.fault.signal}" was in kilometres in events {span}; now it is right again'


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out of the stream."""

    alerts: list[Mapping[str, Any]]
    rows: RowCount
    seconds: float
    latencies: list[float]
    performance: Performance | None = None
    reports: Sequence[Mapping[str, Any]] = ()


@dataclass(slots=True)
class _State:
    """What the tasks of one run share."""

    started: float
    sent: int = 0
    applied: int = 0
    applied_at: float = 0.0
    per_second: float = 0.0
    signals: list[SignalLine] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)  # rows sent after each batch ...
    marks_ms: list[int] = field(default_factory=list)  # ... and its record timestamp's upper bound
    latencies: list[float] = field(default_factory=list)
    alerts_seen: int = 0


async def put_in_force(settings: Settings, baseline: Reference, worker: Worker) -> str:
    """Promote the baseline and wait until the worker shows the model; returns the model's state.

    Raises:
        OutsideError: it is not in force after PROMOTE_TIMEOUT_SECONDS.
    """
    command = promote(
        MODEL, json.loads(to_json(baseline)), by="driftline demo", why="January is the reference"
    )
    topic = settings.topics.name("commands")
    async with Sender(client_options(settings.kafka), topic, 1) as sender:
        await sender.send_keyed(command.key, command.value, command.headers)
    deadline = time.monotonic() + PROMOTE_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        worker.check()
        state, _, _ = read_metrics(await asyncio.to_thread(worker.metrics))
        if state in {"warming", "active"}:
            return state
        await asyncio.sleep(0.2)
    raise OutsideError(
        f"the baseline was not in force after {PROMOTE_TIMEOUT_SECONDS:.0f} s.\n{worker.tail()}"
    )


async def run_live(
    settings: Settings, worker: Worker, stream: Stream, view: View, speed: float | None
) -> Outcome:
    """Stream everything, wait until it is stored, read the result back."""
    state = _State(time.monotonic())
    tasks = [
        asyncio.create_task(_follow_alerts(settings, state, view)),
        asyncio.create_task(_watch(worker, state, stream, view)),
    ]
    work = asyncio.create_task(_work(settings, worker, stream, view, speed, state))
    try:
        done, _ = await asyncio.wait({work, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {work}:
            task.result()  # the watchers never end by themselves: this raises
        seconds = work.result()
        outcome, performance, reports = await _read_back(settings, stream)
        deadline = time.monotonic() + 5.0
        while state.alerts_seen < len(outcome[0]):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.05)
    finally:
        for task in (work, *tasks):
            task.cancel()
        ended, _ = await asyncio.wait({work, *tasks}, timeout=END_SECONDS_MAX)
        for task in ended:
            task.cancelled() or task.exception()  # looked at, or asyncio reports it as never retrieved
    return Outcome(*outcome, seconds, state.latencies, performance, reports)


async def _work(
    settings: Settings, worker: Worker, stream: Stream, view: View, speed: float | None, state: _State
) -> float:
    """Send all, then wait until it is applied and stored; returns the seconds until it was applied."""
    client = client_options(settings.kafka)
    events, labels = (item.topic for item in settings.inputs)
    async with (
        Sender(client, events, EVENTS_PARTITIONS) as sender,
        Sender(client, labels, EVENTS_PARTITIONS) as arrivals,
    ):
        while state.sent < len(stream.records):
            upto = _due(stream, state, speed)
            if upto > state.sent:
                view.note(stream.note(upto))
                await sender.send(stream.records[state.sent : upto])
                state.sent = upto
                await arrivals.send(stream.labels[arrivals.sent : stream.arrived(upto)])
                state.marks.append(upto)
                state.marks_ms.append(time.time_ns() // 1_000_000)
            else:
                await asyncio.sleep(0.01)
        await sender.flush()
        await arrivals.send(stream.labels[arrivals.sent :])
        await arrivals.flush()
    await _applied(state, len(stream.records) - stream.broken)
    seconds = state.applied_at - state.started
    await _stored(settings, worker, {events: len(stream.records) - 1, labels: len(stream.labels) - 1})
    worker.check()
    return seconds


def _due(stream: Stream, state: _State, speed: float | None) -> int:
    """How many rows may have been sent by now."""
    upto = min(state.sent + SEND_ROWS, len(stream.records))
    if speed is None:
        # Rows that were cut in half are never applied.
        return upto if state.sent - state.applied - stream.broken < AHEAD_ROWS_MAX else state.sent
    event_ms = stream.times_ms[0] + (time.monotonic() - state.started) * 1000.0 * speed
    return min(upto, bisect.bisect_right(stream.times_ms, event_ms))


async def _applied(state: _State, expected: int) -> None:
    """Wait until ``expected`` rows are applied, or nothing moves: then the count shows what is wrong."""
    while state.applied < expected:
        if time.monotonic() - max(state.applied_at, state.started) > SETTLE_SECONDS:
            break
        await asyncio.sleep(0.05)


async def _watch(worker: Worker, state: _State, stream: Stream, view: View) -> None:
    """Keep the screen up to date."""
    while True:
        await asyncio.to_thread(worker.check)
        _, rows, signals = await asyncio.to_thread(lambda: read_metrics(worker.metrics()))
        now = time.monotonic()
        if rows > state.applied:
            state.per_second = rows / (now - state.started)
            state.applied, state.applied_at = rows, now
        state.signals = ranked(signals) or state.signals
        if (
            state.sent > state.applied + stream.broken
            and now - max(state.applied_at, state.started) > STALL_SECONDS
        ):
            raise OutsideError(f"the worker has applied nothing for {STALL_SECONDS:.0f} s.\n{worker.tail()}")
        view.show(
            Frame(
                len(stream.records),
                state.sent,
                stream.done(state.applied),
                state.per_second,
                stream.date(state.applied),
                state.signals,
                f"metrics: {worker.address}/metrics",
            )
        )
        await asyncio.sleep(METRICS_EVERY_SECONDS)


async def _follow_alerts(settings: Settings, state: _State, view: View) -> None:
    """Show alerts as they become visible, and time them."""
    topic = settings.topics.name("alerts")
    client = client_options(settings.kafka)
    async for record in follow(client, topic, settings.topics.mailbox_partitions):
        if record.value is None:
            continue
        now_ms = time.time_ns() // 1_000_000
        alert = json.loads(record.value)
        at = bisect.bisect_right(state.marks, int(alert["origin"]["offset"]))
        if at < len(state.marks) and alert["origin"]["topic"] == settings.inputs[0].topic:
            state.latencies.append((now_ms - state.marks_ms[at]) / 1000.0)
        state.alerts_seen += 1
        view.alert(alert)


async def _stored(settings: Settings, worker: Worker, last_rows: Mapping[str, int]) -> None:
    """Wait until the stored state says that the raw topics were applied to their last rows.

    Raises:
        OutsideError: it does not after STORED_TIMEOUT_SECONDS.
    """
    deadline = time.monotonic() + STORED_TIMEOUT_SECONDS
    reached = dict.fromkeys(last_rows, -1)
    while time.monotonic() < deadline:
        rows = await _state_rows(settings)
        position = store.read_position(rows[store.next_key(0)], 0) if store.next_key(0) in rows else None
        if position is not None:
            reached |= {source.topic: raw.hi for source, raw in position.raw.items()}
            if all(reached[topic] >= last for topic, last in last_rows.items()):
                return
        await asyncio.sleep(0.3)
    stops = ", ".join(f"row {reached[topic]:,} of {last:,} of {topic}" for topic, last in last_rows.items())
    raise OutsideError(f"the stored state stops at {stops}.\n{worker.tail()}")


async def _read_back(
    settings: Settings, stream: Stream
) -> tuple[tuple[list[Mapping[str, Any]], RowCount], Performance | None, list[Mapping[str, Any]]]:
    """Alerts, counts, what labels said and reports out of the topics."""
    client, topic = client_options(settings.kafka), settings.inputs[0].topic
    partitions = settings.topics.mailbox_partitions
    alerts, reports = [
        [
            json.loads(r.value)
            for r in await read_all(client, settings.topics.name(role), partitions)
            if r.value is not None
        ]
        for role in ("alerts", "reports")
    ]
    rejected = set()
    for record in await read_all(client, settings.topics.name("rejects"), partitions):
        origin = json.loads(record.value or b"{}").get("origin", {})
        if origin.get("topic") == topic:
            rejected.add(
                (origin["partition"], origin["offset"])
            )  # a reject may be there twice: it counts once
    rows = await _state_rows(settings)
    model, problem = store.read_model(MODEL, rows, settings.detection, settings.models)
    if problem:
        raise OutsideError(f"the stored state of {MODEL} cannot be read: {problem}")
    accepted = sum(n for source, n in model.actor.source_rows.items() if source.topic == topic)
    count = RowCount(
        await end_of(client, topic, EVENTS_PARTITIONS),
        accepted,
        len(rejected),
        stream.broken,
        f"the end of {topic}, the stored state in {settings.topics.name('state')}, "
        f"and {settings.topics.name('rejects')}",
    )
    return (alerts, count), performance_of(model.labelled, stream), reports


def performance_of(labelled: Labelled | None, stream: Stream) -> Performance | None:
    """What the joined labels said of the model."""
    if labelled is None or not stream.labels:
        return None
    own = labelled.labels
    confusion = labelled.performance.totals(own.names)
    watched = labelled.performance.reference is not None
    return Performance(confusion, len(stream.labels), own.coverage, watched, stream.label_delays_hours)


async def _state_rows(settings: Settings) -> dict[bytes, bytes]:
    """The live records of the state topic: the last of each key, without tombstones."""
    records = await read_all(
        client_options(settings.kafka), settings.topics.name("state"), settings.topics.mailbox_partitions
    )
    last = {r.key: r.value for r in records if r.key is not None}
    return {key: value for key, value in last.items() if value is not None}
