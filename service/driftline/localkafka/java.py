"""Apache Kafka run by the Java on this machine.

Owns: the broker's folder (data, properties, log) and its process. The broker is
killed when this process ends without having stopped it; only its temporary folder stays behind then.
"""

from __future__ import annotations

import base64
import contextlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from driftline.localkafka.base import (
    READY_POLL_SECONDS,
    READY_TIMEOUT_SECONDS,
    STOP_TIMEOUT_SECONDS,
    KafkaUnavailable,
    LocalKafka,
    ProxiedListener,
    cluster_id,
)
from driftline.localkafka.jars import LOG_TAIL_LINES, fetch_jars, jars_dir

JAVA_MIN: Final = 17  # what Kafka 4 is built for
FORMAT_TIMEOUT_SECONDS: Final = 60.0  # about 1 s
START_ATTEMPTS_MAX: Final = 5  # somebody else may take a port between our choice and the broker's bind

# Measured on 2 cores, 1 M records of 300 bytes: with C1 only (TieredStopAtLevel=1) and the serial collector
# the broker answers after 1.9 s and takes 720 k records/s; with C2 2.3 s and 450 k/s, with G1 2.4 s and
# 410 k/s: on few cores the optimising compiler's and the collector's threads compete with the broker's.
JVM_FLAGS: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true")

LOG4J: Final = """\
status = error
appender.stdout.type = Console
appender.stdout.name = stdout
appender.stdout.layout.type = PatternLayout
appender.stdout.layout.pattern = %d{ISO8601} %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.stdout.ref = stdout
"""

# The broker must not outlive us, even when we end by SIGKILL. PR_SET_PDEATHSIG is no help: it fires when the
# *thread* that started the child ends, and needs code between fork and exec. Instead a shell reads a pipe
# whose other end only we hold, sees its end when we are gone in whatever way, and kills its process group,
# which the broker joins at its start. Shell and broker are both our children, so neither stays as a zombie.
# (The terminal's Ctrl-C reaches our group only: the broker stops when we stop it.)
GUARD: Final = "read -r _; kill -9 -$$"


def java_missing() -> str | None:
    """What is missing to run the broker with Java; None when nothing is."""
    java = _java()
    if java is None:
        return f"no java (Java {JAVA_MIN} or newer is needed: openjdk-17-jre-headless)"
    version = java_version(_output([java, "-version"]))
    if version < JAVA_MIN:
        return f"{java} is version {version or 'unknown'}, not {JAVA_MIN} or newer (openjdk-17-jre-headless)"
    if not jars_dir().is_dir() and shutil.which("mvn") is None:
        return "no mvn to fetch Kafka with (maven)"
    return None


def java_version(text: str) -> int:
    """Major version out of what ``java -version`` prints; 0 when it is not in there. ``1.8.0`` is 8."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found.group(1)) if found else 0


def _java() -> str | None:
    home = os.environ.get("JAVA_HOME")
    return shutil.which("java", path=str(Path(home) / "bin")) if home else shutil.which("java")


def _output(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return done.stdout + done.stderr


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on.

    They lie below the range that Linux hands out for outgoing connections (from 32768), so that no client's
    connection takes the port while the broker is down between ``kill`` and ``start``.
    """
    coin = random.SystemRandom()  # two processes that start together must not try the same ports
    ports: list[int] = []
    while len(ports) < count:
        port = coin.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in ports:
                ports.append(port)
    return ports


def server_properties(
    data: Path,
    broker_port: int,
    controller_port: int,
    properties: Mapping[str, str],
    behind: ProxiedListener | None = None,
) -> str:
    """Text of the broker's ``server.properties``; ``properties`` win over the addresses too."""
    listeners = {"PLAINTEXT": broker_port}
    advertised = {"PLAINTEXT": broker_port}
    if behind is not None:
        listeners["PROXIED"], advertised["PROXIED"] = behind.port, behind.advertised_port
    addresses = [f"{name}://127.0.0.1:{port}" for name, port in listeners.items()]
    own = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": ",".join([*addresses, f"CONTROLLER://127.0.0.1:{controller_port}"]),
        "advertised.listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in advertised.items()),
        "listener.security.protocol.map": ",".join(
            f"{name}:PLAINTEXT" for name in [*listeners, "CONTROLLER"]
        ),
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
    }
    return "".join(f"{key}={value}\n" for key, value in {**own, **properties}.items())


def _property(path: Path, key: str) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith(f"{key}="))


