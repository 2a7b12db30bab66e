"""What a seed means: sizes, settings, traffic, and which faults come when.

Pure: a plan is a function of its seed. Owns the mix of scenarios; most seeds hold faults that a deployment
must survive, some hold one after which it must stop with the right exit code, a few none at all.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from driftline.config import Settings
from driftline.errors import ExitCode

RAW: Final = "raw.events"
LABELS: Final = "raw.labels"
LABELLED_RATIO: Final = 0.4  # of the seeds
FULL_RATIO: Final = 0.2  # of the seeds that are not calm
TRAFFIC_SECONDS: Final = 32.0
# Bounds that the traffic breaks and keeps again: of rows, of time, of the window of the reference.
KPIS: Final[Mapping[str, Any]] = {
    "level": {"measure": "mean.x", "max": 0.5, "window": 40, "min_rows": 1},
    "pace": {"measure": "events_per_minute", "max": 1_600, "window": "2s", "for": 2},
    "shape": {"measure": "psi.y", "max": 0.02},
}
LABEL_KPIS: Final[Mapping[str, Any]] = {
    "right": {"measure": "accuracy", "min": 0.5, "window": 50, "min_rows": 1},
    "covered": {"measure": "label_coverage", "min": 0.7, "window": "2s"},
}

# Faults that a deployment must survive, with their weights.
SURVIVED: Final[Mapping[str, int]] = {
    "crash": 7, "pause": 7, "terminate": 3, "rebalance": 6, "silence": 2, "slow": 2, "sends fail": 2,
    "commits fail": 2, "echo": 2, "aborted rows": 2, "late rows": 2,
}  # fmt: skip

# Faults after which it must stop, and the exit codes that say so.
STOPS: Final[Mapping[str, frozenset[ExitCode]]] = {
    "raw topic recreated": frozenset({ExitCode.INGEST, ExitCode.IDENTITY}),
    "mailbox recreated": frozenset({ExitCode.IDENTITY, ExitCode.HOLE}),
    "raw overrun": frozenset({ExitCode.INGEST}),
    "mailbox overrun": frozenset({ExitCode.IDENTITY, ExitCode.HOLE}),
    "state lost": frozenset({ExitCode.STATE_MISSING}),
}
# How a worker may end while the network fails or another worker takes over; a supervisor starts it again.
TOLERATED: Final = frozenset({ExitCode.TRANSACTION, ExitCode.TAKE_OVER, ExitCode.INGEST})


@dataclass(frozen=True)
class Fault:
    """Something that happens at a moment."""

    at: float
    kind: str


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    settings: Settings
    workers: int
    raw_partitions: int
    models: tuple[str, ...]
    raw_start: int  # first offset that is left of the raw log when the workers start
    faults: tuple[Fault, ...]
    stop: Fault | None  # after this one the deployment has to stop
    promotions: tuple[tuple[float, str], ...]  # baselines that come as commands: when and for which model
    labelled: bool  # a second raw topic, of labels
    calm: bool  # nothing but orderly stops and rebalances: no process may end by itself

    @property
    def raws(self) -> tuple[str, ...]:
        """The raw topics."""
        return (RAW, LABELS) if self.labelled else (RAW,)


def make_plan(seed: int) -> Plan:
    """The plan of a seed."""
    dice = random.Random(seed)
    models = tuple(f"m{i}" for i in range(dice.choice((1, 1, 2))))
    calm = dice.random() < 0.1
    stop = None
    if not calm and dice.random() < 0.25:
        stop = Fault(dice.uniform(8.0, TRAFFIC_SECONDS - 4.0), dice.choice(sorted(STOPS)))
    kinds = ["terminate", "rebalance"] if calm else list(SURVIVED)
    weights = [SURVIVED[kind] for kind in kinds]
    faults = [
        Fault(dice.triangular(0.5, TRAFFIC_SECONDS, 8.0), kind)
        for kind in dice.choices(kinds, weights, k=dice.randint(2, 10))
    ]
    if not calm:  # the first flushes and the first rebalance have a protocol of their own
        faults.append(Fault(dice.uniform(1.0, 4.0), dice.choice(("crash", "sends fail", "commits fail"))))
    faults += [Fault(dice.uniform(5.0, TRAFFIC_SECONDS), kind) for kind in ("compaction", "retention") * 4]
    values: dict[str, Any] = {
        "kafka": {"session_timeout_seconds": dice.choice((6, 10))},
        "inputs": [{"topic": RAW, "start": dice.choice(("earliest", "latest"))}],
        "topics": {"prefix": "sim", "mailbox_partitions": dice.choice((1, 2, 3)), "replication_factor": 1},
        "models": {model: {} for model in models},
        "detection": {
            "learning_rows": 500,
            "min_duration_events": 0,
            "tolerance": 0.5,
            "false_alarms_per_week": 10_000,
            "actions": {"cooldown_hours": 0.001, "rules": [{"severity": "info", "lasting_hours": 0.0005}]},
            "kpis": dict(KPIS),
            "cooldown_seconds": 5.0,
            "window_rows": 1_000,
            "learning_models_max": dice.choice((1, 50)),
        },
        "ingest": {
            "flush_interval_seconds": dice.choice((0.5, 1.0)),
            "flush_rows": dice.choice((30, 200)),
            "accept_gap": stop is None and dice.random() < 0.2,
        },
        "checkpoint": {
            "interval_seconds": dice.choice((1.0, 3.0)),
            "transaction_timeout_seconds": dice.choice((8, 30)),
            "take_over_timeout_seconds": 30,
        },
    }
    disk = random.Random(f"disk full {seed}")
    if not calm and disk.random() < FULL_RATIO:
        faults.append(Fault(disk.uniform(2.0, TRAFFIC_SECONDS - 4.0), "disk full"))
    labelled = (
        random.Random(f"with labels {seed}").random() < LABELLED_RATIO
    )  # dice of its own: it changes no other plan
    if labelled:
        values["inputs"].append({"topic": LABELS, "kind": "labels", "start": "earliest"})
        values["detection"]["kpis"] |= LABEL_KPIS
        values["detection"]["labels"] = {"window_rows": 100, "reference_rows": 500, "max_pending": 10_000}
    return Plan(
        seed=seed,
        settings=Settings(**values),
        workers=dice.choice((1, 1, 2, 2, 3)),
        raw_partitions=dice.choice((1, 2, 3)),
        models=models,
        raw_start=dice.choice((0, 7)),
        faults=tuple(sorted(faults, key=lambda fault: fault.at)),
        stop=stop,
        promotions=tuple(
            (dice.uniform(0.5, 25.0), dice.choice(models)) for _ in range(dice.choice((0, 0, 1, 2)))
        ),
        labelled=labelled,
        calm=calm,
    )
