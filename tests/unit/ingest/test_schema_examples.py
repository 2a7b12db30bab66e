"""The examples in schemas/ against the schema and against the decoder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from driftline.ingest.decode import NativeDecoder
from driftline.ingest.decode.mapping import NATIVE_LABELS
from driftline.records import RecordChunk, Source

SCHEMAS = Path(__file__).parents[3] / "schemas"
VALID = sorted((SCHEMAS / "examples/valid").glob("*.json"))
INVALID = sorted((SCHEMAS / "examples/invalid").glob("*.json"))
LABELS = sorted((SCHEMAS / "examples/label-event").glob("*/*.json"))
T0 = 1_795_428_000_000
BEYOND_THE_SCHEMA = {"duplicate_key", "model_unknown", "time_future", "time_late", "too_deep"}


def chunk_of(values: list[bytes]) -> RecordChunk:
    """The values as records of one partition at T0."""
    ends = np.cumsum([len(v) for v in values])
    starts = ends - np.array([len(v) for v in values])
    buf = np.frombuffer(b"".join(values) + b" " * 64, np.uint8)
    zeros = np.zeros(len(values), np.int64)
    return RecordChunk(buf, starts, ends, zeros, np.arange(len(values)), zeros + T0, (Source("t", 0),))


@pytest.fixture(params=[True, False], ids=["fast", "slow"])
def decoder(request: pytest.FixtureRequest) -> NativeDecoder:
    """A decoder that knows one model."""
    allowed = frozenset({"credit-risk"})
    return NativeDecoder(
        fixed_model=None, allowed_models=allowed, max_event_age_ms=7 * 86_400_000, fast=request.param
    )


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    """The schema of events."""
    text = json.loads((SCHEMAS / "inference-event.v1.json").read_text())
    Draft202012Validator.check_schema(text)
    return Draft202012Validator(text)


@pytest.mark.parametrize("path", VALID, ids=lambda p: p.stem)
def test_valid_examples_are_accepted(
    path: Path, decoder: NativeDecoder, schema: Draft202012Validator
) -> None:
    """Schema and decoder take it, the decoder also the second time, by the fast path."""
    raw = path.read_bytes()
    schema.validate(json.loads(raw))
    decoded = decoder.decode(chunk_of([raw, raw]))
    assert [len(block) for block in decoded.blocks] == [2]
    assert decoded.rejects == []


@pytest.mark.parametrize("path", INVALID, ids=lambda p: p.stem)
def test_invalid_examples_are_rejected(
    path: Path, decoder: NativeDecoder, schema: Draft202012Validator
) -> None:
    """The decoder gives the code in the file's name; the schema refuses what it can express."""
    raw = path.read_bytes()
    code = path.name.split(".")[0]
    decoded = decoder.decode(chunk_of([b'{"model":"credit-risk","features":{"age":1}}', raw]))
    assert [reject.code for reject in decoded.rejects] == [code]
    assert decoded.accepted_per_source.tolist() == [1]
    if code not in BEYOND_THE_SCHEMA | {"syntax", "not_utf8"} and not path.stem.endswith("no_such_day"):
        assert not schema.is_valid(json.loads(raw))


@pytest.fixture(params=[True, False], ids=["fast", "slow"])
def label_decoder(request: pytest.FixtureRequest) -> NativeDecoder:
    """A decoder of labels."""
    return NativeDecoder(
        fixed_model=None,
        allowed_models=None,
        max_event_age_ms=None,
        fast=request.param,
        mapping=NATIVE_LABELS,
    )


@pytest.mark.parametrize("path", LABELS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_label_examples(path: Path, label_decoder: NativeDecoder) -> None:
    """Schema and decoder agree; the decoder gives the code in an invalid one's name, by both paths."""
    text = json.loads((SCHEMAS / "label-event.v1.json").read_text())
    Draft202012Validator.check_schema(text)
    raw = path.read_bytes()
    valid = path.parent.name == "valid"
    assert Draft202012Validator(text).is_valid(json.loads(raw)) == valid
    for _ in range(2):  # the second time its keys are known
        decoded = label_decoder.decode(chunk_of([b'{"id":"0","model":"m","label":1}', raw]))
        assert [reject.code for reject in decoded.rejects] == ([] if valid else [path.name.split(".")[0]])
        assert decoded.accepted_per_source.tolist() == [1 + valid]
        assert all(block.is_labels for block in decoded.blocks)
        assert not decoded.counts


def test_there_are_examples() -> None:
    """A wrong path would leave nothing to test."""
    assert len(VALID) >= 10
    assert len({path.name.split(".")[0] for path in INVALID}) >= 11
    assert {path.name.split(".")[0] for path in LABELS if path.parent.name == "invalid"} >= {
        "label_invalid",
        "id_missing",
    }
