"""/live, /ready and /metrics over HTTP(S): a small server in daemon threads, with a limit on everything.

It answers GET and HEAD, reads no body and looks at no query, closes every connection after one answer. /live
and /ready say yes or no and nothing about models, so they ask for no token: a probe has none. Certificate and
token are read again when they change. It must not know Kafka or the models: it is given callables.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from driftline import tls
from driftline.config import HttpSettings, read_secret
from driftline.errors import OperatorError
from driftline.publish.metrics import CONTENT_TYPE, Metrics

CONNECTIONS_MAX: Final = 16  # Prometheus uses one, probes two; the rest is for people with curl
REQUEST_BYTES_MAX: Final = 8 << 10  # request line and headers; a probe sends 200
REQUEST_SECONDS_MAX: Final = 5.0  # from accept to the last header, however slowly they trickle in
RESPONSE_SECONDS_MAX: Final = 10.0  # Prometheus' own default scrape timeout
BACKLOG: Final = 32
LINGER_SECONDS: Final = 0.25  # closing with unread input would reset the connection under our answer
TEXT: Final = "text/plain; charset=utf-8"

log = logging.getLogger(__name__)


class HttpServer:
    """A listening server; ``port`` is the real one. Made by ``start``."""

    def __init__(
        self,
        listener: socket.socket,
        settings: HttpSettings,
        metrics: Metrics,
        live: Callable[[], bool],
        ready: Callable[[], bool],
    ) -> None:
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._tls = _context(settings)
        self._token_file = settings.token_file
        self._metrics = metrics
        self._live = live
        self._ready = ready
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MAX)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="driftline-http", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop listening; answers in progress are finished or cut by their own deadlines."""
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._listener.close()
        self._thread.join(timeout=1.0)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                if self._stopping.is_set():
                    return
                time.sleep(0.05)  # out of file descriptors, or a client gone before it was accepted
                continue
            if not self._slots.acquire(blocking=False):
                connection.close()  # a full house answers nobody: no thread, no memory
                continue
            threading.Thread(
                target=self._serve, args=(connection,), name="driftline-http-1", daemon=True
            ).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError), self._secured(raw) as connection:
                status, allow_body = HTTPStatus.REQUEST_TIMEOUT, True
                body, content_type = b"", TEXT
                try:
                    method, path, token = _parse(_read_head(connection))
                    allow_body = method != "HEAD"
                    status, body, content_type = self._answer(method, path, token)
                except _RefusedError as refused:
                    status = refused.status
                _respond(connection, status, body or f"{status.phrase}\n".encode(), content_type, allow_body)
        finally:
            self._slots.release()

    def _secured(self, raw: socket.socket) -> socket.socket:
        """The connection, behind a TLS handshake where there is a certificate; closed when that fails."""
        if self._tls is None:
            return raw
        try:
            raw.settimeout(REQUEST_SECONDS_MAX)  # of the whole handshake, however slowly it trickles in
            return self._tls.wrap_socket(raw, server_side=True)
        except OSError:
            raw.close()
            raise

    def _permitted(self, token: bytes | None) -> bool:
        """Whether a request with this bearer token may read the metrics; compared in constant time."""
        if self._token_file is None:
            return True
        try:
            wanted = read_secret(self._token_file, "http.token_file").encode()
        except OperatorError as error:
            log.warning("nobody can read the metrics", extra={"error": error.message})
            return False
        return token is not None and hmac.compare_digest(token, wanted)

    def _answer(self, method: str, path: str, token: bytes | None) -> tuple[HTTPStatus, bytes, str]:
        if method not in {"GET", "HEAD"}:
            raise _RefusedError(HTTPStatus.METHOD_NOT_ALLOWED)
        match path:
            case "/live":
                return _verdict(self._live, "stalled")
            case "/ready":
                return _verdict(self._ready, "not ready")
            case "/metrics" if not self._permitted(token):
                raise _RefusedError(HTTPStatus.UNAUTHORIZED)
            case "/metrics":
                try:
                    return HTTPStatus.OK, self._metrics.render(), CONTENT_TYPE
                except Exception:
                    log.exception("rendering the metrics failed")
                    self._metrics.add("driftline_scrape_errors_total")
                    raise _RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR) from None
        raise _RefusedError(HTTPStatus.NOT_FOUND)


