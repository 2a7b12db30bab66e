"""The words of alerts, as people read them: golden sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftline.decide import texts
from driftline.decide.texts import Change

AGE = Change(
    model="credit-risk",
    signal="age",
    channel="location",
    learned_rows=None,
    mean=0.58,
    reference_mean=0.5,
    tolerated=(0.486, 0.514),
    quantiles=(29.0, 43.0, 52.0, 61.5, 70.0),
    reference_quantiles=(23.0, 32.0, 41.0, 50.0, 63.0),
    top=[],
    reference_top=[],
    onset_ms=1_764_000_300_000,
    decided_ms=1_764_000_700_000,
)
HIGHER = (
    'credit-risk: "age" is higher than in training: median 52, was 41 (%s of values exceed the reference, '
    "50 %% expected, up to 51.4 %% tolerated); "
)
LOWER = HIGHER.replace("higher", "lower").replace("up to 51.4", "down to 48.6")


@pytest.mark.parametrize(
    ("mean", "restated", "first", "second"),
    [
        (
            0.545,
            True,
            HIGHER % "54.5 %",
            "measured over more events, the change is 69.2 % of what was first reported",
        ),
        (0.7, False, HIGHER % "70 %", "it has grown to 3.1 times what was last reported"),
        (0.53, False, HIGHER % "53 %", "it has shrunk to 46.2 % of what was last reported"),
        (0.4, False, LOWER % "40 %", "it has turned round since the last report"),
    ],
)
def test_updates(mean: float, restated: bool, first: str, second: str) -> None:
    """What it is now, then how that compares with what was said before."""
    change = replace(AGE, mean=mean)
    assert texts.updated(change, change, 0.565, restated=restated) == first + second
