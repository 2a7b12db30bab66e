"""`driftline demo` as a newcomer runs it: a real Kafka, a real worker, and gone without a trace."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from driftline.localkafka import LocalKafka

# As at a terminal: children of a shell's background job, as this test may be, ignore SIGINT from birth.
START = """import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from driftline.cli import main
main()"""
SECONDS_MAX = 240.0  # a cold start compiles the kernels first
GONE_SECONDS_MAX = 40.0


class Demo:
    """One run in a process group of its own, as a shell starts it."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-c", START, "demo", *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=os.environ | {"PYTHONFAULTHANDLER": "1"},
            )

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(encoding="utf-8")

    def wait_for(self, pattern: str) -> None:
        """Until the output matches."""
        deadline = time.monotonic() + SECONDS_MAX
        while re.search(pattern, self.output) is None:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)

    def wait(self, seconds: float) -> int:
        """Until it ends; its exit code. One that hangs fails, with what it printed and where it stood."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            pytest.fail(f"not gone after {seconds:.0f} s:\n{self.output}")

    def descendants(self) -> list[psutil.Process]:
        """Everything it has started and that still runs."""
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Starts demos; what a failed test leaves is ended."""
    runs: list[Demo] = []

    def start(*arguments: str) -> Demo:
        runs.append(Demo(tmp_path / f"demo{len(runs)}.log", *arguments))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()  # the guards end broker and worker
            run.process.wait()


def test_a_newcomers_run_passes_and_keep_holds_it_until_it_is_ended(
    kafka: LocalKafka, demo: Callable[..., Demo]
) -> None:
    """20,000 flights on a broker that is not the demo's own: the figures, exit code 0, nothing left."""
    run = demo("--events", "20000", "--kafka", kafka.bootstrap, "--keep")
    run.wait_for("Kept running until Ctrl-C")
    counted = re.search(r"20,000 in = ([\d,]+) accepted \+ (\d+) rejected", run.output)
    assert counted is not None, run.output
    assert counted.groups() == ("19,998", "2")
    assert re.search(r"found [\d,]+ events after it began", run.output)
    assert re.search(r"resolved [\d,]+ events after it ended", run.output)
    assert re.search(r"[1-9]\d* alerts? on \d+ signals? that nobody planted", run.output)
    assert re.search(r"no alert of a KPI|\d+ alerts? that a KPI was broken", run.output)
    started = run.descendants()
    assert any("run" in p.cmdline() for p in started), started
    console = re.search(r"console (http://127\.0\.0\.1:\d+) ", run.output)
    assert console is not None, run.output
    address = f"{console[1]}/model?name=flight-delay"
    with urllib.request.urlopen(address, timeout=10) as page:  # noqa: S310 - ours
        assert b"Signals by drift" in page.read()
    run.process.terminate()
    assert run.wait(GONE_SECONDS_MAX) == 0, run.output
    _, alive = psutil.wait_procs(started, timeout=5)
    assert alive == []


def test_ctrl_c_in_the_middle_leaves_no_process_behind(kafka: LocalKafka, demo: Callable[..., Demo]) -> None:
    """The terminal sends it to the whole process group; worker and helpers end in order."""
    run = demo("--events", "20000", "--kafka", kafka.bootstrap, "--speed", "7200")
    run.wait_for(r"[1-9][\d,]*/20,000 flights")
    started = run.descendants()
    assert any("run" in p.cmdline() for p in started), started
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.wait(GONE_SECONDS_MAX) == 130, run.output
    _, alive = psutil.wait_procs(started, timeout=5)
    assert alive == []
    assert "Traceback" not in run.output


def test_it_leaves_no_process_behind_when_killed(kafka: LocalKafka, demo: Callable[..., Demo]) -> None:
    """SIGKILL cannot be caught: the guard ends the worker."""
    run = demo("--events", "20000", "--kafka", kafka.bootstrap, "--speed", "7200")
    run.wait_for(r"[1-9][\d,]*/20,000 flights")
    started = run.descendants()
    assert started
    run.process.kill()
    run.process.wait()
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []


def test_without_a_broker_it_says_so_and_finds_the_same(demo: Callable[..., Demo], tmp_path: Path) -> None:
    """The pure core alone: same verdict, no Kafka; the review of it on a page."""
    page = tmp_path / "flights.html"
    run = demo("--events", "20000", "--kafka", "none", "--report", str(page))
    assert run.wait(SECONDS_MAX) == 0, run.output
    assert "without a broker" in run.output
    assert "19,998 accepted + 2 rejected" in run.output
    text = page.read_text(encoding="utf-8")
    assert "windows of labelled events" in text
    assert "Most different from the reference" in text