def start(
    settings: HttpSettings, metrics: Metrics, live: Callable[[], bool], ready: Callable[[], bool]
) -> HttpServer:
    """Listen on ``settings.host`` and ``settings.port`` and serve until ``stop``.

    ``live`` and ``ready`` are called from server threads and must not block.

    Raises:
        OperatorError: the address cannot be bound, or certificate or token cannot be read.
    """
    if settings.token_file is not None:
        read_secret(settings.token_file, "http.token_file")
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, proto)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise OperatorError(
            f"http: cannot listen on {settings.host}:{settings.port}: {error.strerror}.",
            remedy="Set http.port to a free port (0 picks one) or http.host to an address of this machine.",
        ) from error
    try:
        return HttpServer(listener, settings, metrics, live, ready)
    except OperatorError:
        listener.close()
        raise


def _context(settings: HttpSettings) -> ssl.SSLContext | None:
    certfile, keyfile = settings.tls_certfile, settings.tls_keyfile
    if certfile is None or keyfile is None:
        return None

    def make() -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = tls.VERSION_MIN
        try:
            context.load_cert_chain(certfile, keyfile, password="")  # without, OpenSSL asks a person
        except (OSError, ssl.SSLError) as error:
            raise OperatorError(
                f"http.tls_certfile or tls_keyfile cannot be used: {error}.",
                remedy="Check that both exist, are PEM without a password and belong together.",
            ) from error
        return context

    return tls.FollowingContext(make, (certfile, keyfile))


class _RefusedError(Exception):
    """The request gets this status and no more."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status)
        self.status = status


def _verdict(check: Callable[[], bool], no: str) -> tuple[HTTPStatus, bytes, str]:
    try:
        good = check()
    except Exception:
        log.exception("a health check failed")
        good = False
    return (
        (HTTPStatus.OK, b"ok\n", TEXT) if good else (HTTPStatus.SERVICE_UNAVAILABLE, f"{no}\n".encode(), TEXT)
    )


def _read_head(connection: socket.socket) -> bytes:
    """Bytes up to the blank line after the headers, under one deadline for all of them."""
    deadline = time.monotonic() + REQUEST_SECONDS_MAX
    head = b""
    while b"\r\n\r\n" not in head:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT)
        connection.settimeout(left)
        try:
            piece = connection.recv(REQUEST_BYTES_MAX)
        except TimeoutError:
            raise _RefusedError(HTTPStatus.REQUEST_TIMEOUT) from None
        if not piece:
            raise _RefusedError(HTTPStatus.BAD_REQUEST)
        head += piece
        if len(head) > REQUEST_BYTES_MAX:
            raise _RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    return head


def _parse(head: bytes) -> tuple[str, str, bytes | None]:
    """Method, path without its query, and bearer token if there is one."""
    first, *lines = head.split(b"\r\n")
    parts = first.decode("latin-1").split(" ")
    if len(parts) != 3 or parts[2] not in {"HTTP/1.0", "HTTP/1.1"} or not parts[1].startswith("/"):
        raise _RefusedError(HTTPStatus.BAD_REQUEST)
    return parts[0], parts[1].partition("?")[0], _token(lines)


def _token(lines: list[bytes]) -> bytes | None:
    for line in lines:
        name, _, value = line.partition(b":")
        scheme, _, token = value.strip().partition(b" ")
        if name.lower() == b"authorization" and scheme.lower() == b"bearer":
            return token.strip()
    return None


def _respond(
    connection: socket.socket, status: HTTPStatus, body: bytes, content_type: str, allow_body: bool
) -> None:
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        head.append("Allow: GET, HEAD")
    if status is HTTPStatus.UNAUTHORIZED:
        head.append("WWW-Authenticate: Bearer")
    connection.settimeout(RESPONSE_SECONDS_MAX)  # sendall counts it for the whole answer
    connection.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + (body if allow_body else b""))
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(LINGER_SECONDS)
        connection.unwrap()  # tells the other side that nothing was cut off, and waits for its word
        return
    connection.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + LINGER_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        connection.settimeout(left)
        if not connection.recv(REQUEST_BYTES_MAX):
            return
