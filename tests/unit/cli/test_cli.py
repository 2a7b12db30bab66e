"""The command line: fast help, exit codes, messages without tracebacks, and each command at its edge."""

import ast
import json
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import driftline.cli
from driftline import cli
from driftline.errors import BugError, ExitCode, FatalError, MessageError, OperatorError, OutsideError
from driftline.records import OutputRecord

FOLDER = Path(driftline.cli.__file__).parent
HEAVY = {"aiokafka", "faust", "kafka", "numba", "numpy", "prometheus_client", "river", "scipy", "yaml"}


def run(*arguments: str, stdin: str = "") -> Result:
    """``driftline ARGUMENTS`` in this process; a bug is raised."""
    environment = {name: None for name in os.environ if name.startswith("DRIFTLINE_")} | {"NO_COLOR": "1"}
    result = CliRunner(env=environment).invoke(cli.app, arguments, input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Commands set up logging for a process of their own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)


# --- help ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [["--help"], *([name, "--help"] for name in cli.COMMANDS)], ids=" ".join
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """Half a second for --help is only possible without numpy and friends: which modules were loaded?"""
    code = (
        "import sys\nfrom driftline.cli import main\n"
        "try:\n    main()\n"
        "except SystemExit as e:\n"
        "    print('\\nLOADED', e.code, *sorted(m for m in sys.modules if '.' not in m))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    status, *loaded = done.stdout.rpartition("LOADED ")[2].split()
    assert status == "0"
    assert "typer" in loaded
    assert HEAVY & set(loaded) == set()
    assert (
        "pydantic" not in loaded or len(arguments) > 1
    )  # typer itself needs it to parse a command's options
    assert "Usage: " in done.stdout


def test_help_lists_every_command_with_a_line() -> None:
    """And in the order of COMMANDS."""
    text = run("--help").stdout
    places = [text.index(f" {name} ") for name in cli.COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_command_files_import_only_light_things(path: Path) -> None:
    """At module level: the standard library, typer and the errors; the rest inside functions."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    names = set()
    for node in body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    outside = {name for name in names if name.split(".")[0] not in sys.stdlib_module_names}
    assert outside <= {
        "typer",
        "typer.core",
        "driftline.errors",
        "driftline.cli",
    }  # our own are among these files


def test_every_module_is_registered_and_importable() -> None:
    """A command file that nobody registers is dead."""
    files = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")}
    assert files == {module.rpartition(".")[2] for module, _ in cli.COMMANDS.values()}


def test_version_and_unknown_command() -> None:
    """The version; the nearest command for a misspelt one, with the exit code of usage errors."""
    assert run("--version").stdout.strip() == driftline.__version__
    wrong = run("replya")
    assert wrong.exit_code == 2
    assert "replay" in wrong.stderr


# --- exit codes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OperatorError("bad thing.", remedy="Do this."), 64),
        (MessageError("bad thing.", remedy="Do this."), 65),
        (OutsideError("bad thing.", remedy="Do this."), 69),
        *((FatalError(code, "bad thing.", remedy="Do this."), int(code)) for code in ExitCode),
    ],
)
def test_errors_end_as_message_and_code(error: Exception, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message and the remedy on stderr, no traceback."""
    monkeypatch.setattr("driftline.config.load_settings", _raiser(error))
    result = CliRunner().invoke(cli.app, ["config", "check"])
    assert result.exit_code == code
    assert result.stderr == "driftline: bad thing. Do this.\n"
    assert result.stdout == ""


def test_ctrl_c_is_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """130, and nothing printed."""
    monkeypatch.setattr("driftline.config.load_settings", _raiser(KeyboardInterrupt()))
    result = CliRunner().invoke(cli.app, ["config", "check"])
    assert (result.exit_code, result.output) == (130, "")


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a traceback helps whoever gets the report."""
    monkeypatch.setattr("driftline.config.load_settings", _raiser(BugError("broken promise")))
    result = CliRunner().invoke(cli.app, ["config", "check"])
    assert isinstance(result.exception, BugError)


def test_messages_are_safe_to_print(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file's content in a message cannot drive the terminal."""
    monkeypatch.setattr("driftline.config.load_settings", _raiser(OperatorError("a\x1b[2Jb\r\x07")))
    assert (
        CliRunner().invoke(cli.app, ["config", "check"]).stderr == "driftline: a\\x1b[2Jb\ndriftline: \\x07\n"
    )


def _raiser(error: BaseException) -> object:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


# --- config -------------------------------------------------------------------------------------------------


def test_config_check(tmp_path: Path) -> None:
    """Good: one line. Warnings: on stderr. Wrong: key, value, nearest key, 64."""
    file = tmp_path / "c.yaml"
    file.write_text("models: {m: }\nkafka: {bootstrap_servers: 'k:9092', insecure: true}")
    good = run("config", "check", str(file))
    assert good.exit_code == 0
    assert "good. 1 model from inference.events; revision " in good.stdout
    assert good.stderr.startswith("warning: kafka.security_protocol PLAINTEXT")
    file.write_text("models: {m: }\nhttp: {prot: 1}\nlog_format: jsno")
    bad = run("config", "check", "--config", str(file))
    assert bad.exit_code == 64
    assert "http.prot: unknown key, did you mean 'port'?" in bad.stderr
    assert "'jsno' is not allowed, only auto, json, text; did you mean 'json'?" in bad.stderr


def test_config_schema_prints_json() -> None:
    """Ready to be redirected into a file."""
    assert json.loads(run("config", "schema").stdout)["$id"] == "urn:driftline:schema:config.v1"


# --- run ----------------------------------------------------------------------------------------------------


def test_run_refuses_unknown_roles(tmp_path: Path) -> None:
    """Before anything is compiled or connected."""
    (tmp_path / "c.yaml").write_text("models: {m: }")
    done = run("run", "-c", str(tmp_path / "c.yaml"), "--roles", "ingest,detcet")
    assert done.exit_code == 64
    assert "detcet" in done.stderr


# --- topics -------------------------------------------------------------------------------------------------


def test_topics_plan_proposes_partitions_for_a_rate(tmp_path: Path) -> None:
    """50,000 events a second: one worker at half of a core, four partitions."""
    (tmp_path / "c.yaml").write_text("models: {m: {}}\n", encoding="utf-8")
    text = run("topics", "plan", "--rate", "50000", "-c", str(tmp_path / "c.yaml")).stdout
    assert "1 worker of one core at 50%" in text
    assert "topics.mailbox_partitions: 4" in text
    assert "driftline.alerts" in text


def test_topics_plan_connects_to_nothing(tmp_path: Path) -> None:
    """Every topic of ours, for people and as JSON."""
    (tmp_path / "c.yaml").write_text("models: {m: }\nkafka: {bootstrap_servers: '127.0.0.1:1'}")
    text = run("topics", "plan", "-c", str(tmp_path / "c.yaml")).stdout
    rows = [
        json.loads(line)
        for line in run("topics", "plan", "--json", "-c", str(tmp_path / "c.yaml")).stdout.splitlines()
    ]
    assert "driftline.alerts: 4 partitions, 3 replicas." in text
    assert {row["name"] for row in rows} >= {"driftline.mailbox", "driftline.state", "driftline.alerts"}


@pytest.mark.parametrize(
    "arguments", [["topics", "check"], ["topics", "create"], ["alerts", "tail"], ["report", "-m", "m"]]
)
def test_without_a_broker_it_says_so(arguments: list[str], tmp_path: Path) -> None:
    """69, the address and what to look at; no traceback, no endless wait."""
    (tmp_path / "c.yaml").write_text("models: {m: }\nkafka: {bootstrap_servers: '127.0.0.1:1'}")
    done = run(*arguments, "-c", str(tmp_path / "c.yaml"))
    assert done.exit_code == 69
    assert "127.0.0.1:1" in done.stderr
    assert "kafka.bootstrap_servers" in done.stderr


@pytest.fixture
def commands_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, object]]:
    """What would be written to the commands topic."""
    found: list[dict[str, object]] = []

    async def send(_: object, record: OutputRecord) -> tuple[str, int, int]:
        found.append(json.loads(record.value))
        return "driftline.commands", 0, len(found)

    (tmp_path / "driftline.yaml").write_text("models: {credit-risk: }")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("driftline.publish.kafka.send_command", send)
    return found


