"""Which alert goes to whom, and whether now. Pure.

A target that was told of an episode is told how it goes on and ends, whatever its severity is by then: a
severity falls as a change fades, and an opening without an end would stay open for ever.
"""

from __future__ import annotations

from enum import StrEnum
from fnmatch import fnmatchcase

from driftline.config.notify import NotifySettings
from driftline.publish.notify.memory import Told
from driftline.publish.notify.notice import Notice
from driftline.records import SEVERITIES, Severity


class Skip(StrEnum):
    """Why an alert is not sent; a closed set, as it is a metric label."""

    ROUTE = "route"
    MUTED = "muted"
    DUPLICATE = "duplicate"
    EXPIRED = "expired"
    MALFORMED = "malformed"


def routed(settings: NotifySettings, model: str, severity: Severity) -> frozenset[str]:
    """The targets of a model's alerts of a severity."""
    if not _reaches(severity, settings.min_severity):
        return frozenset()
    routes = [
        route
        for route in settings.routes
        if _reaches(severity, route.min_severity) and any(fnmatchcase(model, glob) for glob in route.models)
    ]
    if routes:
        return frozenset(name for route in routes for name in route.targets)
    return frozenset(settings.targets if settings.default is None else settings.default)


def skip(
    settings: NotifySettings, target: str, notice: Notice, told: Told, age_seconds: float, *, keeps_open: bool
) -> Skip | None:
    """Why a target is not told of an alert; None when it is.

    Args:
        settings: targets and routes.
        target: name of the target.
        notice: the alert.
        told: what the target knows of its signal.
        age_seconds: since the alert was written.
        keeps_open: the target has to be told that what it knows has ended, also when that is muted or old.
    """
    own = settings.targets[target]
    if told.handled(notice.id):
        return Skip.DUPLICATE
    ends = notice.event == "resolved" or notice.muted
    if keeps_open and ends and told.open is not None:
        return None
    if notice.muted:
        return Skip.MUTED
    if notice.event not in own.events:
        return Skip.ROUTE
    follows = told.open is not None and told.open.episode == notice.episode
    if not follows and (
        notice.event == "resolved" or target not in routed(settings, notice.model, notice.severity)
    ):
        return Skip.ROUTE
    return Skip.EXPIRED if age_seconds > own.max_age_hours * 3_600.0 else None


def _reaches(severity: Severity, least: Severity) -> bool:
    return SEVERITIES.index(severity) >= SEVERITIES.index(least)
