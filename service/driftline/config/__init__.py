"""Parsed settings: one YAML file, environment over file, command line over both."""

from driftline.config.load import json_schema, load_settings
from driftline.config.mapping import MappingSettings
from driftline.config.notify import NotifySettings, RouteSettings, TargetSettings
from driftline.config.secrets import read_secret
from driftline.config.settings import (
    ENV_PREFIX,
    CheckpointSettings,
    DetectionSettings,
    HttpSettings,
    IngestSettings,
    InputSettings,
    KafkaSettings,
    ModelId,
    ModelSettings,
    Section,
    Settings,
    TopicName,
    TopicSettings,
)

__all__ = [
    "ENV_PREFIX",
    "CheckpointSettings",
    "DetectionSettings",
    "HttpSettings",
    "IngestSettings",
    "InputSettings",
    "KafkaSettings",
    "MappingSettings",
    "ModelId",
    "ModelSettings",
    "NotifySettings",
    "RouteSettings",
    "Section",
    "Settings",
    "TargetSettings",
    "TopicName",
    "TopicSettings",
    "json_schema",
    "load_settings",
    "read_secret",
]
