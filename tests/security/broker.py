"""A broker that is shut as in production: TLS and SASL listeners, an authorizer, and users with their rights.

Owns: its certificates, listeners and users, and how a client of each user is configured. The listeners:
``sasl`` (SASL_SSL, SCRAM-SHA-512), ``mtls`` (SSL with client certificates), and three that lie about who they
are: ``misnamed`` (a certificate of another host), ``foreign`` (of another authority), ``expired``.
Controller and broker talk to one another by client certificates too: no door is left open.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from driftline import acls
from driftline.config import Settings
from driftline.localkafka import free_ports
from driftline.localkafka.base import BROKER_PROPERTIES, cluster_id
from driftline.localkafka.java import JavaKafka
from security.certificates import EXPIRED, Authority, Pair

HERE: Final = "IP:127.0.0.1,DNS:localhost"
LISTENERS: Final = ("sasl", "mtls", "misnamed", "foreign", "expired")
OPERATIONS: Final = {
    "Read": ACLOperation.READ,
    "Write": ACLOperation.WRITE,
    "Create": ACLOperation.CREATE,
    "Describe": ACLOperation.DESCRIBE,
    "DescribeConfigs": ACLOperation.DESCRIBE_CONFIGS,
}
KINDS: Final = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}


class Identities:
    """Who there is: an authority, a client certificate and a password for every role, and strangers."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, "house")
        self.stranger = Authority(folder, "stranger")
        self.broker = self.authority.issue("broker", san=HERE)
        self.misnamed = self.authority.issue("broker", san="DNS:kafka.example")
        self.foreign = self.stranger.issue("broker", san=HERE)
        self.expired = self.authority.issue("broker", san=HERE, validity=EXPIRED)
        self.clients: dict[str, Pair] = {role: self.authority.issue(role) for role in acls.ROLES}
        self.passwords: dict[str, str] = {role: secrets.token_urlsafe(24) for role in acls.ROLES}

    def renew(self, folder: Path) -> None:
        """Another authority, and certificates by it in the files of the old ones, as a rotation does it."""
        authority = Authority(folder, "house-renewed")
        self.broker.replace(authority.issue("broker", san=HERE))
        for role, pair in self.clients.items():
            pair.replace(authority.issue(role))
        self.authority.cert.write_text(authority.cert.read_text(), encoding="ascii")

    def context(self, pair: Pair | None = None) -> ssl.SSLContext:
        """A client's context that trusts the house, with a certificate or without."""
        context = ssl.create_default_context(cafile=str(self.authority.cert))
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        return context


