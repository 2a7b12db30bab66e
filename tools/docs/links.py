"""A hook of mkdocs: links out of ``docs/`` go to the repository, where README, schemas and code are.

In the repository the pages are read as they are, so their links are relative paths; the site has no such
files.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
_OUTWARD: Final = re.compile(r"\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")
_FOLDER: Final = re.compile(r"\]\((?!https?:|#|\.\./)([^)#\s]+/)\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """Called by mkdocs for each page: its text with the links replaced.

    Raises:
        ValueError: a link names a file that the repository does not have.
    """
    here = Path(page.file.abs_src_path).parent

    def outward(match: re.Match[str]) -> str:
        target = (here / match[1]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            raise ValueError(f"{page.file.src_path}: no {match[1]} in the repository")
        if target.is_relative_to(ROOT / "docs"):
            return match[0]
        kind = "tree" if target.is_dir() else "blob"
        return f"]({config.repo_url}/{kind}/main/{target.relative_to(ROOT)}{match[2] or ''})"

    def folder(match: re.Match[str]) -> str:
        target = (here / match[1]).resolve()
        return f"]({config.repo_url}/tree/main/{target.relative_to(ROOT)})" if target.is_dir() else match[0]

    return _FOLDER.sub(folder, _OUTWARD.sub(outward, markdown))
