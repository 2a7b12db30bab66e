"""``python tests/chaos/soak.py --minutes 10``: steady traffic at half of capacity, and what grows meanwhile.

A few models, drifts that come and go. Memory, file descriptors and threads of the worker are looked at from
outside every few seconds (asyncio tasks cannot be seen from there). All rows are verified at the end.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scipy.stats import theilslopes

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos import volume
from chaos.saying import say
from chaos.verdict import Verdict
from chaos.volume import Look, Watched

MODELS: Final = 5
LOAD: Final = 0.5  # of capacity
LOOK_SECONDS: Final = 2.0
SHOWN_SECONDS: Final = 30.0
WARM_UP: Final = 0.3  # of the run: buffers and the allocator's arenas fill up once
BACKLOG_SECONDS: Final = 1.0
STEADY_MIN: Final = 0.3  # of the looks after the warm-up: with fewer the machine was too busy to tell
SLOPE_MB_HOUR_MAX: Final = 1.0  # of a long run
GROWTH_MB_MAX: Final = 12.0  # of a short one, in which the allocator's steps (of MB each) outweigh any leak
FDS_MAX: Final = 3  # a connection that was just made or closed
THREADS_MAX: Final = 2  # pools grow to their size


@dataclass(frozen=True, slots=True)
class Trend:
    """Theil-Sen slope of the resident size after the warm-up, with its 95 % interval, in MB/h."""

    slope: float
    low: float
    high: float
    hours: float  # that it was taken from

    @property
    def limit(self) -> float:
        """The steepest slope that passes, in MB/h."""
        return max(SLOPE_MB_HOUR_MAX, GROWTH_MB_MAX / self.hours)


def trend(looks: Sequence[Look], rate: float) -> Trend:
    """How the resident size of these looks moves, under ``rate`` rows a second."""
    late = steady(looks, rate)
    hours = [look.at / 3600 for look in late]
    slope, _, low, high = theilslopes([look.rss / 1e6 for look in late], hours)
    return Trend(float(slope), float(low), float(high), hours[-1] - hours[0])


def steady(looks: Sequence[Look], rate: float) -> Sequence[Look]:
    """The looks that count: after the warm-up, and without a backlog.

    A backlog fills buffers: the size then tells how busy the machine is, not what grows.

    Raises:
        ValueError: too few of them.
    """
    late = [look for look in looks if look.at >= looks[0].at + WARM_UP * (looks[-1].at - looks[0].at)]
    found = [look for look in late if look.lag <= BACKLOG_SECONDS * rate]
    if len(found) < max(3, STEADY_MIN * len(late)):
        raise ValueError(
            f"{len(found)} of {len(late)} looks saw no backlog, too few for a slope: take an idle machine, "
            "more minutes or a lower --rate"
        )
    return found


def problems(looks: Sequence[Look], rate: float) -> list[str]:
    """What grew beyond its limit, a sentence each."""
    found = []
    late = steady(looks, rate)
    moved = trend(looks, rate)
    if moved.slope > moved.limit:
        found.append(f"memory grows by {moved.slope:.1f} MB/h, more than {moved.limit:.1f}")
    if late[-1].fds - late[0].fds > FDS_MAX:
        found.append(f"file descriptors grew from {late[0].fds} to {late[-1].fds}")
    if late[-1].threads - late[0].threads > THREADS_MAX:
        found.append(f"threads grew from {late[0].threads} to {late[-1].threads}")
    return found


def shower() -> volume.Show:
    """Prints a look now and then."""
    last = [-SHOWN_SECONDS]

    def show(look: Look) -> None:
        if look.at - last[0] >= SHOWN_SECONDS:
            last[0] = look.at
            volume.show(look)

    return show


def report(watched: Watched, found: Verdict, rate: float) -> bool:
    """Print; whether every promise held."""
    found.details()
    say("")
    say(f"rows {found.expected.records} at {rate:,.0f} rows/s")
    try:
        tell_growth(watched.looks, rate)
        wrong = problems(watched.looks, rate)
    except ValueError as error:
        wrong = [str(error)]
    found.zeros()
    for problem in wrong:
        say(problem)
    return found.clean and not found.empty and not wrong


def tell_growth(looks: Sequence[Look], rate: float) -> None:
    """Print what grew and by how much."""
    late, moved = steady(looks, rate), trend(looks, rate)
    interval = f"95 % {moved.low:+.1f} to {moved.high:+.1f}, limit {moved.limit:.1f}"
    say(f"rss slope {moved.slope:+.1f} MB/h ({interval}) over the last {moved.hours * 60:.1f} min")
    say(f"{len(late)} of {len(looks)} looks: after the warm-up, and with less than a second of backlog")
    say(f"rss {late[0].rss / 1e6:.0f} MB to {late[-1].rss / 1e6:.0f} MB")
    say(f"fds {late[0].fds} to {late[-1].fds}, threads {late[0].threads} to {late[-1].threads}")


async def soak(watched: Watched, minutes: float, rate: float) -> float:
    """Steady traffic; the rate that was reached."""
    capacity = await watched.capacity()
    wanted = rate or LOAD * capacity
    say(f"capacity {capacity:,.0f} rows/s; {minutes:g} min at {wanted:,.0f} rows/s")
    looking = asyncio.create_task(watched.looking(LOOK_SECONDS, shower()))
    try:
        reached = await watched.feed(wanted, minutes * 60)
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)
    say(f"drained in {await watched.drain():.1f} s")
    return reached


async def main(options: argparse.Namespace) -> int:
    """Run, verify, report."""
    async with volume.session("soak", options, MODELS) as watched:
        rate = await soak(watched, options.minutes, options.rate)
        good = report(watched, await volume.verdict(watched), rate)
    return volume.conclude(good, watched.product.folder)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = volume.parser(__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--rate",
        type=float,
        default=0.0,
        help="rows a second; by default half of the capacity measured first",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(parse(sys.argv[1:]))))
