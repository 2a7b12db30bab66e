"""Settings: where they come from, what is refused, and that a message says where, what and what was meant."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from driftline.config import ENV_PREFIX, Settings, json_schema, load_settings
from driftline.config.settings import TopicSettings
from driftline.errors import OperatorError

ROOT = Path(__file__).parents[2]
MODELS = "models: {m: }\n"
Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Load settings from YAML text, without the variables of the machine."""
    for name in [name for name in os.environ if name.upper().startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    path = tmp_path / "driftline.yaml"

    def loaded(text: str, **overrides: Any) -> Settings:
        path.write_text(text, encoding="utf-8")
        return load_settings(path, **overrides)

    return loaded


def message(load: Load, text: str) -> str:
    """The error of a wrong configuration."""
    with pytest.raises(OperatorError) as caught:
        load(text)
    return str(caught.value)


# --- sources ------------------------------------------------------------------------------------------------


def test_command_line_over_environment_over_file(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """Key by key: a source that sets one key of a section leaves the others alone."""
    text = MODELS + "http: {port: 1, series_max: 101, signal_series_per_model_max: 11}"
    monkeypatch.setenv("DRIFTLINE_HTTP__PORT", "2")
    monkeypatch.setenv("DRIFTLINE_HTTP__SERIES_MAX", "102")
    settings = load(text, http={"port": 3})
    assert (settings.http.port, settings.http.series_max) == (3, 102)
    assert settings.http.signal_series_per_model_max == 11
    assert settings.http.host == "127.0.0.1"


def test_environment_alone(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container needs no file: sections as JSON, keys with double underscores, models too."""
    monkeypatch.setenv("DRIFTLINE_INPUTS", '[{"topic": "raw", "model": "m"}]')
    monkeypatch.setenv("DRIFTLINE_MODELS__m__LEARNING_ROWS", "900")
    settings = load_settings()
    assert settings.inputs[0].topic == "raw"
    assert settings.models["m"].learning_rows == 900


def test_models_can_be_named_without_settings(load: Load) -> None:
    """``m:`` alone is enough; so is a section whose lines are commented out."""
    settings = load("models:\n  m:\n  n: {learning_rows: 600}\nhttp:\n  # port: 1\n")
    assert settings.allowed_models() == frozenset({"m", "n"})
    assert settings.http.port == 9464


def test_passwords_stay_out_of_sight(load: Load, tmp_path: Path) -> None:
    """Not in repr; read from a file over the setting."""
    file = tmp_path / "password"
    file.write_text("from-file\n")
    text = "kafka: {security_protocol: SASL_SSL, sasl_username: u, sasl_password: hunter2"
    settings = load(f"{MODELS}{text}}}")
    assert settings.kafka.password() == "hunter2"
    assert "hunter2" not in repr(settings) + str(settings) + settings.model_dump_json()
    assert load(f"{MODELS}{text}, sasl_password_file: {file}}}").kafka.password() == "from-file"
    file.unlink()
    with pytest.raises(OperatorError, match="sasl_password_file: No such file"):
        load(f"{MODELS}{text}, sasl_password_file: {file}}}").kafka.password()


# --- what is refused ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("htpp: {port: 1}", ["htpp: unknown key, did you mean 'http'?"]),
        ("http: {prot: 1}", ["http.prot: unknown key, did you mean 'port'?"]),
        ("port: 1", ["port: unknown key, it belongs to http"]),
        ("kafka: {bootstrap.servers: x}", ["did you mean 'bootstrap_servers'?"]),
        ("kafka: {sasl-username: x}", ["did you mean 'sasl_username'?"]),
        ("zzz: 1", ["zzz: unknown key."]),
        ("inputs: [{topic: t, fromat: native}]", ["inputs.0.fromat: unknown key, did you mean 'format'?"]),
        ("inputs: [{model: m}]", ["inputs.0.topic: is required"]),
        ("detection: {tolerance: 2}", ["detection.tolerance: 2: input should be less than or equal to 1"]),
        ("http: {port: abc}", ["http.port: 'abc': input should be a valid integer"]),
        ("http: 5", ["http: 5: "]),
        ("http: [a, b]", ["http: a list: "]),
        ("kafka: {security_protocol: SASL_SLL}", [".security_protocol: 'SASL_SLL'", "mean 'SASL_SSL'?"]),
        ("log_format: jsno", ["'jsno' is not allowed, only auto, json, text; did you mean 'json'"]),
        ("kafka: {bootstrap_servers: 'a:1,b'}", ["kafka.bootstrap_servers: 'b' is not host:port"]),
        ("kafka: {bootstrap_servers: 'a:99999'}", ["'a:99999' is not host:port"]),
        ("kafka: {security_protocol: SASL_SSL}", ["kafka: security_protocol SASL_SSL needs sasl_username"]),
        ("kafka: {ssl_certfile: c.pem}", ["ssl_certfile and ssl_keyfile go together"]),
        ("http: {host: 0.0.0.0}", ["http: host 0.0.0.0 is not loopback"]),
        ("topics: {replication_factor: 2, min_insync_replicas: 3}", ["no write would be accepted"]),
        ("inputs: [{topic: driftline.mailbox}]", ["inputs name driftline.mailbox, a topic of our own"]),
        ("inputs: [{topic: a}, {topic: a}]", ["inputs name a topic twice: a"]),
        ("ingest: {max_event_age_hours: .inf}", ["ingest.max_event_age_hours: inf: input should be"]),
        ("detection: {tolerance: .nan}", ["detection.tolerance: nan: "]),
        ("http: {port: 1}\nhttp: {port: 2}", ["is not YAML: line 3, column 1: key 'http' is given twice"]),
        ("http: {port: 1, port: 2}", ["key 'port' is given twice"]),
        ("a: [", ["is not YAML: line 2"]),
        ("http: !!python/object/apply:os.system ['true']", ["is not YAML: line 2, column 7"]),
        ("http: {prot: 1, hots: x}", ["http.prot: ", "; http.hots: unknown key, did you mean 'host'?"]),
    ],
)  # fmt: skip
def test_mistakes_are_named(load: Load, text: str, parts: list[str]) -> None:
    """Where, what was found, what was probably meant."""
    found = message(load, MODELS + text)
    for part in parts:
        assert part in found


MAPPED = "inputs: [{topic: t, mapping: "


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "{model: meta.name, score: /s}}]",
            "'meta.name' is no JSON Pointer: write '/meta/name'",
        ),
        ("{model: /m, score: /a~2b}}]", "mapping.score: '/a~2b' is no JSON Pointer: write ~ as ~0"),
        ("{model: /m, score: /1/2/3/4/5/6/7/8/9}}]", "has 9 steps, a record has at most 8 levels"),
        ("{modle: /m, score: /s}}]", "inputs.0.mapping.modle: unknown key, did you mean 'model'?"),
        ("{model: /m, clas: /s}}]", "inputs.0.mapping.clas: unknown key, did you mean 'class'?"),
        ("{model: /m, id: /x, time: /x, score: /s}}]", "id and time are both '/x': remove one"),
        ("{model: /m, features: {a: /x, b: /x}}}]", "features.a and features.b are both '/x'"),
        ("{model: /m, score: /o, class: /o/c}}]", "score is '/o', and class is inside it"),
        (
            "{model: /m, score: /s, features: {'*': '', a: /x, b: /x/y}}}]",
            "features.a is '/x', and",
        ),
        ("{model: '', score: /s}}]", "model is '', the whole record: only features can be that"),
        ("{model: /m, id: /i}}]", "maps neither a feature nor a score or class: there is nothing to watch"),
        ("{score: /s}}]", "inputs.0: topic t can never give a model: set mapping.model, or model"),
        ("{model: /m, score: /s}, model: x}]", "mapping.model '/m' is never read: remove one"),
        ("{model: /m, features: {a: 5}}}]", "mapping.features.a: 5: input should be a valid string"),
        ("{model: /m, features: {'': /x}}}]", "mapping.features"),
        ("/m}]", "inputs.0.mapping"),
    ],
)
def test_mistakes_in_a_mapping_are_named(load: Load, text: str, part: str) -> None:
    """At start: where, what, and what to do."""
    assert part in message(load, MODELS + MAPPED + text)


def test_a_mapping(load: Load) -> None:
    """Features as one object, singly, or both; ~1 and ~0 are / and ~."""
    text = "{id: /a~1b/c~0d, class: /k, features: {'*': /f, zip: /f/address/0}}, model: m}]"
    mapping = load(MODELS + MAPPED + text).inputs[0].mapping
    assert mapping is not None
    assert mapping.paths() == {
        "id": ("a/b", "c~d"), "class": ("k",), "features.*": ("f",), "features.zip": ("f", "address", "0")
    }  # fmt: skip
    mapping = load(MODELS + MAPPED + "{model: /m, features: ''}}]").inputs[0].mapping
    assert mapping is not None
    assert mapping.paths() == {"model": ("m",), "features.*": ()}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "no model is named"),
        ("models: {'credit risk': }", "models.credit risk: 'credit risk': string should match pattern"),
        (
            "models: {m: {learning_row: 5}}",
            "models.m.learning_row: unknown key, did you mean 'learning_rows'?",
        ),
        (
            "models: {m: {learning_rows: 5}}",
            "models.m.learning_rows: 5: input should be greater than or equal to 500",
        ),
        ("- a", "the top level must be keys and values"),
        ("just text", "the top level must be keys and values"),
    ],
)
def test_mistakes_about_models_and_form(load: Load, text: str, part: str) -> None:
    """The same for models, whose names are the user's."""
    assert part in message(load, text)


@pytest.mark.parametrize("value", ["[hunter2]", "{a: hunter2}", "123456"])
def test_a_wrong_password_is_not_printed(load: Load, value: str) -> None:
    """Neither in the message nor in what a traceback would show."""
    with pytest.raises(OperatorError) as caught:
        load(f"{MODELS}kafka: {{security_protocol: SASL_SSL, sasl_username: u, sasl_password: {value}}}")
    assert "kafka.sasl_password: the value: input should be a valid string" in str(caught.value)
    assert caught.value.__cause__ is None
    assert "hunter2" not in str(caught.value) + repr(caught.value.__context__)
    assert "123456" not in str(caught.value) + repr(caught.value.__context__)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        (
            "DRIFTLINE_HTTP__PROT",
            "1",
            "DRIFTLINE_HTTP__PROT: unknown key, did you mean DRIFTLINE_HTTP__PORT?",
        ),
        ("DRIFTLINE_HTPP__PORT", "1", "did you mean DRIFTLINE_HTTP__PORT?"),
        ("DRIFTLINE_HTTP__PORT__X", "1", "DRIFTLINE_HTTP__PORT__X: unknown key"),
        ("DRIFTLINE_MODELS__M__LEARNING_ROW", "1", "did you mean DRIFTLINE_MODELS__M__LEARNING_ROWS?"),
        ("DRIFTLINE_HTTP__PORT", "x", "http.port: 'x': input should be a valid integer"),
        ("DRIFTLINE_INPUTS", "[abc", "must be JSON"),
    ],
)
def test_the_environment_is_checked_too(
    load: Load, monkeypatch: pytest.MonkeyPatch, name: str, value: str, part: str
) -> None:
    """A misspelt variable is an error, not a default."""
    monkeypatch.setenv(name, value)
    assert part in message(load, MODELS)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """Its name, the reason, the option."""
    with pytest.raises(OperatorError, match=r"nope\.yaml: No such file or directory\. Name it with --config"):
        load_settings(tmp_path / "nope.yaml")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    """A binary file is named as what it is."""
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OperatorError, match="not UTF-8"):
        load_settings(tmp_path / "x")


