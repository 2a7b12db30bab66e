"""Reading the settings, and saying what is wrong with them: the key, the value, the nearest known one.

An unknown key is an error wherever it comes from, the environment included: a misspelt limit must not be
ignored. Values of secrets never reach a message.
"""

from __future__ import annotations

import difflib
import os
import types
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import SettingsError

from driftline.config.settings import ENV_PREFIX, Settings
from driftline.errors import OperatorError

FILE_BYTES_MAX: Final = 4 << 20  # 1,000 models with every key set are 200 kB
SHOWN_CHARS_MAX: Final = 80  # of a wrong value
REMEDY: Final = "See `driftline config schema`."

Location = Sequence[int | str]


def load_settings(path: Path | None = None, **overrides: Any) -> Settings:
    """Settings from the file, the environment and the overrides (a nested mapping, as from the command line).

    Raises:
        OperatorError: the file cannot be read or a key or value is wrong; names the key and the nearest one.
    """
    where = f"configuration {path}" if path is not None else "configuration"
    values = _read(path) if path is not None else {}
    unknown = _unknown_variables(os.environ)
    if unknown:
        raise OperatorError(_sentence(unknown), remedy=REMEDY)
    cls = type("Settings", (Settings,), {"file_values": values, "__doc__": Settings.__doc__})
    try:
        parsed: Settings = cls(**overrides)
    except ValidationError as error:
        # "from None": pydantic's error holds the inputs, and a password may be one of them.
        raise OperatorError(f"{where}: {_explain(error)}", remedy=REMEDY) from None
    except UnicodeEncodeError as error:
        raise OperatorError(
            f"{where}: {error.object[error.start : error.end]!r} is half a character.", remedy=REMEDY
        ) from None
    except SettingsError as error:
        raise OperatorError(
            f"environment: {error}: a list or a section in one variable must be JSON.", remedy=REMEDY
        ) from None
    return parsed


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a configuration file (``schemas/config.v1.json``)."""
    body = Settings.model_json_schema(mode="validation")
    models = body["properties"]["models"]  # a bare name is a model without settings of its own
    models["patternProperties"] = {
        pattern: {"anyOf": [model, {"type": "null"}]}
        for pattern, model in models["patternProperties"].items()
    }
    models["additionalProperties"] = False
    features = body["$defs"]["MappingSettings"]["properties"]["features"]
    singly = {
        key: features.pop(key) for key in list(features) if key not in {"default", "description", "title"}
    }
    features["anyOf"] = [{"type": "string"}, singly]
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:driftline:schema:config.v1",
        "title": "Driftline configuration",
    }
    return head | {key: value for key, value in body.items() if key != "title"}


# --- the file ---------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML without tags that make objects, and without keys given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are all different."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def _read(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise OperatorError(
                f"configuration {path} is larger than {FILE_BYTES_MAX} bytes.", remedy="Is it the right file?"
            )
        text = path.read_text(encoding="utf-8")
        parsed = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise OperatorError(
            f"configuration {path}: {error.strerror}.", remedy="Name it with --config FILE."
        ) from error
    except UnicodeDecodeError as error:
        raise OperatorError(
            f"configuration {path} is not UTF-8 text.", remedy="Is it the right file?"
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise OperatorError(f"configuration {path} is not YAML: {_first_line(error)}.") from error
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise OperatorError(f"configuration {path}: the top level must be keys and values.", remedy=REMEDY)
    # A section whose lines are all commented out is an empty section.
    return {
        str(key): value
        for key, value in parsed.items()
        if value is not None or key not in Settings.model_fields
    }


def _first_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# --- the environment --------------------------------------------------------------------------------------


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """A sentence for every variable with our prefix that names no key."""
    found = []
    for variable in sorted(environment):
        if not variable.upper().startswith(ENV_PREFIX):
            continue
        parts = variable[len(ENV_PREFIX) :].lower().split("__")
        for depth, part in enumerate(parts):
            known = _keys(parts[:depth])
            if known is not None and part not in known:
                near = _nearest(part, known)
                right = "__".join([*parts[:depth], near, *parts[depth + 1 :]]).upper() if near else ""
                found.append(
                    f"environment {variable}: unknown key"
                    + (f", did you mean {ENV_PREFIX}{right}?" if near else "")
                )
                break
    return found


def _keys(location: Location) -> list[str] | None:
    """The keys known at a location; empty where there are none (in a number), None where any may be."""
    at: Any = Settings
    for part in location:
        at = _unwrap(at)
        if isinstance(at, type) and issubclass(at, BaseModel):
            fields = _fields(at)
            if str(part) not in fields:
                return []
            at = fields[str(part)].annotation
        elif get_origin(at) is dict:
            at = get_args(at)[1]
        elif get_origin(at) is tuple:
            at = get_args(at)[0]
        else:
            return []
    at = _unwrap(at)
    if get_origin(at) is dict:
        return None
    return list(_fields(at)) if isinstance(at, type) and issubclass(at, BaseModel) else []


def _fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys of a section as a file spells them ("class" is no name for a Python attribute)."""
    return {field.alias or name: field for name, field in section.model_fields.items()}


