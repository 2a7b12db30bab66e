"""The engine: channel values in, findings out; one call a block.

Owns: docs/decisions.md, "Thresholds" and "Updates". A channel is OK, PENDING (ADWIN or Page-Hinkley alarmed;
a fresh e-value decides) or OPEN (waiting for its rolling window to come home; reported again when it moves).
Invariants: state and findings are the same for any cut of the rows, because everything that crosses a cut is
in CHANNEL_STATE and sums run in row order; an update gives at most one finding, hence a segment of r rows
gives at most r. Must not know: signals, episodes of signals, budgets, clocks.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels._jit import jit
from driftline.detect.kernels.adwin import adwin_segment
from driftline.detect.kernels.e_detector import (
    LANES_ZERO,
    confirm_update,
    lane_constants,
    lanes_load,
    lanes_store,
    lanes_sum,
    lanes_update,
)
from driftline.detect.kernels.page_hinkley import (
    FRESH,
    page_hinkley_load,
    page_hinkley_store,
    page_hinkley_update,
)
from driftline.detect.kernels.state import (
    FINDING,
    KIND_DISMISSED,
    KIND_OPEN,
    KIND_RESOLVE,
    KIND_UPDATE,
    LANES_MAX,
    RING,
    SOURCE_ADWIN,
    SOURCE_ESR,
    SOURCE_PH,
    STATUS_OK,
    STATUS_OPEN,
    STATUS_PENDING,
    Records,
)

F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]

SEGMENT: Final = (
    256  # rows a channel is carried through at once; its scratch (10 kB) stays in the first cache
)
FINDINGS_MIN: Final = SEGMENT  # room a segment may need: at most one finding an update
LOW: Final = 1000.0  # the run of M >= LOW is the candidate change: DECISIONS A item 1


@jit
def _gather(
    y: F64, times: I64, start: int, stop: int, plan: Any, rec: Any, v: F64, row: I64, first: I64
) -> int:
    """Updates of rows start..stop: value, row that completes it, event time of its first row. How many."""
    m = 0
    b = plan["b"]
    if b <= 1:
        for i in range(start, stop):
            # Written always, kept if it is a number: no branch to mispredict.
            v[m] = y[i]
            row[m] = i
            first[m] = times[i]
            m += 1 if y[i] == y[i] else 0
        return m
    total = rec["part_sum"]
    count = rec["part_n"]
    begun = rec["part_time"]
    for i in range(start, stop):
        if y[i] == y[i]:
            if count == 0:
                begun = times[i]
            total += y[i]
            count += 1
            if count == b:
                v[m] = total / b
                row[m] = i
                first[m] = begun
                m += 1
                total = 0.0
                count = 0
    rec["part_sum"] = total
    rec["part_n"] = count
    rec["part_time"] = begun
    return m


@jit
def _window_mean(ring: F64, done: int, bucket: int) -> float:
    """Mean over the 16 last complete sub-buckets, oldest first; NaN before there are 16."""
    if done < RING:
        return math.nan
    total = 0.0
    for k in range(done, done + RING):
        total += ring[k % RING]
    return total / (RING * bucket)


@jit
def _emit(
    out: Any, row: int, channel: int, kind: int, source: int, onset_time: int, onset_updates: int, total:
    float, window_mean: float, e_value: float, confirm_value: float, rec: Any, updates: int,
) -> None:  # fmt: skip
    """Fill one FINDING record."""
    out["row"] = row
    out["channel"] = channel
    out["kind"] = kind
    out["source"] = source
    out["onset_time"] = onset_time
    out["onset_updates"] = onset_updates
    out["mean"] = total / onset_updates
    out["window_mean"] = window_mean
    out["e_value"] = e_value
    out["confirm_value"] = confirm_value
    out["adwin_stat"] = rec["alarm_stat"] if source & SOURCE_ADWIN else math.nan
    out["adwin_bound"] = rec["alarm_bound"] if source & SOURCE_ADWIN else math.nan
    out["ph_stat"] = rec["alarm_ph"] if source & SOURCE_PH else math.nan
    out["updates"] = updates
    out["reported"] = math.nan
    out["restated"] = 0


@jit
def _rescale(plan: Any, m: int, v: F64, z: F64) -> None:
    """z[:m] = .5 + z_scale (v - mu0), or v itself: what ADWIN consumes."""
    offset, scale, mu0 = plan["z_offset"], plan["z_scale"], plan["mu0"]
    if plan["z_raw"] != 0:
        for i in range(m):
            z[i] = v[i]
    else:
        for i in range(m):
            z[i] = offset + scale * (v[i] - mu0)


@jit
def _moved(plan: Any, rec: Any, mean: float) -> bool:
    """Whether the window mean of an OPEN channel has to be reported again.

    The effect at opening is biased upward (it was chosen for being large): it is restated after one window.
    Then at most once a window, when the mean moved by max(report_band, half of the effect reported), and the
    halves of the window agree, so that no step half-way through a window is reported as a level.
    """
    if rec["report_n"] == 0:
        return True
    if rec["open_n"] - rec["report_n"] < plan["window"]:
        return False
    if abs(mean - rec["reported"]) < max(plan["report_band"], 0.5 * abs(rec["reported"] - plan["mu0"])):
        return False
    old, new = 0.0, 0.0
    done = rec["ring_n"]
    for k in range(done, done + RING // 2):
        old += rec["ring"][k % RING]
        new += rec["ring"][(k + RING // 2) % RING]
    gap = abs(new - old) / (RING // 2 * plan["bucket"])
    agree: bool = gap <= max(plan["report_band"], 0.25 * abs(mean - plan["mu0"]))
    return agree


@jit
def _while_open(
    channel: int, plan: Any, rec: Any, row: int, updates: int, findings: Any, n_found: int
) -> int:  # fmt: skip
    """An OPEN channel at the end of a sub-bucket: has its window come home, or moved? Returns n_found.

    Home: e-SR starts from zero, and so does the run of high M.
    """
    mean = _window_mean(rec["ring"], rec["ring_n"], plan["bucket"])
    if rec["side"] > 0:
        home = mean - plan["mu0"] <= plan["exit_band"] and mean >= plan["null_low"]
    else:
        home = plan["mu0"] - mean <= plan["exit_band"] and mean <= plan["null_high"]
    rec["below"] = rec["below"] + 1 if home else 0
    if rec["below"] < plan["hold"]:
        if not home and _moved(plan, rec, mean):
            _emit(
                findings[n_found], row, channel, KIND_UPDATE, 0, rec["low_time"], rec["low_n"],
                rec["low_sum"], mean, math.nan, math.nan, rec, updates,
            )  # fmt: skip
            findings[n_found]["reported"] = rec["reported"]
            findings[n_found]["restated"] = 1 if rec["report_n"] == 0 else 0
            rec["reported"] = mean
            rec["report_n"] = rec["open_n"]
            n_found += 1
        return n_found
    _emit(
        findings[n_found], row, channel, KIND_RESOLVE, 0, rec["low_time"], rec["low_n"], rec["low_sum"],
        mean, math.nan, math.nan, rec, updates,
    )  # fmt: skip
    rec["status"] = STATUS_OK
    rec["below"] = 0
    rec["low_n"] = 0
    rec["low_sum"] = 0.0
    for k in range(LANES_MAX):
        rec["R"][k] = 0.0
    return n_found + 1


@jit
def _note(rec: Any, trigger: int, stat: float, bound: float, p_stat: float) -> None:
    """Keep the statistics of the detectors that alarmed, for the finding this may lead to."""
    if trigger & SOURCE_ADWIN:
        rec["alarm_stat"] = stat
        rec["alarm_bound"] = bound
    if trigger & SOURCE_PH:
        rec["alarm_ph"] = p_stat


@jit
def _confirm(plan: Any, rec: Any, y: float, begun: int, trigger: int) -> float:
    """One update of a PENDING channel; returns q."""
    if rec["pend_n"] == 0:
        rec["pend_time"] = begun
    rec["pend_n"] += 1
    rec["pend_sum"] += y
    rec["pend_source"] |= trigger
    q: float = confirm_update(rec["Q"], plan, y)
    return q


@jit
def _transition(
    channel: int, plan: Any, rec: Any, y: float, row: int, begun: int, trigger: int, source: int,
    evidence: float, updates: int, findings: Any, n_found: int,
) -> int:  # fmt: skip
    """An alarm, a pending confirmation or an opening, in OK or PENDING. Returns n_found.

    Args:
        channel: its index.
        plan: CHANNEL_PLAN record.
        rec: CHANNEL_STATE record, the run of high M written.
        y: the update.
        row: row that completed it.
        begun: event time of its first row, ms.
        trigger: bits of the detectors that alarmed at it; their statistics are in ``rec``.
        source: SOURCE_ESR if e-SR opens, else 0.
        evidence: M.
        updates: n with this update.
        findings: FINDING[m] out.
        n_found: entries in use.
    """
    dismissed = False
    q = math.nan
    if rec["status"] == STATUS_PENDING:
        q = _confirm(plan, rec, y, begun, trigger)
        if q >= plan["confirm"] and max(rec["pend_n"], rec["low_n"]) >= plan["min_run"]:
            source |= rec["pend_source"]
        elif q <= 1.0 / plan["confirm"]:
            dismissed = source == 0
    elif trigger != 0:
        rec["status"] = STATUS_PENDING
        rec["pend_source"] = trigger
        rec["pend_n"] = 0
        rec["pend_sum"] = 0.0
        for k in range(LANES_MAX):
            rec["Q"][k] = 1.0
    if source == 0 and not dismissed:
        return n_found
    kind = KIND_OPEN
    if dismissed:
        kind, source = KIND_DISMISSED, rec["pend_source"]
        time, count, total = rec["pend_time"], rec["pend_n"], rec["pend_sum"]
        rec["status"] = STATUS_OK
    else:
        time, count, total = rec["low_time"], rec["low_n"], rec["low_sum"]
        if rec["pend_n"] > count and source & (SOURCE_ADWIN | SOURCE_PH):
            # M was below LOW meanwhile: the alarm is the better estimate of the onset.
            time, count, total = rec["pend_time"], rec["pend_n"], rec["pend_sum"]
        elif count == 0:
            time, count, total = begun, 1, y  # only with a level below LOW
        rec["low_time"], rec["low_n"], rec["low_sum"] = time, count, total
        rec["status"] = STATUS_OPEN
        rec["side"] = 1 if total / count >= plan["mu0"] else -1
        rec["open_n"] = 0
        rec["below"] = 0
        rec["report_n"] = 0
        rec["reported"] = total / count
    window = _window_mean(rec["ring"], rec["ring_n"], plan["bucket"])
    _emit(
        findings[n_found], row, channel, kind, source, time, count, total, window, evidence, q, rec, updates
    )
    return n_found + 1


@jit
def _decide(
    channel: int, plan: Any, rec: Any, m: int, v: F64, z: F64, row: I64, first: I64,
    alarm: U8, stat: F64, bound: F64, a: F64, lam: F64, findings: Any, n_found: int,
) -> int:  # fmt: skip
    """e-SR, Page-Hinkley and the states of one channel over m updates; ADWIN's alarms are given. n_found."""
    lanes, bucket = plan["lanes"], plan["bucket"]
    esr = plan["use_esr"] != 0 and lanes > 0
    top, low_top = plan["level"] * lanes, LOW * lanes
    use_ph, ph_z = plan["use_ph"] != 0, plan["ph_input_z"] != 0
    ph_delta, ph_lambda = plan["ph_delta"], plan["ph_lambda"]
    ca, cl, r = lanes_load(a), lanes_load(lam), lanes_load(rec["R"])
    test, p_stat, p_reset = page_hinkley_load(rec), 0.0, rec["p_reset"] != 0
    bucket_sum, bucket_n = rec["bucket_sum"], rec["bucket_n"]
    for i in range(m):
        y = v[i]
        # ADWIN's and Page-Hinkley's alarms; both run in every state.
        trigger = SOURCE_ADWIN if alarm[i] != 0 else 0
        if use_ph:
            test = FRESH if p_reset else test
            test, p_stat = page_hinkley_update(z[i] if ph_z else y, test, ph_delta)
            p_reset = p_stat > ph_lambda
            if p_reset:
                trigger |= SOURCE_PH
        # The rolling window: 16 sub-buckets, looked at when one ends.
        bucket_sum += y
        bucket_n += 1
        ended = bucket_n >= bucket
        if ended:
            rec["ring"][rec["ring_n"] % RING] = bucket_sum
            rec["ring_n"] += 1
            bucket_sum, bucket_n = 0.0, 0

        if rec["status"] == STATUS_OPEN:
            rec["low_n"] += 1
            rec["low_sum"] += y
            rec["open_n"] += 1
            if ended and rec["ring_n"] >= RING and rec["open_n"] >= plan["window"]:
                n_found = _while_open(channel, plan, rec, row[i], rec["n"] + i + 1, findings, n_found)
                if rec["status"] == STATUS_OK:
                    r = LANES_ZERO
            continue

        # e-SR. R_k <- (1 + R_k)(1 + lam_k (y - m_k)); M = sum R_k / L, compared as a sum with L times the
        # level.
        r = lanes_update(r, ca, cl, y)
        s = lanes_sum(r)
        source = 0
        if s < low_top or not esr:
            rec["low_n"], rec["low_sum"] = 0, 0.0
        else:
            if rec["low_n"] == 0:
                rec["low_time"] = first[i]
            rec["low_n"] += 1
            rec["low_sum"] += y
            if s >= top and rec["low_n"] >= plan["min_run"]:
                source = SOURCE_ESR
        if lanes == 0:
            trigger = 0  # nothing could ever confirm it: the alarm is passed over
        if trigger != 0 or source != 0 or rec["status"] == STATUS_PENDING:
            _note(rec, trigger, stat[i], bound[i], p_stat)
            n_found = _transition(
                channel, plan, rec, y, row[i], first[i], trigger, source,
                s / lanes if esr else math.nan, rec["n"] + i + 1, findings, n_found,
            )  # fmt: skip
    rec["n"] += m
    rec["bucket_sum"], rec["bucket_n"] = bucket_sum, bucket_n
    lanes_store(rec["R"], r)
    page_hinkley_store(rec, test, p_reset)
    return n_found


