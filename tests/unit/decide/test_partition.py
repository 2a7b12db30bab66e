"""A mailbox partition: holes, trimming, position, identity, restore, limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from driftline.config import DetectionSettings
from driftline.decide.outputs import Checkpoint
from driftline.decide.partition import MailboxPartition, next_key
from driftline.detect.reference import to_json
from driftline.errors import ExitCode, FatalError, HoleError, MessageError
from driftline.ingest.envelope import pack
from driftline.records import Block, Command, Envelope, Progress, ProgressFlag, Source
from harness.decisions import block, file_reference

RNG = np.random.default_rng(5)
RAW = Source("events", 0)
COMMANDS = Source("driftline.commands", 0)
KNOWN: dict[str, Any] = {
    "partition": 3,
    "topic_id": "mailbox-1",
    "partitions": 4,
    "models": {},
    "revision": "r1",
    "runbook_url": "https://r",
}


def partition(**changed: Any) -> MailboxPartition:
    """A fresh partition."""
    settings = changed.pop("settings", DetectionSettings())
    return MailboxPartition(**{**KNOWN, **changed}, settings=settings)


def envelope(
    rows: Block | None, prev: int, lo: int, hi: int, *, flags: int = 0, topic_id: str = "t1"
) -> bytes:
    """One envelope of one raw partition."""
    progress = Progress(RAW, topic_id, prev, lo, hi, flags, hi * 10)
    return pack(Envelope("test", (progress,), () if rows is None else (rows,)))


def rows(lo: int, hi: int, model: str = "m") -> Block:
    """Rows with raw offsets lo..hi."""
    return block({"x": np.arange(lo, hi + 1, dtype=np.float64)}, start=lo, model=model)


def state_of(checkpoints: list[Checkpoint | None]) -> dict[bytes, bytes]:
    """The compacted state topic after checkpoints."""
    out: dict[bytes, bytes] = {}
    for checkpoint in checkpoints:
        for key, value in (
            (record for row in checkpoint.state for record in row.records()) if checkpoint else ()
        ):
            if value is None:
                out.pop(key, None)
            else:
                out[key] = value
    return out


def started_under(revision: str) -> MailboxPartition:
    """A partition that has applied raw offsets 0..99 under a configuration."""
    p = partition(revision=revision)
    assert p.apply(0, 1_000, envelope(rows(0, 99), -1, 0, 99, flags=ProgressFlag.START)) == 100
    return p


def started() -> MailboxPartition:
    """A partition that has applied raw offsets 0..99."""
    return started_under("r1")


def test_rows_are_counted_once_however_they_are_sent_again() -> None:
    """Sent again whole, in part, or cut differently: only rows above the watermark count."""
    p = started()
    assert p.apply(1, 1_000, envelope(rows(0, 99), -1, 0, 99, flags=ProgressFlag.START)) == 0
    assert p.apply(2, 1_000, envelope(rows(50, 120), 49, 50, 120)) == 21
    assert p.apply(3, 1_000, envelope(rows(121, 121), 120, 121, 121)) == 1
    assert p.model_rows() == {"m": {RAW: 122}}
    assert p.watermarks == {RAW: 121}


def test_an_offset_below_the_next_is_skipped_and_above_it_is_a_hole() -> None:
    """Invariant 1: nothing is applied past a hole."""
    p = started()
    assert p.apply(0, 1_000, b"not even read") == 0
    with pytest.raises(HoleError, match="expected offset 1, got 2"):
        p.apply(2, 1_000, envelope(rows(100, 101), 99, 100, 101))
    assert p.next_offset == 1


def test_a_gap_between_raw_ranges_is_a_hole() -> None:
    """What follows 149 cannot be applied after 99; the first one of a topic must say that it starts."""
    p = started()
    with pytest.raises(HoleError, match="applied up to 99, the next envelope follows 149"):
        p.apply(1, 1_000, envelope(rows(150, 160), 149, 150, 160))
    assert p.model_rows() == {"m": {RAW: 100}}
    with pytest.raises(HoleError, match="first ever seen"):
        partition().apply(0, 1_000, envelope(rows(5, 9), 4, 5, 9))


def test_an_accepted_gap_is_counted() -> None:
    """The operator's word moves the watermark over lost records, which are counted."""
    p = started()
    p.apply(1, 1_000, envelope(rows(150, 160), 149, 150, 160, flags=ProgressFlag.ACCEPTED_GAP))
    assert p.position.lost == 50
    assert p.watermarks == {RAW: 160}
    assert any("50 records up to offset 149" in note for note in p.drain_notes())


