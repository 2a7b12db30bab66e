"""Turns measured results into Markdown: the tables that a run prints, and the whole of docs/benchmarks.md.

Pure: everything comes out of the results given (see results.py), so the same files always make the same page.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bench import losses
from bench.measure import Cost
from bench.programs import OBVIOUS, PEERS

# The targets of the first pipeline, printed beside what was measured; none is a result.
CPU_US_MAX: Final = 12.0
RATIO_MIN: Final = 8.0
SHARE_MAX: Final = 0.5
RSS_MB_MAX: Final = 400.0
LATENCY_SECONDS_MAX: Final = 1.0
RSS_GROWTH_MAX: Final = 1.10  # "flat": less than a tenth more at 100 % than at 10 %

DRIFTLINE: Final = {"driftline": "Driftline, everything on"}
OWN_PROGRAMS: Final = {
    "obvious": OBVIOUS.title,
    **DRIFTLINE,
    "shuffled": "Driftline, 17-digit numbers in changing key order",
    "ingest": "stage 1 alone (`--roles ingest`)",
    "detect": "stage 2 alone (`--roles detect`)",
}
PEER_PROGRAMS: Final = {peer.key: peer.title for peer in PEERS} | DRIFTLINE

HEAD: Final = """# Benchmarks

Made by `make bench ARGS=--write-docs` and `make bench-peers ARGS=--write-docs` out of the files that these
leave in `tests/bench/results`; no figure here is written by hand, a test sees to that. Figures are the
median [min - max] over the rounds of one run. Programs take turns on one machine with the broker beside them:
trust ratios, not rates. CPU is user + system of the whole process between its first event and its last.
"""

PEER_NOTES: Final = """
What is compared:

- All read the same topic: 8 partitions, uncompressed, 500 records a batch, {bytes:.0f} bytes of JSON an
  event, 18 numeric and 2 categorical features, 20,000 distinct events without drift in turn. One process
  each; memory is its resident peak. `detections` shows that the work was done.
- **The peers do less.** They run ADWIN and Page-Hinkley at their library's defaults on 18 raw values.
  Driftline also places each value in its reference distribution, watches missing, invalid and unseen values,
  spread, categories, score and class, and runs a third detector on all of them. It stores state and alerts in
  one transaction and survives a kill; a peer that dies starts from nothing, and none turns its detections
  into alerts.
- The loops commit offsets once at the end, Faust and Kafka Streams as they do by themselves. Driftline's
  figure includes every commit, both stages, the topic between them and all checkpoints.
