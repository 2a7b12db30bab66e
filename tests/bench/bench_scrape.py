"""What a scrape of 10,000 signals costs, and how long it keeps the hot path waiting.

    python tests/bench/bench_scrape.py [MODELS]

500 models of 20 features go through the pure core; then the page is made again and again while another thread
counts as the hot path does. Exit code 1 when a page took a second or more.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from driftline.publish.metrics import Metrics
from harness import many_models

PAGES: Final = 10
SECONDS_MAX: Final = 1.0
ADDS: Final = 2_000  # between two looks at the clock


class Writer(threading.Thread):
    """The hot path: adds to a counter without a pause; ``longest`` is its longest batch, in seconds."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(daemon=True)
        self._metrics = metrics
        self.longest = 0.0
        self.stopped = threading.Event()

    def run(self) -> None:
        """Until stopped."""
        while not self.stopped.is_set():
            began = time.perf_counter()
            for _ in range(ADDS):
                self._metrics.add("driftline_rows_applied_total", 1, partition=0)
            self.longest = max(self.longest, time.perf_counter() - began)


def pages(metrics: Metrics) -> tuple[float, float, int]:
    """Longest wall-clock and CPU seconds of a page, and its bytes."""
    wall = cpu = 0.0
    size = 0
    for _ in range(PAGES):
        time.sleep(1.05)  # it is kept for a second
        began, used = time.perf_counter(), time.thread_time()
        size = len(metrics.render())
        wall, cpu = max(wall, time.perf_counter() - began), max(cpu, time.thread_time() - used)
    return wall, cpu, size


def main(models: int) -> int:
    """Make the models, scrape alone and beside a writer, print."""
    metrics = Metrics()
    views = many_models.views(models)
    metrics.update_models(0, views)
    signals = sum(len(view.signals) for view in views)
    print(f"{signals:,} signals of {models} models", flush=True)
    alone, cpu, size = pages(metrics)
    print(
        f"page of {size / 1e3:,.0f} kB: at most {alone * 1e3:.0f} ms, {cpu * 1e3:.0f} ms of CPU", flush=True
    )
    writer = Writer(metrics)
    writer.start()
    beside, _, _ = pages(metrics)
    writer.stopped.set()
    writer.join()
    print(f"beside a writer that never pauses: at most {beside * 1e3:.0f} ms")
    print(f"the writer's longest {ADDS:,} additions: {writer.longest * 1e3:.0f} ms")
    return int(max(alone, beside) >= SECONDS_MAX)


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 500))
