"""The compose file: hardened, on loopback only, with a configuration that the service accepts.

Docker Compose itself reads it in ``make deploy-test``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from driftline.config import load_settings
from driftline.demo.traffic import model_name

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
ONE_SHOT = {"raw-topic", "topics"}
WRITABLE = {"kafka", "raw-topic"}  # Apache's image writes its configuration beside its programs


@pytest.mark.parametrize("name", SERVICES)
def test_service_is_confined(name: str) -> None:
    """No capabilities, no new privileges, bounded memory, read-only where the image allows it."""
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["mem_limit"]
    assert bool(service.get("read_only")) == (name not in WRITABLE)
    assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
    assert "privileged" not in service
    assert ":latest" not in service["image"]
    assert ":" in service["image"]


def test_ports_are_on_loopback_only() -> None:
    """Nothing of an example without passwords is reachable from the network."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_configuration_is_accepted_and_names_the_simulated_models(tmp_path: Path) -> None:
    """The inline configuration loads, and the traffic is of the models that it lists."""
    path = tmp_path / "driftline.yaml"
    path.write_text(COMPOSE["configs"]["driftline"]["content"], encoding="utf-8")
    settings = load_settings(path)
    command = SERVICES["traffic"]["command"]
    models = int(command[command.index("--models") + 1])
    assert set(settings.models) == {model_name(i) for i in range(models)}
    assert settings.inputs[0].topic in SERVICES["raw-topic"]["command"]


def test_notifications_run_only_where_asked_for() -> None:
    """Behind a profile, together with the Alertmanager that the configuration names."""
    profiles = {name: one["profiles"] for name, one in SERVICES.items() if "profiles" in one}
    assert profiles == {"notify": ["notify"], "alertmanager": ["notify"]}
    notify = yaml.safe_load(COMPOSE["configs"]["driftline"]["content"])["notify"]
    assert [target["url"] for target in notify["targets"].values()] == ["http://alertmanager:9093"]


def test_drift_begins_after_learning_and_within_a_minute() -> None:
    """Promised in the README: drift is visible within two minutes."""
    command = SERVICES["traffic"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    detection = yaml.safe_load(COMPOSE["configs"]["driftline"]["content"])["detection"]
    learned = detection["learning_rows"] * int(options["--models"]) / float(options["--rate"])
    after = float(options["--drift-after"].removesuffix("s"))
    assert 2 * learned < after <= 60


def test_files_that_are_mounted_exist() -> None:
    """Every bind mount names something beside the compose file."""
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", [])]
    binds = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    assert len(binds) == 3
    assert all((ROOT / "deploy" / bind).is_dir() for bind in binds)
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8"))
    assert all((ROOT / "deploy" / "prometheus" / name).is_file() for name in rules["rule_files"])
