"""Micro benchmark of decoding, microseconds an event; a script: ``python tests/bench/bench_decode.py``."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import numpy as np

from driftline.config import MappingSettings
from driftline.ingest.decode.mapping import NATIVE, FieldMapping
from driftline.ingest.decode.native import NativeDecoder, warm
from driftline.records import RecordChunk, Source

EVENTS = 20_000
NUMBERS = [f"feature_{i:02d}" for i in range(18)]
T0 = 1_795_428_000_000


def chunk_of(values: list[bytes], sources: int = 1) -> RecordChunk:
    """A chunk with timestamps a millisecond apart, spread over ``sources`` in runs of 500."""
    n = len(values)
    ends = np.cumsum([len(v) for v in values])
    starts = ends - np.array([len(v) for v in values])
    source = np.arange(n) // 500 % sources
    order = np.argsort(source, kind="stable")
    buf = np.frombuffer(b"".join(values) + b" " * 64, np.uint8)
    index = np.arange(n)
    return RecordChunk(
        buf, starts[order], ends[order], source[order], index[order], T0 + index[order],
        tuple(Source("t", s) for s in range(sources)),
    )  # fmt: skip


def event(
    rng: np.random.Generator, i: int, *, digits: int | None, shuffle: bool, model: str = "credit-risk"
) -> bytes:
    """One event of 18 numbers and 2 strings."""
    numbers = rng.normal(size=18)
    features: dict[str, object] = {
        n: round(float(v), digits) if digits is not None else float(v)
        for n, v in zip(NUMBERS, numbers, strict=True)
    }
    features["country"] = ["DE", "US", "FR", "GB"][i % 4]
    features["device"] = ["ios", "android", "web"][i % 3]
    if shuffle:
        names = list(features)
        rng.shuffle(names)
        features = {n: features[n] for n in names}
    return json.dumps(
        {
            "id": f"e{i:09d}",
            "model": model,
            "model_version": "3",
            "time": f"2026-11-23T10:{i // 60000 % 60:02d}:{i // 1000 % 60:02d}.{i % 1000:03d}Z",
            "features": features,
            "prediction": {"score": round(float(rng.random()), 6), "class": "approve"},
        }
    ).encode()


def decoder(*, fast: bool = True, mapping: FieldMapping = NATIVE) -> NativeDecoder:
    """Any model, no judgement of age."""
    return NativeDecoder(
        fixed_model=None, allowed_models=None, max_event_age_ms=None, fast=fast, mapping=mapping
    )


MAPPED = MappingSettings.model_validate({
    "model": "/meta/model_name", "id": "/request_id", "time": "/ts", "model_version": "/meta/version",
    "features": {"*": "/payload/inputs", "income": "/customer/finance/income"},
    "score": "/output/score", "class": "/output/label",
})  # fmt: skip


def mapped(event: bytes) -> bytes:
    """The same event as another producer would write it, with an object and an array that nobody needs."""
    e = json.loads(event)
    features = dict(e["features"])
    income = features.pop("feature_00")
    return json.dumps(
        {
            "meta": {
                "model_name": e["model"],
                "version": e["model_version"],
                "host": {"name": "a", "pod": 1},
            },
            "request_id": e["id"],
            "ts": e["time"],
            "payload": {"inputs": features, "raw": [1, 2, 3]},
            "customer": {"finance": {"income": income}},
            "output": {"score": e["prediction"]["score"], "label": e["prediction"]["class"]},
        }
    ).encode()


def best(run: Callable[[], object], times: int) -> float:
    """Shortest of some runs, CPU seconds: other programs on the machine do not count."""
    shortest = float("inf")
    for _ in range(times):
        start = time.process_time()
        run()
        shortest = min(shortest, time.process_time() - start)
    return shortest


def main() -> None:
    """Prints the table."""
    start = time.process_time()
    warm()
    print(f"warm {time.process_time() - start:.2f} s")
    rng = np.random.default_rng(1)
    plain = [event(rng, i, digits=6, shuffle=False) for i in range(EVENTS)]
    hard = [event(rng, i, digits=None, shuffle=True) for i in range(EVENTS)]
    many = [event(rng, i, digits=6, shuffle=False, model=f"model-{i % 50}") for i in range(500)]
    fields = FieldMapping.of(MAPPED)
    for name, values, sources, mapping in (
        ("6 digits, one key order", plain, 1, NATIVE),
        ("6 digits, 8 sources", plain, 8, NATIVE),
        ("17 digits, any key order", hard, 1, NATIVE),
        ("6 digits, mapped", [mapped(e) for e in plain], 1, fields),
    ):
        chunk = chunk_of(values, sources)
        fast = decoder(mapping=mapping)
        cold = best(lambda f=fast, c=chunk: f.decode(c), 1)  # type: ignore[misc]
        seconds = best(lambda f=fast, c=chunk: f.decode(c), 7)  # type: ignore[misc]
        size = sum(map(len, values)) / EVENTS
        slow_rows = fast.decode(chunk).slow_rows
        print(
            f"{name:28} {seconds / EVENTS * 1e6:6.3f} us/event  {size:.0f} bytes  "
            f"cold {cold * 1e3:.1f} ms  slow {slow_rows}"
        )
    small = chunk_of(plain[:1000])
    slow = decoder(fast=False)
    print(f"{'slow path':28} {best(lambda: slow.decode(small), 3) / 1000 * 1e6:6.3f} us/event")
    mixed = chunk_of(many)
    fast = decoder()
    fast.decode(mixed)
    seconds = best(lambda: fast.decode(mixed), 50)
    print(f"{'50 models x 10 rows':28} {seconds * 1e3:6.3f} ms a chunk, {seconds / 50 * 1e6:.1f} us a model")
    one = chunk_of(many[:1])
    print(f"{'1 row':28} {best(lambda: fast.decode(one), 50) * 1e6:6.1f} us a chunk")


if __name__ == "__main__":
    main()
