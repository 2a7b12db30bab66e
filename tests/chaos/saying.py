"""How the runs speak: lines at once, a header that makes a run repeatable, the clients' chatter to a file."""

from __future__ import annotations

import logging
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

from driftline.localkafka import KAFKA_VERSION


def say(text: str) -> None:
    """One line to the person who waits."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def commit() -> str:
    """The commit this ran on."""
    done = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"


def begin(name: str, what: str, parent: str) -> Path:
    """Print the header of a run; its new folder, for logs and configuration, is inside ``parent`` if given.

    The Kafka clients' own log goes to a file there: that a broker is away is no news in these runs.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"driftline-{name}-", dir=parent or None))
    logging.basicConfig(filename=folder / "clients.log", level=logging.WARNING, force=True)
    logging.getLogger("kafka.admin").setLevel(logging.ERROR)  # it warns of members that are not Java's
    say(f"{name}: {what}, commit {commit()}")
    say(f"Python {platform.python_version()}, Kafka {KAFKA_VERSION} unless --kafka names another")
    say(f"logs in {folder}")
    return folder
