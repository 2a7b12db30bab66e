"""Slow, obvious engine: one channel, one row at a time, written from the text of DECISIONS A, "Update"."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from oracle.adwin import Adwin
from oracle.page_hinkley import PageHinkley


@dataclass
class Plan:
    """What is frozen for a channel; names as in the kernels' CHANNEL_PLAN."""

    mu0: float
    lam: list[float]
    m: list[float]
    level: float
    exit_band: float
    bucket: int
    adwin_delta: float
    ph_delta: float
    ph_lambda: float
    b: int = 1
    z_raw: bool = True
    z_scale: float = 1.0
    ph_input_z: bool = False
    min_run: int = 0
    confirm: float = 20.0
    hold: int = 5
    null_low: float = 0.0
    null_high: float = 1.0
    report_band: float = math.inf
    use_esr: bool = True
    use_adwin: bool = True
    use_ph: bool = True


@dataclass
class Event:
    """A finding. ``source`` is a set of detector names."""

    row: int
    kind: str
    source: set[str]
    onset_time: int
    values: list[float]  # updates from the onset on
    window_mean: float
    e_value: float = math.nan
    confirm_value: float = math.nan
    adwin: tuple[float, float] = (math.nan, math.nan)
    ph: float = math.nan
    updates: int = 0
    reported: float = math.nan
    restated: bool = False


