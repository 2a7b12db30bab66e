"""Spoiling what is right: bytes, and values inside JSON."""

from __future__ import annotations

import copy
import random
from typing import Any, Final

ODD: Final[tuple[Any, ...]] = (
    None, True, -1, 0, 1, 2**31, -(2**63), 2**64, 10**40, 1e308, -0.0, float("nan"), float("inf"), "", "x",
    "\x00",
    "\ud800", "9" * 400, [], [[]], {}, {"x": 1}, [None] * 3, "m|m|meta",
)  # fmt: skip


def spoil_bytes(rng: random.Random, data: bytes) -> bytes:
    """One to four edits: flips, cuts, growth, numbers that promise far more than is there."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(out) + 1)
        match rng.randrange(7):
            case 0 if out:
                out[at % len(out)] ^= 1 << rng.randrange(8)
            case 1:
                del out[at:]
            case 2:
                del out[at : at + rng.randrange(9)]
            case 3:
                out[at:at] = rng.randbytes(rng.randrange(9))
            case 4:
                size = rng.choice((1, 2, 4, 8))
                huge = rng.choice((2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, 0, 1))
                out[at : at + size] = huge.to_bytes(size, "little")
            case 5:
                out[at : at + 8] = rng.randbytes(8)
            case _:
                other = rng.randrange(len(out) + 1)
                out[at : at + 16] = out[other : other + 16]
    return bytes(out)


def spoil_json(rng: random.Random, value: Any) -> Any:
    """One to three values somewhere inside replaced, removed, repeated or put in another order."""
    value = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        place, key = _place(rng, value)
        if place is None:
            return rng.choice(ODD)
        match rng.randrange(6):
            case 0:
                del place[key]
            case 1 if isinstance(place, dict):
                place[rng.choice(("x", "", "v", "kind"))] = rng.choice(ODD)
            case 2 if isinstance(place, list):
                place[key:key] = [copy.deepcopy(place[key])] * rng.choice((1, 2, 70))
            case 3 if isinstance(place, list):
                rng.shuffle(place)
            case 4 if isinstance(place[key], (int, float)):
                place[key] = rng.choice((-place[key], place[key] + 1, place[key] * 10**6, place[key] / 7))
            case _:
                place[key] = copy.deepcopy(rng.choice(ODD))
    return value


def _place(rng: random.Random, value: Any) -> tuple[Any, Any]:
    """A container somewhere inside and a key of it."""
    place: Any = None
    key: Any = None
    while isinstance(value, (dict, list)) and value and (place is None or rng.random() < 0.8):
        place = value
        key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
        value = place[key]
    return place, key
