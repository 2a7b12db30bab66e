"""How our topics have to be, without a broker."""

from __future__ import annotations

from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient

from driftline.config import InputSettings, KafkaSettings, Settings, TopicSettings
from driftline.records import ENVELOPE_BYTES_MAX
from driftline.topics import TopicSpec, _wrong_config, _wrong_count, admin_config, plan


def _plan(input_partitions: int | None = None, **topics: object) -> dict[str, TopicSpec]:
    settings = Settings(
        inputs=(InputSettings(topic="raw.a", model="m"),),
        topics=TopicSettings.model_validate({"prefix": "p", "mailbox_partitions": 6, **topics}),
    )
    return {spec.name: spec for spec in plan(settings, input_partitions=input_partitions)}


def test_every_topic_of_the_design_is_planned_under_the_prefix() -> None:
    """Seven topics of ours; the raw ones are the user's."""
    roles = ("mailbox", "state", "alerts", "reports", "actions", "rejects", "commands")
    assert set(_plan()) == {f"p.{role}" for role in roles}
    assert set(_plan(3)) - set(_plan()) == {"raw.a"}
    assert _plan(3)["raw.a"].partitions == 3


def test_state_has_the_mailbox_partitions_and_is_compacted() -> None:
    """Partition p of the state belongs to partition p of the mailbox."""
    specs = _plan()
    assert specs["p.state"].partitions == specs["p.mailbox"].partitions == 6
    assert specs["p.state"].config["cleanup.policy"] == "compact"
    assert specs["p.state"].config["segment.bytes"] == str(64 * 1024 * 1024)
    assert specs["p.state"].config["segment.ms"] == "600000"
    assert "retention.ms" not in specs["p.state"].config


def test_mailbox_is_kept_by_time_and_takes_the_largest_envelope() -> None:
    """Never compacted: every envelope counts."""
    config = _plan(mailbox_retention_hours=5)["p.mailbox"].config
    assert config["cleanup.policy"] == "delete"
    assert config["retention.ms"] == str(5 * 3600 * 1000)
    assert int(config["max.message.bytes"]) > ENVELOPE_BYTES_MAX


def test_all_of_ours_use_the_brokers_clock() -> None:
    """A producer's clock must not decide what retention deletes."""
    assert {spec.config["message.timestamp.type"] for spec in _plan().values()} == {"LogAppendTime"}


def test_replication_is_as_configured() -> None:
    """Durability is the operator's decision, topic by topic the same."""
    for spec in _plan(replication_factor=5, min_insync_replicas=4).values():
        assert (spec.replication, spec.config["min.insync.replicas"]) == (5, "4")


@pytest.mark.parametrize(
    ("key", "have", "is_problem"),
    [
        ("cleanup.policy", "compact", True),
        ("cleanup.policy", "delete", False),
        ("retention.ms", "1000", True),
        ("retention.ms", "-1", False),
        ("retention.ms", str(365 * 24 * 3600 * 1000), False),
        ("message.timestamp.type", "CreateTime", True),
        ("max.message.bytes", "1048588", True),
    ],
)
def test_a_setting_that_loses_or_refuses_data_is_a_problem_with_its_command(
    key: str, have: str, is_problem: bool
) -> None:
    """Longer retention and larger messages are the operator's choice."""
    problems = list(_wrong_config(_plan()["p.mailbox"], {key: have}, "b:9092"))
    assert bool(problems) == is_problem
    for problem in problems:
        assert problem.topic == "p.mailbox"
        assert problem.remedy.startswith("kafka-configs.sh --bootstrap-server b:9092 --alter")
        assert f"--entity-name p.mailbox --add-config {key}=" in problem.remedy


def test_a_wrong_count_names_the_setting_that_fits() -> None:
    """The count cannot be changed under the state's feet."""
    problem = _wrong_count(_plan()["p.mailbox"], 4)
    assert "has 4 partitions, 6 are configured" in problem.what
    assert "topics.mailbox_partitions: 4" in problem.remedy


def test_security_settings_reach_the_admin_client(tmp_path: Path) -> None:
    """kafka-python knows every option that we give it, under the same name."""
    secret = tmp_path / "password"
    secret.write_text("of the day\n", encoding="utf-8")
    config = admin_config(
        KafkaSettings(
            bootstrap_servers="a:1, b:2",
            security_protocol="SASL_SSL",
            sasl_username="me",
            sasl_password_file=secret,
        )
    )
    assert set(config) <= set(KafkaAdminClient.DEFAULT_CONFIG)
    assert config["bootstrap_servers"] == ["a:1", "b:2"]
    assert str(config["sasl_plain_password"]) == secret.read_text(encoding="utf-8").strip()
    assert config["ssl_context"].newest().check_hostname
