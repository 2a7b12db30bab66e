"""Hostile input to the running product: records, batches, HTTP requests; and what must not come of them.

Records are written by ``producer``, who may write events: the last line of defence is the service itself. It
must stay up, stay small, reject with a reason, and let nothing of it reach logs, metrics or alerts unescaped.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from driftline.config import load_settings
from driftline.errors import MessageError, OperatorError
from driftline.ingest import envelope
from harness.workers import usage_of
from security.attempts import Attempt
from security.matrix import certificate
from security.product import ESCAPE_CITY, MODEL, RAW, Product
from security.wire import Wire, batch

BOMB_BYTES: Final = 256 << 20  # four times what a batch may hold
CODECS: Final = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
GROWTH_BYTES_MAX: Final = 200 << 20  # a batch of 64 MiB, a copy, and what the allocator keeps
ROWS_BOMB: Final = 1_000_001
ESCAPE: Final = ESCAPE_CITY
ESCAPE_NAME: Final = "]0;owned"  # what is left of it when it is shown
HTTP_SECONDS: Final = 10.0


class Mine:
    """An object whose unpickling leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._marker,)


def records(marker: Path) -> dict[str, bytes]:
    """Hostile events by what they are; none may be accepted."""
    nested = b'{"model":"credit","features":{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}}"
    return {
        "2 MiB record": json.dumps({"model": MODEL, "features": {"a": "x" * (2 << 20)}}).encode(),
        "JSON 50,000 deep": nested,
        "JSON 9 deep": b'{"a":' * 9 + b"1" + b"}" * 9,
        "key given twice": b'{"model":"credit","model":"other","features":{"a":1}}',
        "no UTF-8": b'{"model":"credit","features":{"\xff\xfe":1}}',
        "cut off": b'{"model":"credit","features":{"a":1',
        "number as wide as a page": b'{"model":' + b"9" * 100_000 + b"}",
        "pickle": pickle.dumps(Mine(marker)),
        "YAML that makes an object": b"!!python/object/apply:pathlib.Path.touch [" + bytes(marker) + b"]",
        "model that climbs folders": b'{"model":"../../etc/passwd","features":{"a":1}}',
        "model with an escape sequence": json.dumps({"model": ESCAPE, "features": {"a": 1}}).encode(),
        "model that ends a log line": json.dumps(
            {"model": 'x"}\nlevel=error', "features": {"a": 1}}
        ).encode(),
        "model that ends a label": json.dumps({"model": 'm"} 1\nup 0', "features": {"a": 1}}).encode(),
        "model nobody named": b'{"model":"another","features":{"a":1}}',
        "time in the year 9999": b'{"model":"credit","time":"9999-01-01T00:00:00Z","features":{"a":1}}',
        "time before the flood": b'{"model":"credit","time":-99999999999999999,"features":{"a":1}}',
    }


def names() -> dict[str, bytes]:
    """Events with hostile feature names or values; the event may be accepted, its names must not get out."""
    hostile = [
        ESCAPE,
        "a\nb",
        'a"} 1\nup 0\n#',
        "\u202egnp.exe",
        "{{7*7}}${x}",
        "../../x",
        "a" * 5_000,
        "\ud800",
    ]
    return {
        f"feature {name[:12]!r}": json.dumps(
            {"model": MODEL, "features": {"amount": 0.1, name: 1.0}}
        ).encode()
        for name in hostile
    } | {
        f"value {name[:12]!r}": json.dumps(
            {"model": MODEL, "features": {"amount": 0.1, "city": name}}
        ).encode()
        for name in hostile
    }


