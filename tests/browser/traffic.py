"""Live traffic for the console: three models with predictions and labels, two of which change."""

from __future__ import annotations

import json
import random
import threading
import time
from typing import Any, Final, Self

from kafka import KafkaProducer

EVENTS: Final = "inference.events"
LABELS: Final = "inference.labels"
MODELS: Final = ("credit-risk", "churn", "pricing")
RATE: Final = 900  # events a second of all
CHANGED: Final = 2_500  # events of a model before it changes
LAG: Final = 200  # events between a prediction and its label


class Traffic(threading.Thread):
    """Sends until told to stop; use it as a context."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(name="traffic", daemon=True)
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, linger_ms=20)
        self._rng = random.Random(5)
        self._enough = threading.Event()
        self._late: list[tuple[str, str, str]] = []
        self.sent = 0

    def __enter__(self) -> Self:
        """Begin to send."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sending."""
        self.stop()

    def stop(self) -> None:
        """Send no more; what is sent is on the broker afterwards."""
        self._enough.set()
        self.join()
        self._producer.close()

    def run(self) -> None:
        """Events in batches of a tenth of a second."""
        began = time.monotonic()
        while not self._enough.wait(0.1):
            while self.sent < (time.monotonic() - began) * RATE:
                self._one()
        self._producer.flush()

    def _one(self) -> None:
        number, index = self.sent // len(MODELS), self.sent % len(MODELS)
        model, ident = MODELS[index], f"{MODELS[index]}-{number}"
        event, truth = self._event(model, number)
        self._send(EVENTS, model, {"id": ident, "model": model, **event})
        self._late.append((model, ident, truth))
        if len(self._late) > LAG:
            known, of, label = self._late.pop(0)
            self._send(LABELS, known, {"id": of, "model": known, "label": label})
        self.sent += 1

    def _event(self, model: str, number: int) -> tuple[dict[str, Any], str]:
        """What the model saw and said, and what is true."""
        rng, changed = self._rng, number >= CHANGED
        age = rng.gauss(52 if changed and model == "credit-risk" else 41, 11)
        wrong = rng.random() < (0.25 if changed and model == "churn" else 0.06)
        truth = "deny" if rng.random() < 0.3 else "approve"
        said = truth if not wrong else {"deny": "approve", "approve": "deny"}[truth]
        country = rng.choice(
            ("DE", "FR", "IT", "ES") if not changed or model != "credit-risk" else ("DE", "PL")
        )
        features = {"age": round(age, 2), "income": round(rng.lognormvariate(10, 0.4)), "country": country}
        return {"features": features, "prediction": {"class": said, "score": round(rng.random(), 4)}}, truth

    def _send(self, topic: str, model: str, data: dict[str, Any]) -> None:
        self._producer.send(topic, key=model.encode(), value=json.dumps(data).encode())
