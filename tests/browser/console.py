"""The console in a real browser: a real Kafka, a real worker, live traffic, a hundred viewers, a restart.

Also 1,000 models, whose records are written to the topics as a cluster would have.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from kafka import KafkaConsumer, KafkaProducer

from browser.chromium import picture, tab
from browser.traffic import EVENTS, LABELS, MODELS, Traffic
from driftline.demo.worker import Console
from driftline.localkafka import local_kafka
from harness import workers
from harness.kafka_io import Admin
from harness.page_story import alert, encoded, performance, report

DRIFT_SECONDS: Final = 90.0
LIVE_SECONDS: Final = 30.0
VIEWERS: Final = 100
MANY: Final = 1_000
PAGE_SECONDS_MAX: Final = 0.5  # of a page among 1,000 models, on a busy machine
WIDE: Final = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


def check(browser: Any, folder: Path, pictures: Path) -> Iterator[str]:
    """What is wrong."""
    with ExitStack() as stack:
        broker = stack.enter_context(local_kafka())
        config = _prepare(broker.bootstrap, folder)
        worker = workers.Worker(config, folder / "worker.log")
        stack.callback(worker.stop)
        console = Console(config, folder, workers.free_port())
        stack.callback(console.stop)
        console.start()
        worker.wait_ready()
        console.wait_ready()
        with Traffic(broker.bootstrap):
            yield from _live(browser, console, pictures)
            yield from _reader(browser, console, pictures)
            yield from _mute(browser, console, broker.bootstrap)
            yield from _viewers(console)
        yield from _restart(console)
        _write_many(broker.bootstrap)
        yield from _many(browser, console, pictures)
    log = console.log_path.read_text(encoding="utf-8", errors="replace")
    if "Traceback" in log:
        yield f"the console's log has a traceback:\n{log[-2_000:]}"


def _prepare(bootstrap: str, folder: Path) -> Path:
    values = workers.settings(
        bootstrap, "driftline", EVENTS,
        inputs=[
            {"topic": EVENTS, "start": "earliest"},
            {"topic": LABELS, "start": "earliest", "kind": "labels"},
        ],
        models={name: {} for name in MODELS},
        detection={
            "learning_rows": 1_000, "window_rows": 1_000,
            "labels": {"window_rows": 500, "reference_rows": 1_000},
        },
        checkpoint={"interval_seconds": 1.0},
    )  # fmt: skip
    config = workers.write_settings(folder / "driftline.yaml", values)
    admin = Admin(bootstrap)
    for topic in (EVENTS, LABELS):
        admin.create(topic, 2, {})
    admin.close()
    workers.create_topics(config)
    return config


def _wait(condition: Callable[[], Any], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _live(browser: Any, console: Console, pictures: Path) -> Iterator[str]:
    """Models, alerts and windows come to a page that nobody reloads."""
    with tab(browser) as page:
        page.goto(console.address)
        page.evaluate("window.untouched = true")
        if not _wait(lambda: page.get_by_role("link", name="credit-risk").count(), DRIFT_SECONDS):
            yield "no model came to the page by itself"
            return
        drifted = page.locator("tr", has_text="credit-risk").locator(".mark:not(.ok)")
        if not _wait(drifted.count, DRIFT_SECONDS):
            yield "the drift of credit-risk did not come to the page by itself"
        if not page.evaluate("window.untouched"):
            yield "the page was reloaded"
        if page.locator("#connection").inner_text() != "live":
            yield "the page does not say that it is live"
        worse = page.locator("tr", has_text="churn").locator(".mark:not(.ok)")
        if not _wait(worse.count, DRIFT_SECONDS):
            yield "the errors of churn did not come to the page by themselves"
        yield from page.complaints
        picture(page, pictures / "console-models.png")
        page.get_by_role("link", name="credit-risk").click()
        page.get_by_text("Latest window").wait_for()
        before = page.locator("#live").inner_html()
        if not _wait(lambda: page.locator("#live").inner_html() != before, LIVE_SECONDS):
            yield "the windows of a model do not come by themselves"
        yield from page.complaints


def _reader(browser: Any, console: Console, pictures: Path) -> Iterator[str]:
    """Every page by its links, light and dark, wide and narrow, and by keyboard."""
    for dark, width in ((False, 1000), (True, 1000), (False, 380)):
        with tab(browser, dark=dark, width=width) as page:
            page.goto(f"{console.address}/model?name=credit-risk")
            for text in ("Open alerts", "Signals by drift", "Performance", "Alerts over time", "Accuracy"):
                if not page.get_by_text(text).count():
                    yield f"the model's page does not say {text!r}"
            shown = pictures / ("more" if dark or width < 400 else "")
            suffix = "dark" if dark else "light" if width > 400 else "narrow"
            picture(page, shown / f"console-model-{suffix}.png", full=suffix == "light")
            wide = [page.url] if page.evaluate(WIDE) else []
            page.get_by_role("link", name="age", exact=True).first.click()
            page.get_by_role("heading", name="Reference against current").wait_for()
            wide += [page.url] if page.evaluate(WIDE) else []
            if dark:
                picture(page, pictures / "console-signal-dark.png")
            page.get_by_role("link", name="evidence").first.click()
            page.get_by_role("heading", name="Evidence").wait_for()
            wide += [page.url] if page.evaluate(WIDE) else []
            yield from (f"at {width} pixels the page is wider than the window: {url}" for url in wide)
            yield from page.complaints
    with tab(browser) as page:
        page.goto(f"{console.address}/model?name=churn")
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") != "Skip to the content":
            yield "the first key does not reach the skip link"
        page.keyboard.press("Enter")
        if page.evaluate("document.activeElement.id") != "main":
            yield "the skip link does not skip"
        nameless = page.evaluate(
            "[...document.querySelectorAll('a, button, input:not([type=hidden]), select, svg[role=img]')]"
            ".filter(e => !(e.textContent || e.labels?.length || e.getAttribute('aria-label'))).length"
        )
        if nameless:
            yield f"{nameless} elements have no name for a screen reader"
        heads = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map(e => +e.tagName[1])")
        if heads[:1] != [1] or any(b - a > 1 for a, b in pairwise(heads)):
            yield f"headings jump: {heads}"


def _mute(browser: Any, console: Console, bootstrap: str) -> Iterator[str]:
    """Enter with the token, mute by the form; the command is on its topic."""
    with tab(browser) as page:
        page.goto(f"{console.address}/model?name=credit-risk")
        if page.get_by_text("Mute or acknowledge", exact=True).count():
            yield "there is a form without a session"
        page.get_by_role("link", name="Enter to mute or acknowledge").click()
        page.get_by_label("Your name").fill("Jane")
        page.get_by_label("Token").fill("not the token, surely")
        page.get_by_role("button", name="Enter").click()
        page.get_by_text("That was not the token").wait_for()
        page.complaints.clear()  # the browser notes the 403
        page.get_by_label("Your name").fill("Jane")
        page.get_by_label("Token").fill(console.token)
        page.get_by_role("button", name="Enter").click()
        page.get_by_role("heading", name="credit-risk").wait_for()
        first = page.locator("article.episode").first
        first.get_by_text("Mute or acknowledge").click()
        first.get_by_label("Why").fill("a campaign <b>for</b> students")
        time.sleep(5.0)  # the page hears of changes meanwhile and must not take the form away
        first.get_by_role("button", name="Mute").click()
        page.get_by_text("Sent: mute").wait_for()
        page.get_by_text("(muted)").first.wait_for()  # the worker has applied it and told of it
        yield from page.complaints
    consumer = KafkaConsumer(
        "driftline.commands", bootstrap_servers=bootstrap, auto_offset_reset="earliest",
        consumer_timeout_ms=10_000,
    )  # fmt: skip
    found: dict[str, str] = next((json.loads(r.value) for r in consumer), {})
    consumer.close()
    wanted = ("alert.mute", "credit-risk", "Jane", "a campaign <b>for</b> students")
    if tuple(found.get(k) for k in ("type", "model", "by", "why")) != wanted:
        yield f"the command is {found}"


def _viewers(console: Console) -> Iterator[str]:
    """A hundred streams at once: each is told of a change; pages stay quick meanwhile."""

    async def one(port: int) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            async with asyncio.timeout(LIVE_SECONDS):
                while b"changed" not in await reader.readline():
                    pass
            return True
        except (TimeoutError, OSError):
            return False
        finally:
            writer.close()

    async def every() -> tuple[int, float]:
        port = int(console.address.rpartition(":")[2])
        told = asyncio.gather(*(one(port) for _ in range(VIEWERS)))
        seconds = await asyncio.to_thread(_seconds, f"{console.address}/model?name=credit-risk", 5)
        return sum(await told), seconds

    with ThreadPoolExecutor(1) as aside:  # playwright has an event loop in this thread
        told, seconds = aside.submit(lambda: asyncio.run(every())).result()
    print(f"  {told} of {VIEWERS} viewers were told; a page beside them took {seconds * 1000:.0f} ms")
    if told != VIEWERS:
        yield f"{told} of {VIEWERS} viewers were told"


def _restart(console: Console) -> Iterator[str]:
    """Stopped and started, it shows the same: everything is on the topics."""
    time.sleep(5.0)  # the last windows are checkpointed
    addresses = [f"{console.address}/model?name={name}" for name in MODELS]
    before = [_get(address) for address in addresses]
    console.stop()
    began = time.monotonic()
    console.start()
    console.wait_ready()
    print(f"  ready {time.monotonic() - began:.1f} s after the restart")
    for address, text in zip(addresses, before, strict=True):
        if _get(address) != text:
            yield f"after the restart {address} shows something else"


def _write_many(bootstrap: str) -> None:
    """Alerts, windows of 20 signals and performance of MANY models."""
    names = [f"feature_{i:02}" for i in range(20)]
    with KafkaProducer(bootstrap_servers=bootstrap, linger_ms=50) as producer:
        for m in range(MANY):
            model = f"model-{m:04}"
            records = [
                alert("opened", 1, model=model, signal=names[i], severity=("info", "warning", "critical")[i])
                for i in range(m % 4)
            ]
            for hour in range(1, 6):
                psi = {name: 0.001 * (m % 97) * (i + hour) for i, name in enumerate(names)}
                records += [report(hour, psi, model=model), performance(hour, 0.9, model=model, number=hour)]
            for role, record in map(encoded, records):
                producer.send(f"driftline.{role}", key=record.key, value=record.value)
        producer.flush()


def _many(browser: Any, console: Console, pictures: Path) -> Iterator[str]:
    """The list and a page among MANY models, by the clock and in the browser."""
    console.stop()
    began = time.monotonic()
    console.start()
    console.wait_ready()
    print(f"  {MANY:,} models read in {time.monotonic() - began:.1f} s")
    for path in ("/", "/?state=critical", "/?q=model-05", "/model?name=model-0503"):
        first, again = _seconds(console.address + path, 1), _seconds(console.address + path, 9)
        print(f"  {path}: {first * 1000:.0f} ms drawn anew, {again * 1000:.0f} ms for the next viewers")
        if first > PAGE_SECONDS_MAX:
            yield f"{path} takes {first:.2f} s"
    with tab(browser) as page:
        page.goto(console.address)
        if f"{MANY + len(MODELS):,} models" not in page.locator("caption").inner_text():
            yield "the list does not count all models"
        page.get_by_role("link", name="Next").click()
        page.get_by_text("page 2 of 11").wait_for()
        page.get_by_label("Name contains").fill("model-0503")
        page.get_by_role("button", name="Filter").click()
        page.get_by_role("link", name="model-0503").click()
        page.get_by_role("heading", name="model-0503").wait_for()
        yield from page.complaints
        page.goto(console.address)
        picture(page, pictures / "more" / "console-many.png")


def _get(address: str) -> str:
    with urllib.request.urlopen(address, timeout=20) as answer:  # noqa: S310 - ours
        return str(answer.read().decode())


def _seconds(address: str, times: int) -> float:
    """Median seconds until a page is there."""
    took = []
    for _ in range(times):
        began = time.monotonic()
        _get(address)
        took.append(time.monotonic() - began)
    return statistics.median(took)
