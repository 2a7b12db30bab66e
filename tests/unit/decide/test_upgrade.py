"""State of every earlier format is restored with the same further results; that of a later one is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np
import pytest

from driftline import __version__
from driftline.decide import store
from driftline.decide.outputs import Alert, whole
from driftline.detect import snapshot, upgrade
from driftline.detect.kernels.state import STATE_VERSION
from driftline.detect.performance import SIGNAL
from driftline.detect.reference import from_json, to_json
from driftline.errors import ExitCode, FatalError, MessageError, NewerFormatError
from harness import golden, golden_labelled
from harness.labelled import Mailbox

STORED = sorted(golden.STATES.glob("v*/state.bin"), key=lambda path: int(path.parent.name[1:]))
LABELLED = [path.with_name("labelled.bin") for path in STORED]

# Entries of a header that came under a version already stored: what lacks them is read, and its readers
# ignore them. The tests below go on from golden state that has none of them.
ADDED = {"life"}


def shown(alerts: list[Alert]) -> list[tuple[str, str]]:
    """Alerts to the last digit."""
    return [(alert.id, json.dumps(alert.data, sort_keys=True)) for alert in alerts]


@pytest.fixture(scope="module")
def uninterrupted() -> tuple[list[Alert], list[Alert]]:
    """The alerts of the story before and after the cut, from a run that was never stopped."""
    run = golden.started()
    return golden.go_on(run, 0, golden.CUT), golden.go_on(run, golden.CUT, golden.END)


def test_every_version_has_a_golden_state() -> None:
    """Of each state version, and a way from each to today's; see ``tests/golden/state/make.py``."""
    versions = list(range(1, STATE_VERSION + 1))
    assert [path.parent.name for path in STORED] == [f"v{n}" for n in versions]
    assert sorted(upgrade.LAYOUTS) == versions
    assert sorted(upgrade.STEPS) == versions[:-1]


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.parent.name)
def test_stored_state_goes_on_as_if_never_stopped(
    path: Path, uninterrupted: tuple[list[Alert], list[Alert]]
) -> None:
    """An open alert resolves, a warming and a learning model become active, a later drift is found."""
    before, after = uninterrupted
    run = golden.restored(golden.read(path), golden.CUT)
    assert run.partition.drain_notes() == []
    assert {v.model: v.state for v in run.views()} == {
        "active": "active", "learning": "learning", "warming": "warming"
    }  # fmt: skip
    assert shown(golden.go_on(run, golden.CUT, golden.END)) == shown(after)
    assert [alert.type.rpartition(".")[2] for alert in before] == ["opened"] * 2 + ["updated"] * 2
    assert {(alert.model, alert.type.rpartition(".")[2]) for alert in after} == {
        ("active", "resolved"), ("active", "updated"), ("active", "opened"), ("warming", "opened")
    }  # fmt: skip
    assert {v.state for v in run.views()} == {"active"}


@pytest.fixture(scope="module")
def labelled() -> Mailbox:
    """The story with labels, from a worker that was never stopped."""
    box = golden_labelled.until_cut()
    golden_labelled.go_on(box, golden_labelled.CUT, golden_labelled.END)
    return box


@pytest.mark.parametrize("path", LABELLED, ids=lambda path: path.parent.name)
def test_stored_labels_go_on_as_if_never_stopped(path: Path, labelled: Mailbox) -> None:
    """What waits is joined, the episode of errors resolves, the reference in the making gets complete."""
    box = golden_labelled.from_cut(golden.read(path))
    assert box.partition.drain_notes() == []
    found = box.partition.models
    m, n = (own for model in (found["m"], found["n"]) if (own := model.labelled) is not None)
    assert SIGNAL in m.episodes.open
    assert (m.performance.reference is None, n.performance.reference is None) == (False, True)
    assert m.labels.predictions.head > 0  # rows were dropped
    assert min(m.view().pending, n.view().pending, m.view().conflicts) > 0
    after = golden_labelled.go_on(box, golden_labelled.CUT, golden_labelled.END)
    assert shown(after) == shown(labelled.alerts)[-len(after) :]
    assert {alert.type.rpartition(".")[2] for alert in after} == {"updated", "resolved"}
    assert n.performance.reference is not None
    assert repr(golden_labelled.known(box.partition)) == repr(golden_labelled.known(labelled.partition))


