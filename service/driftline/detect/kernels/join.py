"""The join of predictions with labels: two logs in time order, each with an index by id.

A log is a ring of rows: row number ``s`` (counted from the model's first) is at ``s % capacity``, and rows
``head`` to ``tail - 1`` are there. Each id is in a log once: the first wins. The index is an open-addressing
table of places + 1, at most half full; a removal shifts the rest of its run back, so that there are no
tombstones and a lookup ends at the first empty slot.
Invariants: what is joined, counted and dropped depends on the rows and the times given only, not on how they
were cut into calls, nor on the capacity of the rings. Must not know: blocks, classes, what a label means.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from driftline.detect.kernels._jit import jit

# Positions in a log's int64 array of numbers.
HEAD: Final = 0
TAIL: Final = 1
LOG_SIZE: Final = 2

# Positions in the int64 array of counts.
PREDICTIONS: Final = 0  # rows of events that take part
NO_ID: Final = 1  # events without an id: never joined
REPEATED: Final = 2  # events whose id is pending already
LABELS: Final = 3  # rows of labels that take part
MATCHED: Final = 4
DUPLICATES: Final = 5  # a label like the first of its event
CONFLICTS: Final = 6  # another label than the first of its event
EXPIRED: Final = 7  # predictions that no label came for
ORPHANS: Final = 8  # labels that no event came for
SAMPLED_OUT: Final = 9  # rows of either side outside the sample
CARRIED: Final = 10  # labels that brought their prediction along
COVERED: Final = 11  # predictions that have a label
COUNTS: Final = 12

DELAYS: Final = 64  # bins of delays: bin k holds delays up to 2 ** (k / 2) seconds
_MIX = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(11)
_HALF = np.uint64(32)


@jit
def in_sample(h: Any, limit: Any) -> bool:
    """Whether an id is in the sample; ``limit`` is the share times 2**53. The same ids on both sides."""
    return ((h * _MIX) >> _SHIFT) < limit  # type: ignore[no-any-return]


@jit
def _slot(h: Any, mask: Any) -> Any:
    return np.int64((h ^ (h >> _HALF)) & np.uint64(mask))


@jit
def find(table: Any, ids: Any, h: Any) -> int:
    """Place of an id in a ring, -1: it is not there."""
    mask = table.shape[0] - 1
    at = _slot(h, mask)
    while table[at] != 0:
        place = table[at] - 1
        if ids[place] == h:
            return place  # type: ignore[no-any-return]
        at = (at + 1) & mask
    return -1


@jit
def _insert(table: Any, h: Any, place: Any) -> None:
    mask = table.shape[0] - 1
    at = _slot(h, mask)
    while table[at] != 0:
        at = (at + 1) & mask
    table[at] = place + 1


@jit
def _remove(table: Any, ids: Any, place: Any) -> None:
    """Takes a place out of the index and closes the hole."""
    mask = table.shape[0] - 1
    at = _slot(ids[place], mask)
    while table[at] != place + 1:
        at = (at + 1) & mask
    hole = at
    at = (at + 1) & mask
    while table[at] != 0:
        home = _slot(ids[table[at] - 1], mask)
        if ((at - home) & mask) >= ((at - hole) & mask):
            table[hole] = table[at]
            hole = at
        at = (at + 1) & mask
    table[hole] = 0


@jit
def index_rows(table: Any, ids: Any, log: Any) -> None:
    """Fills an empty index with the rows of a log."""
    for s in range(log[HEAD], log[TAIL]):
        place = s % ids.shape[0]
        _insert(table, ids[place], place)


@jit
def _drop(table: Any, ids: Any, matched: Any, log: Any, counts: Any, which: Any) -> None:
    """Drops the oldest row of a log; one that never found its other side is counted."""
    place = log[HEAD] % ids.shape[0]
    _remove(table, ids, place)
    if matched[place] == 0:
        counts[which] += 1
    log[HEAD] += 1


@jit
def expire(
    table: Any, ids: Any, seconds: Any, matched: Any, log: Any, before: Any, counts: Any, which: Any
) -> None:
    """Drops the rows at a log's head that came before a time, in seconds."""
    while log[HEAD] < log[TAIL] and np.int64(seconds[log[HEAD] % ids.shape[0]]) < before:
        _drop(table, ids, matched, log, counts, which)


@jit
def _count_delay(delays: Any, seconds: Any) -> None:
    k = 0
    bound = 1.0
    while k < DELAYS - 1 and seconds > bound:
        k += 1
        bound = 2.0 ** (0.5 * k)
    delays[k] += 1


