"""Episodes: from findings of channels to one opening and one resolution a real change.

A signal's episode opens with its first channel and resolves when all of them have closed; channels that open
later are evidence, not notifications. Only the channel that has been open longest reports updates, so that
one change is not told by each of them (docs/decisions.md, "Updates"). Channels with negative numbers are
plug-ins, which the budget does not cover: an episode that only they opened mutes nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from driftline.detect.kernels.state import KIND_OPEN, KIND_RESOLVE, KIND_UPDATE
from driftline.detect.typed import OPTIONAL

# Cohen's conventional small and large effects (Statistical Power Analysis, 1988, sections 2.2 and 6.2)
EFFECT_WARNING: Final = 0.2
EFFECT_CRITICAL: Final = 0.8
GROWTH_PAGED: Final = 1.5  # an effect that grew by half since the last report is news to whoever was told


@dataclass(slots=True)
class Episode:
    """An abnormal period of one signal that has not ended."""

    number: int
    opened_time: int  # event time of the deciding row, ms
    onset_time: int
    severity: str
    channel: str
    direction: str
    channels: list[int] = field(default_factory=list)  # indices of the open ones, the longest open first
    sequence: int = 0
    # What each channel saw when it opened, by its index (JSON keys are text), closed ones included.
    evidence: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def covered(self) -> bool:
        """Whether something that the budget covers has opened it."""
        return not self.evidence or any(not key.startswith("-") for key in self.evidence)


@dataclass(slots=True)
class Episodes:
    """All episodes of a model, by signal name."""

    open: dict[str, Episode] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)  # last episode number of each signal
    opened: int = 0
    resolved: int = 0
    # The mailbox offset at which state was lost: lower numbers may be taken, and with them ids of alerts.
    before: int = field(default=0, metadata=OPTIONAL)

    def finding(self, signal: str, channel: int, kind: int) -> str | None:
        """What a channel's finding does to its signal: "open", "join", "update", "resolve" or None."""
        episode = self.open.get(signal)
        if kind == KIND_OPEN:
            if episode is None:
                return "open"
            if channel not in episode.channels:
                episode.channels.append(channel)
            return "join"
        if kind == KIND_UPDATE and episode is not None:
            return "update" if [c for c in episode.channels if c >= 0][:1] == [channel] else None
        if kind == KIND_RESOLVE and episode is not None and channel in episode.channels:
            episode.channels.remove(channel)
            if not episode.channels:
                return "resolve"
        return None

    def renumber(self, first: int, by: int) -> None:
        """Numbers from ``first`` on are larger by ``by``: channels of later features come before them."""
        for episode in self.open.values():
            episode.channels = [c + by if c >= first else c for c in episode.channels]
            episode.evidence = {
                str(int(key) + by) if int(key) >= first else key: seen
                for key, seen in episode.evidence.items()
            }

    def told(self) -> list[str]:
        """Signals with an open episode that the budget covers, by name."""
        return sorted(name for name, episode in self.open.items() if episode.covered)

    def begin(self, signal: str, first: int, **known: Any) -> Episode:
        """Open the next episode of a signal with the index of its first channel."""
        number = self.numbers[signal] = self.numbers.get(signal, self.before) + 1
        episode = self.open[signal] = Episode(number=number, channels=[first], **known)
        self.opened += 1
        return episode

    def end(self, signal: str) -> Episode:
        """Resolve the open episode of a signal."""
        episode = self.open.pop(signal)
        episode.sequence += 1
        self.resolved += 1
        return episode

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form, for the snapshot; ``store`` reads it back."""
        return asdict(self)


def effect_size(mean: float, reference_mean: float, sd: float, *, binary: bool) -> float:
    """Effect of a shift: Cohen's h for a share, standard deviations of the channel otherwise."""
    if binary:
        low, high = (min(max(p, 0.0), 1.0) for p in (reference_mean, mean))
        return abs(2.0 * math.asin(math.sqrt(high)) - 2.0 * math.asin(math.sqrt(low)))
    return abs(mean - reference_mean) / max(sd, 1e-3)


def paged(mean: float, reported: float, reference_mean: float) -> bool:
    """Whether an update is worth waking someone: the change has turned round or grown by half."""
    before, now = reported - reference_mean, mean - reference_mean
    return before * now < 0.0 or abs(now) >= GROWTH_PAGED * abs(before)


def severity(effect: float) -> str:
    """Severity by effect size."""
    if effect >= EFFECT_CRITICAL:
        return "critical"
    return "warning" if effect >= EFFECT_WARNING else "info"
