"""The peers do their work on the bench's own events, and what is missing for the JVM's is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import programs
from bench.events import NUMERIC, make_pool
from bench.measure import Cost
from bench.peers import faust_river, handwritten, meter

EVENT = make_pool("m", size=1).batch(0, 1, 0.0)[0]


def shifted(count: int, number: float) -> list[bytes]:
    """Events whose numeric features all have one value."""
    event = json.loads(EVENT)
    event["features"] |= dict.fromkeys(NUMERIC, number)
    return [json.dumps(event).encode()] * count


def test_hand_written_loops_see_all_numeric_features() -> None:
    """A jump of every feature is found at least once for each; a first event finds nothing."""
    work = handwritten.Work()
    work.run([EVENT])
    assert work.detections == 0
    work.run(shifted(500, 0.0) + shifted(500, 50.0))
    assert work.detections >= len(NUMERIC)


def test_the_obvious_program_does_the_same_work() -> None:
    """Same detections as the hand-written loops on the same events."""
    values = [EVENT, *shifted(500, 0.0), *shifted(500, 50.0)]
    work, detectors = handwritten.Work(), faust_river.Detectors()
    work.run(values)
    for value in values:
        detectors.update(json.loads(value)["features"])
    assert work.detections == detectors.detections > 0


def test_the_meter_leaves_the_warm_up_out(capfd: pytest.CaptureFixture[str]) -> None:
    """Chunks before the warm-up's end are not measured, and the measured part has all events asked for."""
    measured = meter.Meter(meter.Task("b", "t", warm=5, events=10))
    done = []
    for _ in range(5):
        measured.before()
        done.append(measured.after(4))
    assert done == [False, False, False, False, True]
    measured.result(detections=3)
    cost = Cost.of_peer(json.loads(capfd.readouterr().out))
    assert (cost.seen, cost.events, cost.detections) == (20, 12, 3)
    assert cost.rss_peak_mb > 1


@pytest.mark.parametrize(("text", "major"), [("javac 17.0.15", 17), ("javac 1.8.0_402", 8), ("nonsense", 0)])
def test_javac_version(text: str, major: int) -> None:
    """Both ways in which Java has counted."""
    assert programs.javac_version(text) == major


def test_a_missing_jdk_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without javac the build does not begin."""
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(programs.BuildError, match=r"no javac.*apt install openjdk-17-jdk-headless"):
        programs.build_jvm()


def test_jvm_versions_come_from_the_pom() -> None:
    """What the report says of the JVM program is what Maven builds."""
    versions = programs.jvm_versions()
    assert all(versions[name][0].isdigit() for name in programs.POM_VERSIONS)
