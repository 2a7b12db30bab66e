"""Mapped events: fast path == slow path == the json.loads oracle, for any mapping and any document."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from driftline.config import MappingSettings
from driftline.ingest.decode import FieldMapping, NativeDecoder
from oracle.events import AGE, oracle
from property.test_decode import ALLOWED, EDITS, T0, chunk_of, exact, plain

STEPS = ("a", "b", "0", "1", "x/y", "m~n", "größe", "model", "features")
SCALARS = ("model", "id", "time", "model_version", "score", "class")
NAMES = ("age", "income", "a", "b", "0", "größe")

Paths = dict[str, tuple[str, ...]]


def pointer(path: tuple[str, ...]) -> str:
    """A path as a JSON Pointer."""
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in path)


def settings_of(paths: Paths) -> MappingSettings:
    """The settings that describe these paths."""
    body: dict[str, Any] = {
        key: pointer(path) for key, path in paths.items() if key in {*SCALARS, "probabilities"}
    }
    body["features"] = {
        key.removeprefix("feature:"): pointer(path)
        for key, path in paths.items()
        if key == "*" or key.startswith("feature:")
    }
    return MappingSettings.model_validate(body)


class Maker:
    """Draws mappings, and documents in which much of what they name is there."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def mapping(self) -> Paths:
        """A mapping that the settings accept; it always has a model."""
        paths: Paths = {"model": self._path()}
        wanted = [*SCALARS[1:], "*", "*", "probabilities", *(f"feature:{name}" for name in NAMES)]
        self.rng.shuffle(wanted)
        for key in wanted[: self.rng.randint(1, len(wanted))]:
            path = () if key == "*" and self.rng.random() < 0.3 else self._path()
            try:
                settings_of(paths | {key: path})
            except ValidationError:
                continue
            paths[key] = path
        return paths if len(paths) > 1 else paths | {"feature:age": (*paths["model"][:-1], "age")}

    def _path(self) -> tuple[str, ...]:
        steps = (*STEPS, 'q"q') if self.rng.random() < 0.05 else STEPS  # escaped in a record, so slow
        return tuple(self.rng.choice(steps) for _ in range(self.rng.choice((1, 1, 2, 2, 2, 3, 4))))

    def scalar(self) -> str:
        """A value as JSON text."""
        rng = self.rng
        return rng.choice((
            str(rng.randint(-9, 10**rng.randint(1, 18))), repr(rng.gauss(0, 10.0 ** rng.randint(-20, 20))),
            repr(round(rng.gauss(0, 9), 2)), '"DE"', '"US"',
            json.dumps("größe", ensure_ascii=rng.random() < 0.1),
            "true", "false", "null", "NaN", "-Infinity", '"' + "x" * rng.choice((3, 256, 257)) + '"',
        ))  # fmt: skip

    def value(self, key: str) -> str:
        """Something usual for a field."""
        rng = self.rng
        if rng.random() < 0.06:
            return self.noise(2)
        if key == "model":
            return rng.choice(('"m"', '"m"', '"credit-risk"', '"m"', '"no"'))
        if key == "time":
            return rng.choice((str(T0 - rng.randrange(10**7)), '"2026-11-23T10:00:00.123Z"', "null"))
        if key in {"id", "model_version"}:
            return rng.choice((str(rng.randrange(9)), '"3"', '"2.1-ü"'))
        if key in {"*", "probabilities"}:
            return self.members({name: self.scalar() for name in rng.sample(NAMES, rng.randrange(6))})
        return self.scalar()

    def noise(self, depth: int) -> str:
        """Any value, nested at most so deep."""
        rng = self.rng
        kind = rng.random() if depth else 1.0
        if kind < 0.3:
            names = [rng.choice((*STEPS, "z")) for _ in range(rng.randrange(4))]
            return self.members({name: self.noise(depth - 1) for name in names})
        if kind < 0.5:
            return self._gap("[", [self.noise(depth - 1) for _ in range(rng.randrange(4))], "]")
        return self.scalar()

    def members(self, items: dict[str, str]) -> str:
        """An object in any order, now and then with a key twice."""
        pairs = list(items.items())
        self.rng.shuffle(pairs)
        if pairs and self.rng.random() < 0.01:
            pairs.append(pairs[0])
        return self._gap("{", [f"{json.dumps(k, ensure_ascii=False)}:{v}" for k, v in pairs], "}")

    def _gap(self, left: str, parts: list[str], right: str) -> str:
        gap = self.rng.choice(("", "", "", " ", "\n\t"))
        return left + gap + f"{gap},{gap}".join(parts) + gap + right

    def document(self, paths: Paths) -> bytes:
        """A record with most mapped fields in it, and other things around them."""
        tree: dict[str, Any] = {}
        for key, path in sorted(paths.items(), key=lambda item: len(item[1])):
            if key != "model" and self.rng.random() < 0.2:
                continue
            here = tree
            for step in path[:-1]:
                if not isinstance(here.get(step), dict):
                    here[step] = {}
                here = here[step]
            if path and path[-1] not in here:
                here[path[-1]] = {} if key in {"*", "probabilities"} else self.value(key)
        for key in ("*", "probabilities"):
            found: Any = tree
            for step in paths.get(key, ("no such",)):
                found = found.get(step) if isinstance(found, dict) else None
            if isinstance(found, dict):
                for name in self.rng.sample(NAMES, self.rng.randrange(5)):
                    found.setdefault(name, self.scalar())
        return self._text(tree, root=True).encode()

    def _text(self, tree: Any, *, root: bool = False) -> str:
        if isinstance(tree, str):
            return tree
        rng = self.rng
        if rng.random() < 0.3:
            tree.setdefault(rng.choice(("z", "trace", "a")), self.noise(3))
        if (
            not root and set(tree) & {"0", "1"} and rng.random() < 0.5
        ):  # an array will do where steps are indexes
            parts = [self._text(tree[step]) if step in tree else self.noise(2) for step in "012"]
            return self._gap("[", parts, "]")
        return self.members({name: self._text(value) for name, value in tree.items()})

    def record(self, paths: Paths) -> bytes:
        """A document, spoilt in one of eight."""
        data = bytearray(self.document(paths))
        if self.rng.random() < 0.12:
            at = self.rng.randrange(len(data) + 1)
            data[at : at + self.rng.randrange(2)] = self.rng.choice(EDITS)
        return bytes(data)


