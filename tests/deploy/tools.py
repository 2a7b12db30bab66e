"""``make deploy-test``: Dockerfile, compose file and Helm chart, read by the tools of their makers.

hadolint lints the Dockerfile, Docker Compose reads the compose file, Helm lints the chart and renders it in
every combination of its switches; each object is validated against Kubernetes' own schemas (strictly, oldest
and newest version that we name), and each configuration is loaded as the service would load it. No engine, no
cluster.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from unittest import mock

import helm_python
import kubernetes_validate
import yaml

from driftline.config import load_settings
from driftline.config.settings import ENV_PREFIX

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
VERSIONS: Final = ("1.27", "1.37")  # kubeVersion of the chart, and the newest schemas there are
# Kinds of operators, whose schemas no package brings: ``problems`` checks what they refer to.
CUSTOM: Final = {"PodMonitor", "PrometheusRule", "ScaledObject"}
Values = dict[str, Any]
Manifest = dict[str, Any]

SASL: Final = {"security_protocol": "SASL_SSL", "sasl_username": "driftline"}
TARGETS: Final = {
    "chat": {"kind": "slack", "url_file": "/etc/driftline/notify/slack"},
    "alertmanager": {"kind": "alertmanager", "url": "http://alertmanager:9093"},
}
NOTIFY: Final = {"notify": {"enabled": True, "secret": "notify"}, "config": {"notify": {"targets": TARGETS}}}
SWITCHES: Final[tuple[tuple[Values, ...], ...]] = (
    ({"mode": "combined"}, {"mode": "split"}),
    *(
        ({name: {switch: True}}, {name: {switch: False}})
        for name, switch in (
            ("topics", "create"),
            ("serviceAccount", "create"),
            ("podDisruptionBudget", "enabled"),
            ("networkPolicy", "enabled"),
            ("podMonitor", "enabled"),
            ("prometheusRule", "enabled"),
            ("keda", "enabled"),
        )
    ),
    ({}, NOTIFY),
    (
        {},
        {"secrets": {"tls": {"name": "ca"}}},
        {
            "secrets": {
                "sasl": {"name": "kafka"},
                "tls": {"name": "mutual", "cert": "tls.crt", "key": "tls.key"},
            }
        },
    ),
    ({}, {"secrets": {"http": {"name": "metrics"}}}),
)
REFUSED: Final[dict[str, Values]] = {
    "an unknown key": {"replicas": 3},
    "an unknown mode": {"mode": "ingest"},
    "a password in the ConfigMap": {"config": {"kafka": {"sasl_password": "x"}}},
    "brokers without a port": {"config": {"kafka": {"bootstrap_servers": "kafka"}}},
    "a digest that is a tag": {"image": {"digest": "latest"}},
    "a host that the chart sets": {"config": {"http": {"host": "127.0.0.1"}}},
    "scaling to nothing": {"keda": {"minReplicas": 0}},
    "a signing secret in the ConfigMap": {"config": {"notify": {"targets": {"a": {"secret": "x"}}}}},
    "a Slack URL in the ConfigMap": {"config": {"notify": {"targets": {"a": {"kind": "slack", "url": "x"}}}}},
    "notifications that may reach nothing": {"notify": {"egressPorts": []}},
    "a certificate for /metrics without a token": {"secrets": {"http": {"name": "metrics", "token": ""}}},
    "no input": {"config": {"inputs": []}},
}


def main() -> int:
    """Exit code: 0 when no tool found a fault."""
    faults = [*hadolint(), *compose(), *chart()]
    for fault in faults:
        sys.stdout.write(f"FAULT {fault}\n")
    sys.stdout.write(f"{len(faults)} faults\n")
    return int(bool(faults))


def run(name: str, command: list[str]) -> Iterator[str]:
    """Run a tool; what it says when it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    sys.stdout.write(f"{name}: exit {done.returncode}\n")
    if done.returncode:
        yield f"{name}: {done.stdout}{done.stderr}"