@jit
def run_channels(
    y: F64, times: I64, lo: int, hi: int, plan: Any, state: Any, findings: Any, n_found: int, cursor: I64
) -> int:
    """Carry every channel through rows lo..hi, until done or ``findings`` might not hold one segment more.

    Nothing is lost when findings run out: channels are carried one after the other in segments of at most
    SEGMENT rows, a segment begins only if there is room for a finding at every one of its rows, and
    ``cursor`` says where to go on. Start with cursor = [0, lo]; done when cursor[0] == C; otherwise empty
    ``findings`` and call again with the same lo, hi and cursor. ``findings`` of FINDINGS_MIN entries always
    makes progress; ``run_block`` does all of this.

    Args:
        y: (C, n) channel values; NaN = the row does not feed the channel.
        times: (n,) event times, ms.
        lo: first row.
        hi: row after the last.
        plan: CHANNEL_PLAN[C].
        state: CHANNEL_STATE[C], in and out.
        findings: FINDING[m >= FINDINGS_MIN] out, by channel, then row.
        n_found: entries of ``findings`` in use already.
        cursor: (2,) in and out: channel and row to go on from.

    Returns:
        Entries of ``findings`` in use.
    """
    v = np.empty(SEGMENT, np.float64)
    z = np.empty(SEGMENT, np.float64)
    row = np.empty(SEGMENT, np.int64)
    first = np.empty(SEGMENT, np.int64)
    alarm = np.zeros(SEGMENT, np.uint8)
    stat = np.empty(SEGMENT, np.float64)
    bound = np.empty(SEGMENT, np.float64)
    a = np.empty(LANES_MAX, np.float64)
    lam = np.empty(LANES_MAX, np.float64)
    start = cursor[1]
    for c in range(cursor[0], plan.shape[0]):
        p = plan[c]
        rec = state[c]
        lane_constants(p, p["use_esr"] != 0, a, lam)
        adwin = p["use_adwin"] != 0
        if not adwin:
            for i in range(SEGMENT):
                alarm[i] = 0
        while start < hi:
            stop = start + SEGMENT
            if stop > hi:
                stop = hi
            if findings.shape[0] - n_found < stop - start:
                cursor[0] = c
                cursor[1] = start
                return n_found
            m = _gather(y[c], times, start, stop, p, rec, v, row, first)
            if adwin or p["ph_input_z"] != 0:
                _rescale(p, m, v, z)
            if adwin:
                adwin_segment(z, m, rec, p["adwin_delta"], alarm, stat, bound)
            if m > 0:
                n_found = _decide(
                    c, p, rec, m, v, z, row, first, alarm, stat, bound, a, lam, findings, n_found
                )
            start = stop
        start = lo
    cursor[0] = plan.shape[0]
    cursor[1] = lo
    return n_found


