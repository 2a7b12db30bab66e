"""River's drift detectors that can be named for a signal: which they are, and making one.

ADWIN and Page-Hinkley are not among them: every channel has them already, at the thresholds of the budget.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Mapping
from typing import Any, Final

# Name in river's documentation -> (module, class).
DETECTORS: Final[Mapping[str, tuple[str, str]]] = {
    "KSWIN": ("river.drift", "KSWIN"),
    "DDM": ("river.drift.binary", "DDM"),
    "EDDM": ("river.drift.binary", "EDDM"),
    "FHDDM": ("river.drift.binary", "FHDDM"),
    "HDDM_A": ("river.drift.binary", "HDDMA"),
    "HDDM_W": ("river.drift.binary", "HDDMW"),
}
SEED: Final = 1  # of detectors that draw at random, unless given: a replay must draw the same


def is_binary(name: str) -> bool:
    """Whether the detector reads 0/1 values (errors) only."""
    return DETECTORS[name][0].endswith("binary")


def make(name: str, args: Mapping[str, Any]) -> Any:
    """A fresh detector.

    Raises:
        ValueError: unknown name or argument, with the nearest known one, or a value that river refuses.
    """
    if name not in DETECTORS:
        raise ValueError(
            f"no river detector {name!r}{_nearest(name, DETECTORS)}; known: {', '.join(DETECTORS)}"
        )
    module, cls = DETECTORS[name]
    made = getattr(importlib.import_module(module), cls)
    known = [
        p for p in inspect.signature(made).parameters if p != "window"
    ]  # KSWIN's initial values: no setting
    for key in args:
        if key not in known:
            raise ValueError(
                f"{name} has no argument {key!r}{_nearest(key, known)}; known: {', '.join(known)}"
            )
    seeded = {"seed": SEED} if "seed" in known else {}
    try:
        return made(**(seeded | dict(args)))
    except Exception as error:
        raise ValueError(f"{name} refused its arguments: {error}") from error


def _nearest(name: str, known: Any) -> str:
    found = difflib.get_close_matches(name.upper() if name.upper() in known else name, list(known), 1, 0.4)
    return f", did you mean {found[0]}?" if found else ""
