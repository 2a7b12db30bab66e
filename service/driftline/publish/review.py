"""The history of one model over a stretch of time, put together for people who meet to talk about it.

Owns: which signals are shown and in what order, and the summary in plain words. It is data: HTML and Markdown
are made of it elsewhere. Must not know: Kafka, HTML, clocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from driftline.decide.texts import duration, number, percent
from driftline.detect.performance import SIGNAL as ERRORS
from driftline.publish.history import MISSING, TRACED, Bounds, Episode, ModelHistory
from driftline.publish.text import rfc3339
from driftline.publish.windows import PerformanceWindow, Window

# What is kept of one model for a review; a year of ten windows a day is 3,650.
BOUNDS: Final = Bounds(models=1, points=200_000, episodes=5_000, windows=5_000)
SIGNALS_DRAWN: Final = 8  # a meeting looks at a few; the table has all
NAMED: Final = 3  # signals, episodes in a sentence
HEADLINES: Final = ("accuracy", "mae")  # the first that a task has speaks for the performance
STATISTIC_NAMES: Final = {
    "auc": "AUC", "f1": "F1", "mae": "Mean absolute error", "rmse": "RMSE", "r2": "R²", "psi": "PSI",
    "jensen_shannon_distance": "Jensen-Shannon distance", "ks_distance": "Kolmogorov-Smirnov distance",
    "ks_p": "Kolmogorov-Smirnov p", "l_infinity_distance": "L-infinity distance",
}  # fmt: skip
LOWER_IS_BETTER: Final = frozenset({"mae", "rmse", "log_loss", "brier", "calibration_error"})


@dataclass(frozen=True, slots=True)
class SignalReview:
    """One signal over the stretch."""

    name: str
    latest: Window
    worst: Window
    psi: Sequence[tuple[int, float]]  # (end of window in epoch ms, value)
    missing: Sequence[tuple[int, float]]
    episodes: int
    open: Episode | None


@dataclass(frozen=True, slots=True)
class Review:
    """Everything that a page shows; ``sentences`` is the summary."""

    model: str
    from_ms: int
    to_ms: int
    sentences: Sequence[str]
    signals: Sequence[SignalReview]  # most different first
    episodes: Sequence[Episode]  # by opening
    performance: Sequence[PerformanceWindow]
    headline: str | None  # the statistic that speaks for the performance
    dropped: int


def make(model: ModelHistory, since: int | None, until: int | None) -> Review:
    """The review of what lies between two times (epoch ms); without them, of everything there is."""
    begin = since if since is not None else model.first_ms or 0
    end = until if until is not None else max(model.last_ms, begin)
    episodes = [
        e
        for e in model.episodes()
        if e.opened_ms < end + 1 and (e.resolved_ms is None or e.resolved_ms >= begin)
    ]
    performance = sorted((w for w in model.performance if w.to_ms >= begin), key=lambda w: w.to_ms)
    signals = [_signal(model, name, episodes, begin) for name in model.signals]
    signals.sort(key=lambda s: (-s.worst.psi, s.name))
    statistics = performance[-1].statistics if performance else {}
    headline = next((name for name in HEADLINES if name in statistics), None)
    sentences = [
        _of_episodes(model.name, episodes, begin, end),
        *_of_signals(signals),
        *_of_performance(performance, headline),
        *_of_errors(episodes, end),
        *_of_labels(performance),
    ]
    if model.dropped:
        sentences.append(f"{model.dropped:,} older windows or episodes had no room and are left out.")
    return Review(model.name, begin, end, sentences, signals, episodes, performance, headline, model.dropped)


def _signal(model: ModelHistory, name: str, episodes: Sequence[Episode], begin: int) -> SignalReview:
    found = model.signals[name]

    def course(column: int) -> list[tuple[int, float]]:
        return [p for p in model.course(name, column) if p[0] >= begin]

    own = [e for e in episodes if e.signal == name]
    return SignalReview(
        name, found.latest, found.worst, course(TRACED.index("psi")), course(MISSING), len(own),
        model.open.get(name),
    )  # fmt: skip


def _of_episodes(model: str, episodes: Sequence[Episode], begin: int, end: int) -> str:
    span = f"Between {day(begin)} and {day(end)}"
    if not episodes:
        return f"{span}, no alert was open on {model}."
    still = [e for e in episodes if e.resolved_ms is None]
    critical = sum(e.severity == "critical" for e in still)
    signals = len({e.signal for e in episodes})
    text = f"{span}, {_count(len(episodes), 'episode')} on {_count(signals, 'signal')}"
    if not still:
        return f"{text}; all have ended."
    return f"{text}; {len(still)} still open at the end, {critical} of them critical."


def _of_signals(signals: Sequence[SignalReview]) -> list[str]:
    ranked = [s for s in signals if s.worst.psi > 0.0][:NAMED]
    if not ranked:
        return ["No window of events is complete, so there is nothing to compare with the reference."]
    named = "; ".join(
        f'"{s.name}" in the window up to {day(s.worst.to_ms)} (PSI {number(s.worst.psi)}, '
        f"now {number(s.latest.psi)})"
        for s in ranked
    )
    return [f"Most different from the reference: {named}."]


def _of_performance(windows: Sequence[PerformanceWindow], headline: str | None) -> list[str]:
    if not windows or headline is None:
        return ["Performance is not known: no window of labelled events is complete."]
    found = [(w.to_ms, w.statistics[headline]) for w in windows if headline in w.statistics]
    pick = max if headline in LOWER_IS_BETTER else min
    worst = pick(found, key=lambda p: p[1])
    mean = sum(v for _, v in found) / len(found)
    name = statistic_name(headline)
    text = (
        f"{name} was {number(found[0][1])} in the first and {number(found[-1][1])} in the last of "
        f"{_count(len(found), 'window')} of labelled events, {number(mean)} on average; "
        f"worst in the window up to {day(worst[0])}: {number(worst[1])}."
    )
    return [text]


def _of_errors(episodes: Sequence[Episode], end: int) -> list[str]:
    own = [e for e in episodes if e.signal == ERRORS]
    if not own:
        return []
    longest = max(own, key=lambda e: (e.resolved_ms or end) - e.opened_ms)
    took = duration((longest.resolved_ms or end) - longest.opened_ms)
    text = (
        f"Predictions got worse {_count(len(own), 'time')}; the longest such episode began on "
        f"{day(longest.opened_ms)} and lasted {took}."
    )
    return [text]


def _of_labels(windows: Sequence[PerformanceWindow]) -> list[str]:
    if not windows or windows[-1].coverage is None:
        return []
    text = f"{percent(windows[-1].coverage)} of the predictions have got their label"
    half, most = windows[-1].delays.get("p50"), windows[-1].delays.get("p99")
    if half is None or most is None:
        return [f"{text}."]
    return [f"{text}, half of them within {duration(_ms(half))}, 99 % within {duration(_ms(most))}."]


def _ms(seconds: float) -> int:
    return int(min(seconds, 1e9) * 1000)  # thirty years are enough


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def day(ms: int) -> str:
    """A date as people say it."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%d %B %Y}".lstrip("0")


