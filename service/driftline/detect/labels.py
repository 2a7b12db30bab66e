"""The join of a model's predictions with its labels.

Owns two logs (``join_log.py``), one of predictions and one of labels, the counts, and the names of classes.
Invariants: see ``kernels/join.py``; times are record times in whole seconds. Pure; the time of the partition
is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from driftline.detect.join_log import BITMAP_ROWS, Log, Read, Shard
from driftline.detect.kernels import join as kernel
from driftline.detect.typed import typed
from driftline.errors import MessageError
from driftline.records import F64, I64, Block, ColumnKind, Tag

NAMES_MAX: Final = 1_000  # classes of a model; further ones are one class
OTHER: Final = "(other classes)"
NAMED: Final = 1  # the value of a label is the code of a class's name
ROWS_MAX: Final = 4_000_000  # of a log: what may be configured
SECONDS_MAX: Final = (1 << 32) - 1
_SAMPLE_UNIT: Final = 1 << 53

U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
U32 = npt.NDArray[np.uint32]


def _bool_name(value: float) -> str:
    return "true" if value else "false"


def _number_name(value: float) -> str:
    return f"{value + 0.0:.15g}"  # 1 and 1.0 are the class "1", and -0 is 0


class Names:
    """Codes of class names in order of first use, at most NAMES_MAX; all others share the code after them."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        self.names = list(names)
        self._codes = {name: i for i, name in enumerate(self.names)}

    def code(self, name: str) -> int:
        """The code of a name, a new one while there is room."""
        code = self._codes.get(name)
        if code is None and len(self.names) < NAMES_MAX:
            code = self._codes[name] = len(self.names)
            self.names.append(name)
        return NAMES_MAX if code is None else code

    def find(self, name: str) -> int:
        """The code of a name that has one, else -1."""
        return self._codes.get(name, -1)

    def name(self, code: int) -> str:
        """The name of a code."""
        return self.names[code] if code < len(self.names) else OTHER

    def number(self, value: float) -> int:
        """The code of a class that is given as a number: 1 and 1.0 are the class "1"."""
        return self.code(_number_name(value))


@dataclass(slots=True)
class Rows:
    """Rows of events or labels as the join takes them, in order. Shapes: (n,)."""

    ids: U64
    seconds: U32
    score: F64  # NaN: none
    code: I32  # of the predicted class, -1: none
    value: F64  # of a label: the number, or the code of the class
    named: I32  # of a label: NAMED or 0
    event_time: I64
    record_time: I64
    source: I32
    offset: I64

    def __len__(self) -> int:
        return len(self.ids)

    def part(self, lo: int, hi: int) -> Rows:
        """Rows lo..hi."""
        return Rows(*(getattr(self, column.name)[lo:hi] for column in fields(self)))


def rows_of(blocks: Sequence[Block], names: Names) -> Rows:
    """The rows of a model's blocks of one kind, ordered by (record time, source, offset)."""
    parts = [_rows_of(block, names) for block in blocks] or [_no_rows()]
    columns = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    rows = Rows(*columns)
    if len(parts) > 1:
        order = np.lexsort((rows.offset, rows.source, rows.record_time))
        rows = Rows(*(a[order] for a in columns))
    return rows


def _no_rows() -> tuple[npt.NDArray[Any], ...]:
    dtypes = (
        np.uint64,
        np.uint32,
        np.float64,
        np.int32,
        np.float64,
        np.int32,
        np.int64,
        np.int64,
        np.int32,
        np.int64,
    )
    return tuple(np.zeros(0, dtype) for dtype in dtypes)


