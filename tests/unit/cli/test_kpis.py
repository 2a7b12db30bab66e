"""KPIs through ``driftline replay``: a file, a configuration, and what its owner is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from driftline import cli
from driftline.decide.texts import rfc3339

T0 = 1_767_225_600_000  # 2026-01-01T00:00:00Z, a Thursday
CONFIG = """
inputs: [{topic: events}, {topic: labels, kind: labels}]
models:
  shop:
    learning_rows: 500
    performance: {positive_class: fraud}
    kpis:
      found: {measure: recall.fraud, min: 0.7, window: 12h, for: 2, hysteresis: 0.05, severity: critical}
      turnover: {measure: sum.amount, min: 20000, window: 6h}
      misspelt: {measure: missing.amuont, max: 0.5}
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight days, an event a minute; frauds are missed from day 3 to 5, and day 6 sells next to nothing."""
    folder = tmp_path_factory.mktemp("kpis")
    rng = np.random.default_rng(3)
    events, labels = [], []
    for i in range(8 * 1_440):
        day, at = i // 1_440, T0 + i * 60_000
        fraud = bool(rng.random() < 0.2)
        said = bool(rng.random() < (0.3 if 3 <= day < 5 else 0.9)) if fraud else bool(rng.random() < 0.02)
        features = {"amount": round(float(rng.gamma(2.0, 50.0)) * (0.05 if day == 6 else 1.0), 2)}
        head = {"id": str(i), "model": "shop"}
        said_class, true_class = ("fraud" if yes else "fine" for yes in (said, fraud))
        events.append(
            {**head, "time": rfc3339(at), "features": features, "prediction": {"class": said_class}}
        )
        labels.append({**head, "time": rfc3339(at + 3_600_000), "label": true_class})
    for name, rows in (("events", events), ("labels", labels)):
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "driftline.yaml").write_text(CONFIG, encoding="utf-8")
    return folder


def replayed(folder: Path, *more: str) -> list[dict[str, Any]]:
    """The alerts of KPIs."""
    names = ("events.jsonl", "--labels", "labels.jsonl", "--config", "driftline.yaml")
    arguments = [a if a.startswith("--") else str(folder / a) for a in names]
    result = CliRunner().invoke(cli.app, ["replay", "--json", *arguments, *more])
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [line for line in found if line.get("signal_kind") == "kpi"]


def test_the_owner_is_told_what_was_agreed_and_what_is(files: Path) -> None:
    """After two half days of missed frauds, and after six hours without turnover; both resolve."""
    alerts = replayed(files)
    told = [(a["signal"], a["type"].rpartition(".")[2], a["time"][:13]) for a in alerts]
    assert sorted(told) == [
        ("kpi.found", "opened", "2026-01-05T00"),
        ("kpi.found", "resolved", "2026-01-06T12"),
        ("kpi.turnover", "opened", "2026-01-07T06"),
        ("kpi.turnover", "resolved", "2026-01-08T06"),
    ]
    found = next(a for a in alerts if a["signal"] == "kpi.found")
    assert found["severity"] == "critical"
    assert found["summary"].startswith("shop: recall of fraud is 0.")
    assert found["summary"].endswith(", below the agreed 0.7, since about 2026-01-04 00:00 UTC")
    assert found["kpi"]["window"]["rows"] == 720


def test_batches_change_nothing(files: Path) -> None:
    """The size in which a file is read is none of an owner's business."""
    whole, cut = ({a["id"]: a for a in replayed(files, "--batch", size)} for size in ("100000", "777"))
    assert whole == cut
