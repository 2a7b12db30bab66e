"""Where events of another shape keep what Driftline needs: JSON Pointers (RFC 6901), one a field.

Owns: the syntax of pointers, and which mappings make sense. What a mapping means for an event is said in
``ingest/decode/mapping.py``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from driftline.records import FEATURES_MAX, JSON_DEPTH_MAX, NAME_CHARS_MAX

ALL_MEMBERS: Final = "*"  # stands for the features that are the members of one object
_ESCAPE: Final = re.compile(r"~(?![01])")
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)

Path = tuple[str, ...]


def parse_pointer(text: str) -> Path:
    """The members and indexes that a JSON Pointer goes through; none for "", the whole record.

    Raises:
        ValueError: it is no pointer, or reaches deeper than a record may be.
    """
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} is no JSON Pointer: write '/{text.replace('.', '/')}'")
    if _ESCAPE.search(text):
        raise ValueError(f"{text!r} is no JSON Pointer: write ~ as ~0, and / in a name as ~1")
    path = tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])
    if len(path) > JSON_DEPTH_MAX:
        raise ValueError(f"{text!r} has {len(path)} steps, a record has at most {JSON_DEPTH_MAX} levels")
    return path


def is_index(step: str) -> bool:
    """Whether a step of a pointer can also name an array's element."""
    return _INDEX.fullmatch(step) is not None


def _pointer(text: str) -> str:
    parse_pointer(text)
    return text


def _one_object(value: Any) -> Any:
    return {ALL_MEMBERS: value} if isinstance(value, str) else value


Pointer = Annotated[str, AfterValidator(_pointer)]
FeatureName = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX)]


class MappingSettings(BaseModel):
    """Where the fields of an event are: JSON Pointers."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    model: Pointer | None = Field(None, description="the model id, unless inputs[].model fixes it")
    id: Pointer | None = Field(None, description="joins labels; without one there is no join")
    time: Pointer | None = Field(None, description="RFC 3339 or epoch milliseconds")
    model_version: Pointer | None = Field(None, description="of the model that answered")
    features: Annotated[dict[FeatureName, Pointer], BeforeValidator(_one_object)] = Field(
        {},
        max_length=FEATURES_MAX + 1,
        description="an object whose members are the features, or a pointer for each feature by name; "
        'the name "*" stands for an object with more of them',
    )
    score: Pointer | None = Field(None, description="a number")
    class_: Pointer | None = Field(None, alias="class", description="a name")
    probabilities: Pointer | None = Field(
        None,
        description="an object of classes and their probabilities: confidence and entropy are watched, and "
        "the most probable one is the class where none is given",
    )

    label: Pointer | None = Field(None, description="what turned out to be true; of inputs of kind labels")

    @model_validator(mode="after")
    def _sensible(self) -> MappingSettings:
        paths = self.paths()
        if not {"score", "class", "probabilities", "label"} & set(paths) and not self.features:
            raise ValueError("maps neither a feature nor a score or class: there is nothing to watch")
        if self.label is not None and self.features:
            raise ValueError("maps a label and features: labels carry no features")
        seen: dict[Path, str] = {}
        for key, path in paths.items():
            if path in seen:
                raise ValueError(f"{seen[path]} and {key} are both {_text(path)!r}: remove one")
            seen[path] = key
            if not path and key != f"features.{ALL_MEMBERS}":
                raise ValueError(f"{key} is '', the whole record: only features can be that")
        for key, path in paths.items():
            around = [seen[path[:n]] for n in range(len(path)) if path[:n] in seen]
            wrong = [name for name in around if name not in {f"features.{ALL_MEMBERS}", "probabilities"}]
            if wrong:
                raise ValueError(
                    f"{wrong[0]} is {_text(paths[wrong[0]])!r}, and {key} is inside it: remove one of them"
                )
        return self

    def paths(self) -> dict[str, Path]:
        """The path of every key that is mapped; features by ``features.NAME``."""
        scalars = {
            "model": self.model,
            "id": self.id,
            "time": self.time,
            "model_version": self.model_version,
            "score": self.score,
            "class": self.class_,
            "probabilities": self.probabilities,
            "label": self.label,
        } | {f"features.{name}": pointer for name, pointer in self.features.items()}
        return {key: parse_pointer(pointer) for key, pointer in scalars.items() if pointer is not None}


def _text(path: Path) -> str:
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)
