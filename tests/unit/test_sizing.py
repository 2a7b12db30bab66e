"""Partitions and workers for an event rate."""

from __future__ import annotations

import pytest

from driftline.sizing import PARTITIONS_MAX, Load, propose


def test_a_small_topic_needs_one_worker() -> None:
    """A hundred events a second leave a core idle, and four partitions let it grow."""
    found = propose(Load(100.0, 1, 20))
    assert (found.workers, found.mailbox_partitions, found.input_partitions) == (1, 4, 4)


@pytest.mark.parametrize("rate", [1e3, 1e5, 1e6, 5e6])
def test_partitions_spread_evenly_and_leave_room(rate: float) -> None:
    """Every worker has as many partitions as another, and their number can be doubled."""
    found = propose(Load(rate, 50, 20))
    assert found.mailbox_partitions % found.workers == 0
    assert found.mailbox_partitions >= 2 * found.workers
    assert found.cores <= found.workers / 2


def test_many_models_need_partitions_too() -> None:
    """Five thousand models do not fit into the partitions that their events would need."""
    found = propose(Load(1_000.0, 5_000, 20))
    assert found.mailbox_partitions == 10
    assert found.memory_mb > 5_000


def test_no_proposal_is_above_the_limit() -> None:
    """`topics create` would refuse more."""
    assert propose(Load(1e9, 1, 500)).mailbox_partitions == PARTITIONS_MAX
