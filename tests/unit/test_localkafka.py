"""How a broker is chosen and what it is told; no broker runs here."""

from __future__ import annotations

import importlib.resources
import os
import socket
from pathlib import Path

import pytest

from driftline import localkafka
from driftline.localkafka import base, docker, jars, java


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAFKA", raising=False)


def _missing(monkeypatch: pytest.MonkeyPatch, *, java_: str | None, docker_: str | None) -> None:
    monkeypatch.setattr(localkafka, "java_missing", lambda: java_)
    monkeypatch.setattr(localkafka, "docker_missing", lambda: docker_)


def test_auto_prefers_java_then_docker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Java is the quicker one, so it comes first."""
    _missing(monkeypatch, java_=None, docker_=None)
    assert isinstance(localkafka.local_kafka(), java.JavaKafka)
    _missing(monkeypatch, java_="no java", docker_=None)
    assert isinstance(localkafka.local_kafka(), docker.DockerKafka)


def test_nothing_there_says_what_was_tried_and_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message alone is enough to mend it."""
    _missing(monkeypatch, java_="no mvn to fetch Kafka with (maven)", docker_="no Docker engine answers")
    with pytest.raises(base.KafkaUnavailable) as caught:
        localkafka.local_kafka()
    for part in ("no mvn", "no Docker engine", "openjdk-17-jre-headless", "KAFKA=HOST:PORT"):
        assert part in str(caught.value)


def test_a_choice_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks for docker never gets java, and the other way round."""
    _missing(monkeypatch, java_="no java", docker_=None)
    with pytest.raises(base.KafkaUnavailable, match="no java"):
        localkafka.local_kafka("java")
    _missing(monkeypatch, java_=None, docker_="no engine")
    with pytest.raises(base.KafkaUnavailable, match="no engine"):
        localkafka.local_kafka("docker")


def test_environment_decides_only_when_the_choice_is_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    """An explicit choice wins over KAFKA."""
    _missing(monkeypatch, java_=None, docker_=None)
    monkeypatch.setenv("KAFKA", "broker.example:9092")
    assert localkafka.local_kafka().bootstrap == "broker.example:9092"
    assert isinstance(localkafka.local_kafka("docker"), docker.DockerKafka)


def test_none_fails() -> None:
    """Who needs a broker and forbids one is told so."""
    with pytest.raises(base.KafkaUnavailable, match="none"):
        localkafka.local_kafka("none")


@pytest.mark.parametrize("choice", ["jav", "host:", ":9092", "host:0", "host:65536", "host:x", "9092"])
def test_a_choice_that_is_none_of_ours_is_an_error(choice: str) -> None:
    """A typing error never means "whatever is there"."""
    with pytest.raises(ValueError, match="HOST:PORT"):
        localkafka.local_kafka(choice)


def test_a_foreign_broker_is_not_killed() -> None:
    """Neither kill nor restart touch what is not ours."""
    broker = localkafka.local_kafka("127.0.0.1:9")
    with pytest.raises(base.KafkaUnavailable, match="not ours"):
        broker.kill()
    with pytest.raises(base.KafkaUnavailable, match="not ours"):
        broker.restart()
    broker.stop()


def test_a_foreign_broker_that_does_not_answer_is_reported() -> None:
    """Starting it means asking it."""
    with socket.socket() as probe:  # bound but not listening: refused, and taken by nobody else meanwhile
        probe.bind(("127.0.0.1", 0))
        with pytest.raises(base.KafkaUnavailable, match="No Kafka broker answers"):
            localkafka.local_kafka(f"127.0.0.1:{probe.getsockname()[1]}").start()


def test_properties_over_ours_and_addresses_in_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the caller asks for wins; the broker listens on loopback only."""
    text = java.server_properties(tmp_path, 20_001, 20_002, {"log.cleaner.backoff.ms": "200", "node.id": "7"})
    lines = text.splitlines()
    assert "log.cleaner.backoff.ms=200" in lines
    assert "node.id=7" in lines
    assert "node.id=1" not in lines
    assert "listeners=PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002" in lines
    assert f"log.dirs={tmp_path}" in lines
    assert base.BROKER_PROPERTIES["auto.create.topics.enable"] == "false"


