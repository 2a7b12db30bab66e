"""What is fuzzed: each target takes dice, makes one hostile input, and says what became of its rows.

Everything but the errors that ``driftline.errors`` documents is a crash. Rows in that are not accepted,
rejected or filtered are unaccounted for.
"""

from __future__ import annotations

import functools
import json
import random
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import google_crc32c
import numpy as np

from driftline.config import load_settings
from driftline.decide import store
from driftline.decide.outputs import whole
from driftline.decide.partition import MailboxPartition
from driftline.decide.replay import TOPIC_ID, Replay
from driftline.detect import snapshot
from driftline.detect.reference import from_json, to_json
from driftline.errors import FatalError, HoleError, MessageError, OperatorError
from driftline.ingest import envelope
from driftline.ingest.decode import Decoded, FieldMapping, NativeDecoder
from driftline.ingest.decode.command import decode_command
from driftline.ingest.decode.mapping import NATIVE_LABELS
from driftline.ingest.files import EventFiles
from driftline.records import Block, Command, Envelope, Progress, ProgressFlag, Reject, Source
from fuzz.mutate import spoil_bytes, spoil_json
from harness import golden, golden_labelled
from property.test_decode import Writer, chunk_of
from property.test_mapping import Maker, settings_of

Rows = tuple[int, int]  # in, accounted for
RAW: Final = Source("file", 0)
COMMANDS: Final = Path(__file__).parents[2] / "schemas" / "examples" / "command" / "valid"


def _accounted(decoded: Decoded) -> int:
    return int(decoded.accepted_per_source.sum()) + len(decoded.rejects) + decoded.filtered


def native(rng: random.Random) -> Rows:
    """Records of an event topic: spoilt events, junk, empty values; over two chunks, tables filling up."""
    decoder = NativeDecoder(
        fixed_model=rng.choice((None, "m")), allowed_models=None, max_event_age_ms=10**9, models_max=5
    )
    writer = Writer(rng.randrange(2**32))
    accounted = 0
    for _ in range(2):
        values = [_record(rng, writer.record()) for _ in range(20)]
        accounted += _accounted(decoder.decode(chunk_of(values, seed=rng.randrange(99))))
    return 40, accounted


def _record(rng: random.Random, event: bytes) -> bytes | None:
    match rng.randrange(8):
        case 0:
            return None
        case 1:
            return rng.randbytes(rng.randrange(60))
        case 2:
            return rng.choice(
                (b"[" * 5_000, b'{"a":' * 500, b'{"model":"m","x":"' + b"y" * (1 << 20) + b'"}')
            )
        case 3:
            return event
        case _:
            return spoil_bytes(rng, event)


def mapped(rng: random.Random) -> Rows:
    """The same for records of another shape, under any mapping."""
    maker = Maker(rng)
    paths = maker.mapping()
    mapping = FieldMapping.of(settings_of(paths))
    decoder = NativeDecoder(fixed_model=None, allowed_models=None, max_event_age_ms=None, mapping=mapping)
    values = [_record(rng, maker.record(paths)) for _ in range(20)]
    chunk = chunk_of(values)
    return 40, _accounted(decoder.decode(chunk)) + _accounted(decoder.decode(chunk))


LABELS: Final[tuple[Any, ...]] = ("approve", "deny", "fraud", "größe", 1, 0, 2.5, -0.0, 10**15, True, False)


def labels(rng: random.Random) -> Rows:
    """Records of a label topic, joined with events of some of their ids; stored, restored, gone on with."""
    events = NativeDecoder(fixed_model="m", allowed_models=None, max_event_age_ms=None)
    decoder = NativeDecoder(
        fixed_model=rng.choice((None, "m")), allowed_models=None, max_event_age_ms=None, mapping=NATIVE_LABELS
    )
    box, writer = golden_labelled.from_cut(golden.read(_labelled())), Writer(rng.randrange(2**32))
    accounted = 0
    for first in (0, 20):
        said = events.decode(chunk_of([writer.event() for _ in range(20)]))
        known = decoder.decode(chunk_of([_label(rng, writer) for _ in range(20)], seed=rng.randrange(99)))
        accounted += _accounted(known)
        _send(box.partition, [(b, 0) for b in said.blocks] + [(b, 2) for b in known.blocks], first)
        box.checkpoint()
        box = golden_labelled.from_cut(box.stored)
        assert not box.partition.drain_notes()  # what was written a moment ago can be read
    golden_labelled.go_on(box, golden_labelled.CUT, golden_labelled.CUT + 500)
    return 40, accounted


