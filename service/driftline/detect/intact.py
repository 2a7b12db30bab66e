"""Whether restored arrays are what kernels may be given: they index without asking.

A checksum finds damage on the way, not a value that was wrong when it was written. Every check is one that
the state of a running actor passes at any row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from driftline.detect.actor import RECENT, Detection
from driftline.detect.kernels.scan_json import TIME_MS_MAX, TIME_MS_MIN
from driftline.detect.kernels.state import (
    ADWIN_CAP,
    ADWIN_ROWS,
    CHANNEL_PLAN,
    CHANNEL_STATE,
    LANES_MAX,
    STATUS_OPEN,
)
from driftline.detect.kernels.windows import STATISTICS
from driftline.detect.labels import NAMED, NAMES_MAX
from driftline.detect.performance import TASK_ROWS, Performance
from driftline.detect.rows import Segment
from driftline.errors import MessageError
from driftline.records import Tag

_MAY_BE_NAN: Final = {"alarm_stat", "alarm_bound", "alarm_ph"}
_COUNTERS: Final = ("n", "part_n", "pend_n", "low_n", "ring_n", "bucket_n", "open_n", "below", "a_tick")


def _require(right: Any, what: str) -> None:
    if not np.all(right):
        raise MessageError(f"stored state is inconsistent: {what}.")


def check_detection(d: Detection) -> None:
    """Refuses state with which a kernel would leave its arrays, never end, or compute on nothing.

    Raises:
        MessageError: says what is wrong.
    """
    signals, channels = len(d.layout.signals), len(d.layout.channels)
    shapes = {
        "plan": (channels,), "state": (channels,), "warm": (channels,), "tau_live": (channels,),
        "recent": (signals, RECENT), "recent_n": (1,), "mismatches": (signals,),
    }  # fmt: skip
    dtypes = {"tau_live": np.float64, "recent": np.float64, "recent_n": np.int64, "mismatches": np.int64}
    for name, shape in shapes.items():
        array = getattr(d, name)
        _require(array.shape == shape and array.dtype == dtypes.get(name, array.dtype), f"shape of {name}")
    _require(d.recent_n >= 0, "recent_n")
    _require(np.isfinite(d.tau_live), "tau_live")
    _require((d.warm["n"] >= 0) & (d.warm["part_n"] >= 0) & (d.warm["blocks"] >= 0), "warm-up counters")
    _check_window(d)
    check_channels(d.plan, d.state)
    if d.rate is not None:
        _require(d.rate.plan.shape == (2,) and d.rate.state.shape == (2,), "shape of the rate")
        _require(d.rate.bucket >= -1 and d.rate.count >= 0, "buckets of the rate")
        check_channels(d.rate.plan, d.rate.state)


def _check_window(d: Detection) -> None:
    window, signals = d.window, len(d.layout.signals)
    shapes = {
        "counts": ((len(d.layout.bins),), np.int64), "missing": ((signals,), np.int64),
        "open": ((signals,), np.int8), "home": ((signals,), np.int64),
        "last": ((signals, STATISTICS), np.float64),
    }  # fmt: skip
    for name, (shape, dtype) in shapes.items():
        array = getattr(window, name)
        _require(array.shape == shape and array.dtype == dtype, f"shape of the window's {name}")
    _require(min(window.rows, window.number, window.time.late) >= 0, "rows of the window")
    _require((window.counts >= 0).all() and (window.missing >= 0).all(), "counts of the window")


def check_channels(plan: Any, state: Any) -> None:
    """Refuses the plan and state of channels with which a kernel would leave its arrays or never end."""
    _require((plan["lanes"] >= 0) & (plan["lanes"] <= LANES_MAX), "lanes")
    for name in ("b", "bucket", "window"):
        _require((plan[name] >= 1) & (plan[name] < 1 << 40), name)
    _require((state["status"] >= 0) & (state["status"] <= STATUS_OPEN), "status")
    for name in _COUNTERS:
        _require(state[name] >= 0, name)
    for name, (dtype, *_) in (state.dtype.fields or {}).items():
        if dtype.base.kind == "f" and name not in _MAY_BE_NAN:
            _require(~np.isnan(state[name]), name)
    count, last = state["a_cnt"], state["a_last"]
    _require((count >= 0) & (count < ADWIN_CAP), "ADWIN's buckets")
    _require((last >= 0) & (last < ADWIN_ROWS - 1), "ADWIN's rows")
    beyond = np.arange(ADWIN_ROWS) > np.clip(last, 0, ADWIN_ROWS - 1)[:, None]
    _require(~((count > 0) & beyond), "ADWIN's rows")
    _require((count * 2.0 ** np.arange(ADWIN_ROWS)).sum(axis=1) == state["a_width"], "ADWIN's width")


def check_performance(p: Performance, arrays: Mapping[str, Any]) -> None:
    """Refuses the stored arrays of a performance whose plain values are restored already.

    Raises:
        MessageError: says what is wrong.
    """
    rows = arrays["time"].shape
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        name: (rows, getattr(p.window, name).dtype) for name in ("time", "score", "code", "value", "named")
    }
    shapes |= {
        "confusion": (p.confusion.shape, np.int64), "errors": (arrays["errors"].shape, np.float64),
        "plan": ((1,), CHANNEL_PLAN), "state": ((1,), CHANNEL_STATE),
    }  # fmt: skip
    for name, (shape, dtype) in shapes.items():
        array = arrays[name]
        _require(array.shape == shape and array.dtype == dtype and array.ndim, f"shape of {name}")
    _require(len(rows) == 1 and arrays["errors"].ndim == 1, "shape of the window")
    _require(p.task in {"auto", "binary", "multiclass", "regression"}, "task")
    _require(p.task != "auto" or rows[0] < TASK_ROWS, "rows of the window")  # else the task were known
    check_codes(np.array([p.positive, p.negative]), "classes")
    check_codes(arrays["code"], "classes of the window")
    check_codes(arrays["value"][arrays["named"] == NAMED], "labels of the window")
    _require(arrays["confusion"] >= 0, "confusion counts")
    _require(np.isfinite(arrays["errors"]), "errors")
    time = arrays["time"]
    _require((time >= TIME_MS_MIN) & (time <= TIME_MS_MAX), "times of the window")  # they get into reports
    _require(min(p.rows, p.number) >= 0 and len(p.error_times) in {0, 2}, "rows of the performance")
    _require(bool(p.error_times) == bool(len(arrays["errors"])), "times of the errors")
    if p.reference is not None:
        check_channels(arrays["plan"], arrays["state"])
        numeric = p.reference.numeric
        if numeric is not None:
            knots = np.asarray(numeric.knots)
            _require(len(knots) == len(numeric.below) == len(numeric.upto) > 0, "knots of the errors")
            _require(np.diff(knots) > 0, "knots of the errors")


def check_codes(codes: Any, what: str) -> None:
    """Refuses numbers that are not codes of classes, nor -1 for none.

    Raises:
        MessageError: says what is wrong.
    """
    _require((codes >= -1) & (codes <= NAMES_MAX) & (codes == np.floor(codes)), what)


def check_segment(segment: Segment) -> None:
    """Refuses learning rows whose arrays or string numbers do not fit each other.

    Raises:
        MessageError: says what is wrong.
    """
    rows = len(segment.times)
    shape = (len(segment.columns), rows)
    _require(segment.times.ndim == 1 and segment.times.dtype == np.int64, "times of learning rows")
    _require(segment.tags.shape == shape and segment.tags.dtype == np.uint8, "tags of learning rows")
    _require(segment.values.shape == shape and segment.values.dtype == np.float64, "values of learning rows")
    _require(segment.tags <= max(Tag), "tags of learning rows")
    for (_, name, strings), tags, values in zip(segment.columns, segment.tags, segment.values, strict=True):
        codes = values[tags == Tag.STRING]
        _require(
            (codes >= 0) & (codes < len(strings)) & (codes == np.floor(codes)), f"strings of {name!r:.40}"
        )
        _require(np.isfinite(values[(tags == Tag.NUMBER) | (tags == Tag.BOOL)]), f"values of {name!r:.40}")
