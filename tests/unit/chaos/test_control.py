"""The control's verifier must see what its program does wrong, and nothing else."""

from __future__ import annotations

from collections import Counter

from chaos import control
from chaos.control import EVERY
from chaos.deployment import RAW_PARTITIONS


def test_the_verifier_knows_the_program() -> None:
    """Both speak of the same app, multiple and partitions; the program is a script of its own."""
    lines = control.PROGRAM.read_text(encoding="utf-8").splitlines()
    assert f'APP = "{control.APP}"' in lines
    assert f"PARTITIONS = {RAW_PARTITIONS}" in lines
    assert any(line.startswith(f"EVERY = {control.EVERY} ") for line in lines)


def test_a_clean_run_is_clean() -> None:
    """Every row counted once and every multiple told once is nothing wrong."""
    due = {"a": 2 * EVERY + 1, "b": 3}
    found = control.compare(due, dict(due), Counter([("a", EVERY), ("a", 2 * EVERY)]))
    assert (found.total, found.rows_due) == (0, 2 * EVERY + 4)


def test_each_wrong_is_found() -> None:
    """Rows lost and doubled, messages lost, doubled and out of nothing."""
    due = {"a": EVERY, "b": EVERY, "c": 2}
    told = Counter({("a", EVERY): 2, ("c", EVERY): 1})
    found = control.compare(due, {"a": EVERY + 3, "b": EVERY - 2}, told)
    assert (found.rows.lost, found.rows.twice) == (4, 3)
    assert (found.alerts.lost, found.alerts.twice, found.alerts.unexpected) == (1, 1, 1)
    assert found.total == 10
