"""Commands for a running service: records of the commands topic (``schemas/command.v1.json``)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from driftline.errors import OperatorError
from driftline.publish.text import printable
from driftline.records import COMMAND_BYTES_MAX, MODEL_ID_PATTERN, OutputRecord

NOTE_CHARS_MAX: Final = 500  # of ``by`` and ``why``: a sentence for the audit trail, not a document


def promote(model: str, baseline: Mapping[str, object], *, by: str, why: str) -> OutputRecord:
    """The record that makes ``baseline`` the reference of ``model``; keyed by the model.

    Raises:
        OperatorError: the model id is not one, or the command is larger than a record may be.
    """
    if re.fullmatch(MODEL_ID_PATTERN, model) is None:
        raise OperatorError(
            f"{printable(model)!r} is no model id.",
            remedy="Use 1-128 letters, digits and the characters _ . : -",
        )
    body = {
        "type": "baseline.promote",
        "model": model,
        "baseline": dict(baseline),
        "by": printable(by, NOTE_CHARS_MAX),
        "why": printable(why, NOTE_CHARS_MAX),
    }
    try:
        value = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise OperatorError(
            f"the baseline of {model} is not plain JSON: {error}.",
            remedy="Build it again with `driftline baseline build`.",
        ) from error
    if len(value) > COMMAND_BYTES_MAX:
        raise OperatorError(
            f"the baseline of {model} needs {len(value)} bytes, a command may have {COMMAND_BYTES_MAX}.",
            remedy="Build it from fewer features.",
        )
    return OutputRecord(key=model.encode(), value=value, headers=(("content-type", b"application/json"),))
