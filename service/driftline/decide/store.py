"""The rows of the state topic: what a checkpoint writes and a take-over reads.

Keys: ``n|partition`` (position, watermarks, models) and ``m|model|shard``. Shards of a model: ``meta``
(phase, counters, episodes), ``ref`` (reference; written when it changes), ``win`` (rings, windows and
warm-up), ``det.K`` (64 channels each), ``learn.K`` (rows being learned, of all columns or of those that
appeared later; a sealed segment is written once); with labels ``labels`` (performance), ``pred.K`` and
``lab.K`` (segments of the join's logs, written once when full), ``pred-matched.K`` and ``lab-matched.K``
(bitmaps of the rows that were matched); ``kpi`` where there are KPIs; with rules for actions
``actions`` (open episodes, where times lie).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

import numpy as np

from driftline import __version__
from driftline.config import DetectionSettings, ModelSettings
from driftline.config.settings import ActionSettings
from driftline.decide.actions import Actions
from driftline.decide.episodes import Episodes
from driftline.decide.labelled import FORMAT as LABELS_FORMAT
from driftline.decide.lifecycle import Lifecycle, adopted, check_lifecycle
from driftline.decide.model import Model
from driftline.decide.outputs import StateRow, whole
from driftline.decide.versions import Versions
from driftline.detect import snapshot, upgrade
from driftline.detect.actor import Actor, Detection, Phase, new_detection
from driftline.detect.intact import check_detection, check_segment
from driftline.detect.kernels.state import STATE_VERSION
from driftline.detect.reference import from_json, to_json
from driftline.detect.rows import LearningRows, Segment
from driftline.detect.typed import OPTIONAL, typed
from driftline.detect.window_time import NEVER
from driftline.errors import ExitCode, FatalError, MessageError, NewerFormatError
from driftline.records import ColumnKind, Source

CHANNELS_A_SHARD: Final = 64
POSITION_VERSION: Final = 1
# What stored state that was damaged may raise, besides what a later version wrote.
UNREADABLE: Final = (MessageError, KeyError, TypeError, ValueError, IndexError, OverflowError)
NUMBER_MAX: Final = (1 << 63) - 1  # of offsets and times, as kernels take them
WINDOW_ARRAYS: Final = ("counts", "missing", "open", "home", "last")


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
    numbered: int = 0  # the largest episode number of models that were retired

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
        "v": POSITION_VERSION,
        "by": __version__,
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
    if position.numbered:  # earlier releases have no versions to retire
        body["numbered"] = position.numbered
    text = json.dumps(body, separators=(",", ":")).encode()
    return StateRow(next_key(partition), lambda: text)


def read_position(value: bytes | None, partition: int) -> Position:
    """The inverse of ``position_row``.

    Raises:
        FatalError: STATE_MISSING when there is none that can be read, CONFIG when a later version wrote it.
    """
    if value is None:
        raise FatalError(ExitCode.STATE_MISSING, f"no position stored for mailbox partition {partition}.")
    try:
        body = json.loads(value)
        if body["v"] > POSITION_VERSION:
            raise FatalError(
                ExitCode.CONFIG,
                f"mailbox partition {partition}: state format {body['v']}, written by Driftline "
                f"{body.get('by', 'of a later version')}; this one reads up to {POSITION_VERSION}.",
                remedy="Run that version or a later one.",
            )
        return Position(
            next=_number(body["next"]),
            topic_id=str(body["topic_id"]),
            partitions=_number(body["partitions"]),
            revision=str(body["revision"]),
            time=_number(body["time"]),
            raw={
                Source(str(t), _number(p)): RawPosition(str(topic_id), *map(_number, rest))
                for t, p, topic_id, *rest in body["raw"]
            },
            models=[str(name) for name in body["models"]],
            lost=_number(body["lost"]),
            over_limit=_number(body["over_limit"]),
            numbered=_number(body.get("numbered", 0)),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise FatalError(
            ExitCode.STATE_MISSING,
            f"the position of mailbox partition {partition} cannot be read: {type(error).__name__}: {error}.",
            remedy="The state topic was damaged: restore it, or reset the pipeline's state.",
        ) from error


def _number(value: object) -> int:
    """An offset, a time or a count; -1: unknown."""
    if type(value) is not int or not -1 <= value <= NUMBER_MAX:
        raise ValueError(f"{value!r} is no offset, time or count")
    return value


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
    if model.labelled is not None:
        for own, header, content in model.labelled.shards():
            if content is None:
                yield StateRow(shard_key(name, own), lambda: None)
            else:
                yield _row(name, own, header, content)
    if model.kpis.kept:
        yield _row(name, "kpi", model.kpis.to_json(), {})
    if model.actions is not None:
        yield _row(name, "actions", *model.actions.shard())
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
        "state_version": STATE_VERSION,
        "codes": codes,
        "warm_rows": d.warm_rows,
        "run_length": d.run_length,
        "active_rows": d.active_rows,
        "later_run_length": d.later_run_length,
        "rate": None if d.rate is None else [d.rate.bucket, d.rate.count],
        "plugins": [plugin.to_json() for plugin in d.plugins],
        "window": [d.window.rows, d.window.first_time, d.window.number, list(d.window.tainted)],
    }
    if d.window.time.since != NEVER:
        head["window_time"] = [d.window.time.since, d.window.time.late]
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


def tombstones(model: Model) -> Iterator[StateRow]:
    """What takes a model without labels off the state topic."""
    actor, shards = model.actor, ["meta", "ref", "win", "kpi", "actions"]
    if actor.detection is not None:
        shards += [f"det.{shard}" for shard in range(-(-len(actor.detection.plan) // CHANNELS_A_SHARD))]
    shards += [f"learn.{shard}" for shard in range(max(model.learn_shards, _segment_count(actor)))]
    for shard in shards:
        yield StateRow(shard_key(model.name, shard), lambda: None)


def _row(model: str, shard: str, header: dict[str, Any], arrays: dict[str, Any]) -> StateRow:
    return StateRow(shard_key(model, shard), lambda: snapshot.encode(shard, header, arrays))


def _meta(model: Model) -> dict[str, Any]:
    actor = model.actor
    known = model.versions == Versions.first(actor.version)  # the usual case: earlier releases read it too
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
        "life": model.life.to_json(),
        **({} if known else {"versions": model.versions.to_json()}),
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
        FatalError: CONFIG, a later version wrote them.
    """
    try:
        return _read_model(name, rows, settings, models), ""
    except NewerFormatError as error:
        raise FatalError(ExitCode.CONFIG, f"model {name}: {error.message}", remedy=error.remedy) from error
    except UNREADABLE as error:
        model = Model.new(name, settings, models, learn=True)
        try:  # keep counting rows, and mutes, where they survived
            header, _ = _decode(rows, name, "meta")
            meta = _meta_of(header)
            model.actor.source_rows = _sources(meta)
            model.actor.rows, model.actor.last_time = meta.rows, meta.last_time
            model.life.mutes = _life_of(header, meta).mutes
        except UNREADABLE:
            pass
        return model, f"stored state set aside: {type(error).__name__}: {error}"


