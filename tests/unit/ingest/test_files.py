"""Tables are read as the same rows in JSON would be, in bounded batches, and mistakes are named."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from driftline.config import Settings
from driftline.decide.replay import Replay, alert_row
from driftline.errors import OperatorError
from driftline.ingest.decode.text import value_of
from driftline.ingest.files import EventFiles
from driftline.records import FEATURES_MAX, Block, Tag

T0 = 1_795_428_000_000


def settings_of(**source: Any) -> Settings:
    """Any model is accepted."""
    return Settings(ingest={"discover_models": True}, inputs=[{"topic": "file", **source}])


def reader(
    path: Path, settings: Settings | None = None, *, columns: dict[str, str] | None = None, rows: int = 100
) -> tuple[Replay, EventFiles]:
    """A replay and the file that it is about to read."""
    settings = settings or settings_of()
    run = Replay(settings)
    return run, EventFiles(
        [path], settings.inputs[0], run.decoder, allowed_models=None, columns=columns, batch_rows=rows
    )


def blocks_of(path: Path, settings: Settings | None = None, **options: Any) -> list[Block]:
    """All blocks of a file."""
    return [block for decoded, _ in reader(path, settings, **options)[1] for block in decoded.blocks]


def replayed(path: Path, settings: Settings | None = None, **options: Any) -> tuple[str, dict[str, Any]]:
    """The alerts as ``replay --json`` prints them, and the summary."""
    run, files = reader(path, settings, **options)
    alerts = [json.dumps(alert_row(alert)) for decoded, rows in files for alert in run.take(decoded, rows)]
    s = run.summary
    return "\n".join(alerts), {
        "rows": s.rows, "accepted": s.accepted, "filtered": s.filtered, "rejected": dict(s.rejected),
        "counts": dict(s.counts),
    }  # fmt: skip


def events(n: int) -> list[dict[str, Any]]:
    """Flat rows of two models with everything a cell can be, and a drift from row 8,000 on."""
    rng = np.random.default_rng(4)
    shift = np.arange(n) >= 8_000
    amount, other = rng.normal(size=n) + shift, rng.normal(size=n)
    country = np.where(rng.random(n) < np.where(shift, 0.9, 0.5), "DE", "US").tolist()
    columns: dict[str, list[Any]] = {
        "id": [f"e{i}" if i % 3 else i for i in range(n)],
        "model": ["m" if i % 5 else "k" for i in range(n)],
        "model_version": [3 if i % 2 else "v" for i in range(n)],
        "time": [T0 + 10 * i for i in range(n)],
        "amount": amount.tolist(),
        "other": [None if i % 11 == 0 else value for i, value in enumerate(other.tolist())],
        "country": country,
        "vip": (rng.random(n) < 0.3).tolist(),
        "count": rng.integers(0, 9, n).tolist(),
        "score": rng.random(n).tolist(),
        "class": np.where(other > 0, "yes", "no").tolist(),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


NATIVE = ("id", "model", "model_version", "time")


def as_native(row: dict[str, Any]) -> str:
    """A flat row as the native event that it stands for."""
    body: dict[str, Any] = {key: row[key] for key in NATIVE if key in row}
    body["features"] = {k: v for k, v in row.items() if k not in {*NATIVE, "score", "class"}}
    body["prediction"] = {k: row[k] for k in ("score", "class") if k in row}
    return json.dumps(body)


def write(folder: Path, kind: str, rows: list[dict[str, Any]]) -> Path:
    """The rows as a file of this kind."""
    path = folder / f"rows.{kind}"
    if kind == "parquet":
        text = [{**row, "id": str(row["id"]), "model_version": str(row["model_version"])} for row in rows]
        parquet.write_table(pa.Table.from_pylist(text), path, row_group_size=3_000)
    elif kind.startswith("csv"):
        with gzip.open(path, "wt") if kind.endswith("gz") else path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(as_native(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], str, dict[str, Any]]:
    """Rows, and what JSON lines of them give."""
    rows = events(20_000)
    alerts, summary = replayed(write(tmp_path_factory.mktemp("jsonl"), "jsonl", rows), rows=7_000)
    assert alerts.count("opened") >= 3
    return rows, alerts, summary


@pytest.mark.parametrize(
    ("kind", "batch"), [("parquet", 1_000), ("parquet", 20_000), ("csv", 999), ("csv.gz", 20_000)]
)
def test_the_same_rows_give_the_same_alerts(
    kind: str, batch: int, same: tuple[list[dict[str, Any]], str, dict[str, Any]], tmp_path: Path
) -> None:
    """Byte for byte what JSON lines give, whatever the batches."""
    rows, alerts, summary = same
    found, counted = replayed(write(tmp_path, kind, rows), rows=batch)
    assert found == alerts
    assert counted == summary


def cells(block: Block, name: str) -> list[tuple[str, Any]]:
    """A column's cells as tags and values."""
    c = [column.name or column.kind.name for column in block.columns].index(name)
    column, tags = block.columns[c], [Tag(int(t)).name for t in block.tags[c]]
    values = block.values[c].tolist()
    shown: dict[str, Callable[[Any], Any]] = {
        "STRING": lambda v: column.strings[int(v)],
        "NUMBER": float,
        "BOOL": bool,
    }
    return [(tag, shown[tag](v) if tag in shown else None) for tag, v in zip(tags, values, strict=True)]


