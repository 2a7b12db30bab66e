"""One target's way without a broker: a consumer, a producer and a target that do as they are told."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition

from driftline.config import Settings
from driftline.publish.metrics import Metrics
from driftline.publish.notify import notified
from driftline.publish.notify.courier import Courier
from driftline.publish.notify.memory import Told, decode
from driftline.publish.notify.notice import Channel, Request
from driftline.publish.notify.retry import REFUSALS_MAX, Answer
from driftline.publish.notify.webhook import Webhook
from harness.notices import alert, record

NOW = 1_795_428_000.0
ALERTS = TopicPartition("driftline.alerts", 0)


@dataclass
class Record:
    """What the client hands out."""

    offset: int
    key: bytes
    value: bytes
    topic: str = "driftline.alerts"
    partition: int = 0
    timestamp: int = int(NOW * 1000)


@dataclass
class World:
    """Brokers and target in one, and all that was done to them in its order."""

    records: list[Record]
    answers: deque[Answer] = field(default_factory=deque)
    done: list[tuple[Any, ...]] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    at: int = 0
    before_send: Callable[[], Any] | None = None

    # --- the consumer
    def consumer(self, **_: Any) -> World:
        """Itself."""
        return self

    def subscribe(self, _topics: list[str], listener: Any) -> None:
        """Remember whom to give partitions."""
        self.listener = listener

    async def start(self) -> None:
        """The group gives it the one partition."""
        await self.listener.on_partitions_revoked(set())
        await self.listener.on_partitions_assigned({ALERTS})

    async def stop(self) -> None:
        """Leave."""

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Record]]:
        """All that is left; stops the courier when nothing is."""
        await asyncio.sleep(0)
        left, self.at = self.records[self.at :], len(self.records)
        if not left:
            self.ended.set()
        return {ALERTS: left} if left else {}

    def seek(self, part: TopicPartition, offset: int) -> None:
        """Go back."""
        self.done.append(("seek", offset))
        self.at = next(i for i, one in enumerate(self.records) if one.offset == offset)

    async def commit(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Note it."""
        self.done.append(("commit", offsets[ALERTS]))

    def assignment(self) -> set[TopicPartition]:
        """The one partition."""
        return {ALERTS}

    def highwater(self, _: TopicPartition) -> int:
        """Behind the last record."""
        return self.records[-1].offset + 1

    async def position(self, _: TopicPartition) -> int:
        """As far as it was handed out."""
        return self.highwater(ALERTS)

    # --- the producer
    async def send_and_wait(self, topic: str, *, key: bytes, value: bytes | None, partition: int) -> None:
        """Note what is remembered."""
        assert (topic, partition) == ("driftline.notified", 0)
        told = decode(value)
        assert told is not None
        self.done.append(("remember", key, len(told.ids), told.open is not None))

    # --- the target
    async def send(self, request: Request, timeout_seconds: float) -> Answer:
        """The next answer; 200 when none is left."""
        assert timeout_seconds == 10.0
        self.done.append(("send", request.headers.get("webhook-id"), request.body))
        if self.before_send is not None:
            await self.before_send()
        return self.answers.popleft() if self.answers else Answer(200)


def records(alerts: Iterable[dict[str, Any]]) -> list[Record]:
    """Alerts as records from offset 10 on."""
    made = [record(data) for data in alerts]
    return [Record(10 + n, one.key or b"", one.value or b"") for n, one in enumerate(made)]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, Told]:
    """What the target was told before."""
    known: dict[bytes, Told] = {}

    async def restore(*_: Any) -> dict[int, dict[bytes, Told]]:
        return {0: dict(known)}

    monkeypatch.setattr(notified, "restore", restore)
    return known


def deliver(
    world: World, *, channel: Channel | None = None, waits: list[float] | None = None
) -> tuple[Metrics, Courier]:
    """Run a courier until everything is read; waits between attempts pass at once."""
    settings = Settings.model_validate(
        {"models": {"m": {}}, "notify": {"targets": {"t": {"kind": "webhook", "url": "https://t.example"}}}}
    )
    metrics = Metrics()
    courier = Courier(
        settings, "t", channel or Webhook("https://t.example"), clients=world,  # type: ignore[arg-type]
        producer=world, post=world, metrics=metrics, clock=lambda: NOW, coin=lambda: 1.0,
    )  # fmt: skip

    async def wait_for(waiting: Any, seconds: float) -> None:
        waiting.close()
        if waits is not None:
            waits.append(seconds)
        await asyncio.sleep(0)
        raise TimeoutError

    async def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("driftline.publish.notify.courier.asyncio.wait_for", wait_for)
            await courier.run(world.ended)

    asyncio.run(run())
    return metrics, courier


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """A sample of the page."""
    return metrics.registry.get_sample_value(name, {"target": "t", **labels})


