"""The raw rows of a run: good, drifted, late, broken, null, and rows of transactions that were aborted."""

from __future__ import annotations

import json
import random
from typing import Final

from simulation.broker import Log, Txn
from simulation.plan import RAW, ROWS_A_SECOND, TRAFFIC_SECONDS
from simulation.world import World

STEP_SECONDS: Final = 0.25
BROKEN_RATIO: Final = 0.02
CYCLE_ROWS: Final = 260  # of a model, in and out of drift once it has learned
DRIFT_ROWS: Final = 90
LEARN_ROWS: Final = 500


class Traffic:
    """Appends rows to the raw topic, as a producer outside would.

    Args:
        world: where.
        seed: of its dice.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._dice = random.Random(seed)
        self._sent = dict.fromkeys(world.plan.models, 0)
        self.late_until = 0.0
        self.rows = 0
        for log in world.broker.topics[RAW]:  # what retention has deleted before the workers ever ran
            for _ in range(world.plan.raw_start):
                world.broker.append(log, None, b"{}")
            world.broker.trim(log, world.plan.raw_start)

    def begin(self) -> None:
        """Send until the traffic's end."""
        if self._world.loop.time() > TRAFFIC_SECONDS:
            return
        logs = self._world.broker.topics[RAW]
        for _ in range(round(STEP_SECONDS * ROWS_A_SECOND)):
            self.send(self._dice.choice(logs))
        self._world.loop.outside(STEP_SECONDS, self.begin)

    def send(self, log: Log, txn: Txn | None = None) -> None:
        """One row."""
        self._world.broker.append(log, None, self._value(), txn=txn)
        self.rows += 1

    def aborted(self) -> None:
        """Rows of a transaction that is aborted a little later: they never happened."""
        world = self._world
        txn = Txn("outside", None, world.loop.time())
        for _ in range(self._dice.randint(1, 8)):
            self.send(self._dice.choice(world.broker.topics[RAW]), txn)
        world.loop.outside(self._dice.uniform(0.0, 3.0), lambda: world.broker.resolve(txn, "aborted"))

    def _value(self) -> bytes | None:
        dice = self._dice
        if dice.random() < BROKEN_RATIO:
            return dice.choice((None, b"{", b'{"model": "unknown"}', b"[]", b'{"model": "m0", "time": "noon"}'))
        model = dice.choice(self._world.plan.models)
        n = self._sent[model] = self._sent[model] + 1
        drifted = n > LEARN_ROWS and (n - LEARN_ROWS) % CYCLE_ROWS < DRIFT_ROWS
        now = self._world.broker.now_ms()
        if self._world.loop.time() < self.late_until:
            now -= dice.randint(0, 600_000)  # event times out of order by minutes
        event = {
            "id": f"{model}-{n}",
            "model": model,
            "time": now,
            "features": {"x": dice.gauss(5.0 if drifted else 0.0, 1.0), "k": dice.choice("abc")},
        }
        return json.dumps(event).encode()
