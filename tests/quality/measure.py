"""One run of a stream through all contestants, and the runs of a stream put together; plain data for JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

from quality import contestants
from quality.contestants import FEATURES, KNOW_NOTHING, Alarms, Panel
from quality.errors import ERRORS
from quality.score import Change, Score, score
from quality.streams import Cells, Stream

Record = dict[str, Any]
Job = tuple[str, int, "Sizes"]  # name of the stream, run
Spread = Callable[[Callable[[Job], Record], Sequence[Job]], Iterable[Record]]

BEFORE_ROWS: Final = 1_000  # a slow peer sees the first change only: so many rows before its start
PEER_ROWS_MIN: Final = 200  # twice the window of KSWIN


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much of everything. Rows of peers are cells: of a model of many features they get fewer rows."""

    null_runs: int  # a multiple of 3, the sizes of references
    null_rows: int
    change_runs: int
    peer_null_runs: int
    peer_null_cells: int
    peer_change_runs: int
    slow_null_cells: int
    slow_change_runs: int
    slow_change_rows: int  # from the start of the first change on


PANELS: Final = (FEATURES, ERRORS)
FULL: Final = Sizes(30, 1_000_000, 60, 3, 300_000, 20, 40_000, 5, 8_000)
QUICK: Final = Sizes(3, 200_000, 6, 1, 50_000, 1, 2_000, 1, 2_000)
SMALL: Final = Sizes(3, 60_000, 3, 1, 1_000, 1, 200, 1, 200)  # for the suite


def panel_of(stream: Stream) -> Panel:
    """Who watches a stream."""
    return ERRORS if stream.labelled else FEATURES


def measure(stream: Stream, run: int, sizes: Sizes) -> Record:
    """All contestants on one run of a stream."""
    if stream.changes:
        return _changed(stream, run, sizes)
    panel = panel_of(stream)
    rows = min(stream.rows, sizes.null_rows)
    reference, live = stream.sample(run, rows)
    default = panel.driftline(stream, reference, live)
    strict, budget = panel.strict(stream, reference, live)
    out: Record = {
        "reference": stream.references[run % len(stream.references)],
        "rows": rows,
        "default": len(default.opened),
        "strict": len(strict.opened),
        "budget": budget,
        "peers": {name: [len(alarms(rows).opened), rows] for name, alarms in KNOW_NOTHING.items()},
    }
    for peer in panel.peers:
        if run >= (1 if peer.slow else sizes.peer_null_runs) or (peer.binary_only and not stream.binary):
            continue
        cells = sizes.slow_null_cells if peer.slow else sizes.peer_null_cells
        watched = min(rows, max(PEER_ROWS_MIN, cells // len(live)))
        values = panel.values(stream, reference, _cut(live, 0, watched))
        out["peers"][peer.name] = [len(contestants.peer_alarms(peer, values).opened), watched]
    return out


def _changed(stream: Stream, run: int, sizes: Sizes) -> Record:
    panel = panel_of(stream)
    reference, live = stream.sample(run, stream.rows)
    known: dict[str, Callable[[], Alarms]] = {"Driftline": lambda: panel.driftline(stream, reference, live)}
    known |= {name: lambda f=f: f(stream.rows) for name, f in KNOW_NOTHING.items()}  # type: ignore[misc]
    out: Record = {name: _scored(run(), stream.changes, stream.rows) for name, run in known.items()}
    for peer in panel.peers:
        runs = sizes.slow_change_runs if peer.slow else sizes.peer_change_runs
        if run >= runs or (peer.binary_only and not stream.binary):
            continue
        lo, hi, changes = 0, stream.rows, stream.changes
        if peer.slow:
            lo = max(0, changes[0].start - BEFORE_ROWS)
            hi = min(hi, changes[0].start + sizes.slow_change_rows)
            changes = (Change(changes[0].start - lo, min(changes[0].end, hi) - lo),)
        values = panel.values(stream, reference, _cut(live, lo, hi))
        out[peer.name] = _scored(contestants.peer_alarms(peer, values), changes, hi - lo)
    return out


def _cut(cells: Cells, lo: int, hi: int) -> Cells:
    return {name: column[lo:hi] for name, column in cells.items()}


def _scored(alarms: Alarms, changes: Sequence[Change], rows: int) -> Record:
    return asdict(score(alarms.opened, alarms.resolved, changes, rows)) | {"rows": rows}


# --- runs of a stream put together -------------------------------------------------------------------------


def null_row(stream: Stream, records: Sequence[Record]) -> Record:
    """Counts of a null, by size of the reference too."""
    by_size: dict[str, list[float]] = {}
    for r in records:
        size = by_size.setdefault(str(r["reference"]), [0, 0.0])
        size[0] += r["strict"]
        size[1] += r["budget"]
    peers: dict[str, list[int]] = {}
    for r in records:
        for name, (alarms, rows) in r["peers"].items():
            counted = peers.setdefault(name, [0, 0])
            counted[0] += alarms
            counted[1] += rows
    return {
        "stream": stream.name,
        "runs": len(records),
        "rows": sum(r["rows"] for r in records),
        "strict": sum(r["strict"] for r in records),
        "budget": sum(r["budget"] for r in records),
        "references": by_size,
        "default": sum(r["default"] for r in records),
        "peers": peers,
    }


def change_row(stream: Stream, records: Sequence[Record]) -> Record:
    """Counts and the median delay of every contestant."""
    out: Record = {
        "stream": stream.name,
        "runs": len(records),
        "promised": stream.episodes,
        "contestants": {},
    }
    for name in ("Driftline", *panel_of(stream).others):
        scores = [r[name] for r in records if name in r]
        if not scores:
            continue
        delays = sorted(d for s in scores for d in s["delays"])
        total: Counter[str] = Counter()
        for s in scores:
            total.update({k: v for k, v in s.items() if k != "delays"})
        counts = {k: total[k] for k in (*(f for f in Score.__slots__ if f != "delays"), "rows")}
        median = statistics.median(delays) if delays else None
        out["contestants"][name] = {"detected": len(delays), "median_delay": median, **counts}
    return out


def _work(job: Job) -> Record:
    name, run, sizes = job
    return measure(next(s for panel in PANELS for s in panel.streams() if s.name == name), run, sizes)


def laboratory(
    streams: Sequence[Stream], sizes: Sizes, spread: Spread = map, say: Callable[[str], None] = lambda _: None
) -> Record:
    """Every run of the streams. ``spread`` is ``map``, or a pool's: the results do not depend on it."""
    runs = {s.name: sizes.change_runs if s.changes else sizes.null_runs for s in streams}
    jobs = [(s.name, run, sizes) for s in streams for run in range(runs[s.name])]
    records = iter(spread(_work, jobs))
    nulls_of, changes_of = [], []
    for i, stream in enumerate(streams, 1):
        mine = list(islice(records, runs[stream.name]))
        if stream.changes:
            changes_of.append(change_row(stream, mine))
        else:
            nulls_of.append(null_row(stream, mine))
        say(f"{i} of {len(streams)}: {stream.name}")
    return {"sizes": asdict(sizes), "nulls": nulls_of, "changes": changes_of}