async def hostile_records(product: Product, marker: Path) -> AsyncIterator[Attempt]:
    """Each hostile record; let in when it is not among the rejects, or when hostile names show anywhere."""
    bad, odd = records(marker), names()
    wire = await Wire.open(product.broker.address("mtls"), **certificate(product.broker, "producer"))
    before = product.accounted()
    offsets = {}
    try:
        for what, value in (bad | odd).items():
            code, offsets[what] = await wire.append(RAW, batch(value))
            assert code == 0, f"{what}: {code}"
    finally:
        wire.close()
    await product.until(
        "hostile records are accounted for", lambda: product.accounted() >= before + len(offsets)
    )
    rejected = await product.rejected_offsets()
    ran = await asyncio.to_thread(marker.exists)
    for what in bad:
        let_in = ran or offsets[what] not in rejected
        yield Attempt("hostile record", what, let_in, rejected.get(offsets[what], "accepted"))
    leak = leaks(product)
    for what in odd:
        yield Attempt("hostile name or value", what, bool(leak), leak)


def leaks(product: Product) -> str:
    """Where something unescaped got out; "" when nothing did."""
    shown = product.run("reader", "alerts", "list").stdout
    if ESCAPE_NAME not in shown or any(ord(c) < 32 and c != "\n" for c in shown):
        return f"alerts list: {shown!r}"
    text = product.written()
    if any(ord(c) < 32 and c != "\n" for c in text) or "\u202e" in text:
        return "control characters in a log"
    for line in text.splitlines():
        if not line.startswith("{") or not isinstance(json.loads(line), dict):
            return f"a log line of its own: {line[:80]!r}"
    for role, worker in product.workers.items():
        page = worker.http("/metrics")
        families = {family.name for family in text_string_to_metric_families(page)}
        strange = {f for f in families if not f.startswith(("driftline_", "process_", "python_"))}
        if strange or "\x1b" in page or "\u202e" in page:
            return f"{role} serves {strange or 'control characters'}"
    return ""


async def bombs(product: Product, *, short: bool = False) -> AsyncIterator[Attempt]:
    """Small batches that unpack to much; let in when the worker ends or grows. ``short``: Zstandard only."""
    worker = product.workers["ingest"]
    wire = await Wire.open(product.broker.address("mtls"), **certificate(product.broker, "producer"))
    try:
        for what, number in CODECS.items() if not short else [("zstd", CODECS["zstd"])]:
            size = BOMB_BYTES if what != "snappy" else BOMB_BYTES // 2
            made = await asyncio.to_thread(batch, bytes(size), compression=number)
            yield await _bomb(product, wire, f"{what}: {size >> 20} MiB in {len(made) >> 10} KiB", made)
        if not short:
            made = await asyncio.to_thread(batch, b"", key=None, compression=4, records=ROWS_BOMB)
            yield await _bomb(product, wire, f"zstd: {ROWS_BOMB:,} records in {len(made) >> 10} KiB", made)
    finally:
        wire.close()
    worker.check()


async def _bomb(product: Product, wire: Wire, what: str, made: bytes) -> Attempt:
    worker = product.workers["ingest"]
    before = product.counted("driftline_events_rejected_total", "too_large")
    rss = peak = usage_of(worker.process.pid).rss
    code = await wire.produce(RAW, made)
    if code:
        return Attempt("decompression bomb", what, let_in=False, answer=f"the broker refused it: {code}")

    def refused() -> bool:
        nonlocal peak
        peak = max(peak, usage_of(worker.process.pid).rss)
        return product.counted("driftline_events_rejected_total", "too_large") >= before + 1

    try:
        await product.until("a bomb is refused", refused)
    except (TimeoutError, RuntimeError) as error:
        return Attempt("decompression bomb", what, let_in=True, answer=str(error)[:200])
    grown = peak - rss
    return Attempt("decompression bomb", what, grown > GROWTH_BYTES_MAX, f"grew by {grown >> 20} MiB")


# --- HTTP ---------------------------------------------------------------------------------------------------


