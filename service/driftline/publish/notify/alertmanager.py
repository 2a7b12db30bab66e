"""Alertmanager's API v2: an alert is posted again and again while it is open, and once with its end. Pure.

Alertmanager knows an alert by its labels and takes it for resolved when ``endsAt`` has passed without
another post: after a crash of ours alerts end by themselves, and come back with the next reminder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from driftline.publish.notify.notice import Notice, Request, body
from driftline.publish.notify.webhook import authorization
from driftline.publish.text import printable, rfc3339

ALERT_NAME: Final = "DriftlineEpisode"
MISSED_MAX: Final = 4  # reminders that may be lost before Alertmanager takes an alert for resolved
POSTED_MAX: Final = 64  # alerts a request; about 64 KB
LABEL_CHARS_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One Alertmanager; ``url`` is that of ``/api/v2/alerts``."""

    url: str
    resend_seconds: float = 60.0
    token: str | None = None

    @property
    def keeps_open(self) -> bool:
        """What is not said again has ended for it."""
        return True

    def tell(self, notice: Notice, known: Mapping[str, Any] | None, now: float) -> Request:
        """The alert as open or ended; what it was under other labels (another severity) ends too."""
        own = self.remember(notice)
        before = dict(known) if known is not None else own
        if notice.event == "resolved" or notice.muted:
            return self._post([_until(before, now)])
        posted = [_until(own, now + MISSED_MAX * self.resend_seconds)]
        if before["labels"] != own["labels"]:
            posted.append(_until(before, now))
        return self._post(posted)

    def remember(self, notice: Notice) -> dict[str, Any]:
        """The alert without its end."""
        annotations = {"summary": notice.summary, "alert_id": notice.id}
        if notice.runbook.startswith(("http://", "https://")):
            annotations["runbook_url"] = printable(notice.runbook, LABEL_CHARS_MAX)
        return {
            "labels": {
                "alertname": ALERT_NAME,
                "model": notice.model,
                "signal": printable(notice.signal, LABEL_CHARS_MAX),
                "severity": notice.severity,
            },
            "annotations": annotations,
            "startsAt": notice.opened_at,
        }

    def remind(self, known: list[Mapping[str, Any]], now: float) -> list[Request]:
        """All open alerts, some at a time."""
        end = now + MISSED_MAX * self.resend_seconds
        return [
            self._post([_until(one, end) for one in known[at : at + POSTED_MAX]])
            for at in range(0, len(known), POSTED_MAX)
        ]

    def _post(self, alerts: Sequence[Mapping[str, Any]]) -> Request:
        headers = {"Content-Type": "application/json"} | authorization(self.token)
        return Request(self.url, headers, body(list(alerts)))


def _until(alert: Mapping[str, Any], end: float) -> dict[str, Any]:
    """The alert with its end (Unix seconds); one that would begin after it is refused, and clocks differ."""
    starts = datetime.fromisoformat(str(alert["startsAt"])).timestamp()
    return {**alert, "startsAt": rfc3339(int(min(starts, end) * 1000)), "endsAt": rfc3339(int(end * 1000))}