class JavaKafka(LocalKafka):
    """The broker as a Java process of ours."""

    def __init__(
        self,
        *,
        data_dir: Path | None,
        heap: str,
        properties: Mapping[str, str],
        behind: ProxiedListener | None = None,
    ) -> None:
        """See ``local_kafka``; nothing is touched before ``start``."""
        self._given_dir = data_dir
        self._dir: Path | None = None
        self._heap = heap
        self._properties = dict(properties)
        self._behind = behind
        self._ports: list[int] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._broker: subprocess.Popen[bytes] | None = None
        self.bootstrap = ""

    @property
    def pid(self) -> int | None:
        """The broker's process id; None while it does not run."""
        return self._broker.pid if self._broker is not None else None

    @property
    def folder(self) -> Path | None:
        """Where data, properties and log are; None before ``start`` and after ``stop`` of a temporary one."""
        return self._dir

    def start(self) -> None:
        """Fetches what is missing, formats the storage once, starts the broker and waits until it answers."""
        if self._broker is not None and self._broker.poll() is None:
            return
        self._end(signal.SIGKILL)  # what is left of a broker that died by itself
        jars = fetch_jars()
        folder = self._folder()
        (folder / "log4j2.properties").write_text(LOG4J, encoding="utf-8")
        tail = ""
        fixed = self._ports is not None  # clients know the address: it must stay the same
        for attempt in range(1, START_ATTEMPTS_MAX + 1):
            if not fixed:
                self._ports = free_ports(2)
            if self._try_start(jars, folder):
                return
            tail = self._tail()
            self._end(signal.SIGKILL)
            if attempt == START_ATTEMPTS_MAX or "Address already in use" not in tail:
                break
            time.sleep(0.5 if fixed else 0)
        if not fixed:
            self._ports = None
        raise KafkaUnavailable(f"The Kafka broker did not start; the end of its log:\n{tail}")

    def stop(self) -> None:
        """Stops the broker; kills it when it takes longer than ``STOP_TIMEOUT_SECONDS``."""
        self._end(signal.SIGTERM)
        if self._given_dir is None and self._dir is not None:
            shutil.rmtree(self._dir, ignore_errors=True)
            self._dir = None
            self._ports = None

    def kill(self) -> None:
        """Ends the broker with SIGKILL and waits until it is gone; its data stays."""
        self._end(signal.SIGKILL)

    def _folder(self) -> Path:
        if self._dir is None:
            if self._given_dir is None:
                self._dir = Path(tempfile.mkdtemp(prefix="driftline-kafka-"))
            else:
                self._given_dir.mkdir(parents=True, exist_ok=True)
                self._dir = self._given_dir.resolve()
        return self._dir

    def _try_start(self, jars: Path, folder: Path) -> bool:
        assert self._ports is not None
        broker, controller = self._ports
        self.bootstrap = f"127.0.0.1:{broker}"
        config = folder / "server.properties"
        config.write_text(self._properties_text(folder / "data", broker, controller), encoding="utf-8")
        java = [_java() or "java", "-cp", f"{jars}/*", *JVM_FLAGS]
        java.append(f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}")
        if not (folder / "data" / "meta.properties").exists():
            self._format([*java, "kafka.tools.StorageTool"], config)
        ours = _property(folder / "data" / "meta.properties", "cluster.id")
        self._guard = subprocess.Popen(["sh", "-c", GUARD], stdin=subprocess.PIPE, process_group=0)
        with (folder / "broker.log").open("ab") as log:
            self._broker = subprocess.Popen(
                [*java, f"-Xmx{self._heap}", "kafka.Kafka", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                process_group=self._guard.pid,
            )
        deadline = time.monotonic() + READY_TIMEOUT_SECONDS
        while time.monotonic() < deadline and self._broker.poll() is None:
            # Another cluster's answer means that somebody took our port: our broker is about to give up.
            if self._answering() == ours:
                return True
            time.sleep(READY_POLL_SECONDS)
        return False

    def _properties_text(self, data: Path, broker_port: int, controller_port: int) -> str:
        return server_properties(data, broker_port, controller_port, self._properties, self._behind)

    def _answering(self) -> str | None:
        """Id of the cluster that answers at our address now."""
        return cluster_id(self.bootstrap)

    def _format(self, tool: list[str], config: Path) -> None:
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = [*tool, "format", f"--cluster-id={cluster}", "-c", str(config)]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_SECONDS, check=False
        )
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-LOG_TAIL_LINES:])
            raise KafkaUnavailable(f"Kafka's storage could not be formatted:\n{tail}")

    def _tail(self) -> str:
        log = self._folder() / "broker.log"
        if not log.exists():
            return ""
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_TAIL_LINES:])

    def _end(self, how: signal.Signals) -> None:
        """Ends the broker and its guard and reaps both; does nothing when there is none."""
        if self._broker is not None and how == signal.SIGTERM:
            self._broker.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._broker.wait(STOP_TIMEOUT_SECONDS)
        if self._guard is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._guard.pid, signal.SIGKILL)  # not reaped yet, so the id is still its own
            if self._broker is not None:
                self._broker.wait()
            self._guard.wait()
            if self._guard.stdin is not None:
                self._guard.stdin.close()
        self._broker = self._guard = None
