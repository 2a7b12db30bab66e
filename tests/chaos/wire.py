"""Kafka's request framing, as far as the proxy needs it: which request begins here, and what does it name.

Pure. A request is a four-byte length and then a header that begins with the api key; what else is asked is
whether some name (a topic, a group, a transactional id) stands near its beginning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PRODUCE: Final = 0
OFFSET_COMMIT: Final = 8
END_TXN: Final = 26
HEAD_BYTES: Final = 512  # group, transactional id and the first topic of a request stand within


@dataclass(frozen=True, slots=True)
class Head:
    """How a request begins: its api key and up to ``HEAD_BYTES`` bytes of it."""

    api: int
    data: bytes


class FrameScanner:
    """Finds the requests in the bytes of one connection, however these are cut."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._left = 0  # bytes of the current frame that are still to come; 0 while its length is read

    def feed(self, data: bytes) -> list[Head]:
        """The heads that became complete with ``data``."""
        found = []
        at = 0
        while at < len(data):
            if self._left == 0:
                taken = data[at : at + 4 - len(self._head)]
                self._head += taken
                at += len(taken)
                if len(self._head) < 4:
                    break
                self._left = int.from_bytes(self._head, "big")
                self._wanted = min(self._left, HEAD_BYTES)
                self._head.clear()
                continue
            step = min(self._left, len(data) - at)
            missing = self._wanted - len(self._head)
            if missing > 0:
                self._head += data[at : at + min(step, missing)]
                if len(self._head) == self._wanted:
                    found.append(Head(int.from_bytes(self._head[:2], "big"), bytes(self._head)))
            at += step
            self._left -= step
            if self._left == 0:
                self._head.clear()
        return found
