"""Envelopes as bytes: the records of the mailbox topic. The tables of the layout are in docs/envelope.md.

Owns the layout, its checks, and how an envelope that is too large is cut. Everything is little-endian; every
array begins at a multiple of 8 from the start, so unpacking makes read-only views and no copies. Nothing of
an envelope is believed before it is checked: sizes before a view is made, content before a block is handed
out. Pure: bytes in, values out; it must not know Kafka.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from driftline.detect.kernels.columns import check_block
from driftline.errors import BugError, MessageError
from driftline.ingest.columns import take_rows
from driftline.records import (
    COMMAND_BYTES_MAX,
    ENVELOPE_BYTES_MAX,
    FEATURES_MAX,
    MODEL_ID_PATTERN,
    NAME_CHARS_MAX,
    VERSION_MARK,
    Block,
    Column,
    ColumnKind,
    Command,
    Envelope,
    Progress,
    Source,
)

MAGIC: Final = b"DLE1"
# Written is the least version that can hold the blocks: an older worker can read it.
VERSION: Final = 3
VERSION_OF_LABELS: Final = 2
VERSION_FIRST: Final = 1
COLUMNS_MAX: Final = FEATURES_MAX + 4  # and a score, a class, a confidence and an entropy
PROGRESS_MAX: Final = 10_000  # raw partitions of one deployment
BLOCKS_MAX: Final = 10_000  # 1,000 models a mailbox partition, several chunks of a model in one flush
TOPIC_BYTES_MAX: Final = 249  # Kafka's own limit
SCHEMAS_CACHED_MAX: Final = 1_024  # parsed schemas: one a model and mailbox partition
SCHEMA_CACHED_BYTES_MAX: Final = 1 << 16  # larger ones are parsed each time, which bounds the cache to 64 MiB

# A block's fields that numpy checks: what check_block returns.
BLOCK_FAULTS: Final = (
    "",
    "a row names a source that the envelope does not list",
    "a row's offset is not in the range that the envelope declares",
    "a row names a version that is not listed",
    "rows are not ordered by (record time, source, offset)",
    "a value does not fit its tag",
    "a string cell points outside its column's dictionary",
    "unknown tag",
)

_START: Final = struct.Struct("<4sHHI")  # magic, version, 0, CRC-32C of everything behind it
_HEADER: Final = struct.Struct("<IHHHHI")  # length, producer bytes, progress entries, blocks, 0, commands
_PROGRESS: Final = struct.Struct(
    "<qqqqiIHH"
)  # prev_hi, lo, hi, record_time_max, partition, flags, topic, topic id
_BLOCK: Final = struct.Struct("<IIHHIIIII")  # length, rows, columns, model, schema, versions, words, text, 0
_COLUMN: Final = struct.Struct("<BH")  # kind, name bytes
_COMMAND: Final = struct.Struct("<qqIHH")  # record time, offset, body bytes, source, model bytes
_MODEL_ID: Final = re.compile(MODEL_ID_PATTERN)
_PADS: Final = tuple(bytes(n) for n in range(8))
_I64: Final = np.dtype("<i8")
_U64: Final = np.dtype("<u8")
_I32: Final = np.dtype("<i4")
_U32: Final = np.dtype("<u4")
_F64: Final = np.dtype("<f8")
_U8: Final = np.dtype("u1")


def mailbox_partition(model: str, partitions: int) -> int:
    """Mailbox partition of a model: CRC-32C of its id in UTF-8, modulo the number of partitions.

    A version's model (``credit-risk::3``) is where its model is: only the part before ``::`` counts.

    Part of the stored state's identity: it must never change (golden values in the tests).

    Raises:
        ValueError: ``partitions`` is not positive.
    """
    if partitions < 1:
        raise ValueError(f"partitions must be at least 1, not {partitions}")
    return int(google_crc32c.value(model.partition(VERSION_MARK)[0].encode())) % partitions


# --- packing


def pack(envelope: Envelope) -> bytes:
    """The bytes of an envelope.

    Raises:
        BugError: it is larger than ENVELOPE_BYTES_MAX (``split`` it first) or a block's arrays do not fit
        together.
    """
    if len(envelope.progress) > PROGRESS_MAX or len(envelope.blocks) > BLOCKS_MAX:
        raise BugError(
            f"an envelope has {len(envelope.progress)} progress entries, {len(envelope.blocks)} blocks"
        )
    producer = envelope.producer.encode()
    parts = [producer]
    size = _START.size + _HEADER.size + len(producer)
    for entry in envelope.progress:
        topic, topic_id = entry.source.topic.encode(), entry.topic_id.encode()
        fixed = (
            entry.prev_hi,
            entry.lo,
            entry.hi,
            entry.record_time_max,
            entry.source.partition,
            entry.flags,
        )
        parts += (_PROGRESS.pack(*fixed, len(topic), len(topic_id)), topic, topic_id)
        size += _PROGRESS.size + len(topic) + len(topic_id)
    parts.append(_PADS[-size % 8])
    size += -size % 8
    for block in envelope.blocks:
        size += _pack_block(block, parts)
    for command in envelope.commands:
        model = command.model.encode()
        fixed_size = _COMMAND.size + len(model) + len(command.body)
        frame = _COMMAND.pack(
            command.record_time, command.offset, len(command.body), command.source, len(model)
        )
        parts += (frame, model, command.body, _PADS[-fixed_size % 8])
        size += fixed_size + -fixed_size % 8
    if size > ENVELOPE_BYTES_MAX:
        raise BugError(f"an envelope of {size} bytes exceeds {ENVELOPE_BYTES_MAX}: it was not split")
    counts = (len(producer), len(envelope.progress), len(envelope.blocks), 0, len(envelope.commands))
    body = b"".join((_HEADER.pack(size, *counts), *parts))
    version = max((_version_of(b) for b in envelope.blocks), default=VERSION_FIRST)
    return _START.pack(MAGIC, version, 0, google_crc32c.value(body)) + body


def _pack_block(block: Block, parts: list[bytes]) -> int:
    """Appends a block's bytes; returns how many."""
    rows, width = len(block), len(block.columns)
    model = block.model.encode()
    schema = b"".join([_column_bytes(column.kind, column.name) for column in block.columns])
    words = [word for column in block.columns if column.strings for word in column.strings]
    words += block.versions
    text = "".join(words).encode()
    lengths = [len(word) for word in words]
    if sum(lengths) != len(text):
        lengths = [len(word.encode()) for word in words]
    numbers = struct.pack(f"<{width + len(words)}I", *(len(c.strings) for c in block.columns), *lengths)
    names = len(model) + len(schema)
    dictionary = len(numbers) + len(text)
    arrays = (
        (block.values, _F64, width * rows),
        (block.event_time, _I64, rows),
        (block.record_time, _I64, rows),
        (block.offset, _I64, rows),
        (block.id_hash, _U64, rows),
        (block.source, _I32, rows),
        (block.version, _I32, rows),
        (block.tags, _U8, width * rows),
    )
    size = _BLOCK.size + names + -names % 8 + dictionary + -dictionary % 8
    at = len(parts)
    parts += (b"", model, schema, _PADS[-names % 8], numbers, text, _PADS[-dictionary % 8])
    for array, dtype, count in arrays:
        if array.dtype != dtype or array.size != count:
            raise BugError(f"a block's array is {array.dtype} of {array.size}, not {dtype} of {count}")
        data = array.tobytes()
        parts += (data, _PADS[-len(data) % 8])
        size += len(data) + -len(data) % 8
    parts[at] = _BLOCK.pack(
        size, rows, width, len(model), len(schema), len(block.versions), len(words), len(text), 0
    )
    return size


