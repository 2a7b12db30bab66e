"""What a target was told of a signal: ids that need no second telling, and the episode it knows to be open.

Pure. One record of the topic ``notified`` a target and signal, keyed so that compaction keeps the newest; it
is written after the target's answer and before the position is committed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from driftline.publish.notify.notice import Notice, body

IDS_MAX: Final = 256  # remembered a signal; a signal that alerts every hour of a week has 168 openings


@dataclass(frozen=True, slots=True)
class Open:
    """An episode that the target was told of and not yet the end of; ``known`` is its channel's."""

    episode: int
    known: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """What one target knows of one signal; ``ids`` of alerts with when they were written, Unix ms."""

    ids: tuple[tuple[str, int], ...] = ()
    open: Open | None = None

    def handled(self, alert_id: str) -> bool:
        """Whether the alert was delivered or given up."""
        return any(alert_id == known for known, _ in self.ids)

    @property
    def empty(self) -> bool:
        """Whether nothing has to be kept."""
        return not self.ids and self.open is None


def after(
    told: Told,
    notice: Notice,
    written_ms: int,
    known: Mapping[str, Any],
    *,
    delivered: bool,
    retention_ms: int,
) -> Told:
    """What the target knows when an alert was delivered, or given up.

    Ids older than the retention of the alerts are forgotten: their alerts cannot be read again.
    """
    ids = tuple(
        (one, at) for one, at in (*told.ids, (notice.id, written_ms)) if at > written_ms - retention_ms
    )
    if notice.event == "resolved" or notice.muted:
        opened = None
    else:
        opened = Open(notice.episode, known) if delivered else told.open
    return replace(told, ids=ids[-IDS_MAX:], open=opened)


def key(target: str, signal_key: bytes) -> bytes:
    """Key of a record: the target, "/", the key that the signal's alerts have."""
    return target.encode("ascii") + b"/" + signal_key


def encode(told: Told) -> bytes | None:
    """Value of a record; None, a tombstone, when nothing has to be kept."""
    if told.empty:
        return None
    opened = None if told.open is None else {"episode": told.open.episode, "known": dict(told.open.known)}
    return body({"ids": [list(one) for one in told.ids], "open": opened})


def decode(value: bytes | None) -> Told | None:
    """What a record says; None when it cannot be read (then an alert may be told twice, but none is lost)."""
    if value is None:
        return Told()
    try:
        data = json.loads(value)
        opened = data["open"]
        return Told(
            tuple((str(one), int(at)) for one, at in data["ids"]),
            None if opened is None else Open(int(opened["episode"]), dict(opened["known"])),
        )
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
