"""The closing summary of the demo, drawn from ``summary.Summary``; every figure is one of its fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from driftline.demo.flights import MODEL
from driftline.demo.summary import Control, Episode, FaultResult, Performance, RowCount, Summary, quantile

EPISODES_SHOWN: Final = 3  # of one signal; the rest are counted
SIDE_BY_SIDE: Final = 100  # columns from which labels stand beside their text


def print_summary(console: Console, summary: Summary) -> None:
    """Print it; the last line says whether the run kept its promises."""
    console.print(Rule("Summary", style="dim"))
    for label, good, body in _sections(summary):
        console.print(_section(label, good, body, console.width))
    if summary.passed:
        console.print(
            Text("Passed: every event is accounted for, the planted fault was found and resolved.", "green")
        )
    else:
        console.print(Text(f"FAILED: {failure(summary)}", "bold red"))


def failure(summary: Summary) -> str:
    """Which promise was not kept."""
    reasons = []
    rows, fault = summary.rows, summary.fault
    if rows.events != rows.accepted + rows.rejected:
        reasons.append(f"{rows.events - rows.accepted - rows.rejected:,} events are not accounted for")
    elif not rows.holds:
        reasons.append(f"{rows.rejected:,} events were rejected, {rows.rejected_expected:,} were broken")
    if fault.opened_after is None:
        reasons.append("the planted fault was not found")
    elif fault.resolved_after is None:
        reasons.append("the alert on the planted fault was not resolved after it had ended")
    return "; ".join(reasons)


def _sections(summary: Summary) -> Iterator[tuple[str, bool | None, list[RenderableType]]]:
    yield "Events", summary.rows.holds, _rows(summary.rows)
    yield "Planted fault", summary.fault.passed, _fault(summary.fault)
    yield "Real changes", None, _changes(summary)
    if summary.performance is not None:
        yield "Performance", None, _performance(summary.performance, summary.worse) + _kpis(summary.broken)
    if summary.control is not None:
        yield "Control", None, _control(summary.control)
    yield "Speed", None, _speed(summary)


def _section(label: str, good: bool | None, body: Sequence[RenderableType], width: int) -> RenderableType:
    mark = Text() if good is None else Text("ok" if good else "NOT OK", style="green" if good else "bold red")
    if width < SIDE_BY_SIDE:
        return Group(Text.assemble((label, "bold"), "  ", mark), Padding(Group(*body), (0, 0, 1, 2)))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=14)
    grid.add_column()
    grid.add_row(Group(Text(label, style="bold"), mark), Group(*body))
    return Padding(grid, (0, 0, 1, 0))


def _rows(rows: RowCount) -> list[RenderableType]:
    return [
        Text(
            f"{rows.events:,} in = {rows.accepted:,} accepted + {rows.rejected:,} rejected "
            f"({rows.rejected_expected:,} were cut in half on purpose)"
        ),
        Text(f"counted from {rows.source}", style="dim"),
    ]


def _fault(result: FaultResult) -> list[RenderableType]:
    fault = result.fault
    lines: list[RenderableType] = []
    lines.append(
        Text(f'"{fault.signal}" in kilometres instead of miles, events {fault.begin:,} to {fault.end:,}')
    )
    if result.before is not None:
        lines.append(
            Text(f"an alert on it was already open since event {result.before.opened_row:,}", "yellow")
        )
    if result.episode is None or result.opened_after is None:
        lines.append(Text("not found", style="bold red"))
        return lines
    lines.append(
        Text(f"found {result.opened_after:,} events after it began ({_day(result.episode.opened_at)}):")
    )
    lines.append(Text(_sentence(result.episode), style="italic"))
    if result.resolved_after is None:
        lines.append(Text("not resolved after its end", style="bold red"))
    else:
        when = _day(result.episode.resolved_at or "")
        lines.append(Text(f"resolved {result.resolved_after:,} events after it ended ({when})"))
        lines.append(
            Text("(to resolve, a full window of new events must look like January again)", style="dim")
        )
    return lines


def _changes(summary: Summary) -> list[RenderableType]:
    episodes = [e for _, group in summary.changes for e in group]
    if not episodes:
        return [Text("none found")]
    lines: list[RenderableType] = [
        Text(
            f"{_count(len(episodes), 'alert')} on {_count(len(summary.changes), 'signal')} that nobody "
            "planted, against January alone: the season counts as drift here."
        )
    ]
    for signal, group in summary.changes:
        lines.append(Text.assemble((signal, "bold"), f"  {_periods(group)}"))
        lines.append(Padding(Text(_sentence(group[0]), style="italic"), (0, 0, 0, 2)))
    still = ", ".join(e.signal for e in summary.still_open) or "none"
    lines.append(Text(f"Still open at the end: {still}"))
    lines.append(
        Text("(an alert asks a person: are the new values right? Then promote a new baseline)", style="dim")
    )
    return lines


def _performance(found: Performance, worse: Sequence[Episode]) -> list[RenderableType]:
    lines: list[RenderableType] = [
        Text(
            f"right in {found.accuracy:.1%} of {found.joined:,} flights whose arrival came as a label; "
            f"of the late ones {found.recall:.1%} were predicted late"
        )
    ]
    delay = ""
    if found.delay_hours is not None:
        median, most = found.delay_hours
        delay = f", {median:.1f} hours after departure (median; 99 % within {most:.1f})"
    lines.append(Text(f"{found.coverage:.1%} of the predictions got their label{delay}"))
    if worse:
        when = Text(f"  {_periods(worse)}")
        lines.append(
            Text.assemble((f"{_count(len(worse), 'alert')} that predictions got worse", "bold"), when)
        )
        lines.append(Padding(Text(_sentence(worse[0]), style="italic"), (0, 0, 0, 2)))
    if not worse:
        reason = (
            "errors never rose beyond what is tolerated"
            if found.watched
            else "too few labels to compare with"
        )
        lines.append(Text(f"no alert that predictions got worse: {reason}"))
    return lines


def _kpis(broken: Sequence[Episode]) -> list[RenderableType]:
    if not broken:
        return [Text("no alert of a KPI: accuracy and recall were what was agreed, week by week")]
    when = Text(f"  {_periods(broken)}")
    lines: list[RenderableType] = [
        Text.assemble((f"{_count(len(broken), 'alert')} that a KPI was broken", "bold"), when)
    ]
    first = {e.signal: e for e in reversed(broken)}
    lines += [
        Padding(Text(_sentence(e), style="italic"), (0, 0, 0, 2))
        for e in sorted(first.values(), key=lambda e: e.opened_row)
    ]
    return lines


def _control(control: Control) -> list[RenderableType]:
    n = len(control.episodes)
    lines: list[RenderableType] = [
        Text(
            f"{control.days} January days that neither the model nor the baseline saw "
            f"({control.rows:,} flights), same code: "
            f"{_count(n, 'false alarm')}; the budget of {control.budget_per_week:g} a week allows "
            f"{control.allowed:.1f}"
        )
    ]
    lines += [Text(f"{_day(e.opened_at)}  {_sentence(e)}", style="italic") for e in control.episodes]
    return lines


def _speed(summary: Summary) -> list[RenderableType]:
    rate = summary.rows.events / summary.seconds if summary.seconds > 0 else 0.0
    lines: list[RenderableType] = [
        Text(f"{summary.rows.events:,} events in {summary.seconds:.1f} s, {rate:,.0f} a second")
    ]
    if summary.latencies:
        lines.append(
            Text(
                f"from an event in Kafka to the alert it caused, read back: median "
                f"{quantile(summary.latencies, 0.5):.2f} s, slowest {summary.latencies[-1]:.2f} s"
            )
        )
    return lines


def _periods(group: Sequence[Episode]) -> str:
    shown = [f"{_day(e.opened_at)} to {_day(e.resolved_at) if e.resolved_at else 'the end'}" for e in group]
    more = f" and {len(shown) - EPISODES_SHOWN} more" if len(shown) > EPISODES_SHOWN else ""
    return ", ".join(shown[:EPISODES_SHOWN]) + more


def _sentence(episode: Episode) -> str:
    return episode.text.removeprefix(f"{MODEL}: ")


def _day(rfc3339: str) -> str:
    return rfc3339[:10]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