def _version_of(block: Block) -> int:
    """The first version that can hold a block."""
    last = max((column.kind for column in block.columns), default=ColumnKind.FEATURE)
    if last is ColumnKind.LABEL:
        return VERSION_OF_LABELS
    return VERSION if last > ColumnKind.LABEL else VERSION_FIRST


@lru_cache(maxsize=8_192)  # a few models' columns
def _column_bytes(kind: ColumnKind, name: str) -> bytes:
    data = name.encode()
    return _COLUMN.pack(kind, len(data)) + data


# --- unpacking


class _Reader:
    """Takes sections off the front of an envelope; never reads outside it."""

    __slots__ = ("_data", "at", "end")

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at
        self.end = len(data)

    def fields(self, layout: struct.Struct, what: str) -> tuple[Any, ...]:
        at = self.at
        self.at += layout.size
        if self.at > self.end:
            raise MessageError(f"envelope: {what} at byte {at} is cut short")
        return layout.unpack_from(self._data, at)

    def raw(self, size: int, what: str) -> bytes:
        at = self.at
        self.at += size
        if self.at > self.end:
            raise MessageError(f"envelope: {what} at byte {at} is cut short")
        return self._data[at : self.at]

    def text(self, size: int, what: str) -> str:
        try:
            return self.raw(size, what).decode()
        except UnicodeDecodeError as error:
            raise MessageError(f"envelope: {what} is not UTF-8") from error

    def align(self) -> None:
        pad = -self.at % 8
        if self.raw(pad, "padding") != _PADS[pad]:
            raise MessageError(f"envelope: padding before byte {self.at} is not zero")

    def array(self, dtype: np.dtype[Any], count: int, what: str) -> npt.NDArray[Any]:
        size = dtype.itemsize * count
        at = self.at
        if at + size > self.end:
            raise MessageError(f"envelope: {what} at byte {at} is cut short")
        self.at = at + size
        if size % 8:
            self.align()
        return np.frombuffer(self._data, dtype, count, at)


