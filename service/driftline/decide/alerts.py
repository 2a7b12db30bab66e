"""Building an alert: one change of state of an episode, with its evidence (``schemas/alert.v1.json``).

An id depends on the mailbox topic, the model, the signal, the episode and the state only, never on how the
mailbox was cut into reads, so a repeated alert can be told by its id.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from driftline.decide import reports, texts
from driftline.decide.budget import Budget
from driftline.decide.episodes import Episode, effect_size, paged
from driftline.decide.outputs import Alert
from driftline.decide.traffic import TRAFFIC, traffic_seen
from driftline.detect.actor import Actor, Applied, Detection
from driftline.detect.kernels.state import FINDING, KIND_OPEN, SOURCE_ADWIN, SOURCE_ESR, SOURCE_PH
from driftline.detect.reference import QUANTILES, SignalReference, mid_pit
from driftline.detect.windows import Judgement, named
from driftline.records import F64, Block, ColumnKind, Source, Tag

NAMESPACE: Final = uuid.UUID("6c1f3f5e-55c9-5a2b-9d0d-1f4f0f6f7a11")  # ours, fixed for ever: ids depend on it
KINDS: Final[Mapping[ColumnKind, str]] = {
    kind: kind.name.lower() for kind in ColumnKind if kind is not ColumnKind.LABEL
}


@dataclass(frozen=True, slots=True)
class Context:
    """What every alert of a partition shares."""

    topic_id: str  # of the mailbox topic
    runbook_url: str


@dataclass(frozen=True, slots=True)
class Shape:
    """What the test of a window's shape said."""

    statistic: float
    level: float
    psi_level: float  # the level as a PSI


@dataclass(frozen=True, slots=True)
class Cause:
    """The deciding row: where it came from and what was found at it."""

    block: Block
    row: int
    source: Source
    applied: Applied
    finding: Any  # FINDING record
    signal: int
    channel: int  # of the layout; its number of channels + signal is the window test of a signal
    shape: Shape | None = None
    plugin: str | None = None  # the detector of river that found it; "": one that is not there any more


def shape_finding(d: Detection, signal: int, kind: int, row: int, verdict: Judgement) -> tuple[Any, Shape]:
    """The finding of a window test at the last row of its window, and what it saw.

    Its mean is the PSI: 0 in the reference.
    """
    window, statistics = d.window, named(d.window.last[signal])
    shape = Shape(
        float(verdict.statistic[signal]), float(verdict.level[signal]), float(verdict.psi_level[signal])
    )
    finding = np.zeros(1, FINDING)[0]
    finding["row"], finding["channel"], finding["kind"] = row, len(d.layout.channels) + signal, kind
    finding["mean"] = finding["window_mean"] = statistics["psi"] or 0.0
    finding["onset_time"], finding["onset_updates"] = window.first_time, window.rows
    finding["e_value"] = finding["confirm_value"] = math.nan
    return finding, shape


def alert_id(context: Context, model: str, signal: str, episode: int, state: str, sequence: int) -> str:
    """uuid5 of the episode's change of state."""
    parts = (context.topic_id, model, signal, str(episode), state, str(sequence))
    return str(uuid.uuid5(NAMESPACE, "\x1f".join(parts)))


def opening(context: Context, actor: Actor, budget: float, episode: Episode, cause: Cause) -> Alert:
    """The alert of an episode's first channel."""
    d, change, recent = _change(actor, cause)
    data = _data(context, actor, d, budget, episode, cause, change, recent)
    if cause.plugin is None:
        data["summary"] = texts.opened(_spoken(d, cause, change, recent))
    else:
        data["summary"] = texts.suspected(change)
    return _alert(context, "opened", data, cause)


def update(context: Context, actor: Actor, budget: float, episode: Episode, cause: Cause) -> Alert:
    """The alert of an episode whose effect is restated after a window, or has moved since the last report."""
    d, change, recent = _change(actor, cause)
    data = _data(context, actor, d, budget, episode, cause, change, recent)
    reported, restated = float(cause.finding["reported"]), bool(cause.finding["restated"])
    data["summary"] = texts.updated(_spoken(d, cause, change, recent), change, reported, restated=restated)
    data["page"] = paged(change.mean, reported, change.reference_mean)
    data["update"] = {"reason": "restated" if restated else "moved", "reported_mean": reported}
    return _alert(context, "updated", data, cause)


