"""The example of the feedback loop, whole: on a real Kafka, as a newcomer runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS_MAX = 540.0


@pytest.mark.kafka
def test_the_loop_closes() -> None:
    """Errors rise, an action comes, the model is retrained on its range, the errors come down again."""
    done = subprocess.run(
        [sys.executable, "-m", "examples.feedback_loop"],
        cwd=ROOT, capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NO " not in done.stdout
    assert done.stdout.count("\nyes") == 6
    assert "Serving    version 2" in done.stdout
