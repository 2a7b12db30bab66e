"""The detector state of earlier versions: what their arrays looked like, and how to make today's of them.

To change ``CHANNEL_PLAN``, ``CHANNEL_STATE`` or ``WARMUP``: raise ``STATE_VERSION``, copy the layouts as they
were to ``LAYOUTS`` under the former number, and add the step from that number to the next to ``STEPS``. Then
write a golden state of the new version (``tests/golden/state/make.py``); those of the old ones stay, and
``tests/unit/decide/test_upgrade.py`` restores each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np

from driftline.detect.kernels.state import CHANNEL_PLAN, CHANNEL_STATE, STATE_VERSION, WARMUP
from driftline.errors import MessageError, NewerFormatError

Arrays = dict[str, Any]

LAYOUTS: Final[Mapping[int, Mapping[str, np.dtype[Any]]]] = {
    STATE_VERSION: {
        "plan": CHANNEL_PLAN,
        "state": CHANNEL_STATE,
        "warm": WARMUP,
        "rate_plan": CHANNEL_PLAN,
        "rate_state": CHANNEL_STATE,
    },
}

# From the arrays of a shard in version n to those in version n + 1; a shard has some of them only.
STEPS: Final[Mapping[int, Callable[[Arrays], Arrays]]] = {}


def layouts(header: Mapping[str, Any]) -> Mapping[str, np.dtype[Any]]:
    """The records of the shard with this header.

    Raises:
        NewerFormatError: a newer version wrote it.
        MessageError: there was never such a version.
    """
    version = header.get("state_version", 1)  # "win" shards of version 1 do not say it
    if isinstance(version, int) and version > STATE_VERSION:
        raise NewerFormatError(
            f"detector state version {version}, written by Driftline "
            f"{header.get('by', 'of a later version')}; this one reads up to {STATE_VERSION}."
        )
    if version not in LAYOUTS:
        raise MessageError(f"detector state version {version!r} never existed.")
    return LAYOUTS[version]


def upgraded(header: Mapping[str, Any], arrays: Arrays) -> Arrays:
    """The arrays as today's version has them, step by step."""
    for version in range(header.get("state_version", 1), STATE_VERSION):
        arrays = STEPS[version](arrays)
    return arrays