@dataclass
class Channel:
    """A channel and everything it remembers."""

    plan: Plan
    status: str = "ok"
    block: list[tuple[float, int]] = field(default_factory=list)  # rows of the partial block: value, time
    history: list[tuple[float, int]] = field(default_factory=list)  # all updates: value, time of first row
    R: list[float] = field(default_factory=list)
    Q: list[float] = field(default_factory=list)
    low: int = 0  # updates up to the last one with M < 1000 (or the last resolution)
    alarm_at: int = 0  # updates up to the alarm that made it pending
    opened_at: int = 0
    onset: int = 0  # updates before the onset of the open episode
    inside: int = 0
    reported: float = 0.0
    reported_at: int = 0  # updates at the last report, 0: only the opening was reported
    fired: set[str] = field(default_factory=set)
    adwin_evidence: tuple[float, float] = (math.nan, math.nan)
    ph_evidence: float = math.nan

    def __post_init__(self) -> None:
        """Fresh detectors."""
        self.adwin = Adwin(self.plan.adwin_delta)
        self.ph = PageHinkley(self.plan.ph_delta, self.plan.ph_lambda)
        self.R = [0.0] * len(self.plan.lam)

    def row(self, y: float, row: int, time: int) -> Event | None:
        """One row of the block."""
        if math.isnan(y):
            return None
        self.block.append((y, time))
        if len(self.block) < self.plan.b:
            return None
        total = 0.0
        for value, _ in self.block:
            total += value
        mean = total / self.plan.b if self.plan.b > 1 else y
        self.history.append((mean, self.block[0][1]))
        self.block = []
        return self.update(mean, row)

    def detectors(self, y: float) -> set[str]:
        """ADWIN and Page-Hinkley: who alarms at this update."""
        p = self.plan
        z = y if p.z_raw else 0.5 + p.z_scale * (y - p.mu0)
        alarmed = set()
        if p.use_adwin:
            fired, difference, epsilon = self.adwin.update(z)
            if fired:
                alarmed.add("adwin")
                if self.status != "open":
                    self.adwin_evidence = (difference, epsilon)
        if p.use_ph:
            fired, statistic = self.ph.update(z if p.ph_input_z else y)
            if fired:
                alarmed.add("ph")
                if self.status != "open":
                    self.ph_evidence = statistic
        return alarmed

    def window_mean(self) -> float:
        """Mean over the last 16 complete sub-buckets."""
        size = self.plan.bucket
        done = len(self.history) // size
        if done < 16:
            return math.nan
        part = [value for value, _ in self.history[(done - 16) * size : done * size]]
        return math.fsum(part) / len(part)

    def event(self, kind: str, source: set[str], since: int, row: int) -> Event:
        """A finding whose onset is the update after the first ``since`` ones."""
        return Event(
            row=row,
            kind=kind,
            source=source,
            onset_time=self.history[since][1],
            values=[value for value, _ in self.history[since:]],
            window_mean=self.window_mean(),
            adwin=self.adwin_evidence if "adwin" in source else (math.nan, math.nan),
            ph=self.ph_evidence if "ph" in source else math.nan,
            updates=len(self.history),
        )

    def update(self, y: float, row: int) -> Event | None:
        """One update."""
        alarmed = self.detectors(y)
        if self.status == "open":
            return self.while_open(row)
        p = self.plan
        n = len(self.history)
        if p.use_esr:
            self.R = [(1 + r) * (1 + lam * (y - m)) for r, lam, m in zip(self.R, p.lam, p.m, strict=True)]
        mean_r = sum(self.R) / len(self.R)
        if mean_r < 1000:
            self.low = n
        run = n - self.low
        openers: set[str] = set()
        if p.use_esr and mean_r >= p.level and run >= p.min_run:
            openers.add("esr")
        q = math.nan
        dismissed = False
        if self.status == "pending":
            self.Q = [value * (1 + lam * (y - m)) for value, lam, m in zip(self.Q, p.lam, p.m, strict=True)]
            q = sum(self.Q) / len(self.Q)
            self.fired |= alarmed
            if q >= p.confirm and max(n - self.alarm_at, run) >= p.min_run:
                openers |= self.fired
            elif q <= 1 / p.confirm:
                dismissed = not openers
        elif alarmed:
            self.status = "pending"
            self.fired = set(alarmed)
            self.alarm_at = n
            self.Q = [1.0] * len(p.lam)
        if openers:
            self.onset = self.low
            if openers & {"adwin", "ph"} and self.alarm_at < self.low:
                self.onset = self.alarm_at
            self.status, self.opened_at, self.inside, self.reported_at = "open", n, 0, 0
            found = self.event("open", openers, self.onset, row)
            self.reported = sum(found.values) / len(found.values)
            self.above = sum(found.values) / len(found.values) >= p.mu0
        elif dismissed:
            self.status = "ok"
            found = self.event("dismissed", set(self.fired), self.alarm_at, row)
        else:
            return None
        found.e_value, found.confirm_value = (mean_r if p.use_esr else math.nan), q
        return found

    def while_open(self, row: int) -> Event | None:
        """Has the window come home?"""
        p = self.plan
        n = len(self.history)
        if n % p.bucket or n < 16 * p.bucket or n - self.opened_at < 16 * p.bucket:
            return None
        mean = self.window_mean()
        if self.above:
            home = p.null_low <= mean <= p.mu0 + p.exit_band
        else:
            home = p.mu0 - p.exit_band <= mean <= p.null_high
        self.inside = self.inside + 1 if home else 0
        if self.inside < p.hold:
            return None if home else self.moved(mean, row)
        self.status, self.R, self.low = "ok", [0.0] * len(self.R), n
        return self.event("resolve", set(), self.onset, row)

    def moved(self, mean: float, row: int) -> Event | None:
        """Report the window mean again?"""
        p, n = self.plan, len(self.history)
        restated = self.reported_at == 0
        if not restated:
            if n - self.reported_at < 16 * p.bucket:
                return None
            if abs(mean - self.reported) < max(p.report_band, 0.5 * abs(self.reported - p.mu0)):
                return None
            window = [value for value, _ in self.history[n - 16 * p.bucket :]]
            half = len(window) // 2
            gap = abs(sum(window[half:]) - sum(window[:half])) / half
            if gap > max(p.report_band, 0.25 * abs(mean - p.mu0)):
                return None
        found = self.event("update", set(), self.onset, row)
        found.reported, found.restated = self.reported, restated
        self.reported, self.reported_at = mean, n
        return found
