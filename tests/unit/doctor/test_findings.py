"""What two looks at a deployment mean: a fault or not, and its remedy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest

from driftline.config import Settings
from driftline.detect.actor import Phase
from driftline.doctor import findings
from driftline.doctor.findings import CODE_REMEDIES, Finding, Look, Rejected
from driftline.records import RejectCode

SETTINGS = Settings.model_validate(
    {"models": {"m": {}, "n": {}}, "inputs": [{"topic": "raw"}], "topics": {"prefix": "p"}, "group": "g"}
)
RAW, COMMANDS, MAILBOX, REJECTS = ("raw", 0), ("p.commands", 0), ("p.mailbox", 0), ("p.rejects", 0)
ENDS = {RAW: 1_000, COMMANDS: 0, MAILBOX: 50, REJECTS: 0}
DONE = {"g-ingest": {RAW: 1_000}, "g-detect": {MAILBOX: 50}}
WELL = Look(dict.fromkeys(ENDS, 0), ENDS, dict.fromkeys(ENDS, 0), DONE, {"g-ingest": 1, "g-detect": 2})


def wrong(found: Iterable[Finding]) -> list[str]:
    """The first words of each fault; every one of them has a remedy."""
    faults = [one for one in found if one.level == "WRONG"]
    assert all(one.remedy for one in faults)
    return [one.what for one in faults]


def look(
    ends: Mapping[tuple[str, int], int] | None = None,
    committed: Mapping[str, Mapping[tuple[str, int], int]] | None = None,
    members: Mapping[str, int] | None = None,
) -> Look:
    """All is well but this."""
    return replace(
        WELL,
        ends=ENDS | dict(ends or {}),
        committed=DONE | dict(committed or {}),
        members={"g-ingest": 1, "g-detect": 2} | dict(members or {}),
    )


def test_all_is_well() -> None:
    """No fault, and a line each."""
    found = [
        *findings.groups(SETTINGS, WELL, WELL, 3.0),
        *findings.events(SETTINGS, WELL, WELL, 3.0),
        *findings.rejects(SETTINGS, WELL, Rejected()),
        *findings.models(SETTINGS, {"m": Phase.ACTIVE, "n": Phase.ACTIVE}),
    ]
    assert [one.level for one in found] == ["good"] * 5


def test_a_stage_without_members_is_not_running() -> None:
    """However little waits."""
    gone = look(members={"g-detect": 0})
    assert wrong(findings.groups(SETTINGS, WELL, gone, 3.0)) == [
        "No worker of stage detect is in group g-detect; 0 records wait."
    ]


@pytest.mark.parametrize(("done", "faults"), [(600, 1), (601, 0)])
def test_lag_is_a_fault_when_nothing_moves(done: int, faults: int) -> None:
    """Four hundred wait; a single one done in between shows that it works."""
    before, after = (look(committed={"g-ingest": {RAW: n}}) for n in (600, done))
    assert len(wrong(findings.groups(SETTINGS, before, after, 3.0))) == faults


def test_lag_begins_where_the_log_does() -> None:
    """What retention deleted does not wait, and a group without a commit has the whole log before it."""
    kept = replace(WELL, begins={**WELL.begins, RAW: 900}, committed={"g-ingest": {}})
    assert kept.lag("g-ingest", ["raw"]) == 100
    assert replace(kept, committed={"g-ingest": {RAW: 950}}).lag("g-ingest", ["raw"]) == 50


def test_an_empty_topic_is_a_fault_and_a_silent_one_a_note() -> None:
    """Nobody ever wrote there; or nobody did for an hour."""
    assert wrong(findings.events(SETTINGS, WELL, look(ends={RAW: 0}), 3.0)) == [
        "raw has never held a record."
    ]
    silent = replace(WELL, an_hour_ago=ENDS)
    (one,) = findings.events(SETTINGS, silent, silent, 3.0)
    assert (one.level, one.what) == ("note", "raw: 0 records in the last hour, 0 in 3 s.")


@pytest.mark.parametrize(("refused", "level"), [(10, "note"), (11, "WRONG"), (2_000, "WRONG")])
def test_rejects_are_a_fault_beyond_one_percent(refused: int, level: str) -> None:
    """As Prometheus alerts; the commonest code is named with its example and remedy."""
    seen = Rejected(Counter({"model_unknown": 3, "syntax": 1}), {"model_unknown": "raw[0] offset 7: x"})
    (one,) = findings.rejects(SETTINGS, look(ends={REJECTS: refused}), seen)
    assert one.level == level
    assert "model_unknown 75%, syntax 25%. For example raw[0] offset 7: x." in one.what
    assert one.remedy.startswith(f"model_unknown: {CODE_REMEDIES[RejectCode.MODEL_UNKNOWN]}.")


def test_models_that_nobody_feeds_or_that_wait() -> None:
    """No state for a configured one, or for none at all, is a fault; queued and learning are notes."""
    found = list(findings.models(SETTINGS, {"m": Phase.LEARNING, "x": Phase.QUEUED}))
    assert wrong(found) == ["1 configured models have had no event: n."]
    assert [one.what for one in found if one.level == "note"] == [
        "Models: 1 queued, 1 learning.",
        "1 models wait until fewer than detection.learning_models_max learn.",
        "1 models learn what is normal and cannot alert yet.",
    ]
    assert wrong(findings.models(SETTINGS, {})) == ["No model has state: nothing is watched."]