def unpack(value: bytes) -> Envelope:
    """The envelope that ``value`` holds; its arrays are read-only views of ``value``.

    Raises:
        MessageError: it is not an envelope of this version, is damaged, or contradicts itself; says what.
    """
    value = bytes(value)  # no copy of bytes; other buffers may be unaligned or change under the views
    if len(value) > ENVELOPE_BYTES_MAX:
        raise MessageError(f"envelope: {len(value)} bytes exceed {ENVELOPE_BYTES_MAX}")
    reader = _Reader(value, 0)
    magic, version, zero, crc = reader.fields(_START, "start")
    if magic != MAGIC or zero != 0:
        raise MessageError("envelope: not one (wrong first bytes)")
    if not VERSION_FIRST <= version <= VERSION:
        raise MessageError(
            f"envelope: version {version}, this release reads up to {VERSION}.", remedy="Upgrade the worker."
        )
    if google_crc32c.value(value[_START.size :]) != crc:
        raise MessageError("envelope: the checksum does not match")
    length, producer_bytes, entries, blocks, zero, commands = reader.fields(_HEADER, "header")
    if length != len(value) or zero != 0:
        raise MessageError(f"envelope: declares {length} bytes, has {len(value)}")
    if entries > PROGRESS_MAX or blocks > BLOCKS_MAX:
        raise MessageError(f"envelope: {entries} progress entries, {blocks} blocks: more than is allowed")
    producer = reader.text(producer_bytes, "producer")
    progress = tuple([_progress(reader) for _ in range(entries)])
    reader.align()
    lo = np.array([entry.lo for entry in progress], np.int64)
    hi = np.array([entry.hi for entry in progress], np.int64)
    found = Envelope(
        producer,
        progress,
        tuple([_block(reader, lo, hi) for _ in range(blocks)]),
        tuple([_command(reader, progress) for _ in range(commands)]),
    )
    if reader.at != len(value):
        raise MessageError(f"envelope: {len(value) - reader.at} bytes too many")
    if any(_version_of(block) > version for block in found.blocks):
        raise MessageError(f"envelope: version {version} has no such columns")
    return found


def _progress(reader: _Reader) -> Progress:
    prev_hi, lo, hi, time_max, partition, flags, topic, topic_id = reader.fields(_PROGRESS, "progress")
    if topic > TOPIC_BYTES_MAX or topic_id > TOPIC_BYTES_MAX:
        raise MessageError("envelope: a topic's name is too long")
    source = Source(reader.text(topic, "topic"), partition)
    if lo <= prev_hi or hi < lo - 1:
        raise MessageError(
            f"envelope: progress of {source.topic}[{partition}] {prev_hi} < {lo}..{hi} is no range"
        )
    return Progress(source, reader.text(topic_id, "topic id"), prev_hi, lo, hi, flags, time_max)


