"""The verdict over a run of the product: four zeros and what stands behind them, as topics and state tell."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from chaos import readback, verify
from chaos.deployment import Product
from chaos.saying import say


@dataclass(frozen=True)
class Verdict:
    """What was compared; ``records`` on the raw topic, ``seconds`` it took to verify them."""

    expected: verify.Expected
    rows: verify.Differences
    positions: verify.Differences
    rejects: verify.Differences
    alerts: verify.Differences
    states: verify.Differences
    joins: verify.Differences
    joined: int  # labels that found their prediction, by an exact join of the mailbox
    alerts_due: Counter[str]
    errors_due: int  # of them, that predictions got worse or better again
    stored: readback.Stored
    seconds: float

    @property
    def rows_lost(self) -> int:
        """Rows not in the state, rejects not on their topic, offsets no mailbox partition heard of."""
        return self.rows.lost + self.rejects.lost + self.positions.lost

    @property
    def rows_twice(self) -> int:
        """Rows counted more often than sent, rejects of rows that were none, positions beyond the log."""
        return self.rows.twice + self.rejects.unexpected + self.positions.unexpected

    @property
    def alerts_lost(self) -> int:
        """Alerts an uninterrupted run makes that the topic lacks or has with other content."""
        return self.alerts.lost + self.alerts.different

    @property
    def alerts_twice(self) -> int:
        """Alerts that are there again, or that an uninterrupted run does not make."""
        return self.alerts.twice + self.alerts.unexpected

    @property
    def clean(self) -> bool:
        """Whether nothing at all is wrong, the stored state and the codes of rejects included."""
        parts = (self.rows, self.positions, self.rejects, self.alerts, self.states, self.joins)
        return all(part.clean for part in parts)

    @property
    def empty(self) -> bool:
        """Whether there was nothing that could have been lost."""
        return not self.alerts_due or not self.expected.accepted or (self.labelled and not self.joined)

    @property
    def labelled(self) -> bool:
        """Whether labels were sent."""
        return bool(self.expected.labels)

    def details(self) -> None:
        """Print what was read and what is wrong."""
        expected, stored = self.expected, self.stored
        codes = dict(sorted(Counter(expected.rejects.values()).items()))
        parts = (
            f"accepted {expected.accepted} + rejected {len(expected.rejects)} + filtered {expected.filtered}"
        )
        say(f"records {expected.records} = {parts}")
        say(f"rejects by code {codes}")
        say(f"state topic: {stored.records} records left of {stored.offsets}")
        say(f"verified in {self.seconds:.1f} s")
        say(f"alerts due {self.alerts_due.total()}: {dict(self.alerts_due)}, {self.errors_due} on errors")
        for found in (self.rows, self.positions, self.rejects, self.alerts, self.states, self.joins):
            for example in found.examples:
                say(f"  {example[:400]}")
        say(f"models whose stored state is not the replay's {self.states.lost + self.states.different}")
        say(f"rejects with another code {self.rejects.different}")

    def zeros(self) -> None:
        """Print the four figures that must be zero, and what that many rows can show at most."""
        say(f"rows lost {self.rows_lost}")
        say(f"rows counted twice {self.rows_twice}")
        say(f"alerts lost {self.alerts_lost}")
        say(f"alerts twice {self.alerts_twice}")
        if self.labelled:
            off = self.joins.lost + self.joins.different
            say(f"labels joined {self.joined}: {off} off, {self.joins.twice} twice")
        if not self.clean:
            return
        for what, count in (("rows", self.expected.records), ("alerts", self.alerts_due.total())):
            bound = verify.rate_bound(count)
            if count:
                say(f"0 of {count} {what}: with 95 % confidence fewer than {bound:.1e} of them")


async def judge(product: Product) -> Verdict:
    """Read topics and state; compare."""
    begin = time.monotonic()
    bootstrap, raws = product.bootstrap, product.raws
    labels = product.labels if product.labelled else ""
    expected = await readback.expected(bootstrap, raws, frozenset(product.models), labels=labels)
    stored = await readback.stored_state(bootstrap, product.settings, product.admin)
    ends = {(raw, p): end for raw in raws for p, end in product.admin.ends(raw).items()}
    watermarks = {p: stored.watermarks.get(p, {}) for p in range(product.partitions)}
    replayed = await readback.replay(bootstrap, product.settings, product.admin)
    rejects = await readback.stored_rejects(bootstrap, product.topic("rejects"))
    alerts = await readback.stored_alerts(bootstrap, product.topic("alerts"))
    due = (str(data.get("state")) for data in replayed.alerts.values() if isinstance(data, dict))
    return Verdict(
        expected=expected,
        rows=verify.compare_rows(expected.rows, stored.rows),
        positions=verify.compare_positions(ends, watermarks),
        rejects=verify.compare_rejects(expected.rejects, rejects),
        alerts=verify.compare_alerts(replayed.alerts, alerts),
        states=verify.compare_states(replayed.models, stored.models),
        joins=verify.compare_joins(replayed.joins, stored.joins),
        joined=sum(joined.confusion.total() for joined in replayed.joins.values()),
        alerts_due=Counter(due),
        errors_due=sum(
            isinstance(data, dict) and data.get("signal_kind") == "performance"
            for data in replayed.alerts.values()
        ),
        stored=stored,
        seconds=time.monotonic() - begin,
    )
