"""Who is told of alerts: the targets of ``driftline notify``, and which alerts go to which.

Owns: the keys below ``notify``, what goes together, and the form of addresses and signing secrets. Addresses
come from here only, never from an alert. They are secret themselves: that of a Slack webhook is its password.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from driftline.config.secrets import secret
from driftline.errors import OperatorError
from driftline.records import Severity

EventName = Literal["opened", "updated", "resolved"]
# Part of a group's name, a key and a metric label; lower case, as environment variables are read.
TargetName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
TARGETS_MAX: Final = 16  # each has a consumer of its own
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - how the secrets of Standard Webhooks begin
SECRET_BYTES: Final = range(24, 65)  # what Standard Webhooks asks for
SECRETS_MAX: Final = 4  # the present one, and those that are being replaced
URL_CHARS_MAX: Final = 2_048
TIMEOUT_SECONDS_MAX: Final = 20.0  # an attempt ends within the 28 s that a stop may take


class _Part(BaseModel):
    """A part of the settings: unknown keys are errors, values do not change after parsing."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class TargetSettings(_Part):
    """One receiver; secrets are better in files."""

    kind: Literal["webhook", "slack", "alertmanager"] = Field(description="how it is spoken to")
    url: SecretStr | None = Field(None, description="where to; the base URL of an Alertmanager")
    url_file: Path | None = Field(None, description="file that holds the URL; over url")
    format: Literal["cloudevents", "alert"] = Field(
        "cloudevents", description="of a webhook: a structured CloudEvent, or the alert's data alone"
    )
    secret: SecretStr | None = Field(
        None, description="of a webhook: whsec_ and base64, signs as standardwebhooks.com says"
    )
    secret_file: Path | None = Field(
        None, description="one secret a line: all sign, while one replaces another"
    )
    token: SecretStr | None = Field(None, description="sent as Authorization: Bearer; not for slack")
    token_file: Path | None = Field(None, description="file that holds the bearer token; over token")
    events: tuple[EventName, ...] = Field(
        ("opened", "updated", "resolved"), min_length=1, description="what it is told of"
    )
    timeout_seconds: float = Field(10.0, ge=0.1, le=TIMEOUT_SECONDS_MAX, description="of one attempt")
    max_age_hours: float = Field(24.0, gt=0, le=24 * 365, description="older alerts are not sent any more")
    resend_seconds: float = Field(
        60.0, ge=1, le=3_600, description="of alertmanager: how often open alerts are sent again"
    )

    @model_validator(mode="after")
    def _fits_its_kind(self) -> TargetSettings:
        if self.url is None and self.url_file is None:
            raise ValueError("needs url or url_file")
        if self.url is not None:
            _check_url(self.url.get_secret_value())
        if self.kind != "webhook" and (self.secret or self.secret_file or self.format != "cloudevents"):
            raise ValueError("secret, secret_file and format are for kind: webhook")
        if self.secret is not None:
            _decoded(self.secret.get_secret_value())
        if self.kind == "slack" and (self.token or self.token_file):
            raise ValueError("kind: slack takes no token: the URL is its password")
        if self.kind == "alertmanager" and len(set(self.events)) != 3:
            raise ValueError("kind: alertmanager needs all events: it would never learn what has ended")
        return self

    def address(self, name: str) -> str:
        """The URL to post to.

        Raises:
            OperatorError: the file cannot be read or holds no URL.
        """
        key = f"notify.targets.{name}.url"
        url = secret(self.url, self.url_file, key) or ""
        with _blaming(key):
            _check_url(url)
        return f"{url.rstrip('/')}/api/v2/alerts" if self.kind == "alertmanager" else url

    def signing_keys(self, name: str) -> tuple[bytes, ...]:
        """The keys that sign, none where the target is not signed.

        Raises:
            OperatorError: the file cannot be read or a line is no secret.
        """
        key = f"notify.targets.{name}.secret"
        lines = (secret(self.secret, self.secret_file, key) or "").split()
        with _blaming(key):
            if self.secret_file is not None and not 0 < len(lines) <= SECRETS_MAX:
                raise ValueError(f"the file must hold 1 to {SECRETS_MAX} secrets, one a line")
            return tuple(_decoded(line) for line in lines)

    def bearer(self, name: str) -> str | None:
        """The bearer token, if there is one.

        Raises:
            OperatorError: the file cannot be read or holds no token.
        """
        key = f"notify.targets.{name}.token"
        token = secret(self.token, self.token_file, key)
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token and token):
            raise OperatorError(f"{key}: a token is visible ASCII characters without spaces.")
        return token


class RouteSettings(_Part):
    """Alerts that go to some targets; an alert goes to those of every route that matches."""

    models: tuple[Annotated[str, StringConstraints(min_length=1, max_length=128)], ...] = Field(
        ("*",), min_length=1, description="model ids; * and ? stand for anything, [ab] for a or b"
    )
    min_severity: Severity = Field("info", description="less severe alerts take another route or none")
    targets: tuple[TargetName, ...] = Field(min_length=1, description="who is told")


class NotifySettings(_Part):
    """``driftline notify``: see docs/notify.md."""

    targets: dict[TargetName, TargetSettings] = Field({}, max_length=TARGETS_MAX)
    routes: tuple[RouteSettings, ...] = Field((), max_length=100)
    default: tuple[TargetName, ...] | None = Field(
        None, description="targets of alerts that no route matches: all unless given, [] is none"
    )
    min_severity: Severity = Field("info", description="less severe alerts are not sent to anyone")

    @model_validator(mode="after")
    def _known(self) -> NotifySettings:
        named = {name for route in self.routes for name in route.targets} | set(self.default or ())
        unknown = sorted(named - set(self.targets))
        if unknown:
            raise ValueError(
                f"routes or default name {', '.join(unknown)}, but targets are "
                f"{', '.join(sorted(self.targets)) or 'none'}"
            )
        return self

    def warnings(self) -> list[str]:
        """What is allowed but deserves a second look, one sentence each."""
        found = []
        for name, target in self.targets.items():
            if (
                target.url is not None
                and target.url_file is None
                and _in_the_clear(target.url.get_secret_value())
            ):
                found.append(f"notify.targets.{name}.url: alerts cross the network unencrypted.")
            if target.kind == "webhook" and target.secret is None and target.secret_file is None:
                found.append(
                    f"notify.targets.{name}: without a secret the receiver cannot tell who sent an alert."
                )
        return found


@contextmanager
def _blaming(key: str) -> Iterator[None]:
    """A ValueError inside becomes an OperatorError that names the key."""
    try:
        yield
    except ValueError as error:
        raise OperatorError(f"{key}: {error}.", remedy="See docs/notify.md.") from None


def _check_url(text: str) -> None:
    """Raises ValueError, without the URL in it: it may be a password."""
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > URL_CHARS_MAX:
        raise ValueError("is no URL: visible ASCII characters without spaces")
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("is no URL: it must begin with https:// or http:// and a host")
    _ = parts.port  # raises ValueError for a port that is none
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password: use token")
    if parts.fragment:
        raise ValueError("must not hold a #fragment, which is never sent")


def _in_the_clear(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return parts.scheme == "http" and not local


def _decoded(text: str) -> bytes:
    """The key that a secret holds; raises ValueError, without the secret in it."""
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not text.startswith(SECRET_PREFIX) or len(key) not in SECRET_BYTES:
        raise ValueError(
            f"a secret is {SECRET_PREFIX} and the base64 of {SECRET_BYTES[0]} to {SECRET_BYTES[-1]} random "
            f"bytes: echo {SECRET_PREFIX}$(openssl rand -base64 32)"
        )
    return key