async def http(product: Product) -> AsyncIterator[Attempt]:
    """Requests that must not be answered with the metrics."""
    right = f"Authorization: Bearer {product.token}\r\n"
    attacks = {
        "no token": "GET /metrics HTTP/1.1\r\n\r\n",
        "wrong token": f"GET /metrics HTTP/1.1\r\nAuthorization: Bearer {product.token}x\r\n\r\n",
        "empty token": "GET /metrics HTTP/1.1\r\nAuthorization: Bearer \r\n\r\n",
        "token as basic": f"GET /metrics HTTP/1.1\r\nAuthorization: Basic {product.token}\r\n\r\n",
        "token in the query": f"GET /metrics?token={product.token} HTTP/1.1\r\n\r\n",
        "POST": f"POST /metrics HTTP/1.1\r\n{right}Content-Length: 3\r\n\r\nabc",
        "DELETE": f"DELETE /metrics HTTP/1.1\r\n{right}\r\n",
        "other path": f"GET /../metrics HTTP/1.1\r\n{right}\r\n",
        "file": f"GET /../../../../etc/passwd HTTP/1.1\r\n{right}\r\n",
        "header of 64 KiB": f"GET /metrics HTTP/1.1\r\n{right}X: {'x' * (64 << 10)}\r\n\r\n",
        "HTTP/0.9": "GET /metrics\r\n\r\n",
    }
    for what, raw in attacks.items():
        status = await asyncio.to_thread(_status, product, raw, tls=True)
        yield Attempt("HTTP", what, status == 200, f"status {status}")
    raw = f"GET /metrics HTTP/1.1\r\n{right}\r\n"
    status = await asyncio.to_thread(_status, product, raw, tls=False)
    yield Attempt("HTTP", "without TLS", status == 200, f"status {status}")


def opens(product: Product) -> list[str]:
    """What has to be answered and is not: the control of the above."""
    right = f"GET /metrics HTTP/1.1\r\nAuthorization: Bearer {product.token}\r\n\r\n"
    asked = {"/metrics with the token": right, "/live without one": "GET /live HTTP/1.1\r\n\r\n"}
    return [what for what, raw in asked.items() if _status(product, raw, tls=True) != 200]


def _status(product: Product, raw: str, *, tls: bool) -> int:
    """The status of an answer; 0 when the connection just ends."""
    worker = product.workers["ingest"]
    try:
        with socket.create_connection(("127.0.0.1", worker.port), timeout=HTTP_SECONDS) as connection:
            wrapped = (
                worker.context.wrap_socket(connection, server_hostname="127.0.0.1") if tls else connection
            )
            wrapped.sendall(raw.encode())
            answer = wrapped.recv(4_096)
    except (OSError, ssl.SSLError):
        return 0
    return int(answer.split()[1]) if answer.startswith(b"HTTP/") else 0


# --- files and envelopes ------------------------------------------------------------------------------------


def files(folder: Path, marker: Path) -> list[Attempt]:
    """Configuration files that make objects, and mailbox records that are bombs or programs."""
    found = []
    for what, text in {
        "YAML tag that calls": f"!!python/object/apply:pathlib.Path.touch [{marker}]",
        "YAML tag of a name": "models: !!python/name:os.system",
        "YAML tag below a key": f"models: {{m: !!python/object/new:pathlib.Path [{marker}]}}",
        "YAML that doubles thirty times": _laughs(30),
    }.items():
        file = folder / "hostile.yaml"
        file.write_text(text, encoding="utf-8")
        try:
            load_settings(file)
            found.append(Attempt("hostile file", what, let_in=True, answer="loaded"))
        except OperatorError as error:
            found.append(Attempt("hostile file", what, marker.exists(), str(error)[:80]))
    for what, value in {
        "pickle as an envelope": pickle.dumps(Mine(marker)),
        "zeros as an envelope": bytes(1 << 20),
    }.items():
        try:
            envelope.unpack(value)
            found.append(Attempt("hostile file", what, let_in=True, answer="unpacked"))
        except MessageError as error:
            found.append(Attempt("hostile file", what, marker.exists(), str(error)[:80]))
    return found


def _laughs(doublings: int) -> str:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, doublings)]
    return "\n".join(lines)