def confirmation(context: Context, actor: Actor, budget: float, episode: Episode, cause: Cause) -> Alert:
    """The alert of an episode of plug-ins that something which the budget covers has joined."""
    d, change, recent = _change(actor, cause)
    data = _data(context, actor, d, budget, episode, cause, change, recent)
    data["summary"] = texts.confirmed(_spoken(d, cause, change, recent))
    suspected = next(iter(episode.evidence.values()))
    data["update"] = {"reason": "confirmed", "reported_mean": suspected["current_mean"]}
    return _alert(context, "updated", data, cause)


def resolution(context: Context, actor: Actor, budget: float, episode: Episode, cause: Cause) -> Alert:
    """The alert of an episode whose last channel closed."""
    d, change, recent = _change(actor, cause)
    data = _data(context, actor, d, budget, episode, cause, change, recent)
    time = int(cause.block.event_time[cause.row])
    data["state"] = "resolved"
    if cause.plugin is None:
        data["summary"] = texts.resolved(change, time - episode.opened_time)
    else:
        quiet = int(cause.finding["updates"])
        data["summary"] = texts.quiet(change, cause.plugin, quiet, time - episode.opened_time)
    data["duration_seconds"] = max(time - episode.opened_time, 0) / 1000.0
    data["page"] = False
    return _alert(context, "resolved", data, cause)


def without_cause(
    context: Context,
    model: str,
    signal: str,
    state: str,
    summary: str,
    *,
    episode: Episode,
    kind: str,
    time_ms: int,
    origin: tuple[Source, int],
    reference_id: str,
    budget: float,
    model_version: str | None = None,
) -> Alert:
    """An alert that no row decided: a replaced baseline, or stored state that was lost."""
    source, offset = origin
    name = "opened" if state == "open" else "resolved"
    ident = alert_id(context, model, signal, episode.number, state, episode.sequence)
    data: dict[str, Any] = {
        "id": ident,
        "type": f"driftline.alert.{name}",
        "time": texts.rfc3339(time_ms),
        "model": model,
        "signal": signal,
        "state": state,
        "signal_kind": kind,
        "episode": episode.number,
        "sequence": episode.sequence,
        "severity": episode.severity,
        "page": state == "open",
        "summary": summary,
        "onset": texts.rfc3339(episode.onset_time),
        "events_since_onset": 0,
        "channel": episode.channel,
        "direction": episode.direction,
        "evidence": [],
        "reference": {"id": reference_id, "rows": 0, "tau": 1.0, "block": 1, "quantiles": None, "top": None},
        "current": {"rows": 0, "quantiles": None, "top": None},
        "budget": {"false_alarms_per_week": budget, "sources": 0, "run_length_target": 0.0},
        "model_version": model_version,
        "origin": {"topic": source.topic, "partition": source.partition, "offset": offset},
        "opened_at": texts.rfc3339(episode.opened_time),
        "duration_seconds": None if state == "open" else max(time_ms - episode.opened_time, 0) / 1000.0,
        "runbook": context.runbook_url,
    }
    return Alert(ident, data["type"], time_ms, model, signal, offset, data)


