"""Where compiled kernels are kept, and compiling them once for all processes of a user.

``use`` has to be called before any module with kernels is imported: numba decides then where a kernel is
cached. The folder is keyed by driftline, numba and Python version and by CPU; one process at a time compiles
(numba's cache has crashed processes that filled it together).
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import filelock
import numba
from numba.core import config as numba_config

import driftline

log = logging.getLogger(__name__)

COMPILE_SECONDS_MAX: Final = 900.0  # about 60 s on a fast core; another process may be at it on a slow one
_DONE: Final = "complete"  # written when the kernels of these sources were all compiled into a folder


def folder() -> Path:
    """The cache folder for this version and this CPU: under NUMBA_CACHE_DIR if set, else the user's cache."""
    llvm = importlib.import_module("llvmlite.binding")
    features = str(llvm.get_host_cpu_features().flatten()) if hasattr(llvm, "get_host_cpu_features") else ""
    cpu = f"{llvm.get_host_cpu_name()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"
    python = f"{sys.implementation.cache_tag}-{platform.machine()}"
    name = f"{driftline.__version__}-numba{numba.__version__}-{python}-{cpu}"
    given = os.environ.get("NUMBA_CACHE_DIR")
    if given:
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "driftline" / "kernels" / name


def _sources() -> str:
    """Identity of the kernels' sources as numba sees it: a changed file is compiled again."""
    files = sorted((Path(driftline.__file__).parent / "detect" / "kernels").glob("*.py"))
    stamps = ((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    return hashlib.sha256(repr(list(stamps)).encode()).hexdigest()[:16]


def use() -> Path:
    """Make numba keep kernels in ``folder()``, or in a temporary folder where that cannot be written."""
    path = folder()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        path = Path(tempfile.mkdtemp(prefix="driftline-kernels-"))
        log.warning(
            "the kernel cache cannot be written: every start compiles; set XDG_CACHE_HOME",
            extra={"error": str(error)},
        )
    numba_config.CACHE_DIR = str(path)
    return path


def compile_kernels() -> float:
    """Compile every kernel, or load it from the cache; seconds it took. Says on the log when it compiles.

    ``use`` comes first. Blocks; run it in a thread.
    """
    began = time.monotonic()
    path = Path(numba_config.CACHE_DIR or use())
    with filelock.FileLock(str(path / "lock"), timeout=COMPILE_SECONDS_MAX):
        done = path / f"{_DONE}-{_sources()}"
        cold = not done.exists()
        if cold:
            log.info(
                "compiling kernels: once for this version and CPU, about a minute", extra={"cache": str(path)}
            )
        # Imported here: the decorators of these modules look at the cache folder.
        from driftline.detect import kernels, labels, performance
        from driftline.ingest import batches, decode, envelope

        batches.warm()
        decode.warm()
        envelope.warm()
        labels.warm()
        performance.warm()
        kernels.compile_all()
        done.touch()
    seconds = time.monotonic() - began
    log.info("kernels ready", extra={"seconds": round(seconds, 1), "compiled": cold})
    return seconds
