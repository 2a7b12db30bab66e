"""The Dockerfile: what is promised about the image, read from its instructions.

hadolint reads it in ``make deploy-test``; ``make image-steps`` runs its steps.
"""

from __future__ import annotations

import json
import re

from deploy.dockerfile import ROOT, Instruction, instructions, pairs

STEPS = instructions()
FINAL = [step for step in STEPS if step.stage == 1]


def of(keyword: str, steps: list[Instruction]) -> list[str]:
    """Texts of the instructions with a keyword."""
    return [step.text for step in steps if step.keyword == keyword]


def test_runs_as_a_user_without_rights() -> None:
    """The last USER is a number that Kubernetes can tell from root, and nothing runs as root after it."""
    assert of("USER", FINAL) == ["10001:10001"]
    keywords = [step.keyword for step in FINAL]
    assert keywords.index("USER") < keywords.index("RUN")


def test_both_stages_start_from_the_same_image() -> None:
    """One ARG pins both, with a digest at release."""
    assert [text.removesuffix(" AS build") for text in of("FROM", STEPS)] == ["${PYTHON_IMAGE}"] * 2
    tag = pairs(of("ARG", STEPS)[0])["PYTHON_IMAGE"]
    assert re.fullmatch(r"python:3\.\d+-slim-\w+(@sha256:[0-9a-f]{64})?", tag)


def test_every_package_from_an_index_is_checked_by_hash() -> None:
    """Pip installs with hashes, or without dependencies and without an index's help (our own wheel)."""
    runs = [part for text in of("RUN", STEPS) for part in text.split("&&")]
    installs = [part for part in runs if re.search(r"\bpip\b.*\binstall\b", part)]
    assert len(installs) == 3
    for part in installs:
        assert "--require-hashes" in part or ("--no-deps" in part and "/src/dist/" in part), part
    wheels = [part for part in runs if "pip wheel" in part]
    assert all("--no-deps" in part and "--no-build-isolation" in part for part in wheels)


def test_health_and_stop() -> None:
    """HEALTHCHECK asks /live with Python (there is no curl), SIGTERM reaches the service itself."""
    check = json.loads(of("HEALTHCHECK", FINAL)[0].split(" CMD ")[1])
    assert check[0] == "python"
    assert "/live" in check[2]
    compile(check[2], "HEALTHCHECK", "exec")
    assert of("STOPSIGNAL", FINAL) == ["SIGTERM"]
    entry = (ROOT / "deploy" / "entrypoint.sh").read_text(encoding="utf-8")
    assert entry.rstrip().endswith('exec driftline "$@"')


def test_kernels_are_compiled_for_the_same_cpu_that_they_run_on() -> None:
    """Numba compiles again when name or features differ, so both stages say the same."""
    build, final = (
        {name: value for text in of("ENV", steps) for name, value in pairs(text).items()}
        for steps in ([s for s in STEPS if s.stage == 0], FINAL)
    )
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"):
        assert build[name] == final[name]
    defaults = {tuple(pairs(text).items()) for text in of("ARG", STEPS) if text.startswith("KERNEL_CPU")}
    assert len(defaults) == 1


def test_version_label_is_the_package_version() -> None:
    """ARG VERSION follows pyproject.toml."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    version = re.search(r'^version = "(.+)"$', project, re.MULTILINE)
    assert version is not None
    assert f"VERSION={version[1]}" in of("ARG", FINAL)


def test_context_holds_what_is_copied_and_little_else() -> None:
    """Everything COPY names is let through by .dockerignore, which lets nothing else through."""
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    let_through = {line[1:] for line in ignore if line.startswith("!")}
    copied = {
        name for text in of("COPY", STEPS) if not text.startswith("--from=") for name in text.split()[:-1]
    }
    assert ignore[0] == "*"
    assert copied == let_through
