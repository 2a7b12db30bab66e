"""Requests to an ASGI application in this process, without a socket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

HOST = "127.0.0.1:9465"


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


async def ask(app: Any, target: str, form: dict[str, str] | bytes | None = None, **headers: str) -> Answer:
    """GET, or POST of a form; headers by name with _ for -."""
    path, _, query = target.partition("?")
    body = form if isinstance(form, bytes) else urlencode(form or {}).encode()
    given = {"host": HOST} | {name.replace("_", "-"): value for name, value in headers.items()}
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET" if form is None else "POST", "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "scheme": "http",
        "headers": [(k.encode(), v.encode()) for k, v in given.items()], "server": ("127.0.0.1", 9465),
    }  # fmt: skip
    parts = [body[i : i + 1000] for i in range(0, len(body), 1000)] or [b""]
    answer = Answer()

    async def receive() -> dict[str, Any]:
        part = parts.pop(0) if parts else b""
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    await app(scope, receive, send)
    return answer
