"""The decoder of JSON events and labels: scanner first, slow path for what it declines, then blocks.

Owns the tables that the scanner reads: which keys exist, which strings were seen, which of them are models in
use. Both paths feed the same stream of cells in row order, so blocks cannot tell them apart. A decoder is for
one thread at a time and keeps nothing of a chunk but its tables, which are bounded.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt

from driftline.detect.kernels import scan_json as sj
from driftline.detect.kernels import scan_tables as st
from driftline.errors import BugError
from driftline.ingest.columns import ChunkArrays, KeyOrder, Texts, build_blocks, chunk_arrays, frozen
from driftline.ingest.decode.base import Decoded
from driftline.ingest.decode.labels import ROW_COUNTS, unusable
from driftline.ingest.decode.mapping import NATIVE, FieldMapping, Leaf, Tree
from driftline.ingest.decode.slow import Refused, Rules, SlowCell, SlowRow, judge
from driftline.records import (
    CHUNK_PADDING,
    MODELS_PER_PARTITION_MAX,
    Column,
    ColumnKind,
    RecordChunk,
    Reject,
    RejectCode,
    Source,
    Tag,
)

NESTED_NAMES_MAX: Final = 100  # names counted apart in one chunk; the rest is counted as nested:*
_CELLS_START: Final = 1 << 16
_PREDICTIONS: Final = {  # in the order of their keys
    sj.ROLE_SCORE: ColumnKind.SCORE,
    sj.ROLE_CLASS: ColumnKind.CLASS,
    sj.ROLE_CONFIDENCE: ColumnKind.CONFIDENCE,
    sj.ROLE_ENTROPY: ColumnKind.ENTROPY,
}
_PADDING: Final = b"\0" * CHUNK_PADDING
_CONTROL_END: Final = 0x20


def _padded(data: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(data + _PADDING, np.uint8)


def hash_id(data: bytes) -> int:
    """The 64-bit hash of an event id's UTF-8 bytes, as it stands in blocks; 0 for an empty id (none)."""
    return int(st.hash_array(_padded(data), len(data))) if data else 0


class _DecoderTexts(Texts):
    """Texts of interned strings, read back from the table once each."""

    def __init__(self, strings: st.Strings) -> None:
        super().__init__()
        self._bytes = strings.words.view(np.uint8)
        self._entries = strings.entries

    def __missing__(self, number: int) -> str:
        entry = self._entries[number]
        start = 8 * int(entry[st.STRING_AT])
        text = self._bytes[start : start + int(entry[st.STRING_SIZE])].tobytes().decode()
        self[number] = text
        return text


