"""Snapshots: exact round trip, and every kind of damage is told."""

from __future__ import annotations

import json

import google_crc32c
import numpy as np
import pytest

from driftline.detect import snapshot
from driftline.detect.kernels.state import CHANNEL_STATE, new_state
from driftline.errors import MessageError, NewerFormatError


def test_round_trip_is_exact() -> None:
    """Header and arrays come back bit for bit, records too, and are writable."""
    arrays = {"a": np.array([[1.5, np.nan]]), "state": new_state(3)}
    header, back = snapshot.decode(
        snapshot.encode("det.0", {"k": 1}, arrays), "det.0", lambda _: {"state": CHANNEL_STATE}
    )
    assert header["k"] == 1
    assert back["state"].tobytes() == arrays["state"].tobytes()
    assert back["a"].tobytes() == arrays["a"].tobytes()
    back["a"][0, 0] = 2.0


@pytest.mark.parametrize("at", range(0, 200, 7))
def test_any_flipped_byte_is_found(at: int) -> None:
    """The checksum covers everything behind it."""
    value = bytearray(snapshot.encode("win", {}, {"x": np.arange(50)}))
    value[at % len(value)] ^= 0x20
    with pytest.raises(MessageError):
        snapshot.decode(bytes(value), "win")


def test_cut_short_empty_and_foreign_values_are_refused() -> None:
    """Never an exception of another kind."""
    value = snapshot.encode("win", {}, {"x": np.arange(50)})
    for cut in (0, 3, 15, 16, 40, len(value) - 1):
        with pytest.raises(MessageError):
            snapshot.decode(value[:cut], "win")
    with pytest.raises(MessageError, match="holds 'win'"):
        snapshot.decode(value, "meta")


def test_a_newer_format_names_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Old code must not guess at a newer layout."""
    monkeypatch.setattr(snapshot, "FORMAT_VERSION", 2)
    value = snapshot.encode("win", {}, {})
    monkeypatch.undo()
    with pytest.raises(NewerFormatError, match=r"format 2, written by Driftline .*; this one reads up to 1"):
        snapshot.decode(value, "win")


def test_records_of_another_layout_are_refused() -> None:
    """A structured array is only read into records of the same size."""
    value = snapshot.encode("det.0", {}, {"state": new_state(1)})
    with pytest.raises(MessageError, match="another layout"):
        snapshot.decode(value, "det.0", lambda _: {"state": np.dtype([("x", "f8")])})


@pytest.mark.parametrize(
    ("code", "shape"), [("<U0", [1]), ("<f8", [float("inf")]), ("<f8", [-1]), ("<f8", [1.0])]
)
def test_arrays_that_are_none_are_refused(code: str, shape: list[float]) -> None:
    """A checksum that fits says nothing of what was written."""
    value = snapshot.encode("det.0", {}, {"x": np.zeros(1)})
    _, _, size, raw = snapshot.HEADER.unpack_from(value)
    text, packed = value[snapshot.HEADER.size :][:size], value[snapshot.HEADER.size + size :]
    text = json.dumps(json.loads(text) | {"arrays": [["x", code, shape]]}).encode()
    rest = len(text).to_bytes(4, "little") + raw.to_bytes(4, "little") + text + packed
    value = snapshot.MAGIC + int(google_crc32c.value(rest)).to_bytes(4, "little") + rest
    with pytest.raises(MessageError):
        snapshot.decode(value, "det.0", lambda _: {})
