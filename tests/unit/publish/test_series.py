"""The choice of series: the cap always wins, open episodes first, sticky for an hour."""

import math
import random
from dataclasses import replace

import hypothesis.strategies as st
from hypothesis import given

from driftline.decide.outputs import KpiView, ModelView, SignalView
from driftline.publish.series import (
    SERIES_PER_KPI,
    SERIES_PER_MODEL,
    SERIES_PER_SIGNAL,
    STICKY_SECONDS,
    choose_series,
)


def signal(name: str, shift: float = 0.0, severity: str | None = None) -> SignalView:
    """A signal's view."""
    return SignalView(name, "feature", severity, shift, 0.0)


def model(name: str, *signals: SignalView) -> ModelView:
    """A model's view."""
    return ModelView(name, "active", 1, 0, 0, 0, 0, 0, signals)


def names(choice: object) -> list[str]:
    """Names of the chosen signals, in order."""
    return [s.name for _, s in choice.signals]  # type: ignore[attr-defined]


views_strategy = st.lists(
    st.builds(
        lambda n, s: model(n, *s),
        st.text("ab", min_size=1, max_size=3),
        st.lists(
            st.builds(
                signal,
                st.text("xyz", min_size=1, max_size=2),
                st.one_of(st.just(math.nan), st.floats(-9, 9)),
                st.sampled_from([None, None, "info", "warning", "critical"]),
            ),
            max_size=8,
            unique_by=lambda s: s.name,
        ),
    ),
    max_size=6,
    unique_by=lambda v: v.model,
)


@given(views_strategy, st.integers(0, 80), st.integers(1, 6), st.lists(st.floats(0, 2e4), max_size=5))
def test_cap_always_wins_and_all_is_counted(
    views: list[ModelView], cap: int, per_model: int, steps: list[float]
) -> None:
    """At any time, whatever was admitted before: at most ``cap`` series, and shown + dropped = all."""
    admitted: dict[tuple[str, str], float] = {}
    firing = sum(s.severity is not None for v in views for s in v.signals)
    total = firing + SERIES_PER_MODEL * len(views) + SERIES_PER_SIGNAL * sum(len(v.signals) for v in views)
    now = 0.0
    for step in [0.0, *steps]:
        now += step
        choice = choose_series(views, admitted, now, series_max=cap, signals_per_model_max=per_model)
        assert len(choice) <= cap
        assert len(choice) + choice.dropped == total
        assert len(choice.firing) == min(firing, cap)
        for view in views:
            assert sum(m == view.model for m, _ in choice.signals) <= per_model
        assert len(set(choice.firing)) == len(choice.firing)
        assert set(choice.admitted) == {(m, s.name) for m, s in choice.signals}
        admitted = dict(choice.admitted)


@given(views_strategy, st.integers(0, 80), st.randoms(use_true_random=False))
def test_order_of_views_does_not_matter(views: list[ModelView], cap: int, rng: random.Random) -> None:
    """Checkpoints arrive in any order."""
    other = views.copy()
    rng.shuffle(other)
    assert choose_series(views, {}, 0.0, series_max=cap, signals_per_model_max=3) == choose_series(
        other, {}, 0.0, series_max=cap, signals_per_model_max=3
    )


def test_worst_first() -> None:
    """Critical before warning before info before the largest shift; NaN counts as no shift."""
    view = model(
        "m",
        signal("nan", math.nan),
        signal("big", -5.0),
        signal("i", 9.0, "info"),
        signal("c", 0.1, "critical"),
        signal("w", 1.0, "warning"),
        signal("small", 1.0),
    )
    choice = choose_series([view], {}, 0.0, series_max=100, signals_per_model_max=100)
    assert names(choice) == ["c", "w", "i", "big", "small", "nan"]
    assert [s for _, s, *_ in choice.firing] == ["c", "w", "i"]


def test_a_signal_once_shown_stays_for_an_hour() -> None:
    """Others overtake it: it keeps its place for an hour and then competes again."""
    room = SERIES_PER_MODEL + SERIES_PER_SIGNAL  # one signal
    first = choose_series(
        [model("m", signal("a", 2.0), signal("b", 1.0))], {}, 0.0, series_max=room, signals_per_model_max=9
    )
    later = [model("m", signal("a", 2.0), signal("b", 3.0))]
    second = choose_series(
        later, first.admitted, STICKY_SECONDS - 1, series_max=room, signals_per_model_max=9
    )
    third = choose_series(later, second.admitted, STICKY_SECONDS, series_max=room, signals_per_model_max=9)
    assert [names(c) for c in (first, second, third)] == [["a"], ["a"], ["b"]]


def test_an_open_episode_displaces_a_sticky_signal() -> None:
    """Stickiness never hides an alarm."""
    room = 1 + SERIES_PER_MODEL + SERIES_PER_SIGNAL
    before = choose_series([model("m", signal("a", 9.0))], {}, 0.0, series_max=room, signals_per_model_max=9)
    after = choose_series(
        [model("m", signal("a", 9.0), signal("b", 0.0, "info"))], before.admitted, 1.0,
        series_max=room, signals_per_model_max=9,
    )  # fmt: skip
    assert names(after) == ["b"]


def test_models_with_open_episodes_keep_their_own_series() -> None:
    """When not even the models fit, those with alarms are shown whole."""
    views = [model("a"), model("b"), model("z", signal("s", 1.0, "warning"))]
    choice = choose_series(views, {}, 0.0, series_max=1 + SERIES_PER_MODEL, signals_per_model_max=9)
    assert [v.model for v in choice.models] == ["z"]
    assert choice.dropped == 2 * SERIES_PER_MODEL + SERIES_PER_SIGNAL


def test_kpis_come_before_signals_and_are_counted_when_they_do_not_fit() -> None:
    """What an owner asked for, of whole models only; the cap wins over that too."""
    kpis = tuple(KpiView(str(i), 0.5, 0.1, None, "warning", breached=False) for i in range(3))
    view = replace(model("a", signal("x", 3.0)), kpis=kpis)
    whole = SERIES_PER_MODEL + 3 * SERIES_PER_KPI
    for cap in (whole, whole - 1):
        choice = choose_series([view], {}, 0.0, series_max=cap, signals_per_model_max=9)
        assert choice.agreed == ((view,) if cap == whole else ())
        assert len(choice) <= cap
        assert len(choice) + choice.dropped == whole + SERIES_PER_SIGNAL