def three_ways(maker: Maker, records: int) -> tuple[int, int]:
    """One mapping, some records twice: both paths and the oracle agree; (accepted, of them slow again)."""
    paths = maker.mapping()
    options: dict[str, Any] = {"fixed_model": None, "allowed_models": ALLOWED, "max_event_age_ms": AGE}
    options["mapping"] = FieldMapping.of(settings_of(paths))
    fast, slow = NativeDecoder(**options), NativeDecoder(**options, fast=False)
    values: list[bytes | None] = [maker.record(paths) for _ in range(records)]
    chunk = chunk_of(values)
    expected = slow.decode(chunk)
    exact(fast.decode(chunk), expected)
    again = fast.decode(chunk)
    exact(again, expected)
    got = plain(expected)
    total: Counter[str] = Counter()
    for i, value in enumerate(values):
        assert value is not None
        wanted = oracle(value, int(chunk.timestamps[i]), ALLOWED, paths)
        if isinstance(wanted, str):
            assert got["rejects"][i][0] == wanted, (paths, value)
        else:
            assert got["rows"][i] == wanted[:5], (paths, value)
            total += wanted[5]
    assert got["counts"] == {k: v for k, v in total.items() if v}
    return int(again.accepted_per_source.sum()), again.slow_rows - len(again.rejects)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_any_mapping_and_any_document(seed: int) -> None:
    """Any mapping, six documents; failing seeds repeat."""
    three_ways(Maker(random.Random(seed)), 6)


@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_mapped_events(seed: int) -> None:
    """Forty mappings of sixty documents each; a second time nearly all that are accepted are fast."""
    maker = Maker(random.Random(seed))
    found = [three_ways(maker, 60) for _ in range(40)]
    accepted, slow = (sum(column) for column in zip(*found, strict=True))
    assert accepted > 600
    assert slow < 0.35 * accepted


DEEP = {
    "model": "/meta/model_name", "id": "/request_id", "time": "/ts", "model_version": "/meta/version",
    "features": {"*": "/payload/inputs", "income": "/customer/finance/income", "first": "/history/0/amount"},
    "score": "/output/score", "class": "/output/label",
}  # fmt: skip


def test_ordinary_mapped_events_are_fast() -> None:
    """Nested objects and arrays that nobody asked for cost no slow row once their keys are known."""
    event = {
        "meta": {"model_name": "m", "version": 3, "host": {"name": "n", "tags": ["a", {"b": [1, 2.5]}]}},
        "request_id": "r1", "ts": "2026-11-23T10:00:00Z", "trace": [{"span": 1}, {"span": 2}],
        "payload": {"inputs": {"age": 41.5, "country": "DE", "vector": [0.1, 0.2], "address": {"zip": "1"}}},
        "customer": {"finance": {"income": 5, "debts": []}},
        "history": [{"amount": 7, "at": [1]}, {"amount": 8}], "output": {"score": 0.5, "label": "yes"},
    }  # fmt: skip
    mapping = FieldMapping.of(MappingSettings.model_validate(DEEP))
    fast = NativeDecoder(fixed_model=None, allowed_models=None, max_event_age_ms=None, mapping=mapping)
    chunk = chunk_of([json.dumps(event).encode()] * 50)
    assert fast.decode(chunk).slow_rows == 1
    found = fast.decode(chunk)
    assert found.slow_rows == 0
    block = found.blocks[0]
    cells = {column.name: block.values[i, 0] for i, column in enumerate(block.columns)}
    assert (cells["age"], cells["income"], cells["first"]) == (41.5, 5.0, 7.0)
    assert found.counts == {"nested:vector": 50, "nested:address": 50}
