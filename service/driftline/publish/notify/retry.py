"""What the answer to a request means, and when to try again. Pure: the time and the coin are arguments.

A target that is away is tried until it is back or the alert is too old; what it refuses is given up after a
few attempts, so that one alert it cannot read does not hold up the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal

BACKOFF_SECONDS_MIN: Final = 1.0
BACKOFF_SECONDS_MAX: Final = 60.0  # so long after an outage has ended everything flows again
RETRY_AFTER_SECONDS_MAX: Final = 3_600.0  # a target that asks for more is asked after an hour
REFUSALS_MAX: Final = (
    6  # attempts at what is refused: half a minute, for a receiver in the middle of a deployment
)
# About the target and not about the alert: wrong credentials or address, time-out, too early, too many.
NOT_THE_ALERT: Final = frozenset({401, 403, 404, 407, 408, 421, 425, 429})

# Why an attempt failed; a closed set, as it is a metric label.
Failure = Literal[
    "connection", "timeout", "tls", "credentials", "not_found", "too_many", "refused", "redirect", "server"
]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt: a status, or why there is none. ``detail`` is for the log."""

    status: int | None = None
    error: Literal["connection", "timeout", "tls"] = "connection"
    retry_after: str | None = None
    detail: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the target has taken it."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Wait:
    """Try again after so many seconds."""

    seconds: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave this alert and go on with the next."""

    failure: Failure


def judge(answer: Answer, attempt: int, refusals: int, now: float, coin: float) -> Wait | GiveUp:
    """What to do after an attempt that did not deliver.

    Args:
        answer: what came of it.
        attempt: how many there were before, of this alert.
        refusals: how many of them were refused.
        now: Unix seconds.
        coin: evenly from 0 to 1.
    """
    failure = failure_of(answer)
    if failure in {"refused", "redirect"} and refusals + 1 >= REFUSALS_MAX:
        return GiveUp(failure)
    seconds = max(backoff_seconds(attempt, coin), retry_after_seconds(answer.retry_after, now))
    return Wait(seconds, failure)


def failure_of(answer: Answer) -> Failure:
    """The kind of a failure."""
    status = answer.status
    if status is None:
        return answer.error
    if status in {401, 403, 407}:
        return "credentials"
    if status == 404:
        return "not_found"
    if status == 429:
        return "too_many"
    if 300 <= status < 400:
        return "redirect"
    if 400 <= status < 500 and status not in NOT_THE_ALERT:
        return "refused"
    return "timeout" if status == 408 else "server"


def backoff_seconds(attempt: int, coin: float) -> float:
    """Twice as long each time up to a maximum, and anywhere in its upper half: nobody retries in step."""
    whole = min(BACKOFF_SECONDS_MIN * 2.0 ** min(attempt, 32), BACKOFF_SECONDS_MAX)
    return whole * (0.5 + 0.5 * coin)


def retry_after_seconds(header: str | None, now: float) -> float:
    """Seconds that a target asks for with Retry-After, a number or a date; 0 where it asks for none."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        seconds = float(text)
    else:
        try:
            when = parsedate_to_datetime(text)
        except ValueError:
            return 0.0
        seconds = when.replace(tzinfo=when.tzinfo or UTC).timestamp() - now
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)
