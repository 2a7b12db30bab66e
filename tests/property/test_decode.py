"""Fast path == slow path == an oracle made of json.loads, on any input."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.ingest.decode import Decoded, NativeDecoder
from driftline.records import ColumnKind, RecordChunk, Source
from oracle.events import AGE, oracle

T0 = 1_795_428_000_000
SOURCES = (Source("t", 0), Source("t", 1))
TAGS = ("absent", "null", "number", "string", "bool", "invalid", "nested")

pytestmark = pytest.mark.filterwarnings("error")


def chunk_of(values: list[bytes | None], *, times: list[int] | None = None, seed: int = 0) -> RecordChunk:
    """Records of two sources, laid out in any order in the buffer."""
    rng = np.random.default_rng(seed)
    n = len(values)
    starts, ends = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
    data = b""
    for i in rng.permutation(n).tolist():
        value = values[i]
        if value is not None:
            starts[i] = len(data)
            data += value
            ends[i] = len(data)
    source = np.sort(rng.integers(0, 2, n))
    offsets = np.arange(n, dtype=np.int64)
    stamps = np.array(times, np.int64) if times is not None else T0 + rng.integers(0, 3, n)
    buf = np.frombuffer(data + bytes(rng.integers(0, 256, 64, np.uint8)), np.uint8)
    return RecordChunk(buf, starts, ends, source, offsets, stamps, SOURCES)


def plain(decoded: Decoded) -> dict[str, Any]:
    """A decoded chunk as plain values that compare exactly."""
    rows: dict[int, Any] = {}
    for block in decoded.blocks:
        assert [(c.kind, c.name) for c in block.columns] == sorted({(c.kind, c.name) for c in block.columns})
        key = list(zip(block.record_time, block.source, block.offset, strict=True))
        assert key == sorted(key)
        for c, column in enumerate(block.columns):
            codes = block.values[c][block.tags[c] == 3].astype(int).tolist()
            assert list(dict.fromkeys(codes)) == list(range(len(column.strings)))
            assert (block.tags[c] != 0).any()
        for i in range(len(block)):
            cells = {}
            for c, column in enumerate(block.columns):
                tag, value = TAGS[block.tags[c, i]], block.values[c, i]
                if tag == "absent":
                    assert np.isnan(value)
                    continue
                shown = column.strings[int(value)] if tag == "string" else value.tobytes().hex()
                cells[column.kind.name, column.name] = (
                    tag,
                    shown if tag in ("number", "string", "bool") else None,
                )
            version = block.versions[block.version[i]] if block.version[i] >= 0 else None
            rows[int(block.offset[i])] = (
                block.model, int(block.event_time[i]), version, int(block.id_hash[i]), cells
            )  # fmt: skip
    rejects = {r.offset: (r.code.value, r.detail, r.digest) for r in decoded.rejects}
    return {
        "rows": rows,
        "rejects": rejects,
        "filtered": decoded.filtered,
        "accepted": decoded.accepted_per_source.tolist(),
        "counts": dict(decoded.counts),
    }


def exact(a: Decoded, b: Decoded) -> None:
    """Two results are the same to the last bit, but for the number of slow rows."""
    assert [x.code for x in a.rejects] == [x.code for x in b.rejects]
    assert a.rejects == b.rejects
    assert a.counts == b.counts
    assert a.filtered == b.filtered
    assert a.accepted_per_source.tolist() == b.accepted_per_source.tolist()
    assert [x.model for x in a.blocks] == [x.model for x in b.blocks]
    for x, y in zip(a.blocks, b.blocks, strict=True):
        assert x.columns == y.columns
        assert x.versions == y.versions
        for name in ("tags", "values", "event_time", "record_time", "source", "offset", "version", "id_hash"):
            left, right = getattr(x, name), getattr(y, name)
            assert left.dtype == right.dtype
            assert left.tobytes() == right.tobytes(), name


# --- inputs

NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(2**54), 2**54).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(["NaN", "Infinity", "-Infinity",
                     "-0", "-0.0", "0e9", "1e400", "5e-324", "9007199254740993",
                     "0.000000000000000012345678901234567", "1e23", "1E+2",
                     "123456789012345678901234567890123"]),
)  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(
        ["DE", "", "ä", "日本", "a" * 300, "\x7f", "é" * 129, "\ud800", "a\nb", "x\u202e", 'q"q', "\\"]
    ),
    st.text(max_size=12),
)
KNOWN = ["age", "income", "sepal length (cm)", "größe", "a" * 128, "features", "score", "class",
         "a" * 129, "e\u0301", "\u202eage", "", "ümlaut_long_name_that_needs_more_words"]  # fmt: skip
NAMES = st.one_of(*[st.sampled_from(KNOWN)] * 7, st.one_of(st.just("tab\t"), st.text(max_size=6)))
TIMES = st.one_of(
    st.sampled_from(["2026-11-23T10:00:00.123Z", "2026-11-23T10:00:00Z", "2026-11-23t12:00:00.999999+02:00",
                     "2026-11-23 10:00:60Z", "2026-02-30T00:00:00Z", "2026-11-23T10:00:00",
                     "2027-01-01T00:00:00Z",
                     "2020-01-01T00:00:00Z", "1969-12-31T23:59:59.5Z", "0001-01-01T00:00:00+10:00",
                     "2026-11-23T10:00:00.Z", "2026-11-23T24:00:00Z", "2024-02-29T00:00:00-23:59"]),
    st.integers(T0 - AGE - 10, T0 + 300_010),
)  # fmt: skip


USUAL_TIMES = st.sampled_from(["2026-11-23T10:00:00.123Z", "2026-11-23t12:00:00+02:00", T0 - 5])


@st.composite
def token(draw: st.DrawFn, *, deep: bool = True) -> str:
    """A JSON value as text."""
    kind = draw(st.integers(0, 30 if deep else 29))
    if kind < 15:
        return draw(NUMBERS)
    if kind < 22:
        return json.dumps(draw(TEXTS), ensure_ascii=draw(st.integers(0, 9)) == 0)
    if kind < 30:
        return draw(st.sampled_from(["true", "false", "null"]))
    return draw(
        st.sampled_from(
            ["[]", "{}", "[1, 2]", '{"a": 1}', '{"a": 1, "a": 2}', "[" * 9 + "]" * 9, '[{"b":[{}]}]']
        )
    )


@st.composite
def joined(draw: st.DrawFn, items: list[tuple[str, str]]) -> str:
    """An object as text, members in any order, with any white space, sometimes a key twice."""
    items = draw(st.permutations(items))
    if items and draw(st.integers(0, 24)) == 0:
        items = [*items, items[0]]
    space = draw(st.sampled_from(["", "", " ", "\n\t", " \r"]))
    escaped = draw(st.integers(0, 19)) == 0
    members = [f"{json.dumps(k, ensure_ascii=escaped)}{space}:{space}{v}" for k, v in items]
    return "{" + space + f"{space},{space}".join(members) + space + "}"


@st.composite
def distribution(draw: st.DrawFn) -> str:
    """Class probabilities as text, now and then not quite a distribution."""
    weights = draw(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=6))
    total = sum(weights) / draw(st.sampled_from([1.0, 1.0, 1.0, 1.049, 0.951, 1.06, -1.0])) or 1.0
    digits = draw(st.sampled_from([2, 4, 17]))
    shares = [f"{w / total:.{digits}g}" for w in weights]
    return draw(joined(list(zip(draw(st.permutations(KNOWN)), shares, strict=False))))


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """Mostly valid native events."""
    items: list[tuple[str, str]] = []

    def maybe(name: str, make: Callable[[], str], often: int = 7) -> None:
        if draw(st.integers(0, 9)) < often:
            items.append((name, make() if draw(st.integers(0, 29)) else draw(token())))

    names = st.dictionaries(NAMES, token(), max_size=6)
    maybe(
        "model",
        lambda: json.dumps(
            draw(st.sampled_from(["m", "credit-risk", "m", "m", "m", "m", "m", "no such", "other"]))
        ),
        10,
    )
    maybe(
        "id",
        lambda: draw(st.one_of(TEXTS.map(json.dumps), st.sampled_from(["17", "-3", "12345678901234567890"]))),
    )
    maybe("time", lambda: json.dumps(draw(st.one_of(USUAL_TIMES, USUAL_TIMES, TIMES))))
    maybe(
        "model_version", lambda: draw(st.sampled_from(['"3"', "3", '""', '"v\\u0041"', '"2.1-ü"', "-1"])), 5
    )
    maybe("features", lambda: draw(joined(list(draw(names).items()))), 9)
    probabilities = st.one_of(joined(list(draw(names).items())), distribution())
    inner = {"score": token(), "class": token(), "probabilities": probabilities, "note": token()}
    chosen = draw(st.lists(st.sampled_from(sorted(inner)), unique=True))
    maybe("prediction", lambda: draw(st.one_of(joined([(k, draw(inner[k])) for k in chosen]), token())))
    maybe("trace", lambda: draw(token()), 3)
    text = draw(joined(items))
    pad = draw(st.sampled_from(["", "", " ", "\n"] if draw(st.integers(0, 19)) else ["\ufeff"]))
    return (
        pad
        + text
        + draw(st.sampled_from(["", "", " \n", ",", "x"] if draw(st.integers(0, 9)) == 0 else [""]))
    ).encode("utf-8", "surrogatepass")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """An event with bytes changed, left out or put in."""
    data = bytearray(draw(events()))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        what = draw(st.integers(0, 3))
        if what == 0:
            data[at : at + 1] = bytes(
                [draw(st.one_of(st.integers(0, 255), st.sampled_from(b'{}[],:"\\0-.eE')))]
            )
        elif what == 1:
            del data[at : at + draw(st.integers(1, 4))]
        elif what == 2:
            data[at:at] = draw(st.binary(min_size=1, max_size=3))
        else:
            del data[at:]
    return bytes(data)


RECORDS = st.lists(
    st.one_of(events(), events(), events(), mutated(), st.binary(max_size=20), st.none()),
    min_size=1,
    max_size=12,
)
ALLOWED = frozenset({"m", "credit-risk"})


def decoders(**changes: Any) -> tuple[NativeDecoder, NativeDecoder]:
    """A decoder with and one without the scanner."""
    options: dict[str, Any] = {
        "fixed_model": None,
        "allowed_models": ALLOWED,
        "max_event_age_ms": AGE,
    } | changes
    return NativeDecoder(**options), NativeDecoder(**options, fast=False)


def training() -> RecordChunk:
    """Events that teach a decoder every usual key, model and version, so that its fast path has to decide."""
    features = dict.fromkeys(KNOWN, 1)
    prediction = {"score": 1, "class": "a", "probabilities": features, "note": 1}
    versions = (("m", "3"), ("credit-risk", 3), ("m", "2.1-ü"))
    same = {"id": "1", "time": T0, "features": features, "prediction": prediction, "trace": 1}
    rows = [same | {"model": model, "model_version": version} for model, version in versions]
    return chunk_of([json.dumps(row, ensure_ascii=False).encode() for row in rows])


def judged_by_oracle(chunk: RecordChunk, values: list[bytes | None], decoded: Decoded) -> None:
    """Every record has the outcome that the oracle gives it, and the counts add up."""
    got = plain(decoded)
    total: Counter[str] = Counter()
    for i, value in enumerate(values):
        if value is None:
            continue
        wanted = oracle(value, int(chunk.timestamps[i]), ALLOWED)
        if isinstance(wanted, str):
            assert got["rejects"][i][0] == wanted, value
        else:
            assert got["rows"][i] == wanted[:5], value
            total += wanted[5]
    assert got["counts"] == {k: v for k, v in total.items() if v}
    assert len(got["rows"]) + len(got["rejects"]) + got["filtered"] == len(values)


def three_ways(values: list[bytes | None], seed: int) -> tuple[int, int]:
    """Cold, warm and trained decoders, both paths, and the oracle: (accepted, of them slow)."""
    cold, slow = decoders()
    trained, slow_trained = decoders()
    exact(trained.decode(training()), slow_trained.decode(training()))
    chunk = chunk_of(values, seed=seed)
    expected = slow.decode(chunk)
    exact(cold.decode(chunk), expected)
    exact(cold.decode(chunk), expected)
    found = trained.decode(chunk)
    exact(found, slow_trained.decode(chunk))
    exact(found, expected)
    judged_by_oracle(chunk, values, expected)
    return int(found.accepted_per_source.sum()), found.slow_rows - len(found.rejects)


@settings(max_examples=50)
@given(values=RECORDS, seed=st.integers(0, 9))
def test_fast_slow_and_oracle_agree(values: list[bytes | None], seed: int) -> None:
    """The same records give the same result on all paths; Hypothesis looks for the strange ones."""
    three_ways(values, seed)


EDITS = [bytes([c]) for c in b'"\\{}[],: 09.eE-+xtn\n\0\x80\xc3\xe9\xff'] + [b"\xed\xa0\x80", b'""', b""]
"""What records are spoilt with: structure, digits, control characters, UTF-8 out of place, nothing."""


class Writer:
    """Writes usual events in all spellings, and spoils some: quicker than Hypothesis, for sheer number."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def scalar(self) -> str:
        """A number, string or literal."""
        rng = self.rng
        number = rng.choice(
            (rng.random(), rng.gauss(0, 10.0 ** rng.randint(-30, 30)), round(rng.gauss(0, 99), 3))
        )
        word = rng.choice(
            ("DE", "US", "größe", "", "日本", "a" * rng.choice((5, 256, 257)), f"v{rng.randrange(99)}")
        )
        return rng.choice((
            repr(number), repr(number), str(rng.randint(-(10**rng.randint(1, 18)), 10**9)), f"{number:.4e}",
            json.dumps(word, ensure_ascii=rng.random() < 0.1), json.dumps(word, ensure_ascii=False),
            rng.choice(("true", "false", "null", "NaN", "-Infinity", "-0.0", "1E5", "0", "[]", '{"a":1}')),
        ))  # fmt: skip

    def members(self, items: list[tuple[str, str]]) -> str:
        """An object of the members in any order."""
        self.rng.shuffle(items)
        if items and self.rng.random() < 0.03:
            items.append(self.rng.choice(items))
        gap = self.rng.choice(("", " ", "", "\t\n"))
        return (
            "{"
            + gap
            + f",{gap}".join(f"{json.dumps(k, ensure_ascii=False)}:{gap}{v}" for k, v in items)
            + gap
            + "}"
        )

    def event(self) -> bytes:
        """A native event."""
        rng = self.rng
        some = [(name, self.scalar()) for name in rng.sample(KNOWN, rng.randrange(len(KNOWN)))]
        first = round(rng.random(), rng.randint(1, 17))
        shares = [repr(first), repr(round(1.0 - first, rng.randint(1, 17))), rng.choice(("0", "0.0", "1e-9"))]
        spoilt = rng.random() < 0.5
        likely = [
            (name, self.scalar() if spoilt else p)
            for name, p in zip(rng.sample(KNOWN, 3), shares, strict=True)
        ]
        inner = [("score", self.scalar()), ("class", self.scalar()), ("note", self.scalar())]
        inner = [*rng.sample(inner, rng.randrange(4)), ("probabilities", self.members(likely))]
        moment = T0 - rng.randrange(10**8)
        stamp = f"{datetime.fromtimestamp(moment / 1000, UTC):%Y-%m-%dT%H:%M:%S}.{rng.randrange(1000):03d}"
        items = [
            ("model", rng.choice(('"m"', '"credit-risk"', '"m"', '"m"', '"no"'))),
            ("features", self.members(some)),
            ("id", json.dumps(rng.choice((rng.randrange(10**18), "e1", "größe", "")), ensure_ascii=False)),
            ("time", rng.choice((f'"{stamp}Z"', f'"{stamp}+01:30"', str(moment), "null",
                                f'"{stamp[:-4]}Z"'))),
            ("model_version", rng.choice(('"3"', "3", '"2.1-ü"', "null", '"new"'))), ("trace", self.scalar()),
            ("prediction", rng.choice((self.scalar(), self.members(inner), self.members(inner)))),
        ]  # fmt: skip
        return self.members([items[0], *rng.sample(items[1:], rng.randrange(7))]).encode()

    def record(self) -> bytes:
        """An event, of which one in three is spoilt at a few places."""
        data = bytearray(self.event())
        rng = self.rng
        if rng.random() < 0.33:
            for _ in range(rng.randint(1, 2)):
                at = rng.randrange(len(data) + 1)
                new = rng.choice(EDITS)
                data[at : at + rng.randrange(2)] = new
        if rng.random() < 0.05:
            data += rng.choice((b" ", b"\n", b",", b"}", b"{}", b"x"))
        return bytes(data)


