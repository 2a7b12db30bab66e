"""What happens when events of another model version appear: who is in force, and the names of versions.

A version takes over when more than three quarters of the rows carry it: a count rises by one with each of
its rows, falls by LOSS with each row of another version, and reaches TAKE_OVER_ROWS. So a canary with a small
share of the traffic takes nothing over, and of two versions at half each neither does but by rare chance.
Rows without a version count for nobody. Invariant: everything depends on the rows in their order only, not
on how they were cut; what is kept is bounded. Pure. Must not know what taking over means: ``model.py`` does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import numpy as np

from driftline.config import DetectionSettings, ModelSettings
from driftline.detect.typed import typed
from driftline.errors import MessageError
from driftline.records import NAME_CHARS_MAX, VERSION_MARK, Block

Policy = Literal["keep", "relearn", "per_version"]

TAKE_OVER_ROWS: Final = 200
LOSS: Final = 3  # a share above LOSS / (LOSS + 1) takes over
LEARNINGS_MAX: Final = 2  # of one version: once, and once more after a roll-back; flapping ends there
REMEMBERED_MAX: Final = 100  # versions whose learnings are counted; the oldest is forgotten
VERSIONS_MAX: Final = 8  # models a model is split into
IDLE_MS: Final = 24 * 3_600_000  # a version without events for so long makes room for another
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_DIGEST_CHARS: Final = 12


def settings_of(models: Mapping[str, ModelSettings], name: str) -> ModelSettings:
    """The settings of a model; a version's are those of its model unless it has its own."""
    found = models.get(name) or models.get(base_of(name))
    return found if found is not None else ModelSettings()


def policy_of(settings: DetectionSettings, models: Mapping[str, ModelSettings], name: str) -> Policy:
    """What another version of a model does."""
    return settings_of(models, name).on_new_version or settings.on_new_version


def base_of(name: str) -> str:
    """The model that a version's model belongs to; the name itself where it is none."""
    return name.rpartition(VERSION_MARK)[0] or name


def is_version(settings: DetectionSettings, models: Mapping[str, ModelSettings], name: str) -> bool:
    """Whether a model is one version of another."""
    return base_of(name) != name and policy_of(settings, models, base_of(name)) == "per_version"


def version_name(model: str, version: str) -> str:
    """The id of a version's model: ``credit-risk::3``.

    A version that an id cannot hold, or that is too long, is named by ``x-`` and the first hexadecimal digits
    of its SHA-256.
    """
    label = version
    if not _PLAIN.fullmatch(label) or len(model) + len(VERSION_MARK) + len(label) > NAME_CHARS_MAX:
        label = f"x-{hashlib.sha256(version.encode()).hexdigest()[:_DIGEST_CHARS]}"
    name = f"{model}{VERSION_MARK}{label}"
    return name if len(name) <= NAME_CHARS_MAX else model  # such a long id has no versions


@dataclass(slots=True)
class Versions:
    """The versions of one model."""

    in_force: str | None = None  # None: no row has named one
    candidate: str = ""
    count: int = 0  # of the candidate, 0: there is none
    changes: int = 0
    learnings: dict[str, int] = field(default_factory=dict)
    left_out: int = 0  # rows of other versions that the reference in the making left out

    @classmethod
    def first(cls, version: str | None) -> Versions:
        """What one version alone leaves behind."""
        return cls() if version is None else cls(version, learnings={version: 1})

    def follow(self, block: Block, lo: int, hi: int) -> tuple[int, str | None]:
        """Count rows lo..hi up to a take-over; returns the row behind it (else hi), and who is replaced."""
        if not block.versions:
            return hi, None
        codes = block.version[lo:hi]
        starts = np.flatnonzero(np.diff(codes, prepend=codes[:1] - 1))
        for at, size, code in zip(
            starts.tolist(), np.diff(starts, append=len(codes)).tolist(), codes[starts].tolist(), strict=True
        ):
            if code < 0:
                continue
            missing = self._run(block.versions[code], size)
            if missing is not None:
                former, self.in_force = self.in_force, block.versions[code]
                self.changes, self.count = self.changes + 1, 0
                return lo + at + missing, former
        return hi, None

    def _run(self, version: str, size: int) -> int | None:
        """Count rows of one version; how many of them made it take over, None when they did not."""
        if self.in_force is None:
            self._begin(version)
        if version == self.in_force:
            self.count = max(self.count - LOSS * size, 0)
            return None
        used = 0
        if self.count and version != self.candidate:
            used = min(size, -(-self.count // LOSS))
            self.count = max(self.count - LOSS * used, 0)
        if self.count == 0:
            self.candidate = version
        if version != self.candidate:
            return None
        missing = TAKE_OVER_ROWS - self.count
        if size - used >= missing:
            return used + missing
        self.count += size - used
        return None

    def _begin(self, version: str) -> None:
        """The first version that is named is in force."""
        self.in_force = version
        self._learned(version)

    def may_learn(self) -> bool:
        """Whether the version in force may have its rows learned; counts it when it may."""
        version = self.in_force
        if version is None or self.learnings.get(version, 0) >= LEARNINGS_MAX:
            return False
        self._learned(version)
        return True

    def _learned(self, version: str) -> None:
        times = self.learnings.pop(version, 0)  # the last one is the newest
        self.learnings[version] = times + 1
        if len(self.learnings) > REMEMBERED_MAX:
            del self.learnings[next(iter(self.learnings))]
        self.left_out = 0

    def stretch(self, block: Block, lo: int, hi: int, left_out_max: int) -> tuple[int, bool]:
        """Up to where rows from ``lo`` on are all of the version in force, or all of others to leave out.

        At most ``left_out_max`` rows are left out of one reference: then it is learned from all, so that
        learning ends whoever sends.
        """
        named = block.version[lo:hi][block.version[lo:hi] >= 0]
        if not len(named):
            return hi, False
        if self.in_force is None:
            self._begin(block.versions[int(named[0])])
        room = left_out_max - self.left_out
        if room <= 0:
            return hi, False
        known = dict(zip(block.versions, range(len(block.versions)), strict=True))
        code = known.get(self.in_force or "", -2)
        other = (block.version[lo:hi] >= 0) & (block.version[lo:hi] != code)
        leave = bool(other[0])
        turn = np.flatnonzero(other != leave)
        to = lo + int(turn[0]) if len(turn) else hi
        return (min(to, lo + room), True) if leave else (to, False)

    def promoted(self) -> None:
        """A baseline was put in force: it is that of the version which the next rows carry."""
        self.in_force, self.count, self.left_out = None, 0, 0

    def to_json(self) -> dict[str, Any]:
        """JSON-ready form, for the snapshot."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Versions:
        """The inverse.

        Raises:
            MessageError, ValueError: it is none.
        """
        made = typed(cls, dict(body))
        counts = (made.count, made.changes, made.left_out, *made.learnings.values())
        if min(counts) < 0 or made.count >= TAKE_OVER_ROWS or len(made.learnings) > REMEMBERED_MAX:
            raise MessageError("the counts of the model's versions are impossible.")
        return made
