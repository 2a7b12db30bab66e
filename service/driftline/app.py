"""The composition root of ``driftline run``: the only place that builds things and orders start and stop.

Start: kernels, Kafka, topics, HTTP; then the stages join their groups. Stop: SIGTERM or SIGINT drains within
a deadline, a second signal ends at once. Any ``FatalError`` ends the process with its code, before anything
further can be applied or stored: a supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, Final, NoReturn, Protocol

from driftline import acls, kernelcache, topics
from driftline.clients import Clients
from driftline.config import Settings
from driftline.errors import DriftlineError, ExitCode, FatalError, OperatorError, OutsideError
from driftline.publish import http
from driftline.publish.headroom import Headroom
from driftline.publish.metrics import Metrics

log = logging.getLogger(__name__)

ROLES: Final = frozenset({"ingest", "detect"})
KAFKA_POLL_SECONDS: Final = 3.0  # how often a broker that is down is asked again
STOP_SECONDS_MAX: Final = 28.0  # from the first signal to the end; Kubernetes kills after 30 s
READY_SECONDS: Final = 1.0  # how often driftline_ready is written
M_ARENA_MAX: Final = -8  # malloc.h


def run(settings: Settings, roles: frozenset[str] = ROLES) -> int:
    """Run the service in the main thread until a signal or a failure; the exit code.

    A failure after start does not return: it ends the process with its ``ExitCode``.

    Raises:
        OperatorError: configuration or topics have to be changed first.
    """
    roles = parse_roles(",".join(roles))
    kernelcache.use()
    _one_arena()
    service = Service(settings, roles)
    code = asyncio.run(service.run())
    _flush()
    return code


def parse_roles(text: str) -> frozenset[str]:
    """Roles from a list with commas.

    Raises:
        OperatorError: one is unknown, or there is none.
    """
    roles = frozenset(part.strip() for part in text.split(",") if part.strip())
    if not roles or roles - ROLES:
        raise OperatorError(
            f"roles {text!r}: choose from {', '.join(sorted(ROLES))}, with commas between them."
        )
    return roles


def _one_arena() -> None:
    """One heap for all threads, where the C library is glibc.

    A flush is allocated in one thread and freed in another. With an arena a thread the resident memory creeps
    up by a sixth over a million events; with one it stays, at the same CPU time.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def die(error: FatalError) -> NoReturn:
    """End the process now; callable from any thread."""
    log.critical("%s", error, extra={"exit_code": int(error.code), "exit": error.code.name.lower()})
    _flush()
    os._exit(int(error.code))


@contextlib.contextmanager
def failures_end_it() -> Iterator[None]:
    """Inside, what nobody can mend ends the process; what an operator can is raised."""
    try:
        yield
    except FatalError as error:
        die(error)
    except DriftlineError:
        raise
    except Exception as error:
        log.exception("unexpected error")
        die(FatalError(ExitCode.STALLED, f"{type(error).__name__}: {error}."))


def _flush() -> None:
    for handler in logging.getLogger().handlers:
        with contextlib.suppress(Exception):
            handler.flush()
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        sys.stderr.flush()


class Service:
    """One worker: what was built, and the order in which it starts and stops."""

    def __init__(self, settings: Settings, roles: frozenset[str]) -> None:
        self._settings = settings
        self._roles = roles
        self._metrics = Metrics(
            series_max=settings.http.series_max,
            signals_per_model_max=settings.http.signal_series_per_model_max,
        )
        self._stages: list[Stage] = []
        self._started = False

    @property
    def ready(self) -> bool:
        """True when everything was compiled and recovered, and the groups are settled; for /ready."""
        return self._started and all(stage.ready for stage in self._stages)

    async def run(self) -> int:
        """Start, work, stop; 0 after an orderly stop.

        Raises:
            OperatorError: topics have to be made or changed first.
        """
        from driftline.stream.watchdog import Watchdog  # Faust is slow to import

        stop = asyncio.Event()
        watchdog = Watchdog([self._problem], die)
        with stop_signals(stop):
            watchdog.start()
            server = http.start(
                self._settings.http, self._metrics, lambda: watchdog.alive, lambda: self.ready
            )
            log.info(
                "started",
                extra={"roles": ",".join(sorted(self._roles)), "http_port": server.port, "pid": os.getpid()},
            )
            try:
                if await self._prepare(stop):
                    await self._work(stop)
                return 0
            finally:
                self._started = False
                watchdog.stop()
                server.stop()

    async def _prepare(self, stop: asyncio.Event) -> bool:
        """Compile, find Kafka, check the topics, build the stages; False when stopped meanwhile."""
        await until_stopped(stop, asyncio.to_thread(kernelcache.compile_kernels))
        if stop.is_set():
            _flush()
            os._exit(0)  # nothing was begun, and the compiler's thread cannot be told to end
        if not await wait_for_topics(self._settings, stop, self._roles):
            return False
        ids = await asyncio.to_thread(topic_identities, self._settings, self._roles)
        kept = await asyncio.to_thread(topics.retention, topics.admin_config(self._settings.kafka), list(ids))
        self._stages = build_stages(self._settings, self._roles, ids, self._metrics, Headroom(kept))
        self._started = True
        return True

    async def _work(self, stop: asyncio.Event) -> None:
        gauge = asyncio.create_task(self._show_ready())
        try:
            with failures_end_it():
                await asyncio.gather(*(stage.run(stop) for stage in self._stages))
        finally:
            gauge.cancel()

    async def _show_ready(self) -> None:
        while True:
            self._metrics.set("driftline_ready", float(self.ready))
            await asyncio.sleep(READY_SECONDS)

    def _problem(self) -> FatalError | None:
        for stage in self._stages:
            problem = stage.problem()
            if problem is not None:
                return problem
        return None