@pytest.mark.parametrize("seed", range(4))
def test_thousands_of_events_agree(seed: int) -> None:
    """Usual events in all spellings, a third of them spoilt: most that are accepted take the fast path."""
    writer = Writer(seed)
    accepted, slow_rows = three_ways([writer.record() for _ in range(1_500)], seed)
    assert accepted > 600
    assert slow_rows < 0.35 * accepted


SMALL = (
    b'{"model":"m","id":1,"features":{"age":-1.5e1,"income":"\xc3\xa9","class":null},"time":1795428000000 ,'
    b'"prediction":{"probabilities":{"age":1,"income":0.5},"score":true}}'
)


def test_every_single_edit() -> None:
    """One small event with every edit at every place: most are errors, and all are the same on both paths."""
    fast, slow = decoders()
    exact(fast.decode(training()), slow.decode(training()))
    accepted = 0
    for at in range(len(SMALL) + 1):
        values = [SMALL[:at] + new + SMALL[at + cut :] for new in EDITS for cut in (0, 1)]
        chunk = chunk_of([SMALL, *values])
        found = fast.decode(chunk)
        exact(found, slow.decode(chunk))
        accepted += int(found.accepted_per_source.sum())
        assert found.slow_rows <= len(values)  # the event itself is the scanner's
    assert accepted > 1_000


