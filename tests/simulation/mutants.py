"""Twenty-one protocol bugs, brought into the product one at a time: the simulation has to see each of them.

``python tests/simulation/mutants.py`` prints which check caught which mutant at which seed. Each function
brings one bug in; its docstring says which promise the bug breaks.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from driftline.decide import partition, store
from driftline.decide.partition import MailboxPartition
from driftline.ingest import cursors, service
from driftline.ingest.flush import Packer
from driftline.ingest.service import IngestService
from driftline.stream import agent, restore
from driftline.stream.agent import Owner
from driftline.stream.checkpoint import Committer
from simulation.patching import Patch, patched
from simulation.run import Result, simulate

SEEDS_MAX: Final = 300  # a mutant that no seed up to here shows counts as not caught
Mutant = Callable[[Patch], None]


# --- stage 1


def commit_before_the_acknowledgement(patch: Patch) -> None:
    """A raw offset is committed only after its rows are in the mailbox."""
    patch.text(
        IngestService, "_deliver",
        ("await asyncio.gather(*sent)\n            await self._commit(flush)",
         "await self._commit(flush)\n            await asyncio.gather(*sent)"),
    )  # fmt: skip


def commit_what_was_fetched_on_a_revoke(patch: Patch) -> None:
    """A revoke drops what was only fetched; the textbook commits it."""
    patch.text(
        IngestService, "revoke",
        ("    task = self._in_flight\n",
         ("    if gone:\n"
         "        read = {TopicPartition(s.topic, s.partition): c.next for s, c in gone.items()}\n"
         "        await self._consumer.commit(read)\n"
         "    task = self._in_flight\n")),
    )  # fmt: skip


def go_on_from_memory_after_a_rebalance(patch: Patch) -> None:
    """After a rebalance the group's commit counts, not what this worker had read."""
    patch.text(
        IngestService, "revoke",
        ("gone, self._cursors = self._cursors, {}", ("gone, self._cursors = self._cursors, {}\n"
         "    self._kept = gone")),
    )  # fmt: skip
    patch.text(
        IngestService, "assign",
        ("committed.get(tp),", ("Committed(self._kept[Source(*tp)].next)"
         " if Source(*tp) in getattr(self, '_kept', {}) else committed.get(tp),")),
    )  # fmt: skip


def begin_without_a_commit(patch: Patch) -> None:
    """Where a new raw partition begins is committed before anything of it is sent (this one was real)."""
    patch.text(IngestService, "_note_begun", ("if noted:", "if False:"))


def send_no_empty_envelopes(patch: Patch) -> None:
    """Every mailbox partition learns how far each raw partition has come."""
    patch.text(
        Packer, "_pack",
        ("    whole = Envelope(", ("    if not some_blocks and not some_commands:\n"
         "            continue\n        whole = Envelope(")),
    )  # fmt: skip


def always_flag_a_start(patch: Patch) -> None:
    """START says that nothing was committed before; else stage 2 cannot tell a lost begin."""
    patch.text(IngestService, "_begin", ("start.offset, start.flags,", "start.offset, start.flags | 1,"))


def begin_a_new_chain_after_a_restart(patch: Patch) -> None:
    """The first link after a restart follows the commit; with none before it no hole can be seen."""
    patch.text(
        cursors, "progress",
        ("prev_hi=cursor.next - 1", "prev_hi=cursor.next - 1 if cursor.record_time >= 0 else -1"),
        also=(service,),
    )  # fmt: skip


# --- stage 2: taking over


def do_not_fence(patch: Patch) -> None:
    """The transactional id belongs to the mailbox partition: its next owner fences the former one."""
    patch.text(Committer, "__init__", ("id(partition),", "id(partition) + clients.process.name,"))


def restore_before_the_fence(patch: Patch) -> None:
    """State is read only when nobody else can write any more."""
    patch.text(
        Owner, "_take_over",
        ("await asyncio.gather(*(committer.open() for committer in committers.values()))\n", "\n"),
        ("        offsets = {p: checkpointer",
         ("        await asyncio.sleep(3.0)\n"  # a busy machine: the former owner has time to store
         "        await asyncio.gather(*(committer.open() for committer in committers.values()))\n"
         "        offsets = {p: checkpointer")),
    )  # fmt: skip


def restore_what_was_not_committed(patch: Patch) -> None:
    """A take-over sees committed transactions only."""
    patch.text(restore, "read_state", ('"read_committed"', '"read_uncommitted"'), also=(agent,))


def trust_the_commit_not_the_state(patch: Patch) -> None:
    """Where to go on is stored with the state; the group's commit follows for lag displays."""
    patch.text(
        Owner, "_restore",
        ("    offset = partition.next_offset\n",
         "    partition.position.next = committed or start\n    offset = partition.next_offset\n"),
    )  # fmt: skip


def count_rows_of_aborted_transactions(patch: Patch) -> None:
    """Rows of an aborted transaction never happened."""
    patch.text(IngestService, "run", ('"read_committed"', '"read_uncommitted"'))


# --- stage 2: applying


def apply_past_a_hole(patch: Patch) -> None:
    """A mailbox offset later than the next one stops the process."""
    patch.text(MailboxPartition, "apply", ("if offset > self.position.next:", "if False:"))


def do_not_notice_a_cut_mailbox(patch: Patch) -> None:
    """A mailbox that was recreated stops the worker (this one was real)."""
    patch.text(Owner, "check_end", ("if self._closing or", "if True or"))


