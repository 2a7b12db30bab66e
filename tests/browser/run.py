"""``make console-test``: the pages of Driftline in a real Chromium. Everything it starts it ends.

Not collected by pytest: it needs Debian's chromium. The pictures are for people to look at (docs/img).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from browser import console, review
from browser.chromium import chromium, missing

ROOT: Final = Path(__file__).parents[2]
CHECKS: Final = {"report": review.check, "console": console.check}


def main() -> int:
    """Exit code: 0 when nothing is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", choices=CHECKS, help="one of the checks; default: all")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs" / "img", help="where screenshots go")
    options = parser.parse_args()
    if text := missing():
        sys.stderr.write(f"{text}\n")
        return 2
    wrong = 0
    for name, check in CHECKS.items():
        if options.only not in {None, name}:
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="driftline-browser-") as folder, chromium() as browser:
            faults = 0
            for fault in check(browser, Path(folder), options.pictures):
                print(f"  WRONG: {fault}", flush=True)
                faults += 1
        print(f"{name}: {'ok' if not faults else f'{faults} faults'}, {time.monotonic() - began:.0f} s")
        wrong += faults
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
