"""What lies between a process and the broker: delays, silence, and requests whose outcome is unknown.

Owns: when a request arrives, whether it fails, and when its answer comes. A process that ended may still have
requests on the way; one that is paused gets its answers when it wakes.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiokafka.errors import KafkaConnectionError, KafkaError, KafkaStorageError, RequestTimedOutError

from simulation.loop import Process, VirtualLoop

T = TypeVar("T")
DELAY_SECONDS: Final = 0.02  # at most, one way, on a good day
RESEND_SECONDS: Final = 1e-7  # between writes that waited for room: they keep their order


@dataclass
class Weather:
    """How bad the network is now; the schedule changes it."""

    silent_until: float = 0.0  # no request arrives before
    slow_until: float = 0.0  # requests take seconds
    send_fails: float = 0.0  # probability that a send fails
    commit_fails: float = 0.0  # probability that an offset commit or the end of a transaction fails
    full_until: float = 0.0  # the broker's disk is full: no write is taken before
    full_is_told: bool = False  # whether the client has lost its patience, or sends again until there is room

    def sends_work(self) -> None:
        """Again."""
        self.send_fails = 0.0

    def commits_work(self) -> None:
        """Again."""
        self.commit_fails = 0.0


class Network:
    """The way to the broker.

    Args:
        loop: time.
        dice: delays and faults.
    """

    def __init__(self, loop: VirtualLoop, dice: random.Random) -> None:
        self.loop, self._dice = loop, dice
        self.weather = Weather()
        self.faults: Counter[str] = Counter()
        self._resent = 0

    def delay(self) -> float:
        """Seconds one way."""
        now, weather = self.loop.time(), self.weather
        seconds = self._dice.uniform(0.0005, DELAY_SECONDS)
        if now < weather.slow_until:
            seconds += self._dice.uniform(0.0, 3.0)
        return max(0.0, weather.silent_until - now) + seconds

    def lost(self, process: Process) -> bool:
        """Whether a request of a process that has ended meanwhile never left it."""
        return not process.alive and self._dice.random() < 0.5

    def failure(self, probability: float, kind: str) -> tuple[KafkaError | None, bool]:
        """Whether a request fails, and whether it has its effect all the same."""
        if probability <= 0.0 or self._dice.random() >= probability:
            return None, True
        self.faults[kind] += 1
        done = self._dice.random() < 0.5
        error = RequestTimedOutError("no answer") if done else KafkaConnectionError("connection reset")
        return error, done

    def request(
        self,
        process: Process,
        action: Callable[[], T],
        *,
        at: float | None = None,
        fails: float = 0.0,
        kind: str = "",
    ) -> asyncio.Future[T]:
        """Send a request; the future is its answer.

        Args:
            process: who asks.
            action: what the broker does when it arrives.
            at: when it arrives; by default after a delay.
            fails: probability that it fails, with or without effect.
            kind: what to count a failure as; given for whatever needs room on the broker's disk.
        """
        future: asyncio.Future[T] = self.loop.create_future()

        def arrive() -> None:
            if self.lost(process):
                return
            if kind and self.loop.time() < self.weather.full_until:
                self._refuse(process, future, arrive)
                return
            error, done = self.failure(fails, kind)
            result: Any = None
            if done:
                try:
                    result = action()
                except KafkaError as refused:
                    error = refused
            self.loop.outside(self.delay(), lambda: _settle(future, result, error))

        when = self.loop.time() + self.delay() if at is None else at
        self.loop.outside(when - self.loop.time(), arrive)
        return future

    def _refuse(self, process: Process, future: asyncio.Future[Any], again: Callable[[], None]) -> None:
        """No room for a write: the client sends it again, or its owner is told."""
        self.faults["write refused"] += 1
        if self.weather.full_is_told:
            self.loop.outside(self.delay(), lambda: _settle(future, None, KafkaStorageError("disk full")))
            return
        self._resent += 1
        wait = self.weather.full_until - self.loop.time() + RESEND_SECONDS * self._resent
        self.loop.outside(wait, lambda: again() if process.alive else None)


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
        future.exception()  # nobody may be waiting any more
    else:
        future.set_result(result)
