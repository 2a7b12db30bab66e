"""Alerts and reports of a made-up model, as they are on their topics, for the pages' tests."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaProducer

from driftline.decide.outputs import Alert, Report
from driftline.publish import alerts, reports
from driftline.publish.text import rfc3339
from driftline.records import OutputRecord

EXAMPLES: Final = Path(__file__).parents[2] / "schemas" / "examples"
T0: Final = 1_790_000_000_000
HOUR: Final = 3_600_000


def example(path: str) -> dict[str, Any]:
    """A valid example of a schema, such as ``alert/opened_numeric``."""
    kind, name = path.split("/")
    found: dict[str, Any] = json.loads((EXAMPLES / kind / "valid" / f"{name}.json").read_text())
    return found


def alert(
    state: str, hour: float, *, model: str = "m", signal: str = "age", episode: int = 0, sequence: int = 0,
    opened: float = 1, severity: str = "warning", summary: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """An alert at ``hour`` (opened, updated, resolved) of an episode that opened at the hour ``opened``."""
    data = example("alert/resolved_numeric" if state == "resolved" else "alert/opened_numeric")
    return data | {
        "id": f"{model}-{signal}-{episode}-{sequence}-{state}",
        "type": f"driftline.alert.{state}",
        "time": at(hour),
        "model": model,
        "signal": signal,
        "episode": episode,
        "sequence": sequence,
        "severity": severity,
        "opened_at": at(opened),
        "onset": at(opened - 0.5),
        "summary": summary or f'{model}: "{signal}" is higher than in training, {state}',
    }


def report(hour: float, psi: dict[str, float], *, model: str = "m", category: str = "DE") -> dict[str, Any]:
    """A report of signals: the PSI of each; one cell of each numeric signal is a category for variety."""
    data = example("report/numeric_and_categorical")
    numeric, categorical = data["signals"]
    signals = []
    for i, (name, value) in enumerate(psi.items()):
        one = json.loads(json.dumps(numeric if i % 2 == 0 else categorical))
        one["signal"], one["statistics"]["psi"] = name, value
        if i % 2:
            one["cells"][0][0] = category
        signals.append(one)
    window = data["window"] | {"from": at(hour - 1), "to": at(hour)}
    return data | {
        "id": f"{model}-{hour}", "time": at(hour), "model": model, "window": window, "signals": signals,
    }  # fmt: skip


def performance(hour: float, accuracy: float, *, model: str = "m", number: int = 1) -> dict[str, Any]:
    """A report of performance."""
    data = example("performance-report/binary")
    window = data["window"] | {"number": number, "from": at(hour - 1), "to": at(hour)}
    return data | {
        "id": f"{model}-performance-{hour}", "time": at(hour), "model": model, "window": window,
        "statistics": data["statistics"] | {"accuracy": accuracy},
    }  # fmt: skip


def story(model: str = "m", signal: str = "age", category: str = "DE") -> list[dict[str, Any]]:
    """Two episodes, one of them over; ten windows of signals and of performance."""
    records = [
        report(h, {signal: 0.02 * h, "land": 0.01}, model=model, category=category) for h in range(1, 11)
    ]
    records += [performance(h, 0.95 - 0.02 * h, model=model, number=h) for h in range(1, 11)]
    records += [
        alert("opened", 2, model=model, signal=signal, opened=2, severity="critical"),
        alert("opened", 3, model=model, signal="land", opened=3),
        alert("updated", 4, model=model, signal="land", opened=3, sequence=1, severity="info"),
        alert("resolved", 6, model=model, signal="land", opened=3, sequence=2),
    ]
    return records


def encoded(data: dict[str, Any]) -> tuple[str, OutputRecord]:
    """The role of the topic that an alert or a report belongs to, and its record."""
    ident, model = str(data["id"]), str(data["model"])
    if "type" in data:
        return "alerts", alerts.encode(
            Alert(ident, str(data["type"]), 0, model, str(data["signal"]), 0, data)
        )
    return "reports", reports.encode(Report(ident, 0, model, data))


async def write(bootstrap: str, prefix: str, records: list[dict[str, Any]], *, commit: bool = True) -> None:
    """Alerts and reports on their topics in one transaction, which ends as told."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap, transactional_id=f"{prefix}-{time.monotonic_ns()}"
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        for data in records:
            role, made = encoded(data)
            await producer.send_and_wait(f"{prefix}.{role}", made.value, made.key)
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


def at(hour: float) -> str:
    """An hour of the story as RFC 3339."""
    return rfc3339(T0 + round(hour * HOUR))
