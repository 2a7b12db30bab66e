"""Small invented flights, and alerts as the service would write them."""

from __future__ import annotations

from typing import Any

import numpy as np

from driftline.demo.flights import CATEGORICAL, NUMERIC, FlightTable

FIRST_DAY = 735_000


def make_table(rows: int, seed: int = 1) -> FlightTable:
    """Flights of ten days whose arrival delay follows the departure delay."""
    rng = np.random.default_rng(seed)
    numeric = {name: rng.normal(100.0, 10.0, rows) for name in NUMERIC}
    numeric["departure_delay"] = rng.normal(10.0, 20.0, rows)
    categorical = {name: rng.choice(np.array(["A", "B", "C"], dtype=object), rows) for name in CATEGORICAL}
    day = FIRST_DAY + np.arange(rows) * 10 // max(rows, 1)
    return FlightTable(
        np.array([f"f{i}" for i in range(rows)], dtype=object),
        1_359_712_800_000 + np.arange(rows) * 60_000,
        day,
        np.full(rows, 2),
        numeric["departure_delay"] + rng.normal(0.0, 5.0, rows),
        numeric,
        categorical,
    )


def make_alert(state: str, signal: str, row: int, *, episode: int = 1, **more: Any) -> dict[str, Any]:
    """An alert as on the topic; ``state`` is opened or resolved."""
    return {
        "id": f"{signal}-{episode}-{state}",
        "type": f"driftline.alert.{state}",
        "time": f"2013-03-{1 + row // 10_000:02}T10:00:00.000Z",
        "onset": "2013-03-01T09:00:00.000Z",
        "model": "flight-delay",
        "signal": signal,
        "episode": episode,
        "severity": "warning",
        "summary": f'flight-delay: "{signal}" is higher than in training',
        "origin": {"topic": "inference.events", "partition": 0, "offset": row},
        **more,
    }
