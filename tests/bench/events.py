"""The work of PERFORMANCE.md in the native format: about 656 bytes, 18 numeric and 2 categorical features.

Two shapes: ``ordered`` (six decimals, one key order, which flatters a scanner) and ``shuffled`` (floats of 17
digits, another key order in every event). Pure: seeds and times are arguments.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

import numpy as np

Shape = Literal["ordered", "shuffled"]
NUMERIC: Final = tuple(f"feature_{i:02d}" for i in range(18))
CATEGORICAL: Final = ("country", "device")
COUNTRIES: Final = ("DE", "US", "FR", "GB")
DEVICES: Final = ("ios", "android", "web")
POOL_EVENTS: Final = 20_000  # distinct events kept ready; only their time changes
SHIFT_SD: Final = 3.0  # a planted shift, in standard deviations of a feature: far beyond any tolerance


def stamp(seconds: float) -> bytes:
    """RFC 3339 in UTC with milliseconds."""
    at = datetime.fromtimestamp(seconds, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z".encode()


@dataclass(frozen=True, slots=True)
class Pool:
    """Prepared events of one model, cut where the time goes."""

    heads: tuple[bytes, ...]
    tails: tuple[bytes, ...]

    def batch(self, begin: int, count: int, seconds: float) -> list[bytes]:
        """``count`` events from position ``begin`` (round and round) with the time ``seconds``."""
        at, size = stamp(seconds), len(self.heads)
        return [self.heads[i % size] + at + self.tails[i % size] for i in range(begin, begin + count)]

    def bytes_an_event(self) -> float:
        """Mean size."""
        return sum(map(len, self.heads + self.tails)) / len(self.heads) + len(stamp(0.0))


def make_pool(
    model: str,
    shape: Shape = "ordered",
    seed: int = 0,
    size: int = POOL_EVENTS,
    shifted: frozenset[str] = frozenset(),
) -> Pool:
    """Standard normal features, those in ``shifted`` moved up by ``SHIFT_SD``; uniform score."""
    rng = np.random.default_rng(seed)
    order = random.Random(seed)
    numbers = rng.normal(size=(size, len(NUMERIC)))
    for column, name in enumerate(NUMERIC):
        if name in shifted:
            numbers[:, column] += SHIFT_SD
    scores = rng.random(size)
    heads, tails = [], []
    for i in range(size):
        digits = 6 if shape == "ordered" else 17
        features: list[tuple[str, object]] = [
            (name, round(float(x), digits)) for name, x in zip(NUMERIC, numbers[i], strict=True)
        ]
        features += [("country", COUNTRIES[i % 4]), ("device", DEVICES[i % 3])]
        if shape == "shuffled":
            order.shuffle(features)
        score = round(float(scores[i]), digits)
        head = {"id": f"evt-{i:018d}", "model": model, "model_version": "3"}
        tail = {
            "features": dict(features),
            "prediction": {"score": score, "class": "approve" if score < 0.5 else "deny"},
        }
        heads.append((json.dumps(head)[:-1] + ', "time": "').encode())
        tails.append(('", ' + json.dumps(tail)[1:]).encode())
    return Pool(tuple(heads), tuple(tails))