class NativeDecoder:
    """Decodes chunks of JSON events.

    Args:
        fixed_model: the model of every record; what records say is ignored. It must match MODEL_ID_PATTERN.
        allowed_models: models that records may name; None: any, up to ``models_max`` in the decoder's life.
        max_event_age_ms: how far an event's time may be behind its record's; None: not judged.
        judge_times: compare event times with record timestamps; not for files, whose records have none.
            Neither are they compared where the record timestamp is negative.
        mapping: where the fields of an event are.
        fast: use the scanner. Without it every row takes the slow path, with the same result.
    """

    def __init__(
        self,
        *,
        fixed_model: str | None,
        allowed_models: frozenset[str] | None,
        max_event_age_ms: int | None,
        judge_times: bool = True,
        mapping: FieldMapping = NATIVE,
        fast: bool = True,
        models_max: int = MODELS_PER_PARTITION_MAX,
    ) -> None:
        self._rules = Rules(fixed_model, allowed_models, max_event_age_ms, judge_times, mapping)
        self._tree = Tree(mapping, model_fixed=fixed_model is not None)
        self._fast = fast
        self._models_max = models_max
        self._models: set[str] = set()
        self._state = np.zeros(st.STATE_SIZE, np.int64)
        self._state[st.STATE_FIXED_MODEL] = -1
        self._state[st.STATE_DISTRIBUTION] = self._tree.distribution
        self._state[st.STATE_AGE_MAX] = -1 if max_event_age_ms is None else max_event_age_ms
        if not judge_times:
            self._state[st.STATE_AGE_MAX] = st.TIMES_NOT_JUDGED
        elements = self._tree.elements()
        self._keys = st.new_keys(len(self._tree.spaces), len(elements))
        self._strings = st.new_strings()
        self._rows = sj.Rows(np.empty((0, sj.ROW_INTS), np.int64), np.empty(0, np.uint64))
        self._cells = _new_cells(_CELLS_START)
        self._key_numbers: dict[tuple[int, str], int] = {}  # by space and name
        self._cell_keys: dict[tuple[int, str], int] = {}  # the key of a column
        self._columns: list[Column | None] = []  # by key
        self._order: KeyOrder | None = None
        self._extra_keys: dict[tuple[int, str], int] = {}
        self._string_numbers: dict[str, int] = {}
        self._extra_strings: dict[str, int] = {}
        self._texts: Texts = _DecoderTexts(self._strings)
        self._teach_tree(elements)
        self._fix_model()

    def decode(self, chunk: RecordChunk) -> Decoded:
        """Decodes a chunk.

        Raises:
            BugError: the chunk's records do not lie within its buffer, less the padding.
        """
        arrays = _checked(chunk)
        n = len(chunk)
        self._begin(n)
        counts: Counter[str] = Counter()
        rejects: dict[int, Reject] = {}  # by row
        filtered = slow_rows = 0
        while (row := self._scan(arrays)) != n:
            if row < 0:
                self._grow(2 * len(self._cells.key) + int(arrays.ends[-1 - row] - arrays.starts[-1 - row]))
                continue
            if arrays.starts[row] < 0:
                filtered += 1
                self._skip(row)
            else:
                slow_rows += 1
                reject = self._judge(chunk, arrays, row, counts)
                if reject is not None:
                    rejects[row] = reject
            self._state[st.STATE_ROW] = row + 1
        for name, at in (
            ("invalid", st.STATE_INVALID),
            ("no_id", st.STATE_NO_ID),
            ("bad_name", st.STATE_BAD_NAME),
            ("bad_probabilities", st.STATE_BAD_PROBABILITIES),
        ):
            if self._state[at]:
                counts[name] += int(self._state[at])
        rows = sj.Rows(self._rows.ints[:n], self._rows.ids[:n])
        used = int(self._state[st.STATE_CELLS])
        cells = sj.Cells(self._cells.key[:used], self._cells.tag[:used], self._cells.value[:used])
        if self._rules.mapping.label is not None:
            for row, refused in unusable(rows, cells, self._columns):
                rejects[row] = self._refuse(chunk, arrays, row, refused)
            counts = Counter({name: counts[name] for name in ROW_COUNTS if counts[name]})
        elif self._state[st.STATE_NESTED]:
            self._count_nested(cells, counts)
        blocks, dropped = build_blocks(
            arrays, rows, cells, self._key_order(), self._strings_end(), self._texts
        )
        if dropped:
            counts["features_limit"] += dropped
        accepted = np.bincount(arrays.source[rows.ints[:, sj.ROW_MODEL] >= 0], minlength=len(chunk.sources))
        in_order = [rejects[row] for row in sorted(rejects)]
        return Decoded(blocks, in_order, filtered, accepted.astype(np.int64, copy=False), counts, slow_rows)

    # --- a chunk's life

    def _begin(self, n: int) -> None:
        state = self._state
        if (
            self._extra_strings
            or state[st.STATE_FULL]
            or 2 * state[st.STATE_STRINGS] > st.STRINGS_MAX
            or 2 * state[st.STATE_STRING_WORDS] > st.STRING_WORDS_MAX
        ):
            self._reset_strings()
        if self._extra_keys:
            del self._columns[len(self._key_numbers) :]
            self._extra_keys.clear()
            self._order = None
        if len(self._rows.ids) < n:
            self._rows = sj.Rows(np.empty((n, sj.ROW_INTS), np.int64), np.empty(n, np.uint64))
        for at in (
            st.STATE_ROW,
            st.STATE_CELLS,
            st.STATE_INVALID,
            st.STATE_NO_ID,
            st.STATE_BAD_NAME,
            st.STATE_BAD_PROBABILITIES,
            st.STATE_NESTED,
        ):
            state[at] = 0

    def _reset_strings(self) -> None:
        self._strings.table.fill(-1)
        self._state[st.STATE_STRINGS] = self._state[st.STATE_STRING_WORDS] = self._state[st.STATE_FULL] = 0
        self._string_numbers.clear()
        self._extra_strings.clear()
        self._texts.clear()
        self._fix_model()

    def _fix_model(self) -> None:
        if self._rules.fixed_model is not None:
            self._state[st.STATE_FIXED_MODEL] = self._string(self._rules.fixed_model)

    def _scan(self, arrays: ChunkArrays) -> int:
        if not self._fast:
            return int(self._state[st.STATE_ROW])
        return int(
            sj.scan_rows(
                arrays.buf,
                arrays.starts,
                arrays.ends,
                arrays.timestamps,
                *self._keys,
                *self._strings,
                *self._rows,
                *self._cells,
                self._state,
            )
        )

    def _grow(self, capacity: int) -> None:
        old, new = self._cells, _new_cells(capacity)
        used = int(self._state[st.STATE_CELLS])
        new.key[:used] = old.key[:used]
        new.tag[:used] = old.tag[:used]
        new.value[:used] = old.value[:used]
        self._cells = new

    # --- the slow path

    def _skip(self, row: int) -> None:
        self._rows.ints[row] = (-1, -1, 0, self._state[st.STATE_CELLS])
        self._rows.ids[row] = 0

    def _judge(
        self, chunk: RecordChunk, arrays: ChunkArrays, row: int, counts: Counter[str]
    ) -> Reject | None:
        """Decides about one record; keeps it and learns from it, or says why not."""
        raw = arrays.buf[arrays.starts[row] : arrays.ends[row]].tobytes()
        time = int(arrays.timestamps[row])
        try:
            found = judge(raw, time, self._rules, self._tree)
            self._admit(found.model)
        except Refused as refused:
            self._skip(row)
            return self._refuse(chunk, arrays, row, refused)
        self._keep(row, found)
        counts.update(found.counts)
        return None

    @staticmethod
    def _refuse(chunk: RecordChunk, arrays: ChunkArrays, row: int, refused: Refused) -> Reject:
        raw = arrays.buf[arrays.starts[row] : arrays.ends[row]].tobytes()
        digest = hashlib.sha256(raw).hexdigest()[:32]
        return Reject(
            chunk.sources[int(arrays.source[row])],
            int(arrays.offsets[row]),
            int(arrays.timestamps[row]),
            refused.code,
            refused.detail,
            digest,
        )

    def _count_nested(self, cells: sj.Cells, counts: Counter[str]) -> None:
        keys, first, times = np.unique(
            cells.key[cells.tag == Tag.NESTED], return_index=True, return_counts=True
        )
        for place, i in enumerate(
            np.argsort(first).tolist()
        ):  # in the order of the records, whichever path they took
            column = self._columns[int(keys[i])]
            assert column is not None  # keys without a column are never in a cell
            feature = column.kind is ColumnKind.FEATURE
            name = column.name if feature else f"prediction.{column.kind.name.lower()}"
            counts[f"nested:{name}" if place < NESTED_NAMES_MAX else "nested:*"] += int(times[i])

    def _admit(self, model: str) -> None:
        if self._rules.fixed_model is not None or model in self._models:
            return
        if self._rules.allowed_models is None and len(self._models) >= self._models_max:
            raise Refused(RejectCode.MODEL_LIMIT, f"more than {self._models_max} models")
        self._models.add(model)

    def _keep(self, row: int, found: SlowRow) -> None:
        count = len(found.cells)
        start = int(self._state[st.STATE_CELLS])
        if start + count > len(self._cells.key):
            self._grow(2 * (start + count))
        end = start + count
        cells = self._cells
        cells.key[start:end] = [self._key(cell) for cell in found.cells]
        cells.tag[start:end] = [cell.tag.value for cell in found.cells]
        cells.value[start:end] = [
            cell.value if cell.tag is not Tag.STRING else self._string(str(cell.value))
            for cell in found.cells
        ]
        self._state[st.STATE_CELLS] = end
        self._state[st.STATE_NESTED] += int(np.count_nonzero(cells.tag[start:end] == Tag.NESTED))
        model = self._string(found.model, st.FLAG_MODEL)
        version = -1 if found.version is None else self._string(found.version, st.FLAG_VERSION)
        self._rows.ints[row] = (model, version, found.event_time, end)
        self._rows.ids[row] = hash_id(found.id)
        for space, name in found.ignored:
            if (space, name) not in self._key_numbers:
                self._teach(space, name, Leaf(self._tree.spaces[space].other))
        for space, name in found.bad_names:
            if (space, name) not in self._key_numbers:
                self._teach(space, name, Leaf(sj.ROLE_BAD))

    # --- keys

    def _teach_tree(self, elements: list[tuple[int, int, str]]) -> None:
        """Teaches the names of the tree, those of predictions first: they are KEY_SCORE to KEY_ENTROPY."""
        spaces = self._tree.spaces
        listed = [(at, name, leaf) for at, space in enumerate(spaces) for name, leaf in space.names.items()]
        for role in _PREDICTIONS:
            known = next(((at, name) for at, name, leaf in listed if leaf.role == role), None)
            if known is None or not self._teach(*known, Leaf(role)):
                self._teach(len(spaces), str(role), Leaf(role))  # a space that no record has
        for at, name, leaf in listed:
            if leaf.role not in _PREDICTIONS:
                self._teach(at, name, leaf)
        table = self._keys.spaces
        table[:, st.SPACE_PARENT] = [space.parent for space in spaces]
        for at, space in enumerate(spaces):  # parents come first
            table[at, st.SPACE_DEPTH] = 1 + (table[space.parent, st.SPACE_DEPTH] if at else 0)
        for row, (at, index, name) in enumerate(elements):
            self._keys.elements[row] = (index, self._key_numbers[at, name])
            if table[at, st.SPACE_LAST] == 0:
                table[at, st.SPACE_FIRST] = row
            table[at, st.SPACE_LAST] = row + 1

    def _key(self, cell: SlowCell) -> int:
        key = (cell.kind, cell.name)
        number = self._cell_keys.get(key)
        if number is None and self._is_member(cell.name):
            self._teach(self._tree.features or 0, cell.name, Leaf(sj.ROLE_FEATURE, feature=cell.name))
            number = self._cell_keys.get(key)
        if number is None:  # the table is full or cannot hold it: a number for this chunk only
            number = self._extra_keys.get(key)
            if number is None:
                number = self._extra_keys[key] = len(self._columns)
                self._columns.append(Column(ColumnKind(cell.kind), cell.name))
                self._order = None
        return number

    def _is_member(self, feature: str) -> bool:
        """Whether a feature of this name is a member of the features' object."""
        at = self._tree.features
        return at is not None and feature not in self._tree.spaces[at].names

    def _teach(self, space: int, name: str, leaf: Leaf) -> bool:
        """Adds a key to the scanner's table, if it has room and the key can stand in a record as it is."""
        try:
            data = name.encode()
        except UnicodeEncodeError:
            return False
        if self._extra_keys or b'"' in data or b"\\" in data or any(c < _CONTROL_END for c in data):
            return False
        number = int(st.add_key(_padded(data), len(data), space, leaf.role, self._keys, self._state))
        if number < 0:
            return False
        self._keys.entries[number, st.KEY_CHILD] = leaf.child
        self._key_numbers[space, name] = number
        column = None
        if leaf.role == sj.ROLE_FEATURE:
            column = Column(ColumnKind.LABEL if leaf.label else ColumnKind.FEATURE, leaf.feature)
        elif leaf.role in _PREDICTIONS:
            column = Column(_PREDICTIONS[leaf.role], "")
        if column is not None:
            self._cell_keys[int(column.kind), column.name] = number
        self._columns.append(column)
        self._order = None
        return True

    def _key_order(self) -> KeyOrder:
        if self._order is None:
            self._order = KeyOrder.of(self._columns)
        return self._order

    # --- strings

    def _string(self, text: str, flag: int = 0) -> int:
        number = self._string_numbers.get(text)
        if number is None:
            number = self._extra_strings.get(text)
        if number is None:
            data = text.encode()
            number = int(st.add_string(_padded(data), len(data), self._strings, self._state))
            if number >= 0:
                self._string_numbers[text] = number
            else:  # the table is full: a number for this chunk only
                number = self._extra_strings[text] = st.STRINGS_MAX + len(self._extra_strings)
                self._texts[number] = text
        if flag and number < st.STRINGS_MAX:
            self._strings.entries[number, st.STRING_FLAGS] |= flag
        return number

    def _strings_end(self) -> int:
        extra = len(self._extra_strings)
        return st.STRINGS_MAX + extra if extra else int(self._state[st.STATE_STRINGS])