def test_a_recreated_raw_topic_stops() -> None:
    """The same name with another topic id is another log."""
    p = started()
    with pytest.raises(FatalError) as caught:
        p.apply(1, 1_000, envelope(rows(0, 5), -1, 0, 5, flags=ProgressFlag.START, topic_id="t2"))
    assert caught.value.code is ExitCode.IDENTITY


def test_a_corrupt_envelope_is_told() -> None:
    """The checksum stops it before anything is applied."""
    value = bytearray(envelope(rows(0, 99), -1, 0, 99, flags=ProgressFlag.START))
    value[-1] ^= 1
    p = partition()
    with pytest.raises(MessageError):
        p.apply(0, 1_000, bytes(value))
    assert (p.next_offset, p.watermarks) == (0, {})


def test_checkpoint_and_restore_continue_where_it_stopped() -> None:
    """Position, watermarks, counts and models come back; the second checkpoint has only what changed."""
    p = started()
    first = p.checkpoint()
    assert p.checkpoint() is None
    p.apply(1, 2_000, envelope(None, 99, 100, 130))
    second = p.checkpoint()
    assert second is not None
    assert [row.key for row in second.state] == [next_key(3)]
    back = MailboxPartition.restore(state_of([first, second]), **KNOWN, settings=DetectionSettings())
    assert (back.next_offset, back.watermarks, back.model_rows()) == (2, {RAW: 130}, {"m": {RAW: 100}})
    assert back.apply(2, 2_000, envelope(rows(131, 131), 130, 131, 131)) == 1


@pytest.mark.parametrize("changed", [{"topic_id": "mailbox-2"}, {"partitions": 8}])
def test_a_recreated_or_resized_mailbox_stops(changed: dict[str, Any]) -> None:
    """State belongs to one topic id and one partition count."""
    stored = state_of([started().checkpoint()])
    with pytest.raises(FatalError) as caught:
        MailboxPartition.restore(stored, **{**KNOWN, **changed}, settings=DetectionSettings())
    assert caught.value.code is ExitCode.IDENTITY


def test_state_without_a_position_stops() -> None:
    """Committed offsets but no state: the state topic was lost."""
    with pytest.raises(FatalError) as caught:
        MailboxPartition.restore({}, **KNOWN, settings=DetectionSettings())
    assert caught.value.code is ExitCode.STATE_MISSING


def test_a_corrupt_shard_is_quarantined_with_an_alert() -> None:
    """Only that model starts again; the alert's id does not change when the take-over is repeated."""
    p = started()
    p.apply(1, 1_000, envelope(rows(100, 110, "other"), 99, 100, 110))
    stored = state_of([p.checkpoint()])
    stored[b"m|m|meta"] = b"DLS1 damaged"
    ids = []
    for _ in range(2):
        back = MailboxPartition.restore(stored, **KNOWN, settings=DetectionSettings())
        checkpoint = back.checkpoint()
        assert checkpoint is not None
        ids += [a.id for a in checkpoint.alerts]
        assert back.models["other"].actor.rows == 11
        assert back.models["m"].episodes.before == 2  # ids of later alerts are not those of lost episodes
    assert len(ids) == 2
    assert ids[0] == ids[1]


