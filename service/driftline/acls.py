"""Who may do what on the brokers: one table of rights, a principal a role, and what a user really may do.

Owns: the rights that each role needs (``rights``), their form for Kafka's own tool (``commands``) and the
comparison with what the broker allows (``compare``). Invariants: names are literal, so that one deployment's
rights never reach another's; no role but ``deploy`` may create, and none may alter or delete. It grants
nothing: that is the administrator's. The attacks of ``make security-test`` are computed from this table.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from driftline import topics
from driftline.config import Settings
from driftline.config.settings import TOPIC_ROLES
from driftline.errors import OperatorError

Operation = Literal["Read", "Write", "Create", "Describe", "DescribeConfigs"]
Kind = Literal["topic", "group", "transactional-id"]

# Role, and for whom it is. ``run`` with both stages needs one user with the rights of both.
ROLES: Final[Mapping[str, str]] = {
    "ingest": "stage 1: `driftline run --roles ingest`",
    "detect": "stage 2: `driftline run --roles detect`; alone may write state and alerts",
    "notify": "`driftline notify`",
    "reader": "whoever acts on alerts without a consumer group: a console, `driftline alerts tail`",
    "operator": "people who send commands, which can change what is normal or silence a model",
    "deploy": "the job that makes topics, and `driftline topics check`",
    "producer": "your services that write events",
}
WORKERS: Final = frozenset({"ingest", "detect", "notify"})  # check their topics before they start
_OUTPUTS: Final = ("alerts", "reports", "actions")
# What the start-up check has to see of a topic: partition count and the settings that lose data.
_SEEN: Final[tuple[Operation, ...]] = ("Describe", "DescribeConfigs")
IMPLIED_BY: Final[Mapping[str, frozenset[str]]] = {
    "Describe": frozenset({"Read", "Write", "Delete", "Alter"}),
    "DescribeConfigs": frozenset({"AlterConfigs"}),
}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One permission: ``role`` may do ``operation`` on the resource of this kind and name."""

    role: str
    kind: Kind
    name: str
    operation: Operation


def own_topics(settings: Settings, role: str) -> frozenset[str]:
    """Our topics that a process of this role touches; what it has to find in order before it starts."""
    reads, writes = _TOPICS[role]
    return frozenset(settings.topics.name(topic) for topic in (*reads, *writes))


# What each role reads and writes of our topics.
_TOPICS: Final[Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "ingest": (("commands",), ("mailbox", "rejects")),
    "detect": (("mailbox", "state"), ("state", *_OUTPUTS)),
    "notify": (("alerts", "notified"), ("notified",)),
    "reader": (_OUTPUTS, ()),
    "operator": ((*_OUTPUTS, "rejects"), ("commands",)),
    "deploy": ((), ()),
    "producer": ((), ()),
}


def groups(settings: Settings, role: str) -> list[str]:
    """The consumer groups of a role."""
    if role == "notify":
        return [f"{settings.group_id('notify')}-{target}" for target in settings.notify.targets]
    return [settings.group_id(role)] if role in {"ingest", "detect"} else []  # type: ignore[arg-type]


def rights(settings: Settings) -> list[Right]:
    """Every right that a deployment needs, by role; all else has to be denied."""
    found: set[Right] = set()
    for role, (reads, writes) in _TOPICS.items():
        if role == "notify" and not settings.notify.targets:
            continue
        found |= {Right(role, "topic", settings.topics.name(topic), "Read") for topic in reads}
        found |= {Right(role, "topic", settings.topics.name(topic), "Write") for topic in writes}
        found |= {Right(role, "group", group, "Read") for group in groups(settings, role)}
        if role in WORKERS:
            found |= {Right(role, "topic", topic, "DescribeConfigs") for topic in own_topics(settings, role)}
    inputs = [source.topic for source in settings.inputs]
    found |= {Right("ingest", "topic", topic, "Read") for topic in inputs}
    # For the headroom of retention; without it the metric is missing.
    found |= {Right("ingest", "topic", topic, "DescribeConfigs") for topic in inputs}
    found |= {Right("producer", "topic", topic, "Write") for topic in inputs}
    # Literal: a prefix would also match the ids of a deployment whose group begins with ours.
    found |= {
        Right("detect", "transactional-id", settings.transactional_id(partition), "Write")
        for partition in range(settings.topics.mailbox_partitions)
    }
    for spec in topics.plan(settings):
        found |= {Right("deploy", "topic", spec.name, operation) for operation in ("Create", *_SEEN)}
    found |= {Right("deploy", "topic", topic, "Describe") for topic in inputs}
    order = list(ROLES)
    return sorted(found, key=lambda r: (order.index(r.role), r.kind, r.name, r.operation))


