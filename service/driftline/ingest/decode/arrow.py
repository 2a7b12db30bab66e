"""Columns of Arrow, as Parquet files hold them.

Booleans, numbers and text are what they are; NaN and infinities are unusable, as in JSON. Dates and
timestamps are times where they are the time; elsewhere they are, like bytes, lists and objects, ignored and
counted by name. A timestamp without a zone is UTC.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from driftline.config.mapping import Path
from driftline.detect.kernels.scan_number import INTEGER_MAX
from driftline.ingest.decode.mapping import FieldMapping
from driftline.ingest.decode.slow import judge_value
from driftline.ingest.decode.table import Cells, Probabilities, Table, cells_of
from driftline.records import I64, Tag

_NESTED: Final[list[Any]] = []  # stands for a value that JSON would hold in an array or object
_DAY_MS: Final = 86_400_000
_PER_SECOND: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def column_at(batch: Any, path: Path | None) -> Any:
    """The column at a path through structs, None where there is none."""
    found = None
    for step in path or ():
        names = batch.schema.names if found is None else [f.name for f in found.type]
        if step not in names:
            return None
        found = batch.column(names.index(step)) if found is None else pc.struct_field(found, step)
        found = _plain(found)
        if step != path[-1] and not pa.types.is_struct(found.type):  # type: ignore[index] # a path has steps
            return None
    return found


def table_of(batch: Any, mapping: FieldMapping, offsets: I64, record_times: I64) -> Table:
    """A record batch as a table; what the mapping names and the batch has not is absent."""

    def values(path: Path | None) -> Sequence[Any] | None:
        column = column_at(batch, path)
        return None if column is None else _values(column)

    def cells(path: Path | None) -> Cells | None:
        column = column_at(batch, path)
        return None if column is None else column_cells(column)

    table = Table(
        offsets,
        record_times,
        model=values(mapping.model),
        id=values(mapping.id),
        time=values(mapping.time),
        model_version=values(mapping.model_version),
        score=cells(mapping.score),
        class_=cells(mapping.class_),
    )
    bare = column_at(batch, mapping.prediction)
    if bare is not None and not pa.types.is_struct(bare.type):
        found = column_cells(bare)
        found.tags[found.tags == Tag.NULL] = Tag.ABSENT
        if _is_text(bare.type) or pa.types.is_boolean(bare.type):
            table.class_ = table.class_ or found
        else:
            table.score = table.score or found
    table.probabilities = _probabilities(batch, mapping)
    for name, path in mapping.single:
        single = cells(path)
        if single is not None:
            table.features[name] = single
    for name in members(batch, mapping):
        if name not in table.features:
            column = column_at(batch, (*(mapping.features or ()), name))
            table.features[name] = column_cells(column)
    return table


def members(batch: Any, mapping: FieldMapping) -> list[str]:
    """The features that are members of the features' object, or columns of the table."""
    base = mapping.features
    if base is None:
        return []
    column = column_at(batch, base)
    if base and (column is None or not pa.types.is_struct(column.type)):
        return []
    inside = _inside(mapping, base)
    names = batch.schema.names if not base else [f.name for f in column.type]
    return [name for name in names if name not in inside]


def _inside(mapping: FieldMapping, base: Path) -> set[str]:
    """The members of a field that are other fields, or on the way to one."""
    fields = (
        mapping.model, mapping.id, mapping.time, mapping.model_version, mapping.prediction, mapping.score,
        mapping.class_, mapping.probabilities, *(path for _, path in mapping.single),
    )  # fmt: skip
    return {
        path[len(base)] for path in fields if path and len(path) > len(base) and path[: len(base)] == base
    }


def _probabilities(batch: Any, mapping: FieldMapping) -> Probabilities | None:
    """The class probabilities of a batch, None where the table has no such column."""
    path = mapping.probabilities
    column = column_at(batch, path)
    if path is None or column is None:
        return None
    present, inside = np.asarray(column.is_valid()), _inside(mapping, path)
    if not pa.types.is_struct(column.type):
        return Probabilities(present, {}, not inside)  # no distribution, as in JSON
    names = [f.name for f in column.type if f.name not in inside]
    classes = {name: column_cells(column_at(batch, (*path, name))) for name in names}
    return Probabilities(present, classes, not inside)


