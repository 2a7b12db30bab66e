"""Writes how every kind of alert reads, one file a story of ``tests/harness/alert_stories.py``.

Run it (``make golden``) after a change of the words, and read what changed as somebody who was just woken.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from harness import alert_stories

FOLDER = Path(__file__).parent


def main() -> None:
    """Runs every story and stores its text."""
    for old in FOLDER.glob("*.txt"):
        old.unlink()
    for name in alert_stories.STORIES:
        text = alert_stories.text(name)
        (FOLDER / f"{name}.txt").write_text(text, encoding="utf-8")
        print(f"--- {name}\n{text}")


if __name__ == "__main__":
    main()
