"""The review of the flights in a real browser: opened as a file, looked over, printed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from browser.chromium import picture, tab
from driftline.publish import review_pages
from driftline.publish.history import fold
from driftline.publish.review import make
from harness.page_story import story

EVIL = '</title><script>document.title="owned"</script><img src=x onerror=\'document.title="owned"\'>'


def check(browser: Any, folder: Path, pictures: Path) -> Iterator[str]:
    """What is wrong with the demo's page and with a page of hostile names."""
    page = folder / "flights.html"
    demo = [sys.executable, "-c", "from driftline.cli import main; main()", "demo", "--kafka", "none"]
    subprocess.run(
        [*demo, "--events", "120000", "--report", str(page)], check=True, stdout=subprocess.DEVNULL
    )
    yield from _flights(browser, page, pictures)
    yield from _hostile(browser, folder / "hostile.html")


def _flights(browser: Any, path: Path, pictures: Path) -> Iterator[str]:
    for dark in (False, True):
        with tab(browser, dark=dark) as page:
            requests: list[str] = []
            page.on("request", lambda r, found=requests: found.append(r.url))
            page.goto(path.as_uri())
            if requests != [path.as_uri()]:
                yield f"the page loads something: {requests[:3]}"
            yield from page.complaints
            for text in ("Alerts over time", "Performance over time", "Signals", "still open"):
                if not page.get_by_text(text).count():
                    yield f"the page does not say {text!r}"
            charts = page.get_by_role("img")
            if charts.count() < 6:
                yield f"{charts.count()} charts"
            for i in range(charts.count()):
                box = charts.nth(i).bounding_box()
                if box is None or box["width"] < 300 or box["height"] < 40:
                    yield f"chart {i} is not drawn: {box}"
            if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
                yield "the page is wider than the window"
            picture(page, pictures / "more" / "report-dark.png" if dark else pictures / "report-light.png")
    with tab(browser, width=380) as page:
        page.goto(path.as_uri())
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            yield "on a telephone the page is wider than the window"


def _hostile(browser: Any, path: Path) -> Iterator[str]:
    records = story(signal=EVIL, category=EVIL)
    path.write_text(review_pages.html(make(fold(records).models["m"], None, None)), encoding="utf-8")
    with tab(browser) as page:
        page.goto(path.as_uri())
        yield from page.complaints
        if page.title() == "owned" or page.locator("img, script").count():
            yield "a name became markup"
        if not page.get_by_text('<script>document.title="owned"</script>').count():
            yield "the hostile name is not shown as it is"
