"""Rows of a table (Parquet, CSV) as blocks: column by column, under the rules of the JSON decoder.

A row of a table stands for the event in which each column is a member; an empty cell is null. So the same
rows as JSON lines give the same blocks. Owned here: what becomes of a row and of a column. How values are
read from a file's format is the business of ``arrow.py`` and ``text.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels.distribution import certainty_of
from driftline.detect.kernels.scan_tables import hash_parts
from driftline.ingest.columns import take_rows
from driftline.ingest.decode.base import Decoded
from driftline.ingest.decode.mapping import ABSENT, FieldMapping
from driftline.ingest.decode.slow import (
    Refused,
    Rules,
    event_time_of,
    id_of,
    judge_value,
    model_of,
    name_allowed,
    version_of,
)
from driftline.records import (
    CHUNK_PADDING,
    F64,
    FEATURES_MAX,
    I64,
    MODELS_PER_PARTITION_MAX,
    U8,
    Block,
    Column,
    ColumnKind,
    Reject,
    RejectCode,
    Source,
    Tag,
)

FLAT: Final = FieldMapping(
    model=("model",),
    id=("id",),
    time=("time",),
    model_version=("model_version",),
    features=(),
    prediction=("prediction",),
    score=("score",),
    class_=("class",),
)
"""A table without nested columns: those that are called like a native field are it, all others features."""


class Cells(NamedTuple):
    """A column as it stands in a block; arrays are (rows,)."""

    tags: U8
    values: F64
    strings: tuple[str, ...] = ()


class Probabilities(NamedTuple):
    """A column of class probabilities."""

    present: npt.NDArray[np.bool_]  # (rows,)
    classes: dict[str, Cells]
    whole: bool  # no member is another field


@dataclass(slots=True)
class Table:
    """Some rows. Fields are values as ``json.loads`` gives them; None: the table has no such column.

    ``offsets`` and ``record_times`` (rows,) are those of the records that the rows stand for.
    """

    offsets: I64
    record_times: I64
    model: Sequence[Any] | None = None
    id: Sequence[Any] | None = None
    time: Sequence[Any] | None = None
    model_version: Sequence[Any] | None = None
    score: Cells | None = None
    class_: Cells | None = None
    probabilities: Probabilities | None = None
    features: dict[str, Cells] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.offsets)


def cells_of(values: Sequence[Any]) -> Cells:
    """A column of values as ``json.loads`` gives them."""
    tags, numbers = np.empty(len(values), np.uint8), np.empty(len(values))
    words: dict[str, int] = {}
    for i, value in enumerate(values):
        tag, cell = (Tag.ABSENT, np.nan) if value is ABSENT else judge_value(value)
        tags[i] = tag
        numbers[i] = words.setdefault(cell, len(words)) if isinstance(cell, str) else cell
    return Cells(tags, numbers, tuple(words))


class TableDecoder:
    """Decodes tables as ``NativeDecoder`` decodes the lines of files; for one thread at a time."""

    def __init__(
        self,
        *,
        fixed_model: str | None,
        allowed_models: frozenset[str] | None,
        models_max: int = MODELS_PER_PARTITION_MAX,
    ) -> None:
        self._rules = Rules(fixed_model, allowed_models, None, judge_times=False)
        self._models_max = models_max
        self._models: set[str] = set()

    def decode(self, table: Table, source: Source) -> Decoded:
        """The rows as blocks, all of one source. A reject's digest is empty: there are no bytes to hash."""
        models: list[Any] = _each(table.model, len(table), lambda given: model_of(given, self._rules))
        times = self._times(table, models)
        self._admit(models)
        out = Decoded([], [], 0, np.zeros(1, np.int64))
        rows: dict[str, list[int]] = {}
        for row, model in enumerate(models):
            if isinstance(model, Refused):
                offset, time = int(table.offsets[row]), int(table.record_times[row])
                out.rejects.append(Reject(source, offset, time, model.code, model.detail, ""))
            else:
                rows.setdefault(model, []).append(row)
        out.accepted_per_source[0] = len(table) - len(out.rejects)
        whole = _block(table, times, out.counts, np.array([not isinstance(m, Refused) for m in models], bool))
        for model, some in rows.items():
            out.blocks.append(replace(take_rows(whole, np.array(some, np.int64)), model=model))
        return out

    def _times(self, table: Table, models: list[Any]) -> I64:
        """Event times; a row whose time is refused is refused, unless its model was."""
        times = table.record_times.copy()
        for row, given in enumerate(table.time or ()):
            if given is not None and not isinstance(models[row], Refused):
                try:
                    times[row] = event_time_of(given, int(times[row]), self._rules)
                except Refused as why:
                    models[row] = why
        return times

    def _admit(self, models: list[Any]) -> None:
        if self._rules.fixed_model is not None or self._rules.allowed_models is not None:
            return
        for row, model in enumerate(models):
            if isinstance(model, Refused) or model in self._models:
                continue
            if len(self._models) < self._models_max:
                self._models.add(model)
            else:
                models[row] = Refused(RejectCode.MODEL_LIMIT, f"more than {self._models_max} models")


