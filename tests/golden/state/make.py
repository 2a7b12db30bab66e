"""Writes the golden state of this version; run it after raising STATE_VERSION.

Commit the new folder and keep the old ones: every later version has to restore them all. The story behind a
state is in ``tests/harness/golden.py``; it must not change once a state was committed.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from driftline.detect.kernels.state import STATE_VERSION
from harness import golden


def main() -> None:
    """Runs the story up to the cut and stores the state."""
    run = golden.started()
    golden.go_on(run, 0, golden.CUT)
    path = golden.STATES / f"v{STATE_VERSION}" / "state.bin"
    path.parent.mkdir(exist_ok=True)
    golden.write(path, golden.stored(run))
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
