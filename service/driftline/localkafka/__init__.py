"""A real Kafka broker on this machine: one implementation for the demo, the tests, benchmarks and chaos runs.

Owns: choosing how to get a broker (``local_kafka``), starting it, stopping it, killing it with its data kept,
and starting it again at the same address. Three ways: Apache Kafka's own jars run by Java (fetched once by
Maven), a container, or a broker that somebody else runs (HOST:PORT), which we cannot kill.

Limits: one broker that is its own controller, no replication, no security, loopback only; for a machine at a
desk or in CI, never for production. It knows nothing of Driftline's topics.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from driftline.localkafka.base import (
    BROKER_PROPERTIES,
    KAFKA_VERSION,
    ForeignKafka,
    KafkaUnavailable,
    LocalKafka,
    ProxiedListener,
)
from driftline.localkafka.docker import DockerKafka, docker_missing
from driftline.localkafka.java import JavaKafka, free_ports, java_missing

__all__ = [
    "KAFKA_VERSION",
    "KafkaUnavailable",
    "LocalKafka",
    "ProxiedListener",
    "free_ports",
    "local_kafka",
]


def local_kafka(
    choice: str = "auto",
    *,
    data_dir: Path | None = None,
    heap: str = "512m",
    properties: Mapping[str, str] | None = None,
    behind: ProxiedListener | None = None,
) -> LocalKafka:
    """A broker, not started yet.

    Args:
        choice: ``auto`` (what the environment variable KAFKA says; else java, else docker), ``java``,
            ``docker``, ``HOST:PORT`` of a running broker, or ``none``, which always fails.
        data_dir: where the broker keeps its data and log; kept at ``stop``. Default: a temporary folder,
            removed at ``stop``. For java only.
        heap: the JVM's largest heap, as for ``-Xmx``.
        properties: broker properties over ours, e.g. ``{"log.cleaner.backoff.ms": "200"}``.
        behind: a second listener for clients that go through a proxy. For java only.

    Raises:
        KafkaUnavailable: nothing fits; says what was tried and what to install.
        ValueError: ``choice`` is none of the above.
    """
    if choice == "auto":
        choice = os.environ.get("KAFKA", "").strip() or "auto"
    if behind is not None:
        choice = "java" if choice == "auto" else choice
        if choice != "java":
            raise KafkaUnavailable(f"A proxied listener needs a broker run by Java, not {choice}.")
    merged = {**BROKER_PROPERTIES, **(properties or {})}
    if choice == "none":
        raise KafkaUnavailable("A broker is needed, but none was asked for (KAFKA=none).")
    if choice not in {"auto", "java", "docker"}:
        return ForeignKafka(_address(choice))
    tried = []
    if choice in {"auto", "java"}:
        missing = java_missing()
        if missing is None:
            return JavaKafka(data_dir=data_dir, heap=heap, properties=merged, behind=behind)
        tried.append(f"java: {missing}")
    if choice in {"auto", "docker"}:
        missing = docker_missing()
        if missing is None:
            return DockerKafka(heap=heap, properties=merged)
        tried.append(f"docker: {missing}")
    raise KafkaUnavailable(
        "No Kafka broker can be had here. Tried " + "; ".join(tried) + ". Mend one of these "
        "(Debian: apt install openjdk-17-jre-headless maven), or name a running broker: KAFKA=HOST:PORT."
    )


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) <= 65_535:
        raise ValueError(f"KAFKA is {text!r}: use auto, java, docker, none or HOST:PORT.")
    return text
