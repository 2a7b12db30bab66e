"""The rows of the state topic: what a checkpoint writes and a take-over reads.

Keys: ``n|partition`` (position, watermarks, models) and ``m|model|shard``. Shards of a model: ``meta``
(phase, counters, episodes), ``ref`` (reference; written when it changes), ``win`` (rings, windows and
warm-up), ``det.K`` (64 channels each), ``learn.K`` (rows being learned, of all columns or of those that
appeared later; a sealed segment is written once).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from driftline.config import DetectionSettings, ModelSettings
from driftline.decide.episodes import Episodes
from driftline.decide.model import Model
from driftline.decide.outputs import StateRow, whole
from driftline.detect import snapshot
from driftline.detect.actor import Actor, Detection, Phase, new_detection
from driftline.detect.kernels.state import CHANNEL_PLAN, CHANNEL_STATE, STATE_VERSION, WARMUP
from driftline.detect.reference import from_json, to_json
from driftline.detect.rows import LearningRows, Segment
from driftline.errors import ExitCode, FatalError, MessageError
from driftline.records import ColumnKind, Source

CHANNELS_A_SHARD: Final = 64
WINDOW_ARRAYS: Final = ("counts", "missing", "open", "home", "last")
RECORDS: Final = {
    "plan": CHANNEL_PLAN,
    "state": CHANNEL_STATE,
    "warm": WARMUP,
    "rate_plan": CHANNEL_PLAN,
    "rate_state": CHANNEL_STATE,
}


@dataclass(slots=True)
class RawPosition:
    """How far a raw partition was applied."""

    topic_id: str
    hi: int = -1
    record_time: int = -1  # largest record timestamp seen, ms
    seen_ms: int = -1  # mailbox timestamp of the last envelope that moved it


@dataclass(slots=True)
class Position:
    """The row ``n|partition``."""

    next: int
    topic_id: str
    partitions: int
    revision: str
    time: int = -1
    raw: dict[Source, RawPosition] = field(default_factory=dict)
    models: list[str] = field(default_factory=list)
    lost: int = 0  # raw records that the operator accepted as lost
    over_limit: int = 0  # rows of models beyond the limit

    def advance(self, now_ms: int, idle_ms: int) -> None:
        """Move partition time: the least record timestamp of raw partitions that are not idle; never back."""
        alive = [
            r.record_time for r in self.raw.values() if now_ms - r.seen_ms <= idle_ms and r.record_time >= 0
        ]
        if alive:
            self.time = max(self.time, min(alive))


def next_key(partition: int) -> bytes:
    """Key of the position row."""
    return b"n|%d" % partition


def shard_key(model: str, shard: str) -> bytes:
    """Key of a shard of a model; model ids cannot hold a bar."""
    return f"m|{model}|{shard}".encode()


def position_row(position: Position, partition: int) -> StateRow:
    """The position as a state row."""
    body = {
        "v": 1,
        "next": position.next,
        "topic_id": position.topic_id,
        "partitions": position.partitions,
        "revision": position.revision,
        "time": position.time,
        "lost": position.lost,
        "over_limit": position.over_limit,
        "models": list(position.models),
        "raw": [[s.topic, s.partition, *asdict(r).values()] for s, r in position.raw.items()],
    }
    text = json.dumps(body, separators=(",", ":")).encode()
    return StateRow(next_key(partition), lambda: text)


def read_position(value: bytes | None, partition: int) -> Position:
    """The inverse of ``position_row``.

    Raises:
        FatalError: STATE_MISSING when there is none, CONFIG when a newer version wrote it.
    """
    if value is None:
        raise FatalError(ExitCode.STATE_MISSING, f"no position stored for mailbox partition {partition}.")
    body = json.loads(value)
    if body["v"] > 1:
        raise FatalError(
            ExitCode.CONFIG, f"state format {body['v']}: run the version that wrote it or a later one."
        )
    raw = {Source(t, p): RawPosition(*rest) for t, p, *rest in body["raw"]}
    return Position(
        body["next"],
        body["topic_id"],
        body["partitions"],
        body["revision"],
        body["time"],
        raw,
        body["models"],
        body["lost"],
        body["over_limit"],
    )


# --- writing ----------------------------------------------------------------------------------------------


def model_rows(model: Model) -> Iterator[StateRow]:
    """The shards of a model that changed, on copies taken now."""
    actor, name = model.actor, model.name
    segments = _learning_rows(model)
    yield _row(name, "meta", _meta(model), {})
    yield from segments
    for shard in range(_segment_count(actor), model.learn_shards):  # a reference was frozen from them
        yield StateRow(shard_key(name, f"learn.{shard}"), lambda: None)
    model.learn_shards = _segment_count(actor)
    d = actor.detection
    if d is None:
        return
    if model.reference_dirty:
        reference = d.layout.reference
        yield StateRow(
            shard_key(name, "ref"),
            lambda: snapshot.encode("ref", {}, {"json": np.frombuffer(to_json(reference), dtype=np.uint8)}),
        )
        model.reference_dirty = False
    codes = [None if c is None else list(c.new) for c in d.codes]
    head = {
        "codes": codes,
        "warm_rows": d.warm_rows,
        "run_length": d.run_length,
        "active_rows": d.active_rows,
        "later_run_length": d.later_run_length,
        "rate": None if d.rate is None else [d.rate.bucket, d.rate.count],
        "plugins": [plugin.to_json() for plugin in d.plugins],
        "window": [d.window.rows, d.window.first_time, d.window.number, d.window.tainted],
    }
    yield _row(
        name,
        "win",
        head,
        {
            "recent": d.recent.copy(),
            "recent_n": d.recent_n.copy(),
            "mismatches": d.mismatches.copy(),
            "tau_live": d.tau_live.copy(),
            "warm": d.warm.copy(),
            **{f"window_{name}": getattr(d.window, name).copy() for name in WINDOW_ARRAYS},
            **(
                {} if d.rate is None else {"rate_plan": d.rate.plan.copy(), "rate_state": d.rate.state.copy()}
            ),
        },
    )
    for shard in range(-(-len(d.plan) // CHANNELS_A_SHARD)):
        part = slice(shard * CHANNELS_A_SHARD, (shard + 1) * CHANNELS_A_SHARD)
        arrays = {"plan": d.plan[part].copy(), "state": d.state[part].copy()}
        yield _row(name, f"det.{shard}", {"state_version": STATE_VERSION}, arrays)


def _row(model: str, shard: str, header: dict[str, Any], arrays: dict[str, Any]) -> StateRow:
    return StateRow(shard_key(model, shard), lambda: snapshot.encode(shard, header, arrays))


def _meta(model: Model) -> dict[str, Any]:
    actor = model.actor
    return {
        "phase": actor.phase.value,
        "learning_rows": actor.learning_rows,
        "rows": actor.rows,
        "last_time": actor.last_time,
        "version": actor.version,
        "dismissed": actor.dismissed,
        "rate_marks": [list(m) for m in actor.rate_marks],
        "lost_states": model.lost_states,
        "sources": [[s.topic, s.partition, n] for s, n in actor.source_rows.items()],
        "segments": _segment_count(actor),
        "episodes": model.episodes.to_json(),
    }


def _segment_count(actor: Actor) -> int:
    rows = actor.learning or actor.later
    return 0 if rows is None else len(rows.sealed) + (rows.tail() is not None)


def _learning_rows(model: Model) -> list[StateRow]:
    learning = model.actor.learning or model.actor.later
    if learning is None:
        return []
    segments: list[tuple[int, Segment]] = list(enumerate(learning.sealed))[learning.stored :]
    tail = learning.tail()
    if tail is not None:
        segments.append((len(learning.sealed), tail))
    learning.stored = len(learning.sealed)
    model.learn_shards = max(model.learn_shards, _segment_count(model.actor))
    return [
        _row(
            model.name,
            f"learn.{i}",
            {"columns": [[int(k), n, list(s)] for k, n, s in segment.columns]},
            {"tags": segment.tags, "values": segment.values, "times": segment.times},
        )
        for i, segment in segments
    ]


# --- reading ----------------------------------------------------------------------------------------------


def read_model(
    name: str, rows: Mapping[bytes, bytes], settings: DetectionSettings, models: Mapping[str, ModelSettings]
) -> tuple[Model, str]:
    """A model from its shards; when they are unreadable a new one that learns again, and what is wrong.

    Raises:
        FatalError: CONFIG, a newer version wrote them.
    """
    try:
        return _read_model(name, rows, settings, models), ""
    except (MessageError, KeyError, TypeError, ValueError) as error:
        model = Model.new(name, settings, models, learn=True)
        try:  # keep counting rows where the counts survived
            meta, _ = snapshot.decode(whole(rows, shard_key(name, "meta")), "meta", {})
            model.actor.source_rows = {Source(t, p): n for t, p, n in meta["sources"]}
            model.actor.rows, model.actor.last_time = meta["rows"], meta["last_time"]
        except (MessageError, KeyError, TypeError, ValueError):
            pass
        return model, f"stored state set aside: {type(error).__name__}: {error}"


def _read_model(
    name: str, rows: Mapping[bytes, bytes], settings: DetectionSettings, models: Mapping[str, ModelSettings]
) -> Model:
    meta, _ = snapshot.decode(whole(rows, shard_key(name, "meta")), "meta", {})
    model = Model.new(name, settings, models, learn=True)
    actor = model.actor
    actor.phase, actor.learning_rows = Phase(meta["phase"]), meta["learning_rows"]
    actor.rows, actor.last_time, actor.version = meta["rows"], meta["last_time"], meta["version"]
    actor.dismissed, model.lost_states = meta["dismissed"], meta["lost_states"]
    actor.rate_marks = [(r, t) for r, t in meta["rate_marks"]]
    actor.source_rows = {Source(t, p): n for t, p, n in meta["sources"]}
    model.episodes = Episodes.from_json(meta["episodes"])
    if actor.phase in {Phase.WARMING, Phase.ACTIVE}:
        actor.detection, plugins = _read_detection(name, rows)
        model.attach_plugins(plugins)
        model.reference_dirty = False
    if meta["segments"]:
        segments = [_read_segment(name, rows, i) for i in range(meta["segments"])]
        learning = LearningRows(segments)
        if actor.detection is None:
            actor.learning = learning
        else:
            actor.later = learning
        model.learn_shards = len(segments)
    return model


def _read_segment(name: str, rows: Mapping[bytes, bytes], index: int) -> Segment:
    shard = f"learn.{index}"
    head, arrays = snapshot.decode(whole(rows, shard_key(name, shard)), shard, {})
    columns = tuple((ColumnKind(k), n, tuple(s)) for k, n, s in head["columns"])
    return Segment(columns, arrays["tags"], arrays["values"], arrays["times"])


def _not_newer(name: str, version: int) -> None:
    """Stop before the state of a newer version is set aside as if it were broken."""
    if version > STATE_VERSION:
        raise FatalError(
            ExitCode.CONFIG,
            f"model {name}: detector state of version {version}, this one reads up to {STATE_VERSION}.",
            remedy="Run the Driftline that wrote it or a later one.",
        )


def _read_detection(name: str, rows: Mapping[bytes, bytes]) -> tuple[Detection, list[dict[str, Any]]]:
    """The detection and the states of its plug-ins, which the settings may not want any more."""
    _, held = snapshot.decode(whole(rows, shard_key(name, "ref")), "ref", {})
    reference = from_json(held["json"].tobytes())
    head, arrays = snapshot.decode(whole(rows, shard_key(name, "win")), "win", RECORDS)
    channels = sum(len(s.channels) for s in reference.signals)
    plans, states = [], []
    for shard in range(-(-channels // CHANNELS_A_SHARD)):
        kind = f"det.{shard}"
        value = whole(rows, shard_key(name, kind))
        _not_newer(name, snapshot.header(value, kind)["state_version"])
        part_head, part = snapshot.decode(value, kind, RECORDS)
        if part_head["state_version"] != STATE_VERSION:
            raise MessageError(
                f"detector state version {part_head['state_version']}, this one is {STATE_VERSION}."
            )
        plans.append(part["plan"])
        states.append(part["state"])
    d = new_detection(reference, np.concatenate(plans), warming=True, run_length=head["run_length"])
    d.state = np.concatenate(states)
    d.recent, d.recent_n, d.mismatches = arrays["recent"], arrays["recent_n"], arrays["mismatches"]
    d.tau_live, d.warm = arrays["tau_live"], arrays["warm"]
    d.warm_rows, d.active_rows = head["warm_rows"], head["active_rows"]
    d.later_run_length = head["later_run_length"]
    d.window.rows, d.window.first_time, d.window.number, d.window.tainted = head["window"]
    for field_name in WINDOW_ARRAYS:
        if arrays[f"window_{field_name}"].shape != getattr(d.window, field_name).shape:
            raise MessageError("the window of the model does not fit its reference.")
        setattr(d.window, field_name, arrays[f"window_{field_name}"])
    if len(d.plan) != channels or len(d.state) != channels or d.recent.shape[0] != len(reference.signals):
        raise MessageError("the shards of the model do not fit each other.")
    if d.rate is not None:
        d.rate.plan, d.rate.state = arrays["rate_plan"], arrays["rate_state"]
        d.rate.bucket, d.rate.count = head["rate"]
    for codes, new in zip(d.codes, head["codes"], strict=True):
        if codes is not None:
            codes.remember(new)
    return d, head["plugins"]
