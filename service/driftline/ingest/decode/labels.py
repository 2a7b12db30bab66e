"""What is asked of a label beyond what any record has to be: a label, and something to join it with.

The decoder reads labels as it reads events; this looks at the rows that it accepted. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from driftline.detect.kernels import scan_json as sj
from driftline.ingest.decode.slow import Refused
from driftline.records import Column, ColumnKind, RejectCode, Tag

# The counts of accepted rows that say something of a label; its cells are judged here, whole rows at a time.
ROW_COUNTS: Final = ("bad_id", "bad_version", "bad_probabilities")
_USABLE: Final = (Tag.NUMBER, Tag.STRING, Tag.BOOL)


def unusable(rows: sj.Rows, cells: sj.Cells, columns: Sequence[Column | None]) -> list[tuple[int, Refused]]:
    """The accepted rows that are no labels, by row: they are taken out of ``rows``, which is changed.

    A label is a number, a string or a bool. It needs an id, unless it carries its prediction.
    """
    n = len(rows.ids)
    ends = rows.ints[:, sj.ROW_CELL_END]
    row_of = np.repeat(np.arange(n), np.diff(ends, prepend=0))
    kinds = np.array([-1 if c is None else int(c.kind) for c in columns], np.int64)[cells.key]
    usable = np.isin(cells.tag, _USABLE)
    labelled = np.zeros(n, np.bool_)
    labelled[row_of[usable & (kinds == ColumnKind.LABEL)]] = True
    predicted = np.zeros(n, np.bool_)
    predicted[row_of[usable & ((kinds == ColumnKind.SCORE) | (kinds == ColumnKind.CLASS))]] = True
    accepted = rows.ints[:, sj.ROW_MODEL] >= 0
    joinable = (rows.ids != 0) | predicted
    found = [
        (row, Refused(RejectCode.LABEL_INVALID, '"label" must be a number, a string or a bool'))
        if not labelled[row]
        else (row, Refused(RejectCode.ID_MISSING, 'no "id", and no prediction either'))
        for row in np.flatnonzero(accepted & ~(labelled & joinable)).tolist()
    ]
    rows.ints[[row for row, _ in found], sj.ROW_MODEL] = -1
    return found