def hadolint() -> Iterator[str]:
    """The Dockerfile's linter, all rules."""
    yield from run("hadolint Dockerfile", [str(Path(sys.executable).with_name("hadolint")), "Dockerfile"])


def compose() -> Iterator[str]:
    """Docker Compose's own reading of the file: schema, references, merges."""
    spec = find_spec("compose")
    folder = (spec.submodule_search_locations or [""])[0] if spec else ""
    program = Path(folder) / "docker-compose"
    yield from run("compose config", [str(program), "-f", str(DEPLOY / "compose.yaml"), "config", "--quiet"])


# --- the chart ----------------------------------------------------------------------------------------------


def chart() -> Iterator[str]:
    """Lint, render every combination, validate every distinct object, and see wrong values refused."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "driftline"
        shutil.copytree(
            DEPLOY / "helm" / "driftline", folder
        )  # follows the links to the rules, as packaging does
        report = helm_python.lint(folder)
        yield from (f"helm lint: {m['path']}: {m['error']}" for m in report["messages"] if m["severity"] > 1)
        with helm_python.Chart.load(folder) as loaded:
            yield from combinations(loaded)
            yield from refusals(loaded)


def combinations(loaded: Any) -> Iterator[str]:
    """Every combination of the switches."""
    parsed: dict[str, list[Manifest]] = {}
    count = 0
    for parts in itertools.product(*SWITCHES):
        values = merged({"config": {"models": {"credit-risk": {}}}}, *parts)
        if "sasl" in values.get("secrets", {}):
            values = merged(values, {"config": {"kafka": SASL}})
        count += 1
        objects = []
        for path, text in loaded.render(values, name="demo", namespace="prod").items():
            if path.endswith(".txt"):
                continue
            if text not in parsed:
                parsed[text] = [item for item in yaml.safe_load_all(text) if item]
                yield from (fault for item in parsed[text] for fault in validated(item))
            objects += parsed[text]
        yield from (f"{fault}: {values}" for fault in problems(objects, values))
    sys.stdout.write(f"helm: {count} combinations rendered, {len(parsed)} distinct manifests validated\n")


def refusals(loaded: Any) -> Iterator[str]:
    """Values that values.schema.json has to refuse."""
    loaded.validate_schema({})
    for name, values in REFUSED.items():
        try:
            loaded.validate_schema(loaded.merge_values(values))
        except helm_python.HelmError:
            continue
        yield f"values.schema.json accepts {name}"
    sys.stdout.write(f"helm: {len(REFUSED)} kinds of wrong values refused\n")


def merged(*parts: Values) -> Values:
    """Values laid over one another, as Helm does it."""
    result: Values = {}
    for part in parts:
        for key, value in part.items():
            both = isinstance(value, dict) and isinstance(result.get(key), dict)
            result[key] = merged(result[key], value) if both else value
    return result


def validated(manifest: Manifest) -> Iterator[str]:
    """One object against the schemas of Kubernetes."""
    if manifest["kind"] in CUSTOM:
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            where = ".".join(map(str, error.path))
            yield f"{manifest['kind']} {manifest['metadata']['name']}: {version}: {where}: {error.message}"


def problems(objects: list[Manifest], values: Values) -> Iterator[str]:
    """What schemas cannot see: references between objects, confinement, and the service's own opinion."""
    named = {(item["kind"], item["metadata"]["name"]): item for item in objects}
    if len(named) != len(objects):
        yield "two objects of one kind and name"
    deployments = [item for item in objects if item["kind"] == "Deployment"]
    for item in [*deployments, *(item for item in objects if item["kind"] == "Job")]:
        yield from pod_problems(item, named)
    for item in deployments:
        scaled = values["keda"]["enabled"] and not item["metadata"]["name"].endswith("-notify")
        if ("replicas" in item["spec"]) == bool(scaled):
            yield "replicas and KEDA both decide the number, or neither does"
    labels = [item["spec"]["template"]["metadata"]["labels"] for item in deployments]
    for kind in ("PodDisruptionBudget", "NetworkPolicy", "PodMonitor"):
        for item in (item for item in objects if item["kind"] == kind):
            spec = item["spec"]
            selector = spec.get("selector", spec.get("podSelector"))["matchLabels"]
            if not any(selector.items() <= one.items() for one in labels):
                yield f"{kind} selects no pod"
    secured = bool(values.get("secrets", {}).get("http"))
    schemes = {probe["httpGet"]["scheme"] for item in deployments for probe in probes(item)}
    monitors = [item for item in objects if item["kind"] == "PodMonitor"]
    schemes |= {item["spec"]["podMetricsEndpoints"][0].get("scheme", "http").upper() for item in monitors}
    if schemes != {"HTTPS" if secured else "HTTP"}:
        yield f"probes or PodMonitor speak {schemes}"
    for item in (item for item in objects if item["kind"] == "ScaledObject"):
        if ("Deployment", item["spec"]["scaleTargetRef"]["name"]) not in named or not item["spec"][
            "triggers"
        ]:
            yield "ScaledObject without target or trigger"
    for item in (item for item in objects if item["kind"] == "PrometheusRule"):
        if item["spec"]["groups"] != shipped_groups():
            yield "PrometheusRule differs from deploy/prometheus"


