"""The history as it grows, its viewers, and the stream to one of them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from driftline.console import live as module
from driftline.console.live import FullError, Live
from driftline.console.notices import Notices
from harness.page_story import alert, story


async def next_of(notices: Any) -> bool:
    """The next notice, or the test fails."""
    return bool(await asyncio.wait_for(anext(notices), 2))


def test_viewers_hear_of_their_model_and_of_no_other() -> None:
    """One viewer of all, one of a model; many changes are one notice."""

    async def run() -> None:
        live = Live()
        async with aclosing(live.watch(None, 0)) as every, aclosing(live.watch("a", 0)) as one:
            assert not await next_of(every)
            assert not await next_of(one)
            live.take(story("b"))
            live.take([alert("opened", 20, model="b", episode=5, opened=20)])
            assert await next_of(every)
            waiting = asyncio.ensure_future(anext(one))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            live.take(story("a"))
            assert await asyncio.wait_for(waiting, 2)
            assert await next_of(every)
        assert live.viewers == 0

    asyncio.run(run())


def test_what_changes_nothing_is_no_notice() -> None:
    """A record twice, a record of nothing: the version stays, pages are not drawn again."""
    live = Live()
    live.take(story())
    version = live.version
    live.take([story()[-1], {"x": 1}])
    assert live.version == version


def test_to_begin_again_forgets_everything() -> None:
    """After an outage: not ready, and pages are drawn again."""
    live = Live()
    live.take(story())
    live.caught_up()
    version = live.version
    live.begin_again()
    assert (live.ready, live.history.models) == (False, {})
    assert live.version > version


def test_viewers_are_bounded() -> None:
    """One more is refused, with a status; when one leaves there is room again."""

    async def run() -> None:
        live = Live(viewers_max=1)
        async with aclosing(live.watch(None)) as first:
            await anext(first)
            async with aclosing(live.watch(None)) as second:
                with pytest.raises(FullError):
                    await anext(second)
            sent = await stream(live, slow=False, seconds=1.0)
            assert sent[0]["status"] == 503
        async with aclosing(live.watch(None)) as third:
            assert not await next_of(third)

    asyncio.run(run())


async def stream(live: Live, *, slow: bool, seconds: float) -> list[dict[str, Any]]:
    """What a viewer gets in half a second; a slow one takes nothing after the headers."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        if slow and sent:
            await asyncio.sleep(60)
        sent.append(dict(message))

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.5)
        return {"type": "http.disconnect"}

    await asyncio.wait_for(Notices(live, None, seconds)({"type": "http"}, receive, send), 5)
    return sent


def test_a_stream_is_told_and_ends_with_its_viewer() -> None:
    """Headers, a sign of life, a notice of each change; nobody is left afterwards."""

    async def run() -> None:
        live = Live()
        running = asyncio.ensure_future(stream(live, slow=False, seconds=1.0))
        await asyncio.sleep(0.1)
        live.take(story())
        sent = await running
        assert dict(sent[0]["headers"])[b"content-type"] == b"text/event-stream"
        assert [m["body"] for m in sent[1:]] == [b": still here\n\n", b"event: changed\ndata: 1\n\n"]
        assert live.viewers == 0

    asyncio.run(run())


def test_a_slow_viewer_is_dropped() -> None:
    """It takes nothing for the time that it has: the stream ends before the viewer does."""

    async def run() -> float:
        live = Live()
        began = asyncio.get_running_loop().time()
        await stream(live, slow=True, seconds=0.05)
        assert live.viewers == 0
        return asyncio.get_running_loop().time() - began

    assert asyncio.run(run()) < 0.4


def test_a_silent_stream_shows_that_it_lives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comment now and then, for proxies between."""
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)

    async def run() -> list[bool]:
        async with aclosing(Live().watch(None, 0)) as notices:
            return [await next_of(notices) for _ in range(3)]

    assert asyncio.run(run()) == [False, False, False]
