"""The committed dashboards as tests see them: every query, and the variables in it put in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "grafana" / "dashboards"
BOARDS: Final = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
VARIABLE: Final = re.compile(r"\$(\w+)|\$\{(\w+)")


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression of a dashboard; ``where`` names its panel, annotation or variable."""

    board: str
    where: str
    expr: str
    instant: bool = True

    def filled(self, values: Mapping[str, str]) -> str:
        """The expression with every variable replaced.

        Raises:
            KeyError: it uses a variable that has no value.
        """
        return VARIABLE.sub(lambda match: values[match[1] or match[2]], self.expr)


def load(board: str) -> Any:
    """The JSON of a dashboard."""
    return json.loads((FOLDER / f"{board}.json").read_text(encoding="utf-8"))


def panels(board: str) -> list[Any]:
    """Its panels without the headings."""
    return [panel for panel in load(board)["panels"] if panel["type"] != "row"]


def queries(board: str) -> Iterator[Query]:
    """Every query of panels and annotations, and the series behind each variable."""
    parsed = load(board)
    for panel in panels(board):
        for target in panel["targets"]:
            yield Query(board, f"{panel['title']} {target['refId']}", target["expr"], target["instant"])
    for annotation in parsed.get("annotations", {}).get("list", []):
        yield Query(board, f"annotation {annotation['name']}", annotation["expr"])
    for variable in parsed["templating"]["list"]:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
        if match:
            yield Query(board, f"variable {variable['name']}", f"group by ({match[2]}) ({match[1]})")
