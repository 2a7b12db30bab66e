"""Slack's incoming webhooks, and what imitates them (Mattermost, Rocket.Chat). Pure.

Names come from events, so from strangers. All of them stand in ``plain_text`` objects, which know neither
mentions nor formatting; the fallback text switches formatting off and escapes what could be a mention.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from driftline.publish.notify.notice import Notice, Request, ToldOnce, body
from driftline.publish.text import printable

TEXT_CHARS_MAX: Final = 3_000  # Slack's own limit of a text object
NAME_CHARS_MAX: Final = 140
_ENTITY_BEGUN: Final = re.compile(r"&[a-z]{0,3}\Z")
_LINK: Final = re.compile(r"https?://[^\s<>|\"&]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Slack(ToldOnce):
    """A channel behind an incoming webhook; the URL is its password."""

    url: str

    def tell(self, notice: Notice, known: Mapping[str, Any] | None, now: float) -> Request:
        """The message."""
        del known, now
        return Request(self.url, {"Content-Type": "application/json; charset=utf-8"}, body(message(notice)))


def message(notice: Notice) -> dict[str, Any]:
    """The blocks of a message: what happened, then by what and since when."""
    head = f"{notice.severity} {notice.event}".upper()
    said = escape(notice.summary)
    facts = [
        f"{notice.model} · {printable(notice.signal, NAME_CHARS_MAX)}",
        notice.time,
        f"alert {notice.id}",
    ]
    elements = [_plain(fact) for fact in facts]
    if _LINK.fullmatch(notice.runbook):
        elements.append({"type": "mrkdwn", "text": f"<{notice.runbook}|Runbook>"})
    return {
        "text": _cut(f"{head}: {said}"),  # of the notification, and where blocks are not known
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [
            {"type": "section", "text": _plain(f"{head}: {notice.summary}")},
            {"type": "context", "elements": elements},
        ],
    }


def escape(text: str) -> str:
    """``text`` without a mention, a link or an entity in it: Slack reads them between < and >, and after &.

    >>> escape('<!channel> & <https://example.org|click>')
    '&lt;!channel&gt; &amp; &lt;https://example.org|click&gt;'
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": _cut(escape(text)), "emoji": False}


def _cut(escaped: str) -> str:
    """Not longer than Slack takes, and no entity cut in two."""
    return escaped if len(escaped) <= TEXT_CHARS_MAX else _ENTITY_BEGUN.sub("", escaped[:TEXT_CHARS_MAX])
