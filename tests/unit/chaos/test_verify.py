"""The chaos verifier must be able to fail: each test breaks one promise and sees it found."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from chaos import verify
from chaos.verify import Fate, Kind, RawRecord

MODELS = frozenset({"a", "b"})
AT = 1_764_000_000_000  # 2025-11-24T16:00:00Z in ms
RAW = ("raw", 0)


def record(value: bytes | None, offset: int = 0) -> RawRecord:
    """A raw record at AT."""
    return RawRecord("raw", 0, offset, AT, value)


def event(model: str = "a", **more: object) -> bytes:
    """A good event with ``more`` keys."""
    return json.dumps({"model": model, "features": {"x": 1.0}, **more}).encode()


NESTED = b'{"model": "a", "features": ' + b'{"x": ' * 9 + b"1" + b"}" * 9 + b"}"


@pytest.mark.parametrize(
    ("value", "fate"),
    [
        (None, Fate(Kind.FILTERED)),
        (event(), Fate(Kind.ACCEPTED, "a")),
        (event(time="2025-11-24T16:00:00.000Z"), Fate(Kind.ACCEPTED, "a")),
        (event(time=AT), Fate(Kind.ACCEPTED, "a")),
        (b" " * (1 << 20) + event(), Fate(Kind.REJECTED, "too_large")),
        (NESTED, Fate(Kind.REJECTED, "too_deep")),
        (b"[" * 200_000 + b"]" * 200_000, Fate(Kind.REJECTED, "too_deep")),
        (b'{"model": "\xff"}', Fate(Kind.REJECTED, "not_utf8")),
        (event()[:-5], Fate(Kind.REJECTED, "syntax")),
        (b"[1]", Fate(Kind.REJECTED, "not_object")),
        (b'{"model": "a", "features": {"x": 1, "x": 2}}', Fate(Kind.REJECTED, "duplicate_key")),
        (b'{"features": {}}', Fate(Kind.REJECTED, "model_missing")),
        (b'{"model": "a b"}', Fate(Kind.REJECTED, "model_invalid")),
        (b'{"model": 7}', Fate(Kind.REJECTED, "model_invalid")),
        (event("c"), Fate(Kind.REJECTED, "model_unknown")),
        (event(time="noon"), Fate(Kind.REJECTED, "time_invalid")),
        (event(time=[1]), Fate(Kind.REJECTED, "time_invalid")),
        (event(time="2025-11-24T17:00:00Z"), Fate(Kind.REJECTED, "time_future")),
        (event(time="2025-11-01T16:00:00Z"), Fate(Kind.REJECTED, "time_late")),
    ],
)
def test_fate(value: bytes | None, fate: Fate) -> None:
    """Each kind of record has the fate the design gives it."""
    assert verify.fate_of(record(value), MODELS) == fate


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"id": "e1", "label": "yes"}, ""),
        ({"label": "yes"}, "id_missing"),
        ({"id": "e1"}, "label_invalid"),
        ({"id": "e1", "label": None}, "label_invalid"),
        ({"id": "e1", "label": "yes", "time": "noon"}, "time_invalid"),
    ],
)
def test_fate_of_a_label(more: dict[str, Any], code: str) -> None:
    """A label needs what any record needs, then a label, then an id."""
    fate = Fate(Kind.REJECTED, code) if code else Fate(Kind.ACCEPTED, "a")
    assert verify.fate_of(record(event(**more)), MODELS, label=True) == fate


def test_the_exact_join_takes_the_first_label() -> None:
    """Either may come first; a second label changes nothing and is counted by what it says."""
    join = verify.Join()
    join.label(1, "yes")
    join.event(1, "no")
    join.event(2, "yes")
    for true in ("yes", "yes", "no"):
        join.label(2, true)
    join.label(3, "yes")
    assert join.joined.confusion == Counter({("no", "yes"): 1, ("yes", "yes"): 1})
    assert join.joined.repeats == Counter({"duplicates": 1, "conflicts": 1})


def test_a_lost_and_a_doubled_match_are_found() -> None:
    """Cells that are short are lost, cells that have more are twice, repeats have to agree."""
    due = {"a": verify.Joined(Counter({("no", "no"): 3, ("no", "yes"): 2}), Counter(duplicates=1))}
    same = {"a": verify.Joined(Counter({("no", "no"): 3, ("no", "yes"): 2}), Counter(duplicates=1))}
    off = {"a": verify.Joined(Counter({("no", "no"): 2, ("no", "yes"): 3}), Counter(duplicates=2))}
    assert verify.compare_joins(due, same).clean
    found = verify.compare_joins(due, off)
    assert (found.lost, found.twice, found.different, len(found.examples)) == (1, 1, 1, 1)
    assert verify.compare_joins(due, {}).lost == 5


def test_expected_rows_conserve() -> None:
    """Every record is accepted, rejected or filtered; none is counted nowhere."""
    records = [record(v, i) for i, v in enumerate([event(), event("b"), event(), None, b"{", event("zz")])]
    expected = verify.expect(records, MODELS)
    assert expected.rows == {RAW: Counter({"a": 2, "b": 1})}
    assert expected.rejects == {("raw", 0, 4): "syntax", ("raw", 0, 5): "model_unknown"}
    assert expected.records == expected.accepted + len(expected.rejects) + expected.filtered == 6


def test_equal_rows_are_clean() -> None:
    """The same counts give no difference, whatever the shape of the mapping."""
    assert verify.compare_rows({RAW: {"a": 3}, ("raw", 1): {}}, {"a": {RAW: 3}, "b": {RAW: 0}}).clean


def test_a_lost_row_is_found() -> None:
    """One row fewer in the state is one row lost, with its place named."""
    found = verify.compare_rows({RAW: {"a": 3, "b": 5}}, {"a": {RAW: 2}, "b": {RAW: 5}})
    assert (found.lost, found.twice) == (1, 0)
    assert found.examples == ["a from raw/0: 2 rows in the state, 3 on the raw topic"]


def test_a_doubled_row_is_found() -> None:
    """One row more in the state is one row counted twice."""
    found = verify.compare_rows({RAW: {"a": 3}}, {"a": {RAW: 4}})
    assert (found.lost, found.twice) == (0, 1)


def test_a_loss_does_not_hide_behind_a_double() -> None:
    """A row lost from one partition and one doubled in another do not cancel."""
    found = verify.compare_rows({RAW: {"a": 3}, ("raw", 1): {"a": 3}}, {"a": {RAW: 2, ("raw", 1): 4}})
    assert (found.lost, found.twice) == (1, 1)


def test_a_model_without_state_is_lost() -> None:
    """A model the state does not know has lost all its rows; one nobody sent to was counted from nowhere."""
    assert verify.compare_rows({RAW: {"a": 7}}, {}).lost == 7
    assert verify.compare_rows({}, {"a": {RAW: 7}}).twice == 7


def test_rejects() -> None:
    """Missing, unexpected and differently coded rejects are found; a repeat by origin is none."""
    one, two, three = ("raw", 0, 1), ("raw", 0, 2), ("raw", 0, 3)
    due = {one: "syntax", two: "not_utf8"}
    assert verify.compare_rejects(due, [(one, "syntax"), (two, "not_utf8"), (one, "syntax")]).clean
    found = verify.compare_rejects(due, [(two, "syntax"), (three, "syntax")])
    assert (found.lost, found.unexpected, found.different) == (1, 1, 1)


def test_alerts() -> None:
    """A missing, a doubled, an unexpected and a changed alert are each found."""
    due: dict[str, object] = {"1": {"state": "opened"}, "2": {"state": "resolved"}}
    topic: list[tuple[str, object]] = [("1", {"state": "opened"}), ("2", {"state": "resolved"})]
    assert verify.compare_alerts(due, topic).clean
    assert verify.compare_alerts(due, topic[:1]).lost == 1
    assert verify.compare_alerts(due, [*topic, topic[0]]).twice == 1
    assert verify.compare_alerts(due, [*topic, ("3", {})]).unexpected == 1
    assert verify.compare_alerts(due, [topic[0], ("2", {"state": "opened"})]).different == 1


def test_positions() -> None:
    """Rows that no mailbox partition heard of are unaccounted for, even when they were rejects."""
    assert verify.compare_positions({RAW: 10}, {0: {RAW: 9}, 1: {RAW: 9}}).clean
    assert verify.compare_positions({RAW: 10}, {0: {RAW: 9}, 1: {RAW: 7}}).lost == 2
    assert verify.compare_positions({RAW: 10}, {0: {}}).lost == 10
    assert verify.compare_positions({RAW: 10}, {0: {RAW: 10}}).unexpected == 1


def test_states() -> None:
    """A model whose stored state is missing, unknown to the replay, or not the replay's is found."""
    assert verify.compare_states({"a": "rows=1"}, {"a": "rows=1"}).clean
    found = verify.compare_states({"a": "rows=1", "b": "x"}, {"a": "rows=2", "c": "x"})
    assert (found.lost, found.unexpected, found.different) == (1, 1, 1)
    assert found.examples == ["a replayed ...rows=1..., stored ...rows=2..."]


def test_what_zero_can_show() -> None:
    """Nothing in n bounds the rate by about 3/n; nothing in nothing shows nothing."""
    assert verify.rate_bound(300) == pytest.approx(0.01, rel=0.01)
    assert verify.rate_bound(0) == verify.rate_bound(1) == 1.0


def test_equal_values_are_judged_once_but_by_their_own_time() -> None:
    """A remembered value is still late or not by the record it came in."""
    value = event(time=AT)
    late = RawRecord("raw", 0, 1, AT + 8 * 24 * 3_600_000, value)
    assert verify.fate_of(record(value), MODELS) == Fate(Kind.ACCEPTED, "a")
    assert verify.fate_of(late, MODELS) == Fate(Kind.REJECTED, "time_late")
    assert verify.fate_of(record(value), frozenset({"b"})) == Fate(Kind.REJECTED, "model_unknown")