def _label(rng: random.Random, writer: Writer) -> bytes | None:
    """A label in many shapes, half of them with an odd value somewhere; or an event, or spoilt bytes."""
    body: dict[str, Any] = {"model": rng.choice(("m", "m", "n", "new")), "label": rng.choice(LABELS)}
    if rng.random() < 0.9:
        body["id"] = rng.choice(("e1", "größe", "", rng.randrange(10**18)))
    if rng.random() < 0.3:
        body["prediction"] = rng.choice((0.5, "deny", {"score": 0.5, "class": "deny"}))
    if rng.random() < 0.3:
        body["time"] = rng.choice(("2026-11-23T10:00:00Z", -1, 0, 2**62))
    if rng.random() < 0.3:
        body = spoil_json(rng, body)
    text = json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    return text if rng.random() < 0.4 else _record(rng, text if rng.random() < 0.9 else writer.event())


def _send(partition: MailboxPartition, blocks: list[tuple[Block, int]], first: int) -> None:
    """Blocks decoded from 20 records as one envelope; the number beside each moves its sources' places."""
    sources = [Source(topic, p) for topic in ("fuzz-events", "fuzz-labels") for p in (0, 1)]
    flag = ProgressFlag.START if first == 0 else 0
    progress = tuple(Progress(s, "t", first - 1, first, first + 19, flag, -1) for s in sources)
    moved = [replace(b, source=b.source + at, offset=b.offset + first) for b, at in blocks]
    value = envelope.pack(Envelope("fuzz", progress, tuple(moved)))
    partition.apply(partition.next_offset, 0, value)


def table(rng: random.Random) -> Rows:
    """A CSV file."""
    names = rng.sample(["model", "time", "id", "score", "class", "prediction", "a", "b", "\u202e", ""], 6)
    cells = (
        "1",
        "-2.5",
        "m",
        "",
        "true",
        "nan",
        "1e999",
        "2026-11-23T10:00:00Z",
        '"a,""b"',
        "9" * 40,
        "x\x00y",
    )
    lines = [",".join(names), *(",".join(rng.choice(cells) for _ in names) for _ in range(rng.randrange(12)))]
    data = "\n".join(lines).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_bytes(spoil_bytes(rng, data) if rng.random() < 0.7 else data)
        run = Replay(golden.SETTINGS)
        fixed = golden.SETTINGS.inputs[0].model_copy(update={"model": rng.choice((None, "m"))})
        files = EventFiles([path], fixed, run.decoder, allowed_models=None, batch_rows=rng.randint(1, 9))
        rows = accounted = 0
        for decoded, n in files:
            rows, accounted = rows + n, accounted + _accounted(decoded)
            run.take(decoded, n)
    return rows, accounted


def _partition() -> MailboxPartition:
    return golden.restored(golden.read(_newest()), golden.CUT).partition


def _newest() -> Path:
    return max(golden.STATES.glob("v*/state.bin"), key=lambda path: int(path.parent.name[1:]))


def _labelled() -> Path:
    return _newest().with_name("labelled.bin")


@functools.cache
def _envelope() -> bytes:
    run = Replay(golden.SETTINGS)
    lines = [golden.event(row) for row in range(60)]
    decoded = run.decoder.decode(chunk_of(list(lines), times=list(range(60))))
    progress = tuple(Progress(Source("t", p), TOPIC_ID, -1, 0, 59, ProgressFlag.START, 59) for p in (0, 1))
    command = Command("warming", 30, 0, 5, b'{"type":"baseline.promote"}')
    return envelope.pack(Envelope("fuzz", progress, tuple(decoded.blocks), (command,)))


