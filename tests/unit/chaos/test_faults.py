"""Which faults come, when they count, and what they must have done."""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest

from chaos import run, wire
from chaos.driver import needs_proxy
from chaos.faults import DEFAULT_KINDS, KINDS, _wanted, deck, parse_kinds
from chaos.supervisor import layout

NAMES = (b"chaos.mailbox", b"chaos-ingest", b"chaos-chaos-")


def test_kinds() -> None:
    """A list, or all of them; an unknown one is refused by name."""
    assert parse_kinds("kill, stop") == ("kill", "stop")
    assert parse_kinds("all") == tuple(KINDS)
    with pytest.raises(ValueError, match="flood"):
        parse_kinds("kill,flood")


def test_the_deck_deals_every_kind_equally_often() -> None:
    """After each round every kind was there as often as any other, in an order the seed decides."""
    found = list(islice(deck(("a", "b", "c"), random.Random(3)), 30))
    assert Counter(found) == {"a": 10, "b": 10, "c": 10}
    assert all(set(found[i : i + 3]) == {"a", "b", "c"} for i in range(0, 30, 3))
    assert found == list(islice(deck(("a", "b", "c"), random.Random(3)), 30))


def test_the_default_needs_no_proxy() -> None:
    """SIGKILL and SIGTERM are what a run without options does, with workers right at the broker."""
    assert run.parse([]).faults == DEFAULT_KINDS == ("kill", "term")
    assert run.parse([]).workers == 2
    assert not needs_proxy(DEFAULT_KINDS)
    assert all(needs_proxy((kind,)) for kind in ("net", "flush", "txn"))


def test_layouts() -> None:
    """Whole workers, split ones in turn, or one whole and the rest split."""
    assert layout(2, split=False, mixed=False) == ("", "")
    assert layout(3, split=True, mixed=False) == ("detect", "ingest", "detect")
    assert layout(3, split=False, mixed=True) == ("", "detect", "ingest")
    assert run.parse(["--faults", "all"]).workers == 3
    with pytest.raises(ValueError, match="two workers"):
        layout(1, split=True, mixed=False)


@pytest.mark.parametrize(
    ("kind", "before", "head"),
    [
        ("flush", True, wire.Head(wire.OFFSET_COMMIT, b"..chaos-ingest..")),
        ("flush", False, wire.Head(wire.PRODUCE, b"..chaos.mailbox..")),
        ("txn", True, wire.Head(wire.END_TXN, b"..chaos-chaos-3..")),
        ("txn", False, wire.Head(wire.END_TXN, b"..chaos-chaos-0..")),
    ],
)
def test_traps_want_one_request(kind: str, before: bool, head: wire.Head) -> None:
    """Each point of the protocol is one request that names our own topic, group or transaction."""
    wanted = _wanted(kind, before, NAMES)
    assert wanted(head)
    assert not wanted(wire.Head(head.api, b"..chaos-detect..another..transaction.."))
    assert not wanted(wire.Head(head.api + 1, head.data))


def test_enough_faults() -> None:
    """One in 20 s unless said otherwise, and never none."""
    assert run.faults_min(run.parse(["--seconds", "300"])) == 15
    assert run.faults_min(run.parse(["--seconds", "5"])) == 1
    assert run.faults_min(run.parse(["--faults-min", "3"])) == 3