class SecuredKafka(JavaKafka):
    """The broker; ``ports`` by listener. ``authorizer`` False: it lets everybody do everything."""

    def __init__(self, folder: Path, identities: Identities, *, authorizer: bool = True) -> None:
        self.identities = identities
        self.ports = dict(zip(LISTENERS, free_ports(len(LISTENERS)), strict=True))
        self._folder_made = folder
        super().__init__(
            data_dir=folder / "kafka",
            heap="384m",
            properties={**BROKER_PROPERTIES, **self._secured(authorizer=authorizer)},
        )

    def _secured(self, *, authorizer: bool) -> dict[str, str]:
        who = self.identities
        keys = {
            "sasl": who.broker,
            "mtls": who.broker,
            "misnamed": who.misnamed,
            "foreign": who.foreign,
            "expired": who.expired,
            "controller": who.broker,
        }
        protocols = {name: "SSL" if name in {"mtls", "controller"} else "SASL_SSL" for name in keys}
        own = {
            "listener.security.protocol.map": ",".join(f"{n.upper()}:{p}" for n, p in protocols.items()),
            "inter.broker.listener.name": "MTLS",
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(who.authority.cert),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(who.broker.together()),
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "super.users": "User:CN=broker",
        }
        for name, pair in keys.items():
            prefix = f"listener.name.{name}"
            own[f"{prefix}.ssl.keystore.type"] = "PEM"
            own[f"{prefix}.ssl.keystore.location"] = str(pair.together())
            if protocols[name] == "SSL":
                own[f"{prefix}.ssl.client.auth"] = "required"
            else:
                own[f"{prefix}.scram-sha-512.sasl.jaas.config"] = (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                )
        if authorizer:
            own["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        return own

    def address(self, listener: str) -> str:
        """``host:port`` of a listener."""
        return f"127.0.0.1:{self.ports[listener]}"

    def _properties_text(self, data: Path, broker_port: int, controller_port: int) -> str:
        text = super()._properties_text(data, broker_port, controller_port)
        listeners = ",".join(f"{name.upper()}://{self.address(name)}" for name in LISTENERS)
        own = {
            "listeners": f"{listeners},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": listeners,
        }
        return text + "".join(f"{key}={value}\n" for key, value in own.items())

    def _answering(self) -> str | None:
        return cluster_id(
            self.address("mtls"),
            security_protocol="SSL",
            ssl_context=self.identities.context(self.identities.broker),
        )

    def admin(self) -> Any:
        """An admin client of the super user."""
        return KafkaAdminClient(
            bootstrap_servers=self.address("mtls"),
            security_protocol="SSL",
            ssl_context=self.identities.context(self.identities.broker),
        )

    def holding(self, value: bytes, topics: list[str]) -> list[str]:
        """Those of the topics that hold a record with this value, as the super user sees it."""
        consumer = KafkaConsumer(
            bootstrap_servers=self.address("mtls"),
            security_protocol="SSL",
            ssl_context=self.identities.context(self.identities.broker),
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        found = []
        try:
            for topic in topics:
                parts = [TopicPartition(topic, p) for p in consumer.partitions_for_topic(topic) or ()]
                consumer.assign(parts)
                consumer.seek_to_beginning(*parts)
                ends = consumer.end_offsets(parts)
                while any(consumer.position(tp) < ends[tp] for tp in parts):
                    batches = consumer.poll(timeout_ms=200).values()
                    if any(record.value == value for records in batches for record in records):
                        found.append(topic)
                        break
        finally:
            consumer.close()
        return found

    def set_password(self, role: str, password: str) -> None:
        """A new password for a role, at the broker and in its file."""
        client = self.admin()
        try:
            client.alter_user_scram_credentials(
                [UserScramCredentialUpsertion(role, ScramMechanism.SCRAM_SHA_512, password)]
            )
        finally:
            client.close()
        self.identities.passwords[role] = password
        self._write_password(role)

    def _write_password(self, role: str) -> Path:
        file = self._folder_made / f"{role}.password"
        file.unlink(missing_ok=True)
        file.write_text(self.identities.passwords[role], encoding="utf-8")
        file.chmod(0o400)
        return file

    def grant(self, settings: Settings) -> None:
        """Users with passwords, and the rights of the product's own table for both names of each."""
        who = self.identities
        client = self.admin()
        try:
            client.alter_user_scram_credentials(
                [
                    UserScramCredentialUpsertion(role, ScramMechanism.SCRAM_SHA_512, password)
                    for role, password in who.passwords.items()
                ]
            )
            client.create_acls(
                [
                    ACL(
                        principal=principal,
                        host="*",
                        operation=OPERATIONS[right.operation],
                        permission_type=ACLPermissionType.ALLOW,
                        resource_pattern=ResourcePattern(KINDS[right.kind], right.name),
                    )
                    for right in acls.rights(settings)
                    for principal in (f"User:{right.role}", f"User:CN={right.role}")
                ]
            )
        finally:
            client.close()

    def kafka_settings(self, role: str, *, listener: str = "sasl") -> dict[str, Any]:
        """The section ``kafka`` of this role's configuration; the password is in a file."""
        who = self.identities
        common: Mapping[str, Any] = {
            "bootstrap_servers": self.address(listener),
            "ssl_cafile": str(who.authority.cert),
        }
        if listener == "mtls":
            pair = who.clients[role]
            return {
                **common,
                "security_protocol": "SSL",
                "ssl_certfile": str(pair.cert),
                "ssl_keyfile": str(pair.key),
            }
        return {
            **common,
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": role,
            "sasl_password_file": str(self._write_password(role)),
        }