def mailbox(rng: random.Random) -> Rows:
    """A record of the mailbox; half of them with a checksum that fits. What is accepted is applied."""
    value = spoil_bytes(rng, _envelope())
    if rng.random() < 0.7 and len(value) >= 12:
        value = value[:8] + int(google_crc32c.value(value[12:])).to_bytes(4, "little") + value[12:]
    if rng.random() < 0.5 and len(value) >= 16:
        body = len(value).to_bytes(4, "little") + value[16:]
        value = value[:8] + int(google_crc32c.value(body)).to_bytes(4, "little") + body
    found = envelope.unpack(value)
    envelope.split(found, bytes_max=8_000)
    partition = _partition()
    partition.apply(partition.next_offset, 0, value)
    _ = golden.stored(_as_replay(partition))
    return 0, 0


def _as_replay(partition: MailboxPartition) -> Replay:
    run = Replay(golden.SETTINGS)
    run.partition = partition
    run._row = golden.CUT
    return run


def state(rng: random.Random) -> Rows:
    """Rows of the state topic, spoilt behind a checksum that fits or not; what is restored goes on."""
    run = golden.restored(_spoil_rows(rng, golden.read(_newest())), golden.CUT)
    run._row = run.partition.watermarks.get(run.source, golden.CUT - 1) + 1
    golden.go_on(run, run._row, run._row + 400)
    golden.stored(run)
    return 0, 0


def labelled_state(rng: random.Random) -> Rows:
    """The same of models with labels."""
    box = golden_labelled.from_cut(_spoil_rows(rng, golden.read(_labelled())))
    golden_labelled.go_on(box, golden_labelled.CUT, golden_labelled.CUT + 1_000)
    return 0, 0


def _spoil_rows(rng: random.Random, rows: dict[bytes, bytes]) -> dict[bytes, bytes]:
    for key in rng.sample([key for key in rows if b"+" not in key], rng.randint(1, 2)):
        value = whole(rows, key)
        if rng.random() < 0.05:
            rows[key] = rng.randbytes(rng.randrange(40))
        else:
            rows[key] = _spoil_shard(rng, value) if key.startswith(b"m|") else _spoil_position(rng, value)
    return rows


def _spoil_position(rng: random.Random, value: bytes) -> bytes:
    if rng.random() < 0.5:
        return spoil_bytes(rng, value)
    return json.dumps(spoil_json(rng, json.loads(value))).encode()


def _spoil_shard(rng: random.Random, value: bytes) -> bytes:
    if rng.random() < 0.2 or len(value) < snapshot.HEADER.size:
        return spoil_bytes(rng, value)
    _, _, size, raw = snapshot.HEADER.unpack_from(value)
    text, packed = value[snapshot.HEADER.size :][:size], value[snapshot.HEADER.size + size :]
    match rng.randrange(3):
        case 0:
            text = json.dumps(spoil_json(rng, json.loads(text))).encode()
        case 1:
            raw = rng.choice((raw - 1, raw + 1, 2**32 - 1, 0, 16 << 20))
            packed = spoil_bytes(rng, packed)
        case _:
            return _spoil_arrays(rng, value)
    return _shard(text, raw & 0xFFFFFFFF, packed)


def _spoil_arrays(rng: random.Random, value: bytes) -> bytes:
    """Whole, with other numbers in its arrays."""
    import cramjam

    _, _, size, raw = snapshot.HEADER.unpack_from(value)
    text, packed = value[snapshot.HEADER.size :][:size], value[snapshot.HEADER.size + size :]
    if not raw:
        return value
    data = bytearray(bytes(cramjam.lz4.decompress_block(packed, output_len=raw)))
    for _ in range(rng.randint(1, 20)):
        at = rng.randrange(max(len(data) - 8, 1)) & ~7
        real = rng.choice((np.nan, np.inf, -1e308, 1e-300, rng.gauss(0, 1e3)))
        whole_number = rng.choice((rng.randint(-(2**63), 2**63 - 1), rng.randint(-3, 70)))
        number = rng.choice((np.int64(whole_number), np.float64(real)))
        data[at : at + 8] = number.tobytes()
    return _shard(text, raw, bytes(cramjam.lz4.compress_block(bytes(data), store_size=False)))


def _shard(text: bytes, raw: int, packed: bytes) -> bytes:
    rest = len(text).to_bytes(4, "little") + raw.to_bytes(4, "little") + text + packed
    return snapshot.MAGIC + int(google_crc32c.value(rest)).to_bytes(4, "little") + rest