def test_alerts_are_muted_acknowledged_and_closed(commands_sent: list[dict[str, object]]) -> None:
    """Each is one command, by whom and why; a length of time becomes an end."""
    said = ("-m", "credit-risk", "--by", "jane", "--why", "a migration", "-c", "driftline.yaml")
    before = time.time()
    for arguments in (
        ["mute", "--for", "90m"], ["mute", "-s", "age", "--until", "2999-01-01T00:00:00+01:00"],
        ["unmute"], ["ack"], ["close", "--signal", "age"],
    ):  # fmt: skip
        done = run("alerts", *arguments, *said)
        assert done.exit_code == 0, done.stderr
        assert "sent as command driftline.commands/0/" in done.stdout
    assert [c["type"] for c in commands_sent] == [
        "alert.mute", "alert.mute", "alert.unmute", "alert.ack", "alert.close"
    ]  # fmt: skip
    assert {(c["model"], c["by"], c["why"]) for c in commands_sent} == {
        ("credit-risk", "jane", "a migration")
    }
    end = datetime.fromisoformat(str(commands_sent[0]["until"])).timestamp()
    assert end - before == pytest.approx(5_400, abs=30)
    assert [c.get("signal") for c in commands_sent] == [None, "age", None, None, "age"]
    assert commands_sent[1]["until"] == "2998-12-31T23:00:00.000Z"


