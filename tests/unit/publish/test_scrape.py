"""Scrapes of 10,000 signals and of a worker that is not ready: valid, capped, and nobody waits for them.

Seconds are measured by ``tests/bench/bench_scrape.py`` and, on a real worker, by ``make recovery``.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from driftline.config import HttpSettings
from driftline.publish import http, metrics
from driftline.publish.catalogue import CATALOGUE
from driftline.publish.metrics import Metrics
from harness import many_models

MODELS = 500
MADE = 5  # by the core; the others are copies under other names
CAP = 5_000  # http.series_max as it is by default


@pytest.fixture(scope="module")
def full() -> Metrics:
    """500 models of 20 features on four mailbox partitions, of which each has one that drifts."""
    made = many_models.views(MADE)
    found = Metrics(series_max=CAP)
    for number in range(MODELS):
        found.update_models(number % 4, [replace(made[number % MADE], model=f"model-{number:03d}")])
    return found


def test_the_cap_holds_for_ten_thousand_signals(full: Metrics) -> None:
    """Every open episode has its series, the rest is chosen, and what is left out is counted."""
    assert HttpSettings().series_max == CAP
    samples = [
        sample
        for family in text_string_to_metric_families(full.render().decode())
        for sample in family.samples
    ]
    of_models = [sample for sample in samples if "model" in sample.labels]
    firing = {s.labels["model"] for s in of_models if s.name == "driftline_alert_active"}
    assert len(firing) == MODELS
    assert len(of_models) <= CAP
    dropped = next(s.value for s in samples if s.name == "driftline_series_dropped")
    assert dropped > 10 * CAP
    views, _ = full._choose()
    assert sum(len(view.signals) for view in views) >= 10_000


def test_writers_do_not_wait_for_the_page(full: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the text is made, the lock of the cells is free: a counter can be added to."""
    held: list[bool] = []

    def formatting(registry: CollectorRegistry) -> bytes:
        page: bytes = generate_latest(registry)
        held.append(full._lock.locked())
        full.add("driftline_envelopes_sent_total")
        return page

    monkeypatch.setattr(metrics, "generate_latest", formatting)
    monkeypatch.setattr(full, "_rendered_at", float("-inf"))
    first = full.render()
    assert full.render() is first  # the text of before, within a second
    assert held == [False]


def test_a_worker_that_recovers_is_scraped() -> None:
    """Not ready, nothing owned: every family is announced, and it says that it is not ready."""
    server = http.start(HttpSettings(port=0), Metrics(), lambda: True, lambda: False)
    try:
        with urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
            page = answer.read().decode()
    finally:
        server.stop()
    families = {family.name: family for family in text_string_to_metric_families(page)}
    assert {metric.name.removesuffix("_total") for metric in CATALOGUE} <= families.keys()
    assert [sample.value for sample in families["driftline_ready"].samples] == [0.0]