def test_every_type_of_arrow(tmp_path: Path) -> None:
    """Null, bool, number and string as in JSON; what JSON has no value for is ignored by name."""
    when = datetime(2026, 11, 23, 10, tzinfo=UTC)
    columns = {
        "i8": pa.array([1, None, -3], pa.int8()), "u64": pa.array([2**53, 2**53 + 1, 2**64 - 1], pa.uint64()),
        "i64": pa.array([-(2**53), -(2**53) - 1, -(2**63)], pa.int64()),
        "f32": pa.array([0.1, None, float("nan")], pa.float32()),
        "f64": pa.array([-0.0, float("inf"), 5e-324]), "f16": pa.array(np.array([1.5, 2, 3], np.float16)),
        "bool": pa.array([True, None, False]), "null": pa.nulls(3), "text": pa.array(["x", None, "y" * 257]),
        "large": pa.array(["a", "b", "a"], pa.large_string()),
        "view": pa.array(["a", None, "a"], pa.string_view()),
        "coded": pa.array(["b", "a", None]).dictionary_encode(),
        "ints": pa.array([7, 8, 7]).dictionary_encode(),
        "decimal": pa.array([Decimal("1.50"), None, Decimal("-2.25")]), "when": pa.array([when, None, when]),
        "day": pa.array([date(2026, 1, 1)] * 3), "bytes": pa.array([b"x", None, b"y"]),
        "list": pa.array([[1], None, []]),
        "struct": pa.array([{"a": 1}, None, {"a": 2}]), "duration": pa.array([1, 2, 3], pa.duration("ms")),
    }  # fmt: skip
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table(columns), path)
    (block,) = blocks_of(path, settings_of(model="m"))
    number, invalid, null, nested = "NUMBER", ("INVALID", None), ("NULL", None), ("NESTED", None)
    assert cells(block, "i8") == [(number, 1.0), null, (number, -3.0)]
    assert cells(block, "u64") == [(number, 2.0**53), invalid, invalid]
    assert cells(block, "i64") == [(number, -(2.0**53)), invalid, invalid]
    assert cells(block, "f32") == [(number, float(np.float32(0.1))), null, invalid]
    assert cells(block, "f64") == [(number, 0.0), invalid, (number, 5e-324)]
    assert not np.signbit(block.values[[c.name for c in block.columns].index("f64"), 0])
    assert cells(block, "f16") == [(number, 1.5), (number, 2.0), (number, 3.0)]
    assert cells(block, "bool") == [("BOOL", True), null, ("BOOL", False)]
    assert cells(block, "null") == [null] * 3
    assert cells(block, "text") == [("STRING", "x"), null, invalid]
    assert cells(block, "large") == [("STRING", "a"), ("STRING", "b"), ("STRING", "a")]
    assert cells(block, "view") == [("STRING", "a"), null, ("STRING", "a")]
    assert cells(block, "coded") == [("STRING", "b"), ("STRING", "a"), null]
    assert cells(block, "ints") == [(number, 7.0), (number, 8.0), (number, 7.0)]
    assert cells(block, "decimal") == [(number, 1.5), null, (number, -2.25)]
    for name in ("when", "bytes", "list", "struct"):
        assert cells(block, name) == [nested, null, nested]
    assert cells(block, "day") == cells(block, "duration") == [nested] * 3
    _, summary = replayed(path, settings_of(model="m"))
    assert summary["counts"]["nested:when"] == 2


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_timestamps_are_times(unit: str, zone: str | None, tmp_path: Path) -> None:
    """Of any unit; without a zone they are UTC; missing ones are those of the record."""
    path = tmp_path / "t.parquet"
    seconds = pa.array([1_795_428_000, None, -1], pa.int64())
    scale = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    ticks = pa.array([None if s is None else s * scale for s in seconds.to_pylist()], pa.int64())
    parquet.write_table(pa.table({"time": ticks.cast(pa.timestamp(unit, zone)), "x": [1, 2, 3]}), path)
    (block,) = blocks_of(path, settings_of(model="m"))
    assert block.event_time.tolist() == [T0, 10, -1_000]
    assert [column.name for column in block.columns] == ["x"]


