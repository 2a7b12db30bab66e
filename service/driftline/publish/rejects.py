"""Records of the rejects topic: where a row came from, why it was not accepted, and a hash of it.

The row itself is only added where the operator asked for it (``ingest.reject_payload``), because it may hold
personal data.
"""

from __future__ import annotations

import base64
import json
from typing import Final

from driftline.publish.text import printable
from driftline.records import OutputRecord, Reject

# A reject must fit into a record of the default size (1 MiB) after base64, and many of them into one fetch.
PAYLOAD_BYTES_MAX: Final = 64 << 10
KEY_BYTES_MAX: Final = 1 << 10
DETAIL_CHARS_MAX: Final = 256


def encode(reject: Reject, key: bytes | None = None, payload: bytes | None = None) -> OutputRecord:
    """The record of a reject (``schemas/reject.v1.json``).

    ``key`` is the original key; without one, or with one beyond ``KEY_BYTES_MAX``, the origin serves, which
    spreads evenly. ``payload`` is cut to ``PAYLOAD_BYTES_MAX``; ``payload_bytes`` tells its full length.
    """
    source = reject.source
    body: dict[str, object] = {
        "origin": {
            "topic": source.topic,
            "partition": source.partition,
            "offset": reject.offset,
            "timestamp": reject.timestamp,
        },
        "code": reject.code.value,
        "detail": printable(reject.detail, DETAIL_CHARS_MAX),
        "digest": reject.digest,
    }
    if payload is not None:
        body["payload"] = base64.b64encode(payload[:PAYLOAD_BYTES_MAX]).decode("ascii")
        body["payload_bytes"] = len(payload)
    if not key or len(key) > KEY_BYTES_MAX:
        key = f"{source.topic}/{source.partition}/{reject.offset}".encode()
    return OutputRecord(
        key=key,
        value=json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(),
        headers=(("content-type", b"application/json"), ("driftline_code", reject.code.value.encode())),
    )
