"""The slow path: decides about one record, in plain Python, with nothing left out.

This is the definition of the format; the scanner may only accept what gives the same row here. Owned here:
every reject code of a row, what a name may be, and what a time may be. Where the fields are is the mapping's
business (``mapping.py``). It must not know chunks, tables or kernels other than the check of depth, which has
to come before a recursive parser sees the record.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from driftline.detect.kernels.distribution import certainty_of
from driftline.detect.kernels.scan_json import TIME_MS_MAX, TIME_MS_MIN, depth_max
from driftline.detect.kernels.scan_number import INTEGER_MAX
from driftline.detect.kernels.scan_tables import STRING_BYTES_MAX
from driftline.ingest.decode.mapping import ABSENT, NATIVE, FieldMapping, Tree, find
from driftline.records import (
    JSON_DEPTH_MAX,
    MODEL_ID_PATTERN,
    NAME_CHARS_MAX,
    NUMBER_CHARS_MAX,
    RECORD_BYTES_MAX,
    TIME_AHEAD_MS_MAX,
    ColumnKind,
    RejectCode,
    Tag,
)

DETAIL_CHARS_MAX: Final = 80  # of a reject's detail
NAMES_CACHED_MAX: Final = 4_096  # judged names that are remembered; the same ones come again

FEATURE: Final = int(ColumnKind.FEATURE)
SCORE: Final = int(ColumnKind.SCORE)
CLASS: Final = int(ColumnKind.CLASS)
CONFIDENCE: Final = int(ColumnKind.CONFIDENCE)
ENTROPY: Final = int(ColumnKind.ENTROPY)
LABEL: Final = int(ColumnKind.LABEL)
_MODEL_ID = re.compile(MODEL_ID_PATTERN)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
# U+061C, U+200E-F, U+202A-E, U+2066-9 change the direction of the text around them: a name could pose as
# another.
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class _Unusable:
    """A token that is grammatical but no value: NaN, Infinity, more than NUMBER_CHARS_MAX characters."""


UNUSABLE: Final = _Unusable()
_INFINITY: Final = float("inf")


class Refused(Exception):  # noqa: N818 - not an error: the outcome of a row, caught by the decoder
    """The record is rejected with ``code``; ``detail`` names a key or a position, never a value."""

    def __init__(self, code: RejectCode, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail[:DETAIL_CHARS_MAX]


class SlowCell(NamedTuple):
    """One cell; ``value`` is a string for the tag STRING, else the number that stands in the block."""

    kind: int  # of ColumnKind, whose own hash is slow
    name: str
    tag: Tag
    value: float | str


@dataclass(slots=True)
class SlowRow:
    """An accepted record."""

    model: str
    event_time: int
    version: str | None = None
    id: bytes = b""  # UTF-8 (lone surrogates kept as they are); empty: none
    cells: list[SlowCell] = field(default_factory=list)
    # Keys seen that never become cells, and those whose names are not allowed: (space, name).
    ignored: list[tuple[int, str]] = field(default_factory=list)
    bad_names: list[tuple[int, str]] = field(default_factory=list)
    counts: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rules:
    """What a decoder was configured with."""

    fixed_model: str | None
    allowed_models: frozenset[str] | None
    max_event_age_ms: int | None
    judge_times: bool = True
    mapping: FieldMapping = NATIVE


@lru_cache(maxsize=NAMES_CACHED_MAX)
def name_allowed(name: str) -> bool:
    """Whether a feature, class or version may be called so: NFC, 1-128 characters, no control or bidi."""
    return (
        0 < len(name) <= NAME_CHARS_MAX
        and _FORBIDDEN.search(name) is None
        and unicodedata.is_normalized("NFC", name)
    )


def shown(name: str) -> str:
    """A key's name, fit for a reject's detail: bounded, ASCII, without control characters."""
    return json.dumps(name[:32])


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise Refused(RejectCode.DUPLICATE_KEY, f"key {shown(name)}")
            seen.add(name)
    return found


def _integer(text: str) -> int | _Unusable:
    return int(text) if len(text) <= NUMBER_CHARS_MAX else UNUSABLE


def _real(text: str) -> float | _Unusable:
    return float(text) if len(text) <= NUMBER_CHARS_MAX else UNUSABLE


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_real, parse_constant=lambda _: UNUSABLE
)


def parse_object(raw: bytes, *, bytes_max: int = RECORD_BYTES_MAX) -> dict[str, Any]:
    """The record as a JSON object, within the limits on size and depth.

    Raises:
        Refused: with TOO_LARGE, NOT_UTF8, TOO_DEEP, SYNTAX, DUPLICATE_KEY or NOT_OBJECT, judged in this
        order.
    """
    if len(raw) > bytes_max:
        raise Refused(RejectCode.TOO_LARGE, f"{len(raw)} bytes, at most {bytes_max}")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise Refused(RejectCode.NOT_UTF8, f"at byte {error.start}") from None
    openings = raw.count(b"{") + raw.count(b"[")
    if (
        openings > JSON_DEPTH_MAX
        and depth_max(np.frombuffer(raw, np.uint8), len(raw), JSON_DEPTH_MAX) > JSON_DEPTH_MAX
    ):
        raise Refused(RejectCode.TOO_DEEP, f"more than {JSON_DEPTH_MAX} levels")
    try:
        found = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Refused(RejectCode.SYNTAX, f"at character {error.pos}") from None
    if not isinstance(found, dict):
        raise Refused(RejectCode.NOT_OBJECT, "the record is not a JSON object")
    return found


def parse_rfc3339(text: str) -> int | None:
    """Epoch milliseconds, truncated, of an RFC 3339 time with a zone; second 60 is the next second's 0."""
    match = _TIME.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    zone_hour, zone_minute = int(match[9] or 0), int(match[10] or 0)
    if hour > 23 or minute > 59 or second > 60 or zone_hour > 23 or zone_minute > 59:
        return None
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return None
    zone = (zone_hour * 60 + zone_minute) * (-1 if match[8] == "-" else 1)
    fraction = int(((match[7] or "") + "000")[:3])
    return (((days * 24 + hour) * 60 + minute - zone) * 60 + second) * 1000 + fraction