def _parse_schema(schema: bytes) -> tuple[Column, ...]:
    columns: list[Column] = []
    reader = _Reader(schema, 0)
    while reader.at < len(schema):
        kind, size = reader.fields(_COLUMN, "column")
        name = reader.text(size, "column name")
        if kind not in _KINDS or len(name) > NAME_CHARS_MAX:
            raise MessageError(f"envelope: a column of unknown kind {kind} or with too long a name")
        columns.append(Column(_KINDS[kind], name))
    if len({(c.kind, c.name) for c in columns}) != len(columns):
        raise MessageError("envelope: a block has a column twice")
    return tuple(columns)


_KINDS: Final = {int(kind): kind for kind in ColumnKind}
_interned_schema = lru_cache(maxsize=SCHEMAS_CACHED_MAX)(_parse_schema)


def _words(reader: _Reader, lengths: list[int], size: int) -> list[str]:
    """``len(lengths)`` strings out of ``size`` bytes of text."""
    data = reader.raw(size, "dictionary")
    if sum(lengths) != size:
        raise MessageError(f"envelope: dictionary of {size} bytes, its strings have {sum(lengths)}")
    try:
        text = data.decode()
        if len(text) == size:
            return [text[a:b] for a, b in pairwise(accumulate(lengths, initial=0))]
        return [data[a:b].decode() for a, b in pairwise(accumulate(lengths, initial=0))]
    except UnicodeDecodeError as error:
        raise MessageError("envelope: dictionary is not UTF-8") from error


def _block(reader: _Reader, lo: npt.NDArray[np.int64], hi: npt.NDArray[np.int64]) -> Block:
    start = reader.at
    size, rows, width, model_bytes, schema_bytes, versions, words, text, zero = reader.fields(_BLOCK, "block")
    if rows == 0 or width > COLUMNS_MAX or versions > words or zero != 0:
        raise MessageError(
            f"envelope: block at byte {start}: {rows} rows, {width} columns, {versions} versions"
        )
    model = _model(reader, model_bytes)
    schema = reader.raw(schema_bytes, "schema")
    columns = (_interned_schema if schema_bytes <= SCHEMA_CACHED_BYTES_MAX else _parse_schema)(schema)
    if len(columns) != width:
        raise MessageError(f"envelope: block at byte {start} declares {width} columns, lists {len(columns)}")
    reader.align()
    if 4 * (width + words) > reader.end - reader.at:
        raise MessageError(f"envelope: dictionary at byte {reader.at} is cut short")
    counts = np.frombuffer(reader.raw(4 * width, "dictionary"), _U32)
    dictionary_sizes: list[int] = counts.tolist()
    if sum(dictionary_sizes) + versions != words:
        raise MessageError(f"envelope: block at byte {start}: dictionaries do not add up to {words} strings")
    strings = _words(reader, np.frombuffer(reader.raw(4 * words, "dictionary"), _U32).tolist(), text)
    reader.align()
    cells = width * rows
    values = reader.array(_F64, cells, "values").reshape(width, rows)
    event_time = reader.array(_I64, rows, "event times")
    record_time = reader.array(_I64, rows, "record times")
    offset = reader.array(_I64, rows, "offsets")
    id_hash = reader.array(_U64, rows, "id hashes")
    source = reader.array(_I32, rows, "sources")
    version = reader.array(_I32, rows, "versions")
    tags = reader.array(_U8, cells, "tags").reshape(width, rows)
    if reader.at != start + size:
        raise MessageError(f"envelope: block at byte {start} declares {size} bytes, has {reader.at - start}")
    fault = check_block(tags, values, counts, record_time, source, offset, version, versions, lo, hi)
    if fault:
        raise MessageError(f"envelope: block at byte {start}: {BLOCK_FAULTS[fault]}")
    if words > versions:
        columns = _with_strings(columns, dictionary_sizes, strings)
    return Block(
        model=model,
        columns=columns,
        tags=tags,
        values=values,
        event_time=event_time,
        record_time=record_time,
        source=source,
        offset=offset,
        version=version,
        versions=tuple(strings[words - versions :]),
        id_hash=id_hash,
    )


