"""The table and docs/quality.md, made of the measured counts and of nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from quality.contestants import FEATURES, MILLION, STRICT, WEEK_ROWS, Panel
from quality.measure import BEFORE_ROWS
from quality.score import ECHO_ROWS, LATE_ROWS, poisson_bounds, share_bounds
from quality.streams import ONE
from quality.verdict import Row, change_verdict, null_verdict, verdicts

RESULTS: Final = Path(__file__).parent / "results.json"
PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "quality.md"

HEAD: Final = """\
# What the alarms are worth

Driftline's decision policy on synthetic streams with a known truth, beside other detectors on the same
streams. Written by `make quality ARGS=--write`; seeded, so that the same code gives the same numbers.

## How to read the table

**A null** has no change: every alarm is false. {null_runs} runs each, every run with a fresh reference.

- *Driftline*: alarms of the budget, with exact bounds (Poisson, 95 %). The budget is {strict:g} false alarms
  a million updates of a channel, without a minimal duration, so that enough is allowed for an overrun to
  show. Three numbers are of references of 500, 5,000 and 50,000 rows; each may use a third.
- *Default settings*: alarms at one a week for the model, and the weeks of 100 events/s they came in.
- *kept*: the upper bound is within the budget and no size of reference is over its part. *within*: not over,
  but too little was measured to be sure. *MISSED*: over, or even the lower bound of the default settings'
  alarms is over one a week.
- The bounds take alarms to be independent; those of one run can come together (correlated features do).
- *The others*: alarms a million rows of the model.

**A change**: `recall; median delay in events; openings a change` (ideal 1), and false alarms a million rows
if there were any. {change_runs} runs each; the second column is runs x changes a run.

- An opening belongs to the last change that began, up to {echo:,} rows after its end (an alarm about the
  return to normal is not called false). A change is detected by an opening up to {late} rows after its end.
- Driftline runs with default settings and a reference of 20,000 rows unless the name says otherwise. Its
  recall has exact bounds (Clopper-Pearson, 95 %).
- *Resolved*: episodes closed before the next change or the end of the run, of those whose change ended;
  *early* ones closed while the change was still on.
- *Verdict*: what must be seen once (.5 reference standard deviations or more, or a promise of the policy)
  needs {low} to {high} openings a change and a recall of 90 %; of blips of 10 or 30 events at most one in
  20 may open.

**The others** are river's detectors with their defaults on the standardised value (0/1 as it is, categories
numbered by frequency, missingness as 0/1), one a feature, and two that know nothing: one fires every 1,000
rows, one never. DDM is for 0/1 errors, n/a elsewhere. They have no budget to set and no end of an alarm.
They get fewer runs: {peer_null_runs} of {peer_null_cells:,} values on a null, {peer_change_runs} on a change.
KSWIN is 400 times slower: 1 run of {slow_null_cells:,} values on a null, and on a change {slow_change_runs}
around the first change only, {before:,} rows before its start and {slow_change_rows:,} after.

## Verdict

"""


def number(value: float) -> str:
    """Short: 1,234, 12.3, 0.04."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 9.95 else f"{value:.2g}"


def _null_cells(row: Row, others: Sequence[str]) -> list[str]:
    low, high = poisson_bounds(row["strict"])
    own = f"{row['strict']} of {row['budget']:,.0f} [{low:.1f}, {high:.1f}]"
    if len(row["references"]) > 1:
        own += f" = {' + '.join(str(n) for n, _ in row['references'].values())}"
    rates = {name: number(alarms * MILLION / rows) for name, (alarms, rows) in row["peers"].items()}
    return [
        row["stream"],
        f"none, {row['rows'] / MILLION:.3g} M rows",
        own,
        f"{row['default']} in {row['rows'] / WEEK_ROWS:.2f} weeks",
        null_verdict(row),
        *(rates.get(name, "n/a") for name in others),
    ]


def _change_cells(row: Row, others: Sequence[str]) -> list[str]:
    own = row["contestants"]["Driftline"]
    low, high = share_bounds(own["detected"], own["changes"])
    closed = f"{own['resolved']} of {own['ended']}" if own["ended"] else "-"
    if own["early"]:
        closed += f", {own['early']} early"
    return [
        row["stream"],
        f"{row['runs']} x {own['changes'] // row['runs']}",
        _worth(own, f" [{100 * low:.0f}, {100 * high:.0f}]"),
        closed,
        change_verdict(row),
        *(_worth(row["contestants"][n]) if n in row["contestants"] else "n/a" for n in others),
    ]


def _worth(counts: Row, bounds: str = "") -> str:
    """Recall, median delay, openings a change, and false alarms a million rows."""
    delay = "-" if counts["median_delay"] is None else f"{counts['median_delay']:,.0f}"
    recall = f"{100 * counts['detected'] / counts['changes']:.0f} %{bounds}"
    false = f"; {number(counts['false'] * MILLION / counts['rows'])} false" if counts["false"] else ""
    return f"{recall}; {delay}; {counts['openings'] / counts['changes']:.2f}{false}"


def table(results: Row, panel: Panel = FEATURES) -> list[str]:
    """The one table, as Markdown that is legible on a terminal too."""
    head = ["stream", "true changes", "Driftline", "default settings / resolved", "verdict", *panel.others]
    cells: list[list[str]] = [head]
    groups: tuple[tuple[str, Callable[[Row, Sequence[str]], list[str]]], ...] = (
        ("nulls", _null_cells),
        ("changes", _change_cells),
    )
    for group, make in groups:
        if results[group]:
            cells += [
                [f"**{group}**", *("" for _ in head[1:])],
                *(make(row, panel.others) for row in results[group]),
            ]
    wide = [max(len(row[i]) for row in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, wide, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (w + 2) for w in wide) + "|", *lines[1:]]


def page(results: Row) -> str:
    """docs/quality.md, but for the errors of labelled events: ``errors_report.py``."""
    low, high = ONE
    head = HEAD.format(
        **results["sizes"],
        strict=STRICT,
        echo=ECHO_ROWS,
        late=LATE_ROWS,
        before=BEFORE_ROWS,
        low=low,
        high=high,
    )
    return head + "\n".join([*verdicts(results), "", "## The table", "", *table(results), ""])


def dumps(results: Row) -> str:
    """JSON as it is committed."""
    return json.dumps(results, indent=1, ensure_ascii=False) + "\n"


def load(path: Path = RESULTS) -> Row:
    """The committed results."""
    body: Row = json.loads(path.read_text(encoding="utf-8"))
    return body
