"""Records of the commands topic: checked here, carried verbatim to the model's actor.

Only the frame is judged: that it is a JSON object within the limits that names a known type and a model. What
a command means is the actor's business.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from driftline.ingest.decode.slow import Refused, parse_object
from driftline.records import COMMAND_BYTES_MAX, MODEL_ID_PATTERN, Command, Reject, RejectCode, Source

COMMAND_TYPES: Final = frozenset(
    {"baseline.promote", "baseline.reset", "alert.mute", "alert.unmute", "alert.close", "alert.ack"}
)
_MODEL_ID: Final = re.compile(MODEL_ID_PATTERN)


def decode_command(
    raw: bytes, *, source: Source, source_index: int, offset: int, timestamp: int
) -> Command | Reject:
    """A record of the commands topic as a command, or a reject with the code COMMAND_INVALID.

    Args:
        raw: the record's value, UTF-8 JSON of at most COMMAND_BYTES_MAX bytes and JSON_DEPTH_MAX levels.
        source: where the record came from.
        source_index: index of ``source`` in the envelope's progress list.
        offset: its offset.
        timestamp: its record timestamp, ms.
    """
    try:
        return Command(_model_of(raw), timestamp, source_index, offset, bytes(raw))
    except Refused as refused:
        digest = hashlib.sha256(raw).hexdigest()[:32]
        detail = (
            refused.detail
            if refused.code is RejectCode.COMMAND_INVALID
            else f"{refused.code}: {refused.detail}"
        )
        return Reject(source, offset, timestamp, RejectCode.COMMAND_INVALID, detail, digest)


def _model_of(raw: bytes) -> str:
    command = parse_object(raw, bytes_max=COMMAND_BYTES_MAX)
    kind = command.get("type")
    if not isinstance(kind, str) or kind not in COMMAND_TYPES:
        raise Refused(RejectCode.COMMAND_INVALID, f'"type" must be one of {", ".join(sorted(COMMAND_TYPES))}')
    model = command.get("model")
    if not isinstance(model, str) or _MODEL_ID.fullmatch(model) is None:
        raise Refused(RejectCode.COMMAND_INVALID, f'"model" must match {MODEL_ID_PATTERN}')
    return model