def test_the_login_says_who(commands_sent: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless --by does."""
    monkeypatch.setenv("USER", "joe")
    assert run("alerts", "ack", "-m", "credit-risk", "--why", "x", "-c", "driftline.yaml").exit_code == 0
    assert commands_sent[0]["by"] == "joe"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ack", "-m", "credit-rsk"], "Do you mean credit-risk?"),
        (["ack", "-m", "fraud"], "It has credit-risk."),
        (["mute"], "Give one of --until TIME and --for DURATION"),
        (["mute", "--for", "1h", "--until", "2999-01-01T00:00:00Z"], "Give one of"),
        (["mute", "--for", "soon"], "90m, 4h or 3d"),
        (["mute", "--for", "0h"], "90m, 4h or 3d"),
        (["mute", "--until", "18:00"], "no time with a zone"),
        (["mute", "--until", "2001-01-01T00:00:00Z"], "is over"),
        (["ack", "-m", "no model"], "is no model id"),
    ],
)
def test_a_mistake_in_a_command_is_explained(
    arguments: list[str], words: str, commands_sent: list[dict[str, object]]
) -> None:
    """Nothing is sent."""
    said = ("-m", "credit-risk", "--by", "jane", "--why", "x", "-c", "driftline.yaml")
    done = run("alerts", *arguments[:1], *said, *arguments[1:])
    assert done.exit_code == 64
    assert words in done.stderr
    assert commands_sent == []


# --- replay and baseline ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12,000 events of a model whose "age" moves by a standard deviation at row 8,000; one line is broken."""
    rng = random.Random(7)
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    with path.open("w") as file:
        for i in range(12_000):
            age = rng.gauss(40 if i < 8_000 else 50, 10)
            row = {"model": "m", "time": 1_795_000_000_000 + 1_000 * i, "features": {"age": age}}
            file.write(json.dumps(row) + "\n" if i != 10 else "{broken\n")
    return path


def test_replay_as_json(events: Path) -> None:
    """Alerts with their row, then the summary; the same whatever the batch."""
    one = run("replay", str(events), "--json")
    lines = [json.loads(line) for line in one.stdout.splitlines()]
    summary = lines.pop()["summary"]
    assert one.exit_code == 0, one.stderr
    assert [(line["signal"], line["state"]) for line in lines] == [("age", "open")]
    assert 8_000 <= lines[0]["row"] < 9_000
    assert summary["rows"] == 12_000
    assert summary["accepted"] == 11_999
    assert summary["rejected"] == {"syntax": 1}
    assert summary["alerts"] == {"opened": 1, "updated": 0, "resolved": 0}
    assert summary["rows_per_second"] > 0
    other = run("replay", "-", "--json", "--batch", "777", stdin=events.read_text())
    assert [json.loads(line) for line in other.stdout.splitlines()[:-1]] == lines


def test_replay_prints_the_actions_that_rules_would_ask_for(events: Path, tmp_path: Path) -> None:
    """Behind the alerts, the same whatever the batch; counted in the summary."""
    config = tmp_path / "c.yaml"
    config.write_text(
        "models: {m: {actions: {rules: [{signal: age, lasting_hours: 0.25}]}}}\n"
        "inputs: [{topic: inference.events}]\n"
    )
    lines = run("replay", str(events), "--config", str(config), "--json").stdout.splitlines()
    alert, action, summary = (json.loads(line) for line in lines)
    assert alert["state"] == "open"
    assert action["type"] == "driftline.action.retrain"
    assert action["fresh"]["ranges"][0]["from"] <= 8_100
    assert summary["summary"]["actions"] == 1
    other = run("replay", str(events), "--config", str(config), "--json", "--batch", "777").stdout
    assert other.splitlines()[:-1] == lines[:-1]
    shown = run("replay", str(events), "--config", str(config)).stdout
    assert "retrain   m: asks to be retrained" in shown


def test_replay_then_report(events: Path, tmp_path: Path) -> None:
    """What replay prints with its reports is enough for a review, in every form."""
    printed, config = tmp_path / "printed.jsonl", tmp_path / "c.yaml"
    config.write_text("models: {m: }\ndetection: {window_rows: 2000}")
    printed.write_text(run("replay", str(events), "-c", str(config), "--json", "--reports").stdout)
    told = json.loads(run("report", "-m", "m", "--from", str(printed), "--format", "json").stdout)
    assert [e["signal"] for e in told["episodes"]] == ["age"]
    assert told["signals"][0]["signal"] == "age"
    piped = run("report", "-m", "m", "--from", "-", "--format", "md", stdin=printed.read_text())
    assert piped.stdout.startswith("# m: ")
    page = tmp_path / "m.html"
    assert run("report", "-m", "m", "--from", str(printed), "-o", str(page)).exit_code == 0
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "other", "--from", "{events}"], "no alert and no report of model other"),
        (["-m", "m", "--from", "nope"], "--from nope: No such file"),
        (["-m", "m", "--since", "soon"], "soon is no time"),
        (["-m", "m", "--since", "1d", "--until", "2d"], "--since is not before --until"),
    ],
)
def test_report_says_what_is_wrong(arguments: list[str], message: str, events: Path) -> None:
    """64, and what to do; never an empty page."""
    done = run("report", *(a.format(events=events) for a in arguments))
    assert done.exit_code == 64
    assert message in done.stderr


