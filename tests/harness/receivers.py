"""A receiver of notifications on this machine: keeps what it is sent and answers as it is told.

Not the product's code; a plain server of the standard library, a thread a connection.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Received:
    """One POST: path, headers (names in lower case) and body."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


Behaviour = Callable[[Received], tuple[int, Mapping[str, str]]]


def accepts(received: Received) -> tuple[int, Mapping[str, str]]:
    """Takes everything."""
    return 200, {}


def answers(status: int, **headers: str) -> Behaviour:
    """Answers everything with one status."""
    return lambda _: (status, headers)


class Receiver:
    """A listening receiver; ``behave`` may be replaced at any time. Made by ``receiver``."""

    def __init__(self) -> None:
        self.behave: Behaviour = accepts
        self.all: list[Received] = []  # every request, refused ones too
        self.taken: list[Received] = []  # those that were answered with 2xx
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                received = Received(self.path, headers, body)
                owner.all.append(received)
                status, more = owner.behave(received)
                if 200 <= status < 300:
                    owner.taken.append(received)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name.replace("_", "-"), value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that was killed has gone."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def receiver() -> Iterator[Receiver]:
    """A receiver that takes everything until told otherwise."""
    made = Receiver()
    try:
        yield made
    finally:
        made.close()
