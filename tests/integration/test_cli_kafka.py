"""Commands against a real broker: topics, alerts tail (committed only), baseline promote."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from typer.testing import CliRunner, Result

from driftline import cli
from driftline.decide.outputs import Alert
from driftline.localkafka import LocalKafka
from driftline.publish.alerts import encode
from harness import page_story
from harness.kafka_io import Admin
from harness.page_story import at, story


@pytest.fixture
def config(kafka: LocalKafka, topic_prefix: str, tmp_path: Path) -> Path:
    """A configuration for a prefix of its own, with its topics made by the command itself."""
    path = tmp_path / "c.yaml"
    body = {
        "kafka": {"bootstrap_servers": kafka.bootstrap},
        "topics": {"prefix": topic_prefix, "replication_factor": 1, "mailbox_partitions": 2},
        "inputs": [{"topic": f"{topic_prefix}.raw", "model": "m"}],
    }
    path.write_text(json.dumps(body))
    return path


def run(*arguments: str) -> Result:
    """A command in this process; a bug is raised."""
    result = CliRunner().invoke(cli.app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def alert(model: str, number: int) -> Alert:
    """The alert with this number."""
    data = {
        "id": f"{model}-{number}",
        "model": model,
        "signal": "s",
        "state": "open",
        "summary": f"alert {number}",
    }
    return Alert(f"{model}-{number}", "driftline.alert.opened", 1_000 * number, model, "s", number, data)


async def write(kafka: LocalKafka, topic: str, alerts: list[Alert], *, commit: bool) -> None:
    """Alerts in one transaction, which ends as told."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap, transactional_id=f"{topic}-{time.monotonic_ns()}"
    )
    await producer.start()
    try:
        await producer.begin_transaction()
        for one in alerts:
            record = encode(one)
            await producer.send_and_wait(topic, record.value, record.key, headers=list(record.headers))
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


async def read(kafka: LocalKafka, topic: str) -> Any:
    """The first record of a topic."""
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return await asyncio.wait_for(consumer.getone(), 20)
    finally:
        await consumer.stop()


def test_topics_then_tail_then_promote(
    kafka: LocalKafka, topic_prefix: str, config: Path, tmp_path: Path, events: Path
) -> None:
    """The way of an operator: check, create, check, follow alerts, promote a baseline."""
    missing = run("topics", "check", "-c", str(config))
    assert missing.exit_code == 1
    assert f"{topic_prefix}.alerts is missing" in missing.stdout
    no_topic = run("alerts", "tail", "-c", str(config), "--no-follow")
    assert no_topic.exit_code == 64
    assert "driftline topics create" in no_topic.stderr

    created = run("topics", "create", "-c", str(config))
    assert created.exit_code == 0, created.output
    assert f"{topic_prefix}.alerts: created" in created.stdout
    after = run("topics", "check", "-c", str(config))
    assert f"{topic_prefix}.raw is missing" in after.stdout
    assert f"{topic_prefix}.alerts" not in after.stdout

    topic = f"{topic_prefix}.alerts"
    asyncio.run(write(kafka, topic, [alert("m", 1), alert("other", 2)], commit=True))
    asyncio.run(write(kafka, topic, [alert("m", 3)], commit=False))
    asyncio.run(write(kafka, topic, [alert("m", 4)], commit=True))
    tail = ["alerts", "tail", "-c", str(config), "--from-beginning", "--no-follow"]
    everything = [json.loads(line)["id"] for line in run(*tail).stdout.splitlines()]
    assert sorted(everything) == ["m-1", "m-4", "other-2"]
    assert [
        json.loads(line)["id"] for line in run(*tail, "--model", "m", "--max", "1").stdout.splitlines()
    ] == ["m-1"]

    asyncio.run(write(kafka, f"{topic_prefix}.actions", [alert("m", 5)], commit=True))
    asked = run("actions", *tail[1:]).stdout.splitlines()
    assert [json.loads(line)["id"] for line in asked] == ["m-5"]

    listed = run("alerts", "list", "-c", str(config), "--last", "2")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["other-2", "m-4"]
    shown = run("alerts", "show", "m-4", "-c", str(config))
    assert shown.exit_code == 0, shown.output
    assert "alert      m-4" in shown.stdout
    several = run("alerts", "show", "m-", "-c", str(config))
    assert several.exit_code == 64
    assert "m-1, m-4" in several.stderr
    assert run("alerts", "show", "m-3", "-c", str(config)).exit_code == 64

    baseline = tmp_path / "b.json"
    assert run("baseline", "build", str(events), "-m", "m", "-o", str(baseline)).exit_code == 0
    sent = run("baseline", "promote", str(baseline), "-c", str(config), "--by", "jane", "--why", "test")
    assert sent.exit_code == 0, sent.output
    record = asyncio.run(read(kafka, f"{topic_prefix}.commands"))
    body = json.loads(record.value)
    assert record.key == b"m"
    assert (body["type"], body["model"], body["by"], body["why"]) == ("baseline.promote", "m", "jane", "test")
    assert body["baseline"] == json.loads(baseline.read_text())


