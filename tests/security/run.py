"""``make security-test``: the product on a shut broker, then every attack we know; fails if one is let in.

Needs Java 17 or newer, Maven (once) and openssl. ``tests/security/test_attacks.py`` runs the same as tests.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from driftline import acls, topics
from driftline.config import KafkaSettings, Settings
from security import inputs, matrix, transport
from security.attempts import Attempt, table
from security.broker import Identities, SecuredKafka
from security.product import RAW, Product
from security.wire import batch

FORGED = b'{"forged":true}'


class Run:
    """One run: what was attempted, and what is wrong apart from that.

    ``short``: one bomb instead of five, and no rotation of certificates.
    """

    def __init__(self, folder: Path, *, short: bool = False) -> None:
        self.folder = folder
        self._short = short
        self.attempts: list[Attempt] = []
        self.faults: list[str] = []
        self.control_tried = 0
        self.seconds: dict[str, float] = {}
        self._began = time.monotonic()

    def _lap(self, what: str) -> None:
        now = time.monotonic()
        self.seconds[what] = now - self._began
        self._began = now

    async def _gather(self, source: AsyncIterable[Attempt]) -> None:
        self.attempts += [attempt async for attempt in source]

    async def secured(self) -> None:
        """The broker with its authorizer: the product works, the attacks do not."""
        identities = Identities(self.folder / "certificates")
        with SecuredKafka(self.folder, identities) as broker:
            product = Product(broker, self.folder)
            settings = product.settings("deploy")
            broker.grant(settings)
            product.make_topics()
            product.start()
            self._lap("broker and workers")
            try:
                await self._attack(product, settings)
            finally:
                product.stop()

    async def _attack(self, product: Product, settings: Settings) -> None:
        broker, marker = product.broker, self.folder / "marker"
        self.faults += await product.works()
        self._lap("the product works")
        self.faults += self._rights_checked(product)
        self.faults += [fault async for fault in matrix.refused_rights(broker, settings)]
        self.faults += [fault async for fault in transport.doors_that_open(broker)]
        self.faults += [f"HTTP: {what} is not answered" for what in inputs.opens(product)]
        await self._gather(transport.at_the_door(broker))
        await self._gather(transport.false_brokers(broker))
        await self._gather(matrix.forbidden(broker, settings, batch(FORGED)))
        self._lap("connections and rights")
        await self._gather(inputs.http(product))
        await self._gather(inputs.hostile_records(product, marker))
        self._lap("HTTP and records")
        await self._gather(inputs.bombs(product, short=self._short))
        self._lap("bombs")
        self.attempts += inputs.files(self.folder, marker)
        self.attempts += secrets(product)
        if not self._short:
            self.faults += await product.survives_rotation()
        self.faults += forged(product)
        self._lap("rotation")

    def _rights_checked(self, product: Product) -> list[str]:
        """The product's own check of its user: content with the right role, not with another."""
        found = []
        for role, check, code in (("ingest", "ingest", 0), ("detect", "detect", 0), ("ingest", "reader", 1)):
            done = product.run(role, "topics", "acls", "--check", check)
            if done.returncode != code:
                found.append(
                    f"topics acls --check {check} as {role}: {done.returncode} {done.stdout}{done.stderr}"
                )
        if "rights:" in product.written():
            found.append("a worker warns of rights although they are as in the table")
        return found

    async def control(self) -> None:
        """The same attacks on a broker that allows everything: each has to be let in, or it shows nothing."""
        folder = self.folder / "open"
        folder.mkdir()
        identities = Identities(folder / "certificates")
        with SecuredKafka(folder, identities, authorizer=False) as broker:
            settings = Product(broker, folder).settings("detect")
            admin = topics.admin_config(KafkaSettings(**broker.kafka_settings("deploy", listener="mtls")))
            made = topics.create(admin, topics.plan(settings, input_partitions=1))
            assert all(item.outcome == "created" for item in made), made
            beyond = [d for d in acls.compare(settings, ["detect"], admin) if "Write" in d.beyond]
            if not beyond:
                self.faults.append("control: the check of rights does not notice an open broker")
            found = [a async for a in matrix.forbidden(broker, settings, batch(FORGED))]
        self._lap("control")
        kept = [a for a in found if not a.let_in]
        self.faults += [f"control: denied by a broker without an authorizer: {a.what}" for a in kept]
        self.control_tried = len(found)


def secrets(product: Product) -> list[Attempt]:
    """Passwords, keys and tokens in what was written for people: logs, and what configurations print."""
    who = product.broker.identities
    texts = {"logs": product.written()}
    for role in ("ingest", "detect"):
        settings = product.settings(role)
        texts[f"settings of {role}"] = f"{settings!r} {settings} {settings.model_dump_json()}"
        done = product.run(role, "config", "check")
        texts[f"config check of {role}"] = done.stdout + done.stderr
    hidden = [*who.passwords.values(), product.token, *(p.key.read_text() for p in who.clients.values())]
    return [
        Attempt("secret in print", where, any(secret in text for secret in hidden))
        for where, text in texts.items()
    ]


def forged(product: Product) -> list[str]:
    """Topics of ours that hold the record that attackers wrote, whatever the broker had answered."""
    found = product.broker.holding(FORGED, [spec.name for spec in product.plan()])
    faults = [f"{topic} holds a forged record" for topic in found]
    written = inputs.records(product.folder / "marker")["cut off"]  # by producer, who may
    return (
        faults if product.broker.holding(written, [RAW]) else [*faults, "control: the search finds nothing"]
    )


def main() -> int:
    """Exit code: 0 when nothing was let in and everything that has to work does."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="driftline-security-") as name:
        run = Run(Path(name))
        asyncio.run(run.secured())
        asyncio.run(run.control())
    for line in table(run.attempts):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"control, an open broker: {run.control_tried} attacks on rights, all let in\n")
    for fault in run.faults:
        sys.stdout.write(f"FAULT {fault}\n")
    parts = ", ".join(f"{what} {seconds:.0f}" for what, seconds in run.seconds.items())
    sys.stdout.write(f"{time.monotonic() - began:.0f} s ({parts})\n")
    return int(bool(run.faults) or any(a.let_in for a in run.attempts))


if __name__ == "__main__":
    raise SystemExit(main())