def is_nested(schema: Any) -> bool:
    """Whether a table has the columns of native events: features in an object of their own."""
    return "features" in schema.names and pa.types.is_struct(schema.field("features").type)


def _plain(column: Any) -> Any:
    """Without dictionaries and extension types."""
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.storage
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _text(data: bytes | None) -> str | None:
    # Files may claim text that is none: lone surrogates make such a value unusable, whatever it is for.
    return None if data is None else data.decode("utf-8", "surrogateescape")


def column_cells(column: Any) -> Cells:
    """The cells of a column of any type."""
    kind, n = column.type, len(column)
    present = np.asarray(column.is_valid())
    tags = np.where(present, Tag.NUMBER, Tag.NULL).astype(np.uint8)
    values = np.full(n, np.nan)
    if pa.types.is_null(kind):
        return Cells(tags, values)
    if pa.types.is_boolean(kind):
        tags[present] = Tag.BOOL
        values[present] = np.asarray(column.drop_null().cast(pa.uint8()))
    elif pa.types.is_integer(kind):
        whole = np.asarray(column.drop_null())
        usable = whole <= INTEGER_MAX
        usable &= whole >= -INTEGER_MAX if pa.types.is_signed_integer(kind) else True
        tags[np.flatnonzero(present)[~usable]] = Tag.INVALID
        values[np.flatnonzero(present)[usable]] = whole[usable]
    elif pa.types.is_floating(kind):
        real = np.asarray(column.drop_null()).astype(np.float64) + 0.0
        usable = np.isfinite(real)
        tags[np.flatnonzero(present)[~usable]] = Tag.INVALID
        values[np.flatnonzero(present)[usable]] = real[usable]
    elif pa.types.is_decimal(kind):
        read = int if kind.scale <= 0 else float
        return cells_of([None if value is None else read(value) for value in column.to_pylist()])
    elif _is_text(kind):
        return _text_cells(column, tags, values, present)
    else:
        tags[present] = Tag.NESTED
    return Cells(tags, values)


def _text_cells(column: Any, tags: Any, values: Any, present: Any) -> Cells:
    coded = column.cast(pa.large_binary()).dictionary_encode()
    words = [_text(data) for data in coded.dictionary.to_pylist()]
    judged = [judge_value(word) for word in words]
    of_word = np.array([tag for tag, _ in judged], np.uint8)
    codes = np.asarray(coded.indices.drop_null())
    tags[present] = of_word[codes]
    place = np.cumsum(of_word == Tag.STRING) - 1.0  # words that are too long have no number
    values[present] = np.where(of_word[codes] == Tag.STRING, place[codes], np.nan)
    return Cells(tags, values, tuple(str(word) for tag, word in judged if tag is Tag.STRING))


def _values(column: Any) -> Sequence[Any]:
    """A column's values as ``json.loads`` gives them; times are epoch milliseconds."""
    kind = column.type
    if _is_text(kind):
        return [_text(data) for data in column.cast(pa.large_binary()).to_pylist()]
    if pa.types.is_null(kind) or pa.types.is_boolean(kind) or _is_number(kind):
        found: list[Any] = column.to_pylist()
        return found
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _epoch_ms(column)
    return [_NESTED if there else None for there in column.is_valid().to_pylist()]


def _epoch_ms(column: Any) -> Sequence[Any]:
    kind = column.type
    if pa.types.is_timestamp(kind):
        ticks = column.cast(pa.int64()).to_pylist()
        return [None if t is None else t * 1_000 // _PER_SECOND[kind.unit] for t in ticks]
    if pa.types.is_date32(kind):
        return [None if day is None else day * _DAY_MS for day in column.cast(pa.int32()).to_pylist()]
    found: list[Any] = column.cast(pa.int64()).to_pylist()
    return found