class Stage(Protocol):
    """A stage of the pipeline as the root sees it."""

    @property
    def ready(self) -> bool:
        """Whether it works."""
        ...

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; raises FatalError."""
        ...

    def problem(self) -> FatalError | None:
        """What keeps it from working although it is alive; called from the watchdog's thread."""
        ...


def build_stages(
    settings: Settings,
    roles: frozenset[str],
    ids: Mapping[str, tuple[str, int]],
    metrics: Metrics,
    headroom: Headroom,
) -> list[Stage]:
    """The stages of these roles; ``ids`` as ``topics.topic_ids`` gives them."""
    stages: list[Stage] = []
    clients = Clients(settings.kafka)
    if "detect" in roles:
        from driftline.stream.worker import DetectWorker  # Faust is slow to import

        mailbox_id = ids[settings.topics.name("mailbox")][0]
        stages.append(
            DetectWorker(
                settings,
                topic_id=mailbox_id,
                metrics=metrics,
                fatal=die,
                kafka=clients,
                headroom=headroom,
            )
        )
    if "ingest" in roles:
        from driftline.ingest.service import IngestService

        stages.append(
            IngestService(
                settings,
                topic_ids={name: topic_id for name, (topic_id, _) in ids.items()},
                metrics=metrics,
                producer_name=f"{socket.gethostname()}-{os.getpid()}",
                clients=clients,
                headroom=headroom,
            )
        )
    return stages


def raw_topics(settings: Settings) -> list[str]:
    """What stage 1 reads."""
    return [*(item.topic for item in settings.inputs), settings.topics.name("commands")]


def topic_identities(settings: Settings, roles: frozenset[str] = ROLES) -> dict[str, tuple[str, int]]:
    """Id and partition count of the mailbox and, for stage 1, of every raw topic.

    Raises:
        OperatorError: the user may not see one.
        OutsideError: no broker answers.
    """
    names = [settings.topics.name("mailbox"), *(raw_topics(settings) if "ingest" in roles else ())]
    return topics.topic_ids(topics.admin_config(settings.kafka), names)


async def wait_for_topics(settings: Settings, stop: asyncio.Event, roles: frozenset[str] = ROLES) -> bool:
    """Wait for the brokers and check the topics of these roles; False when stopped meanwhile.

    Only theirs: a worker's user need not even see the others.

    Raises:
        OperatorError: a topic is missing, wrong or forbidden; names the command that mends it.
    """
    config = topics.admin_config(settings.kafka)
    names = frozenset[str]().union(*(acls.own_topics(settings, role) for role in roles))
    specs = [spec for spec in topics.plan(settings) if spec.name in names]
    inputs = [item.topic for item in settings.inputs] if "ingest" in roles else []
    while not stop.is_set():
        try:
            problems = await asyncio.to_thread(topics.check, config, specs, inputs)
            if not problems and settings.kafka.security_protocol != "PLAINTEXT":
                differences = await asyncio.to_thread(acls.compare, settings, roles, config)
                for found in differences:
                    log.warning("rights: %s", acls.sentence(found))
        except OutsideError as error:
            log.warning("waiting for Kafka at %s: %s", settings.kafka.bootstrap_servers, error.message)
            await until_stopped(stop, asyncio.sleep(KAFKA_POLL_SECONDS))
            continue
        if problems:
            raise OperatorError("\n".join(f"topic {p.topic} {p.what}: {p.remedy}" for p in problems))
        return True
    return False


async def until_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, Any]) -> None:
    """Wait for ``work`` or ``stop``, whichever is first; raises what the work raised."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        task.cancel()
        stopping.cancel()


@contextlib.contextmanager
def stop_signals(stop: asyncio.Event) -> Iterator[None]:
    """The first SIGTERM or SIGINT sets ``stop`` and starts the deadline, the second one ends the process."""
    loop = asyncio.get_running_loop()

    def received(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("second signal: ending at once")
            _flush()
            os._exit(128 + number)
        log.info("stopping", extra={"signal": number.name})
        stop.set()
        timer = threading.Timer(STOP_SECONDS_MAX, _late)
        timer.daemon = True
        timer.start()

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, received, number)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _late() -> None:
    """The deadline for stopping has passed: what is not stored by now is applied again."""
    log.error("not stopped within %d s: ending", int(STOP_SECONDS_MAX))
    _flush()
    os._exit(int(ExitCode.STALLED))
