"""The demo from beginning to end: data, model, baseline, control, pipeline, stream, summary.

Orders things and tells them; what is shown is in ``view`` and ``closing``, what is measured in ``live`` and
``direct``.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from driftline import topics
from driftline.config import Settings
from driftline.demo import direct, live
from driftline.demo.closing import print_summary
from driftline.demo.flights import MODEL
from driftline.demo.live import Outcome
from driftline.demo.preparation import DemoOptions, Prepared, demo_config, demo_settings, prepare, say
from driftline.demo.summary import summarise
from driftline.demo.view import Frame, SignalLine, View, ranked
from driftline.demo.wire import quiet_clients
from driftline.demo.worker import Console as WebConsole
from driftline.demo.worker import Worker
from driftline.errors import OperatorError, OutsideError
from driftline.localkafka import KafkaUnavailable, LocalKafka, local_kafka
from driftline.localkafka.base import KAFKA_VERSION, ForeignKafka
from driftline.localkafka.docker import DockerKafka
from driftline.localkafka.java import JavaKafka, free_ports
from driftline.publish.history import fold
from driftline.publish.review import BOUNDS, make
from driftline.publish.review_pages import html

EVENTS_MIN: Final = 20_000  # with fewer, nothing has room to return to normal behind the fault
_KINDS: Final[dict[type[LocalKafka], str]] = {
    JavaKafka: f"Apache Kafka {KAFKA_VERSION} on this machine's Java",
    DockerKafka: f"Apache Kafka {KAFKA_VERSION} in a container",
    ForeignKafka: "your broker",
}


def run_demo(options: DemoOptions, console: Console) -> int:
    """The whole demo; 0 when the planted fault was found and resolved and no event is missing, else 1.

    Raises:
        OperatorError: an option or the installation is wrong. OutsideError: broker or worker failed.
    """
    if options.events is not None and options.events < EVENTS_MIN:
        raise OperatorError(
            f"--events {options.events:,}: at least {EVENTS_MIN:,}, or there is nothing to see."
        )
    if options.speed is not None and options.speed <= 0:
        raise OperatorError("--speed must be positive; 3600 streams an hour of flights in a second.")
    quiet_clients()
    with _ends_on_signals(), ExitStack() as stack:
        kafka = _kafka(options.kafka, console)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="driftline-demo-")))
        prepared = prepare(options, demo_settings("127.0.0.1:9092", "driftline", 0), console)
        if kafka is None:
            outcome = _direct(prepared, console)
            address = ""
        else:
            outcome, address = _through_kafka(kafka, options, prepared, folder, stack, console)
        summary = summarise(
            outcome.alerts,
            prepared.stream.fault,
            outcome.rows,
            prepared.control,
            outcome.seconds,
            outcome.latencies,
            outcome.performance,
        )
        print_summary(console, summary)
        if options.report is not None:
            _write_review(options.report, outcome, console)
        if options.keep and address:
            _wait_for_interrupt(console, address)
    return 0 if summary.passed else 1


def _write_review(path: Path, outcome: Outcome, console: Console) -> None:
    """The review of everything that alerts and reports say."""
    history = fold([*outcome.alerts, *outcome.reports], BOUNDS)
    try:
        path.write_text(html(make(history.models[MODEL], None, None)), encoding="utf-8")
    except OSError as error:
        raise OperatorError(f"--report {path}: {error.strerror or error}.") from error
    say(console, "Review", f"{path}: open it in a browser")


def _kafka(choice: str, console: Console) -> LocalKafka | None:
    """The broker to use, not started; None to do without."""
    if choice == "none":
        say(console, "Kafka", "none, as asked: the same pipeline without a broker")
        return None
    try:
        return local_kafka(choice)
    except ValueError as error:
        raise OperatorError(f"--kafka {choice!r}: use auto, java, docker, none or HOST:PORT.") from error
    except KafkaUnavailable as error:
        if choice != "auto":
            raise
        say(console, "Kafka", f"none: {error}\nThe same pipeline runs without a broker instead.")
        return None


def _through_kafka(
    kafka: LocalKafka,
    options: DemoOptions,
    prepared: Prepared,
    folder: Path,
    stack: ExitStack,
    console: Console,
) -> tuple[Outcome, str]:
    """Start broker and worker, stream; returns the outcome and the addresses to print for --keep."""
    begin = time.monotonic()
    with console.status("Starting Kafka (the first time, this fetches 54 MB) ..."):
        stack.enter_context(kafka)
    # On somebody else's broker nothing that is already there may be touched.
    prefix = f"driftline-demo-{uuid.uuid4().hex[:8]}" if isinstance(kafka, ForeignKafka) else "driftline"
    config = demo_config(kafka.bootstrap, prefix, free_ports(1)[0])
    settings = Settings(**config)
    made = topics.create(
        topics.admin_config(settings.kafka), topics.plan(settings, input_partitions=live.EVENTS_PARTITIONS)
    )
    for topic in made:
        if topic.outcome == "failed":
            raise OutsideError(f"topic {topic.name} could not be made at {kafka.bootstrap}: {topic.detail}.")
    say(
        console,
        "Kafka",
        f"{_KINDS[type(kafka)]} at {kafka.bootstrap}, ready after {time.monotonic() - begin:.1f} s",
    )
    if isinstance(kafka, ForeignKafka):
        say(console, "", f"topics {prefix}.* were made there; they stay, delete them when you are done")
    worker = Worker(config, folder, settings.http.port)
    stack.callback(worker.stop)
    begin = time.monotonic()
    with console.status("Starting the worker (driftline run) ..."):
        worker.start()
        worker.wait_ready()
        state = asyncio.run(live.put_in_force(settings, prepared.baseline, worker))
    say(
        console,
        "Worker",
        f"`driftline run` ready after {time.monotonic() - begin:.1f} s, baseline promoted, model {state}; "
        f"{worker.address}/metrics",
    )
    with View(console, time.monotonic) as view:
        outcome = asyncio.run(live.run_live(settings, worker, prepared.stream, view, options.speed))
    pages = ""
    if options.keep:
        web = WebConsole(worker.config_path, folder, free_ports(1)[0])
        stack.callback(web.stop)
        web.start()
        web.wait_ready()
        pages = f"console {web.address} (token {web.token}), "
    addresses = (
        f"{pages}metrics {worker.address}/metrics, Kafka {kafka.bootstrap}, "
        f"alerts on topic {settings.topics.name('alerts')}; try:\n"
        f"  driftline alerts tail --config {worker.config_path} --from-beginning\n"
        f"  driftline report --config {worker.config_path} --model {MODEL} --out flights.html"
    )
    return outcome, addresses


def _direct(prepared: Prepared, console: Console) -> Outcome:
    """The stream without a broker."""
    stream, begin = prepared.stream, time.monotonic()
    reports: list[Mapping[str, Any]] = []
    with View(console, time.monotonic) as view:

        def show(rows: int, model: Any) -> None:
            signals = ranked(
                [SignalLine(s.name, s.shift, s.missing_ratio, s.severity) for s in model.signals]
            )
            rate = rows / max(time.monotonic() - begin, 1e-9)
            view.note(stream.note(rows))
            view.show(
                Frame(len(stream.records), rows, rows, rate, stream.date(rows), signals, "without Kafka")
            )

        alerts, rows, labelled = direct.replay_events(
            stream.records,
            demo_settings("127.0.0.1:9092", "driftline", 0),
            prepared.baseline,
            on_alert=view.alert,
            on_batch=show,
            broken=stream.broken,
            labels=stream.labels,
            on_report=reports.append,
        )
    performance = live.performance_of(labelled, stream)
    return Outcome(alerts, rows, time.monotonic() - begin, [], performance, reports)


def _wait_for_interrupt(console: Console, addresses: str) -> None:
    console.print(f"\nKept running until Ctrl-C: {addresses}", markup=False, highlight=False, soft_wrap=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        console.print("Stopping ...")


@contextmanager
def _ends_on_signals() -> Iterator[None]:
    """A closed terminal or a polite kill ends the demo as Ctrl-C does: broker and worker are stopped."""

    def interrupt(number: int, frame: object) -> None:
        del number, frame
        raise KeyboardInterrupt

    before: Mapping[signal.Signals, Any] = {
        s: signal.signal(s, interrupt) for s in (signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
