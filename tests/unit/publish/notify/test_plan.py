from typing import Any

import pytest

from driftline.config import NotifySettings
from driftline.publish.notify.memory import Open, Told
from driftline.publish.notify.notice import Notice, from_data
from driftline.publish.notify.plan import Skip, routed, skip
from harness.notices import alert

TARGETS = {name: {"kind": "webhook", "url": f"https://{name}.example.org"} for name in ("a", "b", "c")}


def settings(**more: Any) -> NotifySettings:
    """Three targets and what else is said."""
    return NotifySettings.model_validate({"targets": TARGETS, **more})


def notice(event: str = "opened", **more: Any) -> Notice:
    """An alert as it is read."""
    found = from_data(alert(event, **more))
    assert found is not None
    return found


def test_without_routes_everybody_is_told() -> None:
    """One target and nothing else is the common case."""
    assert routed(settings(), "m", "info") == {"a", "b", "c"}
    assert routed(settings(default=[]), "m", "critical") == frozenset()
    assert routed(settings(default=["b"]), "m", "critical") == {"b"}


def test_routes_add_up_by_model_and_severity() -> None:
    """Targets of every route that matches; the default only where none does."""
    own = settings(
        routes=[
            {"models": ["credit-*"], "targets": ["a"]},
            {"models": ["credit-risk", "fraud"], "min_severity": "critical", "targets": ["b"]},
        ],
        default=["c"],
    )
    assert routed(own, "credit-risk", "warning") == {"a"}
    assert routed(own, "credit-risk", "critical") == {"a", "b"}
    assert routed(own, "fraud", "warning") == {"c"}
    assert routed(own, "Credit-risk", "critical") == {"c"}


def test_less_than_the_least_severity_goes_to_nobody() -> None:
    """Over all routes and the default."""
    own = settings(min_severity="warning", routes=[{"targets": ["a"]}])
    assert routed(own, "m", "info") == frozenset()
    assert routed(own, "m", "warning") == {"a"}


def why(
    own: NotifySettings,
    what: Notice,
    told: Told | None = None,
    *,
    hours: float = 0.0,
    keeps_open: bool = False,
) -> Skip | None:
    """Why target a is not told."""
    return skip(own, "a", what, told or Told(), hours * 3_600, keeps_open=keeps_open)


def test_an_alert_is_told_once() -> None:
    """The memory of ids wins over everything."""
    what = notice()
    assert why(settings(), what) is None
    assert why(settings(), what, Told(((what.id, 0),))) is Skip.DUPLICATE


def test_who_was_told_of_an_episode_is_told_how_it_goes_on_and_ends() -> None:
    """Also when its severity has fallen below the route's; who was not told is not told of its end."""
    own = settings(routes=[{"min_severity": "critical", "targets": ["a"]}], default=[])
    told = Told(open=Open(1, {}))
    for event in ("updated", "resolved"):
        assert why(own, notice(event, severity="info"), told) is None
        assert why(own, notice(event, severity="info")) is Skip.ROUTE
    assert why(own, notice("resolved", severity="critical")) is Skip.ROUTE
    assert why(own, notice("updated", severity="critical")) is None
    assert why(own, notice("resolved", episode=2), told) is Skip.ROUTE


def test_a_muted_alert_is_not_told_but_ends_what_is_kept_open() -> None:
    """Alertmanager would go on telling people of it."""
    muted, told = notice("updated", muted=True), Told(open=Open(1, {}))
    assert why(settings(), muted) is Skip.MUTED
    assert why(settings(), muted, told) is Skip.MUTED
    assert why(settings(), muted, told, keeps_open=True) is None
    assert why(settings(), muted, keeps_open=True) is Skip.MUTED


def test_an_old_alert_expires_but_an_end_does_not_where_it_is_kept_open() -> None:
    """A target that was away for days is not flooded with what was long ago."""
    own, told = settings(), Told(open=Open(1, {}))
    assert why(own, notice(), hours=23.9) is None
    assert why(own, notice(), hours=24.1) is Skip.EXPIRED
    assert why(own, notice("resolved"), told, hours=24.1) is Skip.EXPIRED
    assert why(own, notice("resolved"), told, hours=24.1, keeps_open=True) is None


def test_events_of_a_target_can_be_chosen() -> None:
    """Somebody wants to know of openings only."""
    targets = TARGETS | {"a": {**TARGETS["a"], "events": ["opened"]}}
    own = NotifySettings.model_validate({"targets": targets})
    assert why(own, notice()) is None
    assert why(own, notice("resolved"), Told(open=Open(1, {}))) is Skip.ROUTE


def test_a_route_to_nobody_is_refused() -> None:
    """With the names that there are."""
    with pytest.raises(ValueError, match="routes or default name nobody, but targets are a, b, c"):
        settings(routes=[{"targets": ["nobody"]}])
