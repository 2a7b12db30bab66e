"""The pages of the console as HTML, drawn from the history.

Owns: what each page shows and how much of it. Texts are made printable and escaped by the environment that
``publish.review_pages`` made. Must not know: HTTP, Kafka, sessions other than what a form needs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from jinja2 import ChoiceLoader, Environment, PackageLoader
from markupsafe import Markup

import driftline
from driftline.detect.performance import SIGNAL as ERRORS
from driftline.publish import review_pages, svg
from driftline.publish.history import MISSING, TRACED, Episode, History, ModelHistory
from driftline.publish.review import HEADLINES
from driftline.publish.text import printable
from driftline.publish.windows import number_of
from driftline.records import SEVERITIES

MODELS_SHOWN: Final = 100  # on one page of the list
SIGNALS_SHOWN: Final = 50  # of a model, unless all are asked for
OPEN_SHOWN: Final = 8  # open episodes of a model before the rest is folded away
PAST_SHOWN: Final = 30  # episodes that are over, windows of performance
HEALTH: Final = (*reversed(SEVERITIES), "ok")
MUTES: Final = (("1", "1 hour"), ("4", "4 hours"), ("24", "a day"), ("168", "a week"))
EVIDENCE_MAX: Final = 20
QUANTILES: Final = ("p05", "p25", "p50", "p75", "p95")


@dataclass(frozen=True, slots=True)
class View:
    """What a page has to know of its viewer."""

    path: str
    form_key: str | None = None  # of a session that may act
    name: str = ""
    may_enter: bool = False  # there is a token, so a session can be opened
    ready: bool = True
    sent: str = ""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model in the list."""

    name: str
    health: str
    open: int
    most: str  # the signal at the top of the ranking
    psi: float | None
    headline: tuple[str, float] | None
    last_ms: int


@cache
def environment() -> Environment:
    """The shared environment with the console's templates."""
    shared = review_pages.environment()
    assert shared.loader is not None  # it has the templates of the review
    made = shared.overlay(loader=ChoiceLoader([PackageLoader("driftline.console"), shared.loader]))
    made.globals |= {"mutes": MUTES, "version": driftline.__version__}
    return made


def health(model: ModelHistory) -> str:
    """The severity of its worst open episode, or ok."""
    return model.severity or "ok"


def row(model: ModelHistory) -> ModelRow:
    """A model as the list shows it."""
    most = max(model.signals.items(), key=lambda item: item[1].latest.psi, default=None)
    last = model.performance[-1] if model.performance else None
    name = None if last is None else next((n for n in HEADLINES if n in last.statistics), None)
    return ModelRow(
        model.name,
        health(model),
        len(model.open),
        "" if most is None else most[0],
        None if most is None else most[1].latest.statistics.get("psi"),
        None if last is None or name is None else (name, last.statistics[name]),
        model.last_ms,
    )


def models(history: History, view: View, *, wanted: str = "", state: str = "", page: int = 0) -> str:
    """All models, the sickest first; those whose name contains ``wanted`` and whose health is ``state``."""
    counts = dict.fromkeys(HEALTH, 0)
    for model in history.models.values():
        counts[health(model)] += 1
    found = [
        m
        for m in history.models.values()
        if wanted.casefold() in m.name.casefold() and (not state or health(m) == state)
    ]
    found.sort(key=lambda m: (HEALTH.index(health(m)), -len(m.open), m.name))
    pages = max(math.ceil(len(found) / MODELS_SHOWN), 1)
    page = min(max(page, 0), pages - 1)
    rows = [row(m) for m in found[page * MODELS_SHOWN : (page + 1) * MODELS_SHOWN]]
    return _render(
        "models.html", view, rows=rows, counts=counts, total=len(history.models), found=len(found),
        wanted=wanted, state=state, page=page, pages=pages, unusable=history.unusable + history.refused,
    )  # fmt: skip


def model(found: ModelHistory, view: View, *, everything: bool = False) -> str:
    """One model: open episodes, signals by drift, performance, time line, past episodes."""
    names = found.ranked()
    shown = names if everything else names[:SIGNALS_SHOWN]
    episodes = found.episodes()
    errors = [e for e in episodes if e.signal == ERRORS]
    begin = min((e.opened_ms for e in episodes), default=found.first_ms or 0)
    performance = list(found.performance)
    signals = [
        {
            "name": name,
            "latest": found.signals[name].latest,
            "spark": svg.spark(found.course(name, TRACED.index("psi"))),
            "open": found.open.get(name),
        }
        for name in shown
    ]
    return _render(
        "model.html", view, model=found, health=health(found), signals=signals, more=len(names) - len(shown),
        open=sorted(found.open.values(), key=lambda e: (-SEVERITIES.index(e.severity), e.opened_ms)),
        shown=OPEN_SHOWN, past=list(found.past)[: -PAST_SHOWN - 1 : -1],
        chart_episodes=review_pages.episodes_chart(episodes, begin, found.last_ms),
        charts=review_pages.performance_charts(performance, review_pages.shades(errors, found.last_ms)),
        errors=errors,
        performance=performance[-PAST_SHOWN:],
        columns=sorted({name for w in performance for name in w.statistics}),
    )  # fmt: skip


