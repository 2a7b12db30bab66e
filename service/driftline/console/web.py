"""The console over HTTP: routes, headers, forms, and the stream of notices.

Owns: what a request may be and what every answer carries. Invariants: nothing is changed by a GET; a form
needs a session, its key and its own origin; every answer has the content security policy; no page is kept by
a cache; a body and an address are bounded. Must not know: what pages look like, Kafka.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlsplit

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from driftline.console import pages
from driftline.console.access import Access, Session, may_submit, same_origin
from driftline.console.live import Live
from driftline.console.notices import Notices
from driftline.console.pages import View
from driftline.errors import DriftlineError, OperatorError
from driftline.publish.commands import AlertAction, on_alerts
from driftline.publish.history import ModelHistory
from driftline.records import OutputRecord

COOKIE: Final = "driftline"
BODY_BYTES_MAX: Final = 8 << 10  # the largest form has 1 KB
FIELDS_MAX: Final = 10
QUERY_CHARS_MAX: Final = 2_000
PAGES_KEPT: Final = 256  # rendered ones: a hundred viewers of one page cost one rendering a change
SECONDS_PER_HOUR: Final = 3600
SENT: Final = frozenset({"mute", "ack"})
HOURS: Final = frozenset(hours for hours, _ in pages.MUTES)
HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # with no-referrer browsers send Origin: null with our own forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

log = logging.getLogger(__name__)
SendOrder = Callable[[OutputRecord], Awaitable[Any]]


@dataclass
class Web:
    """What the routes share.

    Args:
        live: the history.
        access: the sessions.
        send: writes a command and waits until it is stored.
        private: reading needs a session too.
    """

    live: Live
    access: Access
    send: SendOrder
    private: bool = False

    def __post_init__(self) -> None:
        self._rendered = lru_cache(maxsize=PAGES_KEPT)(self._render)

    # --- pages

    async def models(self, request: Request) -> Response:
        """The list."""
        query = request.query_params
        page = query.get("page", "0")
        wanted = (query.get("q", "")[:128], query.get("state", ""), int(page) if page.isdecimal() else 0)
        return self._page(request, "models", wanted)

    async def model(self, request: Request) -> Response:
        """One model."""
        query = request.query_params
        return self._page(request, "model", (query.get("name", ""), query.get("all") == "1"))

    async def signal(self, request: Request) -> Response:
        """One signal."""
        query = request.query_params
        return self._page(request, "signal", (query.get("model", ""), query.get("name", "")))

    async def episode(self, request: Request) -> Response:
        """One episode."""
        q = request.query_params
        place = [q.get(name, "") for name in ("number", "opened")]
        numbers = [
            int(text) if text.removeprefix("-").isdecimal() and len(text) < 20 else 0 for text in place
        ]
        return self._page(request, "episode", (q.get("model", ""), q.get("signal", ""), *numbers))

    def _page(self, request: Request, kind: str, wanted: tuple[Any, ...]) -> Response:
        session = self._session(request)
        if self.private and session is None:
            return RedirectResponse(f"/enter?next={quote(_path(request))}", 303)
        view = View(
            _path(request),
            session.form_key if session else None,
            session.name if session else "",
            self.access.enabled,
            self.live.ready,
            request.query_params.get("sent", "") if request.query_params.get("sent") in SENT else "",
        )
        text = self._rendered(self.live.version, view, kind, wanted)
        if text is None:
            gone = pages.message(
                view, "Not found", "There is no such model, signal or alert, or not any more."
            )
            return HTMLResponse(gone, 404)
        return HTMLResponse(text)

    def _render(self, version: int, view: View, kind: str, wanted: tuple[Any, ...]) -> str | None:
        """The text of a page at a version of the history; None when there is nothing of that name."""
        del version  # a part of the cache's key
        if kind == "models":
            return pages.models(self.live.history, view, wanted=wanted[0], state=wanted[1], page=wanted[2])
        found: ModelHistory | None = self.live.history.models.get(wanted[0])
        if found is None:
            return None
        if kind == "model":
            return pages.model(found, view, everything=wanted[1])
        if kind == "signal":
            known = wanted[1] in found.signals or any(e.signal == wanted[1] for e in found.episodes())
            return pages.signal(found, wanted[1], view) if known else None
        one = pages.find_episode(found, *wanted[1:])
        return None if one is None else pages.episode(found, one, view)

    # --- forms

    async def enter_page(self, request: Request) -> Response:
        """The form for the token."""
        view = View(_local(request.query_params.get("next", "/")), may_enter=False, ready=self.live.ready)
        return HTMLResponse(pages.enter(view))

    async def enter(self, request: Request) -> Response:
        """Open a session."""
        form = await _form(request)
        after = _local(form.get("next", "/"))
        ident = None
        if same_origin(request.headers.get("origin"), request.headers.get("host", "")):
            ident = self.access.open(form.get("token", ""), form.get("name", ""))
        if ident is None:
            return HTMLResponse(pages.enter(View(after), wrong=True), 403)
        answer = RedirectResponse(after, 303)
        answer.set_cookie(
            COOKIE, ident, httponly=True, samesite="strict", path="/", secure=request.url.scheme == "https"
        )
        return answer

    async def leave(self, request: Request) -> Response:
        """End the session."""
        session, form = self._session(request), await _form(request)
        if not self._may(request, session, form):
            return self._refused(request)
        self.access.close(request.cookies.get(COOKIE))
        answer = RedirectResponse("/", 303)
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer

    async def act(self, request: Request) -> Response:
        """Write a command: mute or acknowledge."""
        session, form = self._session(request), await _form(request)
        if session is None or not self._may(request, session, form):
            return self._refused(request)
        action, hours = form.get("action", ""), form.get("hours", "")
        if action not in SENT or (action == "mute" and hours not in HOURS):
            return PlainTextResponse("no such action\n", 400)
        model, signal = form.get("model", ""), form.get("signal") or None
        found = self.live.history.models.get(model)
        if found is None or not (signal is None or signal in found.signals or signal in found.open):
            return PlainTextResponse("there is no such model or signal\n", 400)
        until = int((time.time() + int(hours) * SECONDS_PER_HOUR) * 1000) if action == "mute" else None
        asked: AlertAction = "mute" if action == "mute" else "ack"
        try:
            why = form.get("why", "")
            await self.send(on_alerts(asked, model, signal, by=session.name, why=why, until_ms=until))
        except OperatorError as error:
            return PlainTextResponse(f"{error}\n", 400)
        except DriftlineError as error:
            log.warning("a command could not be written: %s", error)
            return PlainTextResponse("the command could not be written to Kafka; try again\n", 503)
        log.info("%s of model %s by %s", action, model, session.name)
        after = _local(form.get("next", "/"))
        return RedirectResponse(f"{after}{'&' if '?' in after else '?'}sent={action}", 303)

    def _may(self, request: Request, session: Session | None, form: dict[str, str]) -> bool:
        headers = request.headers
        return may_submit(session, form.get("key", ""), headers.get("origin"), headers.get("host", ""))

    @staticmethod
    def _refused(request: Request) -> Response:
        text = "Your session is over, or the form is not from this page. Enter again."
        return HTMLResponse(pages.message(View(_path(request), may_enter=True), "Refused", text), 403)

    def _session(self, request: Request) -> Session | None:
        return self.access.session(request.cookies.get(COOKIE))

    # --- the rest

    async def events(self, request: Request) -> Response:
        """Notices of changes, as server-sent events."""
        if self.private and self._session(request) is None:
            return PlainTextResponse("enter first\n", 403)
        return Notices(self.live, request.query_params.get("model", "")[:128] or None)

    async def live_probe(self, _: Request) -> Response:
        """The process answers."""
        return PlainTextResponse("ok\n")

    async def ready_probe(self, _: Request) -> Response:
        """The topics have been read to their ends."""
        return PlainTextResponse("ok\n") if self.live.ready else PlainTextResponse("reading\n", 503)


class Headers:
    """Adds HEADERS to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] == "http" and len(scope.get("query_string", b"")) > QUERY_CHARS_MAX:
            await PlainTextResponse("address too long\n", 414)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


