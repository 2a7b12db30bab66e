"""What keeps a client from the brokers is told apart: real sockets, and the errors that clients raise."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiokafka.errors import IllegalSaslStateError, SaslAuthenticationFailed, UnsupportedSaslMechanismError

from driftline.config import KafkaSettings
from driftline.doctor import reach
from driftline.doctor.findings import Finding

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a broker does with a client of another protocol."""
    await reader.read(4)
    writer.close()


async def talks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """No TLS, whatever comes."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


def asked(talk: Talk, **kafka: Any) -> list[Finding]:
    """The findings about a server that talks so."""

    async def run() -> list[Finding]:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            return await reach.brokers(KafkaSettings(bootstrap_servers=f"127.0.0.1:{port}", **kafka))
        finally:
            server.close()

    return asyncio.run(run())


def test_a_closed_port_and_an_unknown_name() -> None:
    """Both servers are told, each with its own reason."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{probe.getsockname()[1]}"
        kafka = KafkaSettings(bootstrap_servers=f"{closed},no-such-host.invalid:9092", insecure=True)
        first, second = asyncio.run(reach.brokers(kafka))
    assert (first.level, first.what) == ("WRONG", f"{closed}: nothing listens there.")
    assert second.what == "no-such-host.invalid:9092: the name is not known here."


def test_another_protocol() -> None:
    """A server that hangs up, and one that speaks no TLS."""
    (one,) = asked(hangs_up)
    assert "it answers and hangs up" in one.what
    assert "another kafka.security_protocol than PLAINTEXT" in one.remedy
    (one,) = asked(talks_http, security_protocol="SSL")
    assert "TLS failed: " in one.what
    assert "Does this port speak TLS?" in one.remedy


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        (SaslAuthenticationFailed("bad"), "it refuses the user ann", "kafka.sasl_username"),
        (UnsupportedSaslMechanismError("no PLAIN here"), "no PLAIN here", "kafka.sasl_mechanism"),
        (IllegalSaslStateError(), "it asks for no user", "kafka.security_protocol"),
        (TimeoutError(), "no answer within 5 s", "firewall"),
        (EOFError(), "hangs up (EOFError", "kafka.security_protocol"),
        (ssl.SSLCertVerificationError(1, "x"), "its certificate is not accepted", "kafka.ssl_cafile"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_each_error_is_told_apart(error: Exception, what: str, remedy: str) -> None:
    """By whose setting it is."""
    if isinstance(error, ssl.SSLCertVerificationError):
        error.verify_message = "self-signed certificate"
    kafka = KafkaSettings(
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="ann",
        sasl_password="x",  # noqa: S106 - no real one
    )
    told, mends = reach.explain(error, kafka)
    assert what in told
    assert remedy in mends