def signal(found: ModelHistory, name: str, view: View) -> str:
    """One signal: its windows against the reference, their course, its episodes."""
    own = [e for e in found.episodes() if e.signal == name]
    course = found.course(name, TRACED.index("psi"))
    missing = found.course(name, MISSING)
    return _render(
        "signal.html", view, model=found, name=name, history=found.signals.get(name),
        open=found.open.get(name), episodes=own[: -PAST_SHOWN - 1 : -1],
        chart=review_pages.psi_chart(name, course, own, found.last_ms),
        chart_missing=svg.lines(
            f"Missing values of {printable(name)}", [svg.Series("missing", missing)], floor=0.0
        ),
    )  # fmt: skip


def episode(found: ModelHistory, one: Episode, view: View) -> str:
    """One episode with the evidence of its newest alert."""
    data = one.alert
    quantiles = [_object(_object(data, side), "quantiles") for side in ("reference", "current")]
    tops = [_shares(_object(data, side).get("top")) for side in ("reference", "current")]
    return _render(
        "episode.html", view, model=found, episode=one,
        quantiles=[(k, *(number_of(q.get(k)) for q in quantiles)) for k in QUANTILES]
        if all(quantiles) else [],
        shares=[(k, tops[0].get(k), tops[1].get(k)) for k in (tops[0] | tops[1])],
        evidence=_evidence(data), facts=_facts(data), advice=[
            text for key in ("how_sure", "check_first") if isinstance(text := data.get(key), str)
        ],
    )  # fmt: skip


def _evidence(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = data.get("evidence")
    out = []
    for item in found[:EVIDENCE_MAX] if isinstance(found, list) else ():
        if isinstance(item, Mapping):
            tolerated = item.get("tolerated")
            bounds = [number_of(v) for v in tolerated] if isinstance(tolerated, list) else []
            out.append(
                {
                    "channel": str(item.get("channel")),
                    "was": number_of(item.get("reference_mean")),
                    "now": number_of(item.get("current_mean")),
                    "tolerated": bounds if len(bounds) == 2 else [None, None],
                    "shift": number_of(item.get("shift_sd")),
                    "detectors": [
                        (str(d.get("name")), number_of(d.get("statistic")), number_of(d.get("threshold")))
                        for d in (item.get("detectors") or [])[:EVIDENCE_MAX]
                        if isinstance(d, Mapping)
                    ]
                    if isinstance(item.get("detectors"), list)
                    else [],
                }
            )
    return out


def _facts(data: Mapping[str, Any]) -> list[tuple[str, str]]:
    origin, budget, mute = (_object(data, key) for key in ("origin", "budget", "mute"))
    acknowledged = _object(data, "acknowledged")
    facts = [
        ("Alert", str(data.get("id"))),
        ("Model version", str(data.get("model_version") or "not said")),
        (
            "Deciding event",
            f"{origin.get('topic')} [{origin.get('partition')}] offset {origin.get('offset')}",
        ),
        ("Budget", f"{budget.get('false_alarms_per_week')} false alarms a week for the model"),
    ]
    if acknowledged:
        facts.append(("Acknowledged", f"by {acknowledged.get('by')}: {acknowledged.get('why')}"))
    if mute:
        facts.append(("Muted", f"until {mute.get('until')} by {mute.get('by')}: {mute.get('why')}"))
    if data.get("runbook"):
        facts.append(("Runbook", str(data["runbook"])))
    return facts


def said(one: Episode) -> str:
    """What people said of an open episode: muted, acknowledged or nothing."""
    if one.alert.get("muted") is True:
        return "muted"
    return "acknowledged" if isinstance(one.alert.get("acknowledged"), Mapping) else ""


def find_episode(found: ModelHistory, name: str, number: int, opened_ms: int) -> Episode | None:
    """An episode by what its address says of it."""
    wanted = (name, number, opened_ms)
    return next((e for e in found.episodes() if (e.signal, e.number, e.opened_ms) == wanted), None)


def enter(view: View, *, wrong: bool = False) -> str:
    """The form for the token."""
    return _render("enter.html", view, wrong=wrong)


def message(view: View, title: str, text: str) -> str:
    """A page that says one thing: not found, refused."""
    return _render("message.html", view, title=title, text=text)


def _render(template: str, view: View, **values: Any) -> str:
    return environment().get_template(template).render(view=view, said=said, **values)


def _object(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, Mapping) else {}


def _shares(top: Any) -> dict[str, float]:
    out = {}
    for item in top[:EVIDENCE_MAX] if isinstance(top, list) else ():
        if isinstance(item, list) and len(item) == 2 and (share := number_of(item[1])) is not None:
            out[str(item[0])] = share
    return out


def styles() -> Markup:
    """The style sheet: that of all pages and what only the console has."""
    own = environment().loader
    assert own is not None  # set above
    return Markup(review_pages.style() + own.get_source(environment(), "console.css")[0])  # noqa: S704 - ours
