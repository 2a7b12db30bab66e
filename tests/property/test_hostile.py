"""Whatever is read from outside ends in a documented error or a result; no row is unaccounted for.

The targets are those of ``make fuzz``, which runs them for longer and notices aborts of the interpreter.
"""

from __future__ import annotations

import json
from typing import Any

import google_crc32c
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.decide.outputs import whole
from driftline.detect import snapshot, upgrade
from driftline.detect.kernels.state import CHANNEL_STATE, STATE_VERSION, new_state
from driftline.detect.reference import Reference, from_json, to_json
from driftline.errors import MessageError
from driftline.ingest import envelope
from fuzz import targets
from harness import golden


@pytest.mark.parametrize("target", targets.TARGETS)
@settings(max_examples=25)
@given(number=st.integers(0, 2**40))
def test_hostile_input(target: str, number: int) -> None:
    """Nothing but documented errors, and rows in = accepted + rejected + filtered."""
    rows, accounted, _ = targets.attempt(target, number)
    assert rows == accounted


SHARD = snapshot.encode("det.0", {"k": 1}, {"state": new_state(2)})


@pytest.mark.parametrize("cut", range(0, len(SHARD), 3))
def test_a_shard_cut_anywhere_is_refused(cut: int) -> None:
    """Also behind a checksum that fits."""
    value = SHARD[:cut]
    if cut >= 8:
        value = value[:4] + int(google_crc32c.value(value[8:])).to_bytes(4, "little") + value[8:]
    with pytest.raises(MessageError):
        snapshot.decode(value, "det.0", lambda _: {"state": CHANNEL_STATE})


def test_an_envelope_cut_anywhere_is_refused() -> None:
    """Also behind a checksum and a length that fit."""
    value = targets._envelope()
    for cut in range(0, len(value), 5):
        short = value[:cut]
        if cut >= 16:
            body = cut.to_bytes(4, "little") + short[16:]
            short = short[:8] + int(google_crc32c.value(body)).to_bytes(4, "little") + body
        with pytest.raises(MessageError):
            envelope.unpack(short)


@pytest.mark.parametrize("claimed", [300 * 40, (16 << 20) - 1, (16 << 20) + 1, 2**32 - 1])
def test_a_bomb_is_refused_before_it_is_unpacked(claimed: int) -> None:
    """Forty bytes cannot hold that much, so no memory is asked for."""
    value = targets._shard(b'{"v":1,"kind":"x","arrays":[]}', claimed, bytes(40))
    with pytest.raises(MessageError, match="more than is allowed or can be in it"):
        snapshot.decode(value, "x")


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("a_last", 40),
        ("a_last", -1),
        ("a_cnt", 7),
        ("a_width", 3.0),
        ("ring_n", -5),
        ("status", 9),
        ("R", np.nan),
    ],
)
def test_state_that_would_lead_a_kernel_astray_is_set_aside(field: str, bad: float) -> None:
    """A kernel indexes without asking; such a model learns again, and that is told."""
    rows = golden.read(targets._newest())
    key = b"m|active|det.0"
    _, arrays = snapshot.decode(rows[key], "det.0", upgrade.layouts)
    arrays["state"][field][0] = bad
    header: dict[str, Any] = {"state_version": STATE_VERSION}
    rows[key] = snapshot.encode("det.0", header, arrays)
    run = golden.restored(rows, golden.CUT)
    assert any("stored state is inconsistent" in note for note in run.partition.drain_notes())
    assert {v.model: v.state for v in run.views()}["active"] == "learning"
    assert whole(golden.stored(run), b"m|active|meta")


def _spoilt(reference: Reference, change: Any) -> bytes:
    body = json.loads(to_json(reference))
    change(body)
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    "change",
    [
        lambda b: b["signals"][0]["channels"].pop(),
        lambda b: b["signals"][0]["channels"].reverse(),
        lambda b: b["signals"][0]["channels"].append(b["signals"][0]["channels"][0]),
        lambda b: b["signals"].append(b["signals"][0]),
        lambda b: b["signals"][0].update(tag=3),
        lambda b: b["signals"][0].update(numeric=None),
        lambda b: b["signals"][0]["numeric"].update(below=[2.0] * len(b["signals"][0]["numeric"]["below"])),
        lambda b: b["signals"][1]["categorical"].update(shares=0),
        lambda b: b.update(rows="many"),
        lambda b: b.update(rows={}),
        lambda b: b.update(rows_per_week=float("inf")),
        lambda b: b.update(model="\ud800"),
        lambda b: b.update(extra=1),
    ],
)
def test_a_baseline_that_contradicts_itself_is_refused(change: Any) -> None:
    """Kernels number channels by the signal's type: a list of others would make them write elsewhere."""
    reference = golden.baseline()
    assert to_json(from_json(to_json(reference))) == to_json(reference)
    with pytest.raises(MessageError):
        from_json(_spoilt(reference, change))