def _rows_of(block: Block, names: Names) -> tuple[npt.NDArray[Any], ...]:
    n = len(block)
    score, value = np.full(n, np.nan), np.full(n, np.nan)
    code, named = np.full(n, -1, np.int32), np.zeros(n, np.int32)
    for column, tags, values in zip(block.columns, block.tags, block.values, strict=True):
        if column.kind is ColumnKind.SCORE:
            usable = (tags == Tag.NUMBER) | (tags == Tag.BOOL)
            score[usable] = values[usable]
        elif column.kind is ColumnKind.CLASS:
            code = _codes(tags, values, column.strings, names, numbers=True)
        elif column.kind is ColumnKind.LABEL:
            number_cells = tags == Tag.NUMBER
            found = _codes(tags, values, column.strings, names, numbers=False)
            named = np.where(found >= 0, NAMED, 0).astype(np.int32)
            value = np.where(number_cells, values, found)
    seconds = np.clip(block.record_time // 1000, 0, SECONDS_MAX).astype(np.uint32)
    return (
        block.id_hash, seconds, score, code, value, named,
        block.event_time, block.record_time, block.source, block.offset,
    )  # fmt: skip


def _codes(tags: Any, values: F64, strings: Sequence[str], names: Names, *, numbers: bool) -> I32:
    """Codes of the classes that cells name, -1 where a cell names none; kind by kind."""
    out = np.full(len(tags), -1, np.int32)
    if strings:  # a block lists the strings that its rows use, in the order of their first use
        at = tags == Tag.STRING
        out[at] = np.array([names.code(word) for word in strings], np.int32)[values[at].astype(np.int64)]
    named = ((Tag.BOOL, _bool_name), (Tag.NUMBER, _number_name))
    for tag, name in named[: 1 + numbers]:
        at = tags == tag
        if at.any():
            distinct, first, inverse = np.unique(values[at], return_index=True, return_inverse=True)
            codes = np.zeros(len(distinct), np.int32)
            for k in np.argsort(first).tolist():
                codes[k] = names.code(name(float(distinct[k])))
            out[at] = codes[inverse]
    return out


@dataclass(slots=True)
class Matches:
    """Predictions with their labels, in the order in which the later of the two came. Shapes: (n,)."""

    time: I64  # event time of the row that made the match, ms
    score: F64
    code: I32
    value: F64
    named: I32
    row: I64  # of the events if >= 0, else -1 - row of the labels

    def __len__(self) -> int:
        return len(self.time)


@dataclass(slots=True)
class _Header:
    """What ``Labels.header`` wrote."""

    logs: dict[str, tuple[int, int]]
    counts: list[int]
    delays: list[int]
    names: list[str]


@dataclass(slots=True)
class Labels:
    """The join of one model."""

    rows_max: int
    delay_max: int  # seconds
    sample: float = 1.0
    predictions: Log = field(default_factory=lambda: Log("pred"))
    labels: Log = field(default_factory=lambda: Log("lab"))
    counts: I64 = field(default_factory=lambda: np.zeros(kernel.COUNTS, np.int64))
    delays: I64 = field(default_factory=lambda: np.zeros(kernel.DELAYS, np.int64))
    names: Names = field(default_factory=Names)

    def join(self, events: Rows, labels: Rows, time_ms: int) -> Matches:
        """Join rows; first drop what has waited too long at the time of the partition (-1: unknown)."""
        if time_ms >= 0:
            before = time_ms // 1000 - self.delay_max
            for log, which in ((self.predictions, kernel.EXPIRED), (self.labels, kernel.ORPHANS)):
                kernel.expire(
                    log.table, log.ids, log.seconds, log.matched, log.numbers, before, self.counts, which
                )
        order = np.empty(len(events) + len(labels), np.int64)
        kernel.merge_order(
            events.record_time, events.source, events.offset,
            labels.record_time, labels.source, labels.offset, order,
        )  # fmt: skip
        self.predictions.reserve(len(events), self.rows_max)
        self.labels.reserve(len(labels), self.rows_max)
        carries = (~np.isnan(labels.score) | (labels.code >= 0)).astype(np.uint8)
        n = len(order)
        at, pred, lab = (np.empty(n, np.int64) for _ in range(3))
        score, value = np.empty(n), np.empty(n)
        code, named = np.empty(n, np.int32), np.empty(n, np.int32)
        found = kernel.join_rows(
            self.predictions.arrays(),
            self.labels.arrays(),
            (events.ids, events.seconds, events.score, events.code),
            (labels.ids, labels.seconds, labels.value, labels.named, carries, labels.score, labels.code),
            order, np.uint64(round(self.sample * _SAMPLE_UNIT)), self.rows_max, self.counts, self.delays,
            (at, score, code, value, named, pred, lab),
        )  # fmt: skip
        self.predictions.touch(pred[:found])
        self.labels.touch(lab[:found])
        row = order[at[:found]]
        time = np.empty(found, np.int64)
        of_event = row >= 0
        time[of_event] = events.event_time[row[of_event]]
        time[~of_event] = labels.event_time[-1 - row[~of_event]]
        return Matches(time, score[:found], code[:found], value[:found], named[:found], row)

    @property
    def pending(self) -> int:
        """Predictions that wait for a label."""
        c = self.counts
        return int(c[kernel.PREDICTIONS] - c[kernel.COVERED] - c[kernel.EXPIRED])

    @property
    def coverage(self) -> float:
        """Share of the predictions that have a label by now; NaN before the first."""
        predictions = int(self.counts[kernel.PREDICTIONS])
        return int(self.counts[kernel.COVERED]) / predictions if predictions else float("nan")

    def delay(self, share: float) -> float:
        """A quantile of the delays in seconds, exact to half an octave upwards; NaN before the first."""
        total = int(self.delays.sum())
        if not total:
            return float("nan")
        k = int(np.searchsorted(np.cumsum(self.delays), share * total, "left"))
        return float(2.0 ** (0.5 * k))

    # --- storing

    def header(self) -> dict[str, Any]:
        """What is small, JSON-ready."""
        return {
            "logs": {log.name: [log.head, log.tail] for log in (self.predictions, self.labels)},
            "counts": self.counts.tolist(),
            "delays": self.delays.tolist(),
            "names": list(self.names.names),
        }

    def shards(self) -> list[Shard]:
        """What is large and changed since the last call, copied."""
        return [*self.predictions.shards(), *self.labels.shards()]

    def restore(self, header: Mapping[str, Any], read: Read) -> None:
        """The inverse of ``header`` and all ``shards``.

        Raises:
            MessageError: they contradict each other.
        """
        head = typed(_Header, header)
        self.counts, self.delays = np.array(head.counts, np.int64), np.array(head.delays, np.int64)
        for array, size in ((self.counts, kernel.COUNTS), (self.delays, kernel.DELAYS)):
            if array.shape != (size,) or (array < 0).any():
                raise MessageError("counts of the labels are inconsistent.")
        self.names = Names(head.names)
        if len(self.names.names) > NAMES_MAX or len(set(self.names.names)) != len(self.names.names):
            raise MessageError("the classes of the labels are inconsistent.")
        logs = []
        for name in ("pred", "lab"):
            first, end = head.logs[name]
            if not 0 <= first <= end or end - first > ROWS_MAX:
                raise MessageError(f"the {name} log has rows {first} to {end}.")
            capacity = max(1, -(-(end - first) // BITMAP_ROWS)) * BITMAP_ROWS
            log = Log(name, capacity, first, end)
            log.restore(read)
            _check_rows(log)
            logs.append(log)
        self.predictions, self.labels = logs


def _check_rows(log: Log) -> None:
    """Refuses codes that are none: they become places in the confusion counts."""
    codes = log.code if log.name == "pred" else log.value[log.code == NAMED]
    named = log.name == "pred" or ((log.code == 0) | (log.code == NAMED)).all()
    if not named or not ((codes >= -1) & (codes <= NAMES_MAX) & (codes == np.floor(codes))).all():
        raise MessageError(f"the {log.name} log names classes that there are not.")


def warm() -> None:
    """Compile the kernels of the join with the types that it calls them with."""
    labels = Labels(1_000, 1)
    empty = rows_of((), labels.names)
    labels.join(empty, empty, 0)
    labels.predictions.index()
