"""What the viewer sees: a live screen on a terminal, plain lines elsewhere, and the closing summary.

Everything is drawn from plain values (``Frame``, ``summary.Summary``); nothing here waits, reads or
decides. Words are those of a person who meets drift for the first time.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

REFRESH_PER_SECOND: Final = 4
LINE_EVERY_SECONDS: Final = 3.0
ALERTS_KEPT: Final = 100
BAR_CELLS: Final = 10
BAR_FULL_SD: Final = 1.0  # a shift of one standard deviation fills the bar
BAR_WIDE: Final = 100
ALERT_LINES: Final = 2  # of the screen for one alert; the whole text follows when the stream is over
WIDE: Final = 90  # columns from which bars and missing values fit beside the names
COLOURS: Final = {"critical": "bold red", "warning": "yellow", "info": "cyan"}


@dataclass(frozen=True, slots=True)
class SignalLine:
    """One signal as shown: ``shift`` in standard deviations of January, NaN when unknown."""

    name: str
    shift: float
    missing: float
    severity: str | None  # of the open alert


@dataclass(frozen=True, slots=True)
class Frame:
    """Everything on the screen at one moment."""

    events: int  # to be streamed in all
    sent: int
    applied: int
    per_second: float
    at: str  # date the stream has reached, e.g. "2013-03-05"
    signals: Sequence[SignalLine] = ()
    where: str = ""  # /metrics address, or how the pipeline runs without one


@dataclass(slots=True)
class Feed:
    """The alerts so far, newest last."""

    lines: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    opened: int = 0
    resolved: int = 0

    def add(self, alert: Mapping[str, Any]) -> None:
        """Take an alert (``schemas/alert.v1.json``)."""
        event = str(alert["type"]).rpartition(".")[2]
        self.opened += event == "opened"
        self.resolved += event == "resolved"
        self.lines.append((event, alert))
        del self.lines[:-ALERTS_KEPT]


class View:
    """Shows frames and alerts while the stream runs; a context manager."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        """``clock`` gives seconds; it only spaces the plain lines."""
        self.console = console
        self.feed = Feed()
        self._clock = clock
        self._frame: Frame | None = None
        self._note = ""
        self._line_at = -math.inf
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Take over the screen, if it is one."""
        if self.console.is_terminal:
            self._live = Live(
                console=self.console,
                get_renderable=self._screen,
                refresh_per_second=REFRESH_PER_SECOND,
                transient=True,
                vertical_overflow="crop",
            )
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the screen back; the alerts stay readable in the scroll-back."""
        if self._live is not None:
            self._live.stop()
            for state, alert in self.feed.lines:
                self.console.print(alert_line(state, alert), soft_wrap=False)

    def show(self, frame: Frame) -> None:
        """The newest state; without a terminal a line every LINE_EVERY_SECONDS."""
        self._frame = frame
        if self._live is not None:
            return
        if self._clock() - self._line_at >= LINE_EVERY_SECONDS:
            self._line_at = self._clock()
            self.console.print(progress_line(frame, self.feed), highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """What the demo has just done to the data; stays on the screen until the next one."""
        if text != self._note and self._live is None:
            self.console.print(text, style="magenta", highlight=False, markup=False, soft_wrap=True)
        self._note = text

    def alert(self, alert: Mapping[str, Any]) -> None:
        """An alert that has just been read from the topic."""
        self.feed.add(alert)
        if self._live is None:
            self.console.print(alert_line(*self.feed.lines[-1]), soft_wrap=True)

    def _screen(self) -> RenderableType:
        if self._frame is None:
            return Text("waiting for the first events ...", style="dim")
        return screen(self._frame, self.feed, self._note, self.console.width, self.console.height)


def screen(frame: Frame, feed: Feed, note: str, width: int, height: int) -> RenderableType:
    """The live screen for a terminal of ``width`` columns and ``height`` lines; drawn to fit."""
    room = max(height - 10, 4)
    signals = min(len(frame.signals), max(3, room * 3 // 5))
    alerts = max(1, (room - signals) // ALERT_LINES)
    parts: list[RenderableType] = [_status(frame, feed, width)]
    if note:
        parts.append(Text(note, style="magenta", overflow="ellipsis", no_wrap=True))
    parts += [Text(), _signal_table(frame.signals[:signals], len(frame.signals), width)]
    legend = "sd: January's standard deviation, its usual spread"
    parts += [Text(legend, style="dim", no_wrap=True, overflow="ellipsis"), Text()]
    parts.append(Text("Latest alerts (time of the data)", style="bold"))
    recent = [alert_line(state, alert, width) for state, alert in reversed(feed.lines[-alerts:])]
    parts += recent or [Text("none yet", style="dim")]
    return Group(*parts)


def _status(frame: Frame, feed: Feed, width: int) -> RenderableType:
    share = frame.applied / frame.events if frame.events else 1.0
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(f"{frame.at or 'starting'}  ", style="bold")
    head.append(f"{frame.applied:,} of {frame.events:,} flights  {share:.0%}  {frame.per_second:,.0f}/s  ")
    head.append(f"waiting {max(frame.sent - frame.applied, 0):,}", style="dim")
    tail = Text(no_wrap=True, overflow="ellipsis")
    tail.append(
        f"{feed.opened - feed.resolved} open", style="bold red" if feed.opened > feed.resolved else "green"
    )
    tail.append(f"  {feed.opened} opened, {feed.resolved} resolved   ")
    tail.append(frame.where, style="dim")
    cells = min(width, BAR_WIDE)
    done = round(min(share, 1.0) * cells)
    return Group(head, Text.assemble(("━" * done, "green"), ("─" * (cells - done), "dim")), tail)


def _signal_table(signals: Sequence[SignalLine], total: int, width: int) -> Table:
    """Signals, the most shifted first."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    title = "Signal" if total <= len(signals) else f"Signal ({len(signals)} of {total})"
    table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=max(width // 3, 18))
    table.add_column("Now", no_wrap=True)
    table.add_column("Shift", justify="right", no_wrap=True)
    if width >= WIDE:
        table.add_column("", no_wrap=True, width=BAR_CELLS * 2 + 1)
        table.add_column("Missing", justify="right")
    for s in signals:
        style = COLOURS.get(s.severity or "", "")
        now = Text(f"ALERT {s.severity}" if s.severity else "as in January", style=style or "dim green")
        cells: list[RenderableType] = [Text(s.name, style=style), now, Text(_shift(s.shift), style=style)]
        if width >= WIDE:
            cells += [_bar(s.shift, style), Text("" if math.isnan(s.missing) else f"{s.missing:.1%}")]
        table.add_row(*cells)
    return table


def _shift(shift: float) -> str:
    return "?" if math.isnan(shift) else f"{shift:+.2f} sd"


def _bar(shift: float, style: str) -> Text:
    """A bar to the left for lower, to the right for higher than in January."""
    cells = 0 if math.isnan(shift) else min(round(abs(shift) / BAR_FULL_SD * BAR_CELLS), BAR_CELLS)
    left = "█" * cells if shift < 0 else ""
    right = "█" * cells if shift > 0 else ""
    return Text(f"{left:>{BAR_CELLS}}│{right:<{BAR_CELLS}}", style=style or "dim")


def progress_line(frame: Frame, feed: Feed) -> str:
    """One line of progress for logs."""
    top = next((s for s in frame.signals if not math.isnan(s.shift)), None)
    most = f"; most shifted: {top.name} {_shift(top.shift)}" if top else ""
    return (
        f"{frame.at or 'starting':<10}  {frame.applied:,}/{frame.events:,} flights  {frame.per_second:,.0f}/s"
        f"  {feed.opened - feed.resolved} alerts open{most}"
    )


def alert_line(state: str, alert: Mapping[str, Any], width: int | None = None) -> Text:
    """When, what, and the sentence of an alert without the model's name (there is one).

    With a ``width`` it has at most ALERT_LINES lines of so many columns.
    """
    severity = str(alert["severity"])
    summary = str(alert["summary"]).removeprefix(f"{alert['model']}: ")
    when = str(alert["time"])[:16].replace("T", " ")
    text = f"{when}  {state:<8}  {summary}"
    if width is not None:
        text = "\n".join(textwrap.wrap(text, max(width, 20), max_lines=ALERT_LINES, placeholder=" ..."))
    line = Text(text)
    line.stylize("dim", 0, len(when))
    start = len(when) + 2
    line.stylize("green" if state == "resolved" else COLOURS.get(severity, ""), start, start + len(state))
    return line


def ranked(signals: Sequence[SignalLine]) -> list[SignalLine]:
    """By size of shift; those with an open alert first, unknown ones last."""
    return sorted(
        signals, key=lambda s: (s.severity is None, -abs(s.shift) if not math.isnan(s.shift) else 0.0, s.name)
    )
