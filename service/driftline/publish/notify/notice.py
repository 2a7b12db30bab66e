"""An alert as its topic has it, read with suspicion, and a request that tells a target of it.

Pure. What a target is sent is built from ``Notice`` alone; a text of it may say anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from driftline.config.notify import EventName
from driftline.publish.text import printable
from driftline.records import MODEL_ID_PATTERN, SEVERITIES, Severity

EVENTS: Final[Mapping[str, EventName]] = {
    "driftline.alert.opened": "opened",
    "driftline.alert.updated": "updated",
    "driftline.alert.resolved": "resolved",
}
SUMMARY_CHARS_MAX: Final = 2_000  # a summary has about 200; Slack takes 3,000, and escapes make it longer
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_MODEL: Final = re.compile(MODEL_ID_PATTERN.removesuffix("$") + r"\Z", re.ASCII)
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert. ``id``, ``model``, ``time`` and ``opened_at`` are checked: they are safe in a header."""

    id: str
    type: str
    event: EventName
    time: str
    model: str
    signal: str
    severity: Severity
    episode: int
    opened_at: str
    summary: str
    runbook: str
    muted: bool
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One POST; ``headers`` hold visible ASCII only."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Channel(Protocol):
    """How a kind of target is told of an alert."""

    @property
    def keeps_open(self) -> bool:
        """Whether the target has to be reminded of open episodes, and what it knows ended when muted."""
        ...

    def tell(self, notice: Notice, known: Mapping[str, Any] | None, now: float) -> Request:
        """The request for a notice.

        Args:
            notice: what happened.
            known: what ``remember`` made of the notice that this episode was last told by.
            now: Unix seconds.
        """
        ...

    def remember(self, notice: Notice) -> dict[str, Any]:
        """What has to be known of an open episode to remind the target of it and to end it; JSON-ready."""
        ...

    def remind(self, known: list[Mapping[str, Any]], now: float) -> list[Request]:
        """Requests that say again that episodes are open; none where ``keeps_open`` is false."""
        ...


class ToldOnce:
    """The part of a ``Channel`` whose target needs no reminder."""

    __slots__ = ()

    @property
    def keeps_open(self) -> bool:
        """It is told once."""
        return False

    def remember(self, notice: Notice) -> dict[str, Any]:
        """Nothing has to be said again."""
        del notice
        return {}

    def remind(self, known: list[Mapping[str, Any]], now: float) -> list[Request]:
        """It is told once."""
        del known, now
        return []


def read(value: bytes | None) -> Notice | None:
    """The alert in a record's value; None when it is no alert as ``schemas/alert.v1.json`` has it."""
    try:
        data = json.loads(value or b"null", parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return from_data(data) if isinstance(data, dict) else None


def from_data(data: Mapping[str, Any]) -> Notice | None:
    """The alert in parsed data; None when a field that is needed is not what the schema says."""
    text = {
        key: data.get(key)
        for key in ("id", "type", "time", "model", "signal", "severity", "opened_at", "summary")
    }
    episode = data.get("episode")
    if not all(isinstance(value, str) for value in text.values()) or not isinstance(episode, int):
        return None
    known = {key: str(value) for key, value in text.items()}
    severity = next((s for s in SEVERITIES if s == known["severity"]), None)
    event = EVENTS.get(known["type"])
    checked = (
        _ID.fullmatch(known["id"])
        and _MODEL.match(known["model"])
        and _TIME.fullmatch(known["time"])
        and _TIME.fullmatch(known["opened_at"])
    )
    if event is None or severity is None or not checked:
        return None
    runbook = data.get("runbook")
    return Notice(
        id=known["id"],
        type=known["type"],
        event=event,
        time=known["time"],
        model=known["model"],
        signal=known["signal"],
        severity=severity,
        episode=episode,
        opened_at=known["opened_at"],
        summary=printable(known["summary"], SUMMARY_CHARS_MAX),
        runbook=runbook if isinstance(runbook, str) else "",
        muted=data.get("muted") is True,
        data=data,
    )


def body(data: Mapping[str, Any] | list[Any]) -> bytes:
    """JSON in ASCII: half a surrogate pair cannot stop it, and no proxy has an opinion on its bytes."""
    return json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def _refuse(token: str) -> Any:
    raise ValueError(token)  # NaN and infinities are no JSON
