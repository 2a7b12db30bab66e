"""Compiled kernels of stage 2: channels, detectors, episodes of channels. Pure array code, see each module.

``compile_all`` compiles every kernel for the types of the service, or loads it from numba's cache.
"""

from __future__ import annotations

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from driftline.detect.kernels.adwin import adwin_run
from driftline.detect.kernels.channels import derive_channels, update_recent
from driftline.detect.kernels.e_detector import e_detector_run
from driftline.detect.kernels.engine import run_block, run_channels, tau_live, warm_channels
from driftline.detect.kernels.page_hinkley import page_hinkley_run
from driftline.detect.kernels.pit import pit_run
from driftline.detect.kernels.season import deseason
from driftline.detect.kernels.state import (
    CHANNEL_PLAN,
    CHANNEL_STATE,
    FINDING,
    SIGNAL_SPEC,
    STATE_VERSION,
    WARMUP,
    new_plan,
    new_state,
    new_warmup,
)
from driftline.detect.kernels.windows import count_window, window_statistics

__all__ = [
    "CHANNEL_PLAN",
    "CHANNEL_STATE",
    "FINDING",
    "SIGNAL_SPEC",
    "STATE_VERSION",
    "WARMUP",
    "compile_all",
    "count_window",
    "derive_channels",
    "deseason",
    "new_plan",
    "new_state",
    "new_warmup",
    "run_block",
    "run_channels",
    "tau_live",
    "update_recent",
    "warm_channels",
    "window_statistics",
]


def _array(dtype: npt.DTypeLike, ndim: int = 1, *, readonly: bool = False) -> Any:
    """Numba type of an aligned C-contiguous array."""
    return numba.types.Array(numba.from_dtype(np.dtype(dtype)), ndim, "C", readonly=readonly)


def _signatures() -> dict[Any, tuple[Any, ...]]:
    """Argument types of every kernel that Python calls. Inputs are read-only: a writable array is one too."""
    i8: Final = numba.int64
    f8: Final = numba.float64
    f1, f2 = _array("f8"), _array("f8", 2)
    rf1, rf2 = _array("f8", readonly=True), _array("f8", 2, readonly=True)
    ri4, ru1, ri8 = _array("i4", readonly=True), _array("u1", readonly=True), _array("i8", readonly=True)
    i1 = _array("i8")
    plan, state = _array(CHANNEL_PLAN, readonly=True), _array(CHANNEL_STATE)
    lookup = (ri4, rf1, ri4, ru1, ri4)
    return {
        derive_channels: (
            *(_array("u1", 2, readonly=True), rf2, ri4, _array(SIGNAL_SPEC, readonly=True), rf1, rf1, rf1),
            *(*lookup, ru1, i8, i8, f2, f2, i1),
        ),
        deseason: (f2, ri8, i8, i8, ri8, ri8, ri8, rf2),
        update_recent: (f2, i1, ri8, rf2, i8, i8),
        run_channels: (rf2, ri8, i8, i8, plan, state, _array(FINDING), i8, i1),
        warm_channels: (rf2, i8, i8, ri8, _array(WARMUP)),
        adwin_run: (rf1, state, f8, i1),
        page_hinkley_run: (rf1, state, f8, f8, i1),
        e_detector_run: (rf1, plan, state, f8, i1),
        pit_run: (rf1, rf1, rf1, rf1, f1),
        count_window: (rf2, rf2, i8, i8, _array(SIGNAL_SPEC, readonly=True), ri8, i1, i1),
        window_statistics: (ri8, ri8, ri8, ri8, rf1, ri8, ru1, f2),
    }


def compile_all() -> None:
    """Compile every kernel, or load it from the cache, and allow no other types from then on.

    Afterwards a call with an array of another type, layout or alignment raises TypeError instead of compiling
    for seconds in the middle of a stream. Does nothing where the jit is disabled.
    """
    for kernel, arguments in _signatures().items():
        if hasattr(kernel, "disable_compile"):
            kernel.compile(arguments)
            kernel.disable_compile()
