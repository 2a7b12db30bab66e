"""Requests over HTTP: one attempt, one answer, with a limit on everything. The only importer of aiohttp.

Follows no redirect, keeps no cookie, takes nothing from the environment, reads little of an answer.
"""

from __future__ import annotations

import ssl
from typing import Final, Self

import aiohttp

from driftline.publish.notify.notice import Request
from driftline.publish.notify.retry import Answer
from driftline.publish.text import printable

ANSWER_BYTES_MAX: Final = 512  # read for the log; Slack and Alertmanager say in a few words what they refuse
DETAIL_CHARS_MAX: Final = 200
CONNECTIONS_MAX: Final = 16  # one a target
HEADER_BYTES_MAX: Final = 8 << 10  # of an answer
USER_AGENT: Final = "driftline-notify"


class Sender:
    """Sends requests; made and closed within a running event loop (``async with``)."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": USER_AGENT},
            trust_env=False,
            auto_decompress=False,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def send(self, request: Request, timeout_seconds: float) -> Answer:
        """Post ``request`` once; a failure is an answer too."""
        try:
            async with self._session.post(
                request.url,
                data=request.body,
                headers=request.headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            ) as response:
                said = b"" if response.ok else await response.content.read(ANSWER_BYTES_MAX)
                return Answer(
                    response.status,
                    retry_after=response.headers.get("Retry-After"),
                    detail=printable(said.decode("utf-8", "replace").strip(), DETAIL_CHARS_MAX),
                )
        except TimeoutError:
            return Answer(error="timeout", detail=f"no answer within {timeout_seconds:g} s")
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            return Answer(error="tls", detail=type(error).__name__)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Its class alone: its text may hold the URL, which may be a password.
            return Answer(error="connection", detail=type(error).__name__)
