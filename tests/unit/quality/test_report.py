"""Verdicts on hand-written counts, and the committed page against the committed results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from quality import errors_report, report, verdict
from quality.contestants import FEATURES, Panel
from quality.errors import ERRORS


def null(**other: Any) -> dict[str, Any]:
    """A null that keeps its budget: 10 of 30 alarms, none in a sixth of a week."""
    row = {"stream": "n", "runs": 3, "rows": 10_080_000, "strict": 10, "budget": 30.0, "default": 0}
    return (
        row
        | {"references": {"500": [4, 10.0], "5000": [6, 20.0]}, "peers": {"ADWIN": [5, 1_000_000]}}
        | other
    )


def change(openings: int, detected: int, promised: tuple[float, float] | None) -> dict[str, Any]:
    """A stream of ten changes."""
    own = {"detected": detected, "median_delay": 120, "changes": 10, "openings": openings, "false": 2}
    own |= {"ended": detected, "resolved": detected, "early": 0, "rows": 1_000_000}
    return {"stream": "c", "runs": 5, "promised": promised, "contestants": {"Driftline": own}}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (null(), verdict.KEPT),
        (null(strict=25), verdict.UNSURE),  # the upper bound is 37
        (null(strict=31), verdict.MISSED),
        (null(references={"500": [10, 9.0], "5000": [0, 21.0]}), verdict.MISSED),
        (null(default=3), verdict.MISSED),  # three in a sixth of a week
        (null(default=1), verdict.KEPT),  # one can be chance
    ],
)
def test_verdict_on_a_null(row: dict[str, Any], expected: str) -> None:
    """Kept only when the upper bound is within the budget; each size of reference has its part."""
    assert verdict.null_verdict(row) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (change(10, 10, (0.9, 1.2)), verdict.KEPT),
        (change(12, 10, (0.9, 1.2)), verdict.KEPT),
        (change(13, 10, (0.9, 1.2)), verdict.MISSED),
        (change(10, 8, (0.9, 1.2)), verdict.MISSED),  # two were opened twice, two not at all
        (change(1, 1, (0.0, 0.05)), verdict.MISSED),
        (change(0, 0, (0.0, 0.05)), verdict.KEPT),
        (change(0, 0, None), verdict.NO_PROMISE),
    ],
)
def test_verdict_on_a_change(row: dict[str, Any], expected: str) -> None:
    """Episodes a change within what is promised, and seen in nine of ten."""
    assert verdict.change_verdict(row) == expected


@pytest.mark.parametrize(
    ("alarms", "weeks", "expected"),
    [(0, 0.1, verdict.UNSURE), (0, 4, verdict.KEPT), (1, 0.1, verdict.UNSURE), (5, 4, verdict.MISSED)],
)
def test_one_false_alarm_a_week(alarms: int, weeks: float, expected: str) -> None:
    """All nulls together; too short a time shows nothing."""
    rows = [null(rows=weeks * 60_480_000 / 5, default=int(i < alarms)) for i in range(5)]
    assert verdict.weekly_verdict({"nulls": rows, "changes": []}) == expected


def test_what_is_missed_is_named() -> None:
    """In the list that decides the exit code, and in the printed verdict."""
    results = {"nulls": [null(stream="bad", strict=99)], "changes": [change(0, 0, (0.9, 1.2))]}
    assert verdict.missed(results) == ["bad", "c"]
    assert verdict.verdicts(results)[-1] == "- MISSED: bad; c."


def test_cells() -> None:
    """A row of each kind, as printed."""
    lines = report.table({"nulls": [null()], "changes": [change(11, 9, (0.9, 1.2))]})
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in lines]
    assert cells[3][:6] == [
        "n", "none, 10.1 M rows", "10 of 30 [4.8, 18.4] = 4 + 6", "0 in 0.17 weeks", "kept", "5"
    ]  # fmt: skip
    assert cells[5][:5] == ["c", "5 x 2", "90 % [55, 100]; 120; 1.10; 2 false", "9 of 9", "kept"]
    assert len({len(line) for line in lines}) == 1


def test_the_page_is_made_of_the_committed_results() -> None:
    """docs/quality.md says what was measured and nothing else."""
    assert report.PAGE.read_text(encoding="utf-8") == errors_report.page()


@pytest.mark.parametrize(
    ("panel", "stored"),
    [(FEATURES, report.RESULTS), (ERRORS, errors_report.RESULTS)],
    ids=["features", "errors"],
)
def test_the_committed_results_are_of_these_streams(panel: Panel, stored: Path) -> None:
    """A whole run: every stream is there, in order, with what is promised of it now."""
    results = report.load(stored)
    assert [r["stream"] for r in results["nulls"]] == [s.name for s in panel.nulls()]
    known = [(s.name, list(s.episodes) if s.episodes else None) for s in panel.changing()]
    assert [(r["stream"], r["promised"]) for r in results["changes"]] == known


def test_names_are_of_one_stream_only() -> None:
    """A pool's process finds the stream of a job by its name."""
    names = [s.name for panel in (FEATURES, ERRORS) for s in panel.streams()]
    assert len(set(names)) == len(names)
