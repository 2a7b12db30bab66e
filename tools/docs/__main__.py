"""Build the documentation site strictly, or serve it on loopback while writing."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from mkdocs.commands import build, serve
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Exit code: 1 when the site has a warning."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", action="store_true", help="serve it, and follow what is written")
    parser.add_argument("--site", default="build/site", help="the folder to write")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    os.environ["NO_MKDOCS_2_WARNING"] = "1"  # the theme's notice about a later mkdocs is none of our readers'
    file = str(ROOT / "mkdocs.yml")
    try:
        if args.serve:
            serve.serve(config_file=file, open_in_browser=False)
        else:
            build.build(load_config(config_file=file, site_dir=str(Path(args.site).resolve())))
    except Abort as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
