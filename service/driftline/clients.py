"""Kafka clients from the settings: the one place where connections get their credentials and limits.

Owns: how ``KafkaSettings`` become arguments of aiokafka's clients, and making them (``Clients``): whoever
needs a client is given a ``Clients``, so that the simulation in ``tests/simulation`` can give another one.
Certificates and the password's file are read again for each new connection. Must not know topics or groups.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any, Final, Self

from driftline import tls
from driftline.config import KafkaSettings
from driftline.errors import OperatorError

log = logging.getLogger(__name__)

# An envelope has up to 4 MiB before compression, and aiokafka measures a request before compressing it.
REQUEST_BYTES_MAX: Final = 8 << 20
REQUEST_TIMEOUT_SECONDS: Final = (
    30.0  # a broker that does not answer for so long is gone; the client asks again
)


def servers(kafka: KafkaSettings) -> list[str]:
    """The bootstrap servers, one ``host:port`` each."""
    return [server.strip() for server in kafka.bootstrap_servers.split(",") if server.strip()]


def ssl_context(kafka: KafkaSettings) -> ssl.SSLContext | None:
    """The TLS context; None when the security protocol has no TLS. Host names are always verified.

    Raises:
        OperatorError: a certificate or key file cannot be read.
    """
    if kafka.security_protocol not in {"SSL", "SASL_SSL"}:
        return None
    files = [file for file in (kafka.ssl_cafile, kafka.ssl_certfile, kafka.ssl_keyfile) if file is not None]
    return tls.FollowingContext(lambda: _context(kafka), files)


def _context(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=str(kafka.ssl_cafile) if kafka.ssl_cafile else None)
        context.minimum_version = tls.VERSION_MIN
        if kafka.ssl_certfile is not None:
            # Without one OpenSSL would ask at the terminal.
            password = kafka.ssl_password.get_secret_value() if kafka.ssl_password else ""
            context.load_cert_chain(str(kafka.ssl_certfile), str(kafka.ssl_keyfile), password)
    except (OSError, ssl.SSLError) as error:
        raise OperatorError(
            f"kafka.ssl_cafile, ssl_certfile or ssl_keyfile cannot be used: {error}.",
            remedy="Check that the files exist, are PEM and belong together, and that ssl_password fits.",
        ) from error
    return context


class _Password(str):
    """The SASL password of now, for clients that keep a string for life and encode it for each connection.

    Both Kafka clients call ``encode`` in SCRAM. PLAIN joins the string itself, so there only a new client
    sees a new password.
    """

    __slots__ = ("_kafka",)
    _kafka: KafkaSettings

    def __new__(cls, kafka: KafkaSettings) -> Self:
        """The password of now, for whoever asks by other means than ``encode``."""
        self = super().__new__(cls, kafka.password() or "")
        self._kafka = kafka
        return self

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """The password as its file has it now; the first one while the file cannot be read."""
        try:
            return (self._kafka.password() or "").encode(encoding, errors)
        except OperatorError as error:
            log.warning("the first password is used again", extra={"error": error.message})
            return super().encode(encoding, errors)

    def __repr__(self) -> str:
        return "'***'"


def client_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Arguments for every aiokafka client: servers, security, request time-out.

    Raises:
        OperatorError: the credentials cannot be used.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": servers(kafka),
        "security_protocol": kafka.security_protocol,
        "request_timeout_ms": int(REQUEST_TIMEOUT_SECONDS * 1000),
        "ssl_context": ssl_context(kafka),
    }
    if kafka.security_protocol.startswith("SASL"):
        if kafka.sasl_mechanism == "OAUTHBEARER":
            raise OperatorError(
                "kafka.sasl_mechanism OAUTHBEARER: this version cannot fetch tokens.",
                remedy="Use SCRAM-SHA-512, PLAIN over SASL_SSL, or client certificates (SSL).",
            )
        options["sasl_mechanism"] = kafka.sasl_mechanism
        options["sasl_plain_username"] = kafka.sasl_username
        options["sasl_plain_password"] = _Password(kafka)
    return options


class Clients:
    """Makes the Kafka clients of a worker; ``options`` are aiokafka's own.

    Args:
        kafka: how to reach the brokers.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka

    def producer(self, **options: Any) -> Any:
        """An ``AIOKafkaProducer`` that is not started.

        Raises:
            OperatorError: the credentials cannot be used.
        """
        from aiokafka import AIOKafkaProducer  # slow to import, and `driftline topics` needs none

        return AIOKafkaProducer(**client_options(self._kafka), max_request_size=REQUEST_BYTES_MAX, **options)

    def consumer(self, **options: Any) -> Any:
        """An ``AIOKafkaConsumer`` that is not started; it commits nothing by itself.

        Raises:
            OperatorError: the credentials cannot be used.
        """
        from aiokafka import AIOKafkaConsumer

        return AIOKafkaConsumer(**client_options(self._kafka), enable_auto_commit=False, **options)


def group_options(kafka: KafkaSettings) -> dict[str, Any]:
    """Time-outs of a group member; a dead one is replaced after the session time-out."""
    session = int(kafka.session_timeout_seconds * 1000)
    return {
        "session_timeout_ms": session,
        # While a group rebalances the broker waits this long for a member that died in the middle of it.
        "rebalance_timeout_ms": max(session, 10_000),
        "heartbeat_interval_ms": min(session // 5, 3_000),
    }
