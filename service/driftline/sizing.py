"""How many partitions and workers an event rate needs: arithmetic on measured costs, for `topics plan`.

The costs are those of ``make bench`` and ``make scale`` (docs/sizing.md says how they came about); every
machine has its own, so that what comes out is a place to begin. Pure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

CPU_US_EVENT: Final = 8.0  # both stages, 20 features: 5 us on a backlog, 8 with commits at a steady rate
CPU_US_FEATURE: Final = 0.35  # of it, what each feature costs
FEATURES_MEASURED: Final = 20
FILL: Final = 0.5  # of a core in ordinary hours, so that a backlog of an hour is worked off in an hour
GROWTH: Final = 2  # partitions for so many times the workers: their number cannot be changed later
PARTITIONS_MIN: Final = 4
PARTITIONS_MAX: Final = 1_024
MODELS_A_PARTITION: Final = 500  # half of detection.models_per_partition_max
MODEL_MB: Final = 1.6  # of 20 features, in memory (docs/sizing.md)
WORKER_MB: Final = 350.0  # of a process before it holds a model
CELL_BYTES: Final = 9  # a tag and a float64 in an envelope
ROW_BYTES: Final = 40  # times, origin, id and version of a row in an envelope


@dataclass(frozen=True, slots=True)
class Load:
    """What is to be watched: events a second, models, and features of an event."""

    rate: float
    models: int
    features: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """What it needs; bytes a second and MB."""

    cores: float
    workers: int
    mailbox_partitions: int
    input_partitions: int  # at least, of each raw topic
    mailbox_bytes: float  # a second
    memory_mb: float  # of each worker


def propose(load: Load) -> Proposal:
    """Workers of one core each, and the partitions that they and their successors need."""
    cost = CPU_US_EVENT + CPU_US_FEATURE * (load.features - FEATURES_MEASURED)
    cores = load.rate * max(cost, CPU_US_EVENT / 2) / 1e6
    workers = max(1, math.ceil(cores / FILL))
    wanted = max(GROWTH * workers, math.ceil(load.models / MODELS_A_PARTITION), PARTITIONS_MIN)
    # A multiple of the workers: each then has as many partitions as the others.
    partitions = min(workers * math.ceil(wanted / workers), PARTITIONS_MAX)
    models = math.ceil(load.models / workers)
    return Proposal(
        cores=cores,
        workers=workers,
        mailbox_partitions=partitions,
        input_partitions=max(GROWTH * workers, PARTITIONS_MIN),
        mailbox_bytes=load.rate * (ROW_BYTES + CELL_BYTES * load.features),
        memory_mb=WORKER_MB + MODEL_MB * load.features / FEATURES_MEASURED * models,
    )


def lines(load: Load, proposal: Proposal, *, retention_hours: int) -> list[str]:
    """The proposal for a person."""
    kept = proposal.mailbox_bytes * retention_hours * 3600 / 1e9
    return [
        (
            f"{load.rate:,.0f} events a second of {load.features} features, {load.models:,} models: "
            f"about {proposal.cores:.1f} cores busy, {proposal.workers} "
            f"worker{'s' if proposal.workers != 1 else ''} of one core at {FILL:.0%}, "
            f"{proposal.memory_mb:,.0f} MB each."
        ),
        f"    topics.mailbox_partitions: {proposal.mailbox_partitions}",
        f"    partitions of a raw topic: at least {proposal.input_partitions}",
        (
            f"    mailbox: {proposal.mailbox_bytes / 1e6:,.1f} MB a second, {kept:,.0f} GB kept "
            f"({retention_hours} h, before replication)"
        ),
        "Partitions of the mailbox cannot be changed later: the models are spread by their number.",
    ]
