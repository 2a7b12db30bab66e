"""What the Kafka clients are given: the password of now, and never in print."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from driftline.clients import client_options
from driftline.config import KafkaSettings
from driftline.stream.worker import credentials


def options(file: Path) -> dict[str, Any]:
    """Options of a client that logs in with the password in a file."""
    return client_options(
        KafkaSettings(security_protocol="SASL_PLAINTEXT", sasl_username="me", sasl_password_file=file)
    )


def test_the_password_is_read_again_for_each_login(tmp_path: Path) -> None:
    """A client keeps the object that it was given, and encodes it for each connection."""
    file = tmp_path / "password"
    file.write_text("first\n")
    password = options(file)["sasl_plain_password"]
    assert isinstance(password, str)
    assert password.encode() == b"first"
    file.write_text("second\n")
    assert password.encode("utf-8") == b"second"


def test_a_password_that_is_gone_is_the_first_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file in the middle of being replaced must not end a worker; the log does not show it."""
    file = tmp_path / "password"
    file.write_text("s3cret-first")
    password = options(file)["sasl_plain_password"]
    file.unlink()
    with caplog.at_level(logging.WARNING):
        assert password.encode() == b"s3cret-first"
    file.write_bytes(b"s3cret-\xff")
    assert password.encode() == b"s3cret-first"
    assert "the first password is used again" in caplog.text
    assert "s3cret" not in caplog.text


def test_options_in_print_hide_the_password(tmp_path: Path) -> None:
    """They end up in tracebacks and debuggers."""
    file = tmp_path / "password"
    file.write_text("s3cret")
    assert "s3cret" not in repr(options(file))


def test_faust_keeps_the_password_that_follows_its_file(tmp_path: Path) -> None:
    """Stage 2 logs in through Faust, which must hand the same object on."""
    file = tmp_path / "password"
    file.write_text("first")
    found = credentials(
        KafkaSettings(security_protocol="SASL_PLAINTEXT", sasl_username="me", sasl_password_file=file)
    )
    file.write_text("second")
    assert found.password.encode() == b"second"
    assert "first" not in repr(found)