def test_the_layout_did_not_change_without_a_new_version() -> None:
    """The state that is written today has the shards, headers and arrays of the golden one of its version."""
    run = golden.started()
    golden.go_on(run, 0, golden.CUT)
    assert _outline(golden.stored(run)) == _outline(golden.read(STORED[-1]))
    box = golden_labelled.until_cut()
    assert _outline(box.stored) == _outline(golden.read(LABELLED[-1]))


def _outline(rows: dict[bytes, bytes]) -> dict[str, Any]:
    """Keys, names and shapes, but no numbers: those may differ in the last bit between machines."""
    found: dict[str, Any] = {}
    for key, value in rows.items():
        kind = key.decode().rpartition("|")[2]
        if key.startswith(b"n|"):
            found[key.decode()] = sorted(json.loads(value))
        elif "+" not in kind:
            header, arrays = snapshot.decode(whole(rows, key), kind, upgrade.layouts)
            shapes = {name: (str(array.dtype), array.ndim) for name, array in arrays.items()}
            found[key.decode()] = (
                sorted(header.keys() - ADDED),
                header["v"],
                header.get("state_version"),
                shapes,
            )
    return found


@pytest.mark.parametrize(
    ("shard", "changes"),
    [("labels", {}), ("pred.4", {}), ("lab-matched.0", {}), ("pred.4", {"first": math.inf})],
)
def test_damaged_labels_are_set_aside_alone(shard: str, changes: dict[str, Any]) -> None:
    """The model goes on, what labels say begins anew; it is told once, however often it is restored."""
    rows = golden.read(LABELLED[-1])
    key = f"m|m|{shard}".encode()
    rows[key] = _changed(rows[key], **changes) if changes else b"DLS1 damaged"
    boxes = [golden_labelled.from_cut(rows) for _ in range(2)]
    (note,) = boxes[0].partition.drain_notes()
    assert note.startswith("model m: stored labels set aside: ")
    offset, model = boxes[0].partition.next_offset, boxes[0].partition.models["m"]
    whole_one = golden_labelled.from_cut(golden.read(LABELLED[-1])).partition.models["m"]
    assert (model.actor.phase, model.actor.rows) == (whole_one.actor.phase, whole_one.actor.rows)
    assert model.labelled is not None
    assert (model.labelled.performance.rows, model.labelled.episodes.open) == (0, {})
    assert not model.life.of_labels.holds(SIGNAL)
    for box in boxes:
        box.checkpoint()
    first, again = ([(a.id, a.signal, a.data["summary"]) for a in box.alerts] for box in boxes)
    assert first == again
    assert [(signal, "labels were unreadable" in str(text)) for _, signal, text in first] == [
        ("driftline.state", True)
    ]
    back = golden_labelled.from_cut(boxes[0].stored)  # what was written instead is whole
    golden_labelled.go_on(back, golden_labelled.CUT, golden_labelled.END)
    assert not back.partition.drain_notes()
    learned = back.partition.models["m"].labelled
    assert learned is not None
    assert learned.performance.reference is not None
    # An id of before is never an id again: consumers would take the alert for a repetition.
    assert learned.episodes.begin(SIGNAL, 0, **BEGUN).number > offset


BEGUN: Final = {
    "opened_time": 0, "onset_time": 0, "severity": "info", "channel": "error", "direction": "up",
}  # fmt: skip


# --- newer


