"""Rules and alerts: known metrics only, and one runbook entry and one pair of promtool tests for each alert.

promtool itself runs in ``make dashboards-test``: CI does not install Debian's Prometheus, which has it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from driftline.config import Settings
from driftline.publish.catalogue import BY_NAME

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
SEVERITIES = {"critical", "warning", "info"}
OWN_SEVERITY = ("DriftlineDriftOpen", "DriftlineKpiBreached")  # the metric brings that of the episode
PARTS = ("Meaning", "Impact", "Check", "Remedy")


def load(name: str) -> Any:
    """A YAML file under deploy/prometheus."""
    return yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))


def rules(name: str) -> list[dict[str, Any]]:
    """All rules of a file, in their order."""
    return [rule for group in load(name)["groups"] for rule in group["rules"]]


RECORDED = [rule["record"] for rule in rules("rules.yaml")]
ALERTS = {rule["alert"]: rule for rule in rules("alerts.yaml")}


def promtool_cases() -> list[dict[str, Any]]:
    """Every alert_rule_test of every file of tests."""
    return [
        case
        for path in sorted((PROMETHEUS / "tests").glob("*.yaml"))
        for test in load(f"tests/{path.name}")["tests"]
        for case in test["alert_rule_test"]
    ]


def runbook() -> dict[str, str]:
    """Heading to text of the alerts' entries."""
    page = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8").split("## Prometheus alerts\n")[1]
    found = {}
    for entry in page.split("\n### ")[1:]:
        heading, _, text = entry.partition("\n")
        found[heading] = text
    return found


@pytest.mark.parametrize(
    "rule", [*rules("rules.yaml"), *ALERTS.values()], ids=lambda r: next(iter(r.values()))
)
def test_rules_use_metrics_that_exist(rule: dict[str, Any]) -> None:
    """A renamed metric fails here, not as a rule that is silent for ever."""
    words = set(re.findall(r"[a-z_]*:?driftline_[a-z_]+(?::[a-z0-9_]+)?", rule["expr"]))
    unknown = {word for word in words if word not in BY_NAME and word not in RECORDED}
    assert unknown == set()


def test_recording_rules_are_named_and_used() -> None:
    """level:metric:operations, and no rule is evaluated for nobody."""
    used = " ".join(rule["expr"] for rule in [*rules("rules.yaml"), *ALERTS.values()])
    for name in RECORDED:
        assert re.fullmatch(r"[a-z_]+:[a-z_]+:[a-z0-9_]+", name)
        assert name in used


@pytest.mark.parametrize("name", ALERTS)
def test_alert_says_what_a_person_needs(name: str) -> None:
    """Summary, description, the link to its own runbook entry, and a severity that a router knows."""
    rule = ALERTS[name]
    assert re.fullmatch(r"Driftline[A-Z][A-Za-z]+", name)
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert (
        rule["annotations"]["runbook_url"] == f"{Settings.model_fields['runbook_url'].default}#{name.lower()}"
    )
    if name in OWN_SEVERITY:
        assert "labels" not in rule
    else:
        assert rule["labels"]["severity"] in SEVERITIES


def test_alerts_and_runbook_are_one_to_one() -> None:
    """Same names in the same order, each entry with its four parts and nothing else."""
    entries = runbook()
    assert list(entries) == list(ALERTS)
    for name, text in entries.items():
        assert tuple(re.findall(r"^- \*\*(\w+)\*\*: \S", text, re.MULTILINE)) == PARTS, name


def test_alerts_and_promtool_tests_are_one_to_one() -> None:
    """Each alert has a test in which it fires and one in which it is silent; no test names another alert."""
    cases = promtool_cases()
    assert {c["alertname"] for c in cases if c["exp_alerts"]} == set(ALERTS)
    assert {c["alertname"] for c in cases if not c["exp_alerts"]} == set(ALERTS)


@pytest.mark.parametrize("name", OWN_SEVERITY)
def test_episodes_fire_with_each_severity(name: str) -> None:
    """Alerts without a label of their own are tested with every severity that an episode can have."""
    fired = {
        alert["exp_labels"]["severity"]
        for case in promtool_cases()
        if case["alertname"] == name
        for alert in case["exp_alerts"]
    }
    assert fired == SEVERITIES
