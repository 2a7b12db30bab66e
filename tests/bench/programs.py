"""The peers as programs: their command lines, how much of the topic each reads, the build of the JVM's.

A peer reads the topic from its start: first its warm-up, then what is measured. Shares are of the events
appended in a round, so that one number scales the whole run.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.measure import Cost

TESTS: Final = Path(__file__).resolve().parents[1]
JVM: Final = TESTS / "bench" / "jvm"
JDK_MIN: Final = 17
JDK_PACKAGE: Final = "openjdk-17-jdk-headless"  # Debian's
PEER_SECONDS_MAX: Final = 300.0
BUILD_SECONDS_MAX: Final = 600.0  # the first build fetches about 100 MB
TAIL_CHARS: Final = 2_000
# Serial: the collector with the least CPU for one busy thread on two cores. A large young generation of fixed
# size: nearly every object dies there, and no time goes into growing the heap. The rest is the JVM's default,
# C2 included.
JVM_FLAGS: Final = ("-XX:+UseSerialGC", "-Xms512m", "-Xmx512m", "-Xmn384m")
POM_VERSIONS: Final = {
    "Kafka Streams": "kafka.version",
    "Jackson": "jackson.version",
    "MOA": "moa.version",
}


class BuildError(RuntimeError):
    """The JVM peer cannot be built here; the message names what to install."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One program to compare with."""

    key: str
    title: str
    command: tuple[str, ...]  # followed by BOOTSTRAP TOPIC WARM EVENTS
    warm_share: float
    measured_share: float


def _tool(name: str) -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which(name, path=str(Path(home) / "bin")) if home else shutil.which(name)


def python_peer(module: str) -> tuple[str, ...]:
    """Command line of a Python peer."""
    return (sys.executable, "-m", f"bench.peers.{module}")


def jvm_peer() -> tuple[str, ...]:
    """Command line of the JVM peer, once ``build_jvm`` was called."""
    target = JVM / "target"
    classes = f"{target / 'classes'}:{target / 'lib'}/*"
    return (_tool("java") or "java", *JVM_FLAGS, "-cp", classes, "io.driftline.bench.Peer")


# CPython compiles nothing while it runs: its warm-up is for caches, and for detectors that have a window.
# The JVM's is half a million events at the default size; measured, its cost no longer falls from 150,000 on.
OBVIOUS: Final = Peer(
    "obvious",
    "the obvious one: Faust agent an event, river ADWIN + PH on 18 features",
    python_peer("faust_river"),
    0.005,
    0.05,
)
AIOKAFKA: Final = Peer(
    "aiokafka", "hand-written: aiokafka getmany + orjson + river", python_peer("aiokafka_loop"), 0.02, 0.2
)
CONFLUENT: Final = Peer(
    "confluent", "hand-written: confluent-kafka + orjson + river", python_peer("confluent_loop"), 0.02, 0.2
)
STREAMS: Final = Peer("jvm", "JVM: Kafka Streams + Jackson + MOA, tuned and warm", jvm_peer(), 0.5, 0.5)
PEERS: Final = (OBVIOUS, AIOKAFKA, CONFLUENT, STREAMS)


async def run_peer(peer: Peer, bootstrap: str, topic: str, warm: int, events: int) -> Cost:
    """One run of a peer over ``topic`` from its start.

    Raises:
        RuntimeError: it failed; with the end of what it wrote.
    """
    command = [*peer.command, bootstrap, topic, str(warm), str(events)]
    path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as scratch:  # Faust and Kafka Streams insist on a folder
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=scratch,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), PEER_SECONDS_MAX)
        except BaseException:
            process.kill()
            await process.wait()
            raise
    if process.returncode:
        tail = (out + err).decode(errors="replace")[-TAIL_CHARS:]
        raise RuntimeError(f"{peer.title}: exit {process.returncode}\n{tail}")
    return Cost.of_peer(json.loads(out.decode().strip().splitlines()[-1]))


async def measure_peer(peer: Peer, bootstrap: str, topic: str, appended: int) -> Cost:
    """One run over its share of ``appended`` events."""
    warm, events = int(appended * peer.warm_share), int(appended * peer.measured_share)
    return await run_peer(peer, bootstrap, topic, warm, events)


def jdk_missing() -> str | None:
    """What is missing to build the JVM peer, and the Debian package that has it; None when nothing is."""
    javac = _tool("javac")
    if javac is None:
        return (
            f"no javac: a JDK {JDK_MIN} or newer is needed, a JRE is not enough (apt install {JDK_PACKAGE})"
        )
    said = output_of([javac, "-version"])
    if javac_version(said) < JDK_MIN:
        return f"{javac} says {said!r}, not {JDK_MIN} or newer (apt install {JDK_PACKAGE})"
    if shutil.which("mvn") is None:
        return "no mvn to fetch Kafka Streams, Jackson and MOA with (apt install maven)"
    return None


def javac_version(text: str) -> int:
    """Major version out of what ``javac -version`` prints; 0 when it is not in there."""
    found = re.search(r"javac (?:1\.)?(\d+)", text)
    return int(found.group(1)) if found else 0


def build_jvm() -> None:
    """Compile the JVM peer and put its jars into ``target/``; quick when nothing changed.

    Raises:
        BuildError: something is missing, or Maven failed; with the end of what it wrote.
    """
    if missing := jdk_missing():
        raise BuildError(missing)
    command = ["mvn", "-B", "-q", "-f", str(JVM / "pom.xml"), "process-classes"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS_MAX, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildError(f"Maven could not build {JVM}: {error}") from error
    if done.returncode:
        raise BuildError(f"Maven could not build {JVM}:\n{(done.stdout + done.stderr)[-TAIL_CHARS:]}")


def jvm_versions() -> dict[str, str]:
    """What the JVM peer is made of, out of its pom.xml, and the JVM that runs it."""
    pom = (JVM / "pom.xml").read_text(encoding="utf-8")
    versions = {name: _property(pom, key) for name, key in POM_VERSIONS.items()}
    found = re.search(r'version "(.+?)"', output_of([_tool("java") or "java", "-version"]))
    return versions | {"Java": found.group(1) if found else "unknown"}


def _property(pom: str, key: str) -> str:
    return pom.partition(f"<{key}>")[2].partition("</")[0]


def output_of(command: Sequence[str]) -> str:
    """What a command prints, both streams."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return (done.stdout + done.stderr).strip()
