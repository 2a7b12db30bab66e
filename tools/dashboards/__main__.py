"""Write the dashboards, or with ``--check`` say whether the files are what the code would write."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards import fleet, model, service

FOLDER = Path(__file__).parents[2] / "deploy" / "grafana" / "dashboards"
BOARDS = {"fleet": fleet.build, "model": model.build, "service": service.build}


def render() -> dict[Path, str]:
    """Path and text of each dashboard."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {FOLDER / f"{name}.json": encoder.encode(build().build()) + "\n" for name, build in BOARDS.items()}


def main() -> int:
    """Exit code: 1 when a check found a difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file would change")
    check = parser.parse_args().check
    stale = []
    for path, text in render().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path)
            if not check:
                path.write_text(text, encoding="utf-8")
    for path in stale:
        sys.stdout.write(f"{path.name}: {'stale, run make dashboards' if check else 'written'}\n")
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
