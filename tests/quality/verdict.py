"""Whether Driftline kept what is promised: a verdict a row and over all. Pure functions of the counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from quality.contestants import WEEK_ROWS
from quality.score import poisson_bounds
from quality.streams import ONE

Row = Mapping[str, Any]

MISSED: Final = "MISSED"
KEPT: Final = "kept"
UNSURE: Final = "within"  # not over the budget, but too little was measured to be sure of it
NO_PROMISE: Final = "no promise"


def over_weekly(row: Row) -> bool:
    """Whether even the lower bound of the default settings' alarms is over one a week."""
    return poisson_bounds(int(row["default"]))[0] > float(row["rows"]) / WEEK_ROWS


def null_verdict(row: Row) -> str:
    """The budget is kept when even the upper bound is within it, and no size of reference goes over."""
    over = row["strict"] > row["budget"] or any(n > budget for n, budget in row["references"].values())
    if over or over_weekly(row):
        return MISSED
    return KEPT if poisson_bounds(row["strict"])[1] <= row["budget"] else UNSURE


def change_verdict(row: Row) -> str:
    """Openings a change within what is promised; what is to be seen once is seen in nine of ten."""
    if row["promised"] is None:
        return NO_PROMISE
    own = row["contestants"]["Driftline"]
    low, high = row["promised"]
    seen = own["detected"] >= low * own["changes"]
    return KEPT if seen and low <= own["openings"] / own["changes"] <= high else MISSED


def weekly(results: Row) -> tuple[int, float]:
    """Alarms of the default settings and the weeks in which they came, on nulls not over by themselves."""
    rows = [r for r in results["nulls"] if not over_weekly(r)]
    return sum(r["default"] for r in rows), sum(r["rows"] for r in rows) / WEEK_ROWS


def weekly_verdict(results: Row) -> str:
    """One false alarm a week, over these nulls together; a single alarm in less than a week says nothing."""
    count, weeks = weekly(results)
    if count > max(weeks, 1.0):
        return MISSED
    return KEPT if poisson_bounds(count)[1] <= weeks else UNSURE


def missed(results: Row) -> list[str]:
    """Names of what Driftline missed."""
    out = [r["stream"] for r in results["nulls"] if null_verdict(r) == MISSED]
    out += [r["stream"] for r in results["changes"] if change_verdict(r) == MISSED]
    return out + (["one false alarm a week"] if weekly_verdict(results) == MISSED else [])


def verdicts(results: Row) -> list[str]:
    """The verdict, line by line."""
    lines: list[str] = []
    if results["nulls"]:
        lines += _null_lines(results)
    promised = [change_verdict(r) for r in results["changes"] if r["promised"] is not None]
    if promised:
        lines.append(
            f"- What is promised of changes ({ONE[0]} to {ONE[1]} episodes each; short blips unnoticed): "
            f"{KEPT} on {promised.count(KEPT)} of {len(promised)} streams."
        )
    names = missed(results)
    return [*lines, f"- {MISSED}: {'; '.join(names)}." if names else "- Nothing missed."]


def _null_lines(results: Row) -> list[str]:
    judged = [null_verdict(r) for r in results["nulls"]]
    unsure = f", {judged.count(UNSURE)} too short to be sure" if UNSURE in judged else ""
    lines = [f"- The budget: {KEPT} on {judged.count(KEPT)} of {len(judged)} nulls{unsure}."]
    count, weeks = weekly(results)
    if weeks:
        low, high = (b / weeks for b in poisson_bounds(count))
        among = len(judged) - sum(map(over_weekly, results["nulls"]))
        lines.append(
            f"- One false alarm a week (default settings), on {among} of {len(judged)} nulls together: "
            f"{weekly_verdict(results)}; {count} in {weeks:.1f} weeks of 100 events/s, "
            f"{low:.2f} to {high:.2f} a week with 95 %."
        )
    return lines
