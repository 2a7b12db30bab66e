"""The section "what we lose at" of docs/benchmarks.md: a line for whatever the results show to be worse.

A comparison that Driftline does not lose makes no line. Figures come from the results, or from the default
settings where these set a floor; the sentences only say what follows from them.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.programs import PEERS
from driftline.config.settings import CheckpointSettings, IngestSettings

NAMES: Final = {
    "obvious": "Faust + river",
    "aiokafka": "the aiokafka loop",
    "confluent": "the confluent-kafka loop",
    "jvm": "the JVM program",
}
WHAT_THERE_IS_TO_RUN: Final = (
    "**What there is to run.** A peer is one file and a consumer group. Driftline needs topics of its own "
    "and a broker with transactions, and writes every accepted row to Kafka a second time."
)
Results = Mapping[str, Any]


def lines(peers: Results, bench: Results | None) -> list[str]:
    """Markdown, a line a loss; ``bench`` is None when `make bench` left no results."""
    told = (
        _cpu(peers),
        _rate(peers),
        _cold_start(peers),
        _warm_start(peers),
        _memory(peers),
        _small_topic(peers),
        _many_models(bench or {}),
        _latency(bench or {}),
        _two_stages(bench or {}),
        WHAT_THERE_IS_TO_RUN,
    )
    return [f"- {line}" for line in told if line]


def _medians(peers: Results, value: Callable[[Results, str], float]) -> dict[str, float]:
    """By peer: the median over rounds of something of that round."""
    return {peer.key: statistics.median(value(costs, peer.key) for costs in peers["costs"]) for peer in PEERS}


def _ratios(peers: Results, name: str) -> dict[str, float]:
    """By peer: theirs over ours, in the same round."""
    return _medians(peers, lambda costs, key: costs[key][name] / costs["driftline"][name])


def _driftline(results: Results, name: str) -> float:
    return float(statistics.median(costs["driftline"][name] for costs in results["costs"]))


def _listed(values: Mapping[str, float], form: str) -> str:
    """``the JVM program 0.5, Faust + river 2``: smallest first."""
    ordered = sorted(values.items(), key=lambda item: item[1])
    return ", ".join(f"{NAMES[key]} {value:{form}}" for key, value in ordered)


def _below(values: Mapping[str, float], limit: float) -> dict[str, float]:
    return {key: value for key, value in values.items() if value < limit}


def _cpu(peers: Results) -> str:
    cheaper = _below(_ratios(peers, "cpu_us"), 1)
    if not cheaper:
        return ""
    return (
        f"**CPU an event.** Cheaper than Driftline (CPU of theirs over ours): {_listed(cheaper, '.2f')}. "
        "They do less; who needs no more than that gets it for less."
    )


def _rate(peers: Results) -> str:
    faster = {key: ratio for key, ratio in _ratios(peers, "rate").items() if ratio > 1}
    if not faster:
        return ""
    return (
        f"**One process on a backlog.** Faster in wall time (their rate over ours): "
        f"{_listed(faster, '.2f')}. Both of Driftline's stages share one process here."
    )


def _cold_start(peers: Results) -> str:
    cold = peers["cold"]
    return (
        "**Cold start.** The first start on a new machine or version compiles the kernels: "
        f"{cold['seconds']:.0f} s until ready, {cold['cpu_seconds']:.0f} s of CPU. The peers compile nothing "
        "before they begin (the JVM compiles while it warms up)."
    )


def _warm_start(peers: Results) -> str:
    own = _driftline(peers, "start_seconds")
    faster = _below(_medians(peers, lambda costs, key: costs[key]["start_seconds"]), own)
    if not faster:
        return ""
    return (
        f"**Warm start.** From the start of the process to the first event: Driftline {own:.1f} s, "
        f"{_listed(faster, '.1f')} s."
    )


def _memory(peers: Results) -> str:
    own = _driftline(peers, "rss_peak_mb")
    smaller = _below(_medians(peers, lambda costs, key: costs[key]["rss_peak_mb"]), own)
    if not smaller:
        return ""
    return f"**Memory.** At its peak Driftline has {own:.0f} MB, {_listed(smaller, '.0f')} MB."


def _small_topic(peers: Results) -> str:
    small = peers["small"]
    own, loop = small["driftline"], small["aiokafka"]
    if own["cpu_share"] <= loop["cpu_share"]:
        return ""
    return (
        f"**Small topics.** At {small['rate']} events/s Driftline takes {own['cpu_share']:.1%} of a core and "
        f"{own['rss_mb']:.0f} MB, the aiokafka loop {loop['cpu_share']:.1%} and {loop['rss_mb']:.0f} MB. "
        f"Flushes, checkpoints and /metrics cost the same for few events as for many: {own['cpu_us']:.0f} us "
        f"an event against {_driftline(peers, 'cpu_us'):.1f} on a backlog."
    )


def _many_models(bench: Results) -> str:
    many = bench.get("many")
    if not many or not bench["costs"]:
        return ""
    backlog = _driftline(bench, "cpu_us")
    if many["cpu_us"] <= backlog:
        return ""
    return (
        f"**Many small models.** {many['models']} models at {many['rate_offered']:,} events/s in all cost "
        f"{many['cpu_us']:.0f} us of CPU an event, {many['cpu_us'] / backlog:.1f} times that of one model's "
        "backlog: few rows share the fixed cost of a block."
    )


def _latency(bench: Results) -> str:
    flush = IngestSettings().flush_interval_seconds
    urgent = 1 / CheckpointSettings().urgent_per_second_max
    told = (
        f"**Latency.** An event waits up to {flush:g} s for a flush (`ingest.flush_interval_seconds`), an "
        f"alert for a transaction, at most one every {urgent:g} s (`checkpoint.urgent_per_second_max`). A "
        "plain loop can tell at once."
    )
    if late := bench.get("latency"):
        told += f" Measured from append to alert: median {late['median_seconds']:.2f} s."
    return told


def _two_stages(bench: Results) -> str:
    rounds = [costs for costs in bench.get("costs", ()) if "ingest" in costs and "detect" in costs]
    if not rounds:
        return ""
    ingest, detect = (statistics.median(r[role]["cpu_us"] for r in rounds) for role in ("ingest", "detect"))
    return (
        f"**Exactly once.** It takes two stages with a topic between them: alone, the first costs "
        f"{ingest:.1f} us an event and the second {detect:.1f}. A loop that may lose or repeat rows needs no "
        "second topic and no transactions."
    )
