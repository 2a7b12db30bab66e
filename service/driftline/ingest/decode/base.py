"""What every decoder promises, whatever the format."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from driftline.records import Block, RecordChunk, Reject


@dataclass(slots=True)
class Decoded:
    """A decoded chunk. Rows conserve: accepted + rejects + filtered = the chunk's records."""

    blocks: list[Block]  # one a model, in order of its first row; Block.source indexes the chunk's sources
    rejects: list[Reject]  # in the chunk's order
    filtered: int  # records with a null value
    accepted_per_source: npt.NDArray[np.int64]  # (sources,)
    # Of accepted rows: invalid (cells), no_id, bad_id, bad_version, bad_features, bad_probabilities (rows),
    # bad_name, features_limit (cells ignored), nested:<name> (cells; nested:* beyond a bound of names)
    counts: Counter[str] = field(default_factory=Counter)
    slow_rows: int = (
        0  # how many rows the fast path declined; says something about cost, nothing about the data
    )


class Decoder(Protocol):
    """Decodes chunks of one format; for one thread at a time, pure but for its bounded caches."""

    def decode(self, chunk: RecordChunk) -> Decoded:
        """Decodes a chunk; problems of rows are reject codes, never exceptions."""
        ...