def model_of(given: Any, rules: Rules) -> str:
    """The model of a record that gives this one.

    Raises:
        Refused: with MODEL_MISSING, MODEL_INVALID or MODEL_UNKNOWN.
    """
    if rules.fixed_model is not None:
        return rules.fixed_model
    if given is None or given is ABSENT:
        raise Refused(RejectCode.MODEL_MISSING, 'no "model"')
    if not isinstance(given, str) or _MODEL_ID.fullmatch(given) is None:
        raise Refused(RejectCode.MODEL_INVALID, f'"model" must match {MODEL_ID_PATTERN}')
    if rules.allowed_models is not None and given not in rules.allowed_models:
        raise Refused(RejectCode.MODEL_UNKNOWN, "the configuration does not name this model")
    return given


def event_time_of(given: Any, record_time: int, rules: Rules) -> int:
    """The time of a record that gives this one, epoch ms; that of the record where it gives none.

    Raises:
        Refused: with TIME_INVALID, TIME_FUTURE or TIME_LATE.
    """
    if given is None or given is ABSENT:
        return record_time
    time: int | None = None
    if isinstance(given, str):
        time = parse_rfc3339(given)
    elif isinstance(given, int) and not isinstance(given, bool):
        time = given
    if time is None or not TIME_MS_MIN <= time <= TIME_MS_MAX:
        raise Refused(RejectCode.TIME_INVALID, '"time" must be RFC 3339 with a zone, or epoch milliseconds')
    if record_time >= 0 and rules.judge_times:
        if time - record_time > TIME_AHEAD_MS_MAX:
            raise Refused(RejectCode.TIME_FUTURE, f"more than {TIME_AHEAD_MS_MAX} ms ahead of the record")
        if rules.max_event_age_ms is not None and record_time - time > rules.max_event_age_ms:
            raise Refused(RejectCode.TIME_LATE, f"more than {rules.max_event_age_ms} ms behind the record")
    return time


_INVALID_CELL: Final = (Tag.INVALID, np.nan)


def judge_value(value: Any) -> tuple[Tag, float | str]:
    """Tag and value of a cell."""
    kind = type(value)  # a parser's value: exactly one of these types
    if kind is float:
        return (Tag.NUMBER, value + 0.0) if -_INFINITY < value < _INFINITY else _INVALID_CELL
    if kind is str:
        if len(value) > STRING_BYTES_MAX:
            return _INVALID_CELL
        if not value.isascii():
            try:
                if len(value.encode()) > STRING_BYTES_MAX:
                    return _INVALID_CELL
            except UnicodeEncodeError:  # a lone surrogate, from an escape
                return _INVALID_CELL
        return Tag.STRING, value
    if kind is int:
        return (Tag.NUMBER, float(value)) if -INTEGER_MAX <= value <= INTEGER_MAX else _INVALID_CELL
    if value is None:
        return Tag.NULL, np.nan
    if kind is bool:
        return Tag.BOOL, float(value)
    if kind is dict or kind is list:
        return Tag.NESTED, np.nan
    return _INVALID_CELL


def id_of(given: Any) -> bytes | None:
    """An id's UTF-8 bytes (lone surrogates kept as they are), none of them for no id; None: a bad one."""
    if isinstance(given, int) and not isinstance(given, bool):
        given = str(given)
    if isinstance(given, str):
        return given.encode("utf-8", "surrogatepass")
    return b"" if given is None or given is ABSENT else None


