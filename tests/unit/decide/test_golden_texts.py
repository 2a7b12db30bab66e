"""How every kind of alert reads, whole and word by word; ``make golden`` writes the texts anew."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from driftline.publish.alerts import message
from harness.alert_stories import STORIES

TEXTS = Path(__file__).parents[2] / "golden" / "alerts"
SCHEMA = json.loads((Path(__file__).parents[3] / "schemas" / "alert.v1.json").read_text(encoding="utf-8"))
JARGON = ("PSI", "KS", "e-value", "e-detector", "ADWIN", "sigma", "quantile", "statistic", "p-value", "drift")


@pytest.mark.parametrize("name", STORIES)
def test_alerts_read_as_they_did(name: str) -> None:
    """The story's alerts fit the schema and read like the golden text, whose first lines have no jargon."""
    alerts = STORIES[name]()
    assert alerts != []
    for alert in alerts:
        Draft202012Validator(SCHEMA).validate(dict(alert.data))
    read = [message(alert.data) for alert in alerts]
    text = "\n\n".join("\n".join(lines) for lines in read) + "\n"
    assert text == (TEXTS / f"{name}.txt").read_text(encoding="utf-8")
    for first, *_ in read:
        assert not [word for word in JARGON if word in first]


def test_every_golden_text_has_its_story() -> None:
    """A story that is gone leaves no text behind."""
    assert {path.stem for path in TEXTS.glob("*.txt")} == set(STORIES)
