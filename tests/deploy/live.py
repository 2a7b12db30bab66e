"""``make dashboards-test``: every panel and rule against a real Prometheus, a real worker and a real Kafka.

Simulated traffic drifts on purpose, and some of it is broken on purpose (refused rows, null records, rows
that retention deleted), so that every panel has something to show: none may be empty. The alerts' own tests
(promtool) and ``promtool check metrics`` on the live page run too. Everything it starts it ends. Not
collected by pytest: it needs Debian's prometheus.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.admin import KafkaAdminClient

from deploy.boards import BOARDS, Query, panels, queries
from deploy.prom import Prometheus
from driftline.localkafka import local_kafka
from driftline.publish.catalogue import BY_NAME
from harness import workers
from harness.kafka_io import Admin

ROOT: Final = Path(__file__).parents[2]
RULES: Final = [ROOT / "deploy" / "prometheus" / name for name in ("rules.yaml", "alerts.yaml")]
RAW: Final = "inference.events"
GAP: Final = "inference.gap"  # its first records are deleted before the worker reads them
TRUTH: Final = "inference.labels"  # nothing comes: the series of the join are there all the same
KPIS: Final = {"steady": {"measure": "events_per_minute", "min": 1, "max": 1e9, "window": "2s"}}
PREFIX: Final = "live"
MODELS: Final = ("sim-000", "sim-001")
RATE: Final = 600
DRIFT_AFTER: Final = "25s"  # after learning and warm-up at this rate
DRIFT_SECONDS_MAX: Final = 120.0
FIRING: Final = 'ALERTS{alertname="DriftlineDriftOpen", alertstate="firing"}'
EMITTED: Final = "increase(driftline_alerts_emitted_total[1m])"
BROKEN: Final = (b'{"model": ', b'{"model": "unknown", "features": {"a": 1}}', None)
VALUES: Final = {"job": ".*", "instance": ".*", "signal": ".*", "model": MODELS[0], "__rate_interval": "20s"}


def main() -> int:
    """Exit code: 0 when nothing was empty or refused."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--keep", type=Path, help="folder for logs, kept; default: a temporary one")
    options = parser.parse_args()
    missing = [name for name in ("prometheus", "promtool") if shutil.which(name) is None]
    if missing:
        sys.stderr.write(f"{' and '.join(missing)} not found: apt install prometheus\n")
        return 2
    began = time.monotonic()
    faults = promtool_rules()
    with ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        faults += live(stack, folder)
    for fault in faults:
        sys.stdout.write(f"FAULT {fault}\n")
    sys.stdout.write(f"{len(faults)} faults, {time.monotonic() - began:.0f} s\n")
    return int(bool(faults))


def live(stack: ExitStack, folder: Path) -> list[str]:
    """Start everything, wait for drift, ask everything."""
    broker = stack.enter_context(local_kafka())
    config = prepare(broker.bootstrap, folder)
    worker = workers.Worker(config, folder / "worker.log")
    stack.callback(worker.stop)
    early = first_page(worker)
    say(f"worker ready after {worker.wait_ready():.0f} s")
    prometheus = stack.enter_context(Prometheus(folder, f"127.0.0.1:{worker.port}", RULES))
    stack.enter_context(simulated(broker.bootstrap, folder))
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    stack.callback(producer.close)

    def drifting() -> bool:
        worker.check()
        for value in BROKEN:
            producer.send(RAW, key=b"k", value=value)
        # "increase" needs a second sample of a counter that appears with the first alert event.
        return bool(prometheus.instant(FIRING) and prometheus.instant(EMITTED))

    say(f"DriftlineDriftOpen fires after {wait(drifting, DRIFT_SECONDS_MAX):.0f} s of traffic")
    faults = check_boards(prometheus) + check_rules(prometheus)
    return faults + promtool_metrics(early) + promtool_metrics(worker.http("/metrics"))


def first_page(worker: workers.Worker) -> str:
    """/metrics of a worker that compiles or recovers."""
    page = ""
    while not page:
        worker.check()
        page = worker.http("/metrics")
    return page


# --- what runs ----------------------------------------------------------------------------------------------


