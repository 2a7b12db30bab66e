"""Labels: the fast path gives what the slow one gives, on any record, and envelopes carry them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.config import MappingSettings
from driftline.decide import replay
from driftline.errors import MessageError
from driftline.ingest.decode import FieldMapping, NativeDecoder
from driftline.ingest.decode.mapping import NATIVE_LABELS
from driftline.ingest.envelope import pack, split, unpack
from driftline.records import Block, ColumnKind, Envelope, Progress, RejectCode, Source
from property.test_decode import chunk_of, exact

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False), st.text(max_size=4)
)
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.text(max_size=2), SCALARS, max_size=2)
)
RECORDS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(st.text(max_size=3), st.integers(0, 9), VALUES),
        "model": st.sampled_from(["m", "other", "no model"]),
        "time": st.one_of(st.just("2026-11-23T10:00:00Z"), st.integers(0, 2**41), VALUES),
        "label": VALUES,
        "prediction": st.one_of(
            VALUES, st.fixed_dictionaries({}, optional={"score": VALUES, "class": VALUES})
        ),
        "features": VALUES,
        "y": VALUES,
    },
)
MAPPED = FieldMapping.of(
    MappingSettings.model_validate({"model": "/model", "id": "/id", "label": "/y", "score": "/label"})
)


@given(st.lists(RECORDS, max_size=12), st.sampled_from([NATIVE_LABELS, MAPPED]))
def test_fast_and_slow_agree(records: list[dict[str, Any]], mapping: FieldMapping) -> None:
    """Blocks, rejects and counts, the second time by known keys; rows conserve."""
    values: list[bytes | None] = [json.dumps(record).encode() for record in records]
    options: dict[str, Any] = {"fixed_model": None, "allowed_models": None, "max_event_age_ms": None}
    fast, slow = (NativeDecoder(**options, mapping=mapping, fast=on) for on in (True, False))
    for _ in range(2):
        found = fast.decode(chunk_of(values))
        exact(found, slow.decode(chunk_of(values)))
        assert sum(map(len, found.blocks)) + len(found.rejects) == len(records)
        assert all(block.is_labels for block in found.blocks)
        offsets = [reject.offset for reject in found.rejects]
        assert offsets == sorted(offsets)


def labels(count: int) -> Envelope:
    """An envelope of labels only."""
    values = [b'{"id":"%d","model":"m","label":%s}' % (i, b'"x"' if i % 2 else b"1.5") for i in range(count)]
    decoder = NativeDecoder(
        fixed_model=None, allowed_models=None, max_event_age_ms=None, mapping=NATIVE_LABELS
    )
    blocks = decoder.decode(replay.chunk_of(values, Source("t", 0), 0)).blocks
    return Envelope("t", (Progress(Source("t", 0), "id", -1, 0, count - 1, 1),), tuple(blocks))


def test_envelopes_carry_labels() -> None:
    """As they are, whole or in parts."""
    whole = labels(500)
    found = unpack(pack(whole)).blocks[0]
    assert [c.kind for c in found.columns] == [ColumnKind.LABEL]
    assert found.is_labels
    parts = split(whole, 4_000)
    assert len(parts) > 2
    assert sum(len(block) for part in parts for block in unpack(pack(part)).blocks) == 500


def test_envelopes_without_labels_stay_readable_for_older_workers() -> None:
    """Version 1, as before; and labels never pose as version 1."""
    import google_crc32c

    whole = labels(3)
    assert pack(Envelope("t", whole.progress))[4] == 1
    data = pack(whole)
    assert data[4] == 2
    assert google_crc32c.value(data[12:]) == int.from_bytes(data[8:12], "little")  # not over the version
    with pytest.raises(MessageError, match="version 1 has no such columns"):
        unpack(data[:4] + b"\1" + data[5:])


def test_what_is_no_label_is_rejected_with_its_reason() -> None:
    """The row is told apart: no label, or nothing to join it with."""
    values: list[bytes | None] = [
        b'{"model":"m","label":1}',
        b'{"model":"m","id":"1"}',
        b'{"model":"m","label":1,"prediction":2}',
    ]
    decoder = NativeDecoder(
        fixed_model=None, allowed_models=None, max_event_age_ms=None, mapping=NATIVE_LABELS
    )
    found = decoder.decode(chunk_of(values))
    assert [reject.code for reject in found.rejects] == [RejectCode.ID_MISSING, RejectCode.LABEL_INVALID]
    block: Block = found.blocks[0]
    assert block.values.tolist() == [[2.0], [1.0]]  # the score, the label