def test_baseline_build_then_replay(events: Path, tmp_path: Path) -> None:
    """The first 5,000 rows as baseline: the replay compares with "training"."""
    train = tmp_path / "train.jsonl"
    train.write_text("".join(events.read_text().splitlines(keepends=True)[:5_000]))
    built = run("baseline", "build", str(train), "--model", "m", "--output", str(tmp_path / "b.json"))
    assert built.exit_code == 0, built.stderr
    assert "4,999 of 5,000 rows" in built.stdout
    replayed = run("replay", str(events), "--baseline", str(tmp_path / "b.json"))
    assert 'm: "age" is higher than in training' in replayed.stdout
    assert "12,000 rows: 11,999 accepted, 0 empty, 1 rejected (1 syntax)." in replayed.stdout


def test_baselines_are_shown_and_compared(events: Path, tmp_path: Path) -> None:
    """Before and after the change: drawn in ASCII where no terminal is, the moved signal with its numbers."""
    lines = events.read_text().splitlines(keepends=True)
    for name, part in (("before", lines[:5_000]), ("after", lines[8_000:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(part))
        arguments = [str(tmp_path / f"{name}.jsonl"), "-m", "m", "-o", str(tmp_path / f"{name}.json")]
        built = run("baseline", "build", *arguments)
        assert built.exit_code == 0, built.stderr
        assert "reading: " in built.stderr
        assert " rows/s" in built.stderr
    shown = run("baseline", "show", str(tmp_path / "before.json"))
    assert shown.exit_code == 0, shown.stderr
    assert "age  number, 4,999 values" in shown.stdout
    assert shown.stdout.isascii()
    different = run("baseline", "diff", str(tmp_path / "before.json"), str(tmp_path / "after.json"))
    row = next(line for line in different.stdout.splitlines() if line.startswith("  age"))
    psi, shift = map(float, row.split()[1:3])
    assert psi > 0.5
    assert 0.9 < shift < 1.1
    exported = run("baseline", "export", str(tmp_path / "before.json"), "--datasketches", str(tmp_path / "s"))
    assert exported.exit_code == 0, exported.stderr
    index = json.loads((tmp_path / "s" / "index.json").read_text())
    (age,) = [entry for entry in index["sketches"] if entry["signal"] == "age"]
    assert (index["model"], age["n"]) == ("m", 4_999)
    assert (tmp_path / "s" / age["file"]).stat().st_size > 1_000
    assert (
        run("baseline", "export", str(tmp_path / "before.json"), "--datasketches", str(events)).exit_code
        == 64
    )


def test_large_baselines_are_read_twice(
    events: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More rows than are held: a second reading, the rate of each, and stdin cannot be read twice."""
    monkeypatch.setattr("driftline.detect.baseline.EXACT_ROWS_MAX", 2_000)
    output = ["-m", "m", "-o", str(tmp_path / "b.json")]
    built = run("baseline", "build", str(events), *output)
    assert built.exit_code == 0, built.stderr
    assert [line.partition(":")[0] for line in built.stderr.splitlines()] == ["reading", "measuring"]
    assert "11,999 of 12,000 rows" in built.stdout
    piped = run("baseline", "build", "-", *output, stdin=events.read_text())
    assert piped.exit_code == 64
    assert "stdin cannot be read twice" in piped.stderr


def test_config_explain(events: Path, tmp_path: Path) -> None:
    """Delays, budget and cost of the model with a baseline; the other one says what it lacks."""
    config = tmp_path / "c.yaml"
    config.write_text("models: {m: , other: {learning_rows: 9000}}\n")
    baseline = tmp_path / "b.json"
    run("baseline", "build", str(events), "-m", "m", "-o", str(baseline))
    arguments = ["config", "explain", "--config", str(config), "--baseline", str(baseline)]
    page = run(*arguments)
    assert page.exit_code == 0, page.stderr
    assert "1 events/s" in page.stdout
    assert "us of CPU an event (measured now" in page.stdout
    assert "other: no baseline given; it learns what is normal from its first 9,000 events" in page.stdout
    body = json.loads(run(*arguments, "--rate", "50", "--json").stdout.splitlines()[0])
    assert (body["model"], body["events_per_week"]) == ("m", 50 * 7 * 86_400)
    config.write_text("models: {other: }\n")
    wrong = run(*arguments)
    assert (wrong.exit_code, "the baseline is of m, which this" in wrong.stderr) == (64, True)


def test_tables_are_read_like_lines(events: Path, tmp_path: Path) -> None:
    """A CSV of the same rows: same alerts; and a baseline, with a column named on the command line."""
    rows = [json.loads(line) for line in events.read_text().splitlines() if line.endswith("}")]
    table = tmp_path / "events.csv"
    names = list(rows[0]["features"])
    lines = [",".join(["ts", *names])]
    lines += [",".join(["", *(str(row["features"][name]) for name in names)]) for row in rows]
    table.write_text("\n".join(lines) + "\n")
    found = run("replay", str(table), "--model", "m", "--column", "time=ts", "--json")
    assert found.exit_code == 0, found.stderr
    alert, summary = (json.loads(line) for line in found.stdout.splitlines())
    assert (alert["signal"], summary["summary"]["accepted"]) == ("age", len(rows))
    output = str(tmp_path / "b.json")
    built = run(
        "baseline", "build", str(table), "-m", "m", "--one-model", "--column", "time=ts", "-o", output
    )
    assert built.exit_code == 0, built.stderr
    assert f"{len(rows):,} of {len(rows):,} rows" in built.stdout


def test_a_configured_mapping_holds_for_files(tmp_path: Path) -> None:
    """Also where the command line fixes the model."""
    config = tmp_path / "c.yaml"
    config.write_text("inputs: [{topic: t, mapping: {model: /m, features: /in}}]\nmodels: {a: , b: }\n")
    file = tmp_path / "events.jsonl"
    file.write_text('{"m": "a", "in": {"x": 1}}\n{"m": "c", "in": {"x": 1}}\n')
    assert "1 rejected (1 model_unknown)" in run("replay", str(file), "--config", str(config)).stdout
    fixed = run("replay", str(file), "--config", str(config), "--model", "b")
    assert "2 rows: 2 accepted" in fixed.stdout, fixed.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (["replay", "{events}", "--column", "time"], 64, "--column time: not FIELD=NAME"),
        (["replay", "nope.jsonl"], 64, "nope.jsonl: there is no such file"),
        (["replay", "{events}", "--baseline", "nope.json"], 64, "nope.json: No such file"),
        (["replay", "{events}", "--baseline", "{events}"], 65, "not a baseline"),
        (["replay", "{events}", "--model", "a b"], 64, "inputs.0.model: 'a b'"),
        (["baseline", "build", "{events}", "-m", "other", "-o", "x"], 64, "is of model other"),
        (["baseline", "build", "-m", "m", "-o", "x"], 64, "give a file or --topic"),
        (["baseline", "build", "{events}", "--topic", "t", "-m", "m", "-o", "x"], 64, "a file or --topic"),
        (["baseline", "show", "{events}"], 65, "not a baseline"),
        (
            ["baseline", "build", "{events}", "-m", "m", "-o", "no/such/folder"],
            64,
            "no/such/folder: No such file",
        ),
        (
            ["baseline", "promote", "nope.json", "-c", "nope.yaml", "--why", "x", "--by", "y"],
            64,
            "nope.yaml: No such",
        ),
    ],
)
def test_wrong_files_are_named(
    events: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], code: int, part: str
) -> None:
    """Which file, what about it, what to do."""
    monkeypatch.chdir(tmp_path)
    done = run(*(a.format(events=events) for a in arguments))
    assert done.exit_code == code, done.stderr
    assert part in done.stderr


def test_entry_point_as_a_process(tmp_path: Path) -> None:
    """The installed function: exit code and a message without a traceback."""
    code = "from driftline.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "config", "check", str(tmp_path / "none")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 64
    assert done.stderr.startswith("driftline: configuration ")
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error(events: Path) -> None:
    """``driftline replay ... | head``: no traceback."""
    code = "from driftline.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "replay", str(events)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        stderr = process.stderr.read().decode()
    assert stderr == ""
    assert process.returncode == cli.EXIT_PIPE
