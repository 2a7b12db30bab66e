"""Generic webhooks: a structured CloudEvent or the alert's data, signed as Standard Webhooks says. Pure.

https://www.standardwebhooks.com: the signature is over ``id.timestamp.body``, so that a request cannot be
changed, nor sent again later. The alert's id is the idempotency key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from driftline.publish.alerts import CONTENT_TYPE, SPEC_VERSION
from driftline.publish.notify.notice import Notice, Request, ToldOnce, body


@dataclass(frozen=True, slots=True)
class Webhook(ToldOnce):
    """A webhook; with several ``keys`` each signs, so that one can be replaced while the other is in use."""

    url: str
    format: Literal["cloudevents", "alert"] = "cloudevents"
    keys: Sequence[bytes] = ()
    token: str | None = None

    def tell(self, notice: Notice, known: Mapping[str, Any] | None, now: float) -> Request:
        """The signed request."""
        del known
        plain = self.format == "alert"
        content = body(dict(notice.data) if plain else cloud_event(notice))
        headers = {
            "Content-Type": CONTENT_TYPE if plain else "application/cloudevents+json; charset=utf-8",
            "Idempotency-Key": notice.id,
            "webhook-id": notice.id,
            "webhook-timestamp": str(int(now)),
        }
        if self.keys:
            headers["webhook-signature"] = signature(self.keys, notice.id, int(now), content)
        return Request(self.url, headers | authorization(self.token), content)


def cloud_event(notice: Notice) -> dict[str, Any]:
    """The alert in CloudEvents' structured mode, with the attributes that it has on its topic."""
    return {
        "specversion": SPEC_VERSION,
        "id": notice.id,
        "source": f"/driftline/{quote(notice.model, safe='')}",
        "type": notice.type,
        "time": notice.time,
        "subject": notice.signal,
        "datacontenttype": CONTENT_TYPE,
        "data": dict(notice.data),
    }


def signature(keys: Sequence[bytes], message_id: str, timestamp: int, content: bytes) -> str:
    """The header ``webhook-signature``: one ``v1,`` and the base64 of an HMAC-SHA256 for each key."""
    signed = f"{message_id}.{timestamp}.".encode("ascii") + content
    digests = (hmac.new(key, signed, hashlib.sha256).digest() for key in keys)
    return " ".join(f"v1,{base64.b64encode(digest).decode('ascii')}" for digest in digests)


def authorization(token: str | None) -> dict[str, str]:
    """The header that shows a bearer token, if there is one."""
    return {"Authorization": f"Bearer {token}"} if token else {}
