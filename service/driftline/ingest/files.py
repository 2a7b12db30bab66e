"""Files of events, whatever their format, as decoded batches; an edge: it opens files.

By the end of the name: ``.parquet``; ``.csv`` (with a header); anything else is one JSON object a line.
``.gz`` behind any but Parquet is decompressed, ``-`` is standard input (JSON lines). Memory is bounded by a
batch of rows (and, for Parquet, a row group's pages), never by the file. Row numbers go on from file to file:
they are the offsets in blocks.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, TypeVar

import numpy as np

from driftline.config import InputSettings
from driftline.decide.replay import ROW_MS, batches, chunk_of, read_lines
from driftline.errors import OperatorError
from driftline.ingest.decode import Decoded, Decoder, FieldMapping, mapping_of
from driftline.ingest.decode.mapping import NATIVE
from driftline.ingest.decode.table import FLAT, Table, TableDecoder
from driftline.records import I64, RECORD_BYTES_MAX, Reject, RejectCode, Source

FIELDS: Final = {"model", "id", "time", "model_version", "score", "class"}
COLUMNS_SHOWN_MAX: Final = 20  # in a message


class Batch(NamedTuple):
    """The next rows of the files, in order; ``rows`` counts rejected and empty ones too."""

    decoded: Decoded
    rows: int


class EventFiles:
    """Iterates over the batches of some files.

    Args:
        files: all are looked at before the first is read, so that a wrong name is not found after an hour.
        source: the input whose mapping and model hold.
        decoder: for lines of JSON.
        allowed_models: models that rows may name; None: any.
        columns: for tables: the column of a field, over the mapping.
        batch_rows: rows decoded at once.

    Raises:
        OperatorError: a file is not there, is damaged, or lacks a column that was asked for.
    """

    def __init__(
        self,
        files: Sequence[Path],
        source: InputSettings,
        decoder: Decoder,
        *,
        allowed_models: frozenset[str] | None,
        columns: Mapping[str, str] | None = None,
        batch_rows: int,
    ) -> None:
        self._files = files
        self._source = source
        self._at = Source(source.topic, 0)
        self._decoder = decoder
        self._tables = TableDecoder(fixed_model=source.model, allowed_models=allowed_models)
        self._columns = dict(columns or {})
        self._batch = batch_rows
        self._row = 0
        for file in files:
            if str(file) != "-" and not file.is_file():
                raise OperatorError(
                    f"{file}: there is no such file.", remedy="Name files of events, or - for stdin."
                )
        for name in self._columns.keys() - FIELDS:
            near = get_close_matches(name, FIELDS, n=1)
            raise OperatorError(
                f"column {name}: no such field{f', did you mean {near[0]}?' if near else '.'}",
                remedy=f"Fields: {', '.join(sorted(FIELDS))}.",
            )
        if self._columns and any(_format(file) == "lines" for file in files):
            raise OperatorError(
                "columns can be named for CSV and Parquet only.",
                remedy="For JSON, give a configuration with inputs[].mapping.",
            )

    def rows(self) -> int | None:
        """How many rows there are; None where that takes reading them."""
        if any(_format(file) != "parquet" for file in self._files):
            return None
        with _read_errors():
            return sum(int(_parquet(file).metadata.num_rows) for file in self._files)

    def __iter__(self) -> Iterator[Batch]:
        read = {"parquet": self._parquet, "csv": self._csv, "lines": self._lines}
        for file in self._files:
            yield from read[_format(file)](file)

    def _offsets(self, rows: int) -> I64:
        offsets = np.arange(self._row, self._row + rows, dtype=np.int64)
        self._row += rows
        return offsets

    # --- formats

    def _lines(self, file: Path) -> Iterator[Batch]:
        with _opened(file) as stream:
            for lines in _guarded(batches(read_lines([stream]), self._batch)):
                yield Batch(self._decoder.decode(chunk_of(lines, self._at, self._row)), len(lines))
                self._row += len(lines)

    def _parquet(self, file: Path) -> Iterator[Batch]:
        from driftline.ingest.decode import arrow

        with _read_errors():
            opened = _parquet(file)
        mapping = self._mapping(file, opened.schema_arrow.names, nested=arrow.is_nested(opened.schema_arrow))
        for batch in _guarded(opened.iter_batches(batch_size=self._batch)):
            offsets = self._offsets(batch.num_rows)
            table = arrow.table_of(batch, mapping, offsets, offsets * ROW_MS)
            yield Batch(self._tables.decode(table, self._at), batch.num_rows)

    def _csv(self, file: Path) -> Iterator[Batch]:
        with (
            _opened(file) as stream,
            io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="") as text,
        ):
            csv.field_size_limit(RECORD_BYTES_MAX)
            reader = csv.reader(text, strict=True)
            lists = _guarded(iter(lambda: list(islice(reader, self._batch)), []))
            header: list[str] | None = None
            mapping = FLAT
            for rows in lists:
                if header is None:
                    header = rows.pop(0)
                    if self._source.mapping is not None and self._source.mapping.probabilities is not None:
                        raise OperatorError(
                            f"{file}: probabilities are an object, which CSV cannot hold.",
                            remedy="Map the class instead.",
                        )
                    mapping = self._mapping(file, header, nested=False)
                yield Batch(self._csv_rows(header, rows, mapping), len(rows))

    def _csv_rows(self, header: list[str], rows: list[list[str]], mapping: FieldMapping) -> Decoded:
        from driftline.ingest.decode.text import text_table

        offsets = self._offsets(len(rows))
        right = np.array([len(row) == len(header) for row in rows], bool)
        empty = np.array([not row for row in rows], bool)
        table = Table(offsets[right], offsets[right] * ROW_MS)
        kept = [row for row, good in zip(rows, right.tolist(), strict=True) if good]
        text_table(table, dict(zip(header, zip(*kept, strict=True), strict=True)) if kept else {}, mapping)
        decoded = self._tables.decode(table, self._at)
        decoded.filtered = int(empty.sum())
        for row in np.flatnonzero(~right & ~empty).tolist():
            detail = f"{len(rows[row])} fields, the header has {len(header)}"
            offset = int(offsets[row])
            decoded.rejects.append(Reject(self._at, offset, offset * ROW_MS, RejectCode.SYNTAX, detail, ""))
        decoded.rejects.sort(key=lambda reject: reject.offset)
        return decoded

    # --- columns

    def _mapping(self, file: Path, names: Sequence[str], *, nested: bool) -> FieldMapping:
        """Which column is which field in this table."""
        if len(set(names)) != len(names):
            raise OperatorError(f"{file}: two columns have the same name.", remedy="Rename one of them.")
        mapping = mapping_of(self._source)
        if mapping is NATIVE and not nested:
            mapping = FLAT
        chosen: dict[str, Any] = {
            "class_" if name == "class" else name: (column,) for name, column in self._columns.items()
        }
        if chosen:
            mapping = replace(mapping, **chosen)
        wanted = [*self._columns.values()]
        if self._source.model is None and mapping.model is not None:
            wanted.append(mapping.model[0])
        if self._source.mapping is not None:
            wanted += [path[0] for path in self._source.mapping.paths().values() if path]
        for column in wanted:
            if column not in names:
                shown = ", ".join(names[:COLUMNS_SHOWN_MAX])
                raise OperatorError(
                    f"{file}: there is no column {column!r}, only {shown}.",
                    remedy="Name the model with --model, or columns with --column FIELD=NAME.",
                )
        return mapping


def _format(file: Path) -> str:
    suffixes = [s.lower() for s in file.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    return {".parquet": "parquet", ".csv": "csv"}.get(suffixes[-1] if suffixes else "", "lines")


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    with ExitStack() as stack:
        if str(file) == "-":
            yield sys.stdin.buffer
        elif file.suffix == ".gz":
            yield stack.enter_context(gzip.open(file, "rb"))  # type: ignore[arg-type]
        else:
            yield stack.enter_context(file.open("rb"))


def _parquet(file: Path) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise OperatorError(
            f"{file}: reading Parquet needs pyarrow.", remedy="pip install 'driftline[files]'"
        ) from error
    # pre_buffer would keep all of the file in memory once it was read.
    return parquet.ParquetFile(file, pre_buffer=False)


T = TypeVar("T")


def _guarded(items: Iterable[T]) -> Iterator[T]:
    """The items; what goes wrong while one is read (not while it is used) is the file's fault."""
    source = iter(items)
    while True:
        with _read_errors():
            try:
                item = next(source)
            except StopIteration:
                return
        yield item


@contextmanager
def _read_errors() -> Iterator[None]:
    """What files do wrong, as an error that names what to do."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, EOFError, ValueError, KeyError, NotImplementedError, csv.Error, zlib.error) as error:
        # Arrow's errors are among these.
        raise OperatorError(f"reading events: {error}.", remedy="Is the file complete?") from error
