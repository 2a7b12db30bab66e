"""Contexts follow their files, and speak nothing old; on real handshakes between two sockets."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from driftline import tls
from driftline.clients import ssl_context
from driftline.config import KafkaSettings
from driftline.errors import OperatorError
from security.certificates import EXPIRED, Authority, Pair

HERE = "IP:127.0.0.1"


def server_context(pair: Pair, authority: Authority | None = None) -> ssl.SSLContext:
    """A server's context; with an authority it asks for a client certificate of it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair.cert, pair.key)
    if authority is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(authority.cert)
    return context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> tuple[bytes, bytes]:
    """Certificates that client and server were shown; raises what the client saw."""
    ours, theirs = socket.socketpair()
    shown: list[bytes] = []

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as secured:
                shown.append(secured.getpeercert(binary_form=True) or b"")
                secured.sendall(b"!")
        except OSError:
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        ours.settimeout(10)
        with client.wrap_socket(ours, server_hostname="127.0.0.1") as secured:
            assert secured.recv(1) == b"!"
            theirs_shown = secured.getpeercert(binary_form=True) or b""
    finally:
        ours.close()
        thread.join()
    return theirs_shown, shown[0]


def kafka(authority: Authority, pair: Pair | None = None, protocol: str = "SSL") -> KafkaSettings:
    """Settings of a client that trusts this authority."""
    return KafkaSettings.model_validate(
        {
            "bootstrap_servers": "127.0.0.1:1",
            "security_protocol": protocol,
            "ssl_cafile": authority.cert,
            "ssl_certfile": pair.cert if pair else None,
            "ssl_keyfile": pair.key if pair else None,
        }
    )


def made(settings: KafkaSettings) -> ssl.SSLContext:
    """The product's context of a client."""
    context = ssl_context(settings)
    assert context is not None
    return context


def test_a_certificate_alone_logs_in(tmp_path: Path) -> None:
    """Without SASL: the broker sees who we are."""
    house = Authority(tmp_path, "house")
    server, client = house.issue("broker", san=HERE), house.issue("ingest")
    _, seen = handshake(server_context(server, house), made(kafka(house, client)))
    assert seen == ssl.PEM_cert_to_DER_cert(client.cert.read_text())


def test_everything_is_read_again(tmp_path: Path) -> None:
    """CA, certificate and key renewed in place: the next connection uses them, without a new context."""
    house, next_house = Authority(tmp_path, "house"), Authority(tmp_path, "next")
    client = house.issue("ingest")
    context = made(kafka(house, client))
    handshake(server_context(house.issue("broker", san=HERE), house), context)
    renewed = next_house.issue("ingest")
    client.replace(renewed)
    house.cert.write_text(next_house.cert.read_text())
    _, seen = handshake(server_context(next_house.issue("broker", san=HERE), next_house), context)
    assert seen == ssl.PEM_cert_to_DER_cert(renewed.cert.read_text())


def test_half_a_pair_keeps_the_last_good_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A certificate that is there before its key: the old ones are used and the operator is told."""
    house = Authority(tmp_path, "house")
    server, client = server_context(house.issue("broker", san=HERE), house), house.issue("ingest")
    old = ssl.PEM_cert_to_DER_cert(client.cert.read_text())
    context = made(kafka(house, client))
    renewed = house.issue("ingest")
    client.cert.write_text(renewed.cert.read_text())
    with caplog.at_level(logging.WARNING):
        assert handshake(server, context)[1] == old
    assert "TLS files have changed but cannot be used" in caplog.text
    client.key.write_text(renewed.key.read_text())
    assert handshake(server, context)[1] == ssl.PEM_cert_to_DER_cert(renewed.cert.read_text())
    client.cert.unlink()
    assert handshake(server, context)[1] == ssl.PEM_cert_to_DER_cert(renewed.cert.read_text())


def _other_name(house: Authority, _: Authority) -> Pair:
    return house.issue("broker", san="DNS:kafka.example")


def _stranger(_: Authority, stranger: Authority) -> Pair:
    return stranger.issue("broker", san=HERE)


def _expired(house: Authority, _: Authority) -> Pair:
    return house.issue("broker", san=HERE, validity=EXPIRED)


@pytest.mark.parametrize("pair_of", [_other_name, _stranger, _expired])
def test_a_false_broker_is_refused(tmp_path: Path, pair_of: Callable[[Authority, Authority], Pair]) -> None:
    """Another host's certificate, another authority's, an expired one; with SASL, before the password."""
    house, stranger = Authority(tmp_path, "house"), Authority(tmp_path, "stranger")
    server = server_context(pair_of(house, stranger))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, made(kafka(house)))


def test_old_versions_are_not_spoken(tmp_path: Path) -> None:
    """A server that knows TLS 1.1 at most is refused."""
    house = Authority(tmp_path, "house")
    server = server_context(house.issue("broker", san=HERE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old on purpose
        server.minimum_version, server.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    server.set_ciphers("ALL:@SECLEVEL=0")
    context = made(kafka(house))
    assert isinstance(context, tls.FollowingContext)
    assert context.newest().minimum_version == ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError, match=r"(?i)version|alert|protocol"):
        handshake(server, context)


def test_used_by_itself_the_outer_context_trusts_nobody() -> None:
    """Whoever goes round ``wrap_*`` gets a context without any authority."""
    outer = tls.FollowingContext(ssl.create_default_context, [])
    assert outer.verify_mode == ssl.CERT_REQUIRED
    assert outer.check_hostname
    assert outer.get_ca_certs() == []


def test_files_that_are_not_there_are_the_operators(tmp_path: Path) -> None:
    """At the start nothing good is known yet."""
    missing = KafkaSettings(security_protocol="SSL", ssl_cafile=tmp_path / "nope.pem")
    with pytest.raises(OperatorError, match="ssl_cafile"):
        ssl_context(missing)
