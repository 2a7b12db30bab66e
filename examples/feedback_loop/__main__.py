"""Runs the loop on a real Kafka and prints what Driftline said of the model before, during and after.

All figures are Driftline's own: its alerts, its actions and its /metrics. Exit code 1: a step did not happen.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from prometheus_client.parser import text_string_to_metric_families

from driftline import topics
from driftline.clients import client_options
from driftline.config import Settings
from driftline.demo.flights import MODEL
from driftline.demo.wire import Sender, follow, quiet_clients
from driftline.demo.worker import Worker
from driftline.errors import OutsideError
from driftline.localkafka import LocalKafka, free_ports, local_kafka
from driftline.localkafka.base import ForeignKafka
from examples.feedback_loop.model import Version
from examples.feedback_loop.retrainer import Retraining, answer_actions
from examples.feedback_loop.traffic import Traffic, answered, flights

CONFIG: Final = Path(__file__).with_name("driftline.yaml")
SIGNAL: Final = "performance.error_rate"
BATCH: Final = 100
EVENTS_A_SECOND: Final = 750  # most of a day of flights: a checkpoint and a retraining take a second each
WATCH_SECONDS: Final = 0.3
END_SECONDS: Final = 20.0  # for the last labels to come through


@dataclass(slots=True)
class Story:
    """What has happened so far."""

    serving: Version
    alerts: list[Mapping[str, Any]] = field(default_factory=list)
    retrainings: list[Retraining] = field(default_factory=list)
    windows: dict[int, float] = field(default_factory=dict)  # accuracy by event time of a window's end, ms
    served: int = 0  # events
    switched_ms: int = 0  # event time from which the last version is served
    version_changes: int = 0
    state: str = ""

    def errors(self, event: str) -> list[Mapping[str, Any]]:
        """The alerts on the errors that were opened, updated or resolved."""
        kind = f"driftline.alert.{event}"
        return [a for a in self.alerts if a["signal"] == SIGNAL and a["type"] == kind]

    def accuracy(self) -> tuple[float, float, float]:
        """Of the last window before the drift, of one during it, and of the last after it; NaN: none seen."""
        opened, resolved = self.errors("opened"), self.errors("resolved")
        before = during = after = math.nan
        for end, accuracy in sorted(self.windows.items()):
            if opened and end <= ms(opened[0]["onset"]):
                before = accuracy
            elif opened and ms(opened[0]["time"]) < end <= self.switched_ms:
                during = accuracy
            elif resolved and end > ms(resolved[-1]["time"]):
                after = accuracy
        return before, during, after

    @property
    def complete(self) -> bool:
        """Whether the loop has closed and the last window is of after it."""
        return not math.isnan(self.accuracy()[2]) and self.state == "active" and self.version_changes > 0


def main() -> int:
    """Exit code 0: drift was found, acted on, and is over."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=80_000, help="flights at most; it ends when it is over")
    parser.add_argument("--change-at", type=int, default=14_000, help="the first changed event")
    parser.add_argument("--kafka", default="auto", help="auto, java, docker or HOST:PORT")
    args = parser.parse_args()
    quiet_clients()
    say("Data", "reading the flights and training version 1 on a month of them ...")
    traffic = flights(args.events, args.change_at)
    story = Story(Version.first(traffic.training))
    with contextlib.ExitStack() as stack:
        kafka = stack.enter_context(local_kafka(args.kafka))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftline-loop-")))
        config = configuration(kafka)
        settings = Settings(**config)
        made = topics.create(topics.admin_config(settings.kafka), topics.plan(settings, input_partitions=1))
        failed = [f"{topic.name}: {topic.detail}" for topic in made if topic.outcome == "failed"]
        if failed:
            raise OutsideError(f"topics could not be made at {kafka.bootstrap}: {'; '.join(failed)}.")
        worker = Worker(config, folder, settings.http.port)
        stack.callback(worker.stop)
        worker.start()
        worker.wait_ready()
        say(
            "Serving",
            f"version 1 on Kafka at {kafka.bootstrap}; `driftline run` watches, {worker.address}/metrics",
        )
        asyncio.run(run(settings, worker, traffic, story))
    return verdict(story)