def moment(ms: int) -> str:
    """A date and a time of it, UTC."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M}"


def statistic_name(name: str) -> str:
    """A statistic as it stands in a heading."""
    return STATISTIC_NAMES.get(name, name.replace("_", " ").capitalize())


def cell_names(window: Window) -> list[str]:
    """What is in each cell: bounds (the outer cells have one), a value, a category, or the rest."""
    ranges = [i for i, cell in enumerate(window.cells) if isinstance(cell[0], tuple)]
    out = []
    for i, (what, _, _) in enumerate(window.cells):
        if what is None:
            out.append("all others")
        elif isinstance(what, str):
            out.append(what)
        elif not isinstance(what, tuple):
            out.append(f"exactly {number(what)}")
        elif i == ranges[0] and len(ranges) > 1:
            out.append(f"up to {number(what[1])}")
        elif i == ranges[-1] and len(ranges) > 1:
            out.append(f"over {number(what[0])}")
        else:
            out.append(f"{number(what[0])} to {number(what[1])}")
    return out


def as_json(review: Review) -> dict[str, Any]:
    """The review as plain JSON values, times as RFC 3339."""
    return {
        "model": review.model,
        "from": rfc3339(review.from_ms),
        "to": rfc3339(review.to_ms),
        "summary": list(review.sentences),
        "signals": [
            {
                "signal": s.name,
                "psi": {"latest": s.latest.statistics.get("psi"), "worst": s.worst.statistics.get("psi")},
                "worst_window_to": rfc3339(s.worst.to_ms),
                "missing": s.latest.missing,
                "episodes": s.episodes,
                "open": None if s.open is None else s.open.severity,
                "windows": [[rfc3339(t), v] for t, v in s.psi],
            }
            for s in review.signals
        ],
        "episodes": [
            {
                "signal": e.signal,
                "severity": e.severity,
                "opened": rfc3339(e.opened_ms),
                "onset": None if e.onset_ms is None else rfc3339(e.onset_ms),
                "resolved": None if e.resolved_ms is None else rfc3339(e.resolved_ms),
                "summary": e.summary,
            }
            for e in review.episodes
        ],
        "performance": [
            {
                "to": rfc3339(w.to_ms),
                "rows": w.rows,
                "statistics": dict(w.statistics),
                "coverage": w.coverage,
                "delay_seconds": dict(w.delays),
            }
            for w in review.performance
        ],
    }
