"""Charts: well-formed, within their frame, nothing of a text becomes markup."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import hypothesis
import pytest
from hypothesis import strategies as st

from driftline.publish import svg

EVIL = '<script>alert(1)</script>"onload="x\x1b[2J\u202e&'
TIMES = st.integers(-62_000_000_000_000, 253_402_300_799_999)  # the years 1 to 9999


def parsed(chart: str) -> ET.Element:
    """A chart as XML."""
    return ET.fromstring(chart)  # noqa: S314 - made here


@hypothesis.example([(253_402_300_799_999, 0.0)], "")
@hypothesis.given(st.lists(st.tuples(TIMES, st.floats()), max_size=8), st.text(max_size=10))
def test_any_points_give_a_chart_or_nothing(points: list[tuple[int, float]], name: str) -> None:
    """Any numbers and times; every coordinate is finite and lies in the picture."""
    chart = svg.lines(name, [svg.Series(name, points, [(t, t + 5) for t, _ in points])], floor=0.0)
    if not any(abs(v) <= svg.VALUE_MAX for _, v in points):
        assert chart == ""
        return
    root = parsed(chart)
    for line in root.iter("polyline"):
        for place in line.attrib["points"].split():
            x, y = map(float, place.split(","))
            assert -0.1 <= x <= svg.WIDTH + 0.1
            assert -0.1 <= y <= svg.HEIGHT + 0.1


def test_a_chart_can_be_read_aloud() -> None:
    """Title and description, with the first and last values."""
    root = parsed(svg.lines("PSI of age", [svg.Series("PSI", [(0, 0.1), (60_000, 0.4)])]))
    assert root.attrib["role"] == "img"
    assert root.findtext("title") == "PSI of age"
    assert root.findtext("desc") == "PSI: 0.1 at first, 0.4 at last, 0.1 to 0.4"


def test_hostile_texts_stay_texts() -> None:
    """Names and summaries: parsed again, they are text nodes; control characters are shown, not sent."""
    span = svg.Span(EVIL, 0, 10, "warning", EVIL, True)
    for chart in (
        svg.timeline(EVIL, [span], 0, 20),
        svg.lines(EVIL, [svg.Series(EVIL, [(0, 1.0), (9, 2.0)])]),
    ):
        root = parsed(chart)
        assert {element.tag for element in root.iter()} <= {
            "svg", "title", "desc", "line", "text", "rect", "path", "polyline", "circle",
        }  # fmt: skip
        assert not {"\x1b", "\u202e"} & set(chart)
        assert not any(name.startswith("on") for element in root.iter() for name in element.attrib)


def test_a_time_line_has_a_row_a_signal() -> None:
    """In the order of opening; only what is open has an arrow; bars are cut to the picture."""
    spans = [
        svg.Span("b", -50, 50, "info", "first"),
        svg.Span("a", 20, 40, "warning", "second"),
        svg.Span("b", 60, 500, "critical", "third", True),
    ]
    root = parsed(svg.timeline("t", spans, 0, 100))
    assert [e.text for e in root.iter("text") if e.attrib["class"] == "name"] == ["b", "a"]
    assert len(root.findall("path")) == 1
    for bar in root.iter("rect"):
        assert float(bar.attrib["x"]) >= svg.NAMES
        assert float(bar.attrib["x"]) + float(bar.attrib["width"]) <= svg.WIDTH - svg.RIGHT + 3
    assert svg.timeline("t", [], 0, 100) == ""


@hypothesis.example(0.0, 5e-324)
@hypothesis.given(st.floats(-1e12, 1e12), st.floats(0, 1e12))
def test_ticks_cover_the_values(low: float, size: float) -> None:
    """Few, round, and beyond both ends."""
    ticks = svg.nice(low, low + size)
    assert 2 <= len(ticks) <= svg.TICKS + 3
    assert ticks[0] <= low + 1e-6 * max(abs(low), size, 1e-3)
    assert ticks[-1] >= low + size - 1e-6 * max(abs(low), size, 1e-3)


@pytest.mark.parametrize(
    ("length", "first"),
    [(10_000, "00:00:00"), (svg.DAY // 2, "00:00"), (5 * svg.DAY, "01 Jan"), (300 * svg.DAY, "Jan 1970")],
)
def test_times_are_written_as_precisely_as_needed(length: int, first: str) -> None:
    """Seconds, minutes, days, months."""
    ticks = svg.time_ticks(0, length)
    assert ticks[0] == (0, first)
    assert 2 <= len(ticks) <= svg.TICKS + 4


def test_bars_of_a_table_hold_to_their_width() -> None:
    """Shares are parts of the largest; nothing is wider than the picture."""
    bars = [float(r.attrib["width"]) for r in parsed(svg.pair(0.5, 0.25, 0.5)).iter("rect")]
    assert bars == [svg.BAR / 2, svg.BAR]
    assert [float(r.attrib["width"]) for r in parsed(svg.pair(math.nan, 9.0, 0.0)).iter("rect")] == [
        svg.BAR, 0.0,
    ]  # fmt: skip
