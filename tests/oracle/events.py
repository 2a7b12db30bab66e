"""What the event format says, written again with json.loads, one record at a time."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from driftline.ingest.decode import hash_id

AGE = 7 * 86_400_000  # max_event_age_ms
NOTHING = object()


class Duplicate(Exception):  # noqa: N818
    """A key twice in one object."""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({k for k, _ in pairs}) != len(pairs):
        raise Duplicate
    return dict(pairs)


def _depth(text: str) -> int:
    text = re.sub(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)', "", text, flags=re.DOTALL)
    deepest = depth = 0
    for c in text:
        depth += (c in "[{") - (c in "]}")
        deepest = max(deepest, depth)
    return deepest


def _cell(value: Any) -> tuple[str, Any]:
    if value is None:
        return "null", None
    if isinstance(value, bool):
        return "bool", np.float64(value).tobytes().hex()
    if isinstance(value, tuple):  # ("number", text)
        text = value[1]
        if len(text) > 32 or "N" in text or "I" in text:
            return "invalid", None
        if re.fullmatch(r"-?\d+", text):
            return (
                ("number", np.float64(int(text)).tobytes().hex())
                if abs(int(text)) <= 2**53
                else ("invalid", None)
            )
        number = float(text)
        if number in (float("inf"), float("-inf")):
            return "invalid", None
        return "number", np.float64(number or 0.0).tobytes().hex()
    if isinstance(value, str):
        if len(value.encode("utf-8", "surrogatepass")) > 256 or re.search("[\ud800-\udfff]", value):
            return "invalid", None
        return "string", value
    return "nested", None


def _name_ok(name: str) -> bool:
    bidi = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    return (
        1 <= len(name) <= 128
        and unicodedata.normalize("NFC", name) == name
        and not any(unicodedata.category(c) in ("Cc", "Cs") or c in bidi for c in name)
    )


def _rfc3339(text: str) -> int | None:
    m = re.fullmatch(r"([0-9-]{10})[Tt ]([0-9:]{6})([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})", text)
    if m is None or int(m[3]) > 60:
        return None
    zone = "+00:00" if m[5] in "Zz" else m[5]
    if int(zone[1:3]) > 23 or int(zone[4:]) > 59:
        return None
    try:
        start = datetime.strptime(f"{m[1]}T{m[2]}00", "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    sign = -1 if zone[0] == "-" else 1
    seconds = int(m[3]) - sign * (int(zone[1:3]) * 3600 + int(zone[4:]) * 60)
    ms = (start - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    ms += seconds * 1000 + int((m[4] or ".")[1:4].ljust(3, "0"))
    return ms if -62_135_596_800_000 <= ms <= 253_402_300_799_999 else None


def native(step: str) -> tuple[str, ...]:
    """Where a native event has a field."""
    return ("prediction", step) if step in ("score", "class", "probabilities") else (step,)


NATIVE = {
    name: native(name)
    for name in (
        "model", "id", "time", "model_version", "*", "prediction", "score", "class", "probabilities"
    )
} | {"*": ("features",)}  # fmt: skip


def at(record: Any, path: tuple[str, ...] | None) -> Any:
    """What RFC 6901 finds at a path, NOTHING where there is nothing."""
    for step in path if path is not None else ():
        if isinstance(record, dict) and step in record:
            record = record[step]
        elif isinstance(record, list) and step in map(str, range(len(record))):
            record = record[int(step)]
        else:
            return NOTHING
    return NOTHING if path is None else record


def oracle(
    raw: bytes, stamp: int, allowed: frozenset[str] | None, paths: dict[str, tuple[str, ...]] = NATIVE
) -> str | tuple[Any, ...]:
    """A reject code, or (model, event time, version, id hash, cells, counts).

    ``paths`` says where the fields are; "*" is the object of features, "feature:NAME" a single one.
    """
    if len(raw) > 1 << 20:
        return "too_large"
    try:
        text = raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return "not_utf8"
    if _depth(text) > 8:
        return "too_deep"

    def number(token: str) -> tuple[str, str]:
        return ("number", token)

    try:
        record = json.loads(
            text, object_pairs_hook=_pairs, parse_int=number, parse_float=number, parse_constant=number
        )
    except Duplicate:
        return "duplicate_key"
    except json.JSONDecodeError:
        return "syntax"
    if not isinstance(record, dict):
        return "not_object"
    counts: Counter[str] = Counter()
    model = at(record, paths.get("model"))
    if model is None or model is NOTHING:
        return "model_missing"
    if not isinstance(model, str) or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,128}", model):
        return "model_invalid"
    if allowed is not None and model not in allowed:
        return "model_unknown"
    time = at(record, paths.get("time"))
    when: int | None = stamp
    if isinstance(time, tuple):
        small = len(time[1]) <= 32 and re.fullmatch(r"-?\d+", time[1])
        when = int(time[1]) if small and -62_135_596_800_000 <= int(time[1]) <= 253_402_300_799_999 else None
    elif isinstance(time, str):
        when = _rfc3339(time)
    elif time is not None and time is not NOTHING:
        when = None
    if when is None:
        return "time_invalid"
    if stamp >= 0 and when > stamp + 300_000:
        return "time_future"
    if stamp >= 0 and when < stamp - AGE:
        return "time_late"
    return (model, when, *_fields(record, paths, counts), counts)


def _inside(paths: dict[str, tuple[str, ...]], key: str) -> set[str]:
    """Members of a mapped object that are other fields, or on the way to one."""
    path = paths[key]
    return {p[len(path)] for p in paths.values() if len(p) > len(path) and p[: len(path)] == path}


def _fields(
    record: Any, paths: dict[str, tuple[str, ...]], counts: Counter[str]
) -> tuple[str | None, int, dict[tuple[str, str], Any]]:
    ident = at(record, paths.get("id"))
    if isinstance(ident, tuple):
        integer = len(ident[1]) <= 32 and re.fullmatch(r"-?\d+", ident[1])
        ident = str(int(ident[1])) if integer else False
    if ident is not NOTHING and ident is not None and not isinstance(ident, str):
        counts["bad_id"] += 1
    ident = ident if isinstance(ident, str) else ""
    counts["no_id"] += not ident
    version = at(record, paths.get("model_version"))
    if isinstance(version, tuple):
        integer = len(version[1]) <= 32 and re.fullmatch(r"-?\d+", version[1])
        version = str(int(version[1])) if integer and abs(int(version[1])) <= 2**53 else False
    if version is NOTHING:
        version = None
    if version is not None and not (isinstance(version, str) and _name_ok(version)):
        counts["bad_version"] += 1
        version = None
    cells = _features(record, paths, counts) | _prediction(record, paths, counts)
    counts["invalid"] += sum(tag == "invalid" for tag, _ in cells.values())
    for (kind, name), (tag, _) in cells.items():
        counts[f"nested:{name if kind == 'FEATURE' else f'prediction.{kind.lower()}'}"] += tag == "nested"
    return version, hash_id(ident.encode("utf-8", "surrogatepass")), cells


def _features(
    record: Any, paths: dict[str, tuple[str, ...]], counts: Counter[str]
) -> dict[tuple[str, str], Any]:
    single = {key.removeprefix("feature:"): path for key, path in paths.items() if key.startswith("feature:")}
    cells = {
        ("FEATURE", name): _cell(found)
        for name, path in single.items()
        if (found := at(record, path)) is not NOTHING
    }
    features = at(record, paths.get("*"))
    if isinstance(features, dict):
        for name in features.keys() - _inside(paths, "*") - single.keys():
            if _name_ok(name):
                cells["FEATURE", name] = _cell(features[name])
            else:
                counts["bad_name"] += 1
    elif features is not None and features is not NOTHING:
        counts["bad_features"] += 1
    return cells


def _prediction(
    record: Any, paths: dict[str, tuple[str, ...]], counts: Counter[str]
) -> dict[tuple[str, str], Any]:
    cells: dict[tuple[str, str], Any] = {}
    bare = at(record, paths.get("prediction"))
    if isinstance(bare, list):
        counts["nested:prediction"] += 1
    elif bare is not None and bare is not NOTHING and not isinstance(bare, dict):
        cells["CLASS" if isinstance(bare, (str, bool)) else "SCORE", ""] = _cell(bare)
    for key in ("score", "class"):
        if (found := at(record, paths.get(key))) is not NOTHING:
            cells[key.upper(), ""] = _cell(found)
    likely = _likely(at(record, paths.get("probabilities")), paths, counts)
    if likely is not None and at(record, paths.get("class")) is NOTHING:
        cells["CLASS", ""] = _cell(likely)
    return cells | _certainty(at(record, paths.get("probabilities")), paths, counts)


def _certainty(given: Any, paths: dict[str, tuple[str, ...]], counts: Counter[str]) -> dict[Any, Any]:
    """The largest probability and the entropy; where a class is another field, there is no distribution."""
    if given is None or given is NOTHING or "label" in paths or _inside(paths, "probabilities"):
        return {}
    members = [v for n, v in given.items() if _name_ok(n)] if isinstance(given, dict) else [None]
    cells = [_cell(v) for v in members]
    p = [float(np.frombuffer(bytes.fromhex(h))[0]) for tag, h in cells if tag == "number"]
    sound = len(p) == len(members) and all(0.0 <= v <= 1.000001 for v in p)
    if not sound or not 1 <= len(p) <= 1000 or abs(reduce(add, p, 0.0) - 1.0) > 0.05:
        counts["bad_probabilities"] += isinstance(given, dict)  # anything else was counted already
        return {("CONFIDENCE", ""): ("invalid", None), ("ENTROPY", ""): ("invalid", None)}
    total = reduce(add, p, 0.0)
    entropy = 0.0
    if len(p) > 1:
        mean_log = reduce(add, (v * math.log(v) for v in p if v > 0.0), 0.0) / total
        entropy = min(max((math.log(total) - mean_log) / math.log(len(p)), 0.0), 1.0)
    numbers = {"CONFIDENCE": min(max(p), 1.0), "ENTROPY": entropy}
    return {(kind, ""): ("number", np.float64(v).tobytes().hex()) for kind, v in numbers.items()}


def _likely(given: Any, paths: dict[str, tuple[str, ...]], counts: Counter[str]) -> str | None:
    if not isinstance(given, dict):
        counts["bad_probabilities"] += given is not None and given is not NOTHING
        return None
    given = {name: value for name, value in given.items() if name not in _inside(paths, "probabilities")}
    counts["bad_name"] += sum(not _name_ok(name) for name in given)
    sizes = {n: _cell(v) for n, v in given.items() if _name_ok(n)}
    numbers = {n: np.frombuffer(bytes.fromhex(h))[0] for n, (tag, h) in sizes.items() if tag == "number"}
    return max(numbers, key=lambda n: numbers[n]) if numbers else None