def version_of(given: Any) -> str | None:
    """A model's version, "" for none; None: a bad one."""
    if isinstance(given, int) and not isinstance(given, bool) and abs(given) <= INTEGER_MAX:
        given = str(given)
    if given is None or given is ABSENT:
        return ""
    return given if isinstance(given, str) and name_allowed(given) else None


def _cell(kind: int, name: str, given: Any, row: SlowRow) -> None:
    if given is not ABSENT:
        row.cells.append(SlowCell(kind, name, *judge_value(given)))


def _features(record: dict[str, Any], mapping: FieldMapping, tree: Tree, row: SlowRow) -> None:
    for name, path in mapping.single:
        _cell(FEATURE, name, find(record, path), row)
    given = find(record, mapping.features)
    if isinstance(given, dict) and tree.features is not None:
        listed = tree.spaces[tree.features].names
        for name, value in given.items():
            if name in listed:
                continue
            if name_allowed(name):
                tag, cell = judge_value(value)
                row.cells.append(SlowCell(FEATURE, name, tag, cell))
            else:
                row.bad_names.append((tree.features, name))
    elif given is not None and given is not ABSENT:
        row.counts.append("bad_features")


def _prediction(record: dict[str, Any], mapping: FieldMapping, tree: Tree, row: SlowRow) -> None:
    given = find(record, mapping.prediction)
    if isinstance(given, list):
        row.counts.append("nested:prediction")
    elif given is not None and given is not ABSENT and not isinstance(given, dict):
        bare_class = isinstance(given, (bool, str))
        _cell(CLASS if bare_class else SCORE, "", given, row)
    _cell(SCORE, "", find(record, mapping.score), row)
    named = find(record, mapping.class_)
    _cell(CLASS, "", named, row)
    likely = _most_probable(find(record, mapping.probabilities), tree, row)
    if likely is not None and named is ABSENT:
        _cell(CLASS, "", likely, row)


def _most_probable(given: Any, tree: Tree, row: SlowRow) -> str | None:
    """The class with the largest probability, of equals the first in the record."""
    if not isinstance(given, dict):
        if given is not None and given is not ABSENT:
            row.counts += ["bad_probabilities"] * (not tree.distribution)
            _certainty([np.nan], tree, row)
        return None
    assert tree.probabilities is not None  # a dict was found where the mapping has them
    listed = tree.spaces[tree.probabilities].names
    best: str | None = None
    best_value = 0.0
    values = []
    for name, value in given.items():
        if name in listed:
            continue
        if not name_allowed(name):
            row.bad_names.append((tree.probabilities, name))
            continue
        row.ignored.append((tree.probabilities, name))
        tag, number = judge_value(value)
        values.append(number if tag is Tag.NUMBER and isinstance(number, float) else np.nan)
        if values[-1] == values[-1] and (best is None or values[-1] > best_value):
            best, best_value = name, values[-1]
    _certainty(values, tree, row)
    return best


def _certainty(values: list[float], tree: Tree, row: SlowRow) -> None:
    """Confidence and entropy of class probabilities; invalid values, counted, if they are none."""
    if tree.distribution:
        confidence, entropy = certainty_of(np.array(values, np.float64))
        tag = Tag.INVALID if math.isnan(confidence) else Tag.NUMBER
        row.cells += [SlowCell(CONFIDENCE, "", tag, confidence), SlowCell(ENTROPY, "", tag, entropy)]
        row.counts += ["bad_probabilities"] * (tag is Tag.INVALID)


def judge(raw: bytes, record_time: int, rules: Rules, tree: Tree) -> SlowRow:
    """Decides about one event or label; ``tree`` is that of the rules' mapping.

    Raises:
        Refused: the row is rejected. Judged in this order: size, UTF-8, depth, syntax and duplicate keys,
        object, model, time.
    """
    record = parse_object(raw)
    mapping = rules.mapping
    model = model_of(find(record, mapping.model), rules)
    row = SlowRow(model, event_time_of(find(record, mapping.time), record_time, rules))
    given_id, given_version = id_of(find(record, mapping.id)), version_of(find(record, mapping.model_version))
    row.id, row.version = given_id or b"", given_version or None
    row.counts += ["bad_id"] * (given_id is None) + ["no_id"] * (not given_id)
    row.counts += ["bad_version"] * (given_version is None)
    _features(record, mapping, tree, row)
    _prediction(record, mapping, tree, row)
    _cell(LABEL, "", find(record, mapping.label), row)
    row.ignored += tree.unlisted(record)
    row.counts += ["bad_name"] * len(row.bad_names)
    row.counts += ["invalid" for cell in row.cells if cell.tag is Tag.INVALID]
    return row
