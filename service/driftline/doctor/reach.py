"""One connection to each bootstrap server, up to the password: what exactly keeps a client from the brokers.

The clients themselves try again for ever and say "no broker available" of a closed port, a wrong certificate
and a wrong password alike.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any, Final

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from driftline.clients import client_options, servers
from driftline.config import KafkaSettings
from driftline.doctor.findings import Finding

ANSWER_SECONDS_MAX: Final = 5.0  # for connection, TLS and each request; a broker in reach needs milliseconds
OPTIONS: Final = (
    "security_protocol",
    "ssl_context",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
)


async def brokers(kafka: KafkaSettings) -> list[Finding]:
    """A finding a bootstrap server; those that fail are notes while another one answers.

    Raises:
        OperatorError: certificates or the password cannot be read.
    """
    options = client_options(kafka)
    found = await asyncio.gather(*(_server(server, kafka, options) for server in servers(kafka)))
    if not any(one.level == "good" for one in found):
        return found
    return [Finding("note", one.what, one.remedy) if one.level == "WRONG" else one for one in found]


async def _server(server: str, kafka: KafkaSettings, options: dict[str, Any]) -> Finding:
    host, _, port = server.rpartition(":")
    try:
        async with asyncio.timeout(2 * ANSWER_SECONDS_MAX):
            connection = await create_conn(
                host.strip("[]"),
                int(port),
                request_timeout_ms=int(ANSWER_SECONDS_MAX * 1000),
                **{key: options[key] for key in OPTIONS if key in options},
            )
        connection.close()
    except (OSError, KafkaError, EOFError, ValueError, AssertionError) as error:
        what, remedy = explain(error, kafka)
        return Finding("WRONG", f"{server}: {what}", remedy)
    return Finding("good", f"{server} answers ({kafka.security_protocol}).")


def explain(error: Exception, kafka: KafkaSettings) -> tuple[str, str]:
    """What a failed connection means, and what mends it."""
    match error:
        case socket.gaierror():
            return (
                "the name is not known here.",
                "Correct kafka.bootstrap_servers, or the DNS of this machine.",
            )
        case ConnectionRefusedError():
            return "nothing listens there.", "Start the broker, or correct kafka.bootstrap_servers."
        case TimeoutError():
            return (
                f"no answer within {ANSWER_SECONDS_MAX:.0f} s.",
                "A firewall or NetworkPolicy in between, or a port that speaks something else.",
            )
        case ssl.SSLCertVerificationError():
            return (
                f"its certificate is not accepted: {error.verify_message}.",
                "kafka.ssl_cafile has to be the CA that signed it, and the name one of those in it.",
            )
        case ssl.SSLError():
            return (
                f"TLS failed: {error.reason or error}.",
                "Does this port speak TLS? Does the broker ask for a certificate (kafka.ssl_certfile)?",
            )
        case SaslAuthenticationFailed() | AuthenticationFailedError():
            return (
                f"it refuses the user {kafka.sasl_username}: {error}.",
                "Correct kafka.sasl_username and the password; a SCRAM user is made for one mechanism.",
            )
        case UnsupportedSaslMechanismError():
            return f"{error}.", "Set kafka.sasl_mechanism to one that it has."
        case IllegalSaslStateError():
            return (
                "it asks for no user at this port.",
                "Set kafka.security_protocol to PLAINTEXT or SSL, or change the port.",
            )
    remedy = f"Does the port speak another kafka.security_protocol than {kafka.security_protocol}?"
    if "SSL" in kafka.security_protocol:
        remedy += " Or does it ask for a certificate (kafka.ssl_certfile)?"
    return f"it answers and hangs up ({type(error).__name__}: {error}).", remedy