- Left out alike: start-up and the first events (Faust {warm_obvious}, loops {warm_loops}, JVM {warm_jvm};
  Driftline's reference and windows were learned before).
- MOA's Page-Hinkley looks one way where river's looks both ways and keeps no minimum, and a Kafka Streams
  task has detectors of its own for its partition: other counts, somewhat less work.
- JVM: {jvm}; `{flags}`;
  one stream thread, `max.poll.records` and `buffered.records.per.partition` 10,000, 4 MiB a fetched
  partition, streaming parser with fast doubles. Loops: 10,000 records a call, 4 MiB a fetched partition.
"""


def costs_of(results: Mapping[str, Any]) -> list[dict[str, Cost]]:
    """The rounds of a run as they were measured."""
    return [{key: Cost(**cost) for key, cost in r.items()} for r in results["costs"]]


def measured_at(results: Mapping[str, Any]) -> str:
    """Where and when, one sentence."""
    host = results["machine"]
    count = len(results["costs"])
    words = [
        f"Commit {host['commit']}",
        host["started"],
        host["cpu"],
        f"load {host['load_before']} before the run",
    ]
    words += [f"{count} round{'' if count == 1 else 's'}"]
    words += [f"{name} {version}" for name, version in host["versions"].items()]
    return ", ".join(words) + "."


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median with min and max."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f} - {max(values):.{digits}f}]"


def peers_table(results: Mapping[str, Any]) -> list[str]:
    """The programs of `make bench-peers` beside Driftline, as Markdown."""
    rounds = costs_of(results)
    lines = [
        "| program | CPU us an event | over Driftline's | events/s wall | start-up | memory | detections |",
        "|---|---|---|---|---|---|---|",
    ]
    for key, title in PEER_PROGRAMS.items():
        costs = [r[key] for r in rounds]
        ratios = [r[key].cpu_us / r["driftline"].cpu_us for r in rounds]
        last = costs[-1]
        found = "-" if last.detections is None else f"{last.detections:,} in {last.seen:,} events"
        lines.append(
            f"| {title} | {spread([c.cpu_us for c in costs])} "
            f"| {'1' if key == 'driftline' else spread(ratios, 2)} "
            f"| {spread([c.rate / 1000 for c in costs])} k | {_start_up(costs)} "
            f"| {statistics.median(c.rss_peak_mb for c in costs):.0f} MB "
            f"| {found} |"
        )
    return lines


def _start_up(costs: Sequence[Cost]) -> str:
    wall = statistics.median(c.start_seconds for c in costs)
    return f"{wall:.1f} s, {statistics.median(c.start_cpu_seconds for c in costs):.1f} s of CPU"


def peers_section(results: Mapping[str, Any]) -> list[str]:
    """Everything that `make bench-peers` measured, but for what we lose at."""
    jvm, warm = results["jvm"], {peer.key: int(results["events"] * peer.warm_share) for peer in PEERS}
    notes = PEER_NOTES.format(
        bytes=results["bytes_an_event"],
        warm_obvious=f"{warm['obvious']:,}",
        warm_loops=f"{warm['aiokafka']:,}",
        warm_jvm=f"{warm['jvm']:,}",
        jvm=", ".join(f"{name} {version}" for name, version in jvm["versions"].items()),
        flags=" ".join(jvm["flags"]),
    )
    return [measured_at(results), "", *peers_table(results), notes]


def throughput_lines(rounds: Sequence[Mapping[str, Cost]]) -> list[str]:
    """A table of the programs of `make bench` in interleaved rounds, as Markdown."""
    lines = [
        "| program | CPU us an event | events/s wall | CPU, obvious over this | start-up |",
        "|---|---|---|---|---|",
    ]
    for key, text in OWN_PROGRAMS.items():
        costs = [r[key] for r in rounds if key in r]
        if not costs:
            continue
        ratios = [r["obvious"].cpu_us / r[key].cpu_us for r in rounds if key in r]
        against = f"{spread(ratios)} x less" if key != "obvious" else "-"
        events = f"{sum(c.events for c in costs) / 1e6:.2f} M"
        lines.append(
            f"| {text}; {events} events in {len(costs)} rounds | {spread([c.cpu_us for c in costs])} "
            f"| {spread([c.rate / 1000 for c in costs])} k | {against} | {_start_up(costs)} |"
        )
    return lines


def judged(text: str, value: float, limit: float, unit: str, *, more: bool = False) -> str:
    """A line with its target and whether it was met."""
    met = value >= limit if more else value <= limit
    sign = "at least" if more else "at most"
    return f"- {text}: **{value:.3g} {unit}** (target {sign} {limit:g} {unit}: {'met' if met else 'MISSED'})"


def target_lines(results: Mapping[str, Any]) -> list[str]:
    """What `make bench` measured against the targets."""
    lines = []
    if rounds := costs_of(results):
        cpu = statistics.median(r["driftline"].cpu_us for r in rounds)
        ratio = statistics.median(r["obvious"].cpu_us / r["driftline"].cpu_us for r in rounds)
        first = rounds[0]["driftline"]
        growth = first.rss_last_mb / first.rss_first_mb
        over = f"memory over {first.events / 1e6:.1f} M events"
        lines += [
            judged("everything together, CPU an event", cpu, CPU_US_MAX, "us"),
            judged("times less CPU than the obvious program", ratio, RATIO_MIN, "x", more=True),
            f"- {over}: {first.rss_first_mb:.0f} MB at 10 %, {first.rss_last_mb:.0f} MB at 100 %",
            f"- at every tenth of them: {', '.join(f'{mb:.0f}' for mb in first.rss_curve_mb)} MB",
            judged("memory at 100 % over memory at 10 %", growth, RSS_GROWTH_MAX, "x"),
        ]
    if many := results.get("many"):
        work = f"{many['models']} models at {many['rate_offered']} events/s for {many['seconds']:.0f} s"
        ready = f"{many['start_to_ready_seconds']:.1f} s from start to ready"
        took = f"{many['recovery_seconds']:.2f} s a take-over, {ready}"
        lines += [
            f"- {work}: {many['rate_applied']:.0f} applied a second, {many['cpu_us']:.1f} us of CPU an event",
            judged("share of a core", many["cpu_share"], SHARE_MAX, "cores"),
            judged("resident memory", many["rss_mb_max"], RSS_MB_MAX, "MB"),
            f"- of it {many['rss_mb_ready']:.0f} MB when ready, {many['rss_mb_last']:.0f} MB at the end",
            f"- recovery after a kill -9: {many['recovery_bytes'] / 1e6:.2f} MB of state read back, {took}",
        ]
    if late := results.get("latency"):
        work = (
            f"{late['openings']} openings, {late['planted']} shifts planted, {late['rate_offered']} events/s"
        )
        delays = f"p95 {late['p95_seconds']:.2f} s, max {late['max_seconds']:.2f} s"
        lines += [
            f"- from the append of the deciding row to the alert readable: {work}; {delays}",
            judged("median from append to alert", late["median_seconds"], LATENCY_SECONDS_MAX, "s"),
        ]
    return lines


def bench_section(results: Mapping[str, Any]) -> list[str]:
    """Everything that `make bench` measured."""
    lines = [measured_at(results) + (" A short run." if results["quick"] else ""), ""]
    if rounds := costs_of(results):
        lines += [*throughput_lines(rounds), ""]
    if size := results.get("bytes_an_event"):
        lines += [
            f"Events have {size['ordered']:.0f} bytes ({size['shuffled']:.0f} in the second shape).",
            "",
        ]
    return [*lines, *target_lines(results)]


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/benchmarks.md, from the results by kind."""
    lines = [HEAD]
    peers, bench = results.get("peers"), results.get("bench")
    if peers:
        lines += ["## Beside other programs", "", *peers_section(peers)]
    if bench:
        lines += ["## Driftline by itself", "", *bench_section(bench), ""]
    if peers:
        lines += ["## What we lose at", "", *losses.lines(peers, bench)]
    return "\n".join(lines).rstrip() + "\n"
