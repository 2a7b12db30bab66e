"""Commands carried out on a model: another reference, and what people say about its alerts.

A command that does not fit is refused with a note for the log and changes nothing: everything is checked
before anything is done. Contract: ``schemas/command.v1.json``, docs/alerts.md.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from driftline.decide import texts
from driftline.decide.alerts import Context
from driftline.decide.lifecycle import EVERY_SIGNAL, Acknowledgement, Mute
from driftline.decide.model import Model
from driftline.decide.outputs import Alert
from driftline.detect.reference import from_json
from driftline.errors import MessageError
from driftline.ingest.decode.slow import parse_rfc3339
from driftline.records import NOTE_ESCAPED_MAX, Command, Progress, Source

MUTE_MS_MAX: Final = 366 * 24 * 3_600_000  # a mute for ever is forgotten, and then nobody is told of anything

Done = tuple[list[Alert], str]  # alerts, and a note for the log


@dataclass(frozen=True, slots=True)
class Given:
    """A command on its way to a model."""

    body: Mapping[str, Any]
    record_time: int
    origin: tuple[Source, int]
    context: Context
    first: str  # the first row after it: where it takes effect

    @property
    def by(self) -> str:
        """Who asked for it."""
        return self._words("by")

    @property
    def why(self) -> str:
        """The reason."""
        return self._words("why")

    def _words(self, key: str) -> str:
        """Text that may stand in the first line of an alert."""
        value = self.body[key]
        if not isinstance(value, str) or not 0 < len(value) <= NOTE_ESCAPED_MAX or not value.isprintable():
            raise MessageError(f'"{key}" must be 1 to {NOTE_ESCAPED_MAX} printable characters.')
        return value


def carry_out(
    model: Model,
    command: Command,
    progress: Sequence[Progress],
    context: Context,
    *,
    first: str = "the next row",
) -> Done:
    """Carry out a command, or refuse one that does not fit; returns alerts and a note for the log."""
    source = progress[command.source].source
    try:
        body = json.loads(command.body)
        action = ACTIONS[body["type"]]
        given = Given(body, command.record_time, (source, command.offset), context, first)
        return action(model, given)
    except (MessageError, KeyError, TypeError, ValueError, RecursionError) as error:
        what = f"{error} is missing." if isinstance(error, KeyError) else str(error)
        return [], f"command for {model.name} at offset {command.offset} refused: {what}"


def _promote(model: Model, given: Given) -> Done:
    reference = from_json(given.body["baseline"])
    if reference.model != model.name:
        raise MessageError(f"the baseline is of model {reference.model}.")
    alerts = model.promote(reference, given.origin, given.context)
    what = f"baseline {reference.id} ({reference.rows} rows)"
    return alerts, f"model {model.name}: {what} is in force from {given.first} on"


def _reset(model: Model, given: Given) -> Done:
    note = f"model {model.name} learns its reference again from {given.first} on, by {given.by}: {given.why}"
    return model.learn_again(given.origin, given.context), note


def _mute(model: Model, given: Given) -> Done:
    signal = _signal(model, given) if "signal" in given.body else EVERY_SIGNAL
    until = parse_rfc3339(str(given.body["until"]))
    if until is None:
        raise MessageError('"until" is no RFC 3339 time with a zone.')
    if until <= given.record_time:
        raise MessageError(f'"until" {given.body["until"]} was over when the command came.')
    if until > given.record_time + MUTE_MS_MAX:
        raise MessageError('"until" is more than a year away.')
    source, offset = given.origin
    mute = Mute(until, given.by, given.why, source.topic, source.partition, offset)
    model.life.mutes[signal] = mute
    alerts = _retold(model, signal, "muted", texts.muted(until, mute.by, mute.why), given)
    what = _named(model, signal)
    return alerts, f"{what} is muted until {texts.rfc3339(until)} by {mute.by}: {mute.why}"


def _unmute(model: Model, given: Given) -> Done:
    signal = _signal(model, given) if "signal" in given.body else EVERY_SIGNAL
    by, why = given.by, given.why
    if signal not in model.life.mutes:
        held = ", ".join(f'"{key}"' if key else "the whole model" for key in model.life.mutes)
        raise MessageError(f"{_named(model, signal)} is not muted; muted: {held or 'nothing'}.")
    del model.life.mutes[signal]
    alerts = _no_longer_muted(model, signal, f"{by} ended it: {why}", given.origin, given.context)
    return alerts, f"{_named(model, signal)} is no longer muted, by {by}: {why}"


def _close(model: Model, given: Given) -> Done:
    signal, by, why = _open(model, _signal(model, given)), given.by, given.why
    alert = model.told_by_hand(signal, "resolved", texts.closed(by, why), given.origin, given.context)
    model.begin_anew(signal)
    alert = replace(alert, data={**alert.data, "page": False, "cause": f"closed by {by}: {why}"})
    return [alert], f"{_named(model, signal)}: episode closed by {by}: {why}"


def _acknowledge(model: Model, given: Given) -> Done:
    by, why = given.by, given.why
    signals = [_open(model, _signal(model, given))] if "signal" in given.body else model.open_signals()
    if not signals:
        raise MessageError("no episode of the model is open.")
    for signal in signals:
        model.life.acknowledged[signal] = Acknowledgement(given.record_time, by, why)
    words = texts.acknowledged(by, why)
    alerts = [_updated(model, signal, "acknowledged", words, given) for signal in signals]
    names = ", ".join(f'"{signal}"' for signal in signals)
    return alerts, f"model {model.name}: {names} acknowledged by {by}: {why}"


ACTIONS: Final[Mapping[str, Callable[[Model, Given], Done]]] = {
    "baseline.promote": _promote,
    "baseline.reset": _reset,
    "alert.mute": _mute,
    "alert.unmute": _unmute,
    "alert.close": _close,
    "alert.ack": _acknowledge,
}


def end_mutes(model: Model, now_ms: int, context: Context) -> list[Alert]:
    """End the mutes whose time has come; what is still open is told again, and now it may page."""
    out: list[Alert] = []
    for signal, mute in sorted(model.life.end_mutes(now_ms).items()):
        how = f"the mute by {mute.by} ended at {texts.rfc3339(mute.until)[:16]}Z"
        origin = (Source(mute.topic, mute.partition), mute.offset)
        out += _no_longer_muted(model, signal, how, origin, context)
    return out


def _no_longer_muted(
    model: Model, signal: str, how: str, origin: tuple[Source, int], context: Context
) -> list[Alert]:
    given = Given({}, 0, origin, context, "")
    return _retold(model, signal, "unmuted", texts.unmuted(how), given)


def _retold(model: Model, signal: str, reason: str, words: str, given: Given) -> list[Alert]:
    """An update on every open episode of a signal, or of the model, that is (no longer) muted now."""
    signals = [s for s in model.open_signals() if signal in {s, EVERY_SIGNAL}]
    signals = [s for s in signals if (model.life.mute_of(s) is None) == (reason == "unmuted")]
    return [_updated(model, s, reason, words, given) for s in signals]


def _updated(model: Model, signal: str, reason: str, words: str, given: Given) -> Alert:
    alert = model.told_by_hand(signal, "open", words, given.origin, given.context)
    kind = "driftline.alert.updated"
    page = reason == "unmuted"  # what opened unheard has to be heard
    data = {**alert.data, "type": kind, "page": page, "update": {"reason": reason}}
    return replace(alert, type=kind, data=data)


def _signal(model: Model, given: Given) -> str:
    """The signal that a command names."""
    name, known = given.body["signal"], model.watched()
    if not isinstance(name, str):
        raise MessageError('"signal" is no text.')
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f'; the nearest is "{near[0]}"' if near else ""
        raise MessageError(f"the model has no signal {json.dumps(name)[:140]}{hint}.")
    return name


def _open(model: Model, signal: str) -> str:
    if signal not in model.episodes_of(signal).open:
        held = ", ".join(f'"{s}"' for s in model.open_signals())
        raise MessageError(f'"{signal}" has no open episode; open: {held or "none"}.')
    return signal


def _named(model: Model, signal: str) -> str:
    return f'model {model.name}: "{signal}"' if signal else f"model {model.name}"
