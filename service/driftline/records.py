"""The shared types between the stages: a chunk of raw records, a block of decoded rows, an envelope's header.

Leaves: this module knows no Kafka client, no clock and no configuration. All times are Unix epoch
milliseconds as int64; all offsets are Kafka offsets.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]

# Scanners load 8 bytes at a time; with this many spare bytes behind the last record they need no tail case.
CHUNK_PADDING: Final = 64
RECORD_BYTES_MAX: Final = 1 << 20  # Kafka's own default of max.message.bytes
COMMAND_BYTES_MAX: Final = 3 << 20  # a baseline of 300 numeric features; it travels in an envelope of 4 MiB
NOTE_CHARS_MAX: Final = 500  # of a command's by and why: a sentence, not a document
NOTE_ESCAPED_MAX: Final = 10 * NOTE_CHARS_MAX  # with every character written escaped as \U and eight digits
JSON_DEPTH_MAX: Final = 8  # native events need 3; deeper input is a mistake or an attack
NUMBER_CHARS_MAX: Final = 32  # 17 significant digits, sign, point and exponent fit in 25
FEATURES_MAX: Final = 500
MODELS_PER_PARTITION_MAX: Final = 1_000
NAME_CHARS_MAX: Final = 128
ENVELOPE_BYTES_MAX: Final = 4 << 20
MODEL_ID_PATTERN: Final = r"^[A-Za-z0-9_.:-]{1,128}$"
VERSION_MARK: Final = "::"  # credit-risk::3 is version 3 of credit-risk (on_new_version: per_version)
TIME_AHEAD_MS_MAX: Final = 5 * 60 * 1000  # clocks of event producers may run ahead by this much


class Tag(IntEnum):
    """Physical tag of a cell as stage 1 saw it; logical types are the actor's."""

    ABSENT = 0  # the key was not in this row
    NULL = 1
    NUMBER = 2
    STRING = 3
    BOOL = 4
    INVALID = 5  # NaN and infinity tokens, integers beyond 2**53, numbers that overflow, too long a string
    NESTED = 6  # an object or array inside features: ignored, counted by name


class ColumnKind(IntEnum):
    """What a column of a block is."""

    FEATURE = 0
    SCORE = 1
    CLASS = 2
    LABEL = 3  # only in blocks of labels: what turned out to be true
    CONFIDENCE = 4  # the largest of the class probabilities
    ENTROPY = 5  # of the class probabilities, as a share of the largest possible


Severity = Literal["info", "warning", "critical"]
SEVERITIES: Final[tuple[Severity, ...]] = ("info", "warning", "critical")  # from the least to the most


class RejectCode(StrEnum):
    """Why a row was not accepted; a closed set, used as a metric label and in the rejects topic."""

    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    NOT_UTF8 = "not_utf8"
    SYNTAX = "syntax"
    NOT_OBJECT = "not_object"
    DUPLICATE_KEY = "duplicate_key"
    MODEL_MISSING = "model_missing"
    MODEL_INVALID = "model_invalid"
    MODEL_UNKNOWN = "model_unknown"
    MODEL_LIMIT = "model_limit"
    TIME_INVALID = "time_invalid"
    TIME_FUTURE = "time_future"
    TIME_LATE = "time_late"
    COMMAND_INVALID = "command_invalid"
    ID_MISSING = "id_missing"  # of a label that carries no prediction either: it could never be joined
    LABEL_INVALID = "label_invalid"


@dataclass(frozen=True, slots=True)
class Source:
    """A raw partition."""

    topic: str
    partition: int


@dataclass(slots=True)
class RecordChunk:
    """A run of records, possibly of several raw partitions of topics with one format.

    It is what an ingest edge hands to a decoder.

    Rows of one source are in offset order. ``buf`` holds the values end to end in any order plus at least
    ``CHUNK_PADDING`` spare bytes; a null value has start -1. Shapes: every array but ``buf`` is (n,).
    """

    buf: U8
    starts: I64
    ends: I64
    source: I64  # index into sources
    offsets: I64
    timestamps: I64  # record timestamps, ms
    sources: tuple[Source, ...]

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that was not accepted: where it came from, why, and a hash of it (never its content)."""

    source: Source
    offset: int
    timestamp: int
    code: RejectCode
    detail: str  # bounded and free of the row's values: a key's name or a position
    digest: str  # hex of the first 16 bytes of the SHA-256 of the value


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a block; strings of STRING cells are numbered per column."""

    kind: ColumnKind
    name: str  # the feature's name; "" for all others
    strings: tuple[str, ...] = ()  # the column's dictionary: a STRING cell's value indexes it


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of one model in the order in which they count: by (record timestamp, source, offset).

    ``tags`` and ``values`` have shape (columns, rows), C order. A value is the number itself, the index into
    the column's ``strings``, 0.0 or 1.0 for a bool, and NaN for every other tag. All (n,) arrays have one
    entry a row. Arrays may be read-only views of an envelope's bytes.
    """

    model: str
    columns: tuple[Column, ...]
    tags: U8
    values: F64
    event_time: I64  # ms
    record_time: I64  # ms
    source: npt.NDArray[np.int32]  # index into the envelope's progress list
    offset: I64
    version: npt.NDArray[np.int32]  # index into versions, -1 for none
    versions: tuple[str, ...]
    id_hash: npt.NDArray[np.uint64]  # 0 = the event had no id

    def __len__(self) -> int:
        return len(self.event_time)

    @property
    def is_labels(self) -> bool:
        """Whether the rows are labels and not events."""
        return any(column.kind is ColumnKind.LABEL for column in self.columns)


@dataclass(frozen=True, slots=True)
class Command:
    """One command for a model, as it was on the commands topic (already validated JSON, UTF-8)."""

    model: str
    record_time: int
    source: int  # index into the envelope's progress list
    offset: int
    body: bytes


class ProgressFlag(IntEnum):
    """Bits of ``Progress.flags``."""

    START = 1  # no offset was committed before: nothing precedes lo by configuration
    ACCEPTED_GAP = 2  # the operator accepted that the rows between prev_hi and lo are gone


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a raw partition has come for this mailbox partition: the envelope covers offsets lo..hi.

    ``prev_hi`` is the last offset covered by the envelope before (after a restart: the commit - 1).
    ``record_time_max`` is the largest record timestamp in lo..hi, -1 if nothing was there.
    """

    source: Source
    topic_id: str
    prev_hi: int
    lo: int
    hi: int
    flags: int = 0
    record_time_max: int = -1


@dataclass(frozen=True, slots=True)
class Envelope:
    """One record of the mailbox. ``producer`` names the ingest worker (for people, never for decisions)."""

    producer: str
    progress: tuple[Progress, ...]
    blocks: tuple[Block, ...] = ()
    commands: tuple[Command, ...] = ()


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A record for one of our output topics, ready to send."""

    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()
