"""Window reports on Kafka (``schemas/report.v1.json``): the same report always gives the same bytes."""

from __future__ import annotations

import json

from driftline.decide.outputs import Report
from driftline.errors import BugError
from driftline.records import OutputRecord


def encode(report: Report) -> OutputRecord:
    """The record of a report, keyed by model.

    Raises:
        BugError: the data is not JSON-ready, against the contract of ``decide.outputs``.
    """
    try:
        value = json.dumps(
            dict(report.data), ensure_ascii=False, allow_nan=False, separators=(",", ":")
        ).encode()
    except (TypeError, ValueError) as error:
        raise BugError(f"report {report.id} of {report.model} cannot be encoded: {error}") from error
    return OutputRecord(
        key=report.model.encode(), value=value, headers=(("content-type", b"application/json"),)
    )
