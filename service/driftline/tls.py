"""TLS contexts that follow their files: a renewed certificate, key or CA is used without a restart.

Owns: the oldest protocol version that is spoken, and when files are read again: before each new connection,
if one has changed. A connection that is open keeps what it was made with. Must not know who connects to whom.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Self

log = logging.getLogger(__name__)

VERSION_MIN: Final = ssl.TLSVersion.TLSv1_2  # older ones are broken (RFC 8996)
Stamp = tuple[tuple[int, int, int], ...]


class FollowingContext(ssl.SSLContext):
    """A context that makes each connection with the files as they are then.

    It is a context by type only, because asyncio and the Kafka clients ask for one and keep it (used as such
    it trusts nobody): connections are made by the newest context that ``make`` could build. Files that cannot
    be used (half of a pair was renewed) leave the last good context in place, and are tried again.

    Args:
        make: builds a context from the files; called once here, so that a bad file is the caller's error.
        files: whose changes matter.
    """

    _make: Callable[[], ssl.SSLContext]
    _files: tuple[Path, ...]
    _lock: threading.Lock
    _newest: ssl.SSLContext
    _stamp: Stamp

    def __new__(cls, make: Callable[[], ssl.SSLContext], files: Sequence[Path]) -> Self:
        """A context, with the first one inside it made already."""
        self = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        self._make, self._files, self._lock = make, tuple(files), threading.Lock()
        self._stamp = self._stamps()  # before reading: a change in between is seen next time
        self._newest = make()
        return self

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """As of the newest context; asyncio makes its connections with it."""
        return self.newest().wrap_bio(*args, **kwargs)

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """As of the newest context."""
        return self.newest().wrap_socket(*args, **kwargs)

    def newest(self) -> ssl.SSLContext:
        """The context of the files as they are now, or of the last ones that could be used."""
        with self._lock:
            stamp = self._stamps()
            if stamp != self._stamp:
                try:
                    self._newest, self._stamp = self._make(), stamp
                    log.info("TLS files were read again")
                except Exception as error:  # noqa: BLE001 - what was good is kept, and the operator told
                    log.warning("TLS files have changed but cannot be used", extra={"error": str(error)})
            return self._newest

    def _stamps(self) -> Stamp:
        return tuple(_stamp(file) for file in self._files)


def _stamp(file: Path) -> tuple[int, int, int]:
    """What differs when a file was written or replaced; zeros while it is not there."""
    try:
        found = file.stat()
    except OSError:
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)