def _changed(value: bytes, **changes: Any) -> bytes:
    """A shard with other entries in its header and a checksum that fits."""
    _, _, size, raw = snapshot.HEADER.unpack_from(value)
    header = json.loads(value[snapshot.HEADER.size : snapshot.HEADER.size + size])
    text = json.dumps(header | changes).encode()
    rest = b"".join(n.to_bytes(4, "little") for n in (len(text), raw))
    rest += text + value[snapshot.HEADER.size + size :]
    return snapshot.MAGIC + int(google_crc32c.value(rest)).to_bytes(4, "little") + rest


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        (b"m|active|meta", {"v": 2}),
        (b"m|active|win", {"state_version": STATE_VERSION + 1}),
        (b"m|active|det.0", {"state_version": STATE_VERSION + 1}),
        (b"m|learning|learn.0", {"v": 2}),
        (b"m|m|labels", {"labels_version": 2}),
        (b"m|m|labels", {"state_version": STATE_VERSION + 1}),
        (b"m|n|pred.0", {"v": 2}),
    ],
)
def test_a_newer_shard_stops_the_worker(key: bytes, changes: dict[str, Any]) -> None:
    """Nothing is set aside: the state is good, the code is too old. Which version is needed is said."""
    plain, labelled = golden.read(STORED[-1]), golden.read(LABELLED[-1])
    rows = plain if key in plain else labelled
    rows[key] = _changed(rows[key], **changes, by="9.1.0")
    with pytest.raises(FatalError, match=r"written by Driftline 9\.1\.0.*Run that version") as caught:
        _ = golden.restored(rows, golden.CUT) if rows is plain else golden_labelled.from_cut(rows)
    assert caught.value.code is ExitCode.CONFIG


def test_a_newer_position_stops_the_worker() -> None:
    """The same for the position's row."""
    rows = golden.read(STORED[-1])
    body = json.loads(rows[b"n|0"])
    assert body["by"] == __version__ or len(STORED) > 1
    rows[b"n|0"] = json.dumps(body | {"v": 2, "by": "9.1.0", "next": {"new": "shape"}}).encode()
    with pytest.raises(FatalError, match=r"state format 2, written by Driftline 9\.1\.0") as caught:
        golden.restored(rows, golden.CUT)
    assert caught.value.code is ExitCode.CONFIG


def test_a_newer_reference_is_told_from_a_broken_one() -> None:
    """A later format may hold keys that this version does not know."""
    body = json.loads(to_json(golden.baseline()))
    with pytest.raises(NewerFormatError, match="baseline format 2"):
        from_json(json.dumps(body | {"format": 2, "new": 1, "signals": "other"}))
    with pytest.raises(MessageError, match="not a baseline"):
        from_json(json.dumps(body | {"format": "x"}))


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"v":1}', b'{"v":null}', b"\xff", b"[" * 5_000])
def test_a_damaged_position_stops_the_worker(value: bytes) -> None:
    """Without a position nothing can be applied; it is no crash but an exit code."""
    with pytest.raises(FatalError, match="cannot be read") as caught:
        store.read_position(value, 0)
    assert caught.value.code is ExitCode.STATE_MISSING


@pytest.mark.parametrize("number", [10**30, -2, 0.5, "7", None, True])
@pytest.mark.parametrize("name", ["next", "time", "lost", "raw"])
def test_a_position_holds_offsets_times_and_counts(name: str, number: object) -> None:
    """Anything else would travel on until a kernel reads it."""
    body = json.loads(golden.read(STORED[-1])[b"n|0"])
    if name == "raw":
        body["raw"][0][4] = number
    else:
        body[name] = number
    with pytest.raises(FatalError, match="no offset, time or count"):
        store.read_position(json.dumps(body).encode(), 0)


# --- older


def test_an_older_layout_takes_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays are read as the version that wrote them had them, then go through the steps to today's."""
    old = np.dtype([("n", "i8")])
    monkeypatch.setattr(upgrade, "STATE_VERSION", 3)
    monkeypatch.setattr(upgrade, "LAYOUTS", {1: {"state": old}, 2: {"state": old}, 3: {}})
    steps = {1: lambda a: {"state": a["state"]["n"] + 1}, 2: lambda a: {"state": 10 * a["state"]}}
    monkeypatch.setattr(upgrade, "STEPS", steps)
    value = snapshot.encode("det.0", {"state_version": 1}, {"state": np.array([(4,)], old)})
    header, arrays = snapshot.decode(value, "det.0", upgrade.layouts)
    assert upgrade.upgraded(header, arrays)["state"].tolist() == [50]
    with pytest.raises(MessageError, match="never existed"):
        upgrade.layouts({"state_version": 0})
