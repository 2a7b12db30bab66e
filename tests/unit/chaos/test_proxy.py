"""What the proxy does to a connection is what it says, and nothing else; on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from chaos.proxy import BOTH, Proxy, Trap
from chaos.wire import END_TXN
from harness.workers import free_port
from unit.chaos.test_wire import frame

SHORT = 0.3  # seconds in which something must not arrive


@dataclass
class Pair:
    """A client through the proxy, and what the echoing server received."""

    proxy: Proxy
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytearray

    async def echo(self, data: bytes) -> bytes:
        """Send, and read as much back."""
        self.writer.write(data)
        return await asyncio.wait_for(self.reader.readexactly(len(data)), 5)

    async def again(self) -> None:
        """Give the connection up and make a new one."""
        self.writer.transport.abort()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.proxy.port)

    async def silent(self, seconds: float = SHORT) -> bool:
        """Whether nothing arrives for a while."""
        with contextlib.suppress(TimeoutError):
            return not await asyncio.wait_for(self.reader.read(1), seconds)
        return True


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """A server that echoes, a proxy before it, and a client of the proxy."""
    received = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                received.extend(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with Proxy(free_port(), server.sockets[0].getsockname()[1]) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            made = Pair(proxy, reader, writer, received)
            assert await made.echo(b"hello") == b"hello"
            yield made
            writer.transport.abort()
    finally:
        server.close()


def on_sockets(test: Callable[[Pair], Awaitable[None]]) -> None:
    """Run a test with a connection."""

    async def run() -> None:
        async with pair() as made:
            await test(made)

    asyncio.run(run())


def test_it_carries_everything_in_order() -> None:
    """Without a fault, megabytes arrive as they were sent."""

    async def test(made: Pair) -> None:
        data = random.Random(1).randbytes(2 << 20)
        assert await made.echo(data) == data

    on_sockets(test)


def test_reset() -> None:
    """A reset ends the connection with an error at the client, and a new one works."""

    async def test(made: Pair) -> None:
        made.proxy.reset(made.proxy.links)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(made.reader.read(1), 5)
        await made.again()
        assert await made.echo(b"again") == b"again"

    on_sockets(test)


def test_delay_and_its_end() -> None:
    """Each way takes the delay while it lasts, and no time afterwards."""

    async def test(made: Pair) -> None:
        made.proxy.slow(set(made.proxy.links), 0.2, 0.6)
        began = time.monotonic()
        assert await made.echo(b"slow") == b"slow"
        assert time.monotonic() - began >= 0.4
        await asyncio.sleep(0.7)
        assert [link.delay for link in made.proxy.links] == [0.0]

    on_sockets(test)


def test_a_black_hole_that_heals() -> None:
    """Nothing arrives on either side while it lasts, everything in order afterwards."""

    async def test(made: Pair) -> None:
        made.proxy.hole(set(made.proxy.links), BOTH, 2 * SHORT, reset=False)
        made.writer.write(b"lost?")
        assert await made.silent()
        assert bytes(made.received) == b"hello"
        assert await asyncio.wait_for(made.reader.readexactly(5), 5) == b"lost?"

    on_sockets(test)


def test_a_black_hole_for_answers() -> None:
    """The server gets the request, the client no answer."""

    async def test(made: Pair) -> None:
        made.proxy.hole(set(made.proxy.links), ("answers",), 2 * SHORT, reset=False)
        made.writer.write(b"heard")
        assert await made.silent()
        assert bytes(made.received) == b"helloheard"

    on_sockets(test)


def test_a_black_hole_that_ends_in_a_reset() -> None:
    """What was held back is gone, and the client is told."""

    async def test(made: Pair) -> None:
        made.proxy.hole(set(made.proxy.links), BOTH, SHORT, reset=True)
        made.writer.write(b"lost!")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(made.reader.read(1), 5)
        assert bytes(made.received) == b"hello"

    on_sockets(test)


def test_new_connections_fall_into_a_hole_of_everything() -> None:
    """A hole of all connections swallows those made meanwhile, too; it heals for them as well."""

    async def test(made: Pair) -> None:
        made.proxy.hole(set(made.proxy.links), BOTH, 2 * SHORT, reset=False)
        await made.again()
        made.writer.write(b"knock")
        assert await made.silent()
        assert await asyncio.wait_for(made.reader.readexactly(5), 5) == b"knock"

    on_sockets(test)


@pytest.mark.parametrize(("before", "arrives"), [(True, False), (False, True)])
def test_traps(before: bool, arrives: bool) -> None:
    """A trap strikes the sender before the request is delivered, or before its answer is."""
    struck: list[int] = []
    request = frame(END_TXN, b"\0\0app-0")

    async def test(made: Pair) -> None:
        await made.again()  # frames only from its first byte on
        assert await made.echo(frame(3, b"other")) == frame(3, b"other")
        made.proxy.trap = trap = Trap(
            lambda head: head.api == END_TXN and b"app-" in head.data,
            lambda port: not struck.append(port),  # type: ignore[func-returns-value]
            before,
        )
        made.writer.write(request)
        await asyncio.wait_for(trap.sprung.wait(), 5)
        assert struck == [made.writer.get_extra_info("sockname")[1]]
        assert await made.silent()
        assert made.received.endswith(request) == arrives
        assert made.proxy.trap is None

    on_sockets(test)


def test_a_trap_that_hits_nobody_stays_set() -> None:
    """A request of somebody else passes, with its answer."""
    request = frame(END_TXN, b"\0\0app-0")

    async def test(made: Pair) -> None:
        await made.again()
        made.proxy.trap = trap = Trap(lambda head: head.api == END_TXN, lambda port: False, before=False)
        assert await made.echo(request) == request
        assert made.proxy.trap is trap

    on_sockets(test)


def test_without_a_broker_connections_are_refused() -> None:
    """While the broker is away, a client of the proxy learns that at once."""

    async def run() -> None:
        async with Proxy(free_port(), free_port()) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(1), 5) == b""
            writer.close()
            assert not proxy.links

    asyncio.run(run())
