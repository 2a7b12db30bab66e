"""What another model version does: who takes over, and the three policies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.config import DetectionSettings, ModelSettings
from driftline.decide import store
from driftline.decide.model import Model
from driftline.decide.model_view import view_of
from driftline.decide.outputs import Alert
from driftline.decide.partition import MailboxPartition
from driftline.decide.store import position_row, read_position
from driftline.decide.versions import (
    LEARNINGS_MAX,
    LOSS,
    REMEMBERED_MAX,
    TAKE_OVER_ROWS,
    VERSIONS_MAX,
    Policy,
    Versions,
    base_of,
    version_name,
)
from driftline.detect.actor import Phase
from driftline.errors import MessageError
from driftline.ingest.envelope import mailbox_partition, pack
from driftline.records import Block, Envelope, Progress, ProgressFlag, Source
from harness.decisions import CONTEXT, PROGRESS, SOURCE, block

LEARN = 500
Names = Sequence[str | None]
DAY = 24 * 3_600_000


def versioned(names: Names, values: Any = None, start: int = 0) -> Block:
    """One feature; row i is of version names[i]."""
    known = tuple(dict.fromkeys(n for n in names if n is not None))
    x = np.random.default_rng(start).normal(size=len(names)) if values is None else values
    codes = np.array([-1 if n is None else known.index(n) for n in names], np.int32)
    return replace(block({"x": x}, start=start), version=codes, versions=known)


def took_over(names: Names) -> list[tuple[int, str]]:
    """Row by row, the obvious way: rows at which a version took over."""
    in_force: str | None = None
    candidate, count, out = "", 0, []
    for row, name in enumerate(names):
        if name is None:
            continue
        in_force = in_force or name
        if name == in_force:
            count = max(count - LOSS, 0)
        elif count and name != candidate:
            count = max(count - LOSS, 0)
            candidate = candidate if count else name
        else:
            candidate, count = name, count + 1
            if count == TAKE_OVER_ROWS:
                in_force, count = name, 0
                out.append((row, name))
    return out


def followed(names: Names, cuts: list[int]) -> tuple[list[tuple[int, str]], Versions]:
    """The same by ``Versions.follow`` on pieces."""
    versions, out = Versions(), []
    for lo, hi in pairwise([0, *sorted(cuts), len(names)]):
        piece = versioned(names[lo:hi], start=lo) if hi > lo else None
        at = 0
        while piece is not None and at < len(piece):
            changes = versions.changes
            at, _ = versions.follow(piece, at, len(piece))
            if versions.changes > changes:
                out.append((lo + at - 1, str(versions.in_force)))
    return out, versions


@given(
    runs=st.lists(st.tuples(st.sampled_from(["1", "2", "3", None]), st.integers(1, 260)), max_size=14),
    cuts=st.lists(st.integers(0, 3_000), max_size=5),
)
def test_take_overs_are_those_of_a_row_by_row_count_however_cut(
    runs: list[tuple[str | None, int]], cuts: list[int]
) -> None:
    """Runs of versions, cut anywhere: the same rows take over as in the slow twin, the same state remains."""
    names = [name for name, size in runs for _ in range(size)]
    out, versions = followed(names, [min(c, len(names)) for c in cuts])
    assert out == took_over(names)
    assert versions == followed(names, [])[1]


@pytest.mark.parametrize(("share", "changes"), [(0.1, 0), (0.4, 0), (0.9, 1)])
def test_a_canary_takes_over_only_with_most_of_the_traffic(share: float, changes: int) -> None:
    """20,000 rows in which version 2 has a share: a tenth or two fifths change nothing."""
    mixed = np.where(np.random.default_rng(3).random(20_000) < share, "2", "1").tolist()
    names = ["1"] * 10 + mixed
    assert followed(names, [])[1].changes == changes


def test_stored_versions_that_cannot_be_are_refused() -> None:
    """Negative counts and counts beyond the limit do not come from here."""
    good = Versions("1", "2", 7, 1, {"1": 1}).to_json()
    assert Versions.from_json(good) == Versions("1", "2", 7, 1, {"1": 1})
    for wrong in ({"count": TAKE_OVER_ROWS}, {"changes": -1}, {"learnings": {"1": -1}}):
        with pytest.raises(MessageError, match="impossible"):
            Versions.from_json({**good, **wrong})


def test_learnings_are_remembered_of_the_latest_versions_only() -> None:
    """Ten thousand versions leave a bounded memory."""
    versions = Versions()
    for n in range(10_000):
        versions.in_force = str(n)
        assert versions.may_learn()
    assert len(versions.learnings) == REMEMBERED_MAX


def relearning(policy: Policy = "relearn") -> Model:
    """A model under a policy."""
    settings = DetectionSettings(learning_rows=LEARN, on_new_version=policy)
    return Model.new("m", settings, {}, learn=True)


def run(model: Model, rows: Block, cuts: tuple[int, ...] = ()) -> list[Alert]:
    """Apply a block in pieces."""
    out: list[Alert] = []
    for lo, hi in pairwise((0, *cuts, len(rows))):
        out += model.apply(rows, lo, hi, PROGRESS, CONTEXT)
    return out


def shifted(names: Names, moved: int) -> Block:
    """Values that rise by three standard deviations at a row."""
    x = np.random.default_rng(1).normal(size=len(names))
    x[moved:] += 3.0
    return versioned(names, x)


def states(model: Model) -> list[tuple[bytes, bytes | None]]:
    """The stored rows of a model."""
    return [(row.key, row.encode()) for row in store.model_rows(model)]


def test_keep_goes_on_and_says_so() -> None:
    """The reference stays, the take-over is noted with its row and counted."""
    model = relearning("keep")
    run(model, versioned(["1"] * 1_000 + ["2"] * 1_000))
    assert view_of(model).version_changes == 1
    assert model.notes == [
        "model m: version '2' has taken over from '1' at events/0/1199; on_new_version is keep"
    ]
    assert model.actor.phase is Phase.ACTIVE
    assert model.actor.detection is not None
    assert model.actor.detection.layout.reference.rows == LEARN


def test_relearn_learns_the_rows_of_the_new_version_and_closes_what_is_open() -> None:
    """An episode of the old version is superseded in clear words; the new reference has the new level."""
    names: Names = ["1"] * 3_000 + ["2", "2", "2", "1"] * 5 + ["2"] * 2_000
    alerts = run(model := relearning(), shifted(names, 2_000))
    assert [a.type.rpartition(".")[2] for a in alerts][:1] == ["opened"]
    closed = alerts[-1]
    assert closed.data["state"] == "resolved"
    assert closed.data["summary"] == (
        'm: "x" (varies more than usual since about 00:00 UTC) is learned anew from the next 500 events, '
        "because model version 2 has taken over; what was open is closed"
    )
    assert closed.data["model_version"] == "2"
    assert not model.episodes.open
    d = model.actor.detection
    assert d is not None
    numeric = d.layout.signals[0].numeric
    assert numeric is not None
    assert numeric.mean > 2.5


def test_rows_of_other_versions_are_left_out_of_a_reference() -> None:
    """A tenth of the traffic is still of the old version, with other values: not learned."""
    names = ["1"] * 1_000 + ["2"] * 300 + ["1" if i % 10 == 0 else "2" for i in range(2_000)]
    x = np.array([1000.0 if name == "1" else 0.0 for name in names])
    model = relearning()
    run(model, versioned(names, x + np.random.default_rng(0).normal(size=len(names))))
    d = model.actor.detection
    assert d is not None
    numeric = d.layout.signals[0].numeric
    assert numeric is not None
    assert abs(numeric.mean) < 1.0
    assert model.actor.rows == len(names)


def test_learning_ends_even_when_nobody_sends_the_version_in_force() -> None:
    """Five versions share the traffic after a take-over: only so many rows are left out."""
    names = ["1"] * 600 + ["2"] * 200 + [str(3 + i % 5) for i in range(3 * LEARN)]
    run(model := relearning(), versioned(names))
    assert model.actor.phase is Phase.ACTIVE


def test_flapping_between_versions_ends_relearning() -> None:
    """Two versions that take turns are learned twice each, then the reference stays, and the log says so."""
    names: Names = [str(1 + i // 1_000 % 2) for i in range(20_000)]
    run(model := relearning(), versioned(names))
    assert model.versions.changes == 19
    assert model.versions.learnings == {"1": LEARNINGS_MAX, "2": LEARNINGS_MAX}
    assert sum("are its reference" in note for note in model.notes) == 2 * LEARNINGS_MAX - 1
    assert sum("so the reference stays" in note for note in model.notes) == 19 - 2 * LEARNINGS_MAX + 1


def test_relearning_waits_for_room_to_learn() -> None:
    """Where too many models learn already, the model is queued."""
    model = relearning()
    model.room_to_learn = lambda: False
    run(model, versioned(["1"] * 1_000 + ["2"] * 400))
    assert model.actor.phase is Phase.QUEUED


def test_a_promoted_baseline_belongs_to_the_version_that_follows() -> None:
    """What was in force before a promotion is forgotten: the next version takes nothing over."""
    model = relearning()
    run(model, versioned(["1"] * 1_000))
    model.versions.promoted()
    run(model, versioned(["2"] * 1_000, start=1_000))
    assert (model.versions.in_force, model.versions.changes) == ("2", 0)


@given(
    runs=st.lists(st.tuples(st.sampled_from(["1", "2", None]), st.integers(1, 900)), min_size=1, max_size=6),
    cut=st.integers(1, 3_000),
)
def test_relearning_is_the_same_however_cut_and_restarted(
    runs: list[tuple[str | None, int]], cut: int
) -> None:
    """A cut with a restart from the stored state leaves the same state and alerts."""
    names = [name for name, size in runs for _ in range(size)]
    rows = shifted(names, len(names) // 2)
    cut = min(cut, len(rows) - 1) if len(rows) > 1 else 0
    whole = relearning()
    alerts = run(whole, rows)
    first = relearning()
    told = first.apply(rows, 0, cut, PROGRESS, CONTEXT) if cut else []
    stored: dict[bytes, bytes] = {key: value for key, value in states(first) if value is not None}
    settings = DetectionSettings(learning_rows=LEARN, on_new_version="relearn")
    second, problem = store.read_model("m", stored, settings, {})
    assert not problem
    told += second.apply(rows, cut, len(rows), PROGRESS, CONTEXT)
    assert [a.data for a in told] == [a.data for a in alerts]
    assert second.versions == whole.versions
    kept = {key: value for key, value in states(whole) if value is not None}
    after = stored | {key: value for key, value in states(second) if value is not None}
    assert after[b"m|m|meta"] == kept[b"m|m|meta"]


# --- per version


@pytest.mark.parametrize(
    ("version", "name"),
    [("3", "m::3"), ("2024.1-rc_1", "m::2024.1-rc_1"), ("a:b", "m::x-d6bfbd8e2b1e"), ("ü", None)],
)
def test_a_versions_model_has_an_id_within_the_allowed_characters(version: str, name: str | None) -> None:
    """Plain versions stand as they are, others as a digest; the model is found back from each."""
    made = version_name("m", version)
    assert base_of(made) == "m"
    assert made == name or (name != version and made.startswith("m::x-"))
    assert mailbox_partition(made, 64) == mailbox_partition("m", 64)


def test_an_id_without_room_for_a_version_has_none() -> None:
    """An id never grows beyond what is allowed."""
    assert version_name("m" * 127, "3") == "m" * 127


def split() -> MailboxPartition:
    """A partition whose models are split by version; settings of a model are those of its versions."""
    settings = DetectionSettings(learning_rows=1_000, on_new_version="per_version")
    return MailboxPartition(
        partition=0, topic_id="mailbox", partitions=1, settings=settings,
        models={"m": ModelSettings(learning_rows=LEARN)}, revision="r", runbook_url="https://r",
    )  # fmt: skip


def fed(p: MailboxPartition, rows: Block) -> None:
    """Apply a block as the next envelope."""
    lo, hi = int(rows.offset[0]), int(rows.offset[-1])
    flag = 0 if p.next_offset else ProgressFlag.START
    progress = Progress(SOURCE, "t", lo - 1, lo, hi, flag, int(rows.record_time[-1]))
    p.apply(p.next_offset, 0, pack(Envelope("test", (progress,), (rows,))))


def test_versions_are_models_of_their_own() -> None:
    """Each version learns its own rows, rows without a version belong to the model; every row counts once."""
    p = split()
    fed(p, versioned(["1", "2", None, "1"] * 300))
    assert {name: m.actor.rows for name, m in p.models.items()} == {"m": 300, "m::1": 600, "m::2": 300}
    assert p.models["m::1"].actor.phase is Phase.ACTIVE
    assert p.models["m::1"].actor.learning_rows == LEARN
    assert sum(sum(rows.values()) for rows in p.model_rows().values()) == 1_200
    assert all(m.versions.changes == 0 for m in p.models.values())


def test_versions_beyond_the_limit_count_with_the_model_until_one_is_idle() -> None:
    """Nine versions at once: the ninth has no model; after a day of silence it takes the place of one."""
    p = split()
    fed(p, versioned([str(i % VERSIONS_MAX) for i in range(80)]))
    fed(p, versioned(["new"] * 10, start=80))
    assert "m::new" not in p.models
    assert p.models["m"].actor.rows == 10
    p.checkpoint()
    later = versioned(["new"] * 10, start=90)
    fed(p, replace(later, event_time=later.event_time + 2 * DAY, record_time=later.record_time + 2 * DAY))
    assert p.models["m::new"].actor.rows == 10
    assert len(p.models) == VERSIONS_MAX + 1
    checkpoint = p.checkpoint()
    assert checkpoint is not None
    assert checkpoint.gone == ("m::0",)
    gone = {row.key for row in checkpoint.state if row.encode() is None}
    assert {b"m|m::0|meta", b"m|m::0|learn.0"} <= gone
    assert not any(row.key.startswith(b"m|m::0|") and row.encode() for row in checkpoint.state)


def test_a_version_that_comes_back_numbers_its_episodes_on() -> None:
    """Their alerts must not have the ids of those that it had before it was retired, also after a restart."""
    p = split()
    fed(p, versioned([str(i % VERSIONS_MAX) for i in range(80)]))
    p.models["m::0"].episodes.numbers["x"] = 4
    later = versioned(["new"] * 10, start=80)
    fed(p, replace(later, event_time=later.event_time + 2 * DAY, record_time=later.record_time + 2 * DAY))
    assert "m::0" not in p.models
    stored = read_position(next(iter(position_row(p.position, 0).records()))[1], 0)
    assert stored.numbered == p.position.numbered == 4
    assert (
        p.models["m::new"]
        .episodes.begin(
            "x", 0, opened_time=0, onset_time=0, severity="info", channel="location", direction="up"
        )
        .number
        == 5
    )


def test_kpis_of_a_version_that_comes_back_number_on_too() -> None:
    """The alerts of all its episodes have ids."""
    p = split()
    fed(p, versioned([str(i % VERSIONS_MAX) for i in range(80)]))
    p.models["m::0"].kpis.episodes.numbers["kpi.level"] = 6
    later = versioned(["new"] * 10, start=80)
    fed(p, replace(later, event_time=later.event_time + 2 * DAY, record_time=later.record_time + 2 * DAY))
    assert p.position.numbered == 6
    assert [episodes.before for episodes in p.models["m::new"].all_episodes] == [6, 6]


def test_a_retired_version_resolves_what_was_open() -> None:
    """Nobody waits for ever for an episode whose model is gone."""
    model = relearning("keep")
    run(model, shifted(["1"] * 3_000, 2_000))
    assert model.episodes.open
    (alert,) = model.retire((Source("events", 0), 7), CONTEXT)
    assert "made room for another" in str(alert.data["summary"])
