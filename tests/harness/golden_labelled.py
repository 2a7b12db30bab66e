"""The story of the golden states with labels: an open episode of errors, and a reference in the making.

Model ``m`` predicts classes and is wrong more often for a while; ``n`` predicts numbers and has few labels.
Labels come late, before their event, contradicting or never. A row depends on nothing but its number.
"""

from __future__ import annotations

import random
from typing import Any, Final

from driftline.decide.outputs import Alert
from driftline.decide.partition import MailboxPartition
from harness.labelled import T0, Mailbox, Row, new_partition, restored

CUT: Final = 5_500  # rows before the state was written
END: Final = 11_000
BATCH: Final = 500
STEP_MS: Final = 60_000
WORSE: Final = range(4_000, 6_500)
LATE: Final = 700  # rows after its event a label comes
EARLY: Final = 200  # rows before its event one in 50 comes
NUMBERS: Final = 5  # one row in so many is of ``n``
SETTINGS: Final[dict[str, Any]] = {
    "reference_rows": 1_500,
    "max_pending": 1_000,
}  # the logs lose rows at their heads


def events(start: int, end: int) -> dict[str, list[Row]]:
    """Events of rows start..end by model."""
    found: dict[str, list[Row]] = {"m": [], "n": []}
    for row in range(start, end):
        model, said, _ = _row(row)
        found[model].append(said)
    return found


def labels(start: int, end: int) -> dict[str, list[Row]]:
    """Labels that come while the events of rows start..end do, by model, in order."""
    due: list[tuple[int, str, Row]] = []
    for row in range(max(start - LATE, 0), end + EARLY):
        model, _, truth = _row(row)
        at = row - EARLY if row % 50 == 0 else row + LATE
        if start <= at < end and row % 10 != 9:
            due.append((at, model, truth._replace(time=T0 + STEP_MS * at)))
        if start <= row + LATE < end and row % 97 == 3 and model == "m":  # and another one, too late
            due.append((row + LATE, model, truth._replace(label="fraud", time=T0 + STEP_MS * (row + LATE))))
    found: dict[str, list[Row]] = {"m": [], "n": []}
    for _, model, label in sorted(due, key=lambda item: item[0]):
        found[model].append(label)
    return found


def _row(row: int) -> tuple[str, Row, Row]:
    """Model, event and label of a row."""
    dice = random.Random(row)
    time, wrong = T0 + STEP_MS * row, dice.random() < (0.25 if row in WORSE else 0.05)
    if row % NUMBERS == 0:
        y = round(dice.random() * 40, 1)
        said = round(y + 4 * dice.random() - 2 + 3 * wrong, 1)
        return "n", Row(row + 1, time, score=said), Row(row + 1, time, label=y)
    truth = dice.choice(("approve", "deny"))
    other = {"approve": "deny", "deny": "approve"}[truth]
    score = round(dice.random(), 2)
    event = Row(row + 1, time, score=score, klass=other if wrong else truth)
    return "m", event, Row(row + 1, time, label=truth)


def go_on(box: Mailbox, start: int, end: int) -> list[Alert]:
    """Rows start..end and the labels of that time; stores the state, gives the alerts."""
    before = len(box.alerts)
    for at in range(start, end, BATCH):
        said, known = events(at, at + BATCH), labels(at, at + BATCH)
        for model in said:
            box.send(said[model], known[model], model)
    box.checkpoint()
    return box.alerts[before:]


def until_cut() -> Mailbox:
    """A mailbox with the state and the alerts at the cut."""
    box = Mailbox(new_partition(**SETTINGS))
    go_on(box, 0, CUT)
    return box


def from_cut(stored: dict[bytes, bytes]) -> Mailbox:
    """A mailbox that goes on from what was stored at the cut."""
    box = Mailbox(restored(stored, **SETTINGS))
    box.stored = dict(stored)
    return box


def known(partition: MailboxPartition) -> dict[str, object]:
    """What labels say of each model: views, and confusion counts since the beginning."""
    found: dict[str, object] = {}
    for name, model in partition.models.items():
        own = model.labelled
        assert own is not None  # labels are on
        found[name] = own.view(), own.performance.rows, own.performance.totals(own.labels.names)
    return found
