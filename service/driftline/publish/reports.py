"""Window reports on Kafka, of signals and of performance: the same report always gives the same bytes."""

from __future__ import annotations

from driftline.decide.outputs import Report
from driftline.publish.text import json_bytes
from driftline.records import OutputRecord


def encode(report: Report) -> OutputRecord:
    """The record of a report, keyed by model.

    Raises:
        BugError: see ``json_bytes``.
    """
    value = json_bytes(report.data, f"report {report.id} of {report.model}")
    return OutputRecord(report.model.encode(), value, (("content-type", b"application/json"),))
