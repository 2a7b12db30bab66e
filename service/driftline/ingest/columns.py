"""From the stream of decoded cells to blocks: one columnar table a model.

Owns the order of rows (record timestamp, source, offset), the order of columns (kind, name; so that the place
where a chunk was cut does not show) and the numbering of strings (by first use in row order). A block has at
most FEATURES_MAX feature columns: if a chunk has more for one model, the most frequent stay and the other
cells are counted. It must not know how cells came about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels.columns import fill_blocks, plan_blocks
from driftline.detect.kernels.scan_json import Cells, Rows
from driftline.records import FEATURES_MAX, Block, Column, ColumnKind, RecordChunk, Tag

I64 = npt.NDArray[np.int64]

_EMPTY_I64: Final = np.zeros(0, np.int64)


class Texts(dict[int, str]):
    """String numbers to texts, decoded on first use; a decoder overrides ``__missing__``."""


class ChunkArrays(NamedTuple):
    """Read-only views of a chunk's arrays, so that kernels always see the same types."""

    buf: npt.NDArray[np.uint8]
    starts: I64
    ends: I64
    source: I64
    offsets: I64
    timestamps: I64


def frozen(array: npt.NDArray[np.generic], dtype: type[np.generic]) -> npt.NDArray[np.generic]:
    """A contiguous read-only view: kernels are compiled for that, another type would compile again."""
    view = np.ascontiguousarray(array, dtype).view()
    view.flags.writeable = False
    return view


def chunk_arrays(chunk: RecordChunk) -> ChunkArrays:
    """The arrays of a chunk as kernels want them; copies only what is not contiguous."""
    return ChunkArrays(
        frozen(chunk.buf, np.uint8),  # type: ignore[arg-type]
        frozen(chunk.starts, np.int64),  # type: ignore[arg-type]
        frozen(chunk.ends, np.int64),  # type: ignore[arg-type]
        frozen(chunk.source, np.int64),  # type: ignore[arg-type]
        frozen(chunk.offsets, np.int64),  # type: ignore[arg-type]
        frozen(chunk.timestamps, np.int64),  # type: ignore[arg-type]
    )


@dataclass(slots=True)
class KeyOrder:
    """The columns that keys stand for, and their order."""

    columns: list[Column | None]  # by key; None: never in a cell
    rank: npt.NDArray[np.int32]  # place of a key by (kind, name)
    by_rank: npt.NDArray[np.int32]
    features: int  # how many of the first ranks are features

    @classmethod
    def of(cls, columns: Sequence[Column | None]) -> KeyOrder:
        """Sorts the keys; keys that are never in a cell come last."""
        last = (len(ColumnKind), "")
        places = sorted(
            range(len(columns)), key=lambda k: (c.kind, c.name) if (c := columns[k]) is not None else last
        )
        by_rank = np.array(places, np.int32)
        rank = np.empty(len(places), np.int32)
        rank[by_rank] = np.arange(len(places), dtype=np.int32)
        features = sum(c is not None and c.kind is ColumnKind.FEATURE for c in columns)
        return cls(list(columns), rank, by_rank, features)


