"""A review as a page of HTML that needs nothing else, and as Markdown.

Owns: the templates' environment, which the console shares. Invariants: every text goes through ``printable``
and is escaped, whatever a template does; a page holds no script and loads nothing. Must not know: Kafka,
clocks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import driftline
from driftline.decide.texts import number, percent
from driftline.detect.performance import SIGNAL as ERRORS
from driftline.publish import svg
from driftline.publish.history import Episode
from driftline.publish.review import (
    SIGNALS_DRAWN,
    Review,
    SignalReview,
    as_json,
    cell_names,
    day,
    moment,
    statistic_name,
)
from driftline.publish.text import printable
from driftline.publish.windows import PerformanceWindow, Window

TEXT_CHARS_MAX: Final = 1_000  # of a text on a page: the longest summary has 500
ROWS_DRAWN: Final = 14  # cells of a signal in a table, the rest together
# In one chart each.
DRAWN: Final[Sequence[Sequence[str]]] = (
    ("accuracy", "auc"),
    ("precision", "recall"),
    ("mae", "rmse"),
    ("bias",),
)
NONE: Final = "-"  # in place of a number that there is not
_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>&~$@:])")  # what Markdown may take for markup


@dataclass(frozen=True, slots=True)
class CellRow:
    """One row of a table of cells: shares of the rows, and their bars."""

    name: str
    was: float
    now: float
    bars: Markup


@cache
def environment() -> Environment:
    """The templates of this package and of the console; texts are made printable and escaped."""
    made = Environment(
        loader=PackageLoader("driftline.publish"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_safe,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "share": _share,
        "value": _value,
        "moment": moment,
        "day": day,
        "statistic": statistic_name,
    }
    made.globals["cell_rows"] = cell_rows
    return made


def _safe(value: Any) -> Any:
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return printable(value, TEXT_CHARS_MAX)


def style() -> str:
    """The style sheet of all pages."""
    return (resources.files("driftline.publish") / "templates" / "page.css").read_text(encoding="utf-8")


def written(review: Review, form: str) -> str:
    """The review as ``html``, ``md`` or ``json`` (ASCII: it may be printed to a terminal)."""
    if form == "html":
        return html(review)
    return markdown(review) if form == "md" else json.dumps(as_json(review), indent=1) + "\n"


def html(review: Review) -> str:
    """The page."""
    errors = [e for e in review.episodes if e.signal == ERRORS]
    shown = [
        {
            "review": s,
            "chart": _chart(s, review),
            "caption": f"The window that differs most: {_span(s.worst)}",
        }
        for s in review.signals[:SIGNALS_DRAWN]
    ]
    return environment().get_template("review.html").render(
        review=review,
        css=Markup(style()),  # noqa: S704 - a file of ours
        chart_episodes=episodes_chart(review.episodes, review.from_ms, review.to_ms),
        charts=performance_charts(review.performance, shades(errors, review.to_ms)),
        chart_coverage=coverage_chart(review.performance),
        columns=sorted({name for w in review.performance for name in w.statistics}),
        errors=errors,
        signals=shown,
        version=driftline.__version__,
    )  # fmt: skip


def performance_charts(
    windows: Sequence[PerformanceWindow], shades: Sequence[tuple[int, int]]
) -> list[tuple[list[str], Markup]]:
    """Charts of the statistics that there are, with their names; shaded while predictions were worse."""
    found = {name for w in windows for name in w.statistics}
    charts = []
    for group in DRAWN:
        names = [name for name in group if name in found]
        series = [
            svg.Series(
                statistic_name(name),
                [(w.to_ms, w.statistics[name]) for w in windows if name in w.statistics],
                shades if i == 0 else (),
            )
            for i, name in enumerate(names)
        ]
        if series:
            charts.append((names, svg.lines(f"{' and '.join(map(statistic_name, names))} over time", series)))
    return charts


def coverage_chart(windows: Sequence[PerformanceWindow]) -> Markup:
    """The share of predictions with a label."""
    points = [(w.to_ms, w.coverage) for w in windows if w.coverage is not None]
    return svg.lines("Coverage of labels over time", [svg.Series("coverage", points)], floor=0.0, ceiling=1.0)


def psi_chart(name: str, points: svg.Points, episodes: Sequence[Episode], end: int) -> Markup:
    """The PSI of a signal over the windows; its episodes are shaded."""
    title = f"PSI of {printable(name)} over time"
    return svg.lines(title, [svg.Series("PSI", points, shades(episodes, end))], floor=0.0)


def episodes_chart(episodes: Sequence[Episode], begin: int, end: int) -> Markup:
    """All episodes on a time line."""
    spans = [
        svg.Span(e.signal, e.opened_ms, e.resolved_ms or end, e.severity, e.summary, e.resolved_ms is None)
        for e in episodes
    ]
    return svg.timeline("Episodes over time, one row a signal", spans, begin, end)


def shades(episodes: Sequence[Episode], end: int) -> list[tuple[int, int]]:
    """The times in which an episode was open; ``end`` is now."""
    return [(e.opened_ms, e.resolved_ms or end) for e in episodes]


def _chart(signal: SignalReview, review: Review) -> Markup:
    own = [e for e in review.episodes if e.signal == signal.name]
    return psi_chart(signal.name, signal.psi, own, review.to_ms)


def _span(window: Window) -> str:
    return f"{moment(window.from_ms)} to {moment(window.to_ms)} UTC, {window.rows:,} events"


def cell_rows(window: Window) -> list[CellRow]:
    """The cells of a window as shares; the small ones of many categories are one row."""
    now, was = max(sum(c[1] for c in window.cells), 1), max(sum(c[2] for c in window.cells), 1)
    rows = [
        (name, b / was, a / now) for name, (_, a, b) in zip(cell_names(window), window.cells, strict=True)
    ]
    if len(rows) > ROWS_DRAWN:
        kept = sorted(rows, key=lambda r: -max(r[1], r[2]))[: ROWS_DRAWN - 1]
        rest = [r for r in rows if r not in kept]
        rows = [r for r in rows if r in kept]
        rows.append((f"{len(rest)} others", sum(r[1] for r in rest), sum(r[2] for r in rest)))
    most = max((max(b, a) for _, b, a in rows), default=0.0)
    return [CellRow(name, b, a, svg.pair(a, b, most)) for name, b, a in rows]


def markdown(review: Review) -> str:
    """The review without its drawings."""
    return "\n".join(_markdown(review)) + "\n"


def _markdown(review: Review) -> Iterator[str]:
    yield f"# {_plain(review.model)}: {day(review.from_ms)} to {day(review.to_ms)}"
    yield ""
    yield from (f"- {_plain(sentence)}" for sentence in review.sentences)
    yield from ("", "## Signals", "")
    yield from _table(
        ["Signal", "PSI, largest", "in the window up to", "PSI, latest", "Missing", "Episodes", "Open"],
        [
            [
                s.name, _value(s.worst.statistics.get("psi")), moment(s.worst.to_ms),
                _value(s.latest.statistics.get("psi")), percent(s.latest.missing), str(s.episodes),
                "no" if s.open is None else s.open.severity,
            ]
            for s in review.signals
        ],
    )  # fmt: skip
    names = sorted({name for w in review.performance for name in w.statistics})
    yield from ("", "## Performance", "")
    yield from _table(
        ["Up to (UTC)", "Labelled", *map(statistic_name, names), "Coverage"],
        [
            [
                moment(w.to_ms), f"{w.rows:,}", *(_value(w.statistics.get(n)) for n in names),
                _share(w.coverage),
            ]
            for w in review.performance
        ],
    )  # fmt: skip
    yield from ("", "## Alerts", "")
    yield from _table(
        ["Opened (UTC)", "Resolved", "Severity", "What was said"],
        [
            [
                moment(e.opened_ms), "still open" if e.resolved_ms is None else moment(e.resolved_ms),
                e.severity, e.summary,
            ]
            for e in review.episodes
        ],
    )  # fmt: skip


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    if not rows:
        yield "None."
        return
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    yield from (f"| {' | '.join(map(_plain, row))} |" for row in rows)


def _value(value: float | None) -> str:
    return NONE if value is None else number(value)


def _share(value: float | None) -> str:
    return NONE if value is None else percent(value)


def _plain(text: str) -> str:
    """Text in which Markdown finds no markup."""
    return _SPECIAL.sub(r"\\\1", printable(text, TEXT_CHARS_MAX))
