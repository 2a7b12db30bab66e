"""The console's process: it follows the output topics and serves the pages until it is told to stop.

Owns: when the topics are read again from their beginning, and where the server listens. Must not know: pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import uvicorn
from starlette.applications import Starlette

from driftline.config import Settings
from driftline.console.access import Access
from driftline.console.live import Live
from driftline.console.web import Web, application
from driftline.errors import OperatorError, OutsideError
from driftline.publish.kafka import send_command
from driftline.publish.outputs import follow_outputs

RETRY_SECONDS: Final = 5.0
GRACE_SECONDS: Final = 3  # for answers under way at the end; streams are cut
CONNECTIONS_MAX: Final = 500  # twice the viewers: each has a stream and asks for pages

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """Where to listen and who may enter."""

    host: str = "127.0.0.1"
    port: int = 9465
    token: str | None = None
    names: tuple[str, ...] = ()  # further names by which a browser may ask for it

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(self.host).is_loopback
        return False


def serve(settings: Settings, options: Options) -> None:
    """Serve until SIGTERM or Ctrl-C.

    Raises:
        OperatorError: a topic is missing, the address cannot be used, or others may reach it without a token.
    """
    if not options.loopback and options.token is None:
        raise OperatorError(
            f"--host {options.host}: others than this machine could read every model's data.",
            remedy="Give --token-file, and put a proxy with TLS in front.",
        )
    web = Web(
        Live(),
        Access(options.token, time.monotonic),
        partial(send_command, settings),
        private=not options.loopback,
    )
    failure: list[OperatorError] = []

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_follow(settings, web.live))
        task.add_done_callback(lambda done: _ended(done, failure, server))
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    hosts = ["127.0.0.1", "localhost", options.host, *options.names]
    server = uvicorn.Server(
        uvicorn.Config(
            application(web, hosts, lifespan),
            host=options.host,
            port=options.port,
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ws="none",
        )
    )
    try:
        server.run()
    except SystemExit as error:  # uvicorn's way to say that it could not listen; its log says why
        raise OperatorError(
            f"cannot listen on {options.host}:{options.port}.", remedy="Is the port in use? --port."
        ) from error
    if failure:
        raise failure[0]


async def _follow(settings: Settings, live: Live) -> None:
    """Read the topics for ever; after an outage from their beginning, as what was missed is not known."""
    while True:
        live.begin_again()
        began = time.monotonic()

        def caught_up(began: float = began) -> None:
            live.caught_up()
            models = len(live.history.models)
            log.info("%d models after %.1f s of reading", models, time.monotonic() - began)

        try:
            await follow_outputs(settings, live.take, follow=True, caught_up=caught_up)
        except OutsideError as error:
            log.warning("%s Trying again in %.0f s.", error, RETRY_SECONDS)
            await asyncio.sleep(RETRY_SECONDS)


def _ended(task: asyncio.Task[None], failure: list[OperatorError], server: uvicorn.Server) -> None:
    """The follower ends only by an error: then the process does."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    server.should_exit = True
    if isinstance(error, OperatorError):
        failure.append(error)
    else:
        log.error("following the topics failed", exc_info=error)
        failure.append(OperatorError(f"following the topics failed: {error}."))
