"""Every principal against every right that it must not have, computed from the product's own table of rights.

What is granted is tried too: a denial means nothing when the same request fails for other reasons.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from driftline import acls
from driftline.config import Settings
from driftline.config.settings import TOPIC_ROLES
from security.attempts import Attempt
from security.broker import SecuredKafka
from security.wire import DENIED, Wire

NOBODY: Final = "nobody"  # a valid certificate of the house, and no rights
Ask = Callable[[Wire], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Deed:
    """Something to try; ``operation`` is what it needs on the resource, in Kafka's names."""

    kind: str
    name: str
    operation: str
    what: str
    ask: Ask


def deeds(settings: Settings, records: bytes) -> list[Deed]:
    """Everything that can be done to a deployment through its broker; what destroys comes last."""
    inputs = [source.topic for source in settings.inputs]
    names = [settings.topics.name(role) for role in TOPIC_ROLES] + inputs
    own = settings.topics.name("new")
    found = [Deed("cluster", "cluster", "Alter", "grant itself all", lambda w: w.grant("User:CN=nobody"))]
    found.append(Deed("topic", own, "Create", f"create {own}", lambda w: w.create(own)))
    for topic in names:
        found += _of_topic(topic, records)
    for group in (group for role in acls.ROLES for group in acls.groups(settings, role)):
        found += _of_group(group, inputs[0])
    for partition in range(settings.topics.mailbox_partitions):
        name = settings.transactional_id(partition)
        found.append(Deed("transactional-id", name, "Write", f"fence {name}", lambda w, n=name: w.fence(n)))  # type: ignore[misc]
    for topic in names:
        found += _of_destruction(topic)
    return found


def _of_topic(topic: str, records: bytes) -> list[Deed]:
    return [
        Deed("topic", topic, "Read", f"read {topic}", lambda w: w.fetch(topic)),
        Deed("topic", topic, "Write", f"write {topic}", lambda w: w.produce(topic, records)),
        Deed("topic", topic, "AlterConfigs", f"alter {topic}", lambda w: w.alter(topic)),
    ]


def _of_group(group: str, topic: str) -> list[Deed]:
    return [
        Deed("group", group, "Read", f"commit for {group}", lambda w: w.commit(group, topic)),
        Deed("group", group, "Delete", f"drop {group}", lambda w: w.drop_group(group)),
    ]


def _of_destruction(topic: str) -> list[Deed]:
    return [
        Deed("topic", topic, "Delete", f"truncate {topic}", lambda w: w.truncate(topic)),
        Deed("topic", topic, "Delete", f"delete {topic}", lambda w: w.delete(topic)),
    ]


async def forbidden(broker: SecuredKafka, settings: Settings, records: bytes) -> AsyncIterator[Attempt]:
    """Each role, and nobody, tries everything that the table does not give it."""
    granted = {(r.role, r.kind, r.name, r.operation) for r in acls.rights(settings)}
    for role in (*acls.ROLES, NOBODY):
        wire = await _login(broker, role)
        try:
            for deed in deeds(settings, records):
                if (role, deed.kind, deed.name, deed.operation) in granted:
                    continue
                code = await deed.ask(wire)
                yield Attempt(f"denied right: {role}", deed.what, code not in DENIED, f"error code {code}")
        finally:
            wire.close()


async def refused_rights(broker: SecuredKafka, settings: Settings) -> AsyncIterator[str]:
    """Rights of the table that do not work, which there must not be; reads only, so that nothing changes."""
    wanted: dict[str, set[tuple[str, str]]] = {}
    for right in acls.rights(settings):
        if right.kind == "topic" and right.operation == "Read":
            wanted.setdefault(right.role, set()).add((right.name, "fetch"))
    for role, asks in wanted.items():
        wire = await _login(broker, role)
        try:
            for topic, name in sorted(asks):
                code = await getattr(wire, name)(topic)
                if code:
                    yield f"{role} may not {name} {topic}: error code {code}"
        finally:
            wire.close()


async def _login(broker: SecuredKafka, role: str) -> Wire:
    return await Wire.open(broker.address("mtls"), **certificate(broker, role))


def certificate(broker: SecuredKafka, role: str) -> dict[str, Any]:
    """Arguments of a connection with this role's certificate."""
    who = broker.identities
    pair = who.clients.get(role) or who.authority.issue(role)
    return {"security_protocol": "SSL", "ssl_context": who.context(pair)}
