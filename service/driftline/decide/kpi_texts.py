"""A KPI in words: what is measured, its value and its bounds, for a person who is not a statistician."""

from __future__ import annotations

from typing import Final

from driftline.config.kpi import KpiSettings, Measure
from driftline.decide import texts

_NAMES: Final = {
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
    "f1": "F1",
    "auc": "AUC",
    "mae": "mean absolute error",
    "rmse": "root mean square error",
    "r2": "R2",
    "psi": "PSI",
    "chi_squared": "chi-squared",
    "jensen_shannon_distance": "Jensen-Shannon distance",
    "hellinger_distance": "Hellinger distance",
    "l_infinity_distance": "largest change of a share",
    "ks_distance": "Kolmogorov-Smirnov distance",
    "wasserstein_distance": "Wasserstein distance",
    "positive_rate": "share of positive predictions",
    "label_coverage": "share of predictions that get a label",
    "events_per_minute": "events a minute",
}
_SHARES: Final = frozenset({"missing", "share", "positive_rate", "label_coverage"})


def subject(measure: Measure) -> str:
    """What is measured."""
    name = _NAMES.get(measure.name, measure.name)
    if measure.name == "label_delay":
        return f"time until {texts.percent(measure.share)} of labels have come"
    if measure.name == "missing":
        return f'share of events without "{measure.signal}"'
    if measure.name == "share":
        return f'share of {measure.member} in "{measure.signal}"'
    if measure.signal:
        return f'{name} of "{measure.signal}"'
    return f"{name} of {measure.member}" if measure.member else name


def quantity(measure: Measure, value: float) -> str:
    """A value or a bound in the measure's unit."""
    if measure.name in _SHARES:
        return texts.percent(value)
    if measure.name == "label_delay":
        return texts.duration(round(value * 1000.0))
    return texts.number(value)


def agreed(kpi: KpiSettings) -> str:
    """The bounds."""
    low, high = (None if b is None else quantity(kpi.parsed, b) for b in (kpi.min, kpi.max))
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"at least {low}" if low is not None else f"at most {high}"


def opened(model: str, kpi: KpiSettings, value: float, onset_ms: int, decided_ms: int) -> str:
    """The first line of an opening."""
    measure = kpi.parsed
    low = kpi.min is not None and value < kpi.min
    bound = kpi.min if low else kpi.max
    assert bound is not None  # it is the one that was crossed
    how = f"{'below' if low else 'above'} the agreed {quantity(measure, bound)}"
    are = "are" if measure.name == "events_per_minute" else "is"
    when = f"since about {texts.since(onset_ms, decided_ms)}"
    return f"{model}: {subject(measure)} {are} {quantity(measure, value)}, {how}, {when}"


def resolved(model: str, kpi: KpiSettings, value: float, lasted_ms: int) -> str:
    """The first line of a resolution."""
    measure = kpi.parsed
    are = "are" if measure.name == "events_per_minute" else "is"
    back = f"{are} back at {quantity(measure, value)}"
    return f"{model}: {subject(measure)} {back} after {texts.duration(lasted_ms)} (agreed: {agreed(kpi)})"


def dropped(model: str, name: str) -> str:
    """The first line of a resolution because nobody asks any more."""
    return f"{model}: KPI {name} is not watched any more; its episode is closed"