def test_report_reads_what_was_committed(kafka: LocalKafka, topic_prefix: str, config: Path) -> None:
    """One model of two; what an aborted transaction said never happened."""
    assert run("topics", "create", "-c", str(config)).exit_code == 0
    ghost = page_story.alert("opened", 9, signal="ghost", opened=9)
    asyncio.run(page_story.write(kafka.bootstrap, topic_prefix, [*story(), *story("other")]))
    asyncio.run(page_story.write(kafka.bootstrap, topic_prefix, [ghost], commit=False))
    told = json.loads(run("report", "-m", "m", "-c", str(config), "--format", "json").stdout)
    assert [e["signal"] for e in told["episodes"]] == ["age", "land"]
    assert len(told["performance"]) == 10
    late = ["report", "-m", "m", "-c", str(config), "--format", "json", "--since", at(7)]
    told = json.loads(run(*late).stdout)
    assert [e["signal"] for e in told["episodes"]] == ["age"]  # opened before, and still open
    assert len(told["performance"]) == 4
    # Nothing was written later than its event by years: a begin in the far future finds no report to seek to.
    none = run("report", "-m", "m", "-c", str(config), "--since", "2100-01-01", "--format", "json")
    assert json.loads(none.stdout)["performance"] == []


def test_baseline_of_a_topic_range(
    kafka: LocalKafka, topic_prefix: str, tmp_path: Path, events: Path
) -> None:
    """Offsets and times bound it; it is the baseline of the same rows in a file, order by record time."""
    topic = f"{topic_prefix}.raw"
    config = tmp_path / "range.yaml"
    config.write_text(
        f"kafka: {{bootstrap_servers: '{kafka.bootstrap}'}}\ninputs: [{{topic: {topic}}}]\nmodels: {{m: }}\n"
    )
    lines = events.read_text().splitlines()
    admin = Admin(kafka.bootstrap)
    admin.create(topic, 2, {})
    admin.close()

    async def fill() -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        try:
            for i, line in enumerate(lines):
                await producer.send(topic, line.encode(), timestamp_ms=1_795_000_000_000 + i, partition=i % 2)
        finally:
            await producer.stop()

    asyncio.run(fill())
    out = tmp_path / "range.json"
    arguments = ["baseline", "build", "--topic", topic, "-c", str(config), "-m", "m", "-o", str(out)]
    part = run(*arguments, "--from", "50", "--to", "2026-11-18T11:06:40.900Z")
    assert part.exit_code == 0, part.output
    assert "800 of 800 rows" in part.stdout
    (tmp_path / "part.jsonl").write_text("\n".join(lines[100:900]) + "\n")
    file = tmp_path / "file.json"
    assert run("baseline", "build", str(tmp_path / "part.jsonl"), "-m", "m", "-o", str(file)).exit_code == 0
    assert json.loads(out.read_text()) == json.loads(file.read_text())
    assert "1,000 of 1,000 rows" in run(*arguments).stdout
    wrong = run(*arguments, "--from", "yesterday")
    assert (wrong.exit_code, "neither an offset nor a time" in wrong.stderr) == (64, True)
    unknown = run("baseline", "build", "--topic", "t", "-c", str(config), "-m", "m", "-o", str(out))
    assert (unknown.exit_code, f"topic t is no input of events, only {topic}" in unknown.stderr) == (64, True)


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A thousand steady events."""
    path = tmp_path / "e.jsonl"
    rows = (
        {"model": "m", "time": 1_795_000_000_000 + i, "features": {"x": i * 7919 % 1000}}
        for i in range(1_000)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
