"""How each kind of fault is done to a world.

Owns: one function a kind, found by name. A fault that finds nothing to hurt (no worker runs) does nothing and
is not counted.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Final

from driftline.decide.partition import next_key
from driftline.ingest.service import BEGUN
from simulation.plan import RAW, TRAFFIC_SECONDS, Fault
from simulation.traffic import Traffic
from simulation.world import Worker, World

PAUSE_STEPS_MAX: Final = 200
SLOW_RATIO: Final = 0.3
CRASH_STEPS_MAX: Final = 600  # callbacks until a crash: it may be at any await
QUIET_MS: Final = 5_000  # what is younger is not compacted
TOMBSTONES_MS: Final = 30_000  # longer than a restore takes, as delete.retention.ms is


class Faults:
    """Does what the plan says.

    Args:
        world: to whom.
        traffic: for faults of the rows.
        seed: of the dice for details.
    """

    def __init__(self, world: World, traffic: Traffic, seed: int) -> None:
        self._world, self._traffic = world, traffic
        self._dice = random.Random(seed)
        self._disk_dice = random.Random(f"disk full {seed}")  # of its own: it changes no other fault
        self.stopped_at: float | None = None  # when something happened after which the deployment must stop
        self._kinds: dict[str, Callable[[], bool]] = {
            "crash": self._crash,
            "pause": self._pause,
            "terminate": self._terminate,
            "rebalance": self._rebalance,
            "silence": self._silence,
            "slow": self._slow,
            "sends fail": self._sends_fail,
            "commits fail": self._commits_fail,
            "disk full": self._disk_full,
            "echo": self._echo,
            "aborted rows": self._aborted_rows,
            "late rows": self._late_rows,
            "compaction": self._compaction,
            "retention": self._retention,
            "raw topic recreated": self._raw_recreated,
            "mailbox recreated": self._mailbox_recreated,
            "raw overrun": self._raw_overrun,
            "mailbox overrun": self._mailbox_overrun,
            "state lost": self._state_lost,
        }

    def schedule(self) -> None:
        """Put everything of the plan on the clock."""
        plan = self._world.plan
        for fault in plan.faults:
            self._at(fault, self._inflict)
        if plan.stop is not None:
            self._at(plan.stop, self._inflict_stop)

    def _at(self, fault: Fault, action: Callable[[str], None]) -> None:
        self._world.loop.outside(fault.at, lambda: action(fault.kind))

    def _inflict(self, kind: str) -> None:
        if self.stopped_at is None or kind == "compaction":
            self._do(kind)

    def _inflict_stop(self, kind: str) -> None:
        if self._do(kind):
            self.stopped_at = self._world.loop.time()
        else:  # nothing to do it to yet
            self._world.loop.outside(0.05, lambda: self._inflict_stop(kind))

    def _do(self, kind: str) -> bool:
        done = self._kinds[kind]()
        if done:
            self._world.faults[kind] += 1
            self._world.note(f"fault: {kind}")
        return done

    def _victim(self) -> Worker | None:
        running = [w for w in self._world.workers if w.process is not None and w.process.running]
        return self._dice.choice(running) if running else None

    # --- processes

    def _crash(self) -> bool:
        worker = self._victim()
        if worker is None or worker.process is None:
            return False
        worker.process.crash_in = self._dice.randint(1, self._dice.choice((30, CRASH_STEPS_MAX)))
        if self._dice.random() < SLOW_RATIO:
            self._slow()  # what is on its way arrives when others have taken over
        return True

    def _pause(self) -> bool:
        worker = self._victim()
        if worker is None or worker.process is None:
            return False
        process = worker.process
        session = self._world.settings.kafka.session_timeout_seconds
        # Just past the session is when another worker takes over.
        just_past = session + self._dice.uniform(0.0, 3.0)
        seconds = self._dice.choice((self._dice.uniform(1.0, 8.0), just_past, just_past, 25.0))

        slow = self._dice.random() < SLOW_RATIO  # the take-over that it meets takes longer

        def pause() -> None:
            process.pause()
            self._world.loop.outside(seconds, process.wake)
            if slow:
                self._world.loop.outside(max(0.0, seconds - 2.0), lambda: self._inflict("slow"))
            self._world.note(f"{process.name} is paused for {seconds:.1f} s")

        process.pause_in = (self._dice.randint(1, PAUSE_STEPS_MAX), pause)
        return True

    def _terminate(self) -> bool:
        worker = self._victim()
        if worker is None:
            return False
        worker.terminate()
        return True

    def _rebalance(self) -> bool:
        for group in (self._world.ingest, self._world.detect):
            group.shake()
        return True

    # --- network

    def _silence(self) -> bool:
        weather = self._world.network.weather
        weather.silent_until = self._world.loop.time() + self._dice.choice((1.0, 5.0, 12.0))
        return True

    def _slow(self) -> bool:
        """Requests take seconds; they overtake one another."""
        self._world.network.weather.slow_until = self._world.loop.time() + self._dice.uniform(1.0, 6.0)
        return True

    def _sends_fail(self) -> bool:
        weather = self._world.network.weather
        weather.send_fails = 0.1
        self._world.loop.outside(self._dice.uniform(0.5, 3.0), weather.sends_work)
        return True

    def _commits_fail(self) -> bool:
        weather = self._world.network.weather
        weather.commit_fails = 0.5
        self._world.loop.outside(self._dice.uniform(0.5, 3.0), weather.commits_work)
        return True

    def _disk_full(self) -> bool:
        """The broker takes no write for a while; reads go on."""
        weather, dice = self._world.network.weather, self._disk_dice
        weather.full_until = self._world.loop.time() + dice.uniform(1.0, 12.0)
        weather.full_is_told = dice.random() < 0.5
        return True

    # --- rows and envelopes

    def _echo(self) -> bool:
        """Envelopes that are there already come once more."""
        log = self._dice.choice(self._world.broker.topics[self._world.mailbox])
        known = [r for r in log.history if r.value is not None]
        if not known:
            return False
        at = self._dice.randrange(len(known))
        for record in known[at : at + self._dice.randint(1, 6)]:
            self._world.broker.append(log, record.key, record.value)
        return True

    def _aborted_rows(self) -> bool:
        self._traffic.aborted()
        return True

    def _late_rows(self) -> bool:
        self._traffic.late_until = self._world.loop.time() + 3.0
        return True

    # --- cleaning

    def _compaction(self) -> bool:
        for log in self._world.broker.topics[self._world.state]:
            self._world.broker.compact(log, quiet_ms=QUIET_MS, tombstones_ms=TOMBSTONES_MS)
        return True

    def _retention(self) -> bool:
        """Delete what everybody has read."""
        world = self._world
        for log in world.broker.topics[RAW]:
            world.broker.trim(log, world.ingest.offsets.get((log.topic, log.partition), 0))
        for log in world.broker.topics[world.mailbox]:
            world.broker.trim(log, world.detect.offsets.get((log.topic, log.partition), 0))
        return True

    # --- after these it must stop

    def _raw_recreated(self) -> bool:
        places = [(RAW, p) for p in range(self._world.plan.raw_partitions)]
        group = self._world.ingest
        if any(group.offsets.get(p, 0) == 0 or group.notes[p].startswith(BEGUN) for p in places):
            return False  # nothing of it was read
        for worker in self._world.workers:
            if worker.process is not None:
                worker.process.kill()
        self._world.broker.create(RAW, self._world.plan.raw_partitions)
        return True

    def _mailbox_recreated(self) -> bool:
        if not self._all_stored():
            return False
        self._world.broker.create(self._world.mailbox, self._world.settings.topics.mailbox_partitions)
        return True

    def _raw_overrun(self) -> bool:
        """Rows are deleted that were never read: first nobody reads for a while."""
        world = self._world
        logs = world.broker.topics[RAW]
        offsets = [world.ingest.offsets.get((RAW, log.partition)) for log in logs]
        if any(o is None for o in offsets) or world.loop.time() > TRAFFIC_SECONDS + 10:
            return False
        for worker in world.workers:
            if worker.process is not None:
                worker.process.kill()
        behind = [log for log, o in zip(logs, offsets, strict=True) if o is not None and log.stable > o + 1]
        for log in behind:
            world.broker.trim(log, log.stable)
        return bool(behind)

    def _mailbox_overrun(self) -> bool:
        world = self._world
        if not self._all_stored():
            return False
        behind = [
            log for log in world.broker.topics[world.mailbox] if log.end > self._fetched(log.partition) + 1
        ]
        for log in behind:
            world.broker.trim(log, log.end - self._dice.randint(0, 1))
        return bool(behind)

    def _fetched(self, partition: int) -> int:
        """How far anybody who runs has read a mailbox partition."""
        state = self._world.broker.log(self._world.state, partition).history
        stored = next((r for r in reversed(state) if r.committed and r.key == next_key(partition)), None)
        flows = [w.flow for w in self._world.workers if w.flow is not None]
        return max(
            json.loads(stored.value or b"")["next"] if stored is not None else 1 << 60,
            *(flow.fetched.get(partition, 0) for flow in flows),
        )

    def _state_lost(self) -> bool:
        if not self._all_stored():
            return False
        for worker in self._world.workers:
            if worker.process is not None:
                worker.process.kill()
        self._world.broker.create(self._world.state, self._world.settings.topics.mailbox_partitions)
        return True

    def _all_stored(self) -> bool:
        """Whether the group has an offset for each mailbox partition."""
        count = self._world.settings.topics.mailbox_partitions
        return all(self._world.detect.offsets.get((self._world.mailbox, p), 0) > 0 for p in range(count))
