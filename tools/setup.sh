#!/usr/bin/env bash
# Makes .venv from requirements/dev.txt with every hash checked, and says which Debian package is missing.
# Skips all work when the same Python already installed the same requirements (.venv/.stamp).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

fail() {
    echo "setup: $1" >&2
    exit 1
}

command -v "$python" >/dev/null || fail "no $python: apt install python3 python3-venv, or make setup PYTHON=python3.12"
version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])') || fail "$python does not run"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' ||
    fail "$python is $version; 3.11, 3.12 or 3.13 is needed: make setup PYTHON=python3.12"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python has no venv module: apt install python3-venv"

# Tests and demo want a real broker. Without one the setup is still of use, so this is no failure here.
java_major=$(java -version 2>&1 | sed -nE '1s/.*version "(1\.)?([0-9]+).*/\2/p' || true)
missing=()
[ "${java_major:-0}" -ge 17 ] || missing+=(openjdk-17-jre-headless)
command -v mvn >/dev/null || missing+=(maven)
if [ -n "${missing[*]-}" ] && [ -z "${KAFKA:-}" ] && ! docker info >/dev/null 2>&1; then
    echo "setup: no local Kafka can be had: apt install ${missing[*]} (or start Docker, or KAFKA=HOST:PORT)." >&2
    echo "setup: the tests that need a broker will fail; the demo runs without one." >&2
fi

command -v openssl >/dev/null || echo "setup: tests of TLS need openssl: apt install openssl" >&2

stamp="$version $(cat requirements/dev.txt pyproject.toml tools/setup.sh | sha256sum | cut -d ' ' -f 1) $PWD"
[ "$(cat .venv/.stamp 2>/dev/null)" = "$stamp" ] && exit 0

echo "setup: .venv with Python $version"
# Said once: only the benchmark's JVM program is compiled, and its target says so again.
command -v javac >/dev/null || echo "setup: make bench-peers needs a JDK: apt install openjdk-17-jdk-headless" >&2
if [ "$(.venv/bin/python -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)" != "$version" ]; then
    rm -rf .venv # of another Python, or broken
    "$python" -m venv .venv
fi
rm -f .venv/.stamp # a set-up that is cut short starts again
export PIP_DISABLE_PIP_VERSION_CHECK=1
.venv/bin/python -m pip install --quiet --require-hashes -r requirements/dev.txt
# Hatchling came with the lock, so nothing unchecked is fetched to build the package.
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
echo "$stamp" >.venv/.stamp
