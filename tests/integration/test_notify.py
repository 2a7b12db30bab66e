"""``driftline notify`` on a real Kafka: targets that are down, kills, and what each target got in the end."""

from __future__ import annotations

import asyncio
import base64
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer
from kafka.admin import KafkaAdminClient
from standardwebhooks import Webhook as Verifier

from driftline.localkafka import LocalKafka
from harness import workers
from harness.notices import alert, record
from harness.receivers import Received, Receiver, answers, receiver
from harness.workers import Worker

KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()
PARTITIONS = 3
SETTLE_SECONDS = 60.0


def history(signals: int, episodes: int) -> list[dict[str, Any]]:
    """Episodes of several signals, one after another, each opened, updated and resolved; interleaved."""
    return [
        alert(event, model=f"model-{s % 3}", signal=f"signal {s}", episode=e + 1, sequence=at)
        for e in range(episodes)
        for at, event in enumerate(("opened", "updated", "resolved"))
        for s in range(signals)
    ]


async def publish(bootstrap: str, prefix: str, alerts: list[dict[str, Any]], *, commit: bool = True) -> None:
    """Write alerts as the service does: in a transaction, the partition by the key."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, transactional_id=f"{prefix}-test")
    await producer.start()
    try:
        await producer.begin_transaction()
        for data in alerts:
            made = record(data)
            partition = zlib.crc32(made.key or b"") % PARTITIONS
            await producer.send_and_wait(
                f"{prefix}.alerts",
                key=made.key,
                value=made.value,
                headers=list(made.headers),
                partition=partition,
            )
        await (producer.commit_transaction() if commit else producer.abort_transaction())
    finally:
        await producer.stop()


def configured(tmp_path: Path, kafka: LocalKafka, prefix: str, targets: dict[str, Any], **more: Any) -> Path:
    """A configuration with these targets, its topics made."""
    values = workers.settings(kafka.bootstrap, prefix, f"{prefix}-raw", models={"model-0": {}})
    values["topics"]["mailbox_partitions"] = PARTITIONS
    values["kafka"]["session_timeout_seconds"] = 6  # a member that was killed is missed so long
    values["notify"] = {"targets": targets, **more}
    config = workers.write_settings(tmp_path / "driftline.yaml", values)
    workers.create_topics(config)
    return config


@contextmanager
def notifier(config: Path, tmp_path: Path) -> Iterator[Worker]:
    """A running ``driftline notify``; killed at the end if it still runs."""
    worker = Worker(
        config, tmp_path / "notify.log", command=workers.driftline("notify", "--config", str(config))
    )
    try:
        yield worker
    finally:
        worker.kill()


def wait_for(condition: Callable[[], object], worker: Worker) -> None:
    """Until the condition holds; fails when it never does or the worker dies."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not condition():
        worker.check()
        assert time.monotonic() < deadline, worker.log.read_text(encoding="utf-8")[-3000:]
        time.sleep(0.05)


def ids(received: list[Received]) -> list[str]:
    """The alerts' ids in the order in which they came."""
    return [one.headers["webhook-id"] for one in received]


def in_order(received: list[Received], sent: list[dict[str, Any]]) -> bool:
    """Whether the alerts of each signal came in the order in which they were written."""
    got, written = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for one in received:
        event = one.json
        got[event["source"] + event["subject"]].append(event["id"])
    for data in sent:
        written[f"/driftline/{data['model']}{data['signal']}"].append(data["id"])
    return dict(got) == dict(written)


def test_a_target_that_is_down_loses_nothing_and_holds_up_nobody(
    kafka: LocalKafka, topic_prefix: str, tmp_path: Path
) -> None:
    """Down, killed, up again: each alert once and in order; after lost positions none comes again."""
    sent = history(signals=7, episodes=2)
    with receiver() as down, receiver() as up:
        down.behave = answers(503)
        targets = {
            "down": {"kind": "webhook", "url": f"{down.url}/a", "secret": KEY},
            "up": {"kind": "webhook", "url": f"{up.url}/b", "secret": KEY},
        }
        config = configured(tmp_path, kafka, topic_prefix, targets)
        asyncio.run(publish(kafka.bootstrap, topic_prefix, [alert(signal="never")], commit=False))
        asyncio.run(publish(kafka.bootstrap, topic_prefix, sent))
        with notifier(config, tmp_path) as first:
            wait_for(lambda: len(up.taken) >= len(sent) and down.all, first)
            assert first.ready()
            first.kill()
        with notifier(config, tmp_path) as second:
            wait_for(lambda: second.http("/ready"), second)
            down.behave = answers(204)
            wait_for(lambda: len(down.taken) >= len(sent), second)
            assert second.stop() == 0
        for target in (down, up):
            assert Counter(ids(target.taken)) == Counter(data["id"] for data in sent)
            assert in_order(target.taken, sent)
            for one in target.taken:
                assert Verifier(KEY).verify(one.body, dict(one.headers)) == one.json
        forget_positions(kafka.bootstrap, topic_prefix, ("down", "up"))
        with notifier(config, tmp_path) as third:
            wait_for(lambda: skipped(third, "duplicate") == 2 * len(sent), third)
            assert third.stop() == 0
        assert len(down.taken) == len(up.taken) == len(sent)