def build_blocks(
    arrays: ChunkArrays, rows: Rows, cells: Cells, order: KeyOrder, strings: int, texts: Texts
) -> tuple[list[Block], int]:
    """Blocks of all accepted rows, in order of each model's first row, and how many cells had no column.

    Args:
        arrays: the chunk, n records.
        rows: n entries; a model of -1 marks a row that was not accepted.
        cells: the cells of all rows, cut to their number.
        order: the keys.
        strings: one more than the largest string number in use.
        texts: the texts of string numbers.

    Returns:
        The blocks, with ``source`` an index into the chunk's sources, and the number of cells dropped by
        FEATURES_MAX.
    """
    plan = plan_blocks(
        rows.ints,
        arrays.timestamps,
        arrays.source,
        arrays.offsets,
        cells.key,
        order.rank,
        order.by_rank,
        order.features,
        FEATURES_MAX,
        strings,
    )
    row_order, models, row_start, column_keys, column_start = plan
    n = len(row_order)
    if n == 0:
        return [], 0
    size = int(((row_start[1:] - row_start[:-1]) * (column_start[1:] - column_start[:-1])).sum())
    tags = np.empty(size, np.uint8)
    values = np.empty(size, np.float64)
    longs = np.empty((3, n), np.int64)
    shorts = np.empty((2, n), np.int32)
    id_hash = np.empty(n, np.uint64)
    dictionary = np.empty(len(cells.key) + n, np.int32)
    dictionary_start = np.empty(len(column_keys) + len(models) + 1, np.int64)
    dropped = fill_blocks(
        plan,
        rows.ints,
        rows.ids,
        arrays.timestamps,
        arrays.source,
        arrays.offsets,
        cells,
        len(order.rank),
        strings,
        tags,
        values,
        longs,
        shorts,
        id_hash,
        dictionary,
        dictionary_start,
    )
    starts: list[int] = dictionary_start.tolist()
    words: list[str] = [texts[s] for s in dictionary[: starts[-1]].tolist()]
    keys: list[int] = column_keys.tolist()
    row_at: list[int] = row_start.tolist()
    column_at: list[int] = column_start.tolist()
    blocks: list[Block] = []
    base = 0
    for m, model in enumerate(models.tolist()):
        a, b, c, d = row_at[m], row_at[m + 1], column_at[m], column_at[m + 1]
        top = base + (b - a) * (d - c)
        entry = c + m
        columns: list[Column] = []
        for k in range(d - c):
            column = order.columns[keys[c + k]]
            assert column is not None  # keys without a column are never in a cell
            if starts[entry + k] != starts[entry + k + 1]:
                column = Column(
                    column.kind, column.name, tuple(words[starts[entry + k] : starts[entry + k + 1]])
                )
            columns.append(column)
        version_at = entry + d - c
        blocks.append(
            Block(
                model=texts[model],
                columns=tuple(columns),
                tags=tags[base:top].reshape(d - c, b - a),
                values=values[base:top].reshape(d - c, b - a),
                event_time=longs[0, a:b],
                record_time=longs[1, a:b],
                source=shorts[0, a:b],
                offset=longs[2, a:b],
                version=shorts[1, a:b],
                versions=tuple(words[starts[version_at] : starts[version_at + 1]]),
                id_hash=id_hash[a:b],
            )
        )
        base = top
    return blocks, dropped


def _renumber(
    codes: npt.NDArray[np.int64], words: tuple[str, ...]
) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Numbers the used words by first use."""
    used, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    by_use = np.argsort(first, kind="stable")
    place = np.empty(len(used), np.int64)
    place[by_use] = np.arange(len(used))
    return place[inverse], tuple(words[i] for i in used[by_use].tolist())


def take_rows(block: Block, index: npt.NDArray[np.int64]) -> Block:
    """The rows at ``index`` (ascending) as a block of its own: only the columns and strings that they use.

    The same block that the decoder would have built from these rows alone.
    """
    tags = block.tags[:, index]
    values = block.values[:, index]
    present = (tags != Tag.ABSENT).any(axis=1)
    columns: list[Column] = []
    for c in np.flatnonzero(present).tolist():
        column = block.columns[c]
        if column.strings:
            at = np.flatnonzero(tags[c] == Tag.STRING)
            codes, words = _renumber(values[c, at].astype(np.int64), column.strings)
            values[c, at] = codes
            column = replace(column, strings=words)
        columns.append(column)
    version = block.version[index]
    known = np.flatnonzero(version >= 0)
    codes, versions = _renumber(version[known].astype(np.int64), block.versions)
    version[known] = codes
    return Block(
        model=block.model,
        columns=tuple(columns),
        tags=np.ascontiguousarray(tags[present]),
        values=np.ascontiguousarray(values[present]),
        event_time=block.event_time[index],
        record_time=block.record_time[index],
        source=block.source[index],
        offset=block.offset[index],
        version=version,
        versions=versions,
        id_hash=block.id_hash[index],
    )


def split_block(block: Block, rows: int) -> list[Block]:
    """Cuts a block into blocks of at most ``rows`` rows, in order.

    Raises:
        ValueError: ``rows`` is not positive.
    """
    if rows < 1:
        raise ValueError(f"rows must be at least 1, not {rows}")
    if len(block) <= rows:
        return [block]
    return [take_rows(block, np.arange(a, min(a + rows, len(block)))) for a in range(0, len(block), rows)]