def test_answer_then_record_then_commit(told: dict[bytes, Told]) -> None:
    """In this order, alert by alert: a crash in between tells again, and never loses."""
    alerts = [alert(), alert("resolved", sequence=1)]
    world = World(records(alerts))
    metrics, _ = deliver(world)
    assert [step[0] for step in world.done] == ["send", "remember", "commit"] * 2 + ["commit"]
    assert [step[1] for step in world.done if step[0] == "send"] == [data["id"] for data in alerts]
    assert [step[2:] for step in world.done if step[0] == "remember"] == [(1, True), (2, False)]
    assert value(metrics, "driftline_notifications_delivered_total") == 2
    assert value(metrics, "driftline_notification_lag_records", partition="0") == 0


def test_a_target_that_is_away_is_waited_for(told: dict[bytes, Told]) -> None:
    """The next alert waits behind it; nothing is committed meanwhile."""
    world, waits = World(records([alert(), alert(signal="b")]), deque([Answer(503)] * 8)), list[float]()
    metrics, _ = deliver(world, waits=waits)
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60]
    assert [step[0] for step in world.done[:10]] == ["send"] * 9 + ["remember"]
    assert value(metrics, "driftline_notification_failures_total", reason="server") == 8
    assert value(metrics, "driftline_notification_failed_attempts") == 0


def test_what_is_refused_is_given_up_and_the_next_one_comes(told: dict[bytes, Told]) -> None:
    """After a bounded number of attempts, remembered so that a restart does not try again."""
    world = World(records([alert(signal="bad"), alert()]), deque([Answer(422)] * REFUSALS_MAX))
    metrics, _ = deliver(world)
    assert [step[0] for step in world.done].count("send") == REFUSALS_MAX + 1
    assert value(metrics, "driftline_notifications_given_up_total", reason="refused") == 1
    assert value(metrics, "driftline_notifications_delivered_total") == 1
    assert ("remember", b"t/credit-risk/bad", 1, False) in world.done


def test_what_was_told_before_is_not_told_again(told: dict[bytes, Told]) -> None:
    """Positions were lost, the memory was not."""
    told[b"t/credit-risk/age"] = Told(((alert()["id"], 1),))
    world = World(records([alert()]))
    metrics, _ = deliver(world)
    assert world.done == [("commit", 11)]
    assert value(metrics, "driftline_notifications_skipped_total", reason="duplicate") == 1


def test_muted_and_malformed_are_counted_and_passed(told: dict[bytes, Told]) -> None:
    """One commit for both."""
    world = World([*records([alert(muted=True)]), Record(11, b"k", b"nonsense")])
    metrics, _ = deliver(world)
    assert world.done == [("commit", 12)]
    for reason in ("muted", "malformed"):
        assert value(metrics, "driftline_notifications_skipped_total", reason=reason) == 1


def test_partitions_given_up_in_mid_attempt_are_committed_first(told: dict[bytes, Told]) -> None:
    """A revocation waits for the step in flight; what comes behind it is left to the next owner."""
    world = World(records([alert(), alert(signal="b")]))
    revoking = list[asyncio.Task[None]]()

    async def moves() -> None:
        if not revoking:
            revoking.append(asyncio.create_task(world.listener.on_partitions_revoked({ALERTS})))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not revoking[0].done()
            world.ended.set()

    world.before_send = moves
    deliver(world)
    assert [step[0] for step in world.done[:3]] == ["send", "remember", "commit"]
    assert [step[0] for step in world.done].count("send") == 1
    assert world.done[-1] == ("seek", 11)


def test_what_a_takeover_raises_ends_the_courier(
    told: dict[bytes, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client would swallow it, and the target would never be told of anything again."""

    async def breaks(*_: Any) -> None:
        raise RuntimeError("no such topic")

    monkeypatch.setattr(notified, "restore", breaks)
    with pytest.raises(RuntimeError, match="no such topic"):
        deliver(World(records([alert()])))
