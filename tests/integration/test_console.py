"""`driftline console` as its own process: it follows the topics, starts anew, and ends when told."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from driftline.demo.worker import Console
from driftline.localkafka import LocalKafka
from harness import workers
from harness.page_story import alert, story, write

SECONDS_MAX = 30.0


def get(address: str) -> str:
    """A page."""
    with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - ours
        return str(answer.read().decode())


def within(condition: Callable[[], bool]) -> bool:
    """Whether it holds before SECONDS_MAX are over."""
    deadline = time.monotonic() + SECONDS_MAX
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture
def config(kafka: LocalKafka, topic_prefix: str, tmp_path: Path) -> Path:
    """A configuration for a prefix of its own; no topics yet."""
    values = workers.settings(kafka.bootstrap, topic_prefix, f"{topic_prefix}.raw", models={"m": {}})
    return workers.write_settings(tmp_path / "c.yaml", values)


def test_it_follows_the_topics_and_starts_anew_from_them(
    kafka: LocalKafka, topic_prefix: str, config: Path, tmp_path: Path
) -> None:
    """What is there, what comes, and the same after a restart; nothing is left running."""
    workers.create_topics(config)
    asyncio.run(write(kafka.bootstrap, topic_prefix, story()))
    console = Console(config, tmp_path, workers.free_port())
    try:
        console.start()
        console.wait_ready()
        page = f"{console.address}/model?name=m"
        assert "2 episodes seen" in get(page)
        asyncio.run(write(kafka.bootstrap, topic_prefix, [alert("opened", 12, signal="income", opened=12)]))
        assert within(lambda: "3 episodes seen" in get(page))
        before = get(page)
        console.stop()
        with pytest.raises(urllib.error.URLError):
            get(page)
        console.start()
        console.wait_ready()
        assert get(page) == before
    finally:
        console.stop()
    log = console.log_path.read_text(encoding="utf-8")
    assert "Traceback" not in log, log
    messages = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert any("1 models after" in str(message) for message in messages), log


def test_without_topics_it_says_what_to_do(config: Path) -> None:
    """64, the topic and the command; no traceback."""
    command = workers.driftline("console", "--config", str(config), "--port", str(workers.free_port()))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 64, done.stderr
    assert "does not exist" in done.stderr
    assert "driftline topics create" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said(kafka: LocalKafka, config: Path) -> None:
    """64, the address and --port."""
    workers.create_topics(config)
    port = kafka.bootstrap.rpartition(":")[2]
    command = workers.driftline("console", "--config", str(config), "--port", port)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 64, done.stderr
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