def configuration(kafka: LocalKafka) -> dict[str, Any]:
    """The example's own, with the broker and a free port."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config |= {"kafka": {"bootstrap_servers": kafka.bootstrap}, "http": {"port": free_ports(1)[0]}}
    if isinstance(kafka, ForeignKafka):  # nothing that is already there may be touched
        prefix = f"driftline-loop-{uuid.uuid4().hex[:8]}"
        config["group"] = config["topics"]["prefix"] = prefix
        for item in config["inputs"]:
            item["topic"] = f"{prefix}.{item['topic']}"
    return config


async def run(settings: Settings, worker: Worker, traffic: Traffic, story: Story) -> None:
    """Serve until the loop has closed or the flights are over, with the retrainer beside it."""

    def publish(done: Retraining) -> None:
        story.retrainings.append(done)
        story.serving, story.switched_ms = done.version, traffic.times_ms[story.served]
        say("Action", str(done.action["summary"]))
        since, until = done.action["fresh"]["since"], done.action["fresh"]["until"]
        say("Retrained", f"on {done.rows:,} labelled of {done.events:,} events, {since} to {until}")
        say("Serving", f"version {done.version.name}")

    beside = [
        asyncio.create_task(answer_actions(settings, lambda: story.serving, publish)),
        asyncio.create_task(_alerts(settings, story)),
        asyncio.create_task(_metrics(worker, story)),
    ]
    work = asyncio.create_task(_serve(settings, traffic, story))
    try:
        done, _ = await asyncio.wait({work, *beside}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # those beside never end by themselves: this raises
    finally:
        for task in (work, *beside):
            task.cancel()
        await asyncio.gather(work, *beside, return_exceptions=True)


async def _serve(settings: Settings, traffic: Traffic, story: Story) -> None:
    """Answer the flights in their order; the labels come when the flights arrive."""
    client, (events, labels) = client_options(settings.kafka), (item.topic for item in settings.inputs)
    async with Sender(client, events, 1) as sender, Sender(client, labels, 1) as arrivals:
        started = time.monotonic()
        while sender.sent < len(traffic.events) and not story.complete:
            lo, hi = sender.sent, min(sender.sent + BATCH, len(traffic.events))
            story.served = lo
            await sender.send([answered(event, story.serving) for event in traffic.events[lo:hi]])
            await arrivals.send(traffic.labels[arrivals.sent : traffic.arrived(hi)])
            if lo <= traffic.changed_at < hi:
                say("Planted", f"from event {traffic.changed_at:,} on flights from JFK arrive an hour later")
            await asyncio.sleep(max(0.0, started + hi / EVENTS_A_SECOND - time.monotonic()))
        deadline = time.monotonic() + END_SECONDS
        while time.monotonic() < deadline:
            if story.complete:
                break
            await asyncio.sleep(0.2)


async def _alerts(settings: Settings, story: Story) -> None:
    """Driftline's alerts as they become visible."""
    client, partitions = client_options(settings.kafka), settings.topics.mailbox_partitions
    async for record in follow(client, settings.topics.name("alerts"), partitions):
        alert = json.loads(record.value or b"")
        story.alerts.append(alert)
        if alert["signal"] == SIGNAL:
            say("Alert", f"{alert['type'].rpartition('.')[2]}: {alert['summary']}")


async def _metrics(worker: Worker, story: Story) -> None:
    """Driftline's own figures, from /metrics."""
    while True:
        await asyncio.to_thread(worker.check)
        page = await asyncio.to_thread(worker.metrics)
        found = {
            sample.name: (sample.value, sample.labels)
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.labels.get("model") == MODEL
        }
        story.version_changes = int(found.get("driftline_model_version_changes_total", (0.0, {}))[0])
        story.state = found.get("driftline_model_state", (0.0, {}))[1].get("state", "")
        end = found.get("driftline_performance_window_end_timestamp_seconds")
        if end is not None:
            story.windows[round(end[0] * 1000)] = found["driftline_performance_accuracy"][0]
        await asyncio.sleep(WATCH_SECONDS)


def verdict(story: Story) -> int:
    """Print performance by stage and which steps happened; the exit code."""
    opened, resolved = story.errors("opened"), story.errors("resolved")
    before = during = after = math.nan
    if opened:
        first = opened[0]["evidence"][0]
        before, during = first["reference_mean"], first["current_mean"]
    if resolved:
        after = resolved[-1]["evidence"][0]["current_mean"]
    others = len({a["signal"] for a in story.alerts} - {SIGNAL})
    print(f"\n{others} features and predictions had alerts of their own meanwhile: `driftline alerts list`")
    print()
    print("                        before    during    after the update")
    print(f"error rate (alerts)     {before:6.1%}    {during:6.1%}    {after:6.1%}")
    shown = story.accuracy()
    print(f"accuracy (/metrics)     {'    '.join(f'{accuracy:6.1%}' for accuracy in shown)}")
    print()
    steps = {
        "the errors rose and an episode was opened": bool(opened),
        "an action asked for a retraining, because of the errors": any(
            SIGNAL in str(r.action["summary"]) for r in story.retrainings
        ),
        "another version was trained on the range of the action": any(r.rows for r in story.retrainings),
        "it took over, and the reference was learned anew": story.version_changes > 0
        and story.state == "active",
        "the episode of the errors is resolved": bool(resolved),
        "the errors are fewer than during the drift": after < during and shown[2] > shown[1],
    }
    for step, happened in steps.items():
        print(f"{'yes' if happened else 'NO ':<3}  {step}")
    return 0 if all(steps.values()) else 1


def ms(time_text: str) -> int:
    """RFC 3339 as epoch milliseconds."""
    return round(datetime.fromisoformat(time_text).timestamp() * 1000)


def say(what: str, text: str) -> None:
    """A line of the story."""
    print(f"{what:<10} {text}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
