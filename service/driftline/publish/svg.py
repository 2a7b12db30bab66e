"""Charts as SVG text, drawn on the server: no script, the same on a screen, on paper and for a screen reader.

Owns: scales, ticks and marks. Colours are CSS classes of ``templates/page.css``, so that a page may be light
or dark. Every chart has a title and a description; the numbers are in a table beside it, which is the page's.
Invariant: every text is escaped and made printable here; what is not finite is not drawn. Must not know: what
the values mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from markupsafe import Markup, escape

from driftline.detect.kernels.scan_json import TIME_MS_MAX
from driftline.publish.text import printable

WIDTH: Final = 760
HEIGHT: Final = 220
LEFT: Final = 56  # room for the values of the axis
RIGHT: Final = 12
TOP: Final = 12
BOTTOM: Final = 26  # and for its times
ROW: Final = 20  # of the time line
NAMES: Final = 168  # room for the signals of the time line
NAME_CHARS: Final = 24
TICKS: Final = 5
SPAN_MIN: Final = 1e-300  # the logarithm of a part of less is none
MINUTE: Final = 60_000
DAY: Final = 24 * 60 * MINUTE
SECOND: Final = 1_000
HOUR: Final = 60 * MINUTE
STEPS: Final = (
    1, 100, SECOND, 2 * SECOND, 5 * SECOND, 10 * SECOND, 30 * SECOND, MINUTE, 2 * MINUTE, 5 * MINUTE,
    10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY,
    30 * DAY, 61 * DAY, 183 * DAY, 366 * DAY,
)  # fmt: skip
BAR: Final = 280  # a full one in a table
SPARK: Final = 120
VALUE_MAX: Final = 1e100  # drawn; scales of larger ones overflow
SERIES_MAX: Final = 4  # line styles that can be told apart

Points = Sequence[tuple[int, float]]  # (epoch ms, value)


@dataclass(frozen=True, slots=True)
class Span:
    """A bar of the time line. ``kind`` is a class name of ours: a severity."""

    row: str
    from_ms: int
    to_ms: int
    kind: str
    text: str
    open: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """A line, a name and its points."""

    name: str
    points: Points
    shades: Sequence[tuple[int, int]] = field(default=())  # times to shade behind the lines


def lines(
    title: str, series: Sequence[Series], *, floor: float | None = None, ceiling: float | None = None
) -> Markup:
    """Lines over time; ``floor`` and ``ceiling`` are values that the axis shows in any case."""
    drawn = [Series(s.name, _sorted(s.points), s.shades) for s in series[:SERIES_MAX] if len(s.points)]
    values = [v for s in drawn for _, v in s.points] + [v for v in (floor, ceiling) if v is not None]
    times = [t for s in drawn for t, _ in s.points]
    if not times:
        return Markup("")
    low, high = min(values), max(values)
    ticks = nice(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    first, last = min(times), max(*times, min(times) + 1)
    plot = (LEFT, TOP, WIDTH - RIGHT, HEIGHT - BOTTOM)
    x = _scale(first, last, plot[0], plot[2])
    y = _scale(low, high, plot[3], plot[1])
    said = "; ".join(
        f"{s.name}: {_short(s.points[0][1])} at first, {_short(s.points[-1][1])} at last, "
        f"{_short(min(v for _, v in s.points))} to {_short(max(v for _, v in s.points))}"
        for s in drawn
    )
    return _svg(title, said, HEIGHT, [*_shaded(drawn, x, plot), *_axes(x, y, ticks, first, last, plot),
                                      *_curves(drawn, x, y)])  # fmt: skip


def timeline(title: str, spans: Sequence[Span], first: int, last: int) -> Markup:
    """One row a name in the order of its first bar, bars from begin to end; open ones have an arrow."""
    rows = list(dict.fromkeys(span.row for span in spans))
    if not rows:
        return Markup("")
    height = TOP + ROW * len(rows) + BOTTOM
    last = max(last, first + 1)
    x = _scale(first, last, NAMES, WIDTH - RIGHT)
    parts = list(_time_axis(x, first, last, (NAMES, TOP, WIDTH - RIGHT, height - BOTTOM)))
    for i, row in enumerate(rows):
        at = TOP + ROW * i
        parts.append(_text(NAMES - 8, at + 14, printable(row, NAME_CHARS), "end", "name"))
        parts.append(
            f'<line class="grid" x1="{NAMES}" x2="{WIDTH - RIGHT}" y1="{at + ROW}" y2="{at + ROW}"/>'
        )
    for span in sorted(spans, key=lambda s: s.from_ms):
        at = TOP + ROW * rows.index(span.row) + 4
        begin, end = x(max(span.from_ms, first)), x(min(span.to_ms, last))
        width = max(end - begin, 3.0)
        tip = f"<title>{escape(printable(span.text, 400))}</title>"
        parts.append(
            f'<rect class="bar {escape(span.kind)}" x="{begin:.1f}" y="{at}" width="{width:.1f}" height="12" '
            f'rx="2">{tip}</rect>'
        )
        if span.open:
            parts.append(f'<path class="open" d="M{begin + width - 6:.1f} {at + 2}l5 4l-5 4"/>')
    said = f"{len(spans)} bars in {len(rows)} rows: {', '.join(rows[:20])}"
    return _svg(title, said, height, parts)


def pair(now: float, was: float, most: float) -> Markup:
    """Two bars, of the reference and of now, for a cell of a table that has the numbers beside it."""
    top = most if most > 0.0 else 1.0
    widths = [BAR * min(max(share / top, 0.0), 1.0) if math.isfinite(share) else 0.0 for share in (was, now)]
    bars = "".join(
        f'<rect class="{kind}" x="0" y="{y}" width="{width:.1f}" height="6"/>'
        for kind, y, width in zip(("was", "now"), (1, 9), widths, strict=True)
    )
    return Markup(  # noqa: S704 - numbers and names of ours
        f'<svg class="pair" viewBox="0 0 {BAR} 16" width="{BAR}" height="16" aria-hidden="true">{bars}</svg>'
    )


def spark(points: Points) -> Markup:
    """A small line for a cell of a table that has the latest value beside it."""
    found = _sorted(points)
    if len(found) < 2:
        return Markup("")
    high = max(v for _, v in found)
    x, y = _scale(found[0][0], found[-1][0], 1, SPARK - 1), _scale(0.0, high or 1.0, 23, 2)
    path = " ".join(f"{x(t):.1f},{min(max(y(v), 0.0), 24.0):.1f}" for t, v in found)
    return Markup(  # noqa: S704 - numbers of ours
        f'<svg class="spark" viewBox="0 0 {SPARK} 24" width="{SPARK}" height="24" aria-hidden="true">'
        f'<polyline class="line s0" points="{path}"/></svg>'
    )


def nice(low: float, high: float) -> list[float]:
    """About TICKS round numbers that cover low..high.

    >>> nice(0.0, 0.93)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = high - low
    if not math.isfinite(span) or span <= max(abs(high) * 1e-12, SPAN_MIN):
        span = max(abs(high), 1e-6) if math.isfinite(high) else 1.0
    unit = 10.0 ** math.floor(math.log10(span / TICKS))
    step = next(unit * k for k in (1, 2, 2.5, 5, 10) if span / (unit * k) <= TICKS)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{k * step:.12g}") for k in range(first, max(last, first + 1) + 1)]