# --- meanings -----------------------------------------------------------------------------------------------


def test_one_replica_needs_no_more_in_sync() -> None:
    """A single broker works with one line of configuration."""
    assert TopicSettings(replication_factor=1).min_insync_replicas == 1
    assert TopicSettings().min_insync_replicas == 2


def test_revision_depends_on_decisions_only(load: Load) -> None:
    """Not on the order of models, nor on how Kafka is reached; on every threshold."""
    a = load("models: {a: , b: {learning_rows: 600}}").revision()
    assert (
        load(
            "models: {b: {learning_rows: 600}, a: }\nhttp: {port: 1}\nkafka: {bootstrap_servers: '[::1]:1'}"
        ).revision()
        == a
    )
    assert load("models: {a: , b: {learning_rows: 601}}").revision() != a
    assert load("models: {a: , b: {learning_rows: 600}}\ndetection: {tolerance: 0.06}").revision() != a


def test_warnings(load: Load) -> None:
    """What is allowed but deserves a look; nothing to say about the defaults."""
    assert load(MODELS).warnings() == []
    assert load(MODELS + "kafka: {bootstrap_servers: '[::1]:9092,localhost:1'}").warnings() == []
    text = (
        "kafka: {bootstrap_servers: 'k:1', security_protocol: SASL_PLAINTEXT, insecure: true,\n"
        "  sasl_username: u, sasl_password: p}\n"
        "http: {host: 0.0.0.0, insecure_bind: true}\ningest: {reject_payload: true, accept_gap: true}"
    )
    found = load(MODELS + text).warnings()
    assert [line.split(":")[0].split(" ")[0] for line in found] == [
        "kafka.security_protocol", "http.host", "ingest.reject_payload", "ingest.accept_gap",
    ]  # fmt: skip
    assert "and the password" in found[0]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("kafka: {bootstrap_servers: 'k:1'}", False),
        ("kafka: {bootstrap_servers: '127.0.0.1:1,k:1'}", False),
        ("kafka: {bootstrap_servers: 'localhost.example:1'}", False),
        ("kafka: {bootstrap_servers: 'k:1', insecure: true}", True),
        ("kafka: {bootstrap_servers: 'k:1', security_protocol: SSL}", True),
        ("kafka: {bootstrap_servers: '127.9.9.9:1,[::1]:2,localhost:3'}", True),
        ("http: {host: 0.0.0.0}", False),
        ("http: {host: 0.0.0.0, tls_certfile: a, tls_keyfile: b}", False),
        ("http: {host: 0.0.0.0, token_file: t}", False),
        ("http: {host: 0.0.0.0, tls_certfile: a, tls_keyfile: b, token_file: t}", True),
        ("http: {host: '::', insecure_bind: true}", True),
        ("http: {tls_certfile: a}", False),
    ],
)
def test_nothing_leaves_the_machine_unprotected_by_default(load: Load, text: str, good: bool) -> None:
    """Neither records nor metrics; each has one explicit way out."""
    if good:
        load(MODELS + text)
    else:
        assert any(word in message(load, MODELS + text) for word in ("insecure", "go together"))


