"""The raw rows of a run: good, drifted, late, broken, null, and rows of transactions that were aborted.

Owns: what must become of each row, known because it was made here (``expected``): the oracle of invariant 7.
"""

from __future__ import annotations

import functools
import json
import random
from datetime import UTC, datetime
from typing import Final

import numpy as np

from chaos.verify import Expected
from driftline.detect.reference import RawColumn, build_reference, to_json
from driftline.records import ColumnKind, Tag
from simulation.broker import Log, Txn
from simulation.plan import LABELS, RAW, TRAFFIC_SECONDS
from simulation.world import World

STEP_SECONDS: Final = 0.25
ROWS_A_STEP: Final = 12
BROKEN_RATIO: Final = 0.02
NULL: Final = ""
# What is wrong with a row, and the reason code that is due.
BROKEN: Final[tuple[tuple[bytes | None, str], ...]] = (
    (None, NULL),
    (b"{", "syntax"),
    (b"[]", "not_object"),
    (b'{"id": "x"}', "model_missing"),
    (b'{"model": "unknown"}', "model_unknown"),
    (b'{"model": "m0", "time": "noon"}', "time_invalid"),
)
# A feature drifts for some rows of a cycle; long enough apart for its episode to resolve.
CYCLE_ROWS: Final = 430
DRIFT_ROWS: Final = 30
FEATURES: Final = {"x": 40, "y": 250}  # name -> first drifted row of a cycle
LEARN_ROWS: Final = 500
CLASSES: Final = ("no", "yes")
LABEL_SECONDS: Final = 1.5  # after the event, on average
LATE_MS_MAX: Final = 600_000
BASELINE_ROWS: Final = 600


@functools.cache
def baseline(model: str) -> bytes:
    """A ``baseline.promote`` command for a model, made from rows like its own."""
    dice = np.random.default_rng(7)
    raw = [
        RawColumn(ColumnKind.FEATURE, name, np.full(BASELINE_ROWS, Tag.NUMBER, dtype=np.uint8),
                  dice.normal(size=BASELINE_ROWS), ())
        for name in FEATURES
    ]  # fmt: skip
    times = np.arange(BASELINE_ROWS, dtype=np.int64) * 20
    reference = build_reference(model, "file", raw, times, time_ordered=True)
    return b'{"type":"baseline.promote","model":"%s","baseline":%s}' % (model.encode(), to_json(reference))


