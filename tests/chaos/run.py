"""``python tests/chaos/run.py --seconds 180 --seed 1``: faults under traffic, then verify.

Supervised workers on a real Kafka; the verifier reads topics and state, never a worker's word. Exit code 0
only if no row is lost or counted twice, no alert is lost or there twice, all is drained, enough faults
happened, and every killed worker was recovered from in time. With ``--control`` the program under test is the
textbook Faust table, and the exit code is 0 only if the verifier sees it lose or double something.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections import Counter
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from chaos import control
from chaos.deployment import BROKER, MAILBOX_PARTITIONS, Product
from chaos.driver import Drive, Ground, Times, ground, inflictor, needs_proxy
from chaos.faults import DEFAULT_KINDS, KINDS, parse_kinds
from chaos.pauses import pauses
from chaos.saying import begin, commit, say
from chaos.supervisor import Supervisor, layout
from chaos.tail import PositionTail
from chaos.traffic import Plan, make_plan
from chaos.verdict import Verdict, judge

MODELS: Final = 10
RECOVERY_SECONDS_MAX: Final = 30.0
SECONDS_A_FAULT_MAX: Final = 20.0  # what a run without --faults-min must keep up at least
KILLS: Final = frozenset({"kill", "flush", "txn"})


def faults_min(options: argparse.Namespace) -> int:
    """How many faults must have happened."""
    return (
        max(1, int(options.seconds // SECONDS_A_FAULT_MAX))
        if options.faults_min is None
        else options.faults_min
    )


def recoveries(drive: Drive, moves: dict[str, list[float]]) -> bool:
    """Print the standstills; whether each kill that no later fault prolonged was recovered from in time."""
    found = pauses(drive.inflictor.faults, moves)
    for kind in sorted({fault.kind for fault, _, _ in found}):
        each = [seconds for fault, seconds, _ in found if fault.kind == kind]
        say(f"  after {kind}: p50 {statistics.median(each):.1f} s, max {max(each):.1f} s (n={len(each)})")
    kills = [(seconds, alone) for fault, seconds, alone in found if fault.kind in KILLS]
    if kills:
        every = [seconds for seconds, _ in kills]
        alone = [seconds for seconds, alone in kills if alone]
        text = f"recovery p50 {statistics.median(every):.1f} s, max {max(every):.1f} s ({len(kills)} kill -9)"
        if len(alone) < len(every):
            text += f"; max {max(alone, default=0.0):.1f} s of the {len(alone)} that no later fault prolonged"
        say(text)
    return all(seconds < RECOVERY_SECONDS_MAX for seconds, alone in kills if alone)


def tell_faults(drive: Drive) -> None:
    """Print what happened to the program under test."""
    faults = drive.inflictor.faults
    kinds = Counter(f"{fault.kind} ({fault.detail})" if fault.detail else fault.kind for fault in faults)
    say(f"workers {[roles or 'all' for roles in drive.supervisor.slots]}")
    say(f"models {len(drive.plan.models)}, {len(drive.plan.quiet)} of them fell quiet")
    for kind, count in sorted(kinds.items()):
        say(f"  {count} x {kind}")
    say(f"faults that found no victim {drive.inflictor.missed}, sends given up {drive.refused}")
    say(f"exits of workers {dict(drive.supervisor.exits)}")


def report(drive: Drive, verdict: Verdict, moves: dict[str, list[float]], least: int) -> bool:
    """Print what was found; whether every promise held."""
    faults = drive.inflictor.faults
    tell_faults(drive)
    verdict.details()
    say("")
    say(f"rows {verdict.expected.records}")
    say(f"faults {len(faults)}: {dict(sorted(Counter(fault.kind for fault in faults).items()))}")
    verdict.zeros()
    in_time = recoveries(drive, moves)
    say(f"lag back to 0 after the faults in {drive.drains[0]:.1f} s")
    if verdict.empty or len(faults) < least:
        say(f"nothing was proved: {len(faults)} of at least {least} faults, or no alert, or no row")
        return False
    return verdict.clean and in_time


async def chaos(options: argparse.Namespace, base: Ground, folder: Path, plan: Plan) -> bool:
    """Driftline under faults."""
    product = Product(
        base.bootstrap, base.address, folder, plan.models, options.seed, labelled=not options.no_labels
    )
    await asyncio.to_thread(product.prepare)
    drive = assemble(options, base, folder, plan, product)
    tail = PositionTail(
        base.bootstrap, product.topic("state"), MAILBOX_PARTITIONS, product.settings.group_id("ingest")
    )
    stop = asyncio.Event()
    tailing = asyncio.create_task(tail.run(stop))
    try:
        await drive.run()
    except TimeoutError as error:
        tell_faults(drive)
        say(f"it did not drain: {error}")
        return False
    finally:
        stop.set()
        await tailing
    good = report(drive, await judge(product), tail.moves, faults_min(options))
    product.admin.close()
    return good


async def controlled(options: argparse.Namespace, base: Ground, folder: Path, plan: Plan) -> bool:
    """The textbook program under the same faults: it must be seen to fail."""
    subject = control.Textbook(base.bootstrap, base.address, folder, plan.models)
    await asyncio.to_thread(subject.prepare)
    drive = assemble(options, base, folder, plan, subject)
    try:
        await drive.run()
    except TimeoutError as error:
        say(f"the control did not drain, and what it left counts as lost: {error}")
    tell_faults(drive)
    found = await control.judge(subject)
    subject.admin.close()
    say("")
    say(f"rows {found.rows_due}")
    say(f"faults {len(drive.inflictor.faults)}")
    say(f"rows lost {found.rows.lost}")
    say(f"rows counted twice {found.rows.twice}")
    say(f"alerts lost {found.alerts.lost}")
    say(f"alerts twice {found.alerts.twice + found.alerts.unexpected}")
    say(f"in all {found.total}")
    if not found.total:
        say("the control came out clean: these faults could not have shown a loss either")
    return found.total > 0


def assemble(
    options: argparse.Namespace, base: Ground, folder: Path, plan: Plan, subject: Product | control.Textbook
) -> Drive:
    """The parts of a run around what is under test."""
    everything = set(options.faults) == set(KINDS)
    slots = layout(options.workers, split=options.split, mixed=everything)
    if isinstance(subject, control.Textbook):
        slots, names = layout(options.workers, split=False, mixed=False), subject.names
    else:
        group = subject.settings.group_id("ingest").encode()
        transactional = f"{subject.settings.topics.prefix}-{subject.settings.group}-".encode()
        names = (subject.topic("mailbox").encode(), group, transactional)
    supervisor = Supervisor(subject.launch, folder, slots)
    return Drive(
        subject=subject,
        ground=base,
        supervisor=supervisor,
        inflictor=inflictor(supervisor, base, options.seed, names),
        kinds=options.faults,
        plan=plan,
        seed=options.seed,
        rate=options.rate,
        times=Times(options.seconds, options.calm_seconds, options.compaction_seconds),
    )


async def main(options: argparse.Namespace) -> int:
    """Run, verify, report."""
    what = f"seed {options.seed}, {options.seconds:.0f} s, faults {','.join(options.faults)}"
    folder = begin("control" if options.control else "chaos", what, options.folder)
    plan = make_plan(MODELS, options.seconds, options.seed)
    async with ground(options.kafka, BROKER, proxied=needs_proxy(options.faults)) as base:
        good = await (controlled if options.control else chaos)(options, base, folder, plan)
    if options.control:
        say("the control fails, as it must" if good else "FAILED: the control is clean")
    else:
        say(
            "all promises held"
            if good
            else f"FAILED: seed {options.seed}, commit {commit()}, logs in {folder}"
        )
    return 0 if good else 1


def parse(arguments: list[str]) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=180.0, help="how long faults are injected under traffic")
    add("--seed", type=int, default=1)
    kinds = "; ".join(f"{kind}: {meaning}" for kind, meaning in KINDS.items())
    add(
        "--faults", type=parse_kinds, default=DEFAULT_KINDS,
        help=f"comma list, or all, which has 3 workers of mixed roles. {kinds}",
    )  # fmt: skip
    add("--faults-min", type=int, help="fewer is a failure; by default one in 20 s")
    add("--workers", type=int, help="by default 2, and 3 with --faults all")
    add("--split", action="store_true", help="ingest and detect in processes of their own")
    add("--no-labels", action="store_true", help="events alone")
    add("--control", action="store_true", help="the textbook Faust program instead, which has to fail")
    add("--rate", type=int, default=1_500, help="records a second")
    add("--compaction-seconds", type=float, default=20.0, help="trickle while the cleaner runs")
    add(
        "--calm-seconds", type=float, default=12.0, help="traffic after the last fault, to see its standstill"
    )
    add("--kafka", default="auto", help="auto, java, docker or HOST:PORT")
    add("--folder", default="", help="where to put the folder with logs and configuration")
    options = parser.parse_args(arguments)
    if options.workers is None:
        options.workers = 3 if set(options.faults) == set(KINDS) else 2
    return options


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main(parse(sys.argv[1:]))))
