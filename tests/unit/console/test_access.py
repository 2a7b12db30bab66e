"""Tokens, sessions and forms."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftline.console.access import (
    FAILURE_SECONDS,
    FAILURES_MAX,
    SESSION_SECONDS,
    SESSIONS_MAX,
    Access,
    may_submit,
    read_token,
    same_origin,
)
from driftline.errors import OperatorError

TOKEN = "0123456789abcdef"  # noqa: S105 - of this test


class Clock:
    """Seconds as the test says."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """What it is now."""
        return self.now


def test_only_the_token_opens_a_session() -> None:
    """With a name; the session ends with its time or when it is closed."""
    clock = Clock()
    access = Access(TOKEN, clock)
    assert access.open("wrong", "jane") is None
    assert access.open(TOKEN, "  ") is None
    ident = access.open(TOKEN, "jane\x1b")
    session = access.session(ident)
    assert session is not None
    assert session.name == "jane\\x1b"
    assert access.session("other") is access.session(None) is None
    clock.now = SESSION_SECONDS
    assert access.session(ident) is None
    second = access.open(TOKEN, "jane")
    access.close(second)
    assert access.session(second) is None


def test_without_a_token_nobody_enters() -> None:
    """Not even with an empty one."""
    access = Access(None, Clock())
    assert not access.enabled
    assert access.open("", "jane") is None


def test_guessing_is_slow() -> None:
    """After FAILURES_MAX wrong tokens nobody is let in until the time is over."""
    clock = Clock()
    access = Access(TOKEN, clock)
    for _ in range(FAILURES_MAX):
        assert access.open("wrong-wrong-wrong", "x") is None
    assert access.open(TOKEN, "jane") is None
    clock.now = FAILURE_SECONDS
    assert access.open(TOKEN, "jane") is not None


def test_sessions_are_bounded() -> None:
    """The oldest goes."""
    access = Access(TOKEN, Clock())
    idents = [access.open(TOKEN, "jane") for _ in range(SESSIONS_MAX + 1)]
    assert access.session(idents[0]) is None
    assert access.session(idents[1]) is not None


def test_a_form_needs_its_session_its_key_and_its_origin() -> None:
    """Each of them alone is not enough."""
    access = Access(TOKEN, Clock())
    session, other = (access.session(access.open(TOKEN, name)) for name in ("jane", "joe"))
    assert session is not None
    assert other is not None
    assert may_submit(session, session.form_key, "http://a:1", "a:1")
    assert may_submit(session, session.form_key, None, "a:1")
    assert not may_submit(session, session.form_key, "http://evil", "a:1")
    assert not may_submit(session, session.form_key, "null", "a:1")
    assert not may_submit(session, other.form_key, "http://a:1", "a:1")
    assert not may_submit(session, "", "http://a:1", "a:1")
    assert not may_submit(None, session.form_key, "http://a:1", "a:1")
    assert not same_origin("http://a:1.evil", "a:1")


def test_a_token_file_is_checked(tmp_path: Path) -> None:
    """A short token is refused with a way to make one; it is never shown."""
    path = tmp_path / "token"
    with pytest.raises(OperatorError, match="No such file"):
        read_token(path)
    path.write_text("short-secret")
    with pytest.raises(OperatorError, match="fewer than 16") as raised:
        read_token(path)
    assert "short-secret" not in str(raised.value)
    path.write_text(f"{TOKEN}\n")
    assert read_token(path) == TOKEN
