"""A short chaos run on a real Kafka: kill -9 and SIGTERM under traffic lose nothing and double nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

RUN: Final = Path(__file__).resolve().parents[1] / "chaos" / "run.py"
SECONDS_MAX: Final = 240.0


def test_killed_workers_lose_nothing(tmp_path: Path) -> None:
    """The verifier's four zeros, after faults that really happened."""
    command = [sys.executable, str(RUN), "--seconds", "30", "--seed", "7", "--compaction-seconds", "8"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    zeros = {"rows lost 0", "rows counted twice 0", "alerts lost 0", "alerts twice 0"}
    assert zeros <= set(lines), done.stdout
    faults = [int(found[1]) for line in lines if (found := re.fullmatch(r"faults (\d+)", line))]
    assert faults[0] >= 2, done.stdout
