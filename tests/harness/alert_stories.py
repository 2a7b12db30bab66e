"""Small seeded streams that end in every kind of alert; ``tests/golden/alerts`` holds how these read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from driftline.config import ModelSettings
from driftline.decide.outputs import Alert
from driftline.publish.alerts import message
from driftline.records import F64, Tag
from harness import labelled
from harness.decisions import block, file_reference
from harness.story import Story

BEGIN: Final = 1_795_514_400_000  # 2026-11-24T10:00:00Z
STEP_MS: Final = 600  # a hundred events a minute
ROWS_PER_WEEK: Final = 7 * 24 * 3_600_000 / STEP_MS
REFERENCE_ROWS: Final = 8_000
QUIET: Final = 2_000  # rows before something happens
COUNTRIES: Final = ("DE", "FR", "US", "AT")


def rows(n: int, seed: int, **changed: Any) -> dict[str, F64 | list[str | None]]:
    """Credit applications as the model was trained on; some columns given otherwise."""
    rng = np.random.default_rng(seed)
    income = np.asarray(np.round(np.exp(rng.normal(10.4, 0.5, n)), -1), dtype=np.float64)
    columns: dict[str, F64 | list[str | None]] = {
        "age": np.round(rng.gamma(9.0, 4.6, n) + 18, 1),
        "income": income,
        "country": [str(c) for c in rng.choice(COUNTRIES, n, p=[0.4, 0.3, 0.2, 0.1])],
    }
    income[rng.random(n) < 0.02] = np.nan
    return {name: changed[name](c, rng) if name in changed else c for name, c in columns.items()}


def scaled(factor: float, offset: float = 0.0) -> Callable[[F64, Any], F64]:
    """Numbers in another unit."""
    return lambda x, _: x * factor + offset


def told(**changed: Any) -> Callable[[], list[Alert]]:
    """The first alert of a change that stays."""
    return lambda: changing(**changed)[1][:1]


def started(**settings: Any) -> Story:
    """The model under its baseline, after some quiet rows."""
    reference = file_reference(rows(REFERENCE_ROWS, 1), rows_per_week=ROWS_PER_WEEK)
    story = Story(
        replace(reference, model="credit-risk"),
        begin_ms=BEGIN,
        step_ms=STEP_MS,
        window_rows=2_000,
        **settings,
    )
    assert story.rows(rows(QUIET, 2)) == []
    return story


def changing(n: int = 2_000, **changed: Any) -> tuple[Story, list[Alert]]:
    """The model, and what is told of rows that are different."""
    story = started()
    return story, story.rows(rows(n, 3, **changed))


def of_kind(alerts: list[Alert], event: str) -> list[Alert]:
    """The first alert of a type."""
    return [alert for alert in alerts if alert.type.endswith(event)][:1]


def spoiled(share: float) -> Callable[[F64, Any], F64]:
    """Some numbers missing."""
    return lambda x, rng: np.where(rng.random(len(x)) < share, np.nan, x)


def other_type() -> list[Alert]:
    """A release sends some numbers as text."""
    story = started()
    made = block(rows(1_500, 3), start=story.row, model=story.model)
    column = [c.name for c in made.columns].index("age")
    made.tags[column, ::5] = Tag.BOOL
    made.values[column, ::5] = 1.0
    times = BEGIN + made.offset * STEP_MS
    return story.send(replace(made, event_time=times, record_time=times))[:1]


def two_humps(x: F64, rng: Any) -> F64:
    """The same location and spread in another shape: the middle values of each half only."""
    ranks = np.where(rng.random(len(x)) < 0.5, 0.25, 0.75) + rng.uniform(-0.12, 0.12, len(x))
    reference = rows(REFERENCE_ROWS, 1)["age"]
    assert isinstance(reference, np.ndarray)
    return np.asarray(np.quantile(reference, ranks))


def paced(n: int, step: float) -> Callable[[], list[Alert]]:
    """Traffic at another pace."""

    def run() -> list[Alert]:
        story = started()
        made = block(rows(n, 3), start=story.row, model=story.model)
        first = BEGIN + story.row * STEP_MS
        times = first + (np.arange(len(made)) * STEP_MS * step).astype(np.int64)
        return story.send(replace(made, event_time=times, record_time=times))[:1]

    return run


def mixed(shares: list[float], names: tuple[str, ...] = COUNTRIES) -> Callable[[Any, Any], list[str | None]]:
    """Countries in another mix."""
    return lambda x, rng: [str(c) for c in rng.choice(names, len(x), p=shares)]


def commanded(kind: str, **body: object) -> Callable[[], list[Alert]]:
    """What a command says of an open episode."""

    def run() -> list[Alert]:
        story, _ = changing(age=scaled(1, 12))
        return story.command(kind, **body)

    return run


def mute_ends() -> list[Alert]:
    """An opening that nobody heard, and the end of its mute."""
    story = started()
    story.command("alert.mute", until="2026-11-24T11:00:00Z")
    unheard = story.rows(rows(2_000, 3, age=scaled(1, 12)))[:1]
    return unheard + of_kind(story.rows(rows(3_000, 4, age=scaled(1, 12))), "updated")


def together() -> list[Alert]:
    """A broken join: two signals at once."""
    return [a for a in changing(age=scaled(1, 12), income=spoiled(0.5))[1] if a.type.endswith("opened")][1:]


def recovered(**changed: Any) -> list[Alert]:
    """A change that ends."""
    story, _ = changing(**changed)
    return of_kind(story.rows(rows(14_000, 5)), "resolved")


def again() -> list[Alert]:
    """A signal that is back soon."""
    story, _ = changing(1_000, age=scaled(1, 12))
    assert any(of_kind(story.rows(rows(1_000, seed)), "resolved") for seed in range(5, 20))
    return of_kind(story.rows(rows(1_000, 6, age=scaled(1, 12))), "opened")


def grown() -> list[Alert]:
    """A change that grows."""
    story, _ = changing(8_000, age=scaled(1, 5))
    moved = story.rows(rows(12_000, 4, age=scaled(1, 20)))
    return [a for a in moved if "has grown" in str(a.data["summary"])][:1]


def state_lost() -> list[Alert]:
    """The stored state is damaged."""
    story, _ = changing(age=scaled(1, 12))
    story.store()
    key = b"m|credit-risk|det.0"
    story.stored[key] = story.stored[key][:-9]
    return story.restart()


def labels_lost() -> list[Alert]:
    """The stored labels are damaged."""
    box = labelled.Mailbox(labelled.new_partition())
    box.send([labelled.Row(1, BEGIN, klass="deny")], [labelled.Row(1, BEGIN, label="deny")], "credit-risk")
    box.checkpoint()
    key = b"m|credit-risk|labels"
    box.stored[key] = box.stored[key][:-9]
    back = labelled.Mailbox(labelled.restored(box.stored))
    back.checkpoint()
    return back.alerts


def superseded() -> list[Alert]:
    """Another baseline."""
    story, _ = changing(age=scaled(1, 12))
    other = file_reference(rows(REFERENCE_ROWS, 9, age=scaled(1, 12)), rows_per_week=ROWS_PER_WEEK)
    return story.promote(replace(other, model=story.model))


def wrong(shares: list[tuple[int, float]], event: str) -> Callable[[], list[Alert]]:
    """Predictions that are wrong more often, or as seldom as before again."""

    def run() -> list[Alert]:
        rng = np.random.default_rng(7)
        bad = np.concatenate([rng.random(n) < share for n, share in shares])
        truth = rng.choice(["deny", "approve"], len(bad))
        said = np.where(bad, np.where(truth == "deny", "approve", "deny"), truth)
        box = labelled.Mailbox(labelled.new_partition())
        times = [BEGIN + STEP_MS * i for i in range(len(bad))]
        for at in range(0, len(bad), 500):
            part = range(at, min(at + 500, len(bad)))
            box.send(
                [labelled.Row(i + 1, times[i], klass=str(said[i])) for i in part],
                [labelled.Row(i + 1, times[i], label=str(truth[i])) for i in part],
            )
        box.checkpoint()
        return of_kind(box.alerts, event)

    return run


def agreed(event: str) -> Callable[[], list[Alert]]:
    """A bound that the owner set is broken, and kept again."""

    def run() -> list[Alert]:
        kpi = {"measure": "missing.income", "max": 0.1, "window": 500}
        story = started(own=ModelSettings.model_validate({"kpis": {"income-known": kpi}}))
        found = story.rows(rows(2_000, 3, income=spoiled(0.3))) + story.rows(rows(4_000, 4))
        return of_kind([alert for alert in found if alert.signal.startswith("kpi.")], event)

    return run


def river() -> list[Alert]:
    """A detector of river that may open an episode does."""
    detector = {"river": "KSWIN", "args": {"alpha": 0.0001, "seed": 1}, "opens": True}
    story = started(own=ModelSettings.model_validate({"signals": {"age": {"detectors": [detector]}}}))
    found = story.rows(rows(2_000, 3, age=scaled(1.0, 2.5)))
    return of_kind(found, "opened") + of_kind(found, "updated")


STORIES: Final[Mapping[str, Callable[[], list[Alert]]]] = {
    "numeric_up": told(age=scaled(1, 12)),
    "numeric_down": told(income=scaled(0.6)),
    "spread_up": told(age=lambda x, _: 59 + 1.25 * (x - 59)),
    "spread_down": told(age=lambda x, _: 58 + 0.3 * (x - 58)),
    "missing": told(income=spoiled(0.3)),
    "type": other_type,
    "range": told(income=lambda x, rng: np.where(rng.random(len(x)) < 0.03, x * 100, x)),
    "shape": lambda: of_kind(changing(9_000, age=two_humps)[1], "opened"),
    "category_share": told(country=mixed([0.15, 0.3, 0.45, 0.1])),
    "category_unseen": told(country=mixed([0.36, 0.27, 0.18, 0.09, 0.1], (*COUNTRIES, "UK"))),
    "traffic_low": paced(3_000, 6.0),
    "traffic_high": paced(30_000, 0.1),
    "errors_opened": wrong([(4_000, 0.05), (3_000, 0.3)], "opened"),
    "errors_resolved": wrong([(4_000, 0.05), (3_000, 0.3), (20_000, 0.05)], "resolved"),
    "kpi_opened": agreed("opened"),
    "kpi_resolved": agreed("resolved"),
    "river": river,
    "updated_restated": lambda: of_kind(changing(8_000, age=scaled(1, 12))[1], "updated"),
    "updated_grown": grown,
    "resolved_numeric": lambda: recovered(age=scaled(1, 12)),
    "resolved_categorical": lambda: recovered(country=mixed([0.15, 0.3, 0.45, 0.1])),
    "resolved_missing": lambda: recovered(income=spoiled(0.3)),
    "muted": commanded("alert.mute", until="2026-11-24T18:00:00Z"),
    "mute_ended": mute_ends,
    "acknowledged": commanded("alert.ack"),
    "closed": commanded("alert.close", signal="age"),
    "learns_again": commanded("baseline.reset"),
    "superseded": superseded,
    "together": together,
    "reopened": again,
    "state_lost": state_lost,
    "labels_lost": labels_lost,
}


def text(name: str) -> str:
    """How the alerts of a story read."""
    found = STORIES[name]()
    assert found, name
    return "\n\n".join("\n".join(message(alert.data)) for alert in found) + "\n"
