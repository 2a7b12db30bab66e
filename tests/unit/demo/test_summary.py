"""The verdict: which alert belongs to the planted fault, and whether every event is accounted for."""

from typing import Any

import pytest

from driftline.demo.closing import failure
from driftline.demo.faults import PlantedFault
from driftline.demo.flights import LATE, ON_TIME
from driftline.demo.summary import Control, Performance, RowCount, Summary, episodes_of, quantile, summarise
from unit.demo.tables import make_alert

FAULT = PlantedFault(1_000, 2_000)
ROWS = RowCount(10_000, 9_999, 1, 1, "a test")


def judge(*alerts: dict[str, Any], rows: RowCount = ROWS) -> Summary:
    """A summary of these alerts."""
    return summarise(alerts, FAULT, rows, None, 1.0)


def test_a_fault_found_while_there_and_resolved_after_it_passes() -> None:
    """Delays are counted from the fault's own edges."""
    s = judge(make_alert("opened", "distance", 1_120), make_alert("resolved", "distance", 2_750))
    assert s.passed
    assert (s.fault.opened_after, s.fault.resolved_after) == (120, 750)
    assert s.changes == ()


@pytest.mark.parametrize(
    ("alerts", "reason"),
    [
        ([], "was not found"),
        ([("opened", "distance", 999), ("resolved", "distance", 3_000)], "was not found"),
        ([("opened", "distance", 2_000), ("resolved", "distance", 3_000)], "was not found"),
        ([("opened", "carrier", 1_200), ("resolved", "carrier", 3_000)], "was not found"),
        ([("opened", "distance", 1_100)], "was not resolved"),
        ([("opened", "distance", 1_100), ("resolved", "distance", 1_999)], "was not resolved"),
    ],
)
def test_anything_else_fails_and_says_why(alerts: list[tuple[str, str, int]], reason: str) -> None:
    """Too early, too late, another signal, never resolved, resolved while it was still there."""
    s = judge(*(make_alert(*a) for a in alerts))
    assert not s.passed
    assert reason in failure(s)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (RowCount(10_000, 9_998, 1, 1, ""), "1 events are not accounted for"),
        (RowCount(10_000, 10_000, 1, 1, ""), "-1 events are not accounted for"),
        (RowCount(10_000, 9_998, 2, 1, ""), "2 events were rejected, 1 were broken"),
    ],
)
def test_lost_doubled_or_wrongly_rejected_events_fail(rows: RowCount, reason: str) -> None:
    """The fault alone is not enough."""
    s = judge(make_alert("opened", "distance", 1_120), make_alert("resolved", "distance", 2_750), rows=rows)
    assert not s.passed
    assert reason in failure(s)


def test_an_alert_already_open_is_named_and_does_not_count_as_found() -> None:
    """A real change before the fault must not be sold as its discovery."""
    s = judge(make_alert("opened", "distance", 500), make_alert("resolved", "distance", 5_000))
    assert not s.passed
    assert s.fault.before is not None
    assert s.fault.before.opened_row == 500
    assert [signal for signal, _ in s.changes] == ["distance"]


def test_real_changes_are_grouped_by_signal_in_order_of_appearance() -> None:
    """The fault's own episode is not among them, a later one of the same signal is."""
    s = judge(
        make_alert("opened", "pressure", 700),
        make_alert("opened", "distance", 1_100),
        make_alert("opened", "temperature", 1_500),
        make_alert("resolved", "pressure", 1_600),
        make_alert("resolved", "distance", 2_500),
        make_alert("opened", "pressure", 4_000, episode=2),
        make_alert("opened", "distance", 5_000, episode=2),
    )
    assert [(signal, [e.opened_row for e in group]) for signal, group in s.changes] == [
        ("pressure", [700, 4_000]),
        ("temperature", [1_500]),
        ("distance", [5_000]),
    ]
    assert [e.signal for e in s.still_open] == ["pressure", "temperature", "distance"]


def test_a_repeated_alert_counts_once() -> None:
    """A reader without read_committed may see an alert twice."""
    opened, resolved = make_alert("opened", "distance", 1_100), make_alert("resolved", "distance", 2_500)
    assert episodes_of([opened, opened, resolved, resolved]) == episodes_of([opened, resolved])
    assert len(episodes_of([opened, opened])) == 1


def test_the_control_states_what_the_budget_allows() -> None:
    """A week's budget, taken to the days held out."""
    assert Control(7_000, 8, (), 1.0).allowed == pytest.approx(8 / 7)


def test_quantile_is_a_value_that_was_seen() -> None:
    """Nearest rank, also at the ends."""
    assert [quantile([1.0, 2.0, 9.0], share) for share in (0.0, 0.5, 1.0)] == [1.0, 2.0, 9.0]


def test_performance_is_of_all_joined_flights_and_its_alerts_stand_apart() -> None:
    """Accuracy and recall from the confusion counts; an alert on errors or a KPI is no real change."""
    found = Performance(
        {(LATE, LATE): 30, (ON_TIME, ON_TIME): 50, (LATE, ON_TIME): 10, (ON_TIME, LATE): 10}, 120, 0.8, True
    )
    assert (found.joined, found.accuracy, found.recall) == (100, 0.8, 0.75)
    alerts = [
        make_alert("opened", "performance.error_rate", 5),
        make_alert("opened", "kpi.accuracy", 7),
        make_alert("opened", "temperature", 50),
    ]
    summary = summarise(alerts, FAULT, ROWS, None, 1.0, (), found)
    assert [signal for signal, _ in summary.changes] == ["temperature"]
    assert [e.signal for e in summary.worse] == ["performance.error_rate"]
    assert [e.signal for e in summary.broken] == ["kpi.accuracy"]