def _model(reader: _Reader, size: int) -> str:
    model = reader.text(size, "model")
    if _MODEL_ID.fullmatch(model) is None:  # it becomes part of keys in the state topic
        raise MessageError("envelope: a model's id has characters that are not allowed")
    return model


def _with_strings(columns: tuple[Column, ...], sizes: list[int], strings: list[str]) -> tuple[Column, ...]:
    full = list(columns)
    at = 0
    for i, size in enumerate(sizes):
        if size:
            full[i] = Column(full[i].kind, full[i].name, tuple(strings[at : at + size]))
            at += size
    return tuple(full)


def _command(reader: _Reader, progress: tuple[Progress, ...]) -> Command:
    record_time, offset, body_bytes, source, model_bytes = reader.fields(_COMMAND, "command")
    if body_bytes > COMMAND_BYTES_MAX or source >= len(progress):
        raise MessageError("envelope: a command is too large or names a source that is not listed")
    if not progress[source].lo <= offset <= progress[source].hi:
        raise MessageError("envelope: a command's offset is not in the range that the envelope declares")
    model = _model(reader, model_bytes)
    body = reader.raw(body_bytes, "command")
    reader.align()
    return Command(model, record_time, source, offset, body)


def warm() -> None:
    """Compiles the kernel that unpacking calls."""
    block = Block(
        model="warm", columns=(Column(ColumnKind.SCORE, ""),), tags=np.full((1, 1), 2, np.uint8),
        values=np.ones((1, 1)), event_time=np.zeros(1, np.int64), record_time=np.zeros(1, np.int64),
        source=np.zeros(1, np.int32), offset=np.zeros(1, np.int64), version=np.full(1, -1, np.int32),
        versions=(),        id_hash=np.zeros(1, np.uint64),
    )  # fmt: skip
    unpack(pack(Envelope("warm", (Progress(Source("warm", 0), "", -1, 0, 0),), (block,))))


# --- cutting


