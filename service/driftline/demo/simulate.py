"""``driftline simulate``: synthetic traffic into a topic, at a rate."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from driftline.clients import client_options
from driftline.config import KafkaSettings, load_settings
from driftline.demo.traffic import BATCH_ROWS, DriftKind, TrafficPlan, drift_row, generate
from driftline.demo.wire import Sender, quiet_clients
from driftline.errors import OperatorError

SLICES_A_SECOND: Final = (
    20  # the rate is kept by slices: smooth enough for a service that flushes ten times a second
)
UNPACED_RATE: Final = 10_000.0  # spacing of event times when there is no rate to take it from
LINE_EVERY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """The options of ``driftline simulate``."""

    bootstrap: str
    topic: str
    rate: float
    events: int
    models: int
    features: int
    drift: str
    drift_after: str
    size: float
    seed: int
    config: str | None = None


def run_simulate(options: SimulateOptions, console: Console) -> None:
    """Generate and send.

    Raises:
        OperatorError: an option is wrong or the topic does not exist. OutsideError: no broker answers.
    """
    if options.rate < 0:
        raise OperatorError("--rate must not be negative; 0 means as fast as the broker takes it.")
    kafka = (
        load_settings(Path(options.config)).kafka
        if options.config
        else KafkaSettings(bootstrap_servers=options.bootstrap)
    )
    quiet_clients()
    asyncio.run(_send_all(options, kafka, plan_of(options, time.time_ns() // 1_000_000), console))


def plan_of(options: SimulateOptions, now_ms: int) -> TrafficPlan:
    """Event times follow the rate from now on; without a rate they end now, never ahead of the clock."""
    rate = options.rate or UNPACED_RATE
    start = now_ms if options.rate else now_ms - round(options.events * 1000 / rate)
    return TrafficPlan(
        options.events,
        options.models,
        options.features,
        DriftKind(options.drift),
        drift_row(options.drift_after, rate),
        options.size,
        rate,
        start,
    )


async def _send_all(
    options: SimulateOptions, kafka: KafkaSettings, plan: TrafficPlan, console: Console
) -> None:
    client = client_options(kafka)
    async with Sender(client, options.topic, 1) as sender:
        if not await sender.use_all_partitions():
            raise OperatorError(
                f"there is no topic {options.topic!r}.",
                remedy="Create it, or see `driftline topics plan` for the usual ones.",
            )
        console.print(describe(plan, options), highlight=False, markup=False)
        begin = line_at = time.monotonic()
        size = (
            BATCH_ROWS if not options.rate else max(1, min(BATCH_ROWS, round(options.rate / SLICES_A_SECOND)))
        )
        for batch in generate(np.random.default_rng(options.seed), plan):
            for first in range(0, len(batch), size):
                part = batch[first : first + size]
                if options.rate:
                    due = begin + (sender.sent + len(part)) / options.rate
                    await asyncio.sleep(max(due - time.monotonic(), 0.0))
                await sender.send(part)
                if time.monotonic() - line_at >= LINE_EVERY_SECONDS:
                    line_at = time.monotonic()
                    _progress(console, plan, sender.sent, line_at - begin)
        await sender.flush()
        _progress(console, plan, sender.sent, time.monotonic() - begin)


def describe(plan: TrafficPlan, options: SimulateOptions) -> str:
    """One line that says what is being sent and where the truth lies."""
    rate = f"{options.rate:,.0f} a second" if options.rate else "as fast as it goes"
    truth = (
        "no drift"
        if plan.drift is DriftKind.NONE
        else f"{plan.drift} drift from event {plan.drift_from:,} on"
        if plan.drift_from < plan.events
        else f"{plan.drift} drift would begin at event {plan.drift_from:,}, after the last one"
    )
    return (
        f"{plan.events:,} events to {options.topic}, {rate}: {plan.models} model(s) of {plan.features} "
        f"features, seed {options.seed}, {truth}"
    )


def _progress(console: Console, plan: TrafficPlan, sent: int, seconds: float) -> None:
    drifting = "  (drifting)" if plan.drift is not DriftKind.NONE and sent > plan.drift_from else ""
    console.print(
        f"{sent:,}/{plan.events:,} sent, {sent / max(seconds, 1e-9):,.0f} a second{drifting}", highlight=False
    )