@functools.cache
def _baseline() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(to_json(golden.baseline()))
    return parsed


def baseline(rng: random.Random) -> Rows:
    """A baseline's file; what is accepted is put in force and rows are compared with it."""
    text = json.dumps(spoil_json(rng, _baseline())).encode()
    reference = from_json(spoil_bytes(rng, text) if rng.random() < 0.2 else text)
    run = golden.restored(golden.read(_newest()), golden.CUT)
    run.promote(reference)
    golden.go_on(run, golden.CUT, golden.CUT + 400)
    golden.stored(run)
    return 0, 0


@functools.cache
def _commands() -> tuple[dict[str, Any], ...]:
    """The examples of the schema, for a model of the story and with a baseline that can be put in force."""
    found = [json.loads(path.read_bytes()) for path in sorted(COMMANDS.glob("*.json"))]
    promoted = {"baseline": _baseline()}
    return tuple(body | {"model": "active"} | (promoted if "baseline" in body else {}) for body in found)


def command(rng: random.Random) -> Rows:
    """Records of the commands topic, of every kind that has an example; accepted ones reach the model."""
    body = dict(rng.choice(_commands()))
    if "signal" in body:
        body["signal"] = rng.choice(("amount", "country", "no such"))
    if "until" in body:
        body["until"] = f"1970-01-01T00:0{rng.randrange(10)}:00Z"  # the story takes some minutes
    raw = json.dumps(spoil_json(rng, body)).encode()
    raw = spoil_bytes(rng, raw) if rng.random() < 0.3 else raw
    found = decode_command(raw, source=Source("c", 0), source_index=0, offset=0, timestamp=0)
    if isinstance(found, Reject):
        return 1, 1
    partition = _partition()
    progress = Progress(Source("c", 0), TOPIC_ID, -1, 0, 0, ProgressFlag.START, 0)
    value = envelope.pack(Envelope("fuzz", (progress,), (), (found,)))
    partition.apply(partition.next_offset, 0, value)
    golden.go_on(_as_replay(partition), golden.CUT, golden.CUT + 400)
    return 1, 1


CONFIG: Final[dict[str, Any]] = {
    "kafka": {"bootstrap_servers": "a:1", "security_protocol": "SASL_SSL", "sasl_username": "u",
              "sasl_password": "p"},
    "inputs": [{"topic": "t", "mapping": {"model": "/m", "features": {"*": "/f", "x": "/g/0"}}}],
    "topics": {"prefix": "d", "replication_factor": 1}, "models": {"m": {"learning_rows": 900}, "n": None},
    "detection": {"false_alarms_per_week": 2}, "ingest": {"max_event_age_hours": None}, "http": {"port": 0},
}  # fmt: skip


def config(rng: random.Random) -> Rows:
    """A configuration file."""
    import yaml

    body = spoil_json(rng, CONFIG)
    text = yaml.safe_dump(body, allow_unicode=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "driftline.yaml"
        path.write_bytes(spoil_bytes(rng, text) if rng.random() < 0.5 else text)
        settings = load_settings(path)
    settings.warnings()
    settings.revision()
    for source in settings.inputs:
        if source.mapping is not None:
            FieldMapping.of(source.mapping)
    return 0, 0


def position(rng: random.Random) -> Rows:
    """The row ``n|partition``."""
    store.read_position(_spoil_position(rng, golden.read(_newest())[b"n|0"]), 0)
    return 0, 0


TARGETS: Final[dict[str, Callable[[random.Random], Rows]]] = {
    target.__name__: target
    for target in (
        native, mapped, labels, table, mailbox, state, labelled_state, position, baseline, command, config
    )
}  # fmt: skip


def attempt(target: str, number: int) -> tuple[int, int, str]:
    """One input, made from a target and a number: rows in, rows accounted for, and what became of it."""
    try:
        rows, accounted = TARGETS[target](random.Random(f"{target} {number}"))
    except (MessageError, OperatorError, FatalError, HoleError) as error:
        return 0, 0, type(error).__name__
    return rows, accounted, "accepted"
