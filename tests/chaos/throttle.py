"""``python tests/chaos/throttle.py PID SHARE``: gives a process a share of the time, as a CPU limit does.

Signals instead of a control group, so that it works for anybody and everywhere. Ends with the process, or on
SIGTERM; the process goes on freely then.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

PERIOD_SECONDS: Final = 0.1  # the kernel's own period for CPU limits


def throttle(process: psutil.Process, share: float) -> None:
    """Stop and continue ``process`` until it is gone."""
    try:
        while True:
            process.suspend()
            time.sleep(PERIOD_SECONDS * (1.0 - share))
            process.resume()
            time.sleep(PERIOD_SECONDS * share)
    except psutil.NoSuchProcess:
        pass
    finally:
        if process.is_running():
            process.resume()


@contextlib.contextmanager
def limited(pid: int, share: float, *, cores: int | None = None) -> Iterator[None]:
    """Give a process a share of one core, and leave the rest for others; on the first ``cores`` only."""
    if cores is not None:
        psutil.Process(pid).cpu_affinity(sorted(os.sched_getaffinity(0))[:cores])
    helper = subprocess.Popen([sys.executable, str(Path(__file__).resolve()), str(pid), str(share)])
    try:
        yield
    finally:
        helper.terminate()
        helper.wait()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    throttle(psutil.Process(int(sys.argv[1])), float(sys.argv[2]))
