"""Ends a process that is alive but idle.

A thread of its own: whatever blocks the event loop does not block it.

Owns: the heartbeat of the event loop and the time of each check; what to check is given. Knows no Kafka.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from driftline.errors import ExitCode, FatalError

log = logging.getLogger(__name__)

LOOP_SECONDS_MAX: Final = 60.0  # the longest step, a flush of 200,000 rows, takes about 1 s
CHECK_SECONDS: Final = 1.0

Check = Callable[[], FatalError | None]


class Watchdog:
    """Calls ``checks`` every second from its thread; the first problem goes to ``fatal``.

    A suspended process (SIGSTOP, a laptop's sleep) is no stall: the thread was suspended with the loop, and
    after waking the loop gets the same time again.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        fatal: Callable[[FatalError], None],
        *,
        loop_seconds_max: float = LOOP_SECONDS_MAX,
        check_seconds: float = CHECK_SECONDS,
    ) -> None:
        self._checks = checks
        self._fatal = fatal
        self._loop_seconds_max = loop_seconds_max
        self._check_seconds = check_seconds
        self._stop = threading.Event()
        self._beat_at = time.monotonic()
        self._thread = threading.Thread(target=self._watch, name="driftline-watchdog", daemon=True)

    def start(self) -> None:
        """Start to watch; called from the event loop, whose heart beats from now on."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()

    @property
    def alive(self) -> bool:
        """Whether the event loop has moved lately; for /live."""
        return time.monotonic() - self._beat_at <= self._loop_seconds_max

    def _beat(self) -> None:
        self._beat_at = time.monotonic()
        if not self._stop.is_set():
            asyncio.get_running_loop().call_later(self._check_seconds, self._beat)

    def _watch(self) -> None:
        checked_at = time.monotonic()
        while not self._stop.wait(self._check_seconds):
            now = time.monotonic()
            if now - checked_at > self._check_seconds + 5.0:  # we were suspended too
                self._beat_at = max(self._beat_at, now)
            checked_at = now
            problem = self._look(now)
            if problem is not None:
                self._fatal(problem)
                return

    def _look(self, now: float) -> FatalError | None:
        if now - self._beat_at > self._loop_seconds_max:
            return FatalError(
                ExitCode.STALLED, f"the event loop has not moved for {self._loop_seconds_max:.0f} s."
            )
        for check in self._checks:
            try:
                problem = check()
            except Exception:
                # Checks read objects of other threads without locks: a torn read is no verdict.
                log.debug("a watchdog check failed", exc_info=True)
                continue
            if problem is not None:
                return problem
        return None
