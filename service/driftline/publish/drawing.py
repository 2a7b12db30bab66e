"""Small drawings for a terminal, as plain lines of text; ASCII where blocks cannot be shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from driftline.records import F64

BLOCKS: Final = " ▁▂▃▄▅▆▇█"
ASCII: Final = " .:-=+*#@"
BAR: Final = ("█", "#")


def columns(heights: Sequence[float] | F64, *, ascii_only: bool) -> str:
    """One character a height, the largest filled; what is more than nothing shows."""
    marks = ASCII if ascii_only else BLOCKS
    h = np.asarray(heights, dtype=np.float64)
    top = float(h.max(initial=0.0))
    if top <= 0.0:
        return marks[0] * len(h)
    places = np.ceil(h / top * (len(marks) - 1)).astype(int)
    return "".join(marks[i] for i in places)


def bar(share: float, width: int, *, ascii_only: bool) -> str:
    """A bar of a share of ``width`` characters; what is more than nothing shows."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return BAR[ascii_only] * max(full, int(share > 0.0))


def table(rows: Sequence[Sequence[str]], *, indent: int = 2) -> list[str]:
    """Rows with their columns one under the other; the first is on the left, the others on the right."""
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(max(map(len, rows), default=0))]
    return [
        " " * indent
        + "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    ]
