"""Windows by event time in a model: reports, whatever the cuts and restarts, and the level of the test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from driftline.config import DetectionSettings
from driftline.decide import store
from driftline.decide.model import Model
from driftline.decide.policy import window_design
from driftline.detect.windows import judge
from driftline.records import Block
from harness.decisions import CONTEXT, PROGRESS, block, file_reference, new_model

SCHEMA = Path(__file__).parents[3] / "schemas" / "report.v1.json"
RNG = np.random.default_rng(4)
REFERENCE = file_reference({"x": RNG.normal(size=20_000)})
MINUTE_ROWS = 6_000  # at 100 events/s


def traffic() -> Block:
    """Four minutes and a half of rows, the first of them within a minute; some come two minutes late."""
    rows = block({"x": RNG.normal(size=4 * MINUTE_ROWS + 3_000)}, start=2_000)
    times = rows.event_time.copy()
    times[15_000:15_050] -= 120_000
    rows.event_time[:] = times
    return rows


ROWS = traffic()


def timed(window_rows: int | None = 8_192) -> Model:
    """A model with windows of a minute."""
    return new_model(REFERENCE, window_hours=1 / 60, window_rows=window_rows)


def told(model: Model) -> list[dict[str, Any]]:
    """Windows of the reports, with the ids of these."""
    return [{**dict(r.data["window"]), "id": r.data["id"]} for r in model.reports]  # type: ignore[call-overload]


def windows(model: Model, rows: Block, cuts: tuple[int, ...] = ()) -> list[dict[str, Any]]:
    """What the reports say of the windows' ends."""
    for lo, hi in zip((0, *cuts), (*cuts, len(rows)), strict=True):
        model.apply(rows, lo, hi, PROGRESS, CONTEXT)
    schema = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text()))
    for report in model.reports:
        schema.validate(report.data)
    return told(model)


def test_a_window_ends_with_the_minute_and_leaves_late_rows_out() -> None:
    """Aligned to the minute; the first is short, the row past the end belongs to the next."""
    seen = windows(timed(window_rows=None), ROWS)
    assert [w["rows"] for w in seen] == [4_000, 6_000, 5_950, 6_000]
    assert [w["late"] for w in seen] == [0, 0, 50, 0]
    assert [w["from"] for w in seen][1:] == [f"1970-01-01T00:0{m}:00.000Z" for m in (1, 2, 3)]
    assert [w["to"] for w in seen] == [f"1970-01-01T00:0{m}:59.999Z" for m in range(4)]


def test_rows_or_time_whichever_comes_first() -> None:
    """4,096 rows a window at most; the rest of the minute is a window of its own."""
    seen = windows(timed(window_rows=4_096), ROWS)
    assert [w["rows"] for w in seen] == [4_000, 4_096, 1_904, 4_096, 1_854, 4_096, 1_904, 4_096]


def test_cuts_and_restarts_do_not_show() -> None:
    """The same reports whatever the batches, and from stored state in the middle of a window."""
    whole = windows(timed(window_rows=None), ROWS)
    assert windows(timed(window_rows=None), ROWS, (1, 3_999, 4_000, 4_001, 9_999, 15_020, 20_000)) == whole
    first = timed(window_rows=None)
    got = windows(first, head(15_020))
    rows = {k: v for row in store.model_rows(first) for k, v in row.records() if v is not None}
    settings = DetectionSettings(window_hours=1 / 60, window_rows=None)
    again, problem = store.read_model("m", rows, settings, {})
    assert problem == ""
    again.apply(ROWS, 15_020, len(ROWS), PROGRESS, CONTEXT)
    assert got + told(again) == whole


def head(rows: int) -> Block:
    """The first rows of the traffic."""
    r = ROWS
    return Block(
        r.model, r.columns, np.ascontiguousarray(r.tags[:, :rows]), np.ascontiguousarray(r.values[:, :rows]),
        r.event_time[:rows], r.record_time[:rows], r.source[:rows], r.offset[:rows], r.version[:rows],
        r.versions, r.id_hash[:rows],
    )  # fmt: skip


def test_few_rows_are_reported_and_not_tested() -> None:
    """Fewer than 100: no statistic to judge."""
    rows = block({"x": RNG.normal(size=300)})
    rows.event_time[:] = np.where(np.arange(300) < 90, 0, 61_000)
    model = timed()
    assert [w["rows"] for w in windows(model, rows)] == [90]
    signals: Any = model.reports[0].data["signals"]
    assert signals[0]["statistics"]["shape"] is None


def test_an_hour_without_rows_is_no_window() -> None:
    """The next window is that of the next row."""
    rows = block({"x": RNG.normal(size=600)})
    rows.event_time[:] = np.where(np.arange(600) < 300, 0, 3_600_000) + np.arange(600)
    rows.event_time[599] = 3_700_000
    seen = windows(timed(), rows)
    assert [(w["number"], w["rows"], w["from"]) for w in seen] == [
        (0, 300, "1970-01-01T00:00:00.000Z"), (1, 299, "1970-01-01T01:00:00.300Z")
    ]  # fmt: skip


@pytest.mark.parametrize("law", ["normal", "exponential", "standard_t"])
def test_the_level_holds_for_windows_of_any_length(law: str) -> None:
    """Windows of 100 to 20,000 rows, one false opening a 100,000 rows allowed: 10, and no more are seen."""
    rng = np.random.default_rng(8)
    draw = getattr(rng, law)
    args = (3,) if law == "standard_t" else ()
    model = new_model(file_reference({"x": draw(*args, size=20_000)}))
    d = model.actor.detection
    assert d is not None
    fired = rows = 0
    while rows < 1_000_000:
        n = int(np.exp(rng.uniform(np.log(100), np.log(20_000))))
        d.window.begin()
        y = d.layout.derive(block({"x": draw(*args, size=n)}), d.codes, d.mismatches, 0, n)[0]
        bins = np.minimum((y[1] * 100).astype(int), 99)
        d.window.counts += np.bincount(bins, minlength=len(d.window.counts))
        found = d.layout.bins.statistics(d.window.counts)
        verdict = judge(
            found, d.layout.bins.rows(), window_design(d), d.layout.bins.wander, np.array([1e5]), 0.05, n
        )
        fired += bool(verdict.statistic[0] >= verdict.level[0])
        rows += n
    assert fired <= 10


def test_a_window_without_an_end_is_refused() -> None:
    """Neither rows nor hours: says which keys there are."""
    with pytest.raises(ValueError, match="set window_rows, window_hours, or both"):
        DetectionSettings(window_rows=None)
