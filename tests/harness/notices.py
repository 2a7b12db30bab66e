"""Alerts as the alerts topic has them, for tests of who is told of them."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any, Final

from driftline.decide.outputs import Alert
from driftline.publish.alerts import encode
from driftline.records import OutputRecord

EXAMPLES: Final = Path(__file__).parents[2] / "schemas" / "examples" / "alert" / "valid"
OPENED: Final[dict[str, Any]] = json.loads((EXAMPLES / "opened_numeric.json").read_text(encoding="utf-8"))
NAMESPACE: Final = uuid.UUID("0d9c1a52-55f2-4d3e-9a3b-1f0de6a9f6c1")


def alert(
    event: str = "opened",
    *,
    model: str = "credit-risk",
    signal: str = "age",
    episode: int = 1,
    sequence: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """The data of an alert; its id follows from the arguments."""
    state = "resolved" if event == "resolved" else "open"
    name = "\x1f".join((model, signal, str(episode), state, str(sequence)))
    own = {
        "id": str(uuid.uuid5(NAMESPACE, repr(name))),
        "type": f"driftline.alert.{event}",
        "model": model,
        "signal": signal,
        "state": state,
        "episode": episode,
        "sequence": sequence,
    }
    return OPENED | own | more


def record(data: dict[str, Any]) -> OutputRecord:
    """The record that the service would write."""
    return encode(Alert(data["id"], data["type"], 0, data["model"], data["signal"], 0, data))
