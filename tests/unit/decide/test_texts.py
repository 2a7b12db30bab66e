"""The words of alerts, as people read them: golden sentences."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftline.decide import texts
from driftline.decide.texts import Change

AGE = Change(
    "credit-risk", "age", "location", None, 0.58, 0.5, (0.486, 0.514),
    (29.0, 43.0, 52.0, 61.5, 70.0), (23.0, 32.0, 41.0, 50.0, 63.0), [], [], 1_764_000_300_000, 1_764_000_700_000,
)  # fmt: skip


@pytest.mark.parametrize(
    ("mean", "reported", "restated", "expected"),
    [
        (
            0.565,
            0.58,
            True,
            'credit-risk: "age" is higher than in training: median 52, was 41 (56.5 % of values exceed the '
            "reference, 50 % expected, up to 51.4 % tolerated); over a whole window: shift +0.065, reported "
            "+0.080 (location on the scale 0 to 1)",
        ),
        (
            0.7,
            0.565,
            False,
            'credit-risk: "age" is higher than in training: median 52, was 41 (70 % of values exceed the '
            "reference, 50 % expected, up to 51.4 % tolerated); has drifted further: shift +0.200, reported "
            "+0.065 (location on the scale 0 to 1)",
        ),
        (
            0.53,
            0.565,
            False,
            'credit-risk: "age" is higher than in training: median 52, was 41 (53 % of values exceed the '
            "reference, 50 % expected, up to 51.4 % tolerated); has come closer to the reference: shift "
            "+0.030, reported +0.065 (location on the scale 0 to 1)",
        ),
        (
            0.4,
            0.565,
            False,
            'credit-risk: "age" is lower than in training: median 52, was 41 (40 % of values exceed the '
            "reference, 50 % expected, down to 48.6 % tolerated); has turned round: shift -0.100, reported "
            "+0.065 (location on the scale 0 to 1)",
        ),
    ],
)
def test_updates(mean: float, reported: float, restated: bool, expected: str) -> None:
    """What it is now, then how that compares with what was said before."""
    change = replace(AGE, mean=mean)
    assert texts.updated(change, change, reported, restated=restated) == expected
