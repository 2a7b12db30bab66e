"""The stream of notices to one viewer, as server-sent events.

Invariant: a viewer that takes nothing is dropped, so that it costs a socket's buffer and no more. Must not
know: what changed, which pages there are.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import Final

from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from driftline.console.live import FullError, Live

SEND_SECONDS: Final = 10.0  # a viewer that takes no notice for so long is dropped; its page connects again
STREAM_SECONDS: Final = 3600.0  # then the page connects again: a closed session does not watch for ever

log = logging.getLogger(__name__)


class Notices(Response):
    """The stream of one viewer; one that does not take a notice in SEND_SECONDS is dropped."""

    def __init__(self, live: Live, model: str | None, seconds: float = SEND_SECONDS) -> None:
        self._live, self._model, self._seconds = live, model, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Answer until the viewer leaves, is too slow, or an hour is over."""
        gone = asyncio.create_task(_disconnected(receive))
        stream = asyncio.create_task(self._stream(send))
        try:
            await asyncio.wait({gone, stream}, return_when=asyncio.FIRST_COMPLETED, timeout=STREAM_SECONDS)
            whole = not gone.done() and not stream.done()
        finally:
            for task in (gone, stream):
                task.cancel()
            await asyncio.gather(gone, stream, return_exceptions=True)
        if whole:  # an hour is over
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream"), (b"x-accel-buffering", b"no")]
        try:
            async with aclosing(self._live.watch(self._model)) as notices:
                await anext(notices)  # there is room
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                await self._say(send, b": still here\n\n")
                async for changed in notices:
                    await self._say(send, b"event: changed\ndata: 1\n\n" if changed else b": still here\n\n")
        except FullError:
            await PlainTextResponse("too many viewers\n", 503)({"type": "http"}, _nothing, send)
        except TimeoutError:
            log.warning("a viewer was too slow and is dropped")

    async def _say(self, send: Send, body: bytes) -> None:
        async with asyncio.timeout(self._seconds):
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _nothing() -> Message:
    await asyncio.sleep(STREAM_SECONDS)
    return {"type": "http.disconnect"}
