"""Topics made, found wrong and identified on a real broker."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from kafka.admin import KafkaAdminClient

from driftline.config import InputSettings, Settings, TopicSettings
from driftline.errors import OutsideError
from driftline.localkafka import LocalKafka
from driftline.topics import TopicSpec, check, create, plan, retention, topic_ids


def _specs(prefix: str) -> list[TopicSpec]:
    topics = TopicSettings(prefix=prefix, mailbox_partitions=2, replication_factor=1, min_insync_replicas=1)
    return plan(Settings(inputs=(InputSettings(topic=f"{prefix}.raw", model="m"),), topics=topics))


def test_created_topics_pass_the_check_and_are_left_alone_the_second_time(
    kafka: LocalKafka, topic_prefix: str
) -> None:
    """What create makes is what check wants."""
    config, specs = {"bootstrap_servers": kafka.bootstrap}, _specs(topic_prefix)
    missing = check(config, specs, [f"{topic_prefix}.raw"])
    assert {problem.topic for problem in missing} == {*(spec.name for spec in specs), f"{topic_prefix}.raw"}
    assert {item.outcome for item in create(config, specs)} == {"created"}
    assert [item.name for item in create(config, specs)] == [spec.name for spec in specs]
    assert {item.outcome for item in create(config, specs)} == {"exists"}
    assert check(config, specs) == []


def test_check_finds_what_loses_data(kafka: LocalKafka, topic_prefix: str) -> None:
    """A mailbox that compacts, with too short a retention and another partition count."""
    config, (mailbox, *_) = {"bootstrap_servers": kafka.bootstrap}, _specs(topic_prefix)
    wrong = {**mailbox.config, "cleanup.policy": "compact", "retention.ms": "1000"}
    create(config, [replace(mailbox, partitions=3, config=wrong)])
    whats = [problem.what for problem in check(config, [mailbox])]
    assert len(whats) == 3
    assert whats[0] == "has 3 partitions, 2 are configured"
    assert whats[1] == "has cleanup.policy=compact, delete is needed"
    assert whats[2].startswith("has retention.ms=1000")


def test_retention_is_told_where_age_deletes(kafka: LocalKafka, topic_prefix: str) -> None:
    """In seconds; left out are compacted topics, those without a limit, and those that are not there."""
    config, specs = {"bootstrap_servers": kafka.bootstrap}, _specs(topic_prefix)
    endless = replace(specs[0], name=f"{topic_prefix}.endless", config={"retention.ms": "-1"})
    create(config, [*specs, endless])
    names = [f"{topic_prefix}.{name}" for name in ("mailbox", "alerts", "state", "endless", "missing")]
    day = 24 * 3600.0
    assert retention(config, names) == {names[0]: day, names[1]: 7 * day}
    assert retention(config, []) == {}


def test_one_failure_does_not_stop_the_others(kafka: LocalKafka, topic_prefix: str) -> None:
    """More replicas than brokers: the broker's own words say so."""
    config, (first, second, *_) = {"bootstrap_servers": kafka.bootstrap}, _specs(topic_prefix)
    results = create(config, [replace(first, replication=99), second])
    assert [item.outcome for item in results] == ["failed", "created"]
    assert "replication factor" in results[0].detail


def test_a_topic_made_again_has_another_id(kafka: LocalKafka, topic_prefix: str) -> None:
    """The name alone would hide that its data is gone."""
    config, (mailbox, *_) = {"bootstrap_servers": kafka.bootstrap}, _specs(topic_prefix)
    assert topic_ids(config, [mailbox.name]) == {}
    create(config, [mailbox])
    before = topic_ids(config, [mailbox.name, "never-there"])
    assert set(before) == {mailbox.name}
    assert before[mailbox.name][1] == 2
    assert topic_ids(config, [mailbox.name]) == before
    client = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    client.delete_topics([mailbox.name])
    client.close()
    create(config, [mailbox])
    assert topic_ids(config, [mailbox.name])[mailbox.name][0] != before[mailbox.name][0]


def test_no_broker_is_the_environments_fault() -> None:
    """The address that was tried is in the message."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(OutsideError, match=address):
            topic_ids({"bootstrap_servers": address}, ["x"])
