"""Who may do what: one token opens a session, a session may mute and acknowledge.

Owns: sessions and their form keys. Invariants: the token is compared in constant time and never shown; a
session is a random number that only its cookie and this process know; a form is taken from its own origin,
with the key of its session. Must not know: HTTP, Kafka.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from driftline.errors import OperatorError
from driftline.publish.text import printable

SESSIONS_MAX: Final = 100  # the oldest goes first
SESSION_SECONDS: Final = 12 * 3600.0  # a working day
TOKEN_CHARS_MIN: Final = 16  # hex of 64 bits: not to be guessed over HTTP
FAILURES_MAX: Final = 10  # wrong tokens in FAILURE_SECONDS; then nobody is let in for the rest of them
FAILURE_SECONDS: Final = 60.0
NAME_CHARS_MAX: Final = 60


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who has shown the token."""

    name: str
    form_key: str
    until: float


class Access:
    """Sessions of one process; a restart ends them."""

    def __init__(self, token: str | None, clock: Callable[[], float]) -> None:
        """``token`` None: nobody can open a session. ``clock`` gives monotonic seconds."""
        self._token = None if token is None else token.encode()
        self._clock = clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._failures: list[float] = []

    @property
    def enabled(self) -> bool:
        """Whether there is a token at all."""
        return self._token is not None

    def open(self, token: str, name: str) -> str | None:
        """The id of a new session; None for a wrong token, no name, or too many wrong tokens lately."""
        now = self._clock()
        self._failures = [at for at in self._failures if now - at < FAILURE_SECONDS]
        name = printable(name.strip(), NAME_CHARS_MAX)
        if self._token is None or not name or len(self._failures) >= FAILURES_MAX:
            return None
        if not hmac.compare_digest(token.encode(), self._token):
            self._failures.append(now)
            return None
        ident = secrets.token_urlsafe(32)
        self._sessions[ident] = Session(name, secrets.token_urlsafe(32), now + SESSION_SECONDS)
        while len(self._sessions) > SESSIONS_MAX:
            self._sessions.popitem(last=False)
        return ident

    def session(self, ident: str | None) -> Session | None:
        """The session of a cookie, None when it is unknown or over."""
        found = self._sessions.get(ident or "")
        if found is not None and self._clock() >= found.until:
            del self._sessions[ident or ""]
            return None
        return found

    def close(self, ident: str | None) -> None:
        """End a session."""
        self._sessions.pop(ident or "", None)


def may_submit(session: Session | None, key: str, origin: str | None, host: str) -> bool:
    """Whether a form comes from a page of ours that this session was shown.

    ``origin`` and ``host`` are the headers of the request. Every browser sends Origin with a form; without
    one the key alone decides (a command line).
    """
    if session is None or not hmac.compare_digest(key.encode(), session.form_key.encode()):
        return False
    return same_origin(origin, host)


def same_origin(origin: str | None, host: str) -> bool:
    """Whether the Origin header names this host, or is not there."""
    return origin is None or re.sub(r"^https?://", "", origin) == host


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        OperatorError: it cannot be read or is too short.
    """
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OperatorError(f"--token-file {path}: {error}.") from error
    if len(token) < TOKEN_CHARS_MIN:
        raise OperatorError(
            f"--token-file {path}: fewer than {TOKEN_CHARS_MIN} characters.",
            remedy="Make one: python3 -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    return token
