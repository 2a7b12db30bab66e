"""The simulation: no seed breaks a promise, a seed repeats, and bugs brought in are seen."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from simulation import mutants, run
from simulation.mutants import Mutant
from simulation.patching import patched
from simulation.plan import make_plan

SEEDS: Final = 200
BLOCK: Final = 20  # seeds a test, so that a failure comes early
KNOWN: Final = Path(run.__file__).with_name("seeds.txt")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """The product's log of hundreds of deployments is of no use."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def _known() -> list[int]:
    lines = KNOWN.read_text(encoding="utf-8").splitlines()
    return [int(line.split()[0]) for line in lines if line.strip() and not line.startswith("#")]


def _holds(seed: int) -> None:
    result = run.simulate(seed)
    if result.violation is not None:
        run.show(result)  # the trace, and the command that repeats it
        pytest.fail(f"seed {seed}: {result.violation}")


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_no_seed_breaks_a_promise(first: int) -> None:
    """Invariants 1-9 at every moment, and everything drained once faults stop."""
    for seed in range(first, first + BLOCK):
        _holds(seed)


@pytest.mark.parametrize("seed", _known())
def test_seeds_that_found_something_stay_green(seed: int) -> None:
    """A bug that was found once is looked for for ever."""
    _holds(seed)


def test_a_seed_repeats() -> None:
    """The same seed gives the same events in the same order, another one does not."""
    first, again, other = run.simulate(11), run.simulate(11), run.simulate(12)
    assert first.trace == again.trace
    assert first.digest == again.digest != other.digest
    assert len(first.trace) > 50


@pytest.mark.parametrize("seed", [3, 11])
def test_clocks_that_jump_change_nothing(seed: int) -> None:
    """Wall clocks go an hour on and back, in all runs; the events are those of steady ones."""
    jumping, steady = run.simulate(seed), run.simulate(seed, jumps=False)
    assert jumping.violation is None
    assert jumping.trace == steady.trace
    assert jumping.transactions > 0


def test_a_full_disk_is_survived() -> None:
    """Writes wait or fail for seconds, in transactions too; afterwards every row counts once."""
    full = [seed for seed in range(60) if any(f.kind == "disk full" for f in make_plan(seed).faults)]
    refused = 0
    for seed in full:
        result = run.simulate(seed)
        assert result.violation is None, result.violation
        refused += result.faults["write refused"]
    assert len(full) >= 5
    assert refused > 100


def test_runs_are_not_empty() -> None:
    """Rows, alerts, transactions and faults really happen."""
    results = [run.simulate(seed) for seed in range(5)]
    assert sum(r.rows for r in results) > 5_000
    assert sum(r.alerts for r in results) >= 5
    assert sum(r.transactions for r in results) > 50
    assert sum(sum(r.faults.values()) for r in results) > 20


@pytest.mark.parametrize(
    ("mutant", "seed"),
    [
        (mutants.commit_before_the_acknowledgement, 0),
        (mutants.begin_a_new_chain_after_a_restart, 0),
        (mutants.apply_rows_again, 0),
        (mutants.ask_the_wall_clock, 0),
        (mutants.count_rows_of_aborted_transactions, 0),
        (mutants.store_alerts_in_a_second_transaction, 0),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_bug_brought_in_is_seen(mutant: Mutant, seed: int) -> None:
    """The simulation is able to fail; ``make mutants`` shows it for all of them."""
    assert run.simulate(seed).violation is None
    found = mutants.hunt(mutant, range(seed, seed + 3))
    assert found is not None


def test_mutants_leave_nothing_behind() -> None:
    """Each is taken back: what runs afterwards is the product again."""
    before = run.simulate(0).digest
    for mutant in mutants.MUTANTS:
        with patched() as patch:
            mutant(patch)
    assert run.simulate(0).digest == before
