"""The kernels behind ``ingest/columns.py``: order the rows, find each model's columns, fill its matrices.

All of a chunk's models are laid out end to end in a few flat arrays, so that the cost that does not depend on
rows is a few array slices a model. Input arrays are read-only views, output arrays are the caller's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from driftline.detect.kernels._jit import jit
from driftline.detect.kernels.scan_json import ROW_CELL_END, ROW_MODEL, ROW_TIME, ROW_VERSION
from driftline.detect.kernels.scan_number import trailing_zeros
from driftline.records import Tag

_ABSENT = int(Tag.ABSENT)
_STRING = int(Tag.STRING)
_NUMBER = int(Tag.NUMBER)
_BOOL = int(Tag.BOOL)
_TAG_MAX = int(max(Tag))


@jit
def _in_order(a: Any, b: Any, times: Any, source: Any, offsets: Any) -> bool:
    """Whether row a comes before row b (or is it) by (record timestamp, source, offset)."""
    if times[a] != times[b]:
        return times[a] < times[b]  # type: ignore[no-any-return]
    if source[a] != source[b]:
        return source[a] < source[b]  # type: ignore[no-any-return]
    return offsets[a] <= offsets[b]  # type: ignore[no-any-return]


@jit
def sort_rows(rows: Any, times: Any, source: Any, offsets: Any) -> Any:
    """The rows by (record timestamp, source, offset): a merge sort of the runs that are there.

    A chunk is one ascending run a source in the usual case, so this costs log2(sources) passes.
    """
    n = rows.shape[0]
    runs = np.empty(n + 1, np.int64)
    count = 0
    for i in range(n):
        if i == 0 or not _in_order(rows[i - 1], rows[i], times, source, offsets):
            runs[count] = i
            count += 1
    runs[count] = n
    here = rows
    other = np.empty(n, np.int64) if count > 1 else rows
    while count > 1:
        merged = 0
        for k in range(0, count, 2):
            i = runs[k]
            i_end = runs[k + 1]
            j = i_end
            j_end = runs[k + 2] if k + 2 <= count else i_end
            for at in range(i, j_end):
                if j >= j_end or (i < i_end and _in_order(here[i], here[j], times, source, offsets)):
                    other[at] = here[i]
                    i += 1
                else:
                    other[at] = here[j]
                    j += 1
            runs[merged] = runs[k]
            merged += 1
        runs[merged] = n
        count = merged
        here, other = other, here
    return here


@jit
def _keep_most_frequent(seen: Any, bits: Any, features: Any, features_max: Any, rows: Any) -> None:
    """Clears the bits of all but the most frequent features; of equals, the first by name stay."""
    by_count = np.zeros(rows + 1, np.int64)
    for rank in range(features):
        by_count[seen[rank]] += 1
    floor = rows
    kept = 0
    while floor > 0 and kept + by_count[floor] <= features_max:
        kept += by_count[floor]
        floor -= 1
    spare = features_max - kept
    for rank in range(features):
        if seen[rank] == 0 or seen[rank] > floor:
            continue
        if seen[rank] == floor and spare > 0:
            spare -= 1
        else:
            bits[rank >> 6] &= ~(np.uint64(1) << np.uint64(rank & 63))


@jit
def plan_blocks(
    ints: Any,
    times: Any,
    source: Any,
    offsets: Any,
    cell_key: Any,
    rank: Any,
    by_rank: Any,
    features: Any,
    features_max: Any,
    strings: Any,
) -> Any:
    """Groups the accepted rows by model and lists each model's columns.

    ``rank`` and ``by_rank`` (keys,) order all keys by (kind, name); the first ``features`` ranks are
    features. ``strings`` is the number of string numbers in use. Returns (order of rows, string number of
    each model, first row of each model, key of each column, first column of each model); models stand in
    order of their first row.
    """
    n = ints.shape[0]
    accepted = 0
    for r in range(n):
        if ints[r, ROW_MODEL] >= 0:
            accepted += 1
    rows = np.empty(accepted, np.int64)
    k = 0
    for r in range(n):
        if ints[r, ROW_MODEL] >= 0:
            rows[k] = r
            k += 1
    rows = sort_rows(rows, times, source, offsets)
    local = np.full(strings, -1, np.int32)
    models = np.empty(accepted, np.int32)
    count = 0
    for i in range(accepted):
        s = ints[rows[i], ROW_MODEL]
        if local[s] < 0:
            local[s] = count
            models[count] = s
            count += 1
    row_start = np.zeros(count + 1, np.int64)
    for i in range(accepted):
        row_start[local[ints[rows[i], ROW_MODEL]] + 1] += 1
    for m in range(count):
        row_start[m + 1] += row_start[m]
    order = np.empty(accepted, np.int64)
    fill = row_start.copy()
    for i in range(accepted):
        m = local[ints[rows[i], ROW_MODEL]]
        order[fill[m]] = rows[i]
        fill[m] += 1
    # Columns: mark the ranks that occur, then read the marks in order.
    keys = rank.shape[0]
    words = (keys + 63) >> 6
    bits = np.zeros(words, np.uint64)
    seen = np.zeros(keys, np.int32)
    columns = np.empty(min(cell_key.shape[0], count * (features_max + keys - features)), np.int32)
    column_start = np.zeros(count + 1, np.int64)
    used = 0
    for m in range(count):
        distinct = 0
        for i in range(row_start[m], row_start[m + 1]):
            r = order[i]
            first = ints[r - 1, ROW_CELL_END] if r > 0 else 0
            for cell in range(first, ints[r, ROW_CELL_END]):
                place = rank[cell_key[cell]]
                if seen[place] == 0:
                    bits[place >> 6] |= np.uint64(1) << np.uint64(place & 63)
                    if place < features:
                        distinct += 1
                seen[place] += 1
        if distinct > features_max:
            _keep_most_frequent(seen, bits, features, features_max, row_start[m + 1] - row_start[m])
            seen[:] = 0
        for w in range(words):
            word = bits[w]
            bits[w] = 0
            while word != np.uint64(0):
                place = (w << 6) + trailing_zeros(word)
                word &= word - np.uint64(1)
                columns[used] = by_rank[place]
                seen[place] = 0
                used += 1
        column_start[m + 1] = used
    return order, models[:count], row_start, columns[:used], column_start


@jit
def fill_blocks(
    plan: Any,
    ints: Any,
    ids: Any,
    times: Any,
    source: Any,
    offsets: Any,
    cells: Any,
    keys: Any,
    strings: Any,
    tags: Any,
    values: Any,
    longs: Any,
    shorts: Any,
    id_hash: Any,
    dictionary: Any,
    dictionary_start: Any,
) -> int:
    """Fills all models' arrays; returns how many cells had no column.

    ``tags`` and ``values`` hold one (columns, rows) matrix a model, end to end; ``longs`` (3, rows) event
    time, record time, offset; ``shorts`` (2, rows) source, version; ``dictionary`` the string numbers of each
    column in order of first use, then those of the versions, model by model, each beginning at
    ``dictionary_start``.
    """
    order, _, row_start, columns, column_start = plan
    column_of = np.full(keys, -1, np.int32)
    code = np.empty(strings, np.int32)
    owner = np.full(strings, -1, np.int64)
    dropped = 0
    base = 0
    used = 0
    entry = 0
    tags[:] = _ABSENT
    values[:] = np.nan
    for m in range(row_start.shape[0] - 1):
        a = row_start[m]
        count = row_start[m + 1] - a
        width = column_start[m + 1] - column_start[m]
        has_strings = np.zeros(width, np.bool_)
        for c in range(width):
            column_of[columns[column_start[m] + c]] = c
        for i in range(count):
            r = order[a + i]
            longs[0, a + i] = ints[r, ROW_TIME]
            longs[1, a + i] = times[r]
            longs[2, a + i] = offsets[r]
            shorts[0, a + i] = source[r]
            id_hash[a + i] = ids[r]
            first = ints[r - 1, ROW_CELL_END] if r > 0 else 0
            for cell in range(first, ints[r, ROW_CELL_END]):
                column = column_of[cells.key[cell]]
                if column < 0:
                    dropped += 1
                    continue
                at = base + column * count + i
                tag = cells.tag[cell]
                tags[at] = tag
                values[at] = cells.value[cell]
                if tag == _STRING:
                    has_strings[column] = True
        for c in range(width):
            column_of[columns[column_start[m] + c]] = -1
            dictionary_start[entry] = used
            if has_strings[c]:
                begin = used
                for at in range(base + c * count, base + (c + 1) * count):
                    if tags[at] == _STRING:
                        s = np.int64(values[at])
                        if owner[s] != entry:
                            owner[s] = entry
                            code[s] = used - begin
                            dictionary[used] = s
                            used += 1
                        values[at] = code[s]
            entry += 1
        dictionary_start[entry] = used
        begin = used
        for i in range(count):
            s = ints[order[a + i], ROW_VERSION]
            if s >= 0:
                if owner[s] != entry:
                    owner[s] = entry
                    code[s] = used - begin
                    dictionary[used] = s
                    used += 1
                shorts[1, a + i] = code[s]
            else:
                shorts[1, a + i] = -1
        entry += 1
        base += width * count
    dictionary_start[entry] = used
    return dropped


@jit
def check_block(
    tags: Any,
    values: Any,
    words: Any,
    record_time: Any,
    source: Any,
    offset: Any,
    version: Any,
    versions: Any,
    lo: Any,
    hi: Any,
) -> int:
    """What is wrong with a block's content, 0 if nothing (see ``BLOCK_FAULTS`` in envelope.py).

    ``words`` (columns,) is the size of each column's dictionary; ``lo`` and ``hi`` (sources,) the covered
    offsets.
    """
    columns, rows = tags.shape
    for i in range(rows):
        s = source[i]
        if s < 0 or s >= lo.shape[0]:
            return 1
        if offset[i] < lo[s] or offset[i] > hi[s]:
            return 2
        if version[i] < -1 or version[i] >= versions:
            return 3
        if i > 0 and (
            record_time[i] < record_time[i - 1]
            or (
                record_time[i] == record_time[i - 1]
                and (s < source[i - 1] or (s == source[i - 1] and offset[i] <= offset[i - 1]))
            )
        ):
            return 4
    for c in range(columns):
        limit = np.float64(words[c])
        for i in range(rows):
            tag = tags[c, i]
            value = values[c, i]
            if tag == _NUMBER:
                if not abs(value) < np.inf:
                    return 5
            elif tag == _STRING:
                if not (value >= 0.0 and value < limit and np.floor(value) == value):
                    return 6
            elif tag == _BOOL:
                if value != 0.0 and value != 1.0:
                    return 5
            elif tag > _TAG_MAX:
                return 7
            elif not np.isnan(value):
                return 5
    return 0
