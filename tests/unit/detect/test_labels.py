"""The join of labels: the dictionaries' answer, whatever the order, the cuts, the restarts and the limits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from driftline.detect.join_log import BITMAP_ROWS, SEGMENT_ROWS, Log
from driftline.detect.kernels import join as kernel
from driftline.detect.labels import NAMES_MAX, OTHER, Labels, Matches, Names, rows_of
from driftline.errors import MessageError
from harness.labelled import Row, block
from oracle.labels import join

DAY = 86_400


def joined(labels: Labels, events: list[Row], truths: list[Row], first: int = 0, time: int = -1) -> Matches:
    """Both as blocks of one envelope."""
    return labels.join(
        rows_of([block(events, first)] if events else (), labels.names),
        rows_of([block(truths, first, 1)] if truths else (), labels.names),
        time,
    )


def pairs(labels: Labels, found: Matches) -> Counter[tuple[str, str]]:
    """(predicted, true) class names of matches."""
    codes = zip(found.code.tolist(), found.value.astype(int).tolist(), strict=True)
    return Counter((labels.names.name(a), labels.names.name(b)) for a, b in codes)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int, str]]:
    """Events and labels of few ids in mailbox order, so that all cases meet."""
    return draw(
        st.lists(
            st.tuples(st.sampled_from(["event", "label"]), st.integers(1, 12), st.sampled_from("ab")),
            max_size=40,
        )
    )


def replayed(
    history: list[tuple[str, int, str]], cuts: set[int], *, restart: bool = False
) -> tuple[Any, ...]:
    """A history through the join, an envelope between two cuts; what state and counts are in the end."""
    labels, found, start = Labels(1_000, DAY), Counter[tuple[str, str]](), 0
    shards = dict[str, Any]()
    for end in sorted({*cuts, len(history)}):
        part = list(enumerate(history[start:end], start))
        events = [Row(key, 1_000 * i, klass=value) for i, (kind, key, value) in part if kind == "event"]
        truths = [Row(key, 1_000 * i, label=value) for i, (kind, key, value) in part if kind == "label"]
        found += pairs(labels, joined(labels, events, truths, start))
        if restart:
            labels = stored_and_back(labels, shards)
        start = end
    return found, labels.counts.tolist(), labels.delays.tolist(), labels.pending


def stored_and_back(labels: Labels, shards: dict[str, Any]) -> Labels:
    """Through its shards; ``shards`` is what was stored before."""
    for name, header, arrays in labels.shards():
        if arrays is None:
            shards.pop(name, None)
        else:
            shards[name] = (header, arrays)
    back = Labels(labels.rows_max, labels.delay_max, labels.sample)
    back.restore(labels.header(), shards.get)
    return back


@given(histories())
def test_same_as_dictionaries(history: list[tuple[str, int, str]]) -> None:
    """Pairs and counts are the oracle's."""
    found, counts, _, pending = replayed(history, set())
    want = join(history)
    assert found == Counter((p, t) for _, p, t in want.pairs)
    assert counts[kernel.MATCHED] == counts[kernel.COVERED] == len(want.pairs)
    assert counts[kernel.DUPLICATES] == want.counts["duplicates"]
    assert counts[kernel.CONFLICTS] == want.counts["conflicts"]
    assert counts[kernel.REPEATED] == want.counts["repeated"]
    assert pending == len({key for kind, key, _ in history if kind == "event"}) - len(want.pairs)


@given(histories(), st.sets(st.integers(0, 40), max_size=6))
def test_cuts_and_restarts_change_nothing(history: list[tuple[str, int, str]], cuts: set[int]) -> None:
    """Any envelopes, and a restart from the stored shards after each, give the same state and counts."""
    within = {c for c in cuts if c < len(history)}
    whole = replayed(history, set())
    assert replayed(history, within) == whole
    assert replayed(history, within, restart=True) == whole


@given(histories(), st.randoms(use_true_random=False))
def test_any_interleaving_gives_the_same_pairs(history: list[tuple[str, int, str]], dice: Any) -> None:
    """As long as each topic keeps its order."""
    sides = {kind: [row for row in history if row[0] == kind] for kind in ("event", "label")}
    order = [kind for kind, rows in sides.items() for _ in rows]
    dice.shuffle(order)
    left = {kind: iter(rows) for kind, rows in sides.items()}
    mixed = [next(left[kind]) for kind in order]
    (found, counts, *_), (other, other_counts, *_) = replayed(history, set()), replayed(mixed, set())
    assert found == other
    assert counts == other_counts


