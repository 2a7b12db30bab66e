"""The words of an alert: what changed, how much, since when, for a person who is not a statistician.

The first line names the model, the signal and the change in the signal's own units; statistics stay in the
evidence. Text is data: names are quoted as they are, and escaping is the reader's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from driftline.records import F64

TOP: int = 3  # categories named in a sentence
SHAPE: str = "shape"  # what a window test watches, named like a channel
SHORT: Final[Mapping[str, str]] = {  # a change in a few words, by channel and direction
    "location up": "higher than usual",
    "location down": "lower than usual",
    "spread up": "varies more than usual",
    "spread down": "varies less than usual",
    "missing up": "missing more often",
    "missing down": "missing less often",
    "type": "of another type",
    "range": "out of its range",
    "unseen": "values never seen before",
    "other": "more rare values",
    "share up": "one value more often",
    "share down": "one value less often",
    "rank": "another mix of values",
    SHAPE: "other values than usual",
    "too-few": "fewer events than usual",
    "too-many": "more events than usual",
}


@dataclass(frozen=True, slots=True)
class Change:
    """What a sentence needs to know of a channel that opened."""

    model: str
    signal: str
    channel: str
    learned_rows: int | None  # None: the reference came from a file
    mean: float
    reference_mean: float
    tolerated: tuple[float, float]
    quantiles: tuple[float, ...] | None  # current p05, p25, p50, p75, p95
    reference_quantiles: tuple[float, ...] | None
    top: Sequence[tuple[str, float]]  # current categories by share
    reference_top: Sequence[tuple[str, float]]
    onset_ms: int
    decided_ms: int
    # Of a window test: what is in a cell (a category, bounds, a value, None = the rest), rows now and then.
    cells: Sequence[Sequence[Any]] = ()
    seasonal: bool = False  # compared with its own hour: medians of all hours say nothing


def rfc3339(ms: int) -> str:
    """Epoch milliseconds as UTC with milliseconds."""
    at = datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(value: float) -> str:
    """At most four significant digits, without an exponent where people would not write one."""
    if value != 0.0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.3g}"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return "0" if text == "-0" else text


def percent(share: float) -> str:
    """A share as per cent with up to three digits."""
    return f"{100.0 * share:.3g} %"


def since(onset_ms: int, decided_ms: int) -> str:
    """When the change began; the date only when it is not the day of the alert."""
    onset = datetime.fromtimestamp(onset_ms / 1000, UTC)
    decided = datetime.fromtimestamp(decided_ms / 1000, UTC)
    return onset.strftime("%H:%M UTC" if onset.date() == decided.date() else "%Y-%m-%d %H:%M UTC")


def duration(ms: int) -> str:
    """A length of time in its two largest units."""
    minutes = round(timedelta(milliseconds=max(ms, 0)).total_seconds() / 60)
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    parts = [(days, "day"), (hours, "hour"), (minutes, "minute")]
    named = [f"{n} {unit}{'s' if n != 1 else ''}" for n, unit in parts if n]
    return " ".join(named[:2]) or "less than a minute"


def opened(change: Change) -> str:
    """The first line of an opening."""
    where = f'{change.model}: "{change.signal}"'
    return f"{where} {_what(change)}, since about {since(change.onset_ms, change.decided_ms)}"


def updated(spoken: Change, change: Change, reported: float, *, restated: bool) -> str:
    """The first line of an update: what it is now, and how that compares with what was said before.

    ``spoken`` is the change as it is best said, ``change`` that of the channel which moved; ``reported`` is
    the mean that was reported of it before.
    """
    before, now = reported - change.reference_mean, change.mean - change.reference_mean
    size = abs(now) / max(abs(before), 1e-9)
    if restated:
        how = f"measured over more events, the change is {percent(size)} of what was first reported"
    elif before * now < 0.0:
        how = "it has turned round since the last report"
    elif size > 1.0:
        how = f"it has grown to {size:.1f} times what was last reported"
    else:
        how = f"it has shrunk to {percent(size)} of what was last reported"
    return f'{change.model}: "{change.signal}" {_what(spoken)}; {how}'


def resolved(change: Change, lasted_ms: int) -> str:
    """The first line of a resolution."""
    where = f'{change.model}: "{change.signal}"'
    return f"{where} is back to what it was after {duration(lasted_ms)}{_home(change)}"


def _home(change: Change) -> str:
    """The value that came home, in its own units; "" where none says much."""
    name, reference = change.channel, _reference(change)
    found = {"missing": "missing", "type": "of another type", "range": "outside of the known range"}.get(name)
    if name == "unseen":
        found = "values never seen"
    elif name.startswith("share["):
        found = _value(name)
    if found is not None:
        return f": {found} in {percent(change.mean)} of events, {reference} {percent(change.reference_mean)}"
    if change.quantiles is not None and change.reference_quantiles is not None and not change.seasonal:
        median, was = (number(q[2]) for q in (change.quantiles, change.reference_quantiles))
        return f": median {median}, {reference} {was}"
    return f": {_shares(change.top)}" if change.top else ""


def suspected(change: Change) -> str:
    """The first line of an opening by a detector of river."""
    return (
        f'{change.model}: "{change.signal}" may have changed: a detector alarmed that the false-alarm budget '
        "does not cover"
    )


def confirmed(change: Change) -> str:
    """The first line when a detector of the budget joins an episode of river's."""
    return f"{opened(change)}; this confirms the detector of river that opened the episode"


