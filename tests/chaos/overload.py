"""``python tests/chaos/overload.py --seconds 120``: three times more traffic than a worker can take.

First the worker's capacity is measured on a backlog, then rows come at three times that rate. It must keep
its memory bounded, catch up afterwards, and lose or double nothing, which is verified from topics and state.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos import volume
from chaos.saying import say
from chaos.throttle import limited
from chaos.verdict import Verdict
from chaos.volume import Watched

MODELS: Final = 10
FACTOR: Final = 3.0
FACTOR_MIN: Final = 2.0  # what the feeding side must reach on this machine for the run to mean anything
SHARE: Final = (
    0.2  # of a core for the worker: a whole one takes more than the rest of a small machine can send
)
LOOK_SECONDS: Final = 5.0
RSS_MB_MAX: Final = 700.0  # a flush in decoding and one in sending, prefetch, and what the process has anyway


async def overload(watched: Watched, seconds: float) -> tuple[float, float, float]:
    """Capacity, the rate that was reached, and seconds to catch up."""
    capacity = await watched.capacity()
    say(f"capacity {capacity:,.0f} rows/s (a backlog, {SHARE:.0%} of a core, every model active)")
    looking = asyncio.create_task(watched.looking(LOOK_SECONDS, volume.show))
    try:
        rate = await watched.feed(FACTOR * capacity, seconds)
        say(f"traffic over: {rate:,.0f} rows/s for {seconds:.0f} s, {rate / capacity:.1f} x the capacity")
        caught_up = await watched.drain()
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    return capacity, rate, caught_up


def report(watched: Watched, found: Verdict, figures: tuple[float, float, float]) -> bool:
    """Print; whether every promise held."""
    capacity, rate, caught_up = figures
    peak = watched.peak_rss() / 1e6
    found.details()
    say("")
    say(f"rows {found.expected.records}")
    say(f"traffic {rate / capacity:.1f} x the capacity of {capacity:,.0f} rows/s")
    say(f"max rss {peak:.0f} MB (limit {RSS_MB_MAX:.0f}), {watched.looks[0].rss / 1e6:.0f} MB at its begin")
    say(f"max lag {max(look.lag for look in watched.looks):,} records")
    say(f"caught up {caught_up:.1f} s after the traffic")
    found.zeros()
    if rate / capacity < FACTOR_MIN:
        say(f"nothing was proved: this machine could not send {FACTOR_MIN} x the capacity")
        return False
    return found.clean and not found.empty and peak <= RSS_MB_MAX


async def main(options: argparse.Namespace) -> int:
    """Run, verify, report."""
    async with volume.session("overload", options, MODELS) as watched:
        with limited(watched.worker.process.pid, SHARE, cores=1):
            figures = await overload(watched, options.seconds)
        good = report(watched, await volume.verdict(watched), figures)
    return volume.conclude(good, watched.product.folder)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = volume.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="how long the overload lasts")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(parse(sys.argv[1:]))))
