"""The decoder as its users see it: models, limits, tables that fill, times, order."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from driftline.detect.kernels import scan_json as sj
from driftline.detect.kernels import scan_tables as tables
from driftline.errors import BugError, OperatorError
from driftline.ingest.decode import FieldMapping, NativeDecoder, hash_id, make_decoder, warm
from driftline.records import FEATURES_MAX, ColumnKind, RecordChunk, Source, Tag

T0 = 1_795_428_000_000


def chunk_of(
    values: list[Any], *, times: list[int] | None = None, sources: list[int] | None = None
) -> RecordChunk:
    """Records at T0 of as many sources as are named; values that are not bytes are written as JSON."""
    raw = [v if isinstance(v, bytes) else json.dumps(v).encode() for v in values]
    ends = np.cumsum([len(v) for v in raw], dtype=np.int64)
    starts = ends - np.array([len(v) for v in raw], np.int64)
    n = len(raw)
    source = np.array(sources or [0] * n, np.int64)
    stamps = np.array(times if times is not None else [T0] * n, np.int64)
    buf = np.frombuffer(b"".join(raw) + b" " * 64, np.uint8)
    names = tuple(Source("t", i) for i in range(int(source.max(initial=0)) + 1))
    return RecordChunk(buf, starts, ends, source, np.arange(n, dtype=np.int64), stamps, names)


def decoder(**options: Any) -> NativeDecoder:
    """A decoder of any model, unless said otherwise."""
    return NativeDecoder(
        **({"fixed_model": None, "allowed_models": None, "max_event_age_ms": None} | options)
    )


@pytest.fixture(params=[True, False], ids=["fast", "slow"])
def fast(request: pytest.FixtureRequest) -> bool:
    """Both paths."""
    return bool(request.param)


def test_models_beyond_the_limit_are_rejected(fast: bool) -> None:
    """The first models stay; a row that is rejected for another reason takes no place."""
    late = {"model": "late", "time": "2020-01-01T00:00:00Z"}
    found = decoder(models_max=2, max_event_age_ms=1000, fast=fast).decode(
        chunk_of([late, {"model": "a"}, {"model": "b"}, {"model": "c"}, {"model": "a"}])
    )
    assert [r.code for r in found.rejects] == ["time_late", "model_limit"]
    assert [(b.model, len(b)) for b in found.blocks] == [("a", 2), ("b", 1)]


def test_a_fixed_model_wins(fast: bool) -> None:
    """Whatever a record says about its model."""
    found = decoder(fixed_model="f", fast=fast).decode(
        chunk_of([{}, {"model": "x"}, {"model": 7}, {"model": None}])
    )
    assert [(b.model, len(b)) for b in found.blocks] == [("f", 4)]


def test_the_most_frequent_features_stay(fast: bool) -> None:
    """A flood of names takes the columns of no feature that is more frequent."""
    rows = [
        {"model": "m", "features": {"age": 1, "income": 2}},
        {"model": "m", "features": {"age": 1, "income": 3}},
    ]
    rows.append({"model": "m", "features": {f"_{i:04d}": i for i in range(700)}})
    found = decoder(fast=fast).decode(chunk_of(rows))
    names = [c.name for c in found.blocks[0].columns]
    assert len(names) == FEATURES_MAX
    assert {"age", "income"} <= set(names)
    assert names[:3] == ["_0000", "_0001", "_0002"]
    assert found.counts["features_limit"] == 202


def test_more_keys_than_the_table_holds(fast: bool) -> None:
    """Rows with keys beyond the table stay slow, now and in later chunks, with the same result."""
    rows = [{"model": f"m{i}", "features": {f"{i}.{k}": k for k in range(400)}} for i in range(11)]
    one = decoder(fast=fast)
    for found in (one.decode(chunk_of(rows)), one.decode(chunk_of(rows))):
        assert [len(b.columns) for b in found.blocks] == [400] * 11
        for i, block in enumerate(found.blocks):
            expected = {f"{i}.{k}": float(k) for k in range(400)}
            assert {c.name: block.values[j, 0] for j, c in enumerate(block.columns)} == expected
    assert not fast or 1 <= one.decode(chunk_of(rows)).slow_rows <= 2


def test_full_string_table_overflows_and_is_reset(fast: bool) -> None:
    """More text in a chunk than the table holds: all of it is told apart, and the next chunk begins anew."""
    one = decoder(fast=fast)
    texts = [f"{i:06d}" + "x" * 244 for i in range(17_000)]  # 4 MiB are 16,384 of them
    rows = [b'{"model":"m","features":{"a":"%s"}}' % t.encode() for t in [*texts, texts[3], texts[-1]]]
    block = one.decode(chunk_of(rows)).blocks[0]
    assert one._extra_strings
    assert block.columns[0].strings == tuple(texts)
    assert block.values[0].tolist() == [*range(17_000), 3, 16_999]
    again = one.decode(chunk_of(rows[-2:]))
    assert again.blocks[0].columns[0].strings == (texts[3], texts[-1])
    assert not one._extra_strings
    assert one._state[tables.STATE_STRINGS] == 3


def test_many_cells_grow_the_buffers(fast: bool) -> None:
    """More cells than the buffers begin with."""
    rows = [{"model": "m", "features": {f"f{k}": i for k in range(90)}} for i in range(900)]
    block = decoder(fast=fast).decode(chunk_of(rows)).blocks[0]
    assert block.values.shape == (90, 900)
    assert (block.values == np.arange(900)).all()


def test_rows_are_ordered_by_time_source_offset(fast: bool) -> None:
    """Whatever order the sources come in; strings are numbered in that order."""
    rows = [{"model": "m", "features": {"a": c}} for c in "abcdef"]
    chunk = chunk_of(rows, times=[5, 7, 9, 5, 6, 9], sources=[1, 1, 1, 0, 0, 0])
    found = decoder(fast=fast, judge_times=False).decode(chunk)
    block = found.blocks[0]
    assert block.offset.tolist() == [3, 0, 4, 1, 5, 2]
    assert block.columns[0].strings == ("d", "a", "e", "b", "f", "c")
    assert block.values[0].tolist() == [0, 1, 2, 3, 4, 5]
    assert found.accepted_per_source.tolist() == [3, 3]


def test_predictions(fast: bool) -> None:
    """Every shape of a prediction, as score and class columns."""
    shapes: list[Any] = [0.5, "yes", True, {"score": 1, "class": "no"},
                         {"probabilities": {"a": 0.2, "b": 0.8, "c": 0.8}},
                         {"score": None, "class": 3}, [1], None, {"score": {"x": 1}}]  # fmt: skip
    found = decoder(fast=fast).decode(chunk_of([{"model": "m", "prediction": s} for s in shapes] * 2))
    block = found.blocks[0]
    assert [c.kind for c in block.columns][:2] == [ColumnKind.SCORE, ColumnKind.CLASS]
    assert [Tag(t).name for t in block.tags[0, :9]] == [
        "NUMBER", "ABSENT", "ABSENT", "NUMBER", "ABSENT", "NULL", "ABSENT", "ABSENT", "NESTED"
    ]  # fmt: skip
    assert [Tag(t).name for t in block.tags[1, :9]] == [
        "ABSENT", "STRING", "BOOL", "STRING", "STRING", "NUMBER", "ABSENT", "ABSENT", "ABSENT"
    ]  # fmt: skip
    assert block.columns[1].strings == ("yes", "no", "b")
    assert found.counts["nested:prediction"] == 2
    assert found.counts["nested:prediction.score"] == 2


def test_probabilities_become_confidence_and_entropy(fast: bool) -> None:
    """The largest, and the entropy by the number of classes; what is none is invalid and counted."""
    given: list[Any] = [
        {"a": 0.93, "b": 0.07}, {"a": 1}, dict.fromkeys("abcd", 0.25), {"a": 1.0, "b": 0, "c": 0},
        {"a": -0.1, "b": 1.1}, {"a": 0.5, "b": 0.4}, {"a": 0.5, "b": "0.5"}, {"a": 1.0, "b": None},
        {"a": 1.0, "b": [1]},
        {}, {"a": True}, {f"c{i}": 1 / 1001 for i in range(1001)}, [0.5, 0.5], "a",
        None,
    ]  # fmt: skip
    rows = [{"model": "m", "prediction": {"probabilities": p}} for p in given]
    found = decoder(fast=fast).decode(chunk_of(rows * 2))
    block = found.blocks[0]
    at = {c.kind: i for i, c in enumerate(block.columns)}
    confidence, entropy = at[ColumnKind.CONFIDENCE], at[ColumnKind.ENTROPY]
    assert block.tags[confidence, :15].tolist() == [Tag.NUMBER] * 4 + [Tag.INVALID] * 10 + [Tag.ABSENT]
    assert (block.tags[confidence] == block.tags[entropy]).all()
    assert block.values[confidence, :4].tolist() == [0.93, 1.0, 0.25, 1.0]
    binary = -(0.93 * np.log2(0.93) + 0.07 * np.log2(0.07))
    assert np.allclose(block.values[entropy, :4], [binary, 0.0, 1.0, 0.0], atol=1e-12)
    assert found.counts["bad_probabilities"] == 20
    assert found.counts["invalid"] == 40


def test_probabilities_with_another_field_inside_have_no_confidence(fast: bool) -> None:
    """The score is one of them: the others are no distribution, and the class is the most probable other."""
    mapping = FieldMapping(model=("model",), score=("p", "yes"), probabilities=("p",), features=("features",))
    rows = [{"model": "m", "p": {"yes": 0.9, "no": 0.1}}] * 3
    found = decoder(fast=fast, mapping=mapping).decode(chunk_of(rows))
    assert [c.kind for c in found.blocks[0].columns] == [ColumnKind.SCORE, ColumnKind.CLASS]
    assert found.counts["bad_probabilities"] == 0


def test_ids_hash_alike_on_every_path() -> None:
    """An id as text, with escapes, and as an integer of 20 digits."""
    raw = [
        b'{"id":"e1","model":"m"}',
        b'{"id":"\\u00651","model":"m"}',
        b'{"id":12345678901234567890,"model":"m"}',
    ]
    found = decoder().decode(chunk_of(raw * 2)).blocks[0].id_hash.tolist()
    assert found == [hash_id(b"e1"), hash_id(b"e1"), hash_id(b"12345678901234567890")] * 2
    assert hash_id(b"") == 0


def test_times_are_not_judged_for_files(fast: bool) -> None:
    """Record timestamps of a file mean nothing; neither do negative ones."""
    row = {"model": "m", "time": "2026-11-23T10:00:00Z"}
    from_file = decoder(fast=fast, judge_times=False, max_event_age_ms=0).decode(chunk_of([row], times=[0]))
    assert from_file.rejects == []
    assert decoder(fast=fast).decode(chunk_of([row], times=[-1])).rejects == []
    assert [r.code for r in decoder(fast=fast).decode(chunk_of([row], times=[0])).rejects] == ["time_future"]


def test_names_counted_apart_are_bounded(fast: bool) -> None:
    """Nested values under very many names share one count."""
    rows = [{"model": "m", "features": {f"f{i}_{k}": [] for k in range(60)}} for i in range(3)]
    counts = decoder(fast=fast).decode(chunk_of(rows)).counts
    assert counts["nested:*"] == 80
    assert sum(counts[name] for name in counts if name.startswith("nested:")) == 180


def test_oversized_records(fast: bool) -> None:
    """One byte more than the limit."""
    fits = b'{"model":"m","x":"' + b"a" * ((1 << 20) - 20) + b'"}'
    assert len(fits) == 1 << 20
    found = decoder(fast=fast).decode(chunk_of([fits, fits + b" "]))
    assert [r.code for r in found.rejects] == ["too_large"]
    assert found.accepted_per_source.tolist() == [1]


@pytest.mark.parametrize(("start", "end"), [(0, 60), (30, 20)])
def test_records_outside_their_buffer_are_our_fault(start: int, end: int) -> None:
    """A chunk that breaks its contract stops the process instead of reading elsewhere."""
    chunk = chunk_of([{"model": "m"}])
    chunk.starts, chunk.ends = np.array([start]), np.array([end])
    with pytest.raises(BugError, match="buffer"):
        decoder().decode(chunk)


def test_an_empty_chunk_and_unusual_arrays() -> None:
    """No records; and arrays that are not contiguous or writable compile nothing new."""
    warm()
    kernels = [sj.scan_rows, tables.add_string, tables.add_key]
    before = [len(k.signatures) for k in kernels]
    assert decoder().decode(chunk_of([])).blocks == []
    chunk = chunk_of([{"model": "m", "features": {"a": "x", "b": 1}}] * 4)
    chunk.buf = chunk.buf.copy()
    chunk.offsets = np.arange(8)[::2]
    chunk.timestamps = np.full(4, T0)[::-1]
    assert decoder().decode(chunk).blocks[0].offset.tolist() == [0, 2, 4, 6]
    assert [len(k.signatures) for k in kernels] == before


def test_registry() -> None:
    """Formats by name; an unknown one is the operator's mistake."""
    options: dict[str, Any] = {"fixed_model": None, "allowed_models": None, "max_event_age_ms": None}
    assert isinstance(make_decoder("native", **options), NativeDecoder)
    with pytest.raises(OperatorError, match="native"):
        make_decoder("avro", **options)