@settings(max_examples=20)
@given(chunks=st.lists(RECORDS, min_size=2, max_size=4), fixed=st.booleans(), models_max=st.integers(1, 2))
def test_paths_agree_over_chunks(chunks: list[list[bytes | None]], fixed: bool, models_max: int) -> None:
    """Tables that grew over several chunks change nothing; nor does a fixed model or a limit on models."""
    fast, slow = decoders(fixed_model="fixed" if fixed else None, allowed_models=None, models_max=models_max)
    exact(fast.decode(training()), slow.decode(training()))
    for values in chunks:
        chunk = chunk_of(values)
        exact(fast.decode(chunk), slow.decode(chunk))


@settings(max_examples=40)
@given(value=events(), data=st.data())
def test_cut_records_agree(value: bytes, data: st.DataObject) -> None:
    """A record cut anywhere, followed by the bytes that were cut off, is judged by its own bytes only."""
    at = data.draw(st.integers(0, len(value)))
    whole = chunk_of([value])
    fast, slow = decoders()
    fast.decode(whole)
    slow.decode(whole)
    cut = RecordChunk(
        whole.buf, whole.starts, whole.starts + at, whole.source, whole.offsets, whole.timestamps, SOURCES
    )
    exact(fast.decode(cut), slow.decode(cut))


def test_the_fast_path_is_taken() -> None:
    """Ordinary events need the slow path once, not each time."""
    event = (
        b'{"model":"m","features":{"a":1.5,"b":"x","c":null,"d":true},"prediction":{"score":0.5,"class":"y"}}'
    )
    fast, _ = decoders()
    assert fast.decode(chunk_of([event] * 50)).slow_rows == 1
    assert fast.decode(chunk_of([event] * 50)).slow_rows == 0
    assert ColumnKind.CLASS in {c.kind for c in fast.decode(chunk_of([event])).blocks[0].columns}
