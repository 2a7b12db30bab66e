import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from driftline.config import Settings, TargetSettings, load_settings
from driftline.errors import OperatorError

KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
HOOK = {"kind": "webhook", "url": "https://a.example/x"}


def loaded(tmp_path: Path, **targets: Any) -> Settings:
    """The settings of a file with these targets."""
    path = tmp_path / "driftline.yaml"
    path.write_text(yaml.safe_dump({"models": {"m": {}}, "notify": {"targets": targets}}), encoding="utf-8")
    return load_settings(path)


def test_secrets_come_from_files_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And are masked wherever settings are shown."""
    (tmp_path / "url").write_text("https://hooks.example/s3cret\n", encoding="utf-8")
    (tmp_path / "keys").write_text(f"{KEY}\n{KEY}\n", encoding="utf-8")
    monkeypatch.setenv("DRIFTLINE_NOTIFY__TARGETS__HOOK__TOKEN", "t0ken")
    settings = loaded(
        tmp_path,
        chat={"kind": "slack", "url_file": str(tmp_path / "url")},
        hook={**HOOK, "secret_file": str(tmp_path / "keys")},
    )
    chat, hook = settings.notify.targets["chat"], settings.notify.targets["hook"]
    assert chat.address("chat") == "https://hooks.example/s3cret"
    assert hook.signing_keys("hook") == (b"k" * 32, b"k" * 32)
    assert hook.bearer("hook") == "t0ken"
    shown = repr(settings) + settings.model_dump_json()
    assert not any(secret in shown for secret in ("s3cret", KEY, "t0ken", "a.example"))


def test_alertmanager_is_named_by_its_base() -> None:
    """The path of the API is ours."""
    target = TargetSettings.model_validate({"kind": "alertmanager", "url": "http://am:9093/prefix/"})
    assert target.address("am") == "http://am:9093/prefix/api/v2/alerts"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ({"kind": "webhook"}, "needs url or url_file"),
        ({**HOOK, "url": "ftp://s3cret"}, "must begin with https:// or http://"),
        ({**HOOK, "url": "https:///s3cret"}, "must begin with"),
        ({**HOOK, "url": "https://u:s3cret@a.example"}, "must not hold a user or a password"),
        ({**HOOK, "url": "https://a.example/s3cret\r\nX: 1"}, "visible ASCII"),
        ({**HOOK, "url": "https://a.example:99999999/s3cret"}, "notify.targets.t"),
        ({**HOOK, "url": "file:///etc/s3cret"}, "must begin with"),
        ({**HOOK, "secret": "s3cret"}, "openssl rand -base64 32"),
        ({**HOOK, "secret": "whsec_c2hvcnQ="}, "openssl rand -base64 32"),
        ({**HOOK, "secret": ["s3cret"]}, "notify.targets.t.secret"),
        ({**HOOK, "token": 5_378_008}, "notify.targets.t.token: the value"),
        ({"kind": "slack", "url": "https://a.example", "secret": KEY}, "are for kind: webhook"),
        ({"kind": "slack", "url": "https://a.example", "token": "s3cret"}, "the URL is its password"),
        ({"kind": "alertmanager", "url": "http://a", "events": ["opened"]}, "needs all events"),
        ({**HOOK, "kind": "webhok"}, "did you mean 'webhook'"),
        ({**HOOK, "uri": "x"}, "did you mean 'url'"),
    ],
)
def test_what_is_wrong_is_named_without_a_secret(tmp_path: Path, target: dict[str, Any], said: str) -> None:
    """The key and what to write instead; URLs and secrets never."""
    with pytest.raises(OperatorError) as caught:
        loaded(tmp_path, t=target)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "5378008" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "content"), [("url_file", "no url s3cret"), ("secret_file", "s3cret"), ("secret_file", "")]
)
def test_a_wrong_file_is_named_without_what_it_holds(tmp_path: Path, key: str, content: str) -> None:
    """When it is read, at the start of `driftline notify`."""
    (tmp_path / "file").write_text(content, encoding="utf-8")
    target = TargetSettings.model_validate({**HOOK, key: str(tmp_path / "file")})
    with pytest.raises(OperatorError) as caught:
        (target.address("t"), target.signing_keys("t"))
    assert f"notify.targets.t.{key.removesuffix('_file')}" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The key and the path."""
    target = TargetSettings.model_validate({"kind": "slack", "url_file": str(tmp_path / "gone")})
    with pytest.raises(OperatorError, match=r"notify.targets.chat.url_file: No such file"):
        target.address("chat")


def test_what_deserves_a_second_look_is_said(tmp_path: Path) -> None:
    """An alert in the clear, and a receiver that cannot tell who sent it."""
    settings = loaded(
        tmp_path,
        a={**HOOK, "url": "http://a.example"},
        b={**HOOK, "url": "http://127.0.0.1:1", "secret": KEY},
    )
    said = [line for line in settings.warnings() if line.startswith("notify.")]
    assert said == [
        "notify.targets.a.url: alerts cross the network unencrypted.",
        "notify.targets.a: without a secret the receiver cannot tell who sent an alert.",
    ]
