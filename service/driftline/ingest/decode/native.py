"""The decoder of native events: scanner first, slow path for what it declines, then blocks.

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
_PADDING: Final = b"\0" * CHUNK_PADDING
_CONTROL_END: Final = 0x20

_ROLES: Final = (  # KEY_SCORE and KEY_CLASS first
    (sj.PREDICTION, "score", sj.ROLE_SCORE),
    (sj.PREDICTION, "class", sj.ROLE_CLASS),
    (sj.PREDICTION, "probabilities", sj.ROLE_PROBABILITIES),
    (sj.TOP, "id", sj.ROLE_ID),
    (sj.TOP, "model", sj.ROLE_MODEL),
    (sj.TOP, "model_version", sj.ROLE_VERSION),
    (sj.TOP, "time", sj.ROLE_TIME),
    (sj.TOP, "features", sj.ROLE_FEATURES),
    (sj.TOP, "prediction", sj.ROLE_PREDICTION),
)


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
    """Decodes chunks of native events.

    Args:
        fixed_model: the model of every record; what records say is ignored. It must match MODEL_ID_PATTERN.
        allowed_models: models that records may name; None: any, up to ``models_max`` in the decoder's life.
        max_event_age_ms: how far an event's time may be behind its record's; None: not judged.
        judge_times: compare event times with record timestamps; not for files, whose records have none.
        Neither are
            they compared where the record timestamp is negative.
        fast: use the scanner. Without it every row takes the slow path, with the same result.
    """

    def __init__(
        self,
        *,
        fixed_model: str | None,
        allowed_models: frozenset[str] | None,
        max_event_age_ms: int | None,
        judge_times: bool = True,
        fast: bool = True,
        models_max: int = MODELS_PER_PARTITION_MAX,
    ) -> None:
        self._rules = Rules(fixed_model, allowed_models, max_event_age_ms, judge_times)
        self._fast = fast
        self._models_max = models_max
        self._models: set[str] = set()
        self._state = np.zeros(st.STATE_SIZE, np.int64)
        self._state[st.STATE_FIXED_MODEL] = -1
        self._state[st.STATE_AGE_MAX] = -1 if max_event_age_ms is None else max_event_age_ms
        if not judge_times:
            self._state[st.STATE_AGE_MAX] = st.TIMES_NOT_JUDGED
        self._keys = st.new_keys()
        self._strings = st.new_strings()
        self._rows = sj.Rows(np.empty((0, sj.ROW_INTS), np.int64), np.empty(0, np.uint64))
        self._cells = _new_cells(_CELLS_START)
        self._key_numbers: dict[tuple[int, str], int] = {}
        self._columns: list[Column | None] = []
        self._order: KeyOrder | None = None
        self._extra_keys: dict[tuple[int, str], int] = {}
        self._string_numbers: dict[str, int] = {}
        self._extra_strings: dict[str, int] = {}
        self._texts: Texts = _DecoderTexts(self._strings)
        for space, name, role in _ROLES:
            ignored = role == sj.ROLE_MODEL and fixed_model is not None
            self._teach(space, name, sj.ROLE_IGNORED if ignored else role)
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
        rejects: list[Reject] = []
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
                    rejects.append(reject)
            self._state[st.STATE_ROW] = row + 1
        for name, at in (
            ("invalid", st.STATE_INVALID),
            ("no_id", st.STATE_NO_ID),
            ("bad_name", st.STATE_BAD_NAME),
        ):
            if self._state[at]:
                counts[name] += int(self._state[at])
        rows = sj.Rows(self._rows.ints[:n], self._rows.ids[:n])
        used = int(self._state[st.STATE_CELLS])
        cells = sj.Cells(self._cells.key[:used], self._cells.tag[:used], self._cells.value[:used])
        blocks, dropped = build_blocks(
            arrays, rows, cells, self._key_order(), self._strings_end(), self._texts
        )
        if dropped:
            counts["features_limit"] += dropped
        accepted = np.bincount(arrays.source[rows.ints[:, sj.ROW_MODEL] >= 0], minlength=len(chunk.sources))
        return Decoded(blocks, rejects, filtered, accepted.astype(np.int64, copy=False), counts, slow_rows)

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
        for at in (st.STATE_ROW, st.STATE_CELLS, st.STATE_INVALID, st.STATE_NO_ID, st.STATE_BAD_NAME):
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
            found = judge(raw, time, self._rules)
            self._admit(found.model)
        except Refused as refused:
            self._skip(row)
            return _reject(
                chunk.sources[int(arrays.source[row])], int(arrays.offsets[row]), time, refused, raw
            )
        self._keep(row, found)
        counts.update(found.counts)
        for name in found.nested:
            key = f"nested:{name}"
            counts[key if key in counts or _nested_names(counts) < NESTED_NAMES_MAX else "nested:*"] += 1
        return None

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
        model = self._string(found.model, st.FLAG_MODEL)
        version = -1 if found.version is None else self._string(found.version, st.FLAG_VERSION)
        self._rows.ints[row] = (model, version, found.event_time, end)
        self._rows.ids[row] = hash_id(found.id)
        for space, name in found.ignored:
            if (space, name) not in self._key_numbers:
                self._teach(
                    space, name, sj.ROLE_PROBABILITY if space == sj.PROBABILITIES else sj.ROLE_IGNORED
                )
        for space, name in found.bad_names:
            if (space, name) not in self._key_numbers:
                self._teach(space, name, sj.ROLE_BAD)

    # --- keys

    def _key(self, cell: SlowCell) -> int:
        key = (cell.space, cell.name)
        number = self._key_numbers.get(key)
        if number is None and self._teach(cell.space, cell.name, sj.ROLE_FEATURE):
            number = self._key_numbers[key]
        if number is None:  # the table is full: a number for this chunk only
            number = self._extra_keys.get(key)
            if number is None:
                number = self._extra_keys[key] = len(self._columns)
                self._columns.append(Column(ColumnKind.FEATURE, cell.name))
                self._order = None
        return number

    def _teach(self, space: int, name: str, role: int) -> bool:
        """Adds a key to the scanner's table, if it has room and the key can stand in a record as it is."""
        try:
            data = name.encode()
        except UnicodeEncodeError:
            return False
        if self._extra_keys or b'"' in data or b"\\" in data or any(c < _CONTROL_END for c in data):
            return False
        number = int(st.add_key(_padded(data), len(data), space, role, self._keys, self._state))
        if number < 0:
            return False
        self._key_numbers[space, name] = number
        column = None
        if role == sj.ROLE_FEATURE:
            column = Column(ColumnKind.FEATURE, name)
        elif role in (sj.ROLE_SCORE, sj.ROLE_CLASS):
            column = Column(ColumnKind.SCORE if role == sj.ROLE_SCORE else ColumnKind.CLASS, "")
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


def _nested_names(counts: Counter[str]) -> int:
    return sum(name.startswith("nested:") for name in counts)


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


def _reject(source: Source, offset: int, time: int, refused: Refused, raw: bytes) -> Reject:
    return Reject(source, offset, time, refused.code, refused.detail, hashlib.sha256(raw).hexdigest()[:32])


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
