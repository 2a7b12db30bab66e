"""Ways past the door: no login, wrong ones, no TLS, old TLS, certificates of others; and false brokers.

The first half attacks the broker, the second half our own clients: they have to refuse a broker that cannot
prove who it is, before they send a password.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from driftline.clients import client_options
from driftline.config import KafkaSettings
from security.attempts import Attempt
from security.broker import SecuredKafka
from security.certificates import EXPIRED
from security.wire import Wire

REFUSALS = (KafkaError, OSError, TimeoutError)  # an ssl.SSLError is an OSError


async def at_the_door(broker: SecuredKafka) -> AsyncIterator[Attempt]:
    """Logins that must fail; each ends in asking for the topics, because a TLS 1.3 refusal comes late."""
    who = broker.identities
    trusting = who.context()
    scram = {
        "security_protocol": "SASL_SSL", "ssl_context": trusting, "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "detect",
    }  # fmt: skip
    good = who.passwords["detect"]
    sasl, mtls = broker.address("sasl"), broker.address("mtls")
    expired = who.authority.issue("detect", validity=EXPIRED)
    attacks: list[tuple[str, str, dict[str, Any]]] = [
        ("no login", sasl, {"security_protocol": "SSL", "ssl_context": trusting}),
        ("wrong password", sasl, scram | {"sasl_plain_password": good[:-1]}),
        ("empty password", sasl, scram | {"sasl_plain_password": ""}),
        ("another user's password", sasl, scram | {"sasl_plain_password": who.passwords["ingest"]}),
        ("unknown user", sasl, scram | {"sasl_plain_username": "root", "sasl_plain_password": good}),
        ("weaker mechanism", sasl, scram | {"sasl_mechanism": "PLAIN", "sasl_plain_password": good}),
        ("weaker hash", sasl, scram | {"sasl_mechanism": "SCRAM-SHA-256", "sasl_plain_password": good}),
        ("no TLS, no login", sasl, {"security_protocol": "PLAINTEXT"}),
        ("no TLS, a good password", sasl, scram | {
            "security_protocol": "SASL_PLAINTEXT", "sasl_plain_password": good}),
        ("no TLS at the mTLS port", mtls, {"security_protocol": "PLAINTEXT"}),
        ("TLS 1.1", mtls, _tls(_old(who.context(who.clients["detect"])))),
        ("no client certificate", mtls, _tls(trusting)),
        ("client certificate of a stranger", mtls, _tls(who.context(who.stranger.issue("detect")))),
        ("expired client certificate", mtls, _tls(who.context(expired))),
        ("password at the mTLS port", mtls, scram | {"sasl_plain_password": good}),
    ]  # fmt: skip
    for what, address, security in attacks:
        yield await _enter("connection to the broker", what, address, security)


def _tls(context: ssl.SSLContext) -> dict[str, Any]:
    return {"security_protocol": "SSL", "ssl_context": context}


def _old(context: ssl.SSLContext) -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old on purpose
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


async def _enter(group: str, what: str, address: str, security: dict[str, Any]) -> Attempt:
    try:
        wire = await Wire.open(address, **security)
    except REFUSALS as error:
        return Attempt(group, what, let_in=False, answer=type(error).__name__)
    try:
        return Attempt(group, what, let_in=True, answer=f"topics {await wire.topics()}")
    except REFUSALS as error:
        return Attempt(group, what, let_in=False, answer=type(error).__name__)
    finally:
        wire.close()


async def false_brokers(broker: SecuredKafka) -> AsyncIterator[Attempt]:
    """Our own client options against listeners that lie, and against one that a wrong CA vouches for."""
    for listener in ("misnamed", "foreign", "expired"):
        options = _options(broker, listener)
        attempt = await _enter("client of ours at a false broker", listener, *options)
        yield attempt
    address, security = _options(broker, "sasl", cafile=broker.identities.stranger.cert)
    yield await _enter(
        "client of ours at a false broker", "signed by a CA we do not trust", address, security
    )


async def doors_that_open(broker: SecuredKafka) -> AsyncIterator[str]:
    """What must work and does not: good logins, and the lying listeners for a client that checks nothing."""
    for listener in ("sasl", "mtls"):
        attempt = await _enter("", listener, *_options(broker, listener))
        if not attempt.let_in:
            yield f"a good login at {listener} failed: {attempt.answer}"
    for listener in ("misnamed", "foreign", "expired"):
        address, security = _options(broker, listener)
        blind = ssl.create_default_context()
        blind.check_hostname = False
        blind.verify_mode = ssl.CERT_NONE
        attempt = await _enter("", listener, address, security | {"ssl_context": blind})
        if not attempt.let_in:
            yield f"listener {listener} does not even let a blind client in: {attempt.answer}"


def _options(broker: SecuredKafka, listener: str, cafile: Path | None = None) -> tuple[str, dict[str, Any]]:
    """Address, and what the product gives its clients for the role deploy."""
    values = broker.kafka_settings("deploy", listener=listener)
    if cafile is not None:
        values["ssl_cafile"] = str(cafile)
    options = client_options(KafkaSettings(**values))
    names = (
        "security_protocol",
        "ssl_context",
        "sasl_mechanism",
        "sasl_plain_username",
        "sasl_plain_password",
    )
    return broker.address(listener), {name: options[name] for name in names if name in options}