def application(web: Web, hosts: list[str], lifespan: Any = None) -> Starlette:
    """The ASGI application; ``hosts`` are the names by which it may be asked."""
    static = resources.files("driftline.console") / "static"

    def fixed(content: str, media: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(_: Request) -> Response:
            return Response(content, media_type=media, headers={"cache-control": "max-age=300"})

        return answer

    return Starlette(
        routes=[
            Route("/", web.models),
            Route("/model", web.model),
            Route("/signal", web.signal),
            Route("/episode", web.episode),
            Route("/enter", web.enter_page),
            Route("/enter", web.enter, methods=["POST"]),
            Route("/leave", web.leave, methods=["POST"]),
            Route("/act", web.act, methods=["POST"]),
            Route("/events", web.events),
            Route("/live", web.live_probe),
            Route("/ready", web.ready_probe),
            Route("/console.css", fixed(pages.styles(), "text/css")),
            Route("/console.js", fixed((static / "console.js").read_text("utf-8"), "text/javascript")),
            Route("/icon.svg", fixed((static / "icon.svg").read_text("utf-8"), "image/svg+xml")),
        ],
        middleware=[Middleware(Headers), Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        lifespan=lifespan,
    )


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; nothing of a body that is too large or no form."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_BYTES_MAX:
            return {}
    with contextlib.suppress(ValueError):
        return dict(
            parse_qsl(body.decode(), max_num_fields=FIELDS_MAX, strict_parsing=True, keep_blank_values=True)
        )
    return {}


def _path(request: Request) -> str:
    """Path and query without what ``act`` added."""
    query = "&".join(p for p in request.url.query.split("&") if p and not p.startswith("sent="))
    return request.url.path + (f"?{query}" if query else "")


def _local(target: str) -> str:
    """A path of ours, never another site."""
    parts = urlsplit(target)
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.netloc
    return target if safe and target.isprintable() and target.isascii() else "/"