@jit
def join_rows(
    pred: Any, lab: Any, events: Any, labels: Any, order: Any, limit: Any, rows_max: Any,
    counts: Any, delays: Any, out: Any,
) -> int:  # fmt: skip
    """Joins rows of events and labels in the given order; returns how many matches there were.

    Args:
        pred: the log of predictions: (table, ids, seconds, matched, log, score, class code).
        lab: the log of labels: (table, ids, seconds, matched, log, value, is a name).
        events: (ids, seconds, score, class code) of the rows of events.
        labels: (ids, seconds, value, is a name, has a prediction, score, class code) of the labels.
        order: (n,) the rows in the order in which they count: r >= 0 an event, -1 - r a label.
        limit: the sample, see ``in_sample``.
        rows_max: the most rows of a log; beyond it the oldest is dropped.
        counts: (COUNTS,) in and out.
        delays: (DELAYS,) in and out.
        out: (place in order, score, class code, value, is a name) of the matches, in order, and the row
            numbers in both logs (-1 where a label carried its prediction).
    """
    p_table, p_ids, p_seconds, p_matched, p_log, p_score, p_class = pred
    l_table, l_ids, l_seconds, l_matched, l_log, l_value, l_name = lab
    e_id, e_seconds, e_score, e_class = events
    t_id, t_seconds, t_value, t_name, t_carries, t_score, t_class = labels
    o_at, o_score, o_class, o_value, o_name, o_pred, o_lab = out
    found = 0
    for i in range(order.shape[0]):
        r = order[i]
        if r >= 0:
            h = e_id[r]
            if h == 0:
                counts[NO_ID] += 1
                continue
            if not in_sample(h, limit):
                counts[SAMPLED_OUT] += 1
                continue
            if find(p_table, p_ids, h) >= 0:
                counts[REPEATED] += 1
                continue
            counts[PREDICTIONS] += 1
            while p_log[TAIL] - p_log[HEAD] >= rows_max:
                _drop(p_table, p_ids, p_matched, p_log, counts, EXPIRED)
            s = p_log[TAIL]
            place = s % p_ids.shape[0]
            p_ids[place], p_seconds[place], p_matched[place] = h, e_seconds[r], 0
            p_score[place], p_class[place] = e_score[r], e_class[r]
            _insert(p_table, h, place)
            p_log[TAIL] += 1
            other = find(l_table, l_ids, h)
            if other < 0:
                continue
            if l_matched[other] != 0:  # that label brought its prediction along
                p_matched[place] = 1
                counts[COVERED] += 1
                continue
            score, klass, value, name = e_score[r], e_class[r], l_value[other], l_name[other]
            carried = False
        else:
            r = -1 - r
            h = t_id[r]
            if h != 0:
                if not in_sample(h, limit):
                    counts[SAMPLED_OUT] += 1
                    continue
                other = find(l_table, l_ids, h)
                if other >= 0:
                    same = l_value[other] == t_value[r] and l_name[other] == t_name[r]
                    counts[DUPLICATES if same else CONFLICTS] += 1
                    continue
            counts[LABELS] += 1
            place = other = -1
            if h != 0:
                place = find(p_table, p_ids, h)
                if place >= 0 and p_matched[place] != 0:
                    counts[DUPLICATES] += 1  # the first label was dropped meanwhile: nothing to compare with
                    counts[LABELS] -= 1
                    continue
                while l_log[TAIL] - l_log[HEAD] >= rows_max:
                    _drop(l_table, l_ids, l_matched, l_log, counts, ORPHANS)
                s = l_log[TAIL]
                other = s % l_ids.shape[0]
                l_ids[other], l_seconds[other], l_matched[other] = h, t_seconds[r], 0
                l_value[other], l_name[other] = t_value[r], t_name[r]
                _insert(l_table, h, other)
                l_log[TAIL] += 1
            value, name, carried = t_value[r], t_name[r], t_carries[r] != 0
            if carried:
                counts[CARRIED] += 1
                score, klass = t_score[r], t_class[r]
            elif place >= 0:
                score, klass = p_score[place], p_class[place]
            else:
                continue
        if place >= 0:
            p_matched[place] = 1
            counts[COVERED] += 1
        if other >= 0:
            l_matched[other] = 1
        if not carried:
            _count_delay(delays, np.float64(l_seconds[other]) - np.float64(p_seconds[place]))
        counts[MATCHED] += 1
        o_at[found] = i
        o_score[found], o_class[found] = score, klass
        o_value[found], o_name[found] = value, name
        o_pred[found] = -1 if place < 0 else _number(p_log, place, p_ids.shape[0])
        o_lab[found] = -1 if other < 0 else _number(l_log, other, l_ids.shape[0])
        found += 1
    return found


@jit
def _number(log: Any, place: Any, capacity: Any) -> Any:
    """Number of the row at a place of the ring."""
    first = log[HEAD] % capacity
    return log[HEAD] + (place - first) % capacity


@jit
def merge_order(
    a_time: Any, a_source: Any, a_offset: Any, b_time: Any, b_source: Any, b_offset: Any, out: Any
) -> None:
    """Events (a) and labels (b), each in order, as one order by (record time, source, offset)."""
    i = j = 0
    for k in range(out.shape[0]):
        first = j >= b_time.shape[0]
        if not first and i < a_time.shape[0]:
            if a_time[i] != b_time[j]:
                first = a_time[i] < b_time[j]
            elif a_source[i] != b_source[j]:
                first = a_source[i] < b_source[j]
            else:
                first = a_offset[i] < b_offset[j]
        if first:
            out[k] = i
            i += 1
        else:
            out[k] = -1 - j
            j += 1
