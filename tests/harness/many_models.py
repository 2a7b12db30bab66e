"""Views of many models that went through the pure core: for metrics, their page and its cost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

import numpy as np

from driftline.config import Settings
from driftline.decide.outputs import ModelView
from driftline.decide.replay import Replay

FEATURES: Final = 20
LEARNING_ROWS: Final = 500  # the least
ROWS: Final = 1_600  # a reference, warm-up, a full window, and the second half of it drifted
SHIFTED: Final = 900  # row from which on one feature is another


def views(models: int) -> list[ModelView]:
    """Models of 20 features each, of which one has drifted."""
    replay = Replay(
        Settings.model_validate(
            {
                "ingest": {"discover_models": True},
                "detection": {
                    "learning_rows": LEARNING_ROWS,
                    "window_rows": 1_000,
                    "learning_models_max": models,
                    "models_per_partition_max": models,
                },
            }
        )
    )
    for model in range(models):
        replay.feed(list(_rows(model)))
    return replay.views()


def _rows(model: int) -> Iterator[bytes]:
    rng = np.random.default_rng(model)
    cells = rng.normal(size=(ROWS, FEATURES)).round(3)
    cells[SHIFTED:, 0] += 4.0
    for at, row in enumerate(cells.tolist()):
        features = {f"f{j}": value for j, value in enumerate(row)}
        event = {"model": f"m{model:03d}", "time": 1_700_000_000_000 + 100 * at, "features": features}
        yield json.dumps(event).encode()
