"""Real HTTP to a receiver on this machine."""

import asyncio
import time

from driftline.publish.notify.notice import Request
from driftline.publish.notify.retry import Answer
from driftline.publish.notify.send import Sender
from harness.receivers import Received, Receiver, answers, receiver
from harness.workers import free_port


def post(url: str, timeout_seconds: float = 5.0) -> Answer:
    """One attempt."""

    async def once() -> Answer:
        async with Sender() as sender:
            return await sender.send(
                Request(url, {"Content-Type": "application/json"}, b"{}"), timeout_seconds
            )

    return asyncio.run(once())


def test_an_answer_is_its_status_and_when_to_come_again() -> None:
    """2xx and others alike."""
    with receiver() as target:
        assert post(target.url).delivered
        assert target.taken[0].headers["user-agent"] == "driftline-notify"
        target.behave = answers(503, Retry_After="7")
        answer = post(target.url)
        assert (answer.status, answer.retry_after, answer.delivered) == (503, "7", False)


def test_a_redirect_is_not_followed() -> None:
    """A target that was taken over cannot send us to an address inside our network."""
    with receiver() as inside, receiver() as target:
        target.behave = answers(307, Location=inside.url)
        assert post(target.url).status == 307
        assert inside.all == []


def slow(_: Received) -> tuple[int, dict[str, str]]:
    """Takes a second to think."""
    time.sleep(1.0)
    return 200, {}


def test_nobody_there_and_no_answer_in_time() -> None:
    """Both are answers, and neither tells the URL."""
    nobody = post(f"http://127.0.0.1:{free_port()}/s3cret")
    assert (nobody.status, nobody.error) == (None, "connection")
    assert "s3cret" not in nobody.detail
    with receiver() as target:
        target.behave = slow
        assert post(target.url, 0.2).error == "timeout"


def test_a_server_without_tls_is_named_so() -> None:
    """Https to a port that speaks http."""
    with receiver() as target:
        answer = post(target.url.replace("http://", "https://"))
        assert answer.error in {"tls", "connection"}
        assert answer.status is None


def test_proxies_of_the_environment_are_not_used(monkeypatch: object) -> None:
    """Where alerts go is said in the configuration alone."""
    import os
    from unittest import mock

    with receiver() as target, receiver() as proxy, mock.patch.dict(os.environ, {"HTTP_PROXY": proxy.url}):
        assert post(target.url).delivered
        assert _quiet(proxy)


def _quiet(target: Receiver) -> bool:
    return not target.all