def traffic(
    context: Context,
    actor: Actor,
    budget: float,
    episode: Episode,
    finding: Any,
    block: Block,
    source: Source,
) -> Alert:
    """The alert of an episode of the model's traffic."""
    d, row, channel = actor.detection, int(finding["row"]), int(finding["channel"])
    assert d is not None  # a finding has come from it
    assert d.rate is not None
    reference, plan, time = d.rate.reference, d.rate.plan[channel], int(block.event_time[row])
    seen, opened = traffic_seen(reference, finding), int(finding["kind"]) == KIND_OPEN
    if opened:
        learned = d.layout.reference.origin != "file"
        summary = seen.opened(actor.model, learned, episode.onset_time, time)
    else:
        summary = seen.resolved(actor.model, time - episode.opened_time)
    alert = without_cause(
        context,
        actor.model,
        TRAFFIC,
        "open" if opened else "resolved",
        summary,
        episode=episode,
        kind="model",
        time_ms=time,
        origin=(source, int(block.offset[row])),
        reference_id=d.layout.reference_id,
        budget=budget,
        model_version=actor.version,
    )
    evidence = {
        "channel": seen.channel,
        "detectors": [_detector("e-detector", finding["e_value"], plan["level"])] if opened else [],
        "reference_mean": reference.means[channel],
        "current_mean": seen.mean,
        "tolerated": list(_tolerated(plan)),
        "shift_sd": None,
        "updates": int(finding["onset_updates"]),
    }
    data = {
        **alert.data,
        "channel": seen.channel,
        "direction": seen.direction,
        "evidence": [evidence],
        "events_since_onset": round(float(finding["mean"]) * int(finding["onset_updates"]) * reference.rows),
        "budget": {
            "false_alarms_per_week": budget,
            "sources": Budget.of(d.layout, labelled=actor.labelled).sources,
            "run_length_target": d.run_length,
        },
    }
    return replace(alert, data=data)


def onset_of(finding: Any, block: Block, row: int) -> int:
    """Event time at which the change is thought to have begun; never after the deciding row."""
    return min(int(finding["onset_time"]), int(block.event_time[row]))


def effect_of(d: Detection, channel: int, finding: Any) -> float:
    """Effect size of what a channel's finding saw."""
    if channel >= len(d.layout.channels):
        return math.sqrt(max(_mean_of(finding), 0.0))  # a shift of d standard deviations has a PSI of d ** 2
    ref = d.layout.channels[channel]
    return effect_size(_mean_of(finding), ref.mean, ref.sd, binary=ref.binary)


def evidence(d: Detection, cause: Cause) -> dict[str, Any]:
    """What a channel or a window test saw at a finding, as it stands in an alert."""
    time_ms, channel, finding = int(cause.block.event_time[cause.row]), cause.channel, cause.finding
    if cause.shape is not None:
        return {
            "channel": texts.SHAPE,
            "detectors": [_detector("window-test", cause.shape.statistic, cause.shape.level)],
            "reference_mean": 0.0,
            "current_mean": _mean_of(finding),
            "tolerated": [0.0, cause.shape.psi_level],
            "shift_sd": None,
            "updates": int(finding["onset_updates"]),
            "opened_at": texts.rfc3339(time_ms),
        }
    ref, plan = d.layout.channels[channel], d.plan[channel]
    mean = _mean_of(finding)
    return {
        "channel": ref.name,
        "detectors": [_detector(cause.plugin, math.nan, math.nan)]
        if cause.plugin
        else detectors_of(finding, plan),
        "reference_mean": ref.mean,
        "current_mean": mean,
        "tolerated": list(_tolerated(plan)),
        "shift_sd": (mean - ref.mean) / ref.sd if ref.sd > 0.0 else None,
        "updates": int(finding["onset_updates"]),
        "opened_at": texts.rfc3339(time_ms),
    }


def _mean_of(finding: Any) -> float:
    """The mean that a finding is about: since the onset for an opening, else over the rolling window."""
    return float(finding["mean"] if int(finding["kind"]) == KIND_OPEN else finding["window_mean"])


def _alert(context: Context, name: str, data: dict[str, Any], cause: Cause) -> Alert:
    state = "resolved" if name == "resolved" else "open"
    ident = alert_id(context, data["model"], data["signal"], data["episode"], state, data["sequence"])
    data["id"], data["type"] = ident, f"driftline.alert.{name}"
    time = int(cause.block.event_time[cause.row])
    return Alert(
        ident, data["type"], time, data["model"], data["signal"], int(cause.block.offset[cause.row]), data
    )


