"""Formats of raw topics: a registry from a format's name to its decoder.

A decoder turns a chunk of raw records into blocks, one a model. It is constructed with ``fixed_model``,
``allowed_models``, ``max_event_age_ms`` and ``mapping``, and has the one method ``decode``.
"""

from __future__ import annotations

from typing import Final

from driftline.config import InputSettings
from driftline.errors import OperatorError
from driftline.ingest.decode.base import Decoded, Decoder
from driftline.ingest.decode.mapping import NATIVE, NATIVE_LABELS, FieldMapping
from driftline.ingest.decode.native import NativeDecoder, hash_id, warm

__all__ = [
    "DECODERS",
    "Decoded",
    "Decoder",
    "FieldMapping",
    "NativeDecoder",
    "hash_id",
    "make_decoder",
    "mapping_of",
    "warm",
]

DECODERS: Final[dict[str, type[NativeDecoder]]] = {"native": NativeDecoder}


def mapping_of(source: InputSettings) -> FieldMapping:
    """Where the fields are in the events or labels of an input."""
    if source.mapping is not None:
        return FieldMapping.of(source.mapping)
    return NATIVE_LABELS if source.kind == "labels" else NATIVE


def make_decoder(
    name: str,
    *,
    fixed_model: str | None,
    allowed_models: frozenset[str] | None,
    max_event_age_ms: int | None,
    from_file: bool = False,
    mapping: FieldMapping = NATIVE,
) -> Decoder:
    """A decoder of the format ``name``; ``from_file``: record timestamps mean nothing, no time is judged.

    Raises:
        OperatorError: there is no such format.
    """
    if name not in DECODERS:
        raise OperatorError(
            f'there is no format "{name}".', remedy=f"Formats: {', '.join(sorted(DECODERS))}."
        )
    return DECODERS[name](
        fixed_model=fixed_model,
        allowed_models=allowed_models,
        max_event_age_ms=max_event_age_ms,
        judge_times=not from_file,
        mapping=mapping,
    )