def time_ticks(first: int, last: int) -> list[tuple[int, str]]:
    """Round times within first..last and how to write them (UTC)."""
    step = next((s for s in STEPS if (last - first) / s <= TICKS + 2), STEPS[-1])
    ticks = range(-(-first // step) * step, min(last, TIME_MS_MAX) + 1, step)
    if step >= 28 * DAY:  # months are not all the same
        ticks_at = [at for at in _months(first, last) if first <= at <= last]
        every = max(1, round(len(ticks_at) / (TICKS + 1)))
        return [(at, _utc(at, "%b %Y")) for at in ticks_at[::every]]
    shape = "%d %b" if step >= DAY else "%H:%M" if step >= MINUTE else "%H:%M:%S"
    long = step < DAY and first // DAY != last // DAY
    return [(at, _utc(at, "%d %b %H:%M" if long else shape)) for at in ticks]


def _months(first: int, last: int) -> Iterator[int]:
    at = datetime.fromtimestamp(first / 1000, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while (ms := int(at.timestamp() * 1000)) <= last and at.year < 9999:  # the calendar's end
        yield ms
        at = at.replace(year=at.year + at.month // 12, month=at.month % 12 + 1)


def _utc(ms: int, shape: str) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime(shape)


@dataclass(frozen=True, slots=True)
class _Scale:
    low: float
    factor: float
    start: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) * self.factor


def _scale(low: float, high: float, start: float, end: float) -> _Scale:
    return _Scale(low, (end - start) / (high - low) if high > low else 0.0, start)


def _sorted(points: Points) -> Points:
    return sorted(p for p in points if abs(p[1]) <= VALUE_MAX)  # and no NaN


Plot = tuple[float, float, float, float]  # left, top, right, bottom


def _shaded(series: Sequence[Series], x: _Scale, plot: Plot) -> Iterator[str]:
    for begin, end in (shade for s in series for shade in s.shades):
        a, b = (min(max(x(at), plot[0]), plot[2]) for at in (begin, end))
        if b > a:
            yield (
                f'<rect class="shade" x="{a:.1f}" y="{plot[1]}" width="{b - a:.1f}" '
                f'height="{plot[3] - plot[1]}"/>'
            )


def _axes(x: _Scale, y: _Scale, ticks: Sequence[float], first: int, last: int, plot: Plot) -> Iterator[str]:
    for value in ticks:
        at = f"{y(value):.1f}"
        yield f'<line class="grid" x1="{plot[0]}" x2="{plot[2]}" y1="{at}" y2="{at}"/>'
        yield _text(plot[0] - 6, y(value) + 4, _short(value), "end")
    yield from _time_axis(x, first, last, plot)


def _time_axis(x: _Scale, first: int, last: int, plot: Plot) -> Iterator[str]:
    for at, text in time_ticks(first, last):
        place = x(at)
        yield f'<line class="grid" x1="{place:.1f}" x2="{place:.1f}" y1="{plot[1]}" y2="{plot[3]}"/>'
        anchor = "end" if place > plot[2] - 30 else "start" if place < plot[0] + 20 else "middle"
        yield _text(place, plot[3] + 16, text, anchor)


def _curves(series: Sequence[Series], x: _Scale, y: _Scale) -> Iterator[str]:
    for i, one in enumerate(series):
        path = " ".join(f"{x(t):.1f},{y(v):.1f}" for t, v in one.points)
        yield f'<polyline class="line s{i}" points="{path}"/>'
        if len(one.points) <= 60:
            for t, v in one.points:
                tip = f"{_utc(t, '%Y-%m-%d %H:%M')} {one.name} {_short(v)}"
                yield (
                    f'<circle class="dot s{i}" cx="{x(t):.1f}" cy="{y(v):.1f}" r="2.5">'
                    f"<title>{escape(printable(tip, 200))}</title></circle>"
                )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _short(value: float) -> str:
    return f"{value:.4g}"


def _svg(title: str, said: str, height: float, parts: Sequence[str]) -> Markup:
    head = (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>{escape(printable(title, 200))}</title><desc>{escape(printable(said, 1_000))}</desc>"
    )
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - every text in it was escaped above