def forget_positions(bootstrap: str, prefix: str, targets: tuple[str, ...]) -> None:
    """Delete the targets' consumer groups, as the broker does when they were away for a week."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        admin.delete_groups([f"{prefix}-notify-{name}" for name in targets])
    finally:
        admin.close()


def skipped(worker: Worker, reason: str) -> float:
    """How many alerts were not told, over all targets."""
    found = worker.metrics().get("driftline_notifications_skipped_total", {})
    return sum(value for labels, value in found.items() if f'reason="{reason}"' in labels)


def test_killed_between_answer_and_record_tells_that_one_alert_again_under_the_same_id(
    kafka: LocalKafka, topic_prefix: str, tmp_path: Path
) -> None:
    """The one window that no order of writes can close: the idempotency key closes it for the receiver."""
    sent = history(signals=4, episodes=1)
    with receiver() as target:
        config = configured(tmp_path, kafka, topic_prefix, {"hook": {"kind": "webhook", "url": target.url}})
        asyncio.run(publish(kafka.bootstrap, topic_prefix, sent))
        with notifier(config, tmp_path) as first:

            def kills(received: Received) -> tuple[int, dict[str, str]]:
                if len(target.taken) == 5:
                    first.kill()
                return 200, {}

            target.behave = kills
            deadline = time.monotonic() + SETTLE_SECONDS
            while first.alive:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        target.behave = answers(200)
        with notifier(config, tmp_path) as second:
            wait_for(lambda: len(set(ids(target.taken))) == len(sent), second)
            time.sleep(1.0)  # a second telling would come now
            assert second.stop() == 0
        told = Counter(ids(target.taken))
        assert set(told) == {data["id"] for data in sent}
        again = [one for one, count in told.items() if count > 1]
        assert again == [ids(target.taken)[5]]
        assert told[again[0]] == 2


def test_alertmanager_is_reminded_and_poison_does_not_stop_the_rest(
    kafka: LocalKafka, topic_prefix: str, tmp_path: Path
) -> None:
    """Open alerts are posted again across a restart, an end once; what is refused is given up and counted."""
    with receiver() as manager, receiver() as picky:
        poison = alert(signal="poison")
        picky.behave = lambda one: (400 if one.json["subject"] == "poison" else 200, {})
        targets = {
            "manager": {"kind": "alertmanager", "url": manager.url, "resend_seconds": 1},
            "picky": {"kind": "webhook", "url": picky.url},
        }
        config = configured(tmp_path, kafka, topic_prefix, targets)
        asyncio.run(publish(kafka.bootstrap, topic_prefix, [alert(), poison, alert(signal="last")]))
        with notifier(config, tmp_path) as first:
            wait_for(lambda: posts(manager, "age") >= 3, first)
            first.kill()
        before = posts(manager, "age")
        with notifier(config, tmp_path) as second:
            wait_for(lambda: posts(manager, "age") >= before + 2, second)
            wait_for(lambda: given_up(second) == 1.0, second)
            asyncio.run(publish(kafka.bootstrap, topic_prefix, [alert("resolved", sequence=1)]))
            wait_for(lambda: ends(manager, "age") <= time.time(), second)
            count = posts(manager, "age")
            wait_for(lambda: posts(manager, "last") >= count, second)
            assert posts(manager, "age") == count
            assert second.stop() == 0
        assert manager.all[0].path == "/api/v2/alerts"
        assert [one.json["subject"] for one in picky.taken].count("last") == 1


def given_up(worker: Worker) -> float:
    """Alerts that were given up as refused."""
    found = worker.metrics().get("driftline_notifications_given_up_total", {})
    return found.get('reason="refused",target="picky"', found.get('target="picky",reason="refused"', 0.0))


def posts(manager: Receiver, signal: str) -> int:
    """How often an alert of a signal was posted."""
    return sum(item["labels"]["signal"] == signal for one in manager.taken for item in one.json)


def ends(manager: Receiver, signal: str) -> float:
    """The end of the last post of a signal, Unix seconds."""
    from datetime import datetime

    last = [item for one in manager.taken for item in one.json if item["labels"]["signal"] == signal][-1]
    return datetime.fromisoformat(last["endsAt"]).timestamp()
