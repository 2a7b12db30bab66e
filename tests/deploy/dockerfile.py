"""The Dockerfile as a list of instructions: enough of its grammar for ours, no more."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
KEYWORDS: Final = frozenset(
    [
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "RUN",
        "STOPSIGNAL",
        "USER",
        "WORKDIR",
    ]
)


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction; ``stage`` counts the FROM lines, -1 before the first."""

    keyword: str
    text: str
    stage: int


def instructions() -> list[Instruction]:
    """Comments left out, continued lines joined.

    Raises:
        ValueError: an instruction that is none of KEYWORDS.
    """
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    found, stage = [], -1
    for line in re.sub(r"\s*\\\n\s*", " ", lines).splitlines():
        keyword, _, rest = line.partition(" ")
        if keyword not in KEYWORDS:
            raise ValueError(f"unknown instruction {keyword!r}")
        stage += keyword == "FROM"
        found.append(Instruction(keyword, rest, stage))
    return found


def pairs(text: str) -> dict[str, str]:
    """``A=b C="d e"`` of ENV, ARG and LABEL."""
    return {name: value.strip('"') for name, value in re.findall(r'([\w.]+)=("[^"]*"|\S*)', text)}