def probes(item: Manifest) -> list[Any]:
    """The probes of a deployment's container."""
    container = item["spec"]["template"]["spec"]["containers"][0]
    return [probe for name, probe in container.items() if name.endswith("Probe")]


def pod_problems(item: Manifest, named: dict[tuple[str, str], Manifest]) -> Iterator[str]:
    """References and confinement of one pod, and whether the service takes its configuration."""
    pod = item["spec"]["template"]["spec"]
    container = pod["containers"][0]
    where = f"{item['kind']} {item['metadata']['name']}"
    account = pod.get("serviceAccountName", "default")
    if account != "default" and ("ServiceAccount", account) not in named:
        yield f"{where}: no ServiceAccount {account}"
    if {mount["name"] for mount in container["volumeMounts"]} != {
        volume["name"] for volume in pod["volumes"]
    }:
        yield f"{where}: volumes and mounts differ"
    security = pod["securityContext"] | container["securityContext"]
    wanted = {"runAsNonRoot": True, "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False}
    if not wanted.items() <= security.items() or security["capabilities"] != {"drop": ["ALL"]}:
        yield f"{where}: not confined"
    if pod["automountServiceAccountToken"] or not container["resources"]["limits"]["memory"]:
        yield f"{where}: a token, or no memory limit"
    source = next(volume["configMap"]["name"] for volume in pod["volumes"] if volume["name"] == "config")
    if ("ConfigMap", source) not in named:
        yield f"{where}: no ConfigMap {source}"
        return
    environment = tuple((entry["name"], entry["value"]) for entry in container["env"])
    if not accepted(named["ConfigMap", source]["data"]["driftline.yaml"], environment):
        yield f"{where}: the service reads something else than was meant"


@cache
def accepted(text: str, environment: tuple[tuple[str, str], ...]) -> bool:
    """Load a configuration as the service would, with the container's environment.

    Raises:
        OperatorError: the service would refuse it.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.dict(os.environ, clean | dict(environment), clear=True),
    ):
        path = Path(folder) / "driftline.yaml"
        path.write_text(text, encoding="utf-8")
        settings = load_settings(path)
    return settings.http.host == "0.0.0.0" and "credit-risk" in settings.models  # noqa: S104 - in the pod


@cache
def shipped_groups() -> list[Any]:
    """The groups of deploy/prometheus, which PrometheusRule has to hold."""
    files = (
        yaml.safe_load((DEPLOY / "prometheus" / name).read_text()) for name in ("rules.yaml", "alerts.yaml")
    )
    return [group for file in files for group in file["groups"]]


if __name__ == "__main__":
    raise SystemExit(main())