def quiet(change: Change, detector: str, updates: int, lasted_ms: int) -> str:
    """The first line of a resolution by a detector of river: it says nothing of how the signal is."""
    where = f'{change.model}: the episode of "{change.signal}" ended after {duration(lasted_ms)}'
    if not detector:
        return f"{where}: the detector of river that held it open is not configured to, or began anew"
    return f"{where}: no alarm of {detector} in {updates:,} values, and no other detector holds it open"


def subject(model: str, signal: str, channel: str, direction: str, since_when: str) -> str:
    """An open episode in few words, where something else is to be said of it than what its data says."""
    name = channel.partition("[")[0].removesuffix("-spread")
    what = SHORT.get(f"{name} {direction}") or SHORT.get(name, "not as usual")
    return f'{model}: "{signal}" ({what} since about {since_when})'


SUPERSEDED: Final = "is compared with a new baseline from now on; what was open is closed"
RETIRED: Final = (
    "is not watched any more: this model version had no events for a day and made room for another; what was "
    "open is closed"
)
LEARNS_AGAIN: Final = "is learned again by request; what was open is closed"


def closed(by: str, why: str) -> str:
    """What is said of an episode that a person ended."""
    return f"was closed by {by}: {why}; if it is still so, it opens again"


def muted(until_ms: int, by: str, why: str) -> str:
    """What is said of an open episode that is muted."""
    return f"is still open, muted until {rfc3339(until_ms)[:16]}Z by {by}: {why}"


def unmuted(how: str) -> str:
    """What is said of an open episode whose mute ends; ``how`` it ended."""
    return f"is still open, and no longer muted: {how}"


def acknowledged(by: str, why: str) -> str:
    """What is said of an open episode that somebody deals with."""
    return f"is still open, and {by} deals with it: {why}"


def new_version(version: str, rows: int) -> str:
    """What is said of an episode when another version of the model has taken over."""
    learns = f"is learned anew from the next {rows:,} events"
    return f"{learns}, because model version {version} has taken over; what was open is closed"


def state_lost(model: str) -> str:
    """The first line when stored state was unreadable."""
    return f"{model}: the stored state was unreadable and was set aside; the model learns its reference again"


def labels_lost(model: str) -> str:
    """The first line when stored labels were unreadable."""
    return (
        f"{model}: the stored labels were unreadable and were set aside; performance is learned again from "
        "the next labelled events"
    )


def _reference(change: Change) -> str:
    if change.learned_rows is None:
        return "in training"
    return f"in the first {change.learned_rows:,} events"


