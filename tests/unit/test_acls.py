"""The table of rights: who may do what, in which words, and what is too much."""

from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from driftline import acls, topics
from driftline.cli import app
from driftline.config import InputSettings, KafkaSettings, NotifySettings, Settings, TopicSettings
from driftline.errors import OperatorError

SETTINGS = Settings(
    inputs=(InputSettings(topic="raw", model="m"),),
    topics=TopicSettings(prefix="p", mailbox_partitions=2),
    kafka=KafkaSettings(bootstrap_servers="b:9093", security_protocol="SSL"),
    group="g",
    notify=NotifySettings.model_validate(
        {"targets": {"hook": {"kind": "webhook", "url": "http://127.0.0.1:1"}}}
    ),
)
WRITERS = {
    "p.mailbox": {"ingest"},
    "p.state": {"detect"},
    "p.alerts": {"detect"},
    "p.reports": {"detect"},
    "p.actions": {"detect"},
    "p.rejects": {"ingest"},
    "p.commands": {"operator"},
    "p.notified": {"notify"},
    "raw": {"producer"},
}


def test_every_topic_has_one_writer() -> None:
    """Whoever can write state owns the decisions; whoever can write commands can silence a model."""
    table = acls.rights(SETTINGS)
    for topic, writers in WRITERS.items():
        assert {r.role for r in table if r.name == topic and r.operation == "Write"} == writers
    assert {r.role for r in table if r.name == "p.state" and r.operation == "Read"} == {"detect"}
    assert {r.role for r in table if r.kind == "transactional-id"} == {"detect"}
    assert {r.role for r in table if r.operation == "Create"} == {"deploy"}


def test_names_are_those_that_the_product_uses() -> None:
    """Groups, and an id for each mailbox partition; nothing is a pattern."""
    names = {(r.kind, r.name) for r in acls.rights(SETTINGS)}
    assert {n for k, n in names if k == "group"} == {"g-ingest", "g-detect", "g-notify-hook"}
    assert {n for k, n in names if k == "transactional-id"} == {"p-g-0", "p-g-1"}
    assert {n for k, n in names if k == "topic"} == {s.name for s in topics.plan(SETTINGS)} | {"raw"}
    assert not any("*" in name for _, name in names)


def test_commands_grant_the_whole_table() -> None:
    """Each right is in exactly one line of its principal."""
    principals = acls.parse_principals(["ingest=User:CN=in gest"])
    granted = set()
    for role in acls.ROLES:
        for line in acls.commands(SETTINGS, {role: principals[role]}):
            words = shlex.split(line)
            assert words[:5] == ["kafka-acls.sh", "--bootstrap-server", "b:9093", "--command-config",
                                 "admin.properties"]  # fmt: skip
            assert words[words.index("--allow-principal") + 1] == principals[role]
            pairs = list(itertools.pairwise(words))
            operations = [b for a, b in pairs if a == "--operation"]
            kinds = ("topic", "group", "transactional-id")
            resources = [(a[2:], b) for a, b in pairs if a.startswith("--") and a[2:] in kinds]
            granted |= {(role, k, n, o) for (k, n), o in itertools.product(resources, operations)}
    assert granted == {(r.role, r.kind, r.name, r.operation) for r in acls.rights(SETTINGS)}


@pytest.mark.parametrize("pair", ["nobody=User:x", "ingest=alice", "ingest", "ingest="])
def test_a_wrong_principal_is_refused(pair: str) -> None:
    """An unknown role, or no type of principal: Kafka would take it and never match it."""
    with pytest.raises(OperatorError):
        acls.parse_principals([pair])


def test_what_is_too_much_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights that others imply are no difference; an open broker shows on every topic."""
    everything = frozenset(topics.OPERATIONS.values())
    exact = {
        "p.mailbox": frozenset({"Write", "Describe", "DescribeConfigs"}),
        "p.rejects": frozenset({"Write", "Describe", "DescribeConfigs"}),
        "p.commands": frozenset({"Read", "Describe", "DescribeConfigs"}),
        "raw": frozenset({"Read", "Describe", "DescribeConfigs"}),
        "p.state": frozenset[str](),
    }
    monkeypatch.setattr(topics, "allowed_operations", lambda *_: exact)
    assert acls.compare(SETTINGS, ["ingest"], {}) == []
    changed = exact | {"p.state": frozenset({"Write"}), "raw": exact["raw"] - {"Read"}}
    monkeypatch.setattr(topics, "allowed_operations", lambda *_: changed)
    assert [acls.sentence(d) for d in acls.compare(SETTINGS, ["ingest"], {})] == [
        "p.state: this user may also Write",
        "raw: this user may not Read",
    ]
    monkeypatch.setattr(topics, "allowed_operations", lambda *_: dict.fromkeys(exact, everything))
    found = acls.compare(SETTINGS, ["ingest", "detect"], {})
    assert {d.topic for d in found} == set(exact)
    assert all("Delete" in d.beyond for d in found)


def test_the_command_prints_both_forms(tmp_path: Path) -> None:
    """Lines for an administrator's shell, and a table for everything else."""
    file = tmp_path / "c.yaml"
    file.write_text("models: {m: }")
    lines = CliRunner().invoke(app, ["topics", "acls", "-c", str(file), "-p", "detect=User:CN=d"])
    assert lines.exit_code == 0
    assert (
        "--allow-principal User:CN=d --operation Write --transactional-id driftline-driftline-0"
        in lines.stdout
    )
    assert "# operator: " in lines.stdout
    assert "# notify: " not in lines.stdout  # there is no target
    rows = CliRunner().invoke(app, ["topics", "acls", "-c", str(file), "--json"]).stdout.splitlines()
    row = {"role": "detect", "kind": "group", "name": "driftline-detect", "operations": ["Read"]}
    assert row in map(json.loads, rows)
    assert CliRunner().invoke(app, ["topics", "acls", "-c", str(file), "--check", "x"]).exit_code != 0
