"""Dashboards: the files are what the code writes, and every panel follows the rules of the house."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
import yaml

from deploy.boards import BOARDS, ROOT, Query, load, panels, queries
from driftline.publish.catalogue import BY_NAME

GRAFANA_VARIABLES = {"__rate_interval"}
HISTOGRAM_PARTS = re.compile(r"_(bucket|sum|count)$")
EVERY_QUERY = [query for board in BOARDS for query in queries(board)]


def test_files_are_what_the_code_writes() -> None:
    """A dashboard edited by hand, or not written after a change, fails."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.dashboards", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert BOARDS == ("fleet", "model", "service")


@pytest.mark.parametrize("board", BOARDS)
def test_panels_explain_themselves(board: str) -> None:
    """Title, description, unit, at least one query; no two panels of one kind with the same title."""
    seen = set()
    for panel in panels(board):
        assert len(panel["description"]) >= 15, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]
        assert (panel["type"], panel["title"]) not in seen
        seen.add((panel["type"], panel["title"]))


@pytest.mark.parametrize("board", BOARDS)
def test_no_data_source_is_fixed(board: str) -> None:
    """Everything that asks a data source names the variable, so that a dashboard works anywhere."""
    parsed = load(board)
    asking = [*panels(board), *parsed.get("annotations", {}).get("list", [])]
    asking += [target for panel in panels(board) for target in panel["targets"]]
    asking += [variable for variable in parsed["templating"]["list"] if variable["type"] == "query"]
    assert {item["datasource"]["uid"] for item in asking} == {"${datasource}"}
    assert parsed["templating"]["list"][0]["type"] == "datasource"


@pytest.mark.parametrize("query", EVERY_QUERY, ids=lambda q: f"{q.board}: {q.where}")
def test_query_is_sound(query: Query) -> None:
    """Known metrics, known variables, and a rate over Grafana's own interval."""
    metrics = set(re.findall(r"\b(?:driftline|process)_[a-z_]+", query.expr))
    assert metrics
    ours = {HISTOGRAM_PARTS.sub("", name) for name in metrics if name.startswith("driftline_")}
    assert ours <= set(BY_NAME)
    defined = {variable["name"] for variable in load(query.board)["templating"]["list"]}
    query.filled(dict.fromkeys(defined | GRAFANA_VARIABLES, "x"))  # KeyError for any other
    assert re.findall(r"rate\([^\[]*\[(?!\$__rate_interval\])", query.expr) == []


def test_provisioning_fits_the_files() -> None:
    """The provider is of type file, and the data source is a Prometheus that is the default."""
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    provider = yaml.safe_load((folder / "dashboards" / "driftline.yaml").read_text(encoding="utf-8"))
    source = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text(encoding="utf-8"))
    assert [item["type"] for item in provider["providers"]] == ["file"]
    assert [(item["type"], item["isDefault"]) for item in source["datasources"]] == [("prometheus", True)]