def _change(actor: Actor, cause: Cause) -> tuple[Detection, texts.Change, F64]:
    d = actor.detection
    assert d is not None  # only an actor with a reference has findings
    signal, finding = d.layout.signals[cause.signal], cause.finding
    since = int(finding["onset_updates"]) * _block(d, cause)
    recent = actor.recent_values(cause.signal, cause.applied, cause.row, since)
    numeric, table = signal.numeric, signal.categorical
    now = texts.current_quantiles(recent, QUANTILES) if numeric is not None else None
    top = _current_top(d, cause.signal, recent) if table is not None else []
    was = (
        []
        if table is None
        else texts.top_shares(dict(zip(table.categories, table.counts, strict=True)), table.total)
    )
    learned = None if d.layout.reference.origin == "file" and not signal.later else signal.rows
    mean = _mean_of(finding)
    name, expected, tolerated = texts.SHAPE, 0.0, (0.0, cause.shape.psi_level if cause.shape else 0.0)
    if cause.shape is None:
        channel = d.layout.channels[cause.channel]
        name, expected, tolerated = channel.name, channel.mean, _tolerated(d.plan[cause.channel])
    return (
        d,
        texts.Change(
            actor.model,
            signal.signal,
            name,
            learned,
            mean,
            expected,
            tolerated,
            now,
            numeric.quantiles if numeric is not None else None,
            top,
            was,
            onset_of(finding, cause.block, cause.row),
            int(cause.block.event_time[cause.row]),
            reports.cells(d, cause.signal) if cause.shape is not None else (),
            signal.season is not None,
        ),
        recent,
    )


def _spoken(d: Detection, cause: Cause, change: texts.Change, recent: F64) -> texts.Change:
    """The change as it is best said: a shift moves the spread too, but "is higher" says more."""
    signal = d.layout.signals[cause.signal]
    names = [c.name for c in signal.channels]
    present = recent[~np.isnan(recent)]
    if (
        change.seasonal
        or change.channel != "spread"
        or "location" not in names
        or signal.numeric is None
        or len(present) == 0
    ):
        return change
    index = int(d.layout.specs[cause.signal]["first_channel"]) + names.index("location")
    location, spread = d.layout.channels[index], d.layout.channels[cause.channel]
    u = float(np.mean(mid_pit(signal.numeric, present)))
    low, high = _tolerated(d.plan[index])
    outside = not low <= u <= high
    if not outside or abs(u - location.mean) / location.sd < abs(change.mean - spread.mean) / spread.sd:
        return change
    return replace(change, channel="location", mean=u, reference_mean=location.mean, tolerated=(low, high))


def _current_top(d: Detection, signal: int, recent: Any) -> list[tuple[str, float]]:
    codes = d.codes[signal]
    present = recent[~np.isnan(recent)].astype(np.int64).tolist()
    counts: dict[str, int] = {}
    for code in present:
        name = codes.name(code) if codes is not None else str(code)
        counts[name] = counts.get(name, 0) + 1
    return texts.top_shares(counts, len(present))


def _tolerated(plan: Any) -> tuple[float, float]:
    """The widened null; a side that was dropped reaches the end of the scale."""
    lam, m = plan["lam"], plan["m"]
    used = range(int(plan["lanes"]))
    high = [float(m[i]) for i in used if lam[i] > 0.0]
    low = [float(m[i]) for i in used if lam[i] < 0.0]
    return (low[0] if low else 0.0, high[0] if high else 1.0)