def _unwrap(annotation: Any) -> Any:
    """The type itself without Annotated and "or None"."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in {Union, types.UnionType}:
            annotation = next(a for a in get_args(annotation) if a is not type(None))
        else:
            return annotation


# --- what is wrong ----------------------------------------------------------------------------------------


def _explain(error: ValidationError) -> str:
    return _sentence([_explain_one(item) for item in error.errors(include_url=False)])


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return text if text.endswith("?") else f"{text}."


def _explain_one(item: Any) -> str:
    """One sentence: where, what was found, what is allowed, what was probably meant."""
    location, kind = item["loc"], item["type"]
    where = ".".join(str(part) for part in location if part != "[key]")
    text = item["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        near = _nearest(str(location[-1]), _keys(location[:-1]) or [])
        elsewhere = "" if near else _place_of(str(location[-1]))
        hint = f", did you mean {near!r}?" if near else f", it belongs to {elsewhere}" if elsewhere else ""
        text = f"unknown key{hint}"
    elif kind == "missing":
        text = "is required"
    elif kind == "literal_error":
        allowed = [part.strip(" '") for part in str(item["ctx"]["expected"]).replace(" or ", ",").split(",")]
        near = _nearest(str(item["input"]), allowed, cutoff=0.4)
        text = f"{_shown(location, item['input'])} is not allowed, only {', '.join(allowed)}"
        text += f"; did you mean {near!r}?" if near else ""
    elif kind != "value_error":
        text = f"{_shown(location, item['input'])}: {text[:1].lower()}{text[1:]}"
    return f"{where}: {text}" if where else text


def _nearest(word: str, known: Sequence[str], cutoff: float = 0.5) -> str | None:
    """The most similar known word, upper and lower case alike."""
    by_lower = {k.lower(): k for k in known}
    near = difflib.get_close_matches(word.lower().replace("-", "_"), by_lower, n=1, cutoff=cutoff)
    near = near or difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[near[0]] if near else None


def _place_of(key: str) -> str:
    """The sections that have this key: a right key is often only indented wrongly."""
    sections = [name for name in Settings.model_fields if key in (_keys([name]) or [])]
    return " or ".join(sections)


def _shown(location: Location, value: object) -> str:
    """A wrong value for a message, unless it is secret or a whole section."""
    if _is_secret(location):
        return "the value"
    if isinstance(value, (dict, list, tuple)):
        return f"a {'mapping' if isinstance(value, dict) else 'list'}"
    text = repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "…"


def _is_secret(location: Location) -> bool:
    at: Any = Settings
    for part in location:
        at = _unwrap(at)
        if get_origin(at) is dict:
            at = get_args(at)[1]
        elif isinstance(at, type) and issubclass(at, BaseModel) and str(part) in _fields(at):
            at = _fields(at)[str(part)].annotation
        else:
            return False
    return _unwrap(at) is SecretStr
