"""The HTTP server on a real socket: answers, refusals, limits."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from driftline.config import HttpSettings
from driftline.errors import OperatorError
from driftline.publish import http
from driftline.publish.metrics import Metrics
from security.certificates import Authority, Pair


class Health:
    """The two answers, settable by the test."""

    def __init__(self) -> None:
        self.live: Callable[[], bool] = lambda: True
        self.ready: Callable[[], bool] = lambda: True

    def is_live(self) -> bool:
        """Ask what the test set last."""
        return self.live()

    def is_ready(self) -> bool:
        """Ask what the test set last."""
        return self.ready()


@pytest.fixture
def health() -> Health:
    """Healthy until the test says otherwise."""
    return Health()


@pytest.fixture
def server(health: Health) -> Iterator[http.HttpServer]:
    """A server on a free port."""
    running = http.start(HttpSettings(port=0), Metrics(), health.is_live, health.is_ready)
    yield running
    running.stop()


def ask(server: http.HttpServer, raw: bytes) -> bytes:
    """Send bytes, read to the end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(raw)
        answer = b""
        while piece := connection.recv(65_536):
            answer += piece
    return answer


def get(server: http.HttpServer, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, headers, body."""
    head, _, body = ask(server, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()).partition(
        b"\r\n\r\n"
    )
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body


def test_metrics_page(server: http.HttpServer) -> None:
    """The page with Prometheus' content type and a length that fits; a query changes nothing."""
    status, headers, body = get(server, "/metrics?name[]=x")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert int(headers["content-length"]) == len(body)
    assert b"driftline_build_info{" in body


def test_head_has_no_body(server: http.HttpServer) -> None:
    """HEAD tells the length only."""
    status, headers, body = get(server, "/metrics", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 1_000


@pytest.mark.parametrize(("path", "no"), [("/live", b"stalled\n"), ("/ready", b"not ready\n")])
def test_health(server: http.HttpServer, health: Health, path: str, no: bytes) -> None:
    """200 or 503, and not a word about models."""
    assert get(server, path)[::2] == (200, b"ok\n")
    health.live = health.ready = lambda: False
    assert get(server, path)[::2] == (503, no)


def test_a_check_that_raises_is_no(server: http.HttpServer, health: Health) -> None:
    """A broken check must not look healthy, nor show its error."""
    health.live = lambda: 1 // 0 > 0
    assert get(server, "/live")[::2] == (503, b"stalled\n")


def test_failed_rendering_is_500_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without details: they are in the log."""
    metrics = Metrics()
    render = metrics.render
    monkeypatch.setattr(metrics, "render", lambda: 1 // 0)
    server = http.start(HttpSettings(port=0), metrics, lambda: True, lambda: True)
    try:
        status, _, body = get(server, "/metrics")
        assert (status, body) == (500, b"Internal Server Error\n")
        monkeypatch.setattr(metrics, "render", render)
        assert b"driftline_scrape_errors_total 1.0" in get(server, "/metrics")[2]
    finally:
        server.stop()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"])
def test_only_get_and_head(server: http.HttpServer, method: str) -> None:
    """Nothing here can be changed from outside."""
    status, headers, _ = get(server, "/metrics", method)
    assert status == 405
    assert headers["allow"] == "get, head"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"GET /metrics/../metrics HTTP/1.1\r\n\r\n", 404),
        (b"GET //metrics HTTP/1.1\r\n\r\n", 404),
        (b"GET / HTTP/1.1\r\n\r\n", 404),
        (b"GET http://x/metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics\r\n\r\n", 400),
        (b"GET /metrics HTTP/3\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET  /metrics HTTP/1.1\r\n\r\n", 400),
        (b"GET /metrics HTTP/1.1\r\nX: " + b"a" * 9_000 + b"\r\n\r\n", 431),
        (b"a" * 9_000, 431),
    ],
)
def test_refusals(server: http.HttpServer, raw: bytes, status: int) -> None:
    """What is no simple request gets its status, and the server goes on."""
    assert ask(server, raw).startswith(b"HTTP/1.1 %d " % status)
    assert get(server, "/live")[0] == 200


def test_slow_request_ends_at_its_deadline(server: http.HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then does not renew the deadline."""
    monkeypatch.setattr(http, "REQUEST_SECONDS_MAX", 0.4)
    start = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
        answer = b""
        connection.settimeout(0.1)
        while not answer and time.monotonic() - start < 4:
            try:
                connection.sendall(b"G")
                answer = connection.recv(1_000)
            except TimeoutError:
                continue
            except OSError:
                break
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - start < 3


def test_a_full_house_answers_nobody_and_recovers(server: http.HttpServer) -> None:
    """Beyond CONNECTIONS_MAX a connection is closed at once; when the others leave, there is room again."""
    idle = [
        socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(http.CONNECTIONS_MAX)
    ]
    try:
        deadline = time.monotonic() + 3
        while server._slots.acquire(blocking=False):  # all accepted?
            server._slots.release()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as late:
            assert late.recv(10) == b""
    finally:
        for connection in idle:
            connection.close()
    deadline = time.monotonic() + 5
    while True:
        try:
            assert get(server, "/live")[0] == 200
            break
        except (OSError, IndexError, ValueError):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_taken_port_is_the_operators(server: http.HttpServer) -> None:
    """The message names the address and what to change."""
    with pytest.raises(OperatorError, match=rf"127\.0\.0\.1:{server.port}.*http\.port"):
        http.start(HttpSettings(port=server.port), Metrics(), lambda: True, lambda: True)


# --- TLS and the token --------------------------------------------------------------------------------------


@pytest.fixture
def guarded(tmp_path: Path) -> HttpSettings:
    """Settings with a certificate and a token."""
    pair = Authority(tmp_path, "house").issue("metrics", san="IP:127.0.0.1")
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    return HttpSettings(port=0, tls_certfile=pair.cert, tls_keyfile=pair.key, token_file=token)


def ask_tls(server: http.HttpServer, settings: HttpSettings, raw: bytes) -> bytes:
    """As ``ask``, over TLS; the end of the answer has to be said in TLS too."""
    assert settings.tls_certfile is not None
    context = ssl.create_default_context(cafile=str(settings.tls_certfile.parent / "ca.pem"))
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection,
        context.wrap_socket(connection, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall(raw)
        answer = b""
        while piece := secured.recv(65_536):
            answer += piece
    return answer


def test_metrics_ask_for_the_token_and_health_does_not(guarded: HttpSettings) -> None:
    """Right token: the page. None, another, one in the query: 401. Probes have no token."""
    server = http.start(guarded, Metrics(), lambda: True, lambda: True)
    try:
        for head, status in (
            (b"GET /metrics HTTP/1.1\r\nauthorization: bearer  s3cret \r\n", b"200"),
            (b"GET /metrics HTTP/1.1\r\n", b"401"),
            (b"GET /metrics?s3cret HTTP/1.1\r\nAuthorization: Bearer s3cre\r\n", b"401"),
            (b"GET /metrics HTTP/1.1\r\nAuthorization: Bearer s3cret\xff\r\n", b"401"),
            (b"GET /metrics HTTP/1.1\r\nAuthorization: Basic s3cret\r\n", b"401"),
            (b"POST /metrics HTTP/1.1\r\nAuthorization: Bearer s3cret\r\n", b"405"),
            (b"GET /live HTTP/1.1\r\n", b"200"),
            (b"GET /ready HTTP/1.1\r\n", b"200"),
        ):
            assert ask_tls(server, guarded, head + b"\r\n").split()[1] == status, head
        answer = b""
        with contextlib.suppress(OSError):
            answer = ask(server, b"GET /live HTTP/1.1\r\n\r\n")
        assert not answer.startswith(b"HTTP")  # an alert of TLS, a reset, or nothing
    finally:
        server.stop()


def test_a_new_token_and_certificate_are_used(guarded: HttpSettings, tmp_path: Path) -> None:
    """Without a restart; while there is no token nobody gets in."""
    assert guarded.tls_certfile is not None
    assert guarded.tls_keyfile is not None
    assert guarded.token_file is not None
    server = http.start(guarded, Metrics(), lambda: True, lambda: True)
    old, new = (b"GET /metrics HTTP/1.1\r\nAuthorization: Bearer %s\r\n\r\n" % t for t in (b"s3cret", b"n3w"))
    try:
        assert ask_tls(server, guarded, old).split()[1] == b"200"
        guarded.token_file.write_text("n3w")
        other = Authority(tmp_path / "later", "house")
        Pair(guarded.tls_certfile, guarded.tls_keyfile).replace(other.issue("metrics", san="IP:127.0.0.1"))
        (guarded.tls_certfile.parent / "ca.pem").write_text(other.cert.read_text())
        assert ask_tls(server, guarded, old).split()[1] == b"401"
        assert ask_tls(server, guarded, new).split()[1] == b"200"
        guarded.token_file.unlink()
        assert ask_tls(server, guarded, new).split()[1] == b"401"
    finally:
        server.stop()


def test_a_handshake_that_does_not_come_frees_its_place(
    guarded: HttpSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many silent connections as there are places: after the deadline the next one is served."""
    monkeypatch.setattr(http, "REQUEST_SECONDS_MAX", 0.3)
    server = http.start(guarded, Metrics(), lambda: True, lambda: True)
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(http.CONNECTIONS_MAX)]
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                assert ask_tls(server, guarded, b"GET /live HTTP/1.1\r\n\r\n").split()[1] == b"200"
                break
            except OSError:
                assert time.monotonic() < deadline
    finally:
        for connection in idle:
            connection.close()
        server.stop()


@pytest.mark.parametrize("missing", ["tls_keyfile", "token_file"])
def test_files_that_are_not_there_stop_the_start(guarded: HttpSettings, missing: str) -> None:
    """The key is named, and the port is free again."""
    getattr(guarded, missing).unlink()
    with pytest.raises(OperatorError, match=f"http.*{missing}"):
        http.start(guarded, Metrics(), lambda: True, lambda: True)


def test_stop_frees_the_port() -> None:
    """A second server can take the port at once."""
    first = http.start(HttpSettings(port=0), Metrics(), lambda: True, lambda: True)
    first.stop()
    second = http.start(HttpSettings(port=first.port), Metrics(), lambda: True, lambda: True)
    assert get(second, "/live")[0] == 200
    second.stop()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", first.port), timeout=1)