def test_nested_tables(tmp_path: Path) -> None:
    """Native events as Parquet holds them; and a mapping through structs."""
    path = tmp_path / "t.parquet"
    rows = [{"model": "m", "features": {"a": 1.0, "b": "x"}, "prediction": {"score": 0.5, "class": "y"}}] * 2
    parquet.write_table(pa.Table.from_pylist(rows), path)
    (block,) = blocks_of(path)
    assert [column.name or column.kind.name for column in block.columns] == ["a", "b", "SCORE", "CLASS"]
    mapping = {"model": "/model", "features": {"inner": "/features/b"}, "score": "/prediction/score"}
    (block,) = blocks_of(path, settings_of(mapping=mapping))
    assert cells(block, "inner") == [("STRING", "x")] * 2
    assert cells(block, "SCORE") == [("NUMBER", 0.5)] * 2


def test_probabilities_in_structs_are_those_of_lines(tmp_path: Path) -> None:
    """Class, confidence and entropy, invalid and absent ones, and a score that is one of them."""
    rng = np.random.default_rng(3)
    given: list[Any] = [dict(zip("abc", row.tolist(), strict=True)) for row in rng.dirichlet([1, 2, 3], 50)]
    given += [None, {"a": None, "b": 0.5, "c": 0.5}, {"a": 0.2, "b": 0.2, "c": 0.2}, {"a": 1, "b": 0, "c": 0}]
    table, lines = tmp_path / "t.parquet", tmp_path / "t.jsonl"
    likely = "/prediction/probabilities"
    inside = {"model": "/model", "probabilities": likely, "score": f"{likely}/a", "features": "/features"}
    there = [p for p in given if p is not None]  # where the object is null, a table has a null score
    for settings, some in ((settings_of(), given), (settings_of(mapping=inside), there)):
        rows = [{"model": "m", "features": {"x": 1.0}, "prediction": {"probabilities": p}} for p in some]
        parquet.write_table(pa.Table.from_pylist(rows), table)
        lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
        found = [next(iter(reader(path, settings)[1]))[0] for path in (table, lines)]
        assert found[0].counts == found[1].counts
        (left,), (right,) = (decoded.blocks for decoded in found)
        assert left.columns == right.columns
        assert (left.tags == right.tags).all()
        assert left.values.tobytes() == right.values.tobytes()
    wrong = tmp_path / "wrong.parquet"
    parquet.write_table(pa.table({"m": [1], "p": ["a"]}), wrong)
    flat = settings_of(model="m", mapping={"probabilities": "/p", "features": ""})
    assert cells(blocks_of(wrong, flat)[0], "CONFIDENCE") == [("INVALID", None)]


