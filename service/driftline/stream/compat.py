"""The versions of Faust and aiokafka whose methods are overridden here; anything else stops at start."""

from __future__ import annotations

import importlib.metadata
from typing import Final

from driftline.errors import OperatorError

# Overridden methods are not an interface: each version has to be read and tested before it is listed.
TESTED: Final = {"faust-streaming": ("0.15.3",), "aiokafka": ("0.14.0",)}


def check_versions() -> None:
    """See that Faust and aiokafka are versions that this package was tested with, and complete.

    Raises:
        OperatorError: another version, or Faust without its compiled stream iterator.
    """
    for package, tested in TESTED.items():
        version = importlib.metadata.version(package)
        if version not in tested:
            raise OperatorError(
                f"{package} {version} was never tested with this version of driftline.",
                remedy=f"Install it as released: pip install '{package}=={tested[-1]}'.",
            )
    check_stream_iterator()


def check_stream_iterator() -> None:
    """See that Faust's compiled stream iterator is there.

    The pure Python one acknowledges events of a former assignment although nobody processed them
    (robinhood/faust PR 223).

    Raises:
        OperatorError: it is not, because Faust was built from source without a compiler, or NO_CYTHON is set.
    """
    import faust.streams

    if faust.streams._CStreamIterator is None:  # noqa: SLF001
        raise OperatorError(
            "faust-streaming is installed without its compiled parts.",
            remedy="Install its binary wheel (pip install --only-binary :all:), and unset NO_CYTHON.",
        )
