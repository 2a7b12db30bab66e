import pytest

from driftline.publish.notify.retry import (
    BACKOFF_SECONDS_MAX,
    REFUSALS_MAX,
    RETRY_AFTER_SECONDS_MAX,
    Answer,
    GiveUp,
    Wait,
    backoff_seconds,
    failure_of,
    judge,
    retry_after_seconds,
)

NOW = 1_795_428_000.0  # 2026-11-23T10:00:00Z, a Monday


def test_the_wait_doubles_up_to_a_minute_with_half_of_it_left_to_chance() -> None:
    """Bounded for any number of attempts: a target may be away for days."""
    assert [backoff_seconds(n, 1.0) for n in (0, 1, 2, 5, 6, 7)] == [1, 2, 4, 32, 60, 60]
    assert [backoff_seconds(n, 0.0) for n in (0, 1, 10**9)] == [0.5, 1.0, BACKOFF_SECONDS_MAX / 2]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("120", 120.0),
        ("999999999", RETRY_AFTER_SECONDS_MAX),
        ("9" * 5_000, 0.0),
        ("-5", 0.0),
        ("soon", 0.0),
        ("\u0661", 0.0),
        ("Mon, 23 Nov 2026 10:01:30 GMT", 90.0),
        ("Mon, 23 Nov 2026 10:01:30 -0000", 90.0),
        ("Mon, 23 Nov 2026 09:00:00 GMT", 0.0),
        ("Mon, 23 Nov 9999 10:00:00 GMT", RETRY_AFTER_SECONDS_MAX),
    ],
)
def test_retry_after_is_honoured_within_an_hour(header: str | None, seconds: float) -> None:
    """As seconds and as a date; nonsense counts as absent."""
    assert retry_after_seconds(header, NOW) == seconds


def test_the_longer_of_both_waits_counts() -> None:
    """A target that asks for patience gets it."""
    assert judge(Answer(429, retry_after="30"), 0, 0, NOW, 1.0) == Wait(30.0, "too_many")
    assert judge(Answer(503, retry_after="1"), 9, 0, NOW, 1.0) == Wait(60.0, "server")


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (Answer(error="tls"), "tls"),
        (Answer(error="timeout"), "timeout"),
        (Answer(error="connection"), "connection"),
        (Answer(401), "credentials"),
        (Answer(403), "credentials"),
        (Answer(404), "not_found"),
        (Answer(408), "timeout"),
        (Answer(425), "server"),
        (Answer(429), "too_many"),
        (Answer(500), "server"),
        (Answer(599), "server"),
        (Answer(101), "server"),
    ],
)
def test_what_is_about_the_target_is_tried_for_ever(answer: Answer, failure: str) -> None:
    """An hour without it, or a wrong password, must lose nothing."""
    assert failure_of(answer) == failure
    assert isinstance(judge(answer, 10**6, 10**6, NOW, 0.5), Wait)


@pytest.mark.parametrize("status", [400, 405, 410, 413, 415, 422, 301, 302, 304])
def test_what_is_about_the_alert_is_given_up(status: int) -> None:
    """After a bounded number of refusals, however many other failures lay between."""
    answer = Answer(status)
    assert isinstance(judge(answer, 500, REFUSALS_MAX - 2, NOW, 0.5), Wait)
    verdict = judge(answer, 500, REFUSALS_MAX - 1, NOW, 0.5)
    assert verdict == GiveUp("redirect" if status < 400 else "refused")


def test_only_2xx_is_delivered() -> None:
    """A redirect is not followed, so nothing was delivered."""
    assert [status for status in (None, 199, 200, 204, 299, 300) if Answer(status).delivered] == [
        200,
        204,
        299,
    ]
