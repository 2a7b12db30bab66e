"""Cells of CSV files: text that stands for JSON values.

CSV has no types, so a cell is what it would be in JSON if it reads like that: a number in JSON's grammar
(``007`` and ``+5`` are strings), true or false, else a string. An empty cell is null. ``nan`` and ``inf``, as
number libraries write them, are unusable numbers. Whether a cell was quoted says nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from driftline.detect.kernels.scan_number import INTEGER_MAX
from driftline.ingest.decode.mapping import ABSENT, FieldMapping
from driftline.ingest.decode.slow import UNUSABLE
from driftline.ingest.decode.table import Cells, Table, cells_of
from driftline.records import NUMBER_CHARS_MAX, Tag

_NUMBER: Final = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_ONE: Final = re.compile(_NUMBER)
_ALL: Final = re.compile(rf"(?:{_NUMBER}\n)+")
_UNUSABLE: Final = re.compile(r"[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_WORDS: Final = {
    "": None, "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False
}  # fmt: skip


def value_of(text: str) -> Any:
    """A cell as ``json.loads`` would give its value."""
    if text in _WORDS:
        return _WORDS[text]
    if _ONE.fullmatch(text):
        if len(text) > NUMBER_CHARS_MAX:
            return UNUSABLE
        return int(text) if text.lstrip("-").isdigit() else float(text)
    return UNUSABLE if _UNUSABLE.fullmatch(text) else text


def text_cells(texts: Sequence[str]) -> Cells:
    """A column of cells."""
    # A cell with a line end in it cannot pass: float() takes no two numbers.
    if max(map(len, texts), default=0) <= NUMBER_CHARS_MAX and _ALL.fullmatch("\n".join([*texts, ""])):
        try:
            values = np.array(list(map(float, texts)))
        except ValueError:
            values = np.array([np.inf])
        if (abs(values) < INTEGER_MAX).all():  # beyond it, integers are unusable and reals are not
            return Cells(np.full(len(texts), Tag.NUMBER, np.uint8), values + 0.0)
    return cells_of(_values(texts))


def _values(texts: Sequence[str]) -> list[Any]:
    known = {text: value_of(text) for text in set(texts)}  # most columns of text repeat few words
    return [known[text] for text in texts]


def text_table(table: Table, columns: Mapping[str, Sequence[str]], mapping: FieldMapping) -> None:
    """Fills the table from columns by name; pointers of one step are columns, longer ones are nothing."""
    named = {
        key: path[0]
        for key in ("model", "id", "time", "model_version", "prediction", "score", "class_")
        if (path := getattr(mapping, key)) and len(path) == 1 and path[0] in columns
    }
    for key in ("model", "id", "time", "model_version"):
        if key in named:
            setattr(table, key, _values(columns[named[key]]))
    if "prediction" in named:
        bare = _values(columns[named["prediction"]])
        classes = [isinstance(value, (bool, str)) for value in bare]
        table.score = cells_of([ABSENT if c or v is None else v for v, c in zip(bare, classes, strict=True)])
        table.class_ = cells_of([v if c else ABSENT for v, c in zip(bare, classes, strict=True)])
    if "score" in named:
        table.score = text_cells(columns[named["score"]])
    if "class_" in named:
        table.class_ = text_cells(columns[named["class_"]])
    single = {name: path[0] for name, path in mapping.single if len(path) == 1 and path[0] in columns}
    if mapping.features == ():
        taken = {*named.values(), *single.values()}
        single |= {name: name for name in columns if name not in taken and name not in single}
    table.features = {name: text_cells(columns[column]) for name, column in single.items()}
