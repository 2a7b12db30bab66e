"""The broker in a container, by way of testcontainers and whatever Docker engine answers.

The official image with the same properties as the Java path, at a fixed loopback port: a port that the engine
picks would be another one after a restart, and the address that clients know would be wrong.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from driftline.localkafka.base import (
    KAFKA_VERSION,
    READY_POLL_SECONDS,
    READY_TIMEOUT_SECONDS,
    STOP_TIMEOUT_SECONDS,
    KafkaUnavailable,
    LocalKafka,
    answers,
)
from driftline.localkafka.java import JVM_FLAGS, free_ports

IMAGE: Final = f"apache/kafka:{KAFKA_VERSION}"
INNER_PORT: Final = 9092


def docker_missing() -> str | None:
    """What is missing to run the broker in a container; None when nothing is."""
    try:
        import docker  # optional, and slow to import
        import testcontainers.core.container  # noqa: F401 - only whether it is there
    except ImportError:
        return "testcontainers is not installed (pip install 'driftline[docker]')"
    try:
        client = docker.from_env(timeout=5)
        client.ping()
        client.close()
    except Exception as error:  # noqa: BLE001 - whatever it is, the engine does not answer
        return f"no Docker engine answers ({type(error).__name__})"
    return None


def container_environment(port: int, heap: str, properties: Mapping[str, str]) -> dict[str, str]:
    """Environment of the image: ``KAFKA_`` and each property in capitals with underscores for dots."""
    own = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": "1@localhost:9093",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://:{INNER_PORT},CONTROLLER://:9093",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    named = {"KAFKA_" + k.upper().replace(".", "_"): v for k, v in {**own, **properties}.items()}
    return {**named, "KAFKA_HEAP_OPTS": f"-Xmx{heap}", "KAFKA_JVM_PERFORMANCE_OPTS": " ".join(JVM_FLAGS)}


class DockerKafka(LocalKafka):
    """The broker as a container of ours; its data lives in the container and goes with it at ``stop``."""

    def __init__(self, *, heap: str, properties: Mapping[str, str]) -> None:
        """See ``local_kafka``; nothing is touched before ``start``."""
        self._heap = heap
        self._properties = dict(properties)
        self._container: Any = None
        self.bootstrap = ""

    def start(self) -> None:
        """Creates and starts the container, or starts the killed one again, and waits until it answers."""
        try:
            if self._container is None:
                self._create()
            else:
                self._container.get_wrapped_container().start()
        except Exception as error:
            raise KafkaUnavailable(f"The container of {IMAGE} could not be started: {error}") from error
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while not answers(self.bootstrap):
            if time.monotonic() > deadline:
                log = self._container.get_wrapped_container().logs(tail=25).decode(errors="replace")
                raise KafkaUnavailable(f"The broker in {IMAGE} did not answer; the end of its log:\n{log}")
            time.sleep(READY_POLL_SECONDS)

    def stop(self) -> None:
        """Stops and removes the container."""
        if self._container is not None:
            self._container.get_wrapped_container().stop(timeout=int(STOP_TIMEOUT_SECONDS))
            self._container.stop()
            self._container = None

    def kill(self) -> None:
        """Ends the container's processes with SIGKILL; its data stays."""
        if self._container is not None:
            self._container.get_wrapped_container().kill()

    def _create(self) -> None:
        from testcontainers.core.container import DockerContainer  # optional

        (port,) = free_ports(1)
        container = DockerContainer(IMAGE)
        container.ports[f"{INNER_PORT}/tcp"] = (
            "127.0.0.1",
            port,
        )  # with_bind_ports would open every interface
        for key, value in container_environment(port, self._heap, self._properties).items():
            container.with_env(key, value)
        self.bootstrap = f"127.0.0.1:{port}"
        container.start()
        self._container = container
