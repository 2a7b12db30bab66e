"""Pages for a terminal: baselines, an alert, an explanation; ASCII on request, nothing unsafe, any input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from driftline.detect.reference import RawColumn, Reference, build_reference
from driftline.publish.alert_page import page_lines
from driftline.publish.baselines import diff_lines, show_lines
from driftline.publish.drawing import bar, columns, table
from driftline.records import ColumnKind, Tag

ALERTS = Path(__file__).parents[3] / "schemas/examples/alert/valid"
EVIL = "a\x1b[2J\u202eb"


def example(name: str) -> dict[str, Any]:
    """An alert of the schema's examples."""
    found: dict[str, Any] = json.loads((ALERTS / f"{name}.json").read_text(encoding="utf-8"))
    return found


def reference(shift: float) -> Reference:
    """A numeric, a zero-inflated and a categorical column with a hostile category."""
    rng = np.random.default_rng(1)
    n = 2_000
    x, gone = rng.normal(shift, 1.0, n), rng.random(n) < 0.5
    codes = (rng.random(n) < 0.3 + shift / 4).astype(np.float64)
    number, text = np.full(n, Tag.NUMBER, np.uint8), np.full(n, Tag.STRING, np.uint8)
    raw = [
        RawColumn(ColumnKind.FEATURE, "x", number, x, ()),
        RawColumn(ColumnKind.FEATURE, "zeros", number, np.where(gone, 0.0, x), ()),
        RawColumn(ColumnKind.FEATURE, "word", text, codes, ("de", EVIL)),
    ]
    return build_reference("m", "file", raw, np.arange(n, dtype=np.int64) * 60_000, time_ordered=True)


def test_drawings() -> None:
    """The tallest is full, anything shows, nothing is blank; columns stand under each other."""
    assert columns([0.0, 1e-9, 0.5, 1.0], ascii_only=False) == " ▁▄█"
    assert columns([0.0, 1e-9, 0.5, 1.0], ascii_only=True) == " .=@"
    assert columns([0.0, 0.0], ascii_only=True) == "  "
    assert [bar(s, 10, ascii_only=True) for s in (0.0, 1e-9, 0.5, 7.0)] == ["", "#", "#####", "##########"]
    assert table([["a", "b"], ["long", "1"]]) == ["  a     b", "  long  1"]


def test_a_baseline_is_drawn() -> None:
    """Type, histogram, quantiles, categories, atom; a name cannot drive the terminal."""
    text = "\n".join(show_lines(reference(0.0), ascii_only=True))
    assert text.isascii()
    assert "x  number, 2,000 values, missing 0 %, tau " in text
    assert "% of the values are 0; the histogram is of the others" in text
    assert "a\\x1b[2J\\u202eb" in text
    assert "all the traffic of its time" in text
    assert "█" in "\n".join(show_lines(reference(0.0), ascii_only=False))


def test_a_difference_is_ranked_and_drawn_on_one_scale() -> None:
    """The moved signal first; reference above, other below."""
    lines = list(diff_lines(reference(0.0), reference(0.5), ascii_only=True))
    ranked = [line.split()[0] for line in lines[4:7]]
    assert sorted(ranked) == ["word", "x", "zeros"]
    assert lines[4].split()[1] > lines[6].split()[1]
    assert any(line.startswith("  reference |") for line in lines)
    assert any("+0.5" in line for line in lines)


@pytest.mark.parametrize(
    "name", ["opened_numeric", "opened_categorical", "resolved_numeric", "updated_numeric"]
)
def test_an_alert_is_explained(name: str) -> None:
    """First line, since when, current against reference, each detector against its threshold, where."""
    data = example(name)
    text = "\n".join(page_lines(data, ascii_only=True))
    assert text.startswith(data["summary"])
    for part in (data["id"], data["onset"], data["runbook"], "inference.events/2/918273", "21 sources"):
        assert part in text
    assert "48.6 % to 51.4 %" in text
    assert "42,000" in text


def test_windows_and_other_detectors_stand_beside() -> None:
    """The last full window, and what a detector of river thinks; a PSI is no percentage."""
    data = example("opened_numeric")
    data["window"] = {"rows": 8192.0, "psi": 0.0312, "ks_distance": None}
    data["suspicions"] = [{"detector": "KSWIN", "channel": "location", "alarms": 3, "last": None}]
    data["evidence"][0] |= {"channel": "shape", "reference_mean": 0.0, "current_mean": 0.0312}
    text = "\n".join(page_lines(data, ascii_only=True))
    assert "last window: rows 8,192, PSI 0.0312\n" in text
    assert "KSWIN on location: 3 alarms, last -" in text
    row = next(line for line in text.splitlines() if line.startswith("  shape"))
    assert "0.0312" in row
    assert "3.12 %" not in row


def test_a_kpi_is_shown_with_what_was_agreed() -> None:
    """Value, bounds and window in place of a budget and a reference, which it does not have."""
    data = example("opened_kpi")
    text = "\n".join(page_lines(data, ascii_only=True))
    assert "  measure    recall.fraud 0.61, agreed min 0.8\n" in text
    assert "2026-11-23T00:00:00.000Z, 205 of 9,120 rows count\n" in text
    assert "budget" not in text


def test_a_hostile_alert_cannot_drive_the_terminal() -> None:
    """Control characters anywhere in the data are escaped."""

    def poison(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: poison(v) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(v) for v in value]
        return EVIL + value if isinstance(value, str) else value

    for name in ("opened_numeric", "opened_categorical"):
        text = "\n".join(page_lines(poison(example(name)), ascii_only=True))
        assert not set(text) & {"\x1b", "\u202e"}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@hypothesis.settings(max_examples=150)
@hypothesis.given(data=st.data())
def test_any_object_is_a_page(data: st.DataObject) -> None:
    """Whoever may write to the topic cannot break the command: any value in any place."""
    body = example(data.draw(st.sampled_from(["opened_numeric", "opened_categorical"])))
    for _ in range(3):
        place: Any = body
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if not isinstance(place[key], (dict, list)) or not place[key] or data.draw(st.booleans()):
                break
            place = place[key]
        place[key] = data.draw(ANYTHING)
    for line in page_lines(body, ascii_only=False):
        assert "\n" not in line