def test_container_environment_names_the_properties_as_the_image_reads_them() -> None:
    """KAFKA_, capitals, underscores; the outside address is the host's port."""
    env = docker.container_environment(20_001, "256m", base.BROKER_PROPERTIES)
    assert env["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert env["KAFKA_ADVERTISED_LISTENERS"] == "PLAINTEXT://127.0.0.1:20001"
    assert env["KAFKA_HEAP_OPTS"] == "-Xmx256m"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "21" 2023-09-19', 21),
        ("command not found", 0),
    ],
)
def test_java_version(text: str, expected: int) -> None:
    """Old and new ways to number Java."""
    assert java.java_version(text) == expected


def test_an_old_java_is_named_with_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The operator reads which Java was found and which package has a newer one."""
    monkeypatch.setattr(java, "_java", lambda: "/opt/java/bin/java")
    monkeypatch.setattr(java, "_output", lambda _: 'openjdk version "11.0.2"')
    assert "/opt/java/bin/java is version 11" in str(java.java_missing())


def test_maven_is_needed_only_while_the_jars_are_not_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Who has the jars runs without Maven, and without a network."""
    monkeypatch.setattr(java, "_java", lambda: "java")
    monkeypatch.setattr(java, "_output", lambda _: 'openjdk version "17.0.15"')
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "mvn" in str(java.java_missing())
    jars.jars_dir().mkdir(parents=True)
    assert java.java_missing() is None
    assert jars.fetch_jars() == jars.jars_dir()


def test_a_failed_fetch_leaves_nothing_and_shows_mavens_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A half of the jars is never mistaken for all of them."""
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho 'no route to the repository'; exit 1\n", encoding="utf-8")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", str(maven.parent), prepend=os.pathsep)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(base.KafkaUnavailable, match="no route to the repository"):
        jars.fetch_jars()
    assert not jars.jars_dir().exists()
    assert list(jars.jars_dir().parent.glob(".fetch-*")) == []


def test_versions_agree() -> None:
    """The pom fetches the version that the code names."""
    pom = (importlib.resources.files("driftline") / "data" / "kafka-pom.xml").read_text(encoding="utf-8")
    assert f"<kafka.version>{base.KAFKA_VERSION}</kafka.version>" in pom


def test_free_ports_are_different_and_below_the_outgoing_range() -> None:
    """No client's outgoing connection can take the port of a killed broker."""
    ports = java.free_ports(20)
    assert len(set(ports)) == 20
    assert all(20_000 <= port < 32_768 for port in ports)


def test_a_listener_behind_a_proxy(tmp_path: Path) -> None:
    """Clients of the second listener are sent to the proxy's port, all others to the broker itself."""
    behind = base.ProxiedListener(20_003, 20_004)
    lines = java.server_properties(tmp_path, 20_001, 20_002, {}, behind).splitlines()
    listeners = "PLAINTEXT://127.0.0.1:20001,PROXIED://127.0.0.1:20003,CONTROLLER://127.0.0.1:20002"
    assert f"listeners={listeners}" in lines
    assert "advertised.listeners=PLAINTEXT://127.0.0.1:20001,PROXIED://127.0.0.1:20004" in lines
    assert (
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT" in lines
    )


@pytest.mark.parametrize("choice", ["docker", "127.0.0.1:9092"])
def test_only_java_has_a_listener_behind_a_proxy(choice: str) -> None:
    """A broker whose listeners are not ours to choose is refused, not started without one."""
    with pytest.raises(base.KafkaUnavailable, match="Java"):
        localkafka.local_kafka(choice, behind=base.ProxiedListener(20_003, 20_004))