def test_rejected_rows_are_counted_like_lines(tmp_path: Path) -> None:
    """Each row is accepted, rejected with its code or empty; offsets are row numbers."""
    path = tmp_path / "t.csv"
    lines = ["id,model,time,x", "1,m,,1", "2,,,1", "3,bad model,,1", "4,m,yesterday,1",
             "5,m,2026-11-23T10:00:00Z,nan",
             "", "6,m", '7,m,1795428000123,"1,5"', "8,m,1e3,1"]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    _, files = reader(path, rows=3)
    batches = list(files)
    codes = {r.offset: r.code.value for decoded, _ in batches for r in decoded.rejects}
    assert codes == {
        1: "model_missing", 2: "model_invalid", 3: "time_invalid", 6: "syntax", 8: "time_invalid"
    }  # fmt: skip
    blocks = [block for decoded, _ in batches for block in decoded.blocks]
    assert [offset for block in blocks for offset in block.offset.tolist()] == [0, 4, 7]
    assert [cell for block in blocks for cell in cells(block, "x")] == [
        ("NUMBER", 1.0), ("INVALID", None), ("STRING", "1,5")
    ]  # fmt: skip
    accepted = sum(int(decoded.accepted_per_source.sum()) for decoded, _ in batches)
    filtered = sum(decoded.filtered for decoded, _ in batches)
    assert (accepted, filtered, sum(rows for _, rows in batches)) == (3, 1, 9)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("true", True), ("False", False), ("1", 1), ("-2.50", -2.5), ("1e5", 1e5), ("007", "007"),
        ("+5", "+5"), (" 5", " 5"), ("1_000", "1_000"), (".5", ".5"), ("5.", "5."), ("0x10", "0x10"),
        ("null", "null"),
        ("٣", "٣"),
    ],
)  # fmt: skip
def test_text_reads_like_json(text: str, value: object) -> None:
    """What is no number in JSON is a string here."""
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_columns_can_be_named(tmp_path: Path) -> None:
    """On the command line; what is named is no feature."""
    path = tmp_path / "t.csv"
    path.write_text("ts,label,prob,x\n1795428000000,yes,0.5,1\n")
    (block,) = blocks_of(
        path, settings_of(model="m"), columns={"time": "ts", "class": "label", "score": "prob"}
    )
    assert block.event_time.tolist() == [T0]
    assert [column.name or column.kind.name for column in block.columns] == ["x", "SCORE", "CLASS"]


def test_a_wide_table_keeps_its_first_features(tmp_path: Path) -> None:
    """FEATURES_MAX of them by name; the cells of others are counted."""
    path = tmp_path / "t.parquet"
    parquet.write_table(pa.table({f"f{i:04d}": [1.0, 2.0] for i in range(FEATURES_MAX + 3)}), path)
    run, files = reader(path, settings_of(model="m"))
    ((decoded, rows),) = files
    run.take(decoded, rows)
    assert len(decoded.blocks[0].columns) == FEATURES_MAX
    assert decoded.counts["features_limit"] == 6


def test_row_count_is_known_for_parquet_only(tmp_path: Path) -> None:
    """For a progress bar; other formats would have to be read."""
    rows = events(50)
    assert reader(write(tmp_path, "parquet", rows))[1].rows() == 50
    assert reader(write(tmp_path, "csv", rows))[1].rows() is None


def test_mistakes_about_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which file, what is wrong, what to do."""
    path = write(tmp_path, "csv", [{"x": 1, "y": 2}])

    def problem(file: Path, settings: Settings | None = None, **options: Any) -> str:
        with pytest.raises(OperatorError) as caught:
            blocks_of(file, settings, **options)
        return str(caught.value)

    assert "there is no such file" in problem(tmp_path / "no.csv")
    assert "there is no column 'model', only x, y. Name the model with --model" in problem(path)
    assert "did you mean time?" in problem(path, columns={"tme": "x"})
    assert "there is no column 'z'" in problem(path, settings_of(model="m"), columns={"time": "z"})
    mapping = {"score": "/deep/score"}
    assert "there is no column 'deep'" in problem(path, settings_of(model="m", mapping=mapping))
    likely = {"probabilities": "/x"}
    assert "an object, which CSV cannot hold" in problem(path, settings_of(model="m", mapping=likely))
    lines = write(tmp_path, "jsonl", [{"x": 1}])
    assert "inputs[].mapping" in problem(lines, columns={"time": "ts"})
    twice = tmp_path / "twice.csv"
    twice.write_text("x,x\n1,2\n")
    assert "two columns have the same name" in problem(twice, settings_of(model="m"))
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"PAR1 and nothing else")
    assert "Is the file complete?" in problem(broken)
    quotes = tmp_path / "quotes.csv"
    quotes.write_text('x\n"a"b\n')
    assert "reading events" in problem(quotes, settings_of(model="m"))
    cut = tmp_path / "cut.csv.gz"
    cut.write_bytes(gzip.compress(b"x\n" + bytes(range(48, 58)) * 999)[:-9])
    assert "Is the file complete?" in problem(cut, settings_of(model="m"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'driftline[files]'" in problem(broken)
