"""The composition root of ``driftline notify``: a process beside the workers, which never wait for it.

Start: HTTP, Kafka, topics, then a courier a target. Stop: the attempts in flight are finished within the same
deadline as a worker's. Any failure that is not a target's ends the process, and a supervisor starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Final

from driftline.app import die, failures_end_it, stop_signals, wait_for_topics
from driftline.clients import Clients
from driftline.config import Settings
from driftline.errors import OperatorError
from driftline.publish import http
from driftline.publish.metrics import Metrics
from driftline.publish.notify.alertmanager import Alertmanager
from driftline.publish.notify.courier import Courier
from driftline.publish.notify.notice import Channel, from_data
from driftline.publish.notify.send import Sender
from driftline.publish.notify.slack import Slack
from driftline.publish.notify.webhook import Webhook
from driftline.publish.text import rfc3339
from driftline.stream.watchdog import Watchdog

log = logging.getLogger(__name__)

READY_SECONDS: Final = 1.0  # how often driftline_ready is written
TEST_SIGNAL: Final = "notify-check"


def run(settings: Settings) -> int:
    """Tell the targets of alerts, in the main thread, until a signal; the exit code.

    Raises:
        OperatorError: configuration or topics have to be changed first.
    """
    return asyncio.run(_run(settings, channels(settings)))


def channels(settings: Settings) -> dict[str, Channel]:
    """How each target is told; reads the files of secrets.

    Raises:
        OperatorError: there is no target, or an address or a secret is wrong.
    """
    found: dict[str, Channel] = {}
    for name, target in settings.notify.targets.items():
        url = target.address(name)
        match target.kind:
            case "webhook":
                found[name] = Webhook(url, target.format, target.signing_keys(name), target.bearer(name))
            case "slack":
                found[name] = Slack(url)
            case "alertmanager":
                found[name] = Alertmanager(url, target.resend_seconds, target.bearer(name))
    if not found:
        raise OperatorError("notify.targets: there is nobody to tell.", remedy="See docs/notify.md.")
    return found


async def check(settings: Settings) -> dict[str, str | None]:
    """Send each target a test message, once: None for those that took it, else why they did not.

    Raises:
        OperatorError: there is no target, or an address or a secret is wrong.
    """
    result: dict[str, str | None] = {}
    async with Sender() as sender:
        for name, channel in channels(settings).items():
            notice = from_data(_test_alert(time.time()))
            assert notice is not None  # it is like any other
            answer = await sender.send(
                channel.tell(notice, None, time.time()), settings.notify.targets[name].timeout_seconds
            )
            said = f"status {answer.status}" if answer.status is not None else answer.error
            result[name] = None if answer.delivered else f"{said}: {answer.detail}".removesuffix(": ")
    return result


def _test_alert(now: float) -> Mapping[str, Any]:
    """An alert that says that it is none. It opens and, for Alertmanager, ends within minutes by itself."""
    when = rfc3339(int(now * 1000))
    return {
        "id": str(uuid.uuid4()),
        "type": "driftline.alert.opened",
        "time": when,
        "model": TEST_SIGNAL,
        "signal": TEST_SIGNAL,
        "state": "open",
        "episode": 0,
        "sequence": 0,
        "severity": "info",
        "summary": "This is a test message of `driftline notify --check`: nothing has drifted.",
        "opened_at": when,
        "test": True,
    }


async def _run(settings: Settings, ways: Mapping[str, Channel]) -> int:
    stop = asyncio.Event()
    metrics = Metrics(series_max=settings.http.series_max)
    couriers: list[Courier] = []
    watchdog = Watchdog([], die)

    def ready() -> bool:
        return bool(couriers) and all(courier.ready for courier in couriers)

    with stop_signals(stop):
        watchdog.start()
        server = http.start(settings.http, metrics, lambda: watchdog.alive, ready)
        log.info("started", extra={"targets": ",".join(ways), "http_port": server.port, "pid": os.getpid()})
        try:
            if await wait_for_topics(settings, stop, frozenset({"notify"})):
                await _tell(settings, ways, metrics, couriers, stop)
            return 0
        finally:
            watchdog.stop()
            server.stop()


async def _tell(
    settings: Settings,
    ways: Mapping[str, Channel],
    metrics: Metrics,
    couriers: list[Courier],
    stop: asyncio.Event,
) -> None:
    clients = Clients(settings.kafka)
    async with AsyncExitStack() as stack:
        sender = await stack.enter_async_context(Sender())
        producer = clients.producer(acks="all", enable_idempotence=True, client_id="driftline-notify")
        stack.push_async_callback(producer.stop)
        couriers += [
            Courier(settings, name, channel, clients=clients, producer=producer, post=sender, metrics=metrics)
            for name, channel in ways.items()
        ]
        gauge = asyncio.create_task(_show_ready(metrics, couriers))
        try:
            with failures_end_it():
                await producer.start()
                await asyncio.gather(*(courier.run(stop) for courier in couriers))
        finally:
            gauge.cancel()


async def _show_ready(metrics: Metrics, couriers: list[Courier]) -> None:
    while True:
        metrics.set("driftline_ready", float(all(courier.ready for courier in couriers)))
        await asyncio.sleep(READY_SECONDS)