def _each(values: Sequence[Any] | None, rows: int, judge: Callable[[Any], Any]) -> list[Any]:
    """The judgement of each value, or its refusal; equal values are judged once."""
    known: dict[tuple[type, Any], Any] = {}
    found: list[Any] = []
    for value in [ABSENT] * rows if values is None else values:
        key = (type(value), value if isinstance(value, (str, int)) else None)
        if key not in known:
            try:
                known[key] = judge(value)
            except Refused as why:
                known[key] = why
        found.append(known[key])
    return found


def _block(table: Table, times: I64, counts: Counter[str], accepted: Any) -> Block:
    """All rows as one block without a model; counts are those of accepted rows."""
    n = len(table)
    listed: list[tuple[ColumnKind, str, Cells]] = []
    for name, cells in sorted(table.features.items()):
        if not name_allowed(name):
            counts["bad_name"] += int(accepted.sum())
        elif len(listed) == FEATURES_MAX:
            counts["features_limit"] += int(accepted.sum())
        else:
            listed.append((ColumnKind.FEATURE, name, cells))
    listed += [(ColumnKind.SCORE, "", table.score)] if table.score is not None else []
    listed += [(ColumnKind.CLASS, "", table.class_)] if table.class_ is not None else []
    if table.probabilities is not None:
        listed += _derived(table.probabilities, table.class_ is None, counts, accepted)
    for kind, name, cells in listed:
        shown = name if kind is ColumnKind.FEATURE else f"prediction.{kind.name.lower()}"
        for key, tag in (("invalid", Tag.INVALID), (f"nested:{shown}", Tag.NESTED)):
            counts[key] += int((cells.tags[accepted] == tag).sum())
    versions = _each(table.model_version, n, version_of)
    ids = _each(table.id, n, id_of)
    counts["bad_version"] += sum(v is None for v, kept in zip(versions, accepted, strict=True) if kept)
    counts["bad_id"] += sum(i is None for i, kept in zip(ids, accepted, strict=True) if kept)
    counts["no_id"] += sum(not i for i, kept in zip(ids, accepted, strict=True) if kept)
    for key in [key for key in counts if not counts[key]]:
        del counts[key]
    names = {name: code for code, name in enumerate(dict.fromkeys(v for v in versions if v))}
    return Block(
        model="",
        columns=tuple(Column(kind, name, cells.strings) for kind, name, cells in listed),
        tags=np.array([cells.tags for _, _, cells in listed], np.uint8).reshape(len(listed), n),
        values=np.array([cells.values for _, _, cells in listed], np.float64).reshape(len(listed), n),
        event_time=times,
        record_time=table.record_times,
        source=np.zeros(n, np.int32),
        offset=table.offsets,
        version=np.array([names.get(v or "", -1) for v in versions], np.int32),
        versions=tuple(names),
        id_hash=_hashes([i or b"" for i in ids]),
    )


def _derived(
    given: Probabilities, unnamed: bool, counts: Counter[str], accepted: Any
) -> list[tuple[ColumnKind, str, Cells]]:
    """What the probabilities say: the class where nothing else does, confidence and entropy."""
    n = len(given.present)
    classes = {name: cells for name, cells in given.classes.items() if name_allowed(name)}
    counts["bad_name"] += (len(given.classes) - len(classes)) * int((given.present & accepted).sum())
    p = np.full((n, len(classes)), np.nan)
    for k, cells in enumerate(classes.values()):
        number = given.present & (cells.tags == Tag.NUMBER)
        p[number, k] = cells.values[number]
    listed = []
    if unnamed:
        best = np.where(np.isnan(p), -np.inf, p).argmax(axis=1) if classes else np.zeros(n, np.int64)
        names = list(classes)
        known = ~np.isnan(p).all(axis=1)
        likely = [names[k] if there else ABSENT for k, there in zip(best.tolist(), known, strict=True)]
        listed.append((ColumnKind.CLASS, "", cells_of(likely)))
    if not given.whole:
        return listed
    found = np.array([certainty_of(row) for row in p]).reshape(n, 2)
    bad = given.present & np.isnan(found[:, 0])
    counts["bad_probabilities"] += int((bad & accepted).sum())
    tags = np.where(given.present, np.where(bad, Tag.INVALID, Tag.NUMBER), Tag.ABSENT).astype(np.uint8)
    found[~given.present] = np.nan
    for kind, values in zip((ColumnKind.CONFIDENCE, ColumnKind.ENTROPY), found.T, strict=True):
        listed.append((kind, "", Cells(tags, values)))
    return listed


def _hashes(ids: list[bytes]) -> Any:
    """As ``hash_id``, of many."""
    out = np.empty(len(ids), np.uint64)
    ends = np.cumsum(np.fromiter(map(len, ids), np.int64, len(ids)))
    hash_parts(np.frombuffer(b"".join(ids) + bytes(CHUNK_PADDING), np.uint8), ends, out)
    return out