def test_partition_time_is_the_slowest_of_the_raw_partitions_that_are_not_idle() -> None:
    """Two raw partitions; the second falls idle after a minute of mailbox time."""
    p = partition()

    def both(offset: int, at: int, *entries: tuple[int, int, int]) -> None:
        progress = tuple(
            Progress(Source("e", i), "t", o - 1, o, o, ProgressFlag.START if o == 0 else 0, t)
            for i, o, t in entries
        )
        p.apply(offset, at, pack(Envelope("x", progress)))

    both(0, 0, (0, 0, 5_000), (1, 0, 3_000))
    assert p.time_ms == 3_000
    both(1, 30_000, (0, 1, 40_000))
    assert p.time_ms == 3_000
    both(2, 61_000, (0, 2, 50_000))
    assert p.time_ms == 50_000
    both(3, 62_000, (1, 1, 4_000))  # wakes up behind: time never goes back
    assert p.time_ms == 50_000


def test_models_beyond_the_limit_are_counted_and_noted() -> None:
    """A flood of model ids cannot grow memory."""
    p = partition(settings=DetectionSettings(models_per_partition_max=1))
    progress = (Progress(RAW, "t1", -1, 0, 9, ProgressFlag.START, 0),)
    p.apply(0, 0, pack(Envelope("x", progress, (rows(0, 4, "a"), rows(5, 9, "b")))))
    assert list(p.models) == ["a"]
    assert p.position.over_limit == 5


def test_models_queue_while_too_many_learn() -> None:
    """The next one starts to learn when a reference is frozen, in order of arrival."""
    p = partition(settings=DetectionSettings(learning_models_max=1, learning_rows=500))
    first = Progress(RAW, "t1", -1, 0, 499, ProgressFlag.START, 0)
    p.apply(0, 0, pack(Envelope("x", (first,), (rows(0, 300, "a"), rows(301, 499, "b")))))
    assert [m.actor.phase.value for m in p.models.values()] == ["learning", "queued"]
    p.apply(1, 0, envelope(rows(500, 800, "a"), 499, 500, 800))
    assert [m.actor.phase.value for m in p.models.values()] == ["active", "learning"]


def test_a_promote_command_takes_its_place_among_the_rows() -> None:
    """Rows before its record time are learned from, rows after it are detected on."""
    baseline = to_json(file_reference({"x": RNG.normal(size=1_000)}))
    body = b'{"type":"baseline.promote","model":"m","baseline":%s}' % baseline
    progress = (
        Progress(RAW, "t1", -1, 0, 99, ProgressFlag.START, 0),
        Progress(COMMANDS, "t2", -1, 0, 0, ProgressFlag.START, 0),
    )
    p = partition()
    p.apply(0, 0, pack(Envelope("x", progress, (rows(0, 99),), (Command("m", 600, 1, 0, body),))))
    actor = p.models["m"].actor
    assert (actor.rows, actor.phase.value) == (100, "active")
    assert actor.detection is not None
    assert actor.detection.active_rows == 40  # offsets 60..99 have record times from 600 ms
    assert any(note.endswith(f"is in force from {RAW.topic}/0/60 on") for note in p.drain_notes())
    assert p.apply(1, 0, pack(Envelope("x", progress, (rows(0, 99),), (Command("m", 600, 1, 0, body),)))) == 0
    assert actor.detection.active_rows == 40


def test_a_new_configuration_is_adopted_and_noted() -> None:
    """Another revision than the stored one is named with its offset."""
    stored = state_of([started().checkpoint()])
    back = MailboxPartition.restore(stored, **{**KNOWN, "revision": "r2"}, settings=DetectionSettings())
    assert any("r2 replaces r1 at mailbox offset 1" in note for note in back.drain_notes())


def test_a_worker_with_an_older_configuration_stops() -> None:
    """Revision 3 has decided; a worker that still has revision 2 must not undo it."""
    stored = state_of([started_under("3-aa").checkpoint()])
    with pytest.raises(FatalError) as caught:
        MailboxPartition.restore(stored, **{**KNOWN, "revision": "2-ff"}, settings=DetectionSettings())
    assert caught.value.code is ExitCode.CONFIG
    MailboxPartition.restore(stored, **{**KNOWN, "revision": "3-bb"}, settings=DetectionSettings())
