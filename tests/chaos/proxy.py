"""A TCP proxy on loopback between workers and broker that resets, delays and black-holes connections.

Owns the connections through it and what they suffer. It never changes, drops or reorders bytes within a
connection that lives: a black hole holds them back, as TCP does when packets are lost, and then either
delivers or resets. It also sees requests go by, so that a worker can be killed at a known point of the
protocol (``Trap``). Knows no worker: a connection is known by the port it came from.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Self

from chaos.wire import FrameScanner, Head

CHUNK_BYTES: Final = 64 << 10
CHUNKS_MAX: Final = 64  # under way in one direction of a connection: 4 MiB, then the sender has to wait
CONNECT_SECONDS_MAX: Final = 5.0
RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER without waiting: close() sends RST, not FIN

Direction = Literal["requests", "answers"]
BOTH: Final[tuple[Direction, ...]] = ("requests", "answers")


@dataclass(frozen=True, slots=True)
class Trap:
    """What to do when a request is seen: ``strike`` gets the port of the client that sent it.

    ``before``: it strikes before the broker gets the request, which then never arrives. Otherwise the
    request is delivered, but its answer is not.
    """

    wanted: Callable[[Head], bool]
    strike: Callable[[int], bool]  # whether it hit; the trap stays set otherwise
    before: bool
    sprung: asyncio.Event = field(default_factory=asyncio.Event)


class Link:
    """One connection through the proxy."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        broker: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._client, self._broker = client, broker
        self._scanner = FrameScanner()
        self.port = int(client[1].get_extra_info("peername")[1])
        self._tasks: list[asyncio.Task[None]] = []
        self.open: dict[Direction, asyncio.Event] = {way: asyncio.Event() for way in BOTH}
        self.delay = 0.0
        for gate in self.open.values():
            gate.set()

    async def run(self) -> None:
        """Until one side closes or the link is reset."""
        self._tasks = [
            asyncio.create_task(self._carry("requests", self._client[0], self._broker[1])),
            asyncio.create_task(self._carry("answers", self._broker[0], self._client[1])),
        ]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.reset()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(
        self, way: Direction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_MAX)
        delivering = asyncio.create_task(self._deliver(way, under_way, writer))
        try:
            while not delivering.done():
                data = await reader.read(CHUNK_BYTES)
                await under_way.put((asyncio.get_running_loop().time() + self.delay, data))
                if not data:
                    await delivering
        except OSError:
            pass  # one side is gone: the link ends
        finally:
            delivering.cancel()
            await asyncio.gather(delivering, return_exceptions=True)

    async def _deliver(
        self, way: Direction, under_way: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await under_way.get()
            await asyncio.sleep(max(0.0, due - clock()))
            await self.open[way].wait()
            if not data:
                return
            trap = self._sprung(data) if way == "requests" else None
            if trap is not None and trap.before and self._proxy.strike(trap, self.port):
                return
            if trap is not None and not trap.before:
                self.open["answers"].clear()
            writer.write(data)
            await writer.drain()
            if trap is not None and not trap.before and not self._proxy.strike(trap, self.port):
                self.open["answers"].set()

    def _sprung(self, data: bytes) -> Trap | None:
        trap = self._proxy.trap
        heads = self._scanner.feed(data)
        return trap if trap is not None and any(trap.wanted(head) for head in heads) else None

    def reset(self) -> None:
        """End both sides at once; each sees its connection reset."""
        for _, writer in (self._client, self._broker):
            sock = writer.get_extra_info("socket")
            if sock is not None and not writer.transport.is_closing():
                with contextlib.suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()
        for task in self._tasks:  # one may wait for the end of a black hole
            task.cancel()


class Proxy:
    """Listens at ``port`` for workers and connects to the broker at ``target``; both on loopback."""

    def __init__(self, port: int, target: int) -> None:
        self.port, self._target = port, target
        self.trap: Trap | None = None
        self.links: set[Link] = set()
        self._blocked: tuple[Direction, ...] = ()  # for connections made during a black hole of everything
        self._delay = 0.0
        self._healing: set[asyncio.Task[None]] = set()
        self._serving: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._healing:
            task.cancel()
        self.reset(self.links)
        await asyncio.gather(*self._healing, *self._serving, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS_MAX):
                broker = await asyncio.open_connection("127.0.0.1", self._target)
        except (OSError, TimeoutError):
            writer.transport.abort()  # as if nobody listened
            return
        link = Link(self, (reader, writer), broker)
        link.delay = self._delay
        for way in self._blocked:
            link.open[way].clear()
        self.links.add(link)
        try:
            await link.run()
        finally:
            self.links.discard(link)

    def strike(self, trap: Trap, port: int) -> bool:
        """Spring a trap that was seen to be wanted, if it is still set; whether it hit."""
        if self.trap is not trap or not trap.strike(port):
            return False
        self.trap = None
        trap.sprung.set()
        return True

    def some(self, dice: random.Random) -> set[Link]:
        """All connections, or each with a chance of one half."""
        ordered = sorted(self.links, key=lambda link: link.port)
        return set(ordered) if dice.random() < 0.5 else {link for link in ordered if dice.random() < 0.5}

    def reset(self, links: set[Link]) -> None:
        """Reset these connections."""
        for link in list(links):
            link.reset()

    def slow(self, links: set[Link], delay: float, seconds: float) -> None:
        """Every byte of these connections arrives ``delay`` seconds later, for ``seconds``."""
        everything = links == self.links
        if everything:
            self._delay = delay
        for link in links:
            link.delay = delay

        def heal() -> None:
            if everything:
                self._delay = 0.0
            for link in links | (self.links if everything else set()):
                link.delay = 0.0

        self._after(seconds, heal)

    def hole(self, links: set[Link], ways: tuple[Direction, ...], seconds: float, *, reset: bool) -> None:
        """Hold back what goes these ways on these connections; then deliver it, or reset them."""
        everything = links == self.links
        if everything:
            self._blocked = ways
        for link in links:
            for way in ways:
                link.open[way].clear()

        def heal() -> None:
            healed = links | (self.links if everything else set())
            if everything:
                self._blocked = ()
            if reset:
                self.reset(healed)
            for link in healed:
                for gate in link.open.values():
                    gate.set()

        self._after(seconds, heal)

    def _after(self, seconds: float, step: Callable[[], None]) -> None:
        async def wait() -> None:
            await asyncio.sleep(seconds)
            step()

        task = asyncio.create_task(wait())
        self._healing.add(task)
        task.add_done_callback(self._healing.discard)
