"""A short chaos run on a real Kafka: kills in mid-flush, in mid-transaction and anywhere lose nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

RUN: Final = Path(__file__).resolve().parents[1] / "chaos" / "run.py"
SECONDS_MAX: Final = 240.0
SHORT: Final = ("--seconds", "20", "--calm-seconds", "8", "--compaction-seconds", "4")
# This seed's three faults come within 16 s, one of each kind.
FAULTS: Final = ("--faults", "kill,flush,txn", "--seed", "138", "--faults-min", "2")


@pytest.mark.kafka  # a broker of its own
def test_faults_lose_nothing(tmp_path: Path) -> None:
    """The verifier's four zeros, after faults that really happened."""
    command = [sys.executable, str(RUN), *SHORT, *FAULTS, "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    zeros = {"rows lost 0", "rows counted twice 0", "alerts lost 0", "alerts twice 0"}
    assert zeros <= set(lines), done.stdout
    joined = [found for line in lines if (found := re.match(r"labels joined (\d+): 0 off, 0 twice", line))]
    assert int(joined[0][1]) > 5_000, done.stdout
    faults = [int(found[1]) for line in lines if (found := re.match(r"faults (\d+): ", line))]
    assert faults[0] >= 2, done.stdout