def test_what_waits_too_long_is_dropped_and_counted() -> None:
    """By the time of the partition: predictions expire, labels become orphans, later ones wait in vain."""
    labels = Labels(1_000, DAY)
    joined(labels, [Row(1, 0, klass="a"), Row(2, 0, klass="a"), Row(3, 0)], [Row(2, 0, "a"), Row(9, 0, "a")])
    joined(labels, [], [Row(1, DAY * 1000, "a")], 10, time=DAY * 1000 - 1)  # not yet: it meets
    assert (labels.pending, labels.coverage) == (1, 2 / 3)
    joined(labels, [], [], time=(DAY + 1) * 1000)
    assert labels.counts[kernel.EXPIRED] == 1
    assert labels.counts[kernel.ORPHANS] == 1
    assert (labels.pending, len(labels.predictions)) == (0, 0)
    joined(labels, [], [Row(3, (DAY + 2) * 1000, "a")], 20, time=(DAY + 2) * 1000)
    assert labels.counts[kernel.MATCHED] == 2


def test_a_flood_is_bounded() -> None:
    """Of either side at most rows_max are kept, the oldest are dropped first, and all are counted."""
    labels = Labels(10_000, DAY)
    for first in range(1, 60_000, 7_001):
        joined(labels, [Row(first + i, first, klass="a") for i in range(7_001)], [])
        joined(labels, [], [Row(1_000_000 + first + i, first, "a") for i in range(7_001)])
    rows = len(range(1, 60_000, 7_001)) * 7_001
    assert len(labels.predictions) == len(labels.labels) == 10_000
    assert labels.counts[kernel.EXPIRED] == labels.counts[kernel.ORPHANS] == rows - 10_000
    joined(labels, [], [Row(rows, rows, "a"), Row(1, rows, "a")])
    assert labels.counts[kernel.MATCHED] == 1
    assert len(labels.predictions.ids) == 2 * BITMAP_ROWS  # room for rows_max, in whole bitmaps


def test_the_same_sample_on_both_sides() -> None:
    """Every label of a sampled event is sampled, and the share is about what was asked for."""
    labels = Labels(100_000, DAY, 0.2)
    joined(
        labels, [Row(i, 0, klass="a") for i in range(1, 20_001)], [Row(i, 0, "a") for i in range(1, 20_001)]
    )
    predictions = int(labels.counts[kernel.PREDICTIONS])
    assert predictions == labels.counts[kernel.MATCHED] == labels.counts[kernel.LABELS]
    assert 3_600 < predictions < 4_400
    assert labels.counts[kernel.SAMPLED_OUT] == 2 * (20_000 - predictions)


def test_a_label_may_bring_its_prediction() -> None:
    """With or without an id, before or after its event: it counts once."""
    labels = Labels(1_000, DAY)
    found = joined(labels, [Row(1, 5, klass="b")], [Row(0, 0, "a", klass="b"), Row(1, 0, "a", klass="b")])
    assert pairs(labels, found) == {("b", "a"): 2}
    assert joined(
        labels, [Row(2, 10, klass="b")], [Row(2, 20, "a", 0.5), Row(2, 21, "a")], 5
    ).score.tolist() == [0.5]
    assert labels.counts[kernel.CARRIED] == labels.counts[kernel.MATCHED] == 3
    assert (labels.pending, labels.coverage) == (0, 1.0)
    assert labels.counts[kernel.DUPLICATES] == 1


def test_values_meet_as_they_were() -> None:
    """Scores, numbers and names; bools are the classes true and false, numbers their text."""
    labels = Labels(1_000, DAY)
    events = [Row(1, 0, score=0.25), Row(2, 0, klass="x"), Row(0, 0, klass="y")]
    found = joined(labels, events, [Row(1, 0, 17.5), Row(2, 0, True)])
    assert found.score.tolist()[0] == 0.25
    assert found.value.tolist()[0] == 17.5
    assert found.named.tolist() == [0, 1]
    assert labels.names.name(int(found.value[1])) == "true"
    assert labels.counts[kernel.NO_ID] == 1
    assert labels.names.number(1.0) == labels.names.code("1")


def test_delays_are_known_to_half_an_octave() -> None:
    """Quantiles from the record of the event to that of the label."""
    labels = Labels(1_000, 30 * DAY)
    assert np.isnan(labels.delay(0.5))
    joined(
        labels,
        [Row(i, 0, klass="a") for i in range(1, 101)],
        [Row(i, 1_000 * (60 if i <= 90 else 3_600), "a") for i in range(1, 101)],
    )
    assert 60 <= labels.delay(0.5) <= 60 * 2**0.5
    assert 3_600 <= labels.delay(0.99) <= 3_600 * 2**0.5