def ask_the_wall_clock(patch: Patch) -> None:
    """Time comes in records; the clock of a worker decides nothing."""
    patch.text(
        Owner, "apply",
        ("owned.partition.apply(offset, timestamp_ms, value)",
         "owned.partition.apply(offset, int(time.time() * 1000), value)"),
    )  # fmt: skip


def apply_rows_again(patch: Patch) -> None:
    """A row at or below its raw partition's watermark is never applied again."""
    patch.text(partition, "trim", ("block.offset > before[block.source]", "block.offset > -1"))


# --- stage 2: storing


def store_alerts_in_a_second_transaction(patch: Patch) -> None:
    """State and alerts become visible together."""
    patch.text(
        Committer, "commit",
        ("    for topic, records in ",
         ("    if encoded.alerts:\n"
         "        await asyncio.gather(*sent)\n"
         "        await producer.commit_transaction()\n"
         "        await producer.begin_transaction()\n"
         "    for topic, records in ")),
    )  # fmt: skip


def forget_the_actions(patch: Patch) -> None:
    """Actions become visible with the state that asked for them."""
    patch.text(Committer, "commit", ("(self._actions, encoded.actions)", "(self._actions, ())"))


def store_the_position_in_a_second_transaction(patch: Patch) -> None:
    """State and next offset become visible together."""
    patch.text(
        Committer, "commit",
        ("for key, value in encoded.rows\n", "for key, value in encoded.rows[:-1]\n"),
        ("    for topic, records in ",
         ("    await asyncio.gather(*sent)\n"
         "    await producer.commit_transaction()\n"
         "    await producer.begin_transaction()\n"
         "    key, value = encoded.rows[-1]\n"
         "    sent = [await producer.send(self._state, value, key=key, partition=self._partition)]\n"
         "    for topic, records in ")),
    )  # fmt: skip


def commit_a_transaction_with_failed_sends(patch: Patch) -> None:
    """A transaction is committed only when each of its sends was acknowledged."""
    patch.text(Committer, "commit", ("await asyncio.gather(*sent)", "pass"))


def forget_all_but_one_changed_model(patch: Patch) -> None:
    """A checkpoint holds every model that has changed."""
    patch.text(
        MailboxPartition,
        "checkpoint",
        ("for name in self._dirty_models]", "for name in list(self._dirty_models)[:1]]"),
    )


def copy_after_the_barrier(patch: Patch) -> None:
    """State is copied at the offset that is stored with it, not when its bytes are made."""
    patch.text(
        store, "model_rows",
        ("d.recent.copy()", "d.recent"),
        ("d.recent_n.copy()", "d.recent_n"),
        ("d.plan[part].copy()", "d.plan[part]"),
        ("d.state[part].copy()", "d.state[part]"),
    )  # fmt: skip


MUTANTS: Final[tuple[Mutant, ...]] = (
    commit_before_the_acknowledgement,
    commit_what_was_fetched_on_a_revoke,
    go_on_from_memory_after_a_rebalance,
    begin_without_a_commit,
    send_no_empty_envelopes,
    always_flag_a_start,
    begin_a_new_chain_after_a_restart,
    do_not_fence,
    restore_before_the_fence,
    restore_what_was_not_committed,
    trust_the_commit_not_the_state,
    count_rows_of_aborted_transactions,
    apply_past_a_hole,
    do_not_notice_a_cut_mailbox,
    ask_the_wall_clock,
    apply_rows_again,
    store_alerts_in_a_second_transaction,
    forget_the_actions,
    store_the_position_in_a_second_transaction,
    commit_a_transaction_with_failed_sends,
    forget_all_but_one_changed_model,
    copy_after_the_barrier,
)


# Seeds that are tried first: races that take many seeds to come about. All others start at 0.
SHOWN_BY: Final[Mapping[Mutant, int]] = {
    begin_without_a_commit: 228,
    do_not_fence: 25,
    apply_past_a_hole: 781,
    do_not_notice_a_cut_mailbox: 181,
    restore_before_the_fence: 180,
    restore_what_was_not_committed: 1,
    trust_the_commit_not_the_state: 6,
    forget_all_but_one_changed_model: 5,
    commit_a_transaction_with_failed_sends: 1,
}


def hunt(mutant: Mutant, seeds: Iterable[int]) -> Result | None:
    """The first seed that shows a mutant."""
    with patched() as patch:
        mutant(patch)
        for seed in seeds:
            result = simulate(seed)
            if result.violation is not None:
                return result
    return None


def main() -> int:
    """The command line; 0 when all were caught."""
    parser = argparse.ArgumentParser(description="Brings protocol bugs in and looks whether they are seen.")
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help="at most so many seeds a mutant")
    parser.add_argument("--only", default="", help="mutants whose name holds this")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    chosen = [mutant for mutant in MUTANTS if arguments.only in mutant.__name__]
    caught = 0
    print(f"{'mutant':<46}{'caught by':<18}at seed")
    for mutant in chosen:
        first = [SHOWN_BY[mutant]] if mutant in SHOWN_BY else []
        result = hunt(mutant, [*first, *range(arguments.seeds)])
        if result is None or result.violation is None:
            print(f"{mutant.__name__:<46}{'NOT CAUGHT':<18}of {arguments.seeds}", flush=True)
            continue
        caught += 1
        print(f"{mutant.__name__:<46}{result.violation.check:<18}{result.seed}", flush=True)
    print(f"{caught} of {len(chosen)}")
    return int(caught != len(chosen))


if __name__ == "__main__":
    sys.exit(main())