def commands(settings: Settings, principals: Mapping[str, str]) -> Iterator[str]:
    """``kafka-acls.sh`` lines that grant every right of the roles in ``principals`` (role to principal)."""
    wanted: dict[tuple[str, Kind, tuple[str, ...]], list[str]] = {}
    for (role, kind, name), operations in _by_resource(rights(settings)).items():
        if role in principals:
            wanted.setdefault((role, kind, tuple(operations)), []).append(name)
    for (role, kind, together), names in wanted.items():
        line = ["kafka-acls.sh", "--bootstrap-server", settings.kafka.bootstrap_servers]
        line += ["--command-config", "admin.properties", "--add", "--allow-principal", principals[role]]
        line += [part for operation in together for part in ("--operation", operation)]
        line += [part for name in names for part in (f"--{kind}", name)]
        yield shlex.join(line)


def _by_resource(table: Iterable[Right]) -> dict[tuple[str, Kind, str], list[str]]:
    found: dict[tuple[str, Kind, str], list[str]] = {}
    for right in table:
        found.setdefault((right.role, right.kind, right.name), []).append(right.operation)
    return found


def parse_roles(text: str) -> list[str]:
    """Roles from a list with commas.

    Raises:
        OperatorError: one is unknown.
    """
    found = [part.strip() for part in text.split(",") if part.strip()]
    for role in found:
        _known(role)
    return found


def parse_principals(pairs: Iterable[str]) -> dict[str, str]:
    """A principal for every role: the given ``ROLE=PRINCIPAL``, else ``User:driftline-ROLE``.

    Raises:
        OperatorError: a role is unknown, or a principal has no type such as ``User:``.
    """
    found = {role: f"User:driftline-{role}" for role in ROLES}
    for pair in pairs:
        role, _, principal = pair.partition("=")
        _known(role)
        if not re.fullmatch(r"\w+:.+", principal):
            raise OperatorError(f"{pair!r} names no principal.", remedy="For example ingest=User:alice.")
        found[role] = principal
    return found


def _known(role: str) -> None:
    if role not in ROLES:
        raise OperatorError(f"role {role!r} is not one of {', '.join(ROLES)}.")


@dataclass(frozen=True, slots=True)
class Difference:
    """What a user may do on a topic beyond its roles, and what it may not although they need it."""

    topic: str
    beyond: tuple[str, ...]
    lacking: tuple[str, ...]


def compare(settings: Settings, roles: Iterable[str], config: topics.AdminConfig) -> list[Difference]:
    """What the broker allows this user, against the table; asks only, tries nothing.

    An authorizer that allows everyone everything shows up as rights beyond the role on every topic.

    Args:
        settings: names, and whose user.
        roles: the roles that this user has.
        config: see ``topics.admin_config``.

    Raises:
        OutsideError: no broker answers.
    """
    wanted = set(roles)
    needed: dict[str, set[str]] = {settings.topics.name(role): set() for role in TOPIC_ROLES}
    needed |= {source.topic: set() for source in settings.inputs}
    for right in rights(settings):
        if right.role in wanted and right.kind == "topic":
            needed[right.name].add(right.operation)
    allowed = topics.allowed_operations(config, list(needed))
    found = []
    for topic, may in sorted(allowed.items()):
        operations = needed[topic]
        beyond = tuple(sorted(op for op in may if op not in operations and not _implied(op, operations)))
        lacking = tuple(sorted(op for op in operations if op not in may and not _implied(op, may)))
        if beyond or lacking:
            found.append(Difference(topic, beyond, lacking))
    return found


def _implied(operation: str, held: Iterable[str]) -> bool:
    return not IMPLIED_BY.get(operation, frozenset()).isdisjoint(held)


def sentence(difference: Difference) -> str:
    """For people: what is too much and what is missing."""
    parts = []
    if difference.beyond:
        parts.append(f"may also {', '.join(difference.beyond)}")
    if difference.lacking:
        parts.append(f"may not {', '.join(difference.lacking)}")
    return f"{difference.topic}: this user {' and '.join(parts)}"


def table(settings: Settings) -> list[dict[str, Any]]:
    """The rights as plain data, a resource a row."""
    return [
        {"role": role, "kind": kind, "name": name, "operations": operations}
        for (role, kind, name), operations in _by_resource(rights(settings)).items()
    ]
