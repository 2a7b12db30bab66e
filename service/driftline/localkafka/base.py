"""What every local broker can do, and how to ask one whether it is there."""

from __future__ import annotations

import logging
import socket
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from driftline.errors import OutsideError

KAFKA_VERSION: Final = "4.1.0"  # data/kafka-pom.xml says the same; a test compares them
READY_TIMEOUT_SECONDS: Final = 60.0  # 2-3 s on an idle machine; a loaded CI machine needs many times that
STOP_TIMEOUT_SECONDS: Final = 20.0  # a broker flushes and closes its logs in about 1 s
READY_POLL_SECONDS: Final = 0.05

# One broker needs factors of 1. No pause before a group's first rebalance: a person or a test is waiting.
BROKER_PROPERTIES: Final[Mapping[str, str]] = {
    "auto.create.topics.enable": "false",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # After a kill the controller takes the broker for alive until its session ends (9 s by default) and
    # refuses the new one. Both are one process here, so that a short session fences nobody by mistake.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


class KafkaUnavailable(OutsideError):  # noqa: N818 - reads as what it says: "Kafka unavailable: ..."
    """There is no broker: says what was tried and what to install or change."""


@dataclass(frozen=True, slots=True)
class ProxiedListener:
    """A second listener of the broker for clients behind a proxy, both on loopback.

    The broker listens at ``port`` and sends those clients to ``advertised_port``, where the proxy is.
    """

    port: int
    advertised_port: int


class LocalKafka(ABC):
    """A broker at ``bootstrap`` (``host:port``). As a context manager it starts and stops."""

    bootstrap: str

    @abstractmethod
    def start(self) -> None:
        """Starts the broker and waits until it answers.

        Raises:
            KafkaUnavailable: it did not come up; ends with the last lines of its log.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stops gracefully; removes the data unless its folder was given. Does nothing the second time."""

    @abstractmethod
    def kill(self) -> None:
        """Ends the broker as a power cut would (SIGKILL); ``start`` brings it back with its data.

        Raises:
            KafkaUnavailable: the broker is not ours.
        """

    def restart(self) -> None:
        """Kills the broker and starts it at the same address with the same data."""
        self.kill()
        self.start()

    def __enter__(self) -> Self:
        """Starts."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stops."""
        self.stop()


class ForeignKafka(LocalKafka):
    """A broker that somebody else runs: it can be used, but neither killed nor restarted."""

    def __init__(self, bootstrap: str) -> None:
        """``bootstrap``: ``host:port``, a list of them separated by commas is not supported."""
        self.bootstrap = bootstrap

    def start(self) -> None:
        """Checks that it answers."""
        if not answers(self.bootstrap):
            raise KafkaUnavailable(
                f"No Kafka broker answers at {self.bootstrap}.", remedy="Start it, or unset KAFKA."
            )

    def stop(self) -> None:
        """Does nothing: it is not ours."""

    def kill(self) -> None:
        """Always fails: it is not ours."""
        raise KafkaUnavailable(
            f"The broker at {self.bootstrap} is not ours to kill.", remedy="Use KAFKA=java or KAFKA=docker."
        )


def answers(bootstrap: str, timeout_seconds: float = 5.0) -> bool:
    """True if the broker answers a metadata request and counts itself as alive (no longer fenced)."""
    return cluster_id(bootstrap, timeout_seconds) is not None


def cluster_id(bootstrap: str, timeout_seconds: float = 5.0, **security: Any) -> str | None:
    """Id of the cluster that answers there with at least one live broker; None when none does.

    ``security``: arguments of kafka-python's admin client, for a broker that asks for them.
    """
    host, _, port = bootstrap.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=timeout_seconds).close()
    except OSError:
        return None
    # The client logs every refused attempt as an error; while we wait for a broker they are none.
    log = logging.getLogger("kafka")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        admin = KafkaAdminClient(
            bootstrap_servers=bootstrap, bootstrap_timeout_ms=int(timeout_seconds * 1000), **security
        )
        try:
            cluster = admin.describe_cluster()
            return str(cluster["cluster_id"]) if cluster["brokers"] else None
        finally:
            admin.close()
    except (KafkaError, OSError):
        return None
    finally:
        log.setLevel(level)
