"""Stage 2 at the Kafka edge: a Faust app with one agent on the mailbox, run inside our own event loop.

Owns: the settings of the Faust app, starting and stopping it, and what the watchdog may ask about it. Faust's
worker class is not used: it takes over logging, signals and the process's name. Invariant: no Faust table, no
acknowledgement, no commit through Faust; state and position are ``agent.Owner``'s.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import Any, Final

import faust

from driftline import clients
from driftline.config import KafkaSettings, Settings
from driftline.errors import ExitCode, FatalError
from driftline.publish import alerts
from driftline.publish.headroom import Headroom
from driftline.publish.metrics import Metrics
from driftline.records import SEVERITIES, Source
from driftline.stream.agent import Owner, PartitionFactory, mailbox_partitions
from driftline.stream.checkpoint import Fatal
from driftline.stream.compat import check_versions
from driftline.stream.overrides import App

log = logging.getLogger(__name__)

BUFFER_ENVELOPES_MAX: Final = 32  # waiting to be applied, of at most 4 MiB each
FETCH_BYTES_MAX: Final = 4 << 20  # a fetch brings at least one record, however large
STOP_SECONDS_MAX: Final = 10.0  # for Faust's services, which wait for one another
DRAIN_SECONDS_MAX: Final = 10.0  # for the last checkpoint; with the above well within Kubernetes' 30 s
REBALANCING_SECONDS_MAX: Final = 90.0  # groups of tens of workers settle within 30 s
STALLED_SECONDS_MAX: Final = 120.0  # records are there, but none is applied
LAG_SECONDS: Final = 1.0


def credentials(kafka: KafkaSettings) -> Any:
    """Faust's form of the credentials; None without any.

    Raises:
        OperatorError: see ``clients.client_options``.
    """
    options = clients.client_options(kafka)
    if kafka.security_protocol == "PLAINTEXT":
        return None
    if kafka.security_protocol == "SSL":
        return faust.SSLCredentials(context=options["ssl_context"])
    # With ssl_context None, Faust means SASL_PLAINTEXT; the settings made sure that there is one for
    # SASL_SSL.
    return faust.SASLCredentials(
        username=options["sasl_plain_username"],
        password=options["sasl_plain_password"],
        mechanism=options["sasl_mechanism"],
        ssl_context=options["ssl_context"],
    )


def make_app(settings: Settings) -> App:
    """The Faust app, without its agent."""
    group = clients.group_options(settings.kafka)
    take_over = settings.checkpoint.take_over_timeout_seconds
    return App(
        settings.group_id("detect"),
        broker=[f"kafka://{server}" for server in clients.servers(settings.kafka)],
        broker_credentials=credentials(settings.kafka),
        store="memory://",
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=settings.topics.mailbox_partitions,
        web_enabled=False,
        autodiscover=False,
        # With noack nothing is ever acknowledged: a rebalance would wait for ever (F#133)
        stream_wait_empty=False,
        stream_buffer_maxsize=BUFFER_ENVELOPES_MAX,
        consumer_auto_offset_reset="earliest",  # only before the take-over seeks; a reset later is a hole
        consumer_max_fetch_size=FETCH_BYTES_MAX,
        broker_session_timeout=settings.kafka.session_timeout_seconds,
        broker_heartbeat_interval=group["heartbeat_interval_ms"] / 1000,
        broker_rebalance_timeout=group["rebalance_timeout_ms"] / 1000,
        # Faust's recovery gives up in silence after this time: our own deadline has to be the shorter one.
        broker_request_timeout=max(take_over + 10.0, settings.kafka.session_timeout_seconds + 5.0),
        broker_max_poll_interval=300.0,
        broker_check_crcs=False,  # an envelope has a CRC-32C of its own; the client's, in plain C, costs 3 %
    )


class DetectWorker:
    """Stage 2 of one worker.

    Args:
        settings: everything.
        topic_id: id of the mailbox topic.
        metrics: where to count.
        fatal: ends the process.
        kafka: makes Kafka clients.
        headroom: what retention leaves, for the metrics.
        partition_factory: makes partitions; the real ones by default.

    Raises:
        OperatorError: Faust or aiokafka is a version that was not tested.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        topic_id: str,
        metrics: Metrics,
        fatal: Fatal,
        kafka: clients.Clients,
        headroom: Headroom,
        partition_factory: PartitionFactory | None = None,
    ) -> None:
        check_versions()
        self._settings = settings
        self._metrics = metrics
        self._headroom = headroom
        kept = headroom.retention(settings.topics.name("mailbox"))
        if kept is not None:
            metrics.set("driftline_mailbox_retention_seconds", kept)
        self.owner = Owner(
            settings,
            topic_id=topic_id,
            metrics=metrics,
            fatal=fatal,
            partition_factory=partition_factory or mailbox_partitions(settings),
            clients=kafka,
        )
        for state, severity in itertools.product(alerts.STATES, SEVERITIES):
            # A series that begins at 1 has no increase: the first alert would not show.
            metrics.add("driftline_alerts_emitted_total", 0.0, state=state, severity=severity)
        self._app: App | None = None
        self._started = False
        self._rebalancing_since: float | None = None

    @property
    def ready(self) -> bool:
        """True once recovered and while the group is settled."""
        app = self._app
        return app is not None and self._started and not app.rebalancing

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set; then a last checkpoint, and leave the group.

        Raises:
            FatalError: STALLED, Faust crashed.
        """
        app = self._app = make_app(self._settings)
        app.owner = self.owner
        app.mailbox_topic = self._settings.topics.name("mailbox")
        self._agent(app)
        starting = asyncio.create_task(app.start(), name="faust")
        lags = asyncio.create_task(self._lags(app), name="lags")
        stopping = asyncio.create_task(stop.wait())
        crashed = asyncio.create_task(app._crashed.wait())  # noqa: SLF001
        try:
            await asyncio.wait({starting, stopping, crashed}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done() and not crashed.done():
                starting.result()
                self._started = True
                log.info("ready")
                await asyncio.wait({stopping, crashed}, return_when=asyncio.FIRST_COMPLETED)
            if crashed.done():
                raise FatalError(ExitCode.STALLED, f"Faust crashed: {app.crash_reason!r}.")
        finally:
            for task in (stopping, crashed, lags):
                task.cancel()
            self._started = False
        await self.owner.drain(DRAIN_SECONDS_MAX)
        await self._stop(app, starting)

    async def _stop(self, app: App, starting: asyncio.Task[Any]) -> None:
        starting.cancel()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await app.stop()
        except TimeoutError:
            log.warning("Faust did not stop in time; the broker will notice that this worker is gone")
        except Exception as error:  # noqa: BLE001 - everything is stored: how Faust ends does not matter
            log.warning("Faust did not stop cleanly", extra={"error": repr(error)})

    def _agent(self, app: App) -> None:
        topic = app.topic(
            app.mailbox_topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            partitions=self._settings.topics.mailbox_partitions,
        )
        apply = self.owner.apply

        @app.agent(topic, name="driftline.mailbox", concurrency=1)
        async def mailbox(stream: Any) -> None:
            async for event in stream.noack().events():
                message = event.message
                timestamp_ms = round(message.timestamp * 1000)
                apply(message.partition, message.generation_id, message.offset, timestamp_ms, message.value)
                await asyncio.sleep(0)  # a full buffer would keep checkpoints from running

    async def _lags(self, app: App) -> None:
        while True:
            for partition, end in self._log_ends(app).items():
                self.owner.check_end(partition, end)
            for partition, behind in self._behind(app).items():
                self._show_lag(partition, behind)
            await asyncio.sleep(LAG_SECONDS)

    def _show_lag(self, partition: int, behind: int) -> None:
        """How far behind, in envelopes and against the clock of retention."""
        self._metrics.set("driftline_mailbox_lag_records", behind, partition=partition)
        owned = self.owner.owned.get(partition)
        if owned is None:
            return
        mailbox = Source(self._settings.topics.name("mailbox"), partition)
        left = self._headroom.left(mailbox, behind=behind, taken_ms=owned.partition.applied_ms)
        if left is not None:
            self._metrics.set("driftline_mailbox_retention_headroom_seconds", left, partition=partition)

    def _behind(self, app: App) -> dict[int, int]:
        """Envelopes in the log that were not applied yet, as far as known."""
        owned, ends = dict(self.owner.owned), self._log_ends(app)
        return {p: max(0, end - owned[p].partition.next_offset) for p, end in ends.items() if p in owned}

    def _log_ends(self, app: App) -> dict[int, int]:
        """Where the log of each owned partition ended at its last fetch, as far as known."""
        kafka = _kafka_consumer(app)
        if kafka is None:
            return {}
        found = {p: kafka.highwater(faust.types.TP(app.mailbox_topic, p)) for p in list(self.owner.owned)}
        return {p: end for p, end in found.items() if end is not None and end >= 0}

    # --- for the watchdog, called from its thread ---------------------------------------------------------

    def problem(self) -> FatalError | None:
        """What keeps this worker from working although it is alive; None when nothing does."""
        app = self._app
        if app is None:
            return None
        return self._group_problem(app) or self._rebalancing_problem(app) or self._stalled_problem(app)

    def _group_problem(self, app: App) -> FatalError | None:
        """Faust fetches past aiokafka's ``check_errors``: a group error parks it for ever (F#175, F#532)."""
        kafka = _kafka_consumer(app)
        coordinator = kafka._coordinator if kafka is not None else None  # noqa: SLF001
        error = getattr(coordinator, "_pending_exception", None)
        if error is None:
            return None
        return FatalError(ExitCode.STALLED, f"the mailbox's group failed: {type(error).__name__}: {error}.")

    def _rebalancing_problem(self, app: App) -> FatalError | None:
        now = time.monotonic()
        if not app.rebalancing:
            self._rebalancing_since = None
            return None
        if self._rebalancing_since is None:
            self._rebalancing_since = now
        if (
            now - self._rebalancing_since
            <= REBALANCING_SECONDS_MAX + self._settings.kafka.session_timeout_seconds
        ):
            return None
        return FatalError(
            ExitCode.REBALANCING, f"the group {self._settings.group_id('detect')} does not settle."
        )

    def _stalled_problem(self, app: App) -> FatalError | None:
        now = time.monotonic()
        checkpoint = self._settings.checkpoint
        age_max = checkpoint.interval_seconds + 2 * checkpoint.transaction_timeout_seconds
        for partition, owned in list(self.owner.owned.items()):
            if owned.dirty_since is not None and now - owned.dirty_since > age_max:
                return FatalError(
                    ExitCode.STALLED, f"mailbox partition {partition}: no checkpoint for {age_max:.0f} s."
                )
            behind = self._behind(app).get(partition, 0)
            if behind and not app.rebalancing and now - owned.applied_at > STALLED_SECONDS_MAX:
                return FatalError(
                    ExitCode.STALLED,
                    f"mailbox partition {partition}: {behind} envelopes wait, none was applied for "
                    f"{STALLED_SECONDS_MAX:.0f} s.",
                )
        return None


def _kafka_consumer(app: App) -> Any:
    """The aiokafka consumer inside Faust's; None before it started."""
    consumer = app._consumer  # noqa: SLF001
    return consumer._thread._consumer if consumer is not None else None  # noqa: SLF001
