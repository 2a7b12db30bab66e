"""Apache Kafka's own jars, fetched once by Maven into the user's cache folder and shared by all processes."""

from __future__ import annotations

import importlib.resources
import os
import subprocess
import tempfile
import zlib
from pathlib import Path
from typing import Final

import filelock

from driftline.localkafka.base import KAFKA_VERSION, KafkaUnavailable

FETCH_TIMEOUT_SECONDS: Final = 900.0  # 54 MB; about 7 s on a good line
LOG_TAIL_LINES: Final = 25
MAVEN_GOAL: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"


def _pom() -> bytes:
    return (importlib.resources.files("driftline") / "data" / "kafka-pom.xml").read_bytes()


def jars_dir() -> Path:
    """Where the broker's jars are or will be: the user's cache folder, by version and content of the pom."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "driftline" / "kafka" / f"{KAFKA_VERSION}-{zlib.crc32(_pom()):08x}"


def fetch_jars() -> Path:
    """The folder with the broker's jars, fetched by Maven if not there yet; any number of processes may call.

    Raises:
        KafkaUnavailable: Maven failed; ends with the last lines it wrote.
    """
    target = jars_dir()
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(str(target) + ".lock", timeout=FETCH_TIMEOUT_SECONDS):
        if target.is_dir():  # another process was faster
            return target
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as folder:
            pom = Path(folder) / "pom.xml"
            pom.write_bytes(_pom())
            jars = Path(folder) / "jars"
            command = ["mvn", "-B", "-q", "-f", str(pom), MAVEN_GOAL]
            command += [f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_SECONDS, check=False
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise KafkaUnavailable(f"Maven could not fetch Kafka {KAFKA_VERSION}: {error}") from error
            if done.returncode != 0:
                tail = "\n".join((done.stdout + done.stderr).splitlines()[-LOG_TAIL_LINES:])
                raise KafkaUnavailable(f"Maven could not fetch Kafka {KAFKA_VERSION}:\n{tail}")
            jars.rename(target)  # at once: nobody ever sees half of the jars
    return target