@pytest.mark.parametrize("content", [b"s3cret-\xff", b"", b" \n"])
def test_a_secret_that_is_none(load: Load, tmp_path: Path, content: bytes) -> None:
    """No text, or empty: the file is named, what is in it is not, in the message or behind it."""
    file = tmp_path / "password"
    file.write_bytes(content)
    text = f"kafka: {{security_protocol: SASL_SSL, sasl_username: u, sasl_password_file: {file}}}"
    with pytest.raises(OperatorError, match=r"sasl_password_file: .*password") as caught:
        load(MODELS + text).kafka.password()
    assert "s3cret" not in str(caught.value) + repr(caught.value.__context__)


# --- the schema ---------------------------------------------------------------------------------------------


def test_schema_file_is_generated() -> None:
    """Run ``driftline config schema > schemas/config.v1.json`` after a change."""
    assert json.loads((ROOT / "schemas" / "config.v1.json").read_text(encoding="utf-8")) == json_schema()


@pytest.mark.parametrize(
    ("body", "good"),
    [
        ({"models": {"m": None}}, True),
        ({"models": {"m": {"learning_rows": 600}}, "http": {"port": 0}}, True),
        ({"models": {"credit risk": None}}, False),
        ({"models": {"m": {"learning_row": 600}}}, False),
        ({"htpp": {}}, False),
        ({"http": {"port": "x"}}, False),
    ],
)
def test_schema_agrees_with_the_loader(load: Load, body: dict[str, Any], good: bool) -> None:
    """An editor that uses the schema says what the program says."""
    errors = list(jsonschema.Draft202012Validator(json_schema()).iter_errors(body))
    assert (not errors) is good
    if good:
        load(json.dumps(body))
    else:
        message(load, json.dumps(body))