def run_block(y: F64, times: I64, lo: int, hi: int, plan: Records, state: Records) -> Records:
    """All findings of rows lo..hi: ``run_channels`` until done.

    Args:
        y: (C, n) channel values.
        times: (n,) event times, ms.
        lo: first row.
        hi: row after the last.
        plan: CHANNEL_PLAN[C].
        state: CHANNEL_STATE[C], in and out.

    Returns:
        FINDING[k] in order of (row, channel): the same sequence whatever the cut of the rows.
    """
    scratch = np.zeros(4 * FINDINGS_MIN, FINDING)
    cursor = np.array([0, lo], np.int64)
    parts: list[Records] = []
    while True:
        n = run_channels(y, times, lo, hi, plan, state, scratch, 0, cursor)
        if n:
            parts.append(scratch[:n].copy())
        if cursor[0] == len(plan):
            break
    if not parts:
        return scratch[:0].copy()
    found = np.concatenate(parts)
    return found[np.lexsort((found["channel"], found["row"]))]


@jit
def warm_channels(y: F64, lo: int, hi: int, b0: I64, acc: Any) -> None:
    """Accumulate what tau_live needs on the first live values of a channel.

    tau_live = b0 * 0.5 * mean(diff(block means)^2) / var (DECISIONS A): see ``tau_live``.

    Args:
        y: (C, n) channel values; NaN is passed over.
        lo: first row.
        hi: row after the last.
        b0: (C,) rows a block, floor(sqrt(n_ref)).
        acc: WARMUP[C] in and out.
    """
    for c in range(acc.shape[0]):
        rec = acc[c]
        size = b0[c]
        n, mean, m2 = rec["n"], rec["mean"], rec["m2"]
        total, count = rec["part_sum"], rec["part_n"]
        for i in range(lo, hi):
            v = y[c, i]
            if v == v:
                n += 1
                d = v - mean
                mean += d / n
                m2 += d * (v - mean)
                total += v
                count += 1
                if count >= size:
                    block = total / count
                    if rec["have_last"] != 0:
                        rec["diff_sq"] += (block - rec["last_mean"]) ** 2
                    rec["last_mean"] = block
                    rec["have_last"] = 1
                    rec["blocks"] += 1
                    total = 0.0
                    count = 0
        rec["n"], rec["mean"], rec["m2"] = n, mean, m2
        rec["part_sum"], rec["part_n"] = total, count


def tau_live(acc: Records, b0: I64) -> F64:
    """tau_live of every channel, not clamped: (C,). 1 where fewer than two blocks or no variance was seen."""
    out = np.ones(len(acc))
    n, m2, blocks = acc["n"], acc["m2"], acc["blocks"]
    ok = (blocks >= 2) & (m2 > 0.0)
    var = m2[ok] / n[ok]
    out[ok] = b0[ok] * 0.5 * (acc["diff_sq"][ok] / (blocks[ok] - 1)) / var
    return out
