"""The history as it grows, and the viewers who are told when it changes.

Owns: the fold of the output topics, a version that counts its changes, and the bounded set of viewers. A
viewer holds a flag, never a backlog: however slow it is, it costs no memory. Must not know: HTTP, Kafka.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, Final

from driftline.publish.history import Bounds, History

VIEWERS_MAX: Final = 200  # each has an open connection; a team's screens are a few dozen
PAUSE_SECONDS: Final = 2.0  # between two notices to a viewer: faster than anybody reads, cheap for us
HEARTBEAT_SECONDS: Final = 15.0  # below the idle timeouts of the usual proxies


class FullError(Exception):
    """VIEWERS_MAX viewers are there already."""


class Live:
    """See the module docstring. To be used in one event loop."""

    def __init__(self, bounds: Bounds | None = None, viewers_max: int = VIEWERS_MAX) -> None:
        self._bounds = bounds
        self._viewers_max = viewers_max
        self._viewers: set[_Viewer] = set()
        self.version = 0
        self.ready = False  # the topics have been read to their ends once
        self.history = History(bounds)

    def begin_again(self) -> None:
        """Forget everything: the topics are about to be read from their beginning."""
        self.history, self.ready = History(self._bounds), False
        self.version += 1

    def take(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Fold records and tell the viewers of the models that changed."""
        changed = {model.name for data in records if (model := self.history.add(data)) is not None}
        if changed:
            self.version += 1
            self._tell(changed)

    def caught_up(self) -> None:
        """The topics have been read to their ends."""
        self.ready = True
        self.version += 1
        self._tell(None)

    def _tell(self, models: set[str] | None) -> None:
        for viewer in self._viewers:
            if models is None or viewer.model is None or viewer.model in models:
                viewer.changed.set()

    @property
    def viewers(self) -> int:
        """How many there are."""
        return len(self._viewers)

    async def watch(self, model: str | None, pause: float = PAUSE_SECONDS) -> AsyncGenerator[bool, None]:
        """True when something changed (of one model, or at all), at most once in ``pause`` seconds.

        False when nothing did for HEARTBEAT_SECONDS.

        Raises:
            FullError: there are too many viewers.
        """
        if len(self._viewers) >= self._viewers_max:
            raise FullError
        viewer = _Viewer(model)
        self._viewers.add(viewer)
        try:
            yield False  # the connection stands
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_SECONDS):
                        await viewer.changed.wait()
                except TimeoutError:
                    yield False
                    continue
                viewer.changed.clear()
                yield True
                await asyncio.sleep(pause)
        finally:
            self._viewers.discard(viewer)


class _Viewer:
    def __init__(self, model: str | None) -> None:
        self.model = model
        self.changed = asyncio.Event()
