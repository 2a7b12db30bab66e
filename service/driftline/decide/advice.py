"""What a person woken by an alert asks next: how sure is this, and what do I check first.

Advice depends on the kind of change only, so that the same kind always reads the same. It must not know
detectors: their statistics are evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from driftline.decide import texts

# By channel; "up" and "down" where the direction makes a difference.
_CHECKS: Final[Mapping[str, str]] = {
    "location": "Was a release, a unit or a default value of this field changed at that time? If not, ask "
    "who sends it whether other people or things are behind the events now.",
    "spread up": "Is a source noisy, or is a second group of people or things mixed in?",
    "spread down": "Are values rounded, cut off or stuck at a default?",
    "missing up": "Look at whoever produces this field: was it renamed, does a join find nothing, is a table "
    "late?",
    "missing down": "Was a default value put in place of missing ones?",
    "type": "Look at the producer's last release: the field arrives in another type, such as a number as "
    "text.",
    "range": "Look at single events beyond the old range: mostly it is a wrong unit or a broken sensor.",
    "unseen": "Is there a new value, spelling or code at the source that the model was never trained on?",
    "other": "Which rare values are more frequent now? A new source or campaign mostly shows here first.",
    "share": "Is this value right so often or so seldom: a campaign, a lost region, a new default?",
    "rank": "Which value grew and which shrank? Ask whether a source was added, lost or renamed.",
    texts.SHAPE: "Compare before and now (`driftline alerts show` draws both): mostly a group of people or "
    "things was added or is gone.",
    "too-few": "Does whoever calls the model still run, and does its topic still fill? Until events are back "
    "nothing can be said of anything else.",
    "too-many": "Look for retries, a replay or a load test at whoever calls the model.",
    "state": "Look at the worker's log for the reason. Until the model has learned again it raises no "
    "alerts.",
    "labels": "Look at the worker's log for the reason. Until performance has been learned again worse "
    "predictions raise no alerts.",
}
_PREDICTIONS: Final = (
    "Was another version of the model released at that time? If not, look at the features that moved with it."
)
_PERFORMANCE: Final = (
    "Look at some wrong predictions and their labels: are the labels right? Then at the features that moved "
    "with it; if both are right, the model has to be trained again."
)


_KPI: Final = (
    "Is the bound still what you want? If so, look at the features and predictions of this model that moved "
    "at that time, and for a measure of labels at whether labels still come."
)


def how_sure(data: Mapping[str, Any]) -> str:
    """How often chance alone would give such an alarm; empty when the data decided nothing to worry of."""
    events, allowed = data["events_since_onset"], float(data["budget"]["false_alarms_per_week"])
    if data["state"] == "resolved":
        return ""
    if data["budget"].get("covered") is False:
        return "Not very: only a detector of river alarmed, and how often it does so by chance is not known."
    if not events:
        return ""
    if data["signal_kind"] == "kpi":
        return f"The bound is your own; it was broken over {events:,} events."
    often = (
        f"{texts.number(allowed)} a week" if allowed >= 1.0 else f"1 in {texts.number(1.0 / allowed)} weeks"
    )
    return (
        f"By its settings at most {often} of this model's alarms may be false, all signals together. "
        f"This one rests on {events:,} events since the change."
    )


def check_first(data: Mapping[str, Any]) -> str:
    """What to look at first; empty when the episode is over."""
    if data["state"] == "resolved":
        return ""
    kind, channel, direction = data["signal_kind"], str(data["channel"]), str(data["direction"])
    if kind == "performance":
        return _PERFORMANCE
    if kind == "kpi":
        return _KPI
    if kind in {"score", "class"} and channel not in {"missing", "type"}:
        return _PREDICTIONS
    name = channel.partition("[")[0].removesuffix("-spread")
    return _CHECKS.get(f"{name} {direction}") or _CHECKS.get(name, "")