def _new_cells(capacity: int) -> sj.Cells:
    return sj.Cells(
        np.empty(capacity, np.int32), np.empty(capacity, np.uint8), np.empty(capacity, np.float64)
    )


def _checked(chunk: RecordChunk) -> ChunkArrays:
    arrays = chunk_arrays(chunk)
    n = len(arrays.starts)
    if any(len(a) != n for a in arrays[2:]):
        raise BugError("a chunk's arrays differ in length")
    if n:
        filled = arrays.starts >= 0
        readable = len(arrays.buf) - CHUNK_PADDING
        if (filled & ((arrays.ends < arrays.starts) | (arrays.ends > readable))).any():
            raise BugError("a chunk's records do not lie within its buffer and padding")
        if int(arrays.source.min()) < 0 or int(arrays.source.max()) >= len(chunk.sources):
            raise BugError("a chunk names a source that it does not list")
    return arrays


def warm() -> None:
    """Compiles every kernel of decoding with the types that it is called with."""
    decoder = NativeDecoder(fixed_model=None, allowed_models=None, max_event_age_ms=None)
    event = (
        b'{"id":"1","model":"m","time":"2026-01-01T00:00:00Z","features":{"a":1.5,"b":"x"},"prediction":0.5}'
    )
    deep = b'{"a":[[],[],[],[],[],[],[],[]]}'
    values = [event, event, deep]
    ends = np.cumsum([len(v) for v in values])
    buf = np.frombuffer(b"".join(values) + _PADDING, np.uint8)
    lengths = np.array([len(v) for v in values])
    zeros = np.zeros(len(values), np.int64)
    chunk = RecordChunk(
        buf, ends - lengths, ends, zeros, np.arange(len(values)), zeros - 1, (Source("warm", 0),)
    )
    decoder.decode(chunk)
    frozen(buf, np.uint8)
