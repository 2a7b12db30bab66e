"""The review of a model: its summary, and its three forms, with nothing of a text becoming markup."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from driftline.errors import OperatorError
from driftline.publish import outputs, review_pages
from driftline.publish.history import fold
from driftline.publish.review import BOUNDS, Review, cell_names, make
from driftline.publish.windows import Window
from harness.page_story import HOUR, T0, alert, story

EVIL = "</title><script>alert(1)</script><img src=x onerror=alert(2)>|`*_[a](javascript:b)\x1b[2J\u202e\u2066"


SUMMARY = """\
Between 21 September 2026 and 22 September 2026, 2 episodes on 2 signals; 1 still open at the end, \
1 of them critical.
Most different from the reference: "age" in the window up to 22 September 2026 (PSI 0.2, now 0.2); \
"land" in the window up to 22 September 2026 (PSI 0.01, now 0.01).
Accuracy was 0.93 in the first and 0.75 in the last of 10 windows of labelled events, 0.84 on average; \
worst in the window up to 22 September 2026: 0.75.
78.8 % of the predictions have got their label, half of them within 1 hour 8 minutes, \
99 % within 4 hours 33 minutes."""


class Page(HTMLParser):
    """Elements and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str | None]] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.add(tag)
        self.attributes |= set(attrs)

    def handle_data(self, data: str) -> None:
        """A text."""
        self.text += data


def told(since: int | None = None, until: int | None = None, **names: str) -> Review:
    """The review of the story."""
    model = names.get("model", "m")
    records = outputs.belonging(story(**names), model, since, until)
    return make(fold(records, BOUNDS).models[model], since, until)


def test_the_summary_is_in_plain_words() -> None:
    """Episodes, the signals that differ most, performance, labels."""
    assert "\n".join(told().sentences) == SUMMARY


def test_only_the_stretch_is_told() -> None:
    """An episode from before counts while it is open; windows of before and of after do not."""
    found = told(T0 + 5 * HOUR, T0 + 8 * HOUR)
    assert [e.signal for e in found.episodes] == ["age", "land"]
    assert len(found.performance) == 4
    assert [t for t, _ in found.signals[0].psi] == [T0 + h * HOUR for h in (5, 6, 7, 8)]
    assert [e.signal for e in told(T0 + 7 * HOUR).episodes] == ["age"]


def test_what_is_not_known_is_said() -> None:
    """Without windows and labels."""
    records = [alert("opened", 1), alert("resolved", 2, sequence=1)]
    sentences = make(fold(records).models["m"], None, None).sentences
    assert "all have ended" in sentences[0]
    assert sentences[1].startswith("No window of events is complete")
    assert sentences[2].startswith("Performance is not known")


def test_the_page_needs_nothing_else_and_holds_no_script() -> None:
    """No script, no link, no source; a policy that would refuse them; headings, tables and charts."""
    page = Page(review_pages.html(told()))
    assert not {"script", "link", "iframe", "object", "img", "form", "a"} & page.tags
    assert not {name for name, _ in page.attributes} & {"src", "href", "srcset", "style"}
    assert {"h1", "h2", "table", "caption", "svg", "title", "desc", "details"} <= page.tags
    policies = [value or "" for name, value in page.attributes if name == "content"]
    assert any("default-src 'none'" in policy for policy in policies)
    assert "up to 24.5" in page.text
    assert "approve" not in page.text


def test_hostile_names_are_text_in_html() -> None:
    """A signal, a category and a summary that try to be elements; no control or bidi character is left."""
    text = review_pages.html(told(signal=EVIL, category=EVIL))
    page = Page(text)
    assert not {"script", "img"} & page.tags
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert not {"\x1b", "\u202e", "\u2066"} & set(text)
    assert "</title><script>alert(1)</script>" in page.text
    assert "\\x1b[2J\\u202e" in page.text


def test_hostile_names_are_text_in_markdown() -> None:
    """Every character that could begin markup has a backslash; a table keeps its columns."""
    text = review_pages.markdown(told(signal=EVIL, category=EVIL))
    assert not {"\x1b", "\u202e", "\u2066"} & set(text)
    assert "\\<script\\>" in text
    assert "<script" not in text.replace("\\<", "")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "script" in line]
    plain = [line.replace("\\|", "") for line in rows]
    assert rows
    assert {line.count("|") for line in plain} == {8, 5}


def test_json_is_ascii_and_complete() -> None:
    """It may be printed to a terminal; it holds what the page shows."""
    text = review_pages.written(told(signal=EVIL), "json")
    data = json.loads(text)
    assert text.isascii()
    assert data["signals"][0]["signal"] == EVIL
    assert len(data["performance"]) == 10
    assert data["episodes"][0]["resolved"] is None


def test_cells_have_names() -> None:
    """Outer ranges have one bound: what lies beyond the reference's range is counted in them."""
    cells = (
        ((1.0, 2.0), 1, 1),
        ((2.0, 3.5), 1, 1),
        ((3.5, 9.0), 1, 1),
        (0.0, 1, 1),
        (None, 1, 1),
        ("x", 1, 1),
    )
    assert cell_names(Window(0, 1, 6, "r", 0.0, {}, False, cells)) == [
        "up to 2", "2 to 3.5", "over 3.5", "exactly 0", "all others", "x",
    ]  # fmt: skip


def test_many_categories_are_one_row() -> None:
    """The largest are shown, the rest is summed; no share is lost."""
    cells = tuple((f"c{i}", i, 31 - i) for i in range(32))
    rows = review_pages.cell_rows(Window(0, 1, 496, "r", 0.0, {}, False, cells))
    assert len(rows) == review_pages.ROWS_DRAWN
    assert rows[-1].name == "19 others"
    assert sum(r.now for r in rows) == pytest.approx(1.0) == sum(r.was for r in rows)


def test_times_as_people_give_them() -> None:
    """Dates, times and how long ago; anything else says how to write it."""
    now = 1_795_000_000_000
    assert outputs.moment_of("7d", now) == now - 7 * 86_400_000
    assert outputs.moment_of("90m", now) == now - 90 * 60_000
    assert outputs.moment_of("2026-11-23", now) == outputs.moment_of("2026-11-23T00:00:00Z", now)
    for wrong in ("yesterday", "7", "2026-13-01", "d"):
        with pytest.raises(OperatorError, match="is no time"):
            outputs.moment_of(wrong, now)