def split(envelope: Envelope, bytes_max: int = ENVELOPE_BYTES_MAX) -> list[Envelope]:
    """The envelope as parts of at most ``bytes_max`` packed bytes each, to be sent in this order.

    The rule. Rows and commands are put in the order of (T, source, offset), where T is the largest record
    timestamp up to that offset in its source. Along this order each source's offsets ascend, so *any* prefix
    of it is a prefix of every source; and where a source's timestamps ascend (LogAppendTime), it is the order
    in which rows count anyway. The parts are consecutive stretches of it. A part's progress covers, for each
    source with rows in it, the offsets behind the part before up to the last of its rows: exactly the rows it
    contains. Offsets without rows (rejects, other mailbox partitions) go with the next row, at the end with
    the last part. So after any prefix of the parts the watermark is the last offset that was really
    delivered, and prev_hi, lo and hi chain as if the flushes had been smaller. A source without rows in a
    part has no entry in it.

    ``flags`` stay with a source's first entry. ``record_time_max`` is that of the rows in the part, and the
    envelope's own as soon as the source is covered to its end: never more than was delivered.

    Raises:
        BugError: a single row, or the progress alone, does not fit.
    """
    if _size_bound(envelope) <= bytes_max or _packed_size(envelope) <= bytes_max:
        return [envelope]
    items = _items(envelope)
    if not len(items):
        raise BugError(f"an envelope without rows exceeds {bytes_max} bytes")
    cuts = [0, len(items)]
    parts: list[Envelope] = []
    done: dict[int, int] = {}  # source -> last offset that the parts so far cover
    while len(cuts) > 1:
        a, b = cuts[0], cuts[1]
        part, after = _part(envelope, items[a:b], done, last=b == len(items))
        if _packed_size(part) <= bytes_max:
            parts.append(part)
            done = after
            cuts.pop(0)
        elif b - a > 1:
            cuts.insert(1, (a + b) // 2)
        else:
            raise BugError(f"one row does not fit an envelope of {bytes_max} bytes")
    return parts


def _items(envelope: Envelope) -> npt.NDArray[np.int64]:
    """(n, 5) items in the order of cutting: source, offset, record time, block (-1: command), row."""
    found = [
        np.column_stack((b.source, b.offset, b.record_time, np.full(len(b), i), np.arange(len(b))))
        for i, b in enumerate(envelope.blocks)
    ]
    found += [np.array([[c.source, c.offset, c.record_time, -1, i]]) for i, c in enumerate(envelope.commands)]
    if not found:
        return np.empty((0, 5), np.int64)
    items = np.concatenate(found).astype(np.int64, copy=False)
    items = items[np.lexsort((items[:, 1], items[:, 0]))]
    largest = items[:, 2].copy()
    for source in np.unique(items[:, 0]):
        own = items[:, 0] == source
        largest[own] = np.maximum.accumulate(largest[own])
    return items[np.lexsort((items[:, 1], items[:, 0], largest))]


def _part(
    envelope: Envelope, items: npt.NDArray[np.int64], done: dict[int, int], *, last: bool
) -> tuple[Envelope, dict[int, int]]:
    """The envelope of some items, and how far all sources are covered with it."""
    after = dict(done)
    progress: list[Progress] = []
    place = np.full(len(envelope.progress), -1, np.int32)
    for s, whole in enumerate(envelope.progress):
        own = items[items[:, 0] == s]
        before = done.get(s, whole.lo - 1)
        complete = s in done and before == whole.hi
        if complete or not (last or len(own)):
            continue
        hi = whole.hi if last else int(own[:, 1].max())
        time_max = whole.record_time_max if hi == whole.hi else int(own[:, 2].max())
        first = s not in done
        after[s] = hi
        place[s] = len(progress)
        progress.append(
            replace(
                whole,
                prev_hi=whole.prev_hi if first else before,
                lo=before + 1,
                hi=hi,
                flags=whole.flags if first else 0,
                record_time_max=time_max,
            )
        )
    blocks: list[Block] = []
    for i, block in enumerate(envelope.blocks):
        index = np.sort(items[items[:, 3] == i, 4])
        if len(index):
            taken = take_rows(block, index)
            blocks.append(replace(taken, source=place[taken.source]))
    picked = sorted(items[items[:, 3] == -1, 4].tolist())
    commands = [replace(c, source=int(place[c.source])) for c in (envelope.commands[i] for i in picked)]
    return Envelope(envelope.producer, tuple(progress), tuple(blocks), tuple(commands)), after


def _size_bound(envelope: Envelope) -> int:
    """Not less than the packed size, without encoding anything."""
    size = 64 + 4 * len(envelope.producer)
    for entry in envelope.progress:
        size += _PROGRESS.size + 4 * (len(entry.source.topic) + len(entry.topic_id))
    for block in envelope.blocks:
        rows, width = len(block), len(block.columns)
        size += 128 + 4 * len(block.model) + rows * (9 * width + 40) + width * (_COLUMN.size + 4)
        for column in block.columns:
            size += 4 * len(column.name)
            if column.strings:
                size += 4 * len(column.strings) + 4 * sum(map(len, column.strings))
        size += 4 * len(block.versions) + 4 * sum(map(len, block.versions))
    for command in envelope.commands:
        size += _COMMAND.size + 8 + 4 * len(command.model) + len(command.body)
    return size


def _packed_size(envelope: Envelope) -> int:
    """The exact packed size."""
    size = _START.size + _HEADER.size + len(envelope.producer.encode())
    for entry in envelope.progress:
        size += _PROGRESS.size + len(entry.source.topic.encode()) + len(entry.topic_id.encode())
    size += -size % 8
    for block in envelope.blocks:
        size += _pack_block(block, [])
    for command in envelope.commands:
        own = _COMMAND.size + len(command.model.encode()) + len(command.body)
        size += own + -own % 8
    return size