def _bounds(change: Change) -> str:
    up = change.mean > change.reference_mean
    bound = change.tolerated[1] if up else change.tolerated[0]
    return f"{'up' if up else 'down'} to {percent(bound)} tolerated"


def _what(change: Change) -> str:
    name = change.channel
    than = f"than {_reference(change)}" + (" at the same hours" if change.seasonal else "")
    was, now = percent(change.reference_mean), percent(change.mean)
    if name == "location":
        level = "higher" if change.mean > change.reference_mean else "lower"
        return (
            f"is {level} {than}: {_medians(change)}({now} of values exceed the reference, "
            f"{was} expected, {_bounds(change)})"
        )
    if name == "spread":
        more = "varies more" if change.mean > change.reference_mean else "varies less"
        seen = f"spread {now} of the most possible, was {was} ({_bounds(change)})"
        return f"{more} {than}: {seen if change.seasonal else _ranges(change)}"
    if name == SHAPE:
        return f"has other values {than}: {_most_changed(change.cells)}"
    if name == "range":
        seen = _reference(change)
        return f"is outside of the range seen {seen} in {now} of events, was {was} ({_bounds(change)})"
    if name == "type":
        kind = "of another type" if change.reference_quantiles is None else "no number"
        return f"is {kind} in {now} of events, was {was} ({_bounds(change)})"
    if name == "missing":
        return f"is missing in {now} of events, was {was} ({_bounds(change)})"
    if name == "unseen":
        known = {c for c, _ in change.reference_top}
        news = [c for c, _ in change.top if c not in known][:TOP]
        example = f', for example "{news[0]}"' if news else ""
        what = f"has values never seen {_reference(change)} in {now} of events{example}"
        return f"{what} (was {was}, {_bounds(change)})"
    if name == "other":
        return f"has rare values in {now} of events, was {was} ({_bounds(change)})"
    if name.startswith("share["):
        return f"is {_value(name)} in {now} of events, was {was} ({_bounds(change)})"
    return f"has another mix of values {than}: {_shares(change.top)}, was {_shares(change.reference_top)}"


def _value(share: str) -> str:
    """The value that a channel of a share counts."""
    value = share[6:-1]
    return value.removeprefix("=") if value.startswith("=") else f'"{value}"'


def _most_changed(cells: Sequence[Sequence[Any]]) -> str:
    """The cell whose share changed most."""
    n, m = max(sum(c[1] for c in cells), 1), max(sum(c[2] for c in cells), 1)
    what, now, was = max(cells, key=lambda c: abs(c[1] / n - c[2] / m))
    if isinstance(what, list):
        where = f"lie between {number(what[0])} and {number(what[1])}"
    elif isinstance(what, float):
        where = f"are {number(what)}"
    else:
        where = "are rarer ones" if what is None else f'are "{what}"'
    return f"{percent(now / n)} of them {where}, was {percent(was / m)}"


def _medians(change: Change) -> str:
    if change.quantiles is None or change.reference_quantiles is None or change.seasonal:
        return ""
    return f"median {number(change.quantiles[2])}, was {number(change.reference_quantiles[2])} "


def _ranges(change: Change) -> str:
    if change.quantiles is None or change.reference_quantiles is None:
        return f"spread {change.mean:.2f}, was {change.reference_mean:.2f}"
    now, was = change.quantiles, change.reference_quantiles
    return (
        f"half of the values lie between {number(now[1])} and {number(now[3])}, "
        f"was {number(was[1])} to {number(was[3])}"
    )


def _shares(top: Sequence[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {percent(share)}" for name, share in top[:TOP]) or "no values"


def top_shares(counts: Mapping[str, int], total: int, limit: int = 8) -> list[tuple[str, float]]:
    """Categories by descending share (ties by name), at most ``limit``."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(name, count / total) for name, count in ordered[:limit]] if total else []


def current_quantiles(values: F64, at: Sequence[float]) -> tuple[float, ...] | None:
    """Quantiles of the values that are not NaN; None when there are none."""
    present = values[~np.isnan(values)]
    return tuple(float(q) for q in np.quantile(present, at)) if len(present) else None
