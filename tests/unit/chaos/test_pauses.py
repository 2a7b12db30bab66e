"""A standstill must be told in full, and laid at the door of the fault that began it."""

from __future__ import annotations

from chaos.faults import Fault
from chaos.pauses import longest_pause, pauses


def test_longest_pause() -> None:
    """It counts from the fault, or its own begin if that is later, and not if another fault began it."""
    moves = {"a": [0.0, 1.0, 2.0, 14.0, 15.0], "b": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]}
    assert longest_pause(2.5, 20.0, moves, settle=8) == (2.5, 14.0)
    assert longest_pause(1.5, 20.0, moves, settle=8) == (2.0, 14.0)
    assert longest_pause(0.0, 1.5, moves, settle=8) == (0.0, 1.0)
    assert longest_pause(14.5, 20.0, moves, settle=8) == (14.5, 15.0)


def test_no_pause() -> None:
    """After the last commit that was seen there is none to tell of."""
    assert longest_pause(10.0, 20.0, {"a": [0.0, 5.0, 10.0]}, settle=8) == (10.0, 10.0)


def test_pauses_know_whether_the_next_fault_prolonged_them() -> None:
    """A standstill that ended after the next fault began is not the first one's alone."""
    moves = {"a": [0.0, 1.0, 9.0, *range(10, 20), 30.0]}
    kill = Fault("kill", 1.5, 1.5)
    apart, close = Fault("broker", 19.5, 22.0), Fault("net", 8.0, 9.0)
    assert pauses([kill, apart], moves) == [(kill, 7.5, True), (apart, 10.5, True)]
    assert [alone for _, _, alone in pauses([kill, close], moves)] == [False, True]
