"""Debian's Chromium, driven by playwright: pages opened, what they complained of, pictures taken."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

WIDTH: Final = 1000
HEIGHT: Final = 800
TIMEOUT_MS: Final = 15_000


def missing() -> str:
    """What is not installed, as a person would be told; empty when all is there."""
    return "" if shutil.which("chromium") else "chromium not found: apt install chromium"


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox"],  # its sandbox needs what containers do not have
        )
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Any, *, dark: bool = False, width: int = WIDTH, height: int = HEIGHT) -> Iterator[Any]:
    """A page of a fresh profile; ``page.complaints`` collects what its console says."""
    context = browser.new_context(
        color_scheme="dark" if dark else "light",
        viewport={"width": width, "height": height},
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.complaints = []
    page.on("console", lambda m: page.complaints.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda e: page.complaints.append(str(e)))
    try:
        yield page
    finally:
        context.close()


def picture(page: Any, path: Path, *, full: bool = False) -> None:
    """A PNG of the page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(path), full_page=full)
