"""Record layouts of the kernels: the plan of a channel, its state, a finding, a signal's shape, a warm-up.

Owns: the numpy structured dtypes that kernels and the actor share, and the initial values of a state.
Invariants: every layout is free of hidden padding (wide fields first, an explicit zeroed ``pad`` last), so
``array.tobytes()`` is a function of the field values alone and two equal states have equal bytes;
``STATE_VERSION`` changes whenever ``CHANNEL_STATE`` or ``WARMUP`` does. Must not know: where bytes are
stored.

"Update" below means a value a channel consumes: a row whose value is not NaN when ``b`` is 1, else the mean
of ``b`` such rows. Times are event times, Unix milliseconds.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

STATE_VERSION: Final = 1

Records = npt.NDArray[Any]  # numpy cannot express a structured dtype in a type

LANES_MAX: Final = 8  # four bets a side (DECISIONS A)
RING: Final = 16  # sub-buckets of the rolling window that resolves an episode
ADWIN_ROWS: Final = 40  # row r holds buckets of 2**r values: 40 rows are never filled
ADWIN_CAP: Final = 6  # max_buckets + 1: the bucket that overflows a row sits there until it is merged

STATUS_OK: Final = 0
STATUS_PENDING: Final = 1
STATUS_OPEN: Final = 2

KIND_OPEN: Final = 1
KIND_RESOLVE: Final = 2
KIND_DISMISSED: Final = 4
KIND_UPDATE: Final = 8

SOURCE_ESR: Final = 1
SOURCE_ADWIN: Final = 2
SOURCE_PH: Final = 4

SIGNAL_NUMERIC: Final = 0
SIGNAL_CATEGORICAL: Final = 1

LUT_OTHER: Final = 1  # bit of lut_flag: a category of the reference that is not kept
LUT_UNSEEN: Final = 2  # bit of lut_flag: not in the reference at all

_f8, _i8, _i4, _i1 = np.float64, np.int64, np.int32, np.int8

CHANNEL_PLAN: Final = np.dtype(
    [
        ("b", _i8),  # rows a block; 1 = the values themselves
        ("mu0", _f8),  # mean of the channel on the reference
        ("z_offset", _f8),  # ADWIN consumes z = z_offset + z_scale * (y - mu0)
        ("z_scale", _f8),
        ("adwin_delta", _f8),
        ("ph_delta", _f8),
        ("ph_lambda", _f8),
        ("lanes", _i8),  # bets in use, 0..8: lam[:lanes], m[:lanes]
        ("lam", _f8, (LANES_MAX,)),  # bet of a lane; negative = betting on a decrease
        ("m", _f8, (LANES_MAX,)),  # mean that a lane bets against
        ("level", _f8),  # B: e-SR opens at mean M >= level
        ("confirm", _f8),  # an alarm opens at q >= confirm and is dismissed at q <= 1 / confirm
        ("min_run", _i8),  # min_duration // b, in updates
        ("bucket", _i8),  # updates a sub-bucket of the window: W // 16, at least 1
        ("window", _i8),  # W in updates
        (
            "exit_band",
            _f8,
        ),  # resolve while the window mean is at most so far from mu0, to the side it opened on
        ("null_low", _f8),  # ... and not beyond the widened null on the other side
        ("null_high", _f8),
        ("hold", _i8),  # ... at this many consecutive sub-bucket ends
        ("report_band", _f8),  # an open channel is reported again when its window mean moved by this much
        ("z_raw", _i1),  # 1 = z is y exactly
        ("ph_input_z", _i1),  # 1 = Page-Hinkley consumes z, else y
        ("use_esr", _i1),
        ("use_adwin", _i1),
        ("use_ph", _i1),
        ("pad", _i1, (3,)),
    ],
    align=True,
)

CHANNEL_STATE: Final = np.dtype(
    [
        ("n", _i8),  # updates consumed
        ("part_sum", _f8),  # the partial block: sum of its rows
        ("part_n", _i8),
        ("part_time", _i8),  # event time of its first row
        ("R", _f8, (LANES_MAX,)),  # e-SR lanes
        ("Q", _f8, (LANES_MAX,)),  # confirmation lanes, from the alarm on
        (
            "pend_n",
            _i8,
        ),  # updates since the alarm that made the channel PENDING (the alarm's own not counted)
        ("pend_sum", _f8),  # sum of y over them
        ("pend_time", _i8),  # event time of the first of them
        ("low_n", _i8),  # updates since the last M < 1000 (while OPEN: since the onset)
        ("low_sum", _f8),  # sum of y over them
        ("low_time", _i8),  # event time of the first of them: the onset estimate
        ("ring", _f8, (RING,)),  # sums of y over complete sub-buckets; the k-th sits at k % 16
        ("ring_n", _i8),  # sub-buckets completed
        ("bucket_sum", _f8),  # the partial sub-bucket
        ("bucket_n", _i8),
        ("open_n", _i8),  # updates since opening (the opening one not counted)
        ("below", _i8),  # consecutive sub-bucket ends inside the exit band
        ("reported", _f8),  # mean that was last reported of an open channel
        ("report_n", _i8),  # open_n at that report; 0 = the opening, not restated yet
        ("alarm_stat", _f8),  # |difference of means| of ADWIN's last alarm while OK or PENDING
        ("alarm_bound", _f8),  # its epsilon cut
        ("alarm_ph", _f8),  # Page-Hinkley's statistic at its last alarm while OK or PENDING
        ("a_total", _f8),  # ADWIN: sum over the window
        ("a_variance", _f8),  # sum of squared deviations over the window
        ("a_width", _f8),  # values in the window
        ("a_last", _i8),  # largest row in use
        ("a_tick", _i8),  # values since the last reset
        ("a_tot", _f8, (ADWIN_ROWS, ADWIN_CAP)),
        ("a_var", _f8, (ADWIN_ROWS, ADWIN_CAP)),
        ("a_cnt", _i8, (ADWIN_ROWS,)),
        ("p_mean", _f8),  # Page-Hinkley
        ("p_n", _f8),
        ("p_up", _f8),
        ("p_dn", _f8),
        ("p_min", _f8),
        ("p_max", _f8),
        ("status", _i1),  # 0 OK, 1 PENDING, 2 OPEN
        ("side", _i1),  # of mu0 on which the channel opened: 1 above, -1 below
        ("pend_source", _i1),  # bits of the detectors that alarmed since PENDING began
        ("a_reset", _i1),  # 1 = start afresh at the next value (river does so after an alarm)
        ("p_reset", _i1),
        ("pad", _i1, (3,)),
    ],
    align=True,
)

FINDING: Final = np.dtype(
    [
        ("row", _i8),  # row in the block
        ("channel", _i8),
        ("onset_time", _i8),  # ms
        ("onset_updates", _i8),  # updates from the onset to this row, both included
        ("mean", _f8),  # mean of the channel over them
        ("window_mean", _f8),  # mean over the 16 complete sub-buckets; NaN before there are 16
        ("e_value", _f8),  # M at this row; NaN for a resolution (e-SR rests while OPEN) and without e-SR
        ("confirm_value", _f8),  # q at this row; NaN when the channel was not PENDING
        ("adwin_stat", _f8),  # ADWIN's |difference of means| at its last alarm; NaN unless bit 2 of source
        ("adwin_bound", _f8),  # and its epsilon cut
        ("ph_stat", _f8),  # Page-Hinkley's statistic above ph_lambda; NaN unless bit 4 of source
        ("updates", _i8),  # n of the channel at this row
        ("reported", _f8),  # of an update: the mean reported before; else NaN
        ("kind", _i1),  # 1 open, 2 resolve, 4 dismissed, 8 update
        ("source", _i1),  # bit mask: 1 e-SR, 2 ADWIN, 4 Page-Hinkley; 0 for a resolution or an update
        ("restated", _i1),  # 1 = the first update of an opening: its effect, after one window
        ("pad", _i1, (5,)),
    ],
    align=True,
)

SIGNAL_SPEC: Final = np.dtype(
    [
        ("atom", _f8),  # the value with a share >= 0.20, if has_atom
        ("first_channel", _i4),
        ("n_channels", _i4),
        ("knot_start", _i4),  # knots of this signal: [knot_start, knot_end) of the shared arrays
        ("knot_end", _i4),
        ("n_shares", _i4),  # categorical: channels share[c]
        ("kind", _i1),  # 0 numeric, 1 categorical
        ("has_atom", _i1),
        ("has_location", _i1),  # numeric: location and spread exist (there are knots)
        ("has_other", _i1),  # categorical: the channel "other" exists
    ],
    align=True,
)

WARMUP: Final = np.dtype(
    [
        ("n", _i8),  # values seen
        ("mean", _f8),  # Welford
        ("m2", _f8),
        ("part_sum", _f8),  # the partial block of b0 values
        ("part_n", _i8),
        ("last_mean", _f8),  # mean of the last complete block
        ("blocks", _i8),  # complete blocks
        ("diff_sq", _f8),  # sum of squared differences of successive block means
        ("have_last", _i1),
        ("pad", _i1, (7,)),
    ],
    align=True,
)


def new_state(n: int) -> Records:
    """States of ``n`` fresh channels: CHANNEL_STATE[n].

    Page-Hinkley's extremes start where river's do: the minimum at infinity, the maximum at -1.
    """
    state = np.zeros(n, CHANNEL_STATE)
    state["p_min"] = np.inf
    state["p_max"] = -1.0
    state["alarm_stat"] = np.nan
    state["alarm_bound"] = np.nan
    state["alarm_ph"] = np.nan
    return state


def new_warmup(n: int) -> Records:
    """Warm-up accumulators of ``n`` channels: WARMUP[n]."""
    return np.zeros(n, WARMUP)


def new_plan(n: int) -> Records:
    """Plans of ``n`` channels, every optional part off, constants of DECISIONS A: CHANNEL_PLAN[n]."""
    plan = np.zeros(n, CHANNEL_PLAN)
    plan["b"] = 1
    plan["z_raw"] = 1
    plan["z_scale"] = 1.0
    plan["z_offset"] = 0.5
    plan["adwin_delta"] = 0.002
    plan["ph_lambda"] = np.inf
    plan["level"] = np.inf
    plan["confirm"] = 20.0
    plan["bucket"] = 256
    plan["window"] = 4096
    plan["hold"] = 5
    plan["report_band"] = np.inf
    plan["null_high"] = 1.0
    return plan
