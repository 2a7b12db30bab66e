"""The documentation site is complete, and its generated pages are what the code says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from driftline.config.settings import TOPIC_ROLES
from tools.docs import configuration

ROOT = Path(__file__).parents[2]


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI document."""
    parsed: dict[str, Any] = yaml.safe_load((ROOT / "schemas" / "asyncapi.yaml").read_text(encoding="utf-8"))
    return parsed


def references(node: Any) -> list[str]:
    """Every ``$ref`` of a document."""
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """Strict mkdocs: each page has a place, each link and anchor a target."""
    command = [sys.executable, "-m", "tools.docs", "--site", str(tmp_path)]
    env = {key: value for key, value in os.environ.items() if not key.startswith("PYTHONWARN")}
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "quickstart" / "index.html").is_file()


def test_the_configuration_page_is_what_the_settings_say() -> None:
    """Run ``make docs-pages`` after a change of the settings."""
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == configuration.page()


def test_every_key_says_what_it_means() -> None:
    """A row with an empty last cell is a key without a description."""
    rows = [line for line in configuration.page().splitlines() if line.startswith("| `")]
    assert [row for row in rows if row.endswith("|  |") and "see below" not in row] == []


def test_asyncapi_is_valid() -> None:
    """The document fits AsyncAPI's own schema, version 3.0.0."""
    schema = json.loads((Path(__file__).parent / "asyncapi-3.0.0.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(asyncapi())


def test_asyncapi_names_what_exists() -> None:
    """Each of our topics is a channel, each reference has a target, each schema of a topic is used."""
    document = asyncapi()
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses >= {f"driftline.{role}" for role in TOPIC_ROLES}
    files = set()
    for target in references(document):
        if target.startswith("#/"):
            node: Any = document
            for part in target[2:].split("/"):
                node = node[part]
        else:
            files.add((ROOT / "schemas" / target).resolve())
    assert all(file.is_file() for file in files)
    published = set((ROOT / "schemas").glob("*.v1.json"))
    assert published - files == {ROOT / "schemas" / "baseline.v1.json", ROOT / "schemas" / "config.v1.json"}
