"""Key performance indicators that an owner defines: what can be measured, over what, and the agreed bounds.

Owns: the table of measures (``docs/kpis.md`` explains them), how a measure is written, and which settings of
a KPI make sense. Must not know: how anything is measured.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from driftline.records import Severity

KPIS_MAX: Final = 32  # of a model: each is a few series and some state
COUNT_MAX: Final = 10_000_000  # rows of a window: a day of 115 a second
MIN_ROWS: Final = 30  # below it a share or a mean says little; the usual rule of thumb
_UNITS: Final = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
_DURATION: Final = re.compile(r"[1-9][0-9]{0,5}[smhdw]", re.ASCII)
_QUANTILE: Final = re.compile(r"p([1-9][0-9]?)")


def _span(value: int | str) -> int | str:
    if isinstance(value, str) and not _DURATION.fullmatch(value):
        raise ValueError(f"{value!r} is neither a number nor a time: write 1000, or 90m, 24h, 7d")
    if isinstance(value, int) and not 1 <= value <= COUNT_MAX:
        raise ValueError(f"{value} is not between 1 and {COUNT_MAX:,}")
    return value


KpiName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Span = Annotated[int | str, AfterValidator(_span)]  # a count, or a time such as 24h


class Origin(StrEnum):
    """What a measure is taken of, and so which row ends a window of it."""

    EVENTS = "events"  # rows of events, from the first one on
    WINDOWS = "windows"  # the windows that every signal is compared in, once there is a reference
    LABELLED = "labelled"  # predictions with their labels, in the order in which the later of the two came
    SCORED = "scored"  # the windows of labelled events of driftline_performance_*
    LABELS = "labels"  # the join


# Name -> what it is taken of, and what stands behind the point.
_CLASS, _SIGNAL, _CATEGORY, _QUANTILES = "CLASS", "SIGNAL", "SIGNAL.CATEGORY", "pNN"
MEASURES: Final[Mapping[str, tuple[Origin, str]]] = {
    **dict.fromkeys(("accuracy", "log_loss", "brier", "calibration_error"), (Origin.LABELLED, "")),
    **dict.fromkeys(("precision", "recall", "f1"), (Origin.LABELLED, f"[{_CLASS}]")),
    **dict.fromkeys(("mae", "rmse", "bias"), (Origin.LABELLED, "")),
    **dict.fromkeys(("auc", "r2"), (Origin.SCORED, "")),
    "label_coverage": (Origin.LABELS, ""),
    "label_delay": (Origin.LABELS, _QUANTILES),
    **dict.fromkeys(("events_per_minute", "positive_rate"), (Origin.EVENTS, "")),
    **dict.fromkeys(("missing", "mean", "sum"), (Origin.EVENTS, _SIGNAL)),
    "share": (Origin.EVENTS, _CATEGORY),
    **dict.fromkeys(
        (
            "psi", "jensen_shannon_distance", "hellinger_distance", "l_infinity_distance", "ks_distance",
            "wasserstein_distance", "chi_squared",
        ),
        (Origin.WINDOWS, _SIGNAL),
    ),
}  # fmt: skip
BY_TIME: Final = frozenset({"events_per_minute", "label_coverage", "label_delay"})
EXTENSIVE: Final = frozenset({"events_per_minute", "sum"})  # no rows are a value: 0


@dataclass(frozen=True, slots=True)
class Measure:
    """A measure as it was written, in its parts; "" where it has no such part."""

    name: str
    origin: Origin
    signal: str = ""
    member: str = ""  # class or category
    share: float = 0.0  # of a quantile


def parse_measure(text: str) -> Measure:
    """The parts of ``recall.fraud``, ``psi.amount``, ``share.country.DE``, ``label_delay.p90``.

    Raises:
        ValueError: there is no such measure, or a part is missing or too much; names the nearest.
    """
    name, _, rest = text.partition(".")
    if name not in MEASURES:
        near = difflib.get_close_matches(name, MEASURES, 1, 0.5)
        hint = f", did you mean {'.'.join(filter(None, (near[0], rest)))}?" if near else ""
        raise ValueError(f"no measure {text!r}{hint}; known: {', '.join(sorted(MEASURES))}")
    origin, wanted = MEASURES[name]
    if not wanted and rest:
        raise ValueError(f"{name} is of the whole model: write {name}, not {text}")
    if wanted and not rest and wanted[0] != "[":
        raise ValueError(f"{name} needs to know of what: write {name}.{wanted}")
    if wanted == _QUANTILES:
        found = _QUANTILE.fullmatch(rest)
        if found is None:
            raise ValueError(f"{text}: write the quantile as {name}.p50 or {name}.p90")
        return Measure(name, origin, share=int(found[1]) / 100.0)
    if wanted == _CATEGORY:
        signal, _, category = rest.partition("=") if "=" in rest else rest.rpartition(".")
        if not signal or not category:
            raise ValueError(
                f"{text} names no category: write {name}.SIGNAL.CATEGORY or {name}.SIGNAL=CATEGORY"
            )
        return Measure(name, origin, signal, category)
    return Measure(name, origin, rest) if wanted == _SIGNAL else Measure(name, origin, member=rest)


def duration_ms(text: str) -> int:
    """A duration such as 90m, 24h or 7d in milliseconds."""
    return int(text[:-1]) * _UNITS[text[-1]]


class KpiSettings(BaseModel):
    """One KPI of a model: what is measured over which window, and the bounds agreed for it (docs/kpis.md)."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )

    measure: str = Field(
        max_length=300, description="such as accuracy, recall.CLASS, psi.SIGNAL; docs/kpis.md"
    )
    window: Span | None = Field(
        None, description="rows, or a time such as 90m, 24h, 7d; without it, the window of such measures"
    )
    min: float | None = Field(None, description="agreed: at least this")
    max: float | None = Field(None, description="agreed: at most this")
    lasting: Span = Field(
        1,
        alias="for",
        description="windows in a row, or a time, that a breach lasts before it opens an episode",
    )
    hysteresis: float = Field(0.0, ge=0, description="how far inside the bound it has to be to resolve")
    min_rows: int = Field(MIN_ROWS, ge=1, description="with fewer rows that count, a window says nothing")
    severity: Severity = Field("warning", description="of its alerts")

    @model_validator(mode="after")
    def _makes_sense(self) -> KpiSettings:
        measure = self.parsed
        if self.min is None and self.max is None:
            raise ValueError(f"{self.measure} has no bound: set min, max or both")
        if self.min is not None and self.max is not None:
            room = self.max - self.min
            if room < 2 * self.hysteresis or room < 0:
                raise ValueError(
                    f"nothing lies between min {self.min:g} and max {self.max:g} with this hysteresis"
                )
        if measure.origin in {Origin.WINDOWS, Origin.SCORED} and self.window is not None:
            setting = "window_rows" if measure.origin is Origin.WINDOWS else "labels.window_rows"
            raise ValueError(
                f"{measure.name} is taken of the windows of detection.{setting}: leave out window"
            )
        if measure.name in BY_TIME and not isinstance(self.window, str):
            raise ValueError(f"{measure.name} is over a time: set window, such as 1h")
        if measure.name == "sum" and self.window is None:
            raise ValueError("sum is over a number of rows or a time: set window, such as 1h")
        return self

    @property
    def parsed(self) -> Measure:
        """The measure in its parts."""
        return parse_measure(self.measure)

    @property
    def window_ms(self) -> int | None:
        """Length of the window in milliseconds; None if it is not one of time."""
        return duration_ms(self.window) if isinstance(self.window, str) else None


Kpis = Annotated[dict[KpiName, KpiSettings], Field(max_length=KPIS_MAX)]
# A null under a model drops the default of that name.
OwnKpis = Annotated[dict[KpiName, KpiSettings | None], Field(max_length=KPIS_MAX)]
