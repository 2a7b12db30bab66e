"""A broker of our own: it starts, keeps its data through a kill, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from driftline.localkafka import base, java

# The Java path on purpose, whatever KAFKA says: its processes and files are what is tested here.
pytestmark = pytest.mark.kafka


def _broker(data_dir: Path | None = None) -> java.JavaKafka:
    return java.JavaKafka(data_dir=data_dir, heap="256m", properties=base.BROKER_PROPERTIES)


def _produce(bootstrap: str, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=bootstrap)
    try:
        for sent in [producer.send(topic, value, partition=0) for value in values]:
            sent.get(timeout=30)
    finally:
        producer.close()


def _consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, consumer_timeout_ms=20_000)
    try:
        consumer.assign([TopicPartition(topic, 0)])
        consumer.seek_to_beginning()
        values = []
        for record in consumer:
            values.append(record.value)
            if len(values) == count:
                break
        return values
    finally:
        consumer.close()


def test_data_survives_a_kill_and_stop_leaves_nothing() -> None:
    """The life of a broker: start, topic, records, SIGKILL, same address and data again, stop."""
    broker = _broker()
    with broker:
        address, pid, folder = broker.bootstrap, broker.pid, broker.folder
        assert pid is not None
        assert folder is not None
        admin = KafkaAdminClient(bootstrap_servers=address)
        admin.create_topics({"kept": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        admin.close()
        _produce(address, "kept", [b"one", b"two"])

        broker.kill()
        assert not psutil.pid_exists(pid)
        assert not base.answers(address)

        broker.start()
        assert broker.bootstrap == address
        assert broker.pid != pid
        _produce(address, "kept", [b"three"])
        assert _consume(address, "kept", 3) == [b"one", b"two", b"three"]
        children = psutil.Process().children(recursive=True)
        assert len([child for child in children if child.pid == broker.pid]) == 1

        broker.stop()
        assert not any(child.is_running() and str(folder) in " ".join(child.cmdline()) for child in children)
        assert not folder.exists()
        assert not base.answers(address)


def test_given_folder_is_kept_and_used_again(tmp_path: Path) -> None:
    """With a data folder of one's own, ``stop`` keeps the data and another object finds it."""
    with _broker(tmp_path / "data") as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
        admin.create_topics({"kept": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        admin.close()
        _produce(broker.bootstrap, "kept", [b"one"])
    with _broker(tmp_path / "data") as broker:
        assert _consume(broker.bootstrap, "kept", 1) == [b"one"]


def test_the_broker_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    """No orphan broker eats the machine after a test run was killed; a thread's end alone does not end it."""
    script = """
import os, signal, sys, threading
from pathlib import Path
from driftline.localkafka import base, java
broker = java.JavaKafka(data_dir=Path(sys.argv[1]), heap="256m", properties=base.BROKER_PROPERTIES)
thread = threading.Thread(target=broker.start)
thread.start()
thread.join()
assert base.answers(broker.bootstrap)
print(broker.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "data")],
        stdout=subprocess.PIPE,
        check=False,
        timeout=120,
    )
    assert done.returncode == -9
    pid = int(done.stdout)
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(pid)


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # its reaper is not ours
    except psutil.NoSuchProcess:
        return False


def test_a_broker_that_cannot_start_shows_its_log(tmp_path: Path) -> None:
    """The reason is in the message, and no process and no folder stay."""
    broker = java.JavaKafka(
        data_dir=None, heap="256m", properties={**base.BROKER_PROPERTIES, "log.retention.ms": "soon"}
    )
    before = {child.pid for child in psutil.Process().children()}
    with pytest.raises(base.KafkaUnavailable, match=r"log\.retention\.ms"), broker:
        pass
    assert broker.folder is None
    assert {child.pid for child in psutil.Process().children()} == before
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - nothing of it in our own folder either


def test_taken_ports_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody took the port between our choice and the broker's bind: it starts at another one."""
    with _broker() as first:
        taken = int(first.bootstrap.rpartition(":")[2])
        offered = [[taken, *java.free_ports(1)], java.free_ports(2)]
        monkeypatch.setattr(java, "free_ports", lambda _: offered.pop(0))
        with _broker() as second:
            assert second.bootstrap != first.bootstrap
            assert base.answers(second.bootstrap)
        assert offered == []
