"""The package says the same about itself everywhere."""

from __future__ import annotations

import importlib.metadata
import tomllib
from pathlib import Path

import driftline

ROOT = Path(__file__).parents[2]


def test_version_is_the_same_everywhere() -> None:
    """pyproject.toml, the module and the installed metadata name one version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert driftline.__version__ == project["version"]
    assert importlib.metadata.version("driftline") == project["version"]


def test_every_direct_dependency_is_explained() -> None:
    """docs/dependencies.md has a row for each name that pyproject.toml asks for."""
    parsed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = parsed["project"]
    wanted = list(project["dependencies"])
    for group in (*project["optional-dependencies"].values(), *parsed["dependency-groups"].values()):
        wanted += [item for item in group if isinstance(item, str)]
    names = {item.split(">")[0].split("=")[0].split("[")[0].strip() for item in wanted}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert {name for name in names if f"| {name} |" not in page} == set()


def test_locks_name_no_index_and_no_host() -> None:
    """The lock files serve everybody, whatever index they install from."""
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text(encoding="utf-8")
        assert "--index-url" not in text, lock.name
        assert "--find-links" not in text, lock.name
        assert "://" not in text, lock.name
        assert "--hash=sha256:" in text, lock.name
