"""Our topics: how they have to be (``plan``), making them (``create``) and finding what is wrong (``check``).

Owns the one table of topics with their partition counts and settings, and the admin client. It never deletes
or alters a topic: a wrong partition count or cleanup policy may have destroyed data already, so a person
decides, with the command that mends it in hand.
"""

from __future__ import annotations

import shlex
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaError, TopicAlreadyExistsError, TopicAuthorizationFailedError, for_code

from driftline.clients import client_options
from driftline.config import KafkaSettings, Settings
from driftline.errors import OperatorError, OutsideError
from driftline.records import COMMAND_BYTES_MAX, ENVELOPE_BYTES_MAX, RECORD_BYTES_MAX

HOUR_MS: Final = 3_600_000
STATE_SEGMENT_BYTES: Final = (
    64 << 20
)  # the open segment is never compacted: it bounds what a restore reads twice
STATE_SEGMENT_MS: Final = 10 * 60 * 1000  # a quiet partition is compacted too
FRAMING_BYTES: Final = 64 << 10  # record batch, headers and keys around the value
BOOTSTRAP_TIMEOUT_MS: Final = 10_000
# Differences in these lose or keep data, or refuse records; other settings are the operator's.
CHECKED: Final = (
    "cleanup.policy",
    "retention.ms",
    "message.timestamp.type",
    "max.message.bytes",
    "min.insync.replicas",
)
AT_LEAST: Final = frozenset(
    {"retention.ms", "max.message.bytes", "min.insync.replicas"}
)  # more is no problem

# Operations on topics: the client's names, and those that Kafka's tools print.
OPERATIONS: Final[Mapping[str, str]] = {
    "READ": "Read",
    "WRITE": "Write",
    "CREATE": "Create",
    "DELETE": "Delete",
    "ALTER": "Alter",
    "DESCRIBE": "Describe",
    "DESCRIBE_CONFIGS": "DescribeConfigs",
    "ALTER_CONFIGS": "AlterConfigs",
}

