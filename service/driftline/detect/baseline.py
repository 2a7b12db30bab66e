"""Building a baseline: a reference from decoded rows of a file (``schemas/baseline.v1.json``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from driftline.detect.reference import Reference, build_reference
from driftline.detect.rows import Segment, concat, raw_columns, segment_of
from driftline.errors import OperatorError
from driftline.records import Block

ROWS_MAX: Final = 2_000_000  # held in memory: 20 columns of them are 360 MB


class BaselineRows:
    """Collects the rows of one model; ``reference`` freezes them."""

    def __init__(self, model: str) -> None:
        self.model = model
        self._segments: list[Segment] = []
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def add(self, blocks: Sequence[Block]) -> None:
        """Take the rows of this model.

        Raises:
            OperatorError: there are more than ROWS_MAX.
        """
        for block in blocks:
            if block.model == self.model and len(block):
                self._segments.append(segment_of(block, 0, len(block)))
                self._rows += len(block)
        if self._rows > ROWS_MAX:
            raise OperatorError(
                f"a baseline holds at most {ROWS_MAX:,} rows.", remedy="Give a contiguous part of the rows."
            )

    def reference(self, *, time_ordered: bool) -> Reference:
        """Freeze the rows, sorted by event time (rows of equal time stay in file order).

        ``time_ordered`` says that they are all the traffic of their time, so that their autocorrelation is
        that of live traffic; otherwise it is measured again on live rows (state ``warming``).

        Raises:
            MessageError: too few rows, or no values.
        """
        table = concat(self._segments)
        order = np.argsort(table.times, kind="stable")
        return build_reference(
            self.model, "file", raw_columns(table, order), table.times[order], time_ordered=time_ordered
        )
