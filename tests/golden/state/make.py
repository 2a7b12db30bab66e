"""Writes the golden states of this version; run it after raising STATE_VERSION.

Commit the new folder and keep the old ones: every later version has to restore them all. The stories behind
them are in ``tests/harness/golden.py`` and ``golden_labelled.py``; they must not change once a state was
committed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from driftline.detect.kernels.state import STATE_VERSION
from harness import golden, golden_labelled


def main() -> None:
    """Runs the stories up to the cut and stores the states."""
    run = golden.started()
    golden.go_on(run, 0, golden.CUT)
    folder = golden.STATES / f"v{STATE_VERSION}"
    folder.mkdir(exist_ok=True)
    golden.write(folder / "state.bin", golden.stored(run))
    golden.write(folder / "labelled.bin", golden_labelled.until_cut().stored)
    for path in sorted(folder.iterdir()):
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