def test_a_checkpoint_writes_what_is_new() -> None:
    """The same for a thousand new rows whether 8 thousand or 200 thousand wait."""
    sizes = []
    for waiting in (12_288, 200_704):
        labels = Labels(1_000_000, DAY)
        for first in range(1, waiting, 4_096):
            joined(labels, [Row(first + i, 0, score=0.5) for i in range(4_096)], [])
        list(labels.shards())
        joined(
            labels,
            [Row(waiting + i, 0, score=0.5) for i in range(1, 1_001)],
            [Row(i, 0, 1.0) for i in range(1, 101)],
        )
        written = list(labels.shards())
        sizes.append(sum(a.nbytes for _, _, arrays in written for a in (arrays or {}).values()))
        assert {name for name, *_ in written} >= {"pred-matched.0", "lab-matched.0", "lab.0"}
    assert sizes[0] == sizes[1]
    assert sizes[0] < 24 * (1_000 + 100) + 2 * 24 * SEGMENT_ROWS + 2 * BITMAP_ROWS // 8


def test_segments_and_bitmaps_go_when_their_rows_do() -> None:
    """Nothing is left on the state topic of rows that were dropped."""
    labels, stored = Labels(20_000, DAY), dict[str, Any]()
    for first in range(1, 200_000, 10_000):
        rows = [Row(first + i, 0, klass="a") for i in range(10_000)]
        joined(labels, rows, [row._replace(label="a", klass=None) for row in rows[::2]])
        labels = stored_and_back(labels, stored)
    assert len([name for name in stored if name.startswith("pred.")]) <= 21
    assert len([name for name in stored if name.startswith("pred-matched.")]) <= 4
    assert labels.counts[kernel.MATCHED] == 100_000
    assert len(labels.predictions) == 20_000


def test_a_former_life_leaves_no_matches() -> None:
    """After the state was lost, rows under the same numbers are not taken for matched ones of before."""
    stored = dict[str, Any]()
    before = Labels(1_000, DAY)
    joined(before, [Row(1, 0, klass="a")], [Row(1, 0, "a")])
    stored_and_back(before, stored)
    anew = Labels(1_000, DAY)
    joined(anew, [Row(2, 0, klass="a")], [])
    back = stored_and_back(anew, stored)
    joined(back, [], [Row(2, 1_000, "a")], 5)
    assert back.counts[kernel.MATCHED] == 1


@pytest.mark.parametrize("damage", ["missing", "short", "twice", "zero", "bits", "codes", "counts", "range"])
def test_damaged_shards_are_refused(damage: str) -> None:
    """A contradiction is an error with words, not an index out of bounds in a kernel."""
    labels = Labels(100_000, DAY)
    joined(labels, [Row(i, 0, klass="a") for i in range(1, 3_000)], [Row(1, 0, "a")])
    stored = {name: (header, arrays) for name, header, arrays in labels.shards() if arrays is not None}
    header = labels.header()
    ids = stored["pred.1"][1]["ids"]
    if damage == "missing":
        del stored["pred.1"]
    elif damage == "short":
        stored["pred.1"][1]["value"] = stored["pred.1"][1]["value"][:-1]
    elif damage in {"twice", "zero"}:
        ids[3] = ids[4] if damage == "twice" else 0
    elif damage == "bits":
        stored["pred-matched.0"][1]["bits"] = np.zeros(3, np.uint8)
    elif damage == "codes":
        stored["pred.0"][1]["code"][7] = 1 << 20
    elif damage == "counts":
        header["counts"][0] = -1
    else:
        header["logs"]["pred"] = (5, 4)
    with pytest.raises(MessageError):
        Labels(100_000, DAY).restore(header, stored.get)


def test_a_million_predictions_fit() -> None:
    """Less than 40 MB, index included."""
    log = Log("pred")
    log.reserve(1_000_000, 1_000_000)
    assert len(log.ids) >= 1_000_000
    assert log.nbytes < 40_000_000


def test_names_are_bounded() -> None:
    """Classes beyond NAMES_MAX share one code."""
    names = Names()
    codes = [names.code(str(i)) for i in range(NAMES_MAX + 5)]
    assert codes[-5:] == [NAMES_MAX] * 5
    assert names.name(NAMES_MAX) == OTHER