class Traffic:
    """Appends rows to the raw topic, as a producer outside would.

    Args:
        world: where.
        seed: of its dice.
    """

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._dice = random.Random(seed)
        self._label_dice = random.Random(seed + 1)
        self._sent = dict.fromkeys(world.plan.models, 0)
        self._fates: list[tuple[Log, int, str, str, Txn | None]] = []
        self._first: list[Log] = world.broker.topics[RAW]
        self.late_until = 0.0
        for log in self._first:  # what retention has deleted before the workers ever ran
            for _ in range(world.plan.raw_start):
                world.broker.append(log, None, b"{}")
            world.broker.trim(log, world.plan.raw_start)
        for at, model in world.plan.promotions:
            world.loop.outside(at, lambda model=model: self._promote(model))  # type: ignore[misc]
        for at in (9.0, 17.0, 23.0):
            world.loop.outside(at, self._word)

    @property
    def rows(self) -> int:
        """Rows sent."""
        return len(self._fates)

    def begin(self) -> None:
        """Send until the traffic's end."""
        if self._world.loop.time() > TRAFFIC_SECONDS:
            return
        logs = self._world.broker.topics[RAW]
        for _ in range(ROWS_A_STEP):
            self._send(self._dice.choice(logs))
        self._world.loop.outside(STEP_SECONDS, self.begin)

    def aborted(self) -> None:
        """Rows of a transaction that is aborted a little later: they never happened."""
        world = self._world
        txn = Txn("outside", None, world.loop.time())
        for _ in range(self._dice.randint(1, 8)):
            self._send(self._dice.choice(world.broker.topics[RAW]), txn)
        world.loop.outside(self._dice.uniform(0.0, 3.0), lambda: world.broker.resolve(txn, "aborted"))

    def _word(self) -> None:
        """What somebody says of the alerts of a model."""
        dice, model = self._label_dice, self._label_dice.choice(self._world.plan.models)
        until = datetime.fromtimestamp(self._world.broker.now_ms() / 1000 + dice.uniform(1.0, 9.0), UTC)
        said = dice.choice(({"type": "alert.mute", "until": until.isoformat()}, {"type": "alert.ack"}))
        body = {**said, "model": model, "by": "jane", "why": "it is being repaired"}
        log = self._world.broker.log(self._world.settings.topics.name("commands"), 0)
        self._world.broker.append(log, None, json.dumps(body).encode())
        self._world.note(f"{body['type']} for {model}")

    def _promote(self, model: str) -> None:
        log = self._world.broker.log(self._world.settings.topics.name("commands"), 0)
        self._world.broker.append(log, None, baseline(model))
        self._world.note(f"a baseline for {model}")

    def _send(self, log: Log, txn: Txn | None = None) -> None:
        if self._dice.random() < BROKEN_RATIO:
            value, code = self._dice.choice(BROKEN)
            fate = ("rejected" if code else "filtered", code)
        else:
            model = self._dice.choice(self._world.plan.models)
            value, fate = self._value(model), ("accepted", model)
            if self._world.plan.labelled:
                self._label_later(model)
        record = self._world.broker.append(log, None, value, txn=txn)
        self._fates.append((log, record.offset, *fate, txn))

    def _value(self, model: str) -> bytes:
        dice = self._dice
        n = self._sent[model] = self._sent[model] + 1
        now = self._world.broker.now_ms()
        if self._world.loop.time() < self.late_until:
            now -= dice.randint(0, LATE_MS_MAX)  # event times out of order
        features = []
        for name, begin in FEATURES.items():
            drifted = n > LEARN_ROWS and 0 <= (n - LEARN_ROWS) % CYCLE_ROWS - begin < DRIFT_ROWS
            features.append(f'"{name}": {dice.gauss(5.0 if drifted else 0.0, 1.0)!r}')
        features.append(f'"k": "{dice.choice("abc")}"')
        body = ", ".join(features)
        event = f'"id": "{model}-{n}", "model": "{model}", "time": {now}, "features": {{{body}}}'
        if self._world.plan.labelled:
            event += f', "prediction": "{self._label_dice.choice(CLASSES)}"'
        return f"{{{event}}}".encode()

    def _label_later(self, model: str) -> None:
        """What turned out to be true of the event just made: a while later, maybe twice, never, or broken."""
        dice, event = self._label_dice, f"{model}-{self._sent[model]}"
        for _ in range(dice.choice((0, 1, 1, 1, 2))):
            body = f'{{"id": "{event}", "model": "{model}", "label": "{dice.choice(CLASSES)}"}}'
            if dice.random() < BROKEN_RATIO:
                body = f'{{"model": "{model}", "label": "yes"}}'
            at = dice.expovariate(1.0 / LABEL_SECONDS)
            self._world.loop.outside(at, lambda body=body: self._send_label(model, body.encode()))  # type: ignore[misc]

    def _send_label(self, model: str, value: bytes) -> None:
        log = self._label_dice.choice(self._world.broker.topics[LABELS])
        fate = ("accepted", model) if b'"id"' in value else ("rejected", "id_missing")
        record = self._world.broker.append(log, None, value)
        self._fates.append((log, record.offset, *fate, None))

    def expected(self, first: dict[tuple[str, int], int]) -> Expected:
        """What must have become of the rows from ``first`` on, by raw partition."""
        due = Expected()
        for log, offset, kind, detail, txn in self._fates:
            place = (log.topic, log.partition)
            if txn is not None or offset < first[place]:
                continue
            due.records += 1
            if kind == "accepted":
                due.rows[place][detail] += 1
            elif kind == "rejected":
                due.rejects[*place, offset] = detail
            else:
                due.filtered += 1
        return due