def test_settings_do_not_change() -> None:
    """Settings are values: no part can be replaced after parsing."""
    settings = load_settings(None, ingest={"discover_models": True})
    with pytest.raises(ValidationError, match="frozen"):
        settings.http.port = 1  # type: ignore[misc]


def test_an_input_of_labels_switches_the_join_on(load: Load) -> None:
    """With its defaults, or as configured; without such an input there is none."""
    text = MODELS + "inputs: [{topic: e}, {topic: l, kind: labels}]\n"
    settings = load(text)
    assert settings.detection.labels is not None
    assert settings.detection.labels.max_pending == 100_000
    own = load(text + "detection: {labels: {sample: 0.5}}").detection.labels
    assert own is not None
    assert own.sample == 0.5
    assert load(MODELS).detection.labels is None
    assert settings.revision() != load(MODELS).revision()
    found = settings.first_input("labels")
    assert found is not None
    assert found.topic == "l"


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ("[{topic: l, kind: labels}]", "no topic of events"),
        (
            "[{topic: e}, {topic: l, kind: labels, mapping: {model: /m, id: /id, score: /s}}]",
            "set mapping.label",
        ),
        ("[{topic: e, mapping: {model: /m, label: /y}}]", "set kind: labels"),
        (
            "[{topic: e}, {topic: l, kind: labels, mapping: {model: /m, label: /y, features: /f}}]",
            "no features",
        ),
    ],
)
def test_inputs_of_labels_that_cannot_be(load: Load, inputs: str, words: str) -> None:
    """Each says what to change."""
    assert words in message(load, MODELS + f"inputs: {inputs}")