def prepare(bootstrap: str, folder: Path) -> Path:
    """Topics, a gap in one of them, and the worker's configuration."""
    values = workers.settings(
        bootstrap,
        PREFIX,
        RAW,
        inputs=[
            *({"topic": name, "start": "earliest"} for name in (RAW, GAP)),
            {"topic": TRUTH, "start": "earliest", "kind": "labels"},
        ],
        models=dict.fromkeys(MODELS),
        detection={"learning_rows": 1_000, "window_rows": 1_000, "kpis": KPIS},
        ingest={"accept_gap": True},
    )
    config = workers.write_settings(folder / "driftline.yaml", values)
    admin = Admin(bootstrap)
    admin.create(RAW, 2, {})
    admin.create(GAP, 1, {})
    admin.create(TRUTH, 1, {})
    admin.close()
    workers.create_topics(config)
    make_gap(bootstrap)
    return config


def make_gap(bootstrap: str) -> None:
    """The ingest group has committed offset 0 of a log that begins at 10: as after too short a retention."""
    place = TopicPartition(GAP, 0)
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        for _ in range(20):
            producer.send(GAP, key=b"k")
        producer.flush()
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, group_id=f"{PREFIX}-ingest", enable_auto_commit=False
    )
    consumer.assign([place])
    consumer.commit({place: OffsetAndMetadata(0, "", -1)})
    consumer.close()
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.delete_records({place: 10})
    admin.close()


@contextmanager
def simulated(bootstrap: str, folder: Path) -> Iterator[None]:
    """``driftline simulate`` beside us until the end."""
    command = workers.driftline(
        *("simulate", "--bootstrap", bootstrap, "--topic", RAW, "--models", str(len(MODELS))),
        *("--rate", str(RATE), "--events", str(RATE * 600), "--features", "10"),
        *("--drift", "location", "--drift-after", DRIFT_AFTER, "--size", "1.0"),
    )
    with (folder / "simulate.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def wait(condition: Callable[[], bool], seconds: float) -> float:
    """Ask twice a second until it holds; how long that took.

    Raises:
        TimeoutError: it did not hold in time.
    """
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"no drift alert after {seconds:.0f} s")
        time.sleep(0.5)
    return time.monotonic() - began


# --- what is asked ------------------------------------------------------------------------------------------


def check_boards(prometheus: Prometheus) -> list[str]:
    """Every query of every dashboard has data."""
    faults = []
    for board in BOARDS:
        every = list(queries(board))
        empty = [query for query in every if not has_data(prometheus, query)]
        say(f"{board}: {len(panels(board))} panels, {len(every)} queries, {len(empty)} empty")
        faults += [f"{query.board}: {query.where}: no data: {query.filled(VALUES)}" for query in empty]
    return faults


def has_data(prometheus: Prometheus, query: Query) -> bool:
    """Whether a panel would show something."""
    expr = query.filled(VALUES)
    return bool(prometheus.instant(expr) if query.instant else prometheus.over_time(expr))


def check_rules(prometheus: Prometheus) -> list[str]:
    """Every rule was evaluated without error, every recorded series and everything an alert reads exists."""
    faults = []
    rules = prometheus.rules()
    recorded = [rule["name"] for rule in rules if rule["type"] == "recording"]
    read = set()
    for rule in rules:
        if rule["health"] != "ok":
            faults.append(f"rule {rule['name']}: {rule['health']} {rule.get('lastError', '')}")
        words = re.findall(r"[a-z_:0-9]+", rule["query"])
        # Those of `driftline notify` come from another process; tests/integration/test_notify.py reads them.
        words = [word for word in words if not word.startswith("driftline_notification")]
        read |= {word for word in words if word in BY_NAME or word in recorded}
        read |= {word for word in words if word in {"up", "process_start_time_seconds"}}
    faults += [
        f"rules: no series {name}" for name in sorted(read | set(recorded)) if not prometheus.instant(name)
    ]
    say(f"rules: {len(rules)} evaluated, {len(recorded)} recorded, {len(read)} series read by them")
    return faults


def promtool_rules() -> list[str]:
    """Syntax and unit tests of rules and alerts."""
    tests = sorted(str(path) for path in (ROOT / "deploy" / "prometheus" / "tests").glob("*.yaml"))
    return promtool("check", "rules", *map(str, RULES)) + promtool("test", "rules", *tests)


def promtool_metrics(page: str) -> list[str]:
    """Prometheus' own opinion of names and units of a live page."""
    return promtool("check", "metrics", given=page)


def promtool(*arguments: str, given: str = "") -> list[str]:
    """Run it; a fault when it fails or complains."""
    done = subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, check=False)
    say(f"promtool {' '.join(arguments[:2])}: exit {done.returncode}")
    complaint = done.stderr.strip() if done.returncode == 0 else done.stdout + done.stderr
    return [f"promtool {' '.join(arguments[:2])}: {complaint}"] if complaint else []


def say(text: str) -> None:
    """One line of progress."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
