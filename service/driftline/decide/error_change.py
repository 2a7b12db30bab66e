"""A finding on a model's errors in words and numbers: the first line of its alert, and the evidence.

The line is for a person who is not a statistician; statistics stay in the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from driftline.decide import alerts as build
from driftline.decide import texts
from driftline.decide.episodes import Episode
from driftline.detect.kernels.state import KIND_OPEN
from driftline.detect.performance import ErrorReference


@dataclass(frozen=True, slots=True)
class ErrorChange:
    """A finding on the errors, as a person and a program are told of it."""

    model: str
    reference: ErrorReference
    plan: Any
    finding: Any

    @property
    def block(self) -> int:
        """Labelled events an update of the channel."""
        return int(self.plan["b"])

    @property
    def rows(self) -> int:
        """Labelled events since the onset."""
        return int(self.finding["onset_updates"]) * self.block

    @property
    def mean(self) -> float:
        """Mean of the channel that the finding is about."""
        return float(self.finding["mean" if int(self.finding["kind"]) == KIND_OPEN else "window_mean"])

    @property
    def _tolerated(self) -> str:
        return f"up to {texts.percent(float(self.plan['null_high']))} tolerated"

    def summary(self, step: str, episode: Episode, time_ms: int) -> str:
        """The first line of the alert of a step: "open", "update" or "resolve"."""
        if step == "open":
            return self._opened(episode.onset_time, time_ms)
        return self._updated() if step == "update" else self._resolved(time_ms - episode.opened_time)

    def _opened(self, onset_ms: int, decided_ms: int) -> str:
        was, now = texts.percent(self.reference.channel.mean), texts.percent(self.mean)
        when = f"since about {texts.since(onset_ms, decided_ms)}"
        if self.reference.numeric is None:
            what = (
                f"predictions are wrong more often than before: {now} of the last {self.rows:,} "
                f"labelled events, was {was}"
            )
        else:
            what = (
                f"predictions are further off than before: in the last {self.rows:,} labelled events "
                f"{now} of errors exceed a usual one, {was} expected"
            )
        return f"{self.model}: {what} ({self._tolerated}), {when}"

    def _updated(self) -> str:
        """Still worse; how much worse is known better now, or has changed."""
        was, now = texts.percent(self.reference.channel.mean), texts.percent(self.mean)
        told = texts.percent(float(self.finding["reported"]))
        what = "are wrong" if self.reference.numeric is None else "of errors exceed a usual one"
        first = "predictions are still worse than before"
        return f"{self.model}: {first}: {now} {what}, was {was}, last reported {told} ({self._tolerated})"

    def _resolved(self, lasted_ms: int) -> str:
        was, now = texts.percent(self.reference.channel.mean), texts.percent(self.mean)
        lasted = texts.duration(lasted_ms)
        if self.reference.numeric is None:
            return (
                f"{self.model}: predictions are as good as before again after {lasted}: "
                f"{now} are wrong, was {was}"
            )
        return (
            f"{self.model}: predictions are as close as before again after {lasted}: "
            f"{now} of errors exceed a usual one, {was} expected"
        )

    def evidence(self) -> dict[str, Any]:
        """As it stands in the alert."""
        channel = self.reference.channel
        return {
            "channel": channel.name,
            "detectors": build.detectors_of(self.finding, self.plan),
            "reference_mean": channel.mean,
            "current_mean": self.mean,
            "tolerated": [0.0, float(self.plan["null_high"])],
            "shift_sd": (self.mean - channel.mean) / channel.sd if channel.sd > 0.0 else None,
            "updates": int(self.finding["onset_updates"]),
        }
