"""What can be configured: the sections, their keys, defaults and limits.

Values only: nothing here opens a connection, and the only files it reads are those of the secrets.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from driftline.config import river
from driftline.config.kpi import Kpis, KpiSettings, Origin, OwnKpis
from driftline.config.mapping import MappingSettings
from driftline.config.notify import NotifySettings
from driftline.config.secrets import secret
from driftline.records import MODEL_ID_PATTERN, Severity

ENV_PREFIX: Final = "DRIFTLINE_"
TOPIC_ROLES: Final = ("mailbox", "state", "alerts", "reports", "actions", "rejects", "commands", "notified")
_SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})")
ModelId = Annotated[str, StringConstraints(pattern=MODEL_ID_PATTERN)]
TopicName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(server: str) -> str:
    return server.strip().rpartition(":")[0].strip("[]")


class Section(BaseModel):
    """A part of the settings: unknown keys are errors, values do not change after parsing."""

    # Inputs stay out of pydantic's own messages: they may be passwords.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)


class KafkaSettings(Section):
    """How to reach the brokers; the names are those of the Kafka clients."""

    bootstrap_servers: str = Field(
        "127.0.0.1:9092", description="host:port of some brokers, separated by commas"
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to reach them; docs/security.md"
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"] = Field(
        "SCRAM-SHA-512", description="how to log in, with a protocol of SASL"
    )
    sasl_username: str | None = Field(None, description="the user")
    sasl_password: SecretStr | None = Field(None, description="better in a file or in the environment")
    sasl_password_file: Path | None = Field(
        None, description="file that holds the password; over sasl_password"
    )
    ssl_cafile: Path | None = Field(
        None, description="who signs the brokers' certificates; else those the system trusts"
    )
    ssl_certfile: Path | None = Field(None, description="the client's certificate (mTLS), PEM")
    ssl_keyfile: Path | None = Field(None, description="the key of the client's certificate, PEM")
    ssl_password: SecretStr | None = Field(None, description="of an encrypted key")
    session_timeout_seconds: float = Field(
        10.0,
        ge=1,
        le=300,
        description="after so long without a sign a member of a group counts as dead, and others take over",
    )
    insecure: bool = Field(False, description="allow brokers that are not on loopback without TLS")

    @field_validator("bootstrap_servers")
    @classmethod
    def _servers(cls, value: str) -> str:
        for server in value.split(","):
            match = _SERVER.fullmatch(server.strip())
            if match is None or not 0 < int(match[2]) < 65_536:
                raise ValueError(f"{server.strip()!r} is not host:port; several are separated by commas")
        return value

    @model_validator(mode="after")
    def _complete(self) -> KafkaSettings:
        if self.security_protocol.startswith("SASL") and self.sasl_mechanism != "OAUTHBEARER":
            if self.sasl_username is None:
                raise ValueError(f"security_protocol {self.security_protocol} needs sasl_username")
            if self.sasl_password is None and self.sasl_password_file is None:
                raise ValueError(
                    f"security_protocol {self.security_protocol} needs sasl_password or sasl_password_file"
                )
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ValueError("ssl_certfile and ssl_keyfile go together")
        if self.unprotected() and not self.insecure:
            raise ValueError(
                f"security_protocol {self.security_protocol} to {self.bootstrap_servers}: events could be "
                "read and changed on the way: set SASL_SSL or SSL, or insecure: true if the network is closed"
            )
        return self

    def unprotected(self) -> bool:
        """Whether records leave this machine without TLS."""
        remote = any(not _is_loopback(_host(server)) for server in self.bootstrap_servers.split(","))
        return remote and self.security_protocol in {"PLAINTEXT", "SASL_PLAINTEXT"}

    def password(self) -> str | None:
        """The SASL password, from the file if one is named.

        Raises:
            OperatorError: the file cannot be read.
        """
        return secret(self.sasl_password, self.sasl_password_file, "kafka.sasl_password")


class InputSettings(Section):
    """One raw topic."""

    topic: TopicName = Field(description="its name")
    kind: Literal["events", "labels"] = Field(
        "events", description="labels: later ground truths of events; see docs/labels.md"
    )
    format: Literal["native"] = Field(
        "native", description="JSON events as in docs/events.md; other shapes by mapping"
    )
    model: ModelId | None = Field(
        None, description="the model of every record; else each record names its own"
    )
    mapping: MappingSettings | None = Field(
        None, description="JSON Pointers to the fields of events that look different; see docs/events.md"
    )
    start: Literal["earliest", "latest"] = Field(
        "latest", description="where to begin when nothing was committed"
    )

    @model_validator(mode="after")
    def _one_model(self) -> InputSettings:
        if self.mapping is not None and (self.mapping.label is None) == (self.kind == "labels"):
            raise ValueError(
                f"topic {self.topic} is of kind labels: set mapping.label"
                if self.kind == "labels"
                else f"topic {self.topic} is of kind events, which have no mapping.label: set kind: labels"
            )
        if self.mapping is not None and (self.mapping.model is None) == (self.model is None):
            raise ValueError(
                f"topic {self.topic} can never give a model: set mapping.model, or model for all its events"
                if self.model is None
                else f"model {self.model} is that of every record, so mapping.model {self.mapping.model!r} "
                "is never read: remove one"
            )
        return self


class TopicSettings(Section):
    """Our own topics."""

    prefix: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,100}$")] = Field(
        "driftline", description="the topics are PREFIX.mailbox, PREFIX.alerts and so on"
    )
    mailbox_partitions: int = Field(
        4,
        ge=1,
        le=1024,
        description="most workers of stage 2 there can ever be; cannot be changed later (docs/sizing.md)",
    )
    replication_factor: int = Field(3, ge=1, le=15, description="copies of each partition")
    min_insync_replicas: int = Field(
        2, ge=1, le=15, description="copies that must have a record before it counts"
    )
    retention_hours: int = Field(168, ge=1, le=24 * 365, description="alerts, reports, rejects, commands")
    mailbox_retention_hours: int = Field(
        24, ge=1, le=24 * 365, description="how long stage 2 may be away before rows are lost"
    )
    compression: Literal["none", "lz4", "zstd", "snappy", "gzip"] = Field(
        "none", description="of the mailbox; none is cheapest in CPU (ADR 5)"
    )

    @model_validator(mode="before")
    @classmethod
    def _single_broker(cls, value: Any) -> Any:
        """One replica means one in-sync replica, unless said otherwise."""
        if isinstance(value, dict) and value.get("replication_factor") in (1, "1"):
            return {"min_insync_replicas": 1} | value
        return value

    @model_validator(mode="after")
    def _replicated(self) -> TopicSettings:
        if self.min_insync_replicas > self.replication_factor:
            raise ValueError(
                f"min_insync_replicas {self.min_insync_replicas} exceeds replication_factor "
                f"{self.replication_factor}: no write would be accepted"
            )
        return self

    def name(self, role: str) -> str:
        """Full name of one of our topics, e.g. ``name("alerts")`` -> ``driftline.alerts``."""
        return f"{self.prefix}.{role}"


class RiverDetector(Section):
    """A detector of river beside the built-in ones; its alarms are evidence, and open nothing unless told."""

    river: str = Field(description="its name in river.drift, such as KSWIN")
    args: dict[str, bool | int | float | None] = Field({}, description="its arguments")
    channel: str | None = Field(None, description="of the signal; location or rank unless given")
    opens: bool = Field(
        False, description="an alarm opens an episode of the signal, which the budget does not cover"
    )

    @model_validator(mode="after")
    def _can_be_made(self) -> RiverDetector:
        river.make(self.river, self.args)
        if self.channel is None and river.is_binary(self.river):
            raise ValueError(
                f"{self.river} reads 0/1 values: name a channel that has them, such as missing or share[NAME]"
            )
        return self


class SignalSettings(Section):
    """One signal of a model."""

    detectors: tuple[RiverDetector, ...] = Field((), max_length=8)
    season: Literal["daily", "weekly", "none"] | None = Field(
        None, description="compare a number with its hour of the day or week (UTC); else that of the model"
    )


class LabelSettings(Section):
    """The join of labels with predictions, and what is made of it (docs/labels.md)."""

    max_pending: int = Field(
        100_000, ge=1_000, le=4_000_000, description="predictions of a model that wait for a label"
    )
    max_delay_hours: float = Field(
        30 * 24.0, gt=0, le=5 * 365 * 24, description="how long a prediction and a label wait for each other"
    )
    sample: float = Field(
        1.0, gt=0, le=1, description="share of the ids, the same on both sides; less for high-rate models"
    )
    window_rows: int = Field(1_000, ge=100, le=5_000, description="labelled events a performance window")
    window_hours: float | None = Field(
        None, gt=0, le=24 * 366, description="end a window by event time too, whichever comes first"
    )
    reference_rows: int = Field(
        2_000, ge=500, le=20_000, description="first labelled events that later errors are compared with"
    )
    min_duration_events: int = Field(
        30, ge=0, le=1_000_000, description="more errors that last fewer labelled events open nothing"
    )


class PerformanceSettings(Section):
    """What a model predicts; guessed from its first labelled events where it is not said."""

    task: Literal["auto", "binary", "multiclass", "regression"] = Field(
        "auto", description="auto looks at the first predictions and labels"
    )
    positive_class: str | None = Field(None, description="of a binary model; else true, or the last by name")
    threshold: float = Field(0.5, description="a score from here on predicts the positive class")


class ActionRule(Section):
    """When to ask for a retraining: all conditions that are given hold for an open episode."""

    signal: Annotated[str, StringConstraints(min_length=1, max_length=140)] | None = Field(
        None, description="a signal's name, or how names begin and *: performance.error_rate, kpi.*"
    )
    severity: Severity | None = Field(None, description="at least this one")
    lasting_hours: float | None = Field(
        None, ge=0, le=24 * 365, description="open for so long, by event time"
    )
    drifted_share: float | None = Field(
        None, gt=0, le=1, description="of the features and predictions, that so many are like this at once"
    )

    @model_validator(mode="after")
    def _says_something(self) -> ActionRule:
        if not self.model_fields_set:
            raise ValueError("give at least one of signal, severity, lasting_hours, drifted_share")
        return self


class ActionSettings(Section):
    """Requests for a retraining on the actions topic (docs/actions.md); without rules there are none."""

    rules: tuple[ActionRule, ...] = Field((), max_length=20)
    cooldown_hours: float = Field(
        24.0, ge=0, le=24 * 365, description="least event time between two actions of a model"
    )


class ModelSettings(Section):
    """One model."""

    signals: dict[Annotated[str, StringConstraints(min_length=1, max_length=140)], SignalSettings] = {}

    season: Literal["daily", "weekly"] | None = Field(
        None,
        description="of every number that has no season of its own; docs/decisions.md says what it needs",
    )
    false_alarms_per_week: float | None = Field(
        None, gt=0, le=10_000, description="instead of detection.false_alarms_per_week"
    )
    learning_rows: int | None = Field(
        None, ge=500, le=1_000_000, description="instead of detection.learning_rows"
    )
    rows_per_week: float | None = Field(
        None, gt=0, description="pins the traffic the thresholds are made for"
    )
    performance: PerformanceSettings = PerformanceSettings()
    kpis: OwnKpis = Field({}, description="by name, over those of detection; null drops one (docs/kpis.md)")
    cooldown_seconds: float | None = Field(
        None, ge=0, le=604_800, description="instead of detection.cooldown_seconds"
    )
    on_new_version: Literal["keep", "relearn", "per_version"] | None = Field(
        None, description="instead of detection.on_new_version"
    )
    actions: ActionSettings | None = Field(None, description="instead of detection.actions")


class DetectionSettings(Section):
    """The decision policy; meanings and evidence are in docs/decisions.md."""

    false_alarms_per_week: float = Field(
        1.0, gt=0, le=10_000, description="for each model, over all its signals"
    )
    learning_rows: int = Field(
        5_000,
        ge=500,
        le=1_000_000,
        description="first events of a model that become its reference when no baseline is given",
    )
    min_duration_events: int = Field(
        100, ge=0, le=1_000_000, description="a change that lasts fewer events opens nothing"
    )
    tolerance: float = Field(0.05, gt=0, le=1, description="shift in reference standard deviations to ignore")
    cooldown_seconds: float = Field(
        3_600.0, ge=0, le=604_800, description="a signal that is back so soon does not page again"
    )
    window_rows: int | None = Field(
        8_192, ge=1_000, le=1_000_000, description="events a window is about; null: it ends by time only"
    )
    window_hours: float | None = Field(
        None, ge=1 / 60, le=24 * 31, description="end a window by event time too, whichever comes first"
    )
    models_per_partition_max: int = Field(
        1_000,
        ge=1,
        le=1_000,
        description="of a mailbox partition; further models are ignored and named in the log",
    )
    learning_models_max: int = Field(
        50, ge=1, le=1_000, description="at once in a partition; others wait in the state queued"
    )
    idle_partition_seconds: float = Field(
        60.0,
        ge=1,
        le=86_400,
        description="a raw partition without records for so long holds up the partition's time no more",
    )
    on_new_version: Literal["keep", "relearn", "per_version"] = Field(
        "keep", description="what another model_version does to the reference; see docs/versions.md"
    )
    actions: ActionSettings = ActionSettings()
    labels: LabelSettings | None = Field(None, description="set as soon as an input is of kind labels")
    kpis: Kpis = Field({}, description="of every model: what was agreed for it (docs/kpis.md)")

    def kpis_of(self, own: ModelSettings) -> dict[str, KpiSettings]:
        """The KPIs of a model: the defaults and its own, which win."""
        both = {**self.kpis, **own.kpis}
        return {name: both[name] for name in sorted(both) if both[name] is not None}  # type: ignore[misc]

    @model_validator(mode="after")
    def _windows_end(self) -> DetectionSettings:
        if self.window_rows is None and self.window_hours is None:
            raise ValueError("a window needs an end: set window_rows, window_hours, or both")
        return self

    @property
    def window_ms(self) -> int:
        """Length of a window of event time, 0 when it ends by its rows only."""
        return round((self.window_hours or 0.0) * 3_600_000)


class IngestSettings(Section):
    """Stage 1."""

    max_event_age_hours: float | None = Field(168.0, gt=0, description="null switches the check off")
    flush_interval_seconds: float = Field(
        0.1, ge=0.01, le=10, description="how long rows wait to be sent to stage 2 together"
    )
    flush_rows: int = Field(
        20_000, ge=1, le=200_000, description="rows that are sent at once without waiting"
    )
    discover_models: bool = Field(False, description="accept any model id that events name, up to a cap")
    reject_payload: bool = Field(False, description="put the rejected record itself into the rejects topic")
    accept_gap: bool = Field(False, description="go on after records were lost by retention; counts them")


class CheckpointSettings(Section):
    """When state is stored."""

    interval_seconds: float = Field(
        5.0,
        ge=0.1,
        le=300,
        description="how often state is stored; what came since is applied again after a crash",
    )
    urgent_per_second_max: float = Field(
        2.0, gt=0, le=20, description="checkpoints because of an alert, which does not wait for the interval"
    )
    transaction_timeout_seconds: float = Field(
        30.0, ge=5, le=300, description="a transaction open for longer is aborted by the broker"
    )
    take_over_timeout_seconds: float = Field(
        60.0,
        ge=5,
        le=600,
        description="a worker that needs longer to read the state of its partitions ends itself",
    )


class HttpSettings(Section):
    """/live, /ready, /metrics."""

    host: str = Field(
        "127.0.0.1",
        description="where /live, /ready and /metrics listen; docs/security.md on others than loopback",
    )
    port: int = Field(9464, ge=0, le=65_535, description="0 picks a free port")
    series_max: int = Field(
        5_000, ge=100, le=20_000, description="of /metrics in all; open episodes come first"
    )
    signal_series_per_model_max: int = Field(
        100, ge=1, le=2_000, description="signals of a model on /metrics; those that moved most"
    )
    tls_certfile: Path | None = Field(None, description="PEM with the chain; then only HTTPS is spoken")
    tls_keyfile: Path | None = Field(None, description="the key of tls_certfile, PEM")
    token_file: Path | None = Field(
        None, description="file with the bearer token that /metrics asks for; /live and /ready never do"
    )
    insecure_bind: bool = Field(
        False, description="allow a host that is not loopback without TLS and a token"
    )

    @model_validator(mode="after")
    def _loopback(self) -> HttpSettings:
        if (self.tls_certfile is None) != (self.tls_keyfile is None):
            raise ValueError("tls_certfile and tls_keyfile go together")
        if self.unprotected() and not self.insecure_bind:
            raise ValueError(
                f"host {self.host} is not loopback: set tls_certfile, tls_keyfile and token_file, or "
                "insecure_bind: true if the network is closed"
            )
        return self

    def unprotected(self) -> bool:
        """Whether others than this machine can read /metrics, or listen to who does."""
        return not _is_loopback(self.host) and (self.tls_certfile is None or self.token_file is None)


class Settings(BaseSettings):
    """All settings of a deployment."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )
    file_values: ClassVar[
        Mapping[str, Any]
    ] = {}  # of the configuration file; set by load_settings in a subclass

    kafka: KafkaSettings = KafkaSettings()
    inputs: tuple[InputSettings, ...] = (InputSettings(topic="inference.events"),)
    topics: TopicSettings = TopicSettings()
    models: dict[ModelId, ModelSettings] = {}
    detection: DetectionSettings = DetectionSettings()
    ingest: IngestSettings = IngestSettings()
    checkpoint: CheckpointSettings = CheckpointSettings()
    http: HttpSettings = HttpSettings()
    notify: NotifySettings = NotifySettings()
    group: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,100}$")] = Field(
        "driftline", description="the consumer groups are GROUP-ingest and GROUP-detect"
    )
    revision_number: int = Field(
        0, ge=0, description="raise it with every change of detection or models: older workers then stop"
    )
    runbook_url: str = Field(
        "https://github.com/driftline/driftline/blob/main/docs/runbook.md", description="in every alert"
    )
    log_format: Literal["auto", "json", "text"] = Field(
        "auto", description="auto: text on a terminal, JSON elsewhere"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line (init) over environment over file."""
        del dotenv_settings, file_secret_settings
        return (init_settings, env_settings, InitSettingsSource(settings_cls, dict(cls.file_values)))

    @field_validator("models", mode="before")
    @classmethod
    def _bare_names(cls, value: Any) -> Any:
        """``models: {credit-risk: }`` names a model without settings of its own."""
        if isinstance(value, dict):
            return {name: {} if one is None else one for name, one in value.items()}
        return value

    @model_validator(mode="after")
    def _labelled(self) -> Settings:
        """An input of labels switches their join on."""
        kinds = {i.kind for i in self.inputs}
        if "events" not in kinds:
            raise ValueError("inputs name no topic of events")
        if "labels" in kinds and self.detection.labels is None:
            detection = self.detection.model_copy(update={"labels": LabelSettings()})
            object.__setattr__(self, "detection", detection)
        return self

    @model_validator(mode="after")
    def _models_named(self) -> Settings:
        fixed = {i.model for i in self.inputs if i.model}
        if not self.ingest.discover_models and not self.models and not fixed:
            raise ValueError(
                "no model is named: list them under models, fix one in inputs[].model, "
                "or set ingest.discover_models: true"
            )
        names = [i.topic for i in self.inputs]
        if len(set(names)) != len(names):
            raise ValueError(f"inputs name a topic twice: {', '.join(names)}")
        own = {self.topics.name(role) for role in TOPIC_ROLES}
        if own & set(names):
            raise ValueError(
                f"inputs name {', '.join(sorted(own & set(names)))}, a topic of our own: "
                "set topics.prefix to something else"
            )
        return self

    def first_input(self, kind: Literal["events", "labels"] = "events") -> InputSettings | None:
        """The first input of a kind, as files are read; there is always one of events."""
        return next((i for i in self.inputs if i.kind == kind), None)

    def allowed_models(self) -> frozenset[str] | None:
        """The models whose events are accepted; None when any is."""
        if self.ingest.discover_models:
            return None
        return frozenset(self.models) | {i.model for i in self.inputs if i.model}

    def group_id(self, role: Literal["ingest", "detect", "notify"]) -> str:
        """Consumer group of a stage, as it shows in lag displays; notify adds its target's name."""
        return f"{self.group}-{role}"

    def transactional_id(self, partition: int) -> str:
        """Of the checkpoints of a mailbox partition; whoever may write under it can fence its owner."""
        return f"{self.topics.prefix}-{self.group}-{partition}"

    def revision(self) -> str:
        """Identity of everything that decisions depend on: its number, a hash of the settings behind it."""
        # Sorted: the order in which a file lists its models decides nothing.
        text = json.dumps(self.model_dump(mode="json", include={"detection", "models"}), sort_keys=True)
        return f"{self.revision_number}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def warnings(self) -> list[str]:
        """What is allowed but deserves a second look, one sentence each."""
        found = []
        if self.kafka.unprotected():
            secret = " and the password" if self.kafka.security_protocol == "SASL_PLAINTEXT" else ""
            found.append(
                f"kafka.security_protocol {self.kafka.security_protocol}: "
                f"events{secret} cross the network unencrypted."
            )
        if self.http.unprotected():
            found.append(
                f"http.host {self.http.host}: /metrics names models and features to anyone who can reach it."
            )
        if self.ingest.reject_payload:
            found.append(
                "ingest.reject_payload: rejected rows go to the rejects topic, personal data included."
            )
        own = {name for model in self.models.values() for name, kpi in model.kpis.items() if of_labels(kpi)}
        if self.detection.labels is None:
            own |= {name for name, kpi in self.detection.kpis.items() if of_labels(kpi)}
            found += [
                f"kpi {name}: needs labels, and no input is of kind labels: it stays unknown."
                for name in sorted(own)
            ]
        if self.ingest.accept_gap:
            found.append(
                "ingest.accept_gap: rows lost by retention are skipped; switch it off again afterwards."
            )
        return found + self.notify.warnings()


def of_labels(kpi: KpiSettings | None) -> bool:
    """Whether a KPI is measured with labels."""
    return kpi is not None and kpi.parsed.origin in {Origin.LABELLED, Origin.SCORED, Origin.LABELS}
