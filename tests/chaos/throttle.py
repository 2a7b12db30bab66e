"""``python tests/chaos/throttle.py PID SHARE``: gives a process a share of the time, as a CPU limit does.

Signals instead of a control group, so that it works for anybody and everywhere. Ends with the process, or on
SIGTERM; the process goes on freely then.
"""

from __future__ import annotations

import signal
import sys
import time
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


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    throttle(psutil.Process(int(sys.argv[1])), float(sys.argv[2]))
