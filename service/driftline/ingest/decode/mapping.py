"""Where an event's fields are, for both paths of the decoder: a tree of spaces.

A space is an object (or array) of a record in which there is something to look for. Each of its names has a
role and may open another space; what other names mean depends on the space: features, classes, or nothing.
Native events are one such tree, a user's mapping makes another.

The rules. A step that is an index matches an array's element and an object's member alike. A feature with a
pointer of its own wins over a member of that name; members of the features' object that are fields or lie on
the way to one are no features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from driftline.config.mapping import ALL_MEMBERS, MappingSettings, Path, is_index
from driftline.detect.kernels import scan_json as sj

ABSENT: Final = object()  # what a path leads to where there is nothing


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """The path of each field, None where it is not in the record. ``single`` are features by name."""

    model: Path | None = None
    id: Path | None = None
    time: Path | None = None
    model_version: Path | None = None
    features: Path | None = None
    prediction: Path | None = None  # native only: a bare number is a score, a bare string or bool a class
    score: Path | None = None
    class_: Path | None = None
    probabilities: Path | None = None
    single: tuple[tuple[str, Path], ...] = ()
    label: Path | None = None  # only of labels

    @classmethod
    def of(cls, settings: MappingSettings) -> FieldMapping:
        """The mapping that the settings describe."""
        paths = settings.paths()
        return cls(
            model=paths.get("model"),
            id=paths.get("id"),
            time=paths.get("time"),
            model_version=paths.get("model_version"),
            features=paths.get(f"features.{ALL_MEMBERS}"),
            score=paths.get("score"),
            class_=paths.get("class"),
            probabilities=paths.get("probabilities"),
            single=tuple(
                (name, paths[f"features.{name}"]) for name in settings.features if name != ALL_MEMBERS
            ),
            label=paths.get("label"),
        )


NATIVE: Final = FieldMapping(
    model=("model",),
    id=("id",),
    time=("time",),
    model_version=("model_version",),
    features=("features",),
    prediction=("prediction",),
    score=("prediction", "score"),
    class_=("prediction", "class"),
    probabilities=("prediction", "probabilities"),
)
NATIVE_LABELS: Final = replace(NATIVE, features=None, label=("label",))


def find(record: Any, path: Path | None) -> Any:
    """What is at the path, ABSENT if nothing is."""
    found = ABSENT if path is None else record
    for step in path or ():
        if isinstance(found, dict):
            found = found.get(step, ABSENT)
        elif isinstance(found, list) and is_index(step) and int(step) < len(found):
            found = found[int(step)]
        else:
            return ABSENT
    return found


class Leaf(NamedTuple):
    """What a name in a space means."""

    role: int
    child: int = -1  # the space that it opens
    feature: str = ""  # the feature's name, for ROLE_FEATURE
    label: bool = False  # scanned like a feature, but the column is the label's


@dataclass(slots=True)
class Space:
    """An object or array with something to look for in it."""

    parent: int
    other: int = sj.ROLE_IGNORED  # of names that are not listed
    names: dict[str, Leaf] = field(default_factory=dict)


class Tree:
    """The spaces of a mapping; the first is the record itself."""

    def __init__(self, mapping: FieldMapping, *, model_fixed: bool) -> None:
        self.spaces = [Space(0)]
        self.features: int | None = None  # the space of the features' object
        self.probabilities: int | None = None
        self._labels = mapping.label is not None
        # Objects first: fields may lie inside them.
        if mapping.features is not None:
            self.features = self._object(mapping.features, sj.ROLE_FEATURES, sj.ROLE_FEATURE)
        if mapping.prediction is not None:
            self._object(mapping.prediction, sj.ROLE_PREDICTION, sj.ROLE_IGNORED)
        if mapping.probabilities is not None:
            self.probabilities = self._object(
                mapping.probabilities, sj.ROLE_PROBABILITIES, sj.ROLE_PROBABILITY
            )
        fields = (
            (mapping.model, sj.ROLE_IGNORED if model_fixed else sj.ROLE_MODEL),
            (mapping.id, sj.ROLE_ID),
            (mapping.time, sj.ROLE_TIME),
            (mapping.model_version, sj.ROLE_VERSION),
            (mapping.score, sj.ROLE_SCORE),
            (mapping.class_, sj.ROLE_CLASS),
        )
        for path, role in fields:
            if path is not None:
                self._put(path, Leaf(role))
        for name, path in mapping.single:
            self._put(path, Leaf(sj.ROLE_FEATURE, feature=name))
        if mapping.label is not None:
            self._put(mapping.label, Leaf(sj.ROLE_FEATURE, label=True))
        if self.features is not None:
            names = self.spaces[self.features].names
            for name, _ in mapping.single:
                names.setdefault(name, Leaf(sj.ROLE_IGNORED))

    def _enter(self, path: Path) -> int:
        """The space that the path opens; made, with those on the way, where there is none."""
        at = 0
        for step in path:
            leaf = self.spaces[at].names.get(step, Leaf(sj.ROLE_PATH))
            if leaf.child < 0:
                leaf = leaf._replace(child=len(self.spaces))
                self.spaces.append(Space(at))
                self.spaces[at].names[step] = leaf
            at = leaf.child
        return at

    def _put(self, path: Path, leaf: Leaf) -> None:
        self.spaces[self._enter(path[:-1])].names[path[-1]] = leaf

    def _object(self, path: Path, role: int, other: int) -> int:
        at = self._enter(path)
        self.spaces[at].other = other
        if path:
            names = self.spaces[self.spaces[at].parent].names
            names[path[-1]] = names[path[-1]]._replace(role=role)
        return at

    @property
    def distribution(self) -> bool:
        """Whether probabilities become a confidence: of events, where all members are classes."""
        at = self.probabilities
        return at is not None and not self.spaces[at].names and not self._labels

    def elements(self) -> list[tuple[int, int, str]]:
        """(space, index, name) of the names that are indexes too, in the order in which an array has them."""
        return sorted(
            (at, int(name), name)
            for at, space in enumerate(self.spaces)
            for name in space.names
            if is_index(name)
        )

    def unlisted(self, record: Any, at: int = 0) -> list[tuple[int, str]]:
        """(space, name) of all members in spaces of the record that mean nothing."""
        space, found = self.spaces[at], list[tuple[int, str]]()
        if isinstance(record, dict):
            if space.other == sj.ROLE_IGNORED:
                found = [(at, name) for name in record if name not in space.names]
            inside: Mapping[str, Any] = record
        elif isinstance(record, list):
            inside = {str(i): value for i, value in enumerate(record)}
        else:
            return found
        for name, leaf in space.names.items():
            if leaf.child >= 0 and name in inside:
                found += self.unlisted(inside[name], leaf.child)
        return found
