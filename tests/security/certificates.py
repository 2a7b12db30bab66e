"""Certificates for tests, made by openssl in a folder: authorities, servers, clients, some expired."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CONFIG: Final = """\
[ca]
default_ca = own
[own]
dir = {folder}
database = $dir/index.txt
new_certs_dir = $dir
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
unique_subject = no
x509_extensions = leaf
[any]
commonName = supplied
[leaf]
basicConstraints = critical,CA:FALSE
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""
KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
VALID: Final = ("20200101000000Z", "20991231235959Z")
EXPIRED: Final = ("20200101000000Z", "20210101000000Z")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (with its chain) and its private key, both PEM."""

    cert: Path
    key: Path

    def replace(self, other: Pair) -> None:
        """Take over another pair's content, in our own files."""
        self.cert.write_text(other.cert.read_text(), encoding="ascii")
        self.key.write_text(other.key.read_text(), encoding="ascii")
        if self.keystore.exists():
            self.together()

    @property
    def keystore(self) -> Path:
        """Where ``together`` writes."""
        return self.cert.with_suffix(".keystore.pem")

    def together(self) -> Path:
        """Key and certificate in one file, as Kafka's PEM key stores want them."""
        self.keystore.write_text(self.key.read_text() + self.cert.read_text(), encoding="ascii")
        self.keystore.chmod(0o600)
        return self.keystore


class Authority:
    """A certificate authority with files of its own under ``folder / name``; ``cert`` is what is trusted."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder / name
        self._folder.mkdir(parents=True)
        (self._folder / "index.txt").touch()
        self._config = self._folder / "ca.cnf"
        self._config.write_text(_CONFIG.format(folder=self._folder), encoding="ascii")
        self.cert = self._folder / "ca.pem"
        self._key = self._folder / "ca.key"
        _openssl(
            "req", "-x509", *KEY, "-keyout", self._key, "-out", self.cert, "-subj", f"/CN={name}",
            "-days", "3650", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip

    def issue(self, name: str, *, san: str = "", validity: tuple[str, str] = VALID) -> Pair:
        """A certificate for ``CN=name``; ``san`` such as ``IP:127.0.0.1,DNS:localhost`` for servers."""
        stem = self._folder / f"{name}-{len(list(self._folder.iterdir()))}"
        request, cert, key = stem.with_suffix(".csr"), stem.with_suffix(".pem"), stem.with_suffix(".key")
        extra = ("-addext", f"subjectAltName={san}") if san else ()
        _openssl("req", "-new", *KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}", *extra)
        _openssl(
            "ca", "-batch", "-notext", "-config", self._config, "-cert", self.cert, "-keyfile", self._key,
            "-in", request, "-out", cert, "-startdate", validity[0], "-enddate", validity[1],
        )  # fmt: skip
        return Pair(cert, key)


def _openssl(*arguments: str | Path) -> None:
    try:
        done = subprocess.run(
            ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError as error:
        raise RuntimeError("openssl is needed for certificates (Debian: apt install openssl).") from error
    if done.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")
