"""One alert explained on a page of a terminal; the alert comes from a topic, so nothing in it is trusted.

Owns: what is shown of ``schemas/alert.v1.json`` and how. A value of another type than there is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeGuard

from driftline.decide.texts import number, percent
from driftline.publish.alerts import LINE_CHARS_MAX, message
from driftline.publish.drawing import bar, table
from driftline.publish.text import printable

WIDTH: Final = 40
SHAPE: Final = "shape"  # the channel whose values are a PSI, not a share
WINDOW: Final = {
    "rows": "rows",
    "psi": "PSI",
    "jensen_shannon_distance": "Jensen-Shannon",
    "ks_distance": "KS",
    "wasserstein_distance": "Wasserstein",
}
ITEMS_MAX: Final = 20  # channels, detectors, categories


def page_lines(data: Mapping[str, object], *, ascii_only: bool) -> Iterator[str]:
    """The page: what happened, reference against current, why it was decided, and where."""
    *said, _ = message(data)  # the last line says how to get here
    yield from (*said, "")
    facts = [
        [
            "alert",
            f"{_shown(data, 'id')}, {_shown(data, 'type').rpartition('.')[2]}, {_shown(data, 'severity')}",
        ],
        ["decided", _shown(data, "time")],
        ["since", f"{_shown(data, 'onset')}, {_shown(data, 'events_since_onset')} events before"],
        ["model", f"{_shown(data, 'model')}, version {_shown(data, 'model_version')}"],
    ]
    yield from (f"  {label:<10} {text}" for label, text in facts)
    yield ""
    yield from _compared(_object(data, "reference"), _object(data, "current"), ascii_only=ascii_only)
    yield from _evidence(data)
    yield from _beside(data)
    if _object(data, "kpi"):
        yield from _agreed(_object(data, "kpi"))
    else:
        yield from _budgeted(data)
    yield from _decided(data)


def _compared(reference: Mapping[str, Any], current: Mapping[str, Any], *, ascii_only: bool) -> Iterator[str]:
    """Quantiles as boxes on one scale, categories as bars."""
    was, now = _object(reference, "quantiles"), _object(current, "quantiles")
    if was and now:
        rows = [("reference", was), ("current", now)]
        numbers = [v for _, q in rows for v in q.values() if _is_number(v)]
        low, high = min(numbers, default=0.0), max(numbers, default=0.0)
        for label, quantiles in rows:
            text = "  ".join(
                f"{printable(k, 8)} {number(v)}" for k, v in list(quantiles.items())[:9] if _is_number(v)
            )
            yield f"  {label:<10} |{_box(quantiles, low, high, ascii_only=ascii_only)}|  {text}"
        yield ""
    shares: dict[str, list[float]] = {}
    for place, side in enumerate((reference, current)):
        for item in _list(side, "top"):
            if isinstance(item, list) and len(item) == 2 and _is_number(item[1]):
                shares.setdefault(str(item[0]), [0.0, 0.0])[place] = float(item[1])
    if shares:
        yield f"  {'reference':<{WIDTH // 2 + 9}}    current"
    for name, (before, after) in list(shares.items())[:ITEMS_MAX]:
        old, new = (bar(v, WIDTH // 2, ascii_only=ascii_only) for v in (before, after))
        yield (
            f"  {old:<{WIDTH // 2}} {percent(before):>8} -> {new:<{WIDTH // 2}} {percent(after):>8}  "
            f"{printable(name, 40)}"
        )
    if shares:
        yield ""


def _box(quantiles: Mapping[str, Any], low: float, high: float, *, ascii_only: bool) -> str:
    """p05 to p95 as a line, p25 to p75 as a box, the median as a mark."""
    line, box, mark = "-=#" if ascii_only else "─━█"
    cells = [" "] * WIDTH
    at = {}
    for name in ("p05", "p25", "p50", "p75", "p95"):
        value = quantiles.get(name)
        if not _is_number(value) or not low < high:
            return "".join(cells)
        at[name] = min(max(round((float(value) - low) / (high - low) * (WIDTH - 1)), 0), WIDTH - 1)
    for start, end, sign in (("p05", "p95", line), ("p25", "p75", box), ("p50", "p50", mark)):
        for i in range(at[start], at[end] + 1):
            cells[i] = sign
    return "".join(cells)


def _evidence(data: Mapping[str, object]) -> Iterator[str]:
    rows = [["channel", "reference", "current", "tolerated", "shift (sd)"]]
    detectors = [["detector", "channel", "statistic", "threshold"]]
    for item in _list(data, "evidence")[:ITEMS_MAX]:
        if not isinstance(item, dict):
            continue
        name = printable(str(item.get("channel")), 40)
        shown = _number if item.get("channel") == SHAPE else _percent
        bounds = [shown(v) for v in _list(item, "tolerated")[:2]]
        shift = item.get("shift_sd")
        rows.append(
            [
                name,
                shown(item.get("reference_mean")),
                shown(item.get("current_mean")),
                " to ".join(bounds) or "-",
                f"{shift:+.2f}" if _is_number(shift) else "-",
            ]
        )
        for one in _list(item, "detectors")[:ITEMS_MAX]:
            if isinstance(one, dict):
                statistic, threshold = _number(one.get("statistic")), _number(one.get("threshold"))
                detectors.append([printable(str(one.get("name")), 20), name, statistic, threshold])
    for found in (rows, detectors):
        if len(found) > 1:
            yield from table(found)
            yield ""


def _beside(data: Mapping[str, object]) -> Iterator[str]:
    """The last full window against the reference, and what named detectors of river think."""
    window = _object(data, "window")
    found = [
        f"{label} {_number(window[key])}" for key, label in WINDOW.items() if _is_number(window.get(key))
    ]
    lines = [f"  last window: {', '.join(found)}"] if found else []
    for item in _list(data, "suspicions")[:ITEMS_MAX]:
        if isinstance(item, dict):
            name, channel = _shown(item, "detector"), _shown(item, "channel")
            lines.append(
                f"  {name} on {channel}: {_shown(item, 'alarms')} alarms, last {_shown(item, 'last')}"
            )
    if lines:
        yield from (*lines, "")


def _agreed(kpi: Mapping[str, Any]) -> Iterator[str]:
    """A KPI: value and bounds, and the window that they are about."""
    bounds = [f"{key} {_number(kpi[key])}" for key in ("min", "max") if _is_number(kpi.get(key))]
    window = _object(kpi, "window")
    counted, rows = _shown(window, "counted"), _shown(window, "rows")
    agreed = ", ".join(bounds) or "-"
    yield f"  measure    {_shown(kpi, 'measure')} {_number(kpi.get('value'))}, agreed {agreed}"
    yield f"  window     {_shown(window, 'from')} to {_shown(window, 'to')}, {counted} of {rows} rows count"


def _budgeted(data: Mapping[str, object]) -> Iterator[str]:
    budget, reference = _object(data, "budget"), _object(data, "reference")
    alarms, run = _number(budget.get("false_alarms_per_week")), _number(budget.get("run_length_target"))
    sources, rows = _shown(budget, "sources"), _shown(reference, "rows")
    tau, block = _number(reference.get("tau")), _shown(reference, "block")
    if budget.get("covered") is False:
        yield "  budget     not covered: only detectors of river opened this episode (`opens: true`)"
    else:
        yield f"  budget     {alarms} false alarms a week over {sources} sources, by one every {run} events"
    yield f"  reference  {_shown(reference, 'id')}, {rows} rows, tau {tau}, blocks of {block}"


def _decided(data: Mapping[str, object]) -> Iterator[str]:
    origin = _object(data, "origin")
    where = "/".join(_shown(origin, key) for key in ("topic", "partition", "offset"))
    yield f"  decided by {where}"
    yield f"  runbook    {printable(_text(data, 'runbook') or '-', LINE_CHARS_MAX)}"


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def _shown(data: Mapping[str, Any], key: str) -> str:
    """A text or a whole number, safe to print."""
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return "-"
    return printable(f"{value:,}" if isinstance(value, int) and key != "offset" else str(value))


def _object(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    return value if isinstance(value, dict) else {}


def _list(data: Mapping[str, Any], key: str) -> list[Any]:
    value = data.get(key)
    return value if isinstance(value, list) else []


def _is_number(value: object) -> TypeGuard[float]:
    """Finite, and small enough for a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e300 and math.isfinite(value)


def _number(value: Any) -> str:
    return number(float(value)) if _is_number(value) else "-"


def _percent(value: Any) -> str:
    return percent(float(value)) if _is_number(value) else "-"