AdminConfig = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """How one topic has to be."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]  # Kafka's own names and units
    purpose: str


@dataclass(frozen=True, slots=True)
class Created:
    """What became of one topic; ``detail`` is the broker's reason when it failed."""

    name: str
    outcome: Literal["created", "exists", "failed"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a topic, and the command or change that mends it."""

    topic: str
    what: str
    remedy: str


def plan(settings: Settings, *, input_partitions: int | None = None) -> list[TopicSpec]:
    """Every topic that a deployment owns.

    Args:
        settings: names, partition count, replication and retention.
        input_partitions: also plan the raw topics, which are the user's, with this many partitions and the
            broker's settings; for the demo and for tests.
    """
    topics = settings.topics
    kept = {"cleanup.policy": "delete", "retention.ms": str(topics.retention_hours * HOUR_MS)}
    mailbox = {
        "cleanup.policy": "delete",
        "retention.ms": str(topics.mailbox_retention_hours * HOUR_MS),
        "max.message.bytes": str(ENVELOPE_BYTES_MAX + FRAMING_BYTES),
    }
    state = {
        "cleanup.policy": "compact",
        "segment.bytes": str(STATE_SEGMENT_BYTES),
        "segment.ms": str(STATE_SEGMENT_MS),
    }
    # A reject may carry its record as base64, which is a third longer.
    rejects = {**kept, "max.message.bytes": str(RECORD_BYTES_MAX * 4 // 3 + FRAMING_BYTES)}
    commands = {**kept, "max.message.bytes": str(COMMAND_BYTES_MAX + FRAMING_BYTES)}
    many = topics.mailbox_partitions
    table: list[tuple[str, int, dict[str, str], str]] = [
        ("mailbox", many, mailbox, "columnar envelopes from ingest to detect; all that changes an actor"),
        (
            "state",
            many,
            state,
            "snapshots of the actors and the next mailbox offset; one partition a mailbox's",
        ),
        ("alerts", many, kept, "opened, updated and resolved episodes, as CloudEvents"),
        ("reports", many, kept, "what each full window of a model looked like against its reference"),
        ("actions", 1, kept, "requests for a retraining, as CloudEvents, where rules ask for them"),
        ("rejects", many, rejects, "rows that were not accepted: where they came from and why"),
        ("commands", 1, commands, "what operators ask for: promote a baseline"),
    ]
    if settings.notify.targets:
        table.append(("notified", many, state, "what `driftline notify` told whom; one partition an alerts'"))
    common = {
        "message.timestamp.type": "LogAppendTime",
        "min.insync.replicas": str(topics.min_insync_replicas),
    }
    specs = [
        TopicSpec(topics.name(role), count, topics.replication_factor, {**config, **common}, purpose)
        for role, count, config, purpose in table
    ]
    if input_partitions is not None:
        specs += [
            TopicSpec(item.topic, input_partitions, topics.replication_factor, {}, f"raw {item.kind}")
            for item in settings.inputs
        ]
    return specs


def admin_config(kafka: KafkaSettings) -> dict[str, Any]:
    """What the admin client has to be told to reach the brokers: the same as every other client.

    Raises:
        OperatorError: the credentials cannot be used.
    """
    return client_options(kafka)


@contextmanager
def admin(config: AdminConfig) -> Iterator[Any]:
    """An admin client of kafka-python, closed at the end.

    Raises:
        OutsideError: no broker answers, or a request failed.
    """
    servers = _servers(config)
    # Asked by hand first: the client retries a refused connection for the whole timeout and leaks sockets.
    if not any(_listens(server.strip()) for server in servers.split(",")):
        raise OutsideError(
            f"No Kafka broker answers at {servers}.",
            remedy="Check that it runs, and kafka.bootstrap_servers.",
        )
    try:
        client = KafkaAdminClient(**{"bootstrap_timeout_ms": BOOTSTRAP_TIMEOUT_MS, **config})
    except (KafkaError, OSError) as error:
        raise OutsideError(
            f"No Kafka broker answers at {servers}: {error}.",
            remedy="Check kafka.bootstrap_servers and the security settings.",
        ) from error
    try:
        yield client
    except KafkaError as error:
        raise OutsideError(f"Kafka at {servers} refused: {error}.") from error
    finally:
        client.close()


def _listens(server: str) -> bool:
    host, _, port = server.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=BOOTSTRAP_TIMEOUT_MS / 1000).close()
    except (OSError, ValueError):
        return False
    return True


def create(config: AdminConfig, specs: Sequence[TopicSpec]) -> list[Created]:
    """Creates the topics that are missing and waits until they can be used; never changes one that is there.

    Returns one entry a spec, in their order; a failure of one does not stop the others.

    Raises:
        OutsideError: no broker answers.
    """
    wanted = {
        spec.name: {
            "num_partitions": spec.partitions,
            "replication_factor": spec.replication,
            "configs": dict(spec.config),
        }
        for spec in specs
    }
    if not wanted:
        return []
    with admin(config) as client:
        answer = client.create_topics(wanted, raise_errors=False)
        results = {item["name"]: _created(item) for item in answer["topics"]}
        client.wait_for_topics([name for name, result in results.items() if result.outcome == "created"])
    return [results[spec.name] for spec in specs]


def _created(item: Mapping[str, Any]) -> Created:
    code = item["error_code"]
    if code == 0:
        return Created(item["name"], "created")
    if code == TopicAlreadyExistsError.errno:
        return Created(item["name"], "exists")
    return Created(item["name"], "failed", item["error_message"] or for_code(code).__name__)


def check(config: AdminConfig, specs: Sequence[TopicSpec], inputs: Iterable[str] = ()) -> list[Problem]:
    """Everything about the topics that would lose data or stop a worker; empty when all is well.

    Args:
        config: see ``admin_config``.
        specs: how they have to be, from ``plan``.
        inputs: raw topics that have to be there, in whatever shape.

    Raises:
        OperatorError: the user may not see a topic.
        OutsideError: no broker answers, or it refuses to describe the topics.
    """
    problems: list[Problem] = []
    with admin(config) as client:
        names = [spec.name for spec in specs]
        found = _describe(client, [*names, *inputs])
        there = [name for name in names if name in found]
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in there]
        answer = client.describe_configs(resources, config_filter="all")["topic"] if resources else {}
    for spec in specs:
        if spec.name not in found:
            problems.append(Problem(spec.name, "is missing", "driftline topics create"))
            continue
        count = len(found[spec.name]["partitions"])
        if count != spec.partitions:
            problems.append(_wrong_count(spec, count))
        actual = {key: str(entry["value"]) for key, entry in answer.get(spec.name, {}).items()}
        problems += _wrong_config(spec, actual, _servers(config))
    for name in inputs:
        if name not in found:
            command = ["kafka-topics.sh", "--bootstrap-server", _servers(config), "--create", "--topic", name]
            what = "is missing: it is read as a raw topic"
            problems.append(Problem(name, what, f"{shlex.join(command)}, or correct inputs[].topic"))
    return problems


def _wrong_count(spec: TopicSpec, count: int) -> Problem:
    what = f"has {count} partitions, {spec.partitions} are configured"
    if count > spec.partitions and spec.partitions == 1:
        return Problem(
            spec.name, what, "delete the topic and run `driftline topics create`: its order is lost"
        )
    return Problem(
        spec.name,
        what,
        f"set topics.mailbox_partitions: {count} if that is how it was made; to really change the count, use "
        "another topics.prefix: models move between partitions, and their state does not",
    )


def _wrong_config(spec: TopicSpec, actual: Mapping[str, str], servers: str) -> Iterator[Problem]:
    for key in CHECKED:
        wanted, have = spec.config.get(key), actual.get(key)
        # None: not ours to ask for, or not shown to us (an older broker, no permission).
        if wanted is None or have is None or wanted == have or (key in AT_LEAST and _enough(have, wanted)):
            continue
        command = ["kafka-configs.sh", "--bootstrap-server", servers, "--alter", "--entity-type", "topics"]
        command += ["--entity-name", spec.name, "--add-config", f"{key}={wanted}"]
        yield Problem(spec.name, f"has {key}={have}, {wanted} is needed", shlex.join(command))


def _enough(have: str, wanted: str) -> bool:
    return int(have) == -1 or int(have) >= int(wanted)  # -1: no limit


def retention(config: AdminConfig, names: Sequence[str]) -> dict[str, float]:
    """Seconds after which each topic deletes its records.

    Left out are topics that delete nothing by age (no limit, or compacted only), that are missing, and that
    this user may not see the settings of.

    Raises:
        OutsideError: no broker answers.
    """
    with admin(config) as client:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        answer = client.describe_configs(resources, config_filter="all")["topic"] if resources else {}
    result = {}
    for name, entries in answer.items():  # without entries: missing or forbidden
        actual = {key: str(entry["value"]) for key, entry in entries.items()}
        kept_ms = int(actual.get("retention.ms", "-1"))
        if kept_ms >= 0 and "delete" in actual.get("cleanup.policy", ""):
            result[name] = kept_ms / 1000
    return result


def topic_ids(config: AdminConfig, names: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Id (UUID, with hyphens) and partition count of each topic: a topic made again has another id.

    Topics that do not exist are left out.

    Raises:
        OutsideError: no broker answers, or it is older than 2.8 and has no topic ids.
    """
    if not names:
        return {}
    with admin(config) as client:
        found = _describe(client, names)
    result = {}
    for name, item in found.items():
        if item.get("topic_id") is None or UUID(str(item["topic_id"])).int == 0:
            raise OutsideError(
                f"The broker gives no id for topic {name}.", remedy="Kafka 2.8 or newer is needed."
            )
        result[name] = (str(UUID(str(item["topic_id"]))), len(item["partitions"]))
    return result


def allowed_operations(config: AdminConfig, names: Sequence[str]) -> dict[str, frozenset[str]]:
    """What the broker lets this user do on each topic, by Kafka's names of operations (KIP-430).

    Topics that are missing are left out. Without an authorizer every operation is there.

    Raises:
        OutsideError: no broker answers.
    """
    with admin(config) as client:
        found = client.describe_topics(list(names))
    return {
        item["name"]: frozenset(OPERATIONS[n] for n in item["authorized_operations"] or () if n in OPERATIONS)
        for item in found
        if item["error_code"] in {0, TopicAuthorizationFailedError.errno}
    }


def _describe(client: Any, names: Sequence[str]) -> dict[str, Any]:
    found = client.describe_topics(list(names)) if names else []
    missing = 3  # UNKNOWN_TOPIC_OR_PARTITION
    for item in found:
        if item["error_code"] == TopicAuthorizationFailedError.errno:
            raise OperatorError(
                f"Kafka does not let this user see topic {item['name']}.",
                remedy="`driftline topics acls` prints the rights that each role needs.",
            )
        if item["error_code"] not in {0, missing}:
            raise OutsideError(
                f"Kafka does not describe topic {item['name']}: {for_code(item['error_code']).__name__}."
            )
    return {item["name"]: item for item in found if item["error_code"] == 0}


def _servers(config: AdminConfig) -> str:
    servers = config.get("bootstrap_servers", "")
    return servers if isinstance(servers, str) else ",".join(servers)