def _data(
    context: Context,
    actor: Actor,
    d: Detection,
    budget: float,
    episode: Episode,
    cause: Cause,
    change: texts.Change,
    recent: F64,
) -> dict[str, Any]:
    signal, ref = d.layout.signals[cause.signal], d.layout.reference
    tau = d.layout.bins.design[cause.signal]
    if cause.shape is None:
        tau = max(d.layout.channels[cause.channel].tau, float(d.tau_live[cause.channel]))
    budget_rows = d.later_run_length if signal.later else d.run_length
    version = int(cause.block.version[cause.row])
    return {
        "id": "",
        "type": "",
        "time": texts.rfc3339(change.decided_ms),
        "model": actor.model,
        "signal": signal.signal,
        "state": "open",
        "signal_kind": KINDS[signal.kind],
        "episode": episode.number,
        "sequence": episode.sequence,
        "severity": episode.severity,
        "page": True,
        "summary": "",
        "onset": texts.rfc3339(episode.onset_time),
        "events_since_onset": int(cause.finding["onset_updates"]) * _block(d, cause),
        "channel": change.channel,
        "direction": episode.direction,
        "evidence": _all_evidence(d, cause, episode),
        "reference": {
            "id": d.layout.reference_id,
            "rows": ref.rows,
            "tau": float(tau),
            "block": _block(d, cause),
            "quantiles": named_quantiles(change.reference_quantiles),
            "top": _listed(signal, change.reference_top),
        },
        "current": {
            "rows": len(recent),
            "quantiles": named_quantiles(change.quantiles),
            "top": _listed(signal, change.top),
        },
        "budget": {
            "false_alarms_per_week": budget,
            "sources": Budget.of(d.layout, labelled=actor.labelled).sources,
            "run_length_target": budget_rows,
            "covered": episode.covered,
        },
        "window": _window(d, cause.signal),
        "suspicions": _suspicions(d, signal.signal, cause.row),
        "model_version": cause.block.versions[version] if version >= 0 else None,
        "origin": {
            "topic": cause.source.topic,
            "partition": cause.source.partition,
            "offset": int(cause.block.offset[cause.row]),
        },
        "opened_at": texts.rfc3339(episode.opened_time),
        "duration_seconds": None,
        "runbook": context.runbook_url,
    }


def _all_evidence(d: Detection, cause: Cause, episode: Episode) -> list[dict[str, Any]]:
    """The deciding channel as it is now, then what the episode's other channels saw when they opened."""
    now = evidence(d, cause)
    key = str(int(cause.finding["channel"]))
    at_opening = episode.evidence.get(key, now)
    now["detectors"], now["opened_at"] = at_opening["detectors"], at_opening["opened_at"]
    return [now, *(seen for other, seen in episode.evidence.items() if other != key)]


def _suspicions(d: Detection, signal: str, row: int) -> list[dict[str, Any]]:
    """What river's detectors on a signal said up to the deciding row."""
    seen = [plugin.seen(row) for plugin in d.plugins if plugin.signal == signal]
    return [{**s, "last": texts.rfc3339(s["last"]) if s["alarms"] else None} for s in seen]


def _block(d: Detection, cause: Cause) -> int:
    """Rows an update of the deciding detector."""
    return 1 if cause.shape is not None else int(d.plan[cause.channel]["b"])


def _window(d: Detection, signal: int) -> dict[str, float | None] | None:
    """Statistics of the last full window of a signal; None before there is one."""
    return named(d.window.last[signal]) if np.isfinite(d.window.last[signal, 0]) else None


def detectors_of(finding: Any, plan: Any) -> list[dict[str, Any]]:
    """The detectors behind a finding, with their statistics and thresholds."""
    source, found = int(finding["source"]), []
    if source & SOURCE_ESR or math.isfinite(float(finding["e_value"])):
        found.append(_detector("e-detector", finding["e_value"], plan["level"]))
    if source & SOURCE_ADWIN:
        found.append(_detector("adwin", finding["adwin_stat"], finding["adwin_bound"]))
    if source & SOURCE_PH:
        found.append(_detector("page-hinkley", finding["ph_stat"], plan["ph_lambda"]))
    if math.isfinite(float(finding["confirm_value"])):
        found.append(_detector("confirmation", finding["confirm_value"], plan["confirm"]))
    return found


def _detector(name: str, statistic: float, threshold: float) -> dict[str, Any]:
    return {"name": name, "statistic": _finite(statistic), "threshold": _finite(threshold)}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(float(value)) else None


def named_quantiles(quantiles: tuple[float, ...] | None) -> dict[str, float] | None:
    """Quantiles at QUANTILES by their names."""
    if quantiles is None:
        return None
    return {f"p{round(100 * at):02d}": q for at, q in zip(QUANTILES, quantiles, strict=True)}


def _listed(signal: SignalReference, top: Any) -> list[list[Any]] | None:
    return None if signal.tag is Tag.NUMBER else [[name, share] for name, share in top]
