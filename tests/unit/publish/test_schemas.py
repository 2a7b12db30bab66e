"""The schemas of what we write: they are schemas, their examples hold, and what the code writes fits."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from driftline.ingest.decode.command import COMMAND_TYPES
from driftline.publish import commands, rejects, reports
from driftline.records import Reject, RejectCode, Source

SCHEMAS = Path(__file__).parents[3] / "schemas"
NAMES = ("alert", "action", "report", "performance-report", "reject", "command")
EXAMPLES = [
    pytest.param(name, path, id=f"{name}-{path.parent.name}-{path.stem}")
    for name in NAMES
    for path in sorted((SCHEMAS / "examples" / name).glob("*/*.json"))
]


def validator(name: str) -> jsonschema.Draft202012Validator:
    """The validator of ``schemas/<name>.v1.json``."""
    return jsonschema.Draft202012Validator(json.loads((SCHEMAS / f"{name}.v1.json").read_text()))


@pytest.mark.parametrize("name", [*NAMES, "config"])
def test_schema_is_a_schema(name: str) -> None:
    """JSON Schema 2020-12 itself accepts it, and its id says which it is."""
    schema = json.loads((SCHEMAS / f"{name}.v1.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"] == f"urn:driftline:schema:{name}.v1"


@pytest.mark.parametrize("name", NAMES)
def test_there_are_examples_of_both_kinds(name: str) -> None:
    """An empty folder must not pass."""
    for kind in ("valid", "invalid"):
        assert list((SCHEMAS / "examples" / name / kind).glob("*.json"))


@pytest.mark.parametrize(("name", "path"), EXAMPLES)
def test_example(name: str, path: Path) -> None:
    """Valid examples have no error, invalid ones exactly one reason each."""
    errors = list(validator(name).iter_errors(json.loads(path.read_text())))
    if path.parent.name == "valid":
        assert not errors
    else:
        assert len(errors) == 1, [error.message for error in errors]


def test_every_kind_of_command_has_an_example() -> None:
    """Which is what the fuzzer spoils."""
    kind = json.loads((SCHEMAS / "command.v1.json").read_text())["properties"]["type"]
    paths = (SCHEMAS / "examples" / "command" / "valid").glob("*.json")
    examples = {json.loads(path.read_text())["type"] for path in paths}
    assert examples == set(kind.get("enum", [kind.get("const")])) == COMMAND_TYPES


def test_reject_schema_knows_every_code() -> None:
    """A new reason code needs a line in the schema."""
    schema = json.loads((SCHEMAS / "reject.v1.json").read_text())
    assert sorted(schema["properties"]["code"]["enum"]) == sorted(code.value for code in RejectCode)


@pytest.mark.parametrize("code", list(RejectCode))
@pytest.mark.parametrize("payload", [None, b"", b"x" * 100_000])
def test_encoded_rejects_fit(code: RejectCode, payload: bytes | None) -> None:
    """What rejects.encode writes is what the schema promises."""
    reject = Reject(Source("t", 0), 0, 0, code, "\x00" * 300, "0" * 32)
    validator("reject").validate(json.loads(rejects.encode(reject, None, payload).value))


def test_encoded_commands_fit() -> None:
    """What ``commands`` writes is what the schema promises."""
    by, why = "a\x00" * 900, "\U000e0001" * 600
    for record in (
        commands.promote("m", {"format": 1, "signals": []}, by="a\x00" * 900, why=""),
        commands.reset("m", by=by, why=why),
        commands.on_alerts("mute", "m", "age", until_ms=0, by=by, why=why),
        commands.on_alerts("unmute", "m", None, by=by, why=why),
        commands.on_alerts("ack", "m", None, by=by, why=why),
        commands.on_alerts("close", "m", "age", by=by, why=why),
    ):
        validator("command").validate(json.loads(record.value))


def closed(schema: Any) -> Any:
    """The schema with every object closed: finds properties that it does not describe."""
    if isinstance(schema, dict):
        out = {key: closed(value) for key, value in schema.items()}
        if "properties" in out and "required" in out and "if" not in out and out.get("type") == "object":
            out["additionalProperties"] = False
        return out
    return [closed(item) for item in schema] if isinstance(schema, list) else schema


def test_alerts_and_reports_of_the_pipeline_fit() -> None:
    """Real alerts and reports, numeric and categorical, have the described properties only."""
    from driftline.config import load_settings
    from driftline.decide.replay import Replay

    detection = {"learning_rows": 600, "window_rows": 1_000}
    replay = Replay(load_settings(None, ingest={"discover_models": True}, detection=detection))
    lines = []
    for i in range(6_000):
        drifted = 1_500 <= i < 3_000
        features = {
            "age": (i * 7919 % 1000) / 10 + (60 if drifted else 0),
            "land": "XY"[i % 2] if not drifted else "Z",
        }
        event = {"model": "m", "time": 1_795_000_000_000 + i * 1000, "features": features}
        lines.append(json.dumps(event).encode())
    alerts = replay.feed(lines)
    events = {alert.type.rpartition(".")[2] for alert in alerts}
    assert events == {"opened", "updated", "resolved"}
    assert {alert.signal for alert in alerts} == {"age", "land"}
    strict = jsonschema.Draft202012Validator(closed(validator("alert").schema))
    for alert in alerts:
        strict.validate(dict(alert.data))
    windows = replay.partition.take_reports()
    assert len(windows) == 5
    strict = jsonschema.Draft202012Validator(closed(validator("report").schema))
    for report in windows:
        strict.validate(json.loads(reports.encode(report).value))
