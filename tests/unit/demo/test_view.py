"""What the viewer sees fits the terminal and says what is in the frame."""

import io
import math
from collections.abc import Sequence

import pytest
from rich.console import Console

from driftline.demo.closing import print_summary
from driftline.demo.faults import PlantedFault
from driftline.demo.summary import Control, Performance, RowCount, episodes_of, summarise
from driftline.demo.view import Feed, Frame, SignalLine, View, ranked, screen
from driftline.demo.worker import read_metrics
from unit.demo.tables import make_alert

SIGNALS = [
    SignalLine(
        "a feature with a name so long that no terminal on earth would ever show it whole " * 2,
        0.3,
        0.5,
        None,
    ),
    SignalLine("pressure", -0.65, 0.1, "warning"),
    *(SignalLine(f"signal {i}", i / 100, 0.0, None) for i in range(20)),
    SignalLine("unknown", math.nan, math.nan, None),
]


def frame(signals: Sequence[SignalLine] = SIGNALS) -> Frame:
    """A moment in the middle of the stream."""
    return Frame(
        60_000, 31_000, 30_000, 12_345.0, "2013-03-05", signals, "metrics: http://127.0.0.1:1/metrics"
    )


def feed(alerts: int) -> Feed:
    """A feed with so many alerts."""
    out = Feed()
    for i in range(alerts):
        text = "is higher than in training, and then it goes on for a long while " * 4
        out.add(make_alert("opened", f"signal {i}", i, summary=f"flight-delay: {text}"))
    return out


@pytest.mark.parametrize(("width", "height"), [(40, 16), (60, 24), (80, 24), (100, 40), (200, 60)])
@pytest.mark.parametrize("alerts", [0, 1, 50])
def test_the_screen_fits_any_terminal(width: int, height: int, alerts: int) -> None:
    """No line wider, no more lines than there are; the most shifted signal with an alert is on it."""
    console = Console(file=io.StringIO(), width=width, height=height)
    lines = console.render_lines(
        screen(frame(ranked(SIGNALS)), feed(alerts), "Planted", width, height), pad=False
    )
    assert len(lines) <= height
    text = ["".join(segment.text for segment in line).rstrip() for line in lines]
    assert all(len(line) <= width for line in text)
    assert "pressure" in "\n".join(text)
    assert "2013-03-05" in text[0]


def test_signals_with_an_alert_come_first_then_the_most_shifted_then_the_unknown() -> None:
    """Whatever the order in which they were read."""
    names = [s.name for s in ranked(SIGNALS[::-1])]
    assert names[0] == "pressure"
    assert names[1] == SIGNALS[0].name
    assert names[-1] == "unknown"


def test_without_a_terminal_there_are_plain_lines_spaced_in_time() -> None:
    """Frames every three seconds, alerts and notes at once, a note once."""
    out = io.StringIO()
    seconds = iter([0.0, 0.0, 1.0, 2.9, 3.5, 3.5])
    with View(Console(file=out, width=200), lambda: next(seconds)) as view:
        view.show(frame())
        view.show(frame())
        view.show(frame())
        view.note("Planted")
        view.note("Planted")
        view.alert(make_alert("opened", "pressure", 10))
        view.show(frame())
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == ["2013-03-05", "Planted", "2013-03-01", "2013-03-05"]
    assert "1 alerts open" in lines[-1]
    assert "opened" in lines[2]


@pytest.mark.parametrize("width", [50, 80, 140])
@pytest.mark.parametrize("found", [True, False])
def test_the_closing_summary_fits_and_ends_with_the_verdict(width: int, found: bool) -> None:
    """Wide and narrow, good and bad."""
    alerts = [make_alert("opened", "pressure", 900)]
    if found:
        alerts += [make_alert("opened", "distance", 1_200), make_alert("resolved", "distance", 2_500)]
    alerts += [make_alert("opened", "performance.error_rate", 9)] if found else []
    performance = Performance({("late", "late"): 1, ("on_time", "late"): 1}, 2, 0.5, True, (2.7, 6.7))
    control = Control(7_000, 8, episodes_of([make_alert("opened", "carrier", 4)]), 1.0)
    rows = RowCount(10_000, 9_999, 1, 1, "a test")
    out = io.StringIO()
    print_summary(
        Console(file=out, width=width),
        summarise(alerts, PlantedFault(1_000, 2_000), rows, control, 2.0, [0.4], performance),
    )
    lines = [line.rstrip() for line in out.getvalue().splitlines()]
    assert all(len(line) <= width for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "10,000 in = 9,999 accepted + 1 rejected" in text
    assert "1 false alarm; the budget of 1 a week allows 1.1" in text
    assert "1 alert on 1 signal that nobody planted" in text
    assert "right in 50.0% of 2 flights" in text
    assert ("1 alert that predictions got worse" in text) is found
    assert ("no alert that predictions got worse" in text) is not found
    assert ("Passed:" in text) is found
    assert ("FAILED: the planted fault was not found" in text) is not found


def test_the_metrics_page_becomes_signals_with_their_alert() -> None:
    """Other models are left out; the state is the one whose series is 1."""
    page = """\
# TYPE driftline_model_state gauge
driftline_model_state{model="flight-delay",state="learning"} 0
driftline_model_state{model="flight-delay",state="active"} 1
# TYPE driftline_model_rows_total counter
driftline_model_rows_total{model="flight-delay"} 1234
driftline_model_rows_total{model="other"} 9
# TYPE driftline_signal_shift_sd gauge
driftline_signal_shift_sd{model="flight-delay",signal="pressure"} -0.5
driftline_signal_shift_sd{model="other",signal="x"} 1
# TYPE driftline_alert_active gauge
driftline_alert_active{model="flight-delay",signal="carrier",severity="critical"} 1
"""
    state, rows, signals = read_metrics(page)
    assert (state, rows) == ("active", 1234)
    assert [(s.name, s.severity) for s in signals] == [("carrier", "critical"), ("pressure", None)]
    assert signals[1].shift == -0.5
    assert math.isnan(signals[0].shift)


def test_no_page_is_no_state() -> None:
    """While the worker starts."""
    assert read_metrics("") == ("", 0, [])
