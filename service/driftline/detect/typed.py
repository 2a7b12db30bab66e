"""Values out of JSON as the dataclasses that they claim to be.

Each is what its annotation says or a ValueError: a number where a list should be must not travel on until a
kernel reads it. A field with the metadata OPTIONAL came later: it is left out where it has its default, so
that what was written before keeps its bytes.
"""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypeVar, Union, get_args, get_origin, get_type_hints

INT_MAX: Final = 1 << 53  # JSON readers agree up to here; times and counts are far below

OPTIONAL: Final[Mapping[str, bool]] = {"optional": True}

T = TypeVar("T")


@lru_cache(maxsize=64)
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def typed(kind: type[T], body: Any) -> T:
    """The dataclass of which ``body`` has all fields but optional ones, and no others.

    Raises:
        ValueError: it has not; says where.
    """
    return _typed(kind, body, kind.__name__)  # type: ignore[no-any-return] # of the kind that was asked for


def members(value: Any) -> dict[str, Any]:
    """A dataclass as JSON sees it; ``asdict`` would copy every number on the way."""
    found = {f.name: getattr(value, f.name) for f in fields(value)}
    for f in fields(value):
        if f.metadata.get("optional") and found[f.name] == f.default:
            del found[f.name]
    return found


def _typed(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value  # whoever reads it looks for himself
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(kind, type) and is_dataclass(kind):
        hints, names = _hints(kind), {f.name for f in fields(kind)}
        optional = {f.name for f in fields(kind) if f.metadata.get("optional")}
        if not isinstance(value, dict) or value.keys() | optional != names:
            raise ValueError(f"{where}: not an object with {', '.join(sorted(names - optional))}")
        return kind(**{name: _typed(hints[name], value[name], f"{where}.{name}") for name in sorted(value)})
    if origin in {Union, types.UnionType}:
        if value is None and type(None) in arguments:
            return None
        return _typed(next(a for a in arguments if a is not type(None)), value, where)
    if origin in {tuple, list}:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"{where}: not a list")
        if origin is tuple and Ellipsis not in arguments:
            items = zip(arguments, value, strict=True)
            return tuple(_typed(a, v, f"{where}[{i}]") for i, (a, v) in enumerate(items))
        if _all_right(arguments[0], value):
            return origin(value)
        return origin(_typed(arguments[0], v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError(f"{where}: not an object")
        return {
            _typed(str, k, where): _typed(arguments[1], v, f"{where}[{k!r:.40}]") for k, v in value.items()
        }
    return _scalar(kind, value, where)


def _all_right(kind: Any, values: Sequence[Any]) -> bool:
    """Whether a whole list is right: most of what is read is numbers, and one by one is slow."""
    if kind is float:
        return set(map(type, values)) == {float} and all(map(math.isfinite, values))
    if kind is int:
        return set(map(type, values)) == {int} and min(values) >= -INT_MAX and max(values) <= INT_MAX
    return False


def _scalar(kind: Any, value: Any, where: str) -> Any:
    if issubclass(kind, Enum):
        if isinstance(value, bool) or value not in [member.value for member in kind]:
            raise ValueError(f"{where}: no {kind.__name__}")
        return kind(value)
    whole = isinstance(value, int) and not isinstance(value, bool) and -INT_MAX <= value <= INT_MAX
    right = {
        bool: isinstance(value, bool),
        str: isinstance(value, str),
        int: whole,
        float: whole or (isinstance(value, float) and math.isfinite(value)),
    }[kind]
    if not right:
        raise ValueError(f"{where}: no {kind.__name__}")
    if kind is str:
        value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
    return value
