"""docs/benchmarks.md is what the generator makes of the committed results, and losses are told."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from bench import losses, report, results
from bench.measure import Cost
from bench.programs import PEERS


def cost(cpu_us: float, **more: Any) -> dict[str, Any]:
    """What one program took in one round."""
    told = {"events": 1_000, "rate": 1e6 / cpu_us, "start_seconds": 1.0, "start_cpu_seconds": 1.0}
    return Cost(cpu_us=cpu_us, **(told | more)).to_dict()


def peers(**cpu_us: float) -> dict[str, Any]:
    """Results of two rounds; programs not named take 100 us, Driftline 10."""
    costs = {
        peer.key: cost(cpu_us.get(peer.key, 100.0), detections=7, seen=1_100, rss_peak_mb=900.0)
        for peer in PEERS
    }
    costs["driftline"] = cost(10.0, rss_peak_mb=400.0)
    share = {"cpu_share": 0.01, "cpu_us": 100.0, "rss_mb": 100.0}
    return {
        "machine": {
            "commit": "abc",
            "started": "then",
            "cpu": "2 x Z",
            "load_before": 0.1,
            "versions": {"a": "1"},
        },
        "events": 1_000,
        "bytes_an_event": 656.0,
        "jvm": {"flags": ["-Xmx1m"], "versions": {"MOA": "1"}},
        "costs": [costs, copy.deepcopy(costs)],
        "cold": {"seconds": 50.0, "cpu_seconds": 40.0},
        "small": {"rate": 100, "seconds": 20.0, "driftline": share, "aiokafka": share},
    }


def test_the_page_is_made_of_the_committed_results() -> None:
    """No figure is written by hand; `make bench-peers ARGS=--write-docs` writes both."""
    stored = results.load()
    assert {"bench", "peers"} <= set(stored)
    assert results.PAGE.read_text(encoding="utf-8") == report.page(stored)


def test_every_peer_has_a_row_with_its_ratio() -> None:
    """The ratio is that of the same round: theirs over Driftline's."""
    measured = peers(jvm=5.0)
    measured["costs"][1]["jvm"]["cpu_us"] = 20.0
    rows = [line for line in report.peers_table(measured) if line.startswith("| ")][1:]
    assert [row.split(" | ")[0][2:] for row in rows] == list(report.PEER_PROGRAMS.values())
    assert "| 12.5 [5.0 - 20.0] | 1.25 [0.50 - 2.00] |" in rows[3]
    assert "| 10.0 [10.0 - 10.0] | 1 |" in rows[4]


def test_a_peer_that_takes_less_is_told() -> None:
    """A cheaper and faster peer makes two lines; one that is neither makes none."""
    told = "\n".join(losses.lines(peers(jvm=5.0), None))
    assert "Cheaper than Driftline (CPU of theirs over ours): the JVM program 0.50." in told
    assert "(their rate over ours): the JVM program 2.00." in told
    assert "aiokafka" not in told


def test_what_is_not_lost_makes_no_line() -> None:
    """Memory, warm start and small topics are told only where a peer does better."""
    told = "\n".join(losses.lines(peers(), None))
    for absent in ("CPU an event", "backlog", "Warm start", "Memory", "Small topics"):
        assert absent not in told
    worse = peers()
    for costs in worse["costs"]:
        costs["driftline"] |= {"start_seconds": 3.0, "rss_peak_mb": 1_000.0}
    worse["small"]["driftline"] = {"cpu_share": 0.2, "cpu_us": 2_000.0, "rss_mb": 300.0}
    told = "\n".join(losses.lines(worse, None))
    assert "Driftline 3.0 s, Faust + river 1.0" in told
    assert "At its peak Driftline has 1000 MB" in told
    assert "At 100 events/s Driftline takes 20.0% of a core" in told


def test_what_make_bench_shows_is_told_too() -> None:
    """Many models, latency and the cost of two stages come from the other results."""
    bench = {
        "costs": [{"driftline": cost(10.0), "ingest": cost(6.0), "detect": cost(4.5)}],
        "many": {"models": 50, "rate_offered": 5_000, "cpu_us": 60.0},
        "latency": {"median_seconds": 0.29},
    }
    told = "\n".join(losses.lines(peers(), bench))
    assert "60 us of CPU an event, 6.0 times that of one model's backlog" in told
    assert "Measured from append to alert: median 0.29 s." in told
    assert "alone, the first costs 6.0 us an event and the second 4.5" in told


def test_results_are_stored_beside_the_page_only_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run without --write-docs leaves the committed results and the page alone."""
    monkeypatch.setattr(results, "FOLDER", tmp_path / "results")
    monkeypatch.setattr(results, "PAGE", tmp_path / "benchmarks.md")
    path = results.store("peers", peers(), tmp_path / "logs", docs=False)
    assert path == tmp_path / "logs" / "peers.json"
    assert not results.PAGE.exists()
    results.store("peers", peers(), tmp_path / "logs", docs=True)
    assert results.PAGE.read_text(encoding="utf-8") == report.page(results.load(tmp_path / "results"))