def _decode(rows: Mapping[bytes, bytes], model: str, shard: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A shard's header and arrays, as today's version has them."""
    header, arrays = snapshot.decode(whole(rows, shard_key(model, shard)), shard, upgrade.layouts)
    return header, upgrade.upgraded(header, arrays)


def _read_model(
    name: str, rows: Mapping[bytes, bytes], settings: DetectionSettings, models: Mapping[str, ModelSettings]
) -> Model:
    header, _ = _decode(rows, name, "meta")
    meta = _meta_of(header)
    model = Model.new(name, settings, models, learn=True)
    actor = model.actor
    actor.phase, actor.learning_rows = meta.phase, meta.learning_rows
    actor.rows, actor.last_time, actor.version = meta.rows, meta.last_time, meta.version
    actor.dismissed, model.lost_states = meta.dismissed, meta.lost_states
    actor.rate_marks, actor.source_rows = meta.rate_marks, _sources(meta)
    model.episodes = meta.episodes
    model.life = _life_of(header, meta)
    model.versions = Versions.first(meta.version)
    if "versions" in header:
        model.versions = Versions.from_json(header["versions"])
    if actor.phase in {Phase.WARMING, Phase.ACTIVE}:
        actor.detection, plugins = _read_detection(name, rows)
        model.attach_plugins(plugins)
        layout = actor.detection.layout
        channels = range(len(layout.channels) + len(layout.signals))  # a window test stands for its signal
        if any(c >= 0 and c not in channels for e in meta.episodes.open.values() for c in e.channels):
            raise MessageError("an episode names a channel that the model has not.")
        model.reference_dirty = False
    if meta.segments:
        segments = [_read_segment(name, rows, i) for i in range(meta.segments)]
        learning = LearningRows(segments)
        if actor.detection is None:
            actor.learning = learning
        else:
            actor.later = learning
        model.learn_shards = len(segments)
        if len(learning) >= actor.learning_rows:
            raise MessageError("more rows were learned than are needed.")
    try:
        _read_labels(model, rows)
    except NewerFormatError:
        raise
    except UNREADABLE as error:  # what features say does not depend on them
        model.forget_labels(settings, models)
        model.labels_lost = f"stored labels set aside: {type(error).__name__}: {error}"
    if shard_key(name, "kpi") in rows:
        model.kpis.restore(_decode(rows, name, "kpi")[0])
    if shard_key(name, "actions") in rows:
        model.actions = model.actions or Actions(name, ActionSettings())  # rules may have been taken away
        model.actions.restore(*_decode(rows, name, "actions"))
    return model


def _read_labels(model: Model, rows: Mapping[bytes, bytes]) -> None:
    """The labels and performance as stored, if labels are joined and there are some."""
    if model.labelled is None or shard_key(model.name, "labels") not in rows:
        return

    def read(shard: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
        return _decode(rows, model.name, shard) if shard_key(model.name, shard) in rows else None

    header, arrays = _decode(rows, model.name, "labels")
    if header["labels_version"] > LABELS_FORMAT:
        raise NewerFormatError(
            f"labels of format {header['labels_version']}, written by Driftline "
            f"{header.get('by', 'of a later version')}; this one reads up to {LABELS_FORMAT}."
        )
    model.labelled.restore(header, arrays, read)


@dataclass(slots=True)
class Meta:
    """The header of a shard ``meta``: what ``_meta`` wrote."""

    phase: Phase
    learning_rows: int
    rows: int
    last_time: int
    version: str | None
    dismissed: int
    rate_marks: list[tuple[int, int]]
    lost_states: int
    sources: list[tuple[str, int, int]]
    segments: int
    episodes: Episodes


def _meta_of(header: Mapping[str, Any]) -> Meta:
    meta = typed(Meta, {f.name: header[f.name] for f in fields(Meta)})
    if min(meta.rows, meta.dismissed, meta.lost_states, meta.segments) < 0 or meta.learning_rows < 1:
        raise MessageError("a count of the model is negative.")
    return meta


def _life_of(header: Mapping[str, Any], meta: Meta) -> Lifecycle:
    """What people said, and the incidents; state from before them has none, and its readers ignore them."""
    if "life" not in header:
        return adopted(meta.episodes.open)
    life = typed(Lifecycle, header["life"])
    check_lifecycle(life)
    return life


def _sources(meta: Meta) -> dict[Source, int]:
    return {Source(topic, partition): rows for topic, partition, rows in meta.sources}


def _read_segment(name: str, rows: Mapping[bytes, bytes], index: int) -> Segment:
    shard = f"learn.{index}"
    head, arrays = _decode(rows, name, shard)
    columns = typed(_Columns, {"columns": head["columns"]}).columns
    segment = Segment(columns, arrays["tags"], arrays["values"], arrays["times"])
    check_segment(segment)
    return segment


@dataclass(slots=True)
class _Columns:
    columns: tuple[tuple[ColumnKind, str, tuple[str, ...]], ...]


@dataclass(slots=True)
class _Window:
    """Of the header of a shard ``win``."""

    codes: list[list[str] | None]
    warm_rows: int
    run_length: float
    active_rows: int
    later_run_length: float
    rate: tuple[int, int] | None
    plugins: list[dict[str, Any]]
    window: tuple[int, int, int, list[str]]
    window_time: tuple[int, int] = field(default=(NEVER, 0), metadata=OPTIONAL)


def _read_detection(name: str, rows: Mapping[bytes, bytes]) -> tuple[Detection, list[dict[str, Any]]]:
    """The detection and the states of its plug-ins, which the settings may not want any more."""
    _, held = _decode(rows, name, "ref")
    reference = from_json(held["json"].tobytes())
    header, arrays = _decode(rows, name, "win")
    optional = {"window_time"} - header.keys()  # windows that end by their rows have none
    head = typed(_Window, {f.name: header[f.name] for f in fields(_Window) if f.name not in optional})
    if reference.model != name:
        raise MessageError(f"the reference is of model {reference.model}.")
    channels = sum(len(s.channels) for s in reference.signals)
    plans, states = [], []
    for shard in range(-(-channels // CHANNELS_A_SHARD)):
        _, part = _decode(rows, name, f"det.{shard}")
        plans.append(part["plan"])
        states.append(part["state"])
    d = new_detection(reference, np.concatenate(plans), warming=True, run_length=head.run_length)
    d.state = np.concatenate(states)
    d.recent, d.recent_n, d.mismatches = arrays["recent"], arrays["recent_n"], arrays["mismatches"]
    d.tau_live, d.warm = arrays["tau_live"], arrays["warm"]
    d.warm_rows, d.active_rows = head.warm_rows, head.active_rows
    d.later_run_length = head.later_run_length
    d.window.rows, d.window.first_time, d.window.number, d.window.tainted = head.window
    d.window.time.since, d.window.time.late = head.window_time
    for part_name in WINDOW_ARRAYS:
        setattr(d.window, part_name, arrays[f"window_{part_name}"])
    if d.rate is not None:
        d.rate.plan, d.rate.state = arrays["rate_plan"], arrays["rate_state"]
        d.rate.bucket, d.rate.count = head.rate or (-1, 0)
    check_detection(d)
    if d.run_length <= 0 or d.active_rows < 0:
        raise MessageError("the run length or the rows of the model are negative.")
    for codes, new in zip(d.codes, head.codes, strict=True):
        if codes is not None and new is not None:
            codes.remember(new)
    return d, head.plugins
