"""Window reports as records."""

from __future__ import annotations

import json
import math

import pytest

from driftline.decide.outputs import Report
from driftline.errors import BugError
from driftline.publish import reports


def test_a_report_is_keyed_by_its_model() -> None:
    """Names stay readable, the value is compact JSON."""
    record = reports.encode(Report("id-1", 5, "credit-risk", {"signals": ["größe"], "n": 1.5}))
    assert record.key == b"credit-risk"
    assert record.value == '{"signals":["größe"],"n":1.5}'.encode()
    assert json.loads(record.value)["n"] == 1.5
    assert record.headers == (("content-type", b"application/json"),)


@pytest.mark.parametrize("value", [math.nan, object()])
def test_what_is_not_json_is_our_fault(value: object) -> None:
    """The contract of decide.outputs is broken: stop before it is stored."""
    with pytest.raises(BugError, match="report id-1 of m cannot be encoded"):
        reports.encode(Report("id-1", 5, "m", {"x": value}))
