"""``make image-steps``: the steps of the Dockerfile without Docker, in a clean folder.

Every COPY and RUN of both stages runs as written, with the image's absolute paths put under the folder, in an
environment with nothing but what ENV says; the base image's Python is a fresh virtual environment. As root,
the steps after USER really run as that user, who can write to /tmp alone. Then the "container" starts:
HEALTHCHECK has to pass and SIGTERM has to end it in order.

What this cannot show: the base image itself, layers, and the runtime's own confinement.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from deploy.dockerfile import ROOT, instructions, pairs
from harness.workers import free_port

PLACES: Final = re.compile("/opt/driftline|/src|/usr/local/bin/entrypoint.sh|/tmp\\b")
LIVE_SECONDS_MAX: Final = 120.0
STOP_SECONDS_MAX: Final = 35.0


class Image:
    """What the steps have made so far."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder = folder
        self.arguments: dict[str, str] = {}
        self.environment: dict[str, str] = {}
        self.user = ""
        self.workdir = folder
        self.path = f"{folder}/base/bin:/usr/bin:/bin"
        self.command: list[str] = []
        self.health: list[str] = []
        (folder / "tmp").mkdir(mode=0o1777)
        (folder / "tmp").chmod(0o1777)
        subprocess.run([python, "-m", "venv", str(folder / "base")], check=True)

    def here(self, text: str) -> str:
        """Absolute paths of the image, under our folder."""
        return PLACES.sub(lambda match: f"{self.folder}{match[0]}", text)

    def start(
        self, arguments: list[str], more: Mapping[str, str] | None = None, *, quiet: bool = False
    ) -> subprocess.Popen[bytes]:
        """A process as the image would run it; ``quiet``: what it says on standard error is dropped."""
        environment = {k: v for k, v in os.environ.items() if k.startswith("PIP_")}  # where packages are
        environment |= {"PATH": self.path, "HOME": str(self.folder / "tmp")}
        environment |= {**self.environment, **(more or {})}
        if self.user and os.geteuid() == 0:
            uid, gid = self.user.split(":")
            arguments = ["setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", *arguments]
        errors = subprocess.DEVNULL if quiet else None
        return subprocess.Popen(
            arguments, cwd=self.workdir, env=environment, stderr=errors, start_new_session=True
        )

    def run(self, text: str) -> None:
        """RUN.

        Raises:
            RuntimeError: it failed.
        """
        began = time.monotonic()
        code = self.start(["sh", "-c", self.here(text)]).wait()
        sys.stdout.write(f"{time.monotonic() - began:5.0f} s  exit {code}  RUN {text[:90]}\n")
        sys.stdout.flush()
        if code:
            raise RuntimeError(f"exit {code}: {text}")

    def copy(self, text: str) -> None:
        """COPY from the build context; from an earlier stage nothing moves: both stages share the folder."""
        if text.startswith("--from="):
            return
        *sources, target = text.split()
        base = Path(self.here(target)) if target.startswith("/") else self.workdir / target
        for name in sources:
            source = ROOT / name
            goal = base / source.name if target.endswith("/") else base
            goal.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, goal, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
            else:
                goal.write_text(self.here(source.read_text(encoding="utf-8")), encoding="utf-8")

    def set(self, text: str) -> None:
        """ENV, with ARG put in."""
        for argument, given in self.arguments.items():
            text = text.replace(f"${{{argument}}}", given)
        path = self.environment.get("PATH", self.path)
        for name, value in pairs(text).items():
            self.environment[name] = self.here(value).replace("$PATH", path)


def build(folder: Path, python: str) -> Image:
    """All instructions in their order; the second stage starts from a clean environment."""
    image = Image(folder, python)
    stage = -1
    for step in instructions():
        if step.stage != stage:
            stage, image.environment, image.user = step.stage, {}, ""
        match step.keyword:
            case "ARG":
                image.arguments |= pairs(step.text)
            case "ENV":
                image.set(step.text)
            case "WORKDIR":
                image.workdir = Path(image.here(step.text + "/"))
                image.workdir.mkdir(parents=True, exist_ok=True)
            case "COPY":
                image.copy(step.text)
            case "USER":
                image.user = step.text
            case "RUN":
                image.run(step.text)
            case "HEALTHCHECK":
                image.health = json.loads(step.text.split(" CMD ")[1])
            case "ENTRYPOINT":
                image.command = json.loads(image.here(step.text))
    return image


def check_running(image: Image) -> None:
    """Start it without a broker: it waits for one, is healthy meanwhile, and ends in order on SIGTERM.

    Raises:
        RuntimeError: one of these does not hold.
    """
    config = image.folder / "driftline.yaml"
    config.write_text(
        "kafka: {bootstrap_servers: '127.0.0.1:1'}\nmodels: {credit-risk: }\n", encoding="utf-8"
    )
    port = {"DRIFTLINE_HTTP__PORT": str(free_port())}
    began = time.monotonic()
    process = image.start([*image.command, "run", "--config", str(config)], port)
    try:
        while image.start(image.health, port, quiet=True).wait():  # refused until it listens
            if process.poll() is not None or time.monotonic() - began > LIVE_SECONDS_MAX:
                raise RuntimeError(f"not healthy; exit code {process.poll()}")
            time.sleep(0.5)
        sys.stdout.write(f"healthy after {time.monotonic() - began:.0f} s\n")
        process.send_signal(signal.SIGTERM)
        code = process.wait(STOP_SECONDS_MAX)
        sys.stdout.write(f"SIGTERM: exit {code}\n")
        if code:
            raise RuntimeError(f"exit {code} after SIGTERM")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def main() -> int:
    """Exit code: 0 when every step and the start succeeded."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--python", default=sys.executable, help="the base image's Python; any user may run it"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        image = build(folder, options.python)
        check_running(image)
    sys.stdout.write("every step of the Dockerfile succeeded\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
