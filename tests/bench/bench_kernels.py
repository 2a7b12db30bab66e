"""Nanoseconds a value of every kernel, and of the engine an event: ``python tests/bench/bench_kernels.py``.

The event has 18 numeric features (5 channels each, 256 knots) and 2 categorical ones (14 channels each): 118
channels, 38 of them (range and type) with the e-detector alone, the others with all three detectors, and 20
windows, in blocks of 2,048 rows; the stream has no drift, the detectors' windows are full. Best of several
passes: the machine's noise only ever adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from driftline.config import river
from driftline.detect import kernels
from driftline.detect.kernels.adwin import adwin_run
from driftline.detect.kernels.e_detector import e_detector_run
from driftline.detect.kernels.page_hinkley import page_hinkley_run
from driftline.detect.kernels.pit import pit_run
from driftline.detect.kernels.state import Records
from driftline.detect.labels import Labels, Rows, rows_of
from driftline.records import Tag

NUMERIC, CATEGORICAL, SHARES, CATEGORIES, KNOTS = 18, 2, 8, 40, 256
ROWS, PASSES, WARM_BLOCKS = 2_048, 15, 40
PENDING, JOINED = 1_000_000, 20_000
F64 = npt.NDArray[np.float64]


def best_ns(run: Callable[[], object], items: int) -> float:
    """Best of PASSES runs in nanoseconds an item."""
    best = float("inf")
    for _ in range(PASSES):
        start = time.perf_counter_ns()
        run()
        best = min(best, (time.perf_counter_ns() - start) / items)
    return best


def full_plan(channels: int, mean: F64, sd: F64) -> Records:
    """Plans with all three detectors at a budget that never fires here; bets as in DECISIONS A."""
    plan = kernels.new_plan(channels)
    for c in range(channels):
        s = max(0.02, float(sd[c]))
        low, high = max(0.0, float(mean[c]) - 0.02), min(1.0, float(mean[c]) + 0.02)
        bets = np.array([0.06, 0.2, 0.6, 1.6]) / s
        up, down = np.minimum(bets, 0.9 / high), -np.minimum(bets, 0.9 / (1.0 - low))
        lam = np.concatenate([up if high < 1.0 else up[:0], down if low > 0.0 else down[:0]])
        plan[c]["lanes"] = len(lam)
        plan[c]["lam"][: len(lam)] = lam
        plan[c]["m"][: len(lam)] = np.where(lam > 0, high, low)
        plan[c]["mu0"] = mean[c]
    plan["level"] = 1e9
    plan["exit_band"] = 0.01
    plan["min_run"] = 100
    plan["adwin_delta"] = 5e-5
    plan["ph_delta"] = 0.0289
    plan["ph_lambda"] = 25.0
    plan["use_esr"] = plan["use_adwin"] = plan["use_ph"] = 1
    return plan


def event(rng: np.random.Generator) -> tuple[tuple[Any, ...], F64, int]:
    """Arguments of derive_channels up to ``hi``, the x buffer, and the number of channels."""
    signals = NUMERIC + CATEGORICAL
    specs = np.zeros(signals, kernels.SIGNAL_SPEC)
    q = np.sort(rng.normal(size=(NUMERIC, KNOTS)), axis=1)
    edge = np.linspace(0.0, 1.0, KNOTS + 1)
    channel = 0
    for s in range(signals):
        numeric = s < NUMERIC
        specs[s]["kind"] = 0 if numeric else 1
        specs[s]["first_channel"] = channel
        specs[s]["n_channels"] = 5 if numeric else SHARES + 6
        specs[s]["n_shares"] = 0 if numeric else SHARES
        specs[s]["has_other"] = 0 if numeric else 1
        specs[s]["has_location"] = 1 if numeric else 0
        if numeric:
            specs[s]["knot_start"], specs[s]["knot_end"] = s * KNOTS, (s + 1) * KNOTS
        channel += int(specs[s]["n_channels"])
    tags = np.full((signals, ROWS), int(Tag.NUMBER), np.uint8)
    tags[NUMERIC:] = int(Tag.STRING)
    values = rng.normal(size=(signals, ROWS))
    weights = np.arange(CATEGORIES, 0, -1) / np.arange(CATEGORIES + 1).sum()
    values[NUMERIC:] = rng.choice(CATEGORIES, (CATEGORICAL, ROWS), p=weights)
    one = np.arange(CATEGORIES, dtype=np.int32)
    tables = (
        np.array([0] * NUMERIC + [CATEGORIES * k for k in range(CATEGORICAL)], np.int32),
        np.tile((one + 0.5) / CATEGORIES, CATEGORICAL),
        np.tile(np.where(one < SHARES, one, -1).astype(np.int32), CATEGORICAL),
        np.tile((one >= SHARES).astype(np.uint8), CATEGORICAL),
        np.tile(one, CATEGORICAL),
    )
    head = (tags, values, np.arange(signals, dtype=np.int32), specs, q.ravel())
    knots = (np.tile(edge[:-1], NUMERIC), np.tile(edge[1:], NUMERIC))
    want = np.array([int(Tag.NUMBER)] * NUMERIC + [int(Tag.STRING)] * CATEGORICAL, np.uint8)
    return (*head, *knots, *tables, want, 0, ROWS), np.empty((signals, ROWS)), channel


def rising_channels(specs: Records) -> npt.NDArray[np.int64]:
    """Channels ``range`` and ``type``."""
    last = specs["first_channel"].astype(np.int64) + specs["n_channels"] - 1
    return np.sort(np.concatenate([last, last[:NUMERIC] - 1]))


def window_ns(y: F64, x: F64, specs: Records) -> float:
    """Nanoseconds an event of counting a window, and of its statistics spread over its 8,192 rows."""
    rng = np.random.default_rng(5)
    sizes = [100] * NUMERIC + [32] * CATEGORICAL
    start = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    counts, missing = np.zeros(start[-1], np.int64), np.zeros(len(sizes), np.int64)
    count = best_ns(lambda: kernels.count_window(y, x, 0, ROWS, specs, start, counts, missing), ROWS)
    print(f"count_window                            {count:8.1f} ns an event")
    order = np.arange(start[-1])
    cell = np.concatenate([np.arange(n) // (10 if n == 100 else 1) for n in sizes])
    ordered = np.array([n == 100 for n in sizes], np.uint8)
    ref, out = rng.integers(1, 50, start[-1]), np.empty((len(sizes), 10))
    width = np.ones(start[-1])
    ns = best_ns(
        lambda: kernels.window_statistics(counts, ref, start, order, width, cell, ordered, out), 8_192
    )
    print(f"window_statistics, a window of 8,192    {ns:8.1f} ns an event")
    return count + ns


def feed(detector: Any, inputs: list[Any]) -> None:
    """Every value through a detector of river."""
    for value in inputs:
        detector.update(value)


def joining(rng: np.random.Generator) -> None:
    """Labels joined with a million predictions waiting: time a row, memory, and bytes a checkpoint.

    Times are of this process's CPU, and of the whole join: order, index, logs and matches.
    """
    labels, started = Labels(PENDING, 1 << 31), 0
    none = rows_of((), labels.names)

    def rows(ids: npt.NDArray[np.int64]) -> Rows:
        n = len(ids)
        spread = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        return replace(
            none, ids=spread, seconds=np.zeros(n, np.uint32), score=rng.random(n),
            code=np.full(n, -1, np.int32), value=np.ones(n), named=np.zeros(n, np.int32),
            event_time=ids, record_time=ids,
            source=np.zeros(n, np.int32), offset=ids,
        )  # fmt: skip

    def turn(known: int) -> None:
        nonlocal started
        events = rows(np.arange(started + 1, started + JOINED + 1))
        truths = rows(rng.permutation(max(started, 1))[:known] + 1)
        truths.score[:] = np.nan
        begin = time.process_time()
        labels.join(events, truths, -1)
        spent.append(time.process_time() - begin)
        started += JOINED

    spent: list[float] = []
    turn(0)
    sizes = []
    while started < PENDING:
        if started in (JOINED, PENDING - JOINED):
            labels.shards()
            turn(0)
            sizes.append(sum(a.nbytes for *_, arrays in labels.shards() for a in (arrays or {}).values()))
        else:
            turn(0)
    spent.clear()
    for _ in range(8):
        turn(JOINED)
    rate = 8 * 2 * JOINED / sum(spent)
    print(f"join, {PENDING:,} waiting                {1e9 / rate:8.0f} ns a row, {rate:,.0f} a second")
    print(f"{PENDING:,} predictions wait in           {labels.predictions.nbytes / 1e6:8.1f} MB (target 40)")
    print(f"checkpoint, {JOINED:,} new, few waiting      {sizes[0]:8,} bytes")
    print(f"checkpoint, {JOINED:,} new, {PENDING:,} waiting {sizes[1]:8,} bytes")


def main() -> None:
    """Print the table."""
    for name in river.DETECTORS:
        detector = river.make(name, {})
        values = np.random.default_rng(3).random(2_000)
        inputs = [v < 0.1 for v in values.tolist()] if river.is_binary(name) else values.tolist()
        ns = best_ns(partial(feed, detector, inputs), len(inputs))
        print(f"river {name:8s}                        {ns / 1_000:9.2f} us a value")
    rng = np.random.default_rng(7)
    start = time.perf_counter()
    kernels.compile_all()
    print(f"compile_all (or load from cache)        {time.perf_counter() - start:8.2f} s")

    n = 65_536
    u = rng.random(n)
    out = np.zeros(n, np.int64)
    for name, k in (("16 knots", 16), ("256 knots", 256), ("500 knots", 500)):
        q = np.sort(rng.normal(size=k))
        edge = np.linspace(0, 1, k + 1)
        x, place = rng.normal(size=n), np.empty(n)
        ns = best_ns(partial(pit_run, x, q, edge[:-1], edge[1:], place), n)
        print(f"PIT, {name:10s}                         {ns:8.1f} ns a value")
    state = kernels.new_state(1)
    plan = full_plan(1, np.array([0.5]), np.array([0.2887]))
    for _ in range(4):
        adwin_run(u, state, 5e-5, out)
    ns = best_ns(lambda: adwin_run(u, state, 5e-5, out), n)
    print(f"ADWIN, window {state['a_width'][0]:9.0f}                 {ns:8.1f} ns a value")
    ns = best_ns(lambda: page_hinkley_run(u, state, 0.0289, 25.0, out), n)
    print(f"Page-Hinkley                            {ns:8.1f} ns a value")
    ns = best_ns(lambda: e_detector_run(u, plan, state, 1e9, out), n)
    print(f"e-SR, 8 lanes                           {ns:8.1f} ns a value")

    arguments, x, channels = event(rng)
    y = np.empty((channels, ROWS))
    mismatches = np.zeros(NUMERIC + CATEGORICAL, np.int64)
    derive = best_ns(lambda: kernels.derive_channels(*arguments, y, x, mismatches), ROWS)
    print(f"derive_channels, {channels} channels            {derive:8.0f} ns an event")
    plan = full_plan(channels, y.mean(axis=1), y.std(axis=1))
    state = kernels.new_state(channels)
    times = np.arange(ROWS, dtype=np.int64)
    order = rng.permutation(ROWS)
    for _ in range(WARM_BLOCKS):
        order = rng.permutation(ROWS)
        kernels.run_block(np.ascontiguousarray(y[:, order]), times, 0, ROWS, plan, state)
    shuffled = np.ascontiguousarray(y[:, order])
    specs = arguments[3]
    rising = rising_channels(specs)
    total = 0.0
    for name, flags in (
        ("e-SR and states", ("use_esr",)),
        ("and Page-Hinkley", ("use_esr", "use_ph")),
        ("and ADWIN", ("use_esr", "use_ph", "use_adwin")),
    ):
        part = plan.copy()
        part["use_esr"] = part["use_adwin"] = part["use_ph"] = 0
        for flag in flags:
            part[flag] = 1
        part["use_adwin"][rising] = part["use_ph"][rising] = 0
        copy = state.copy()
        total = best_ns(partial(kernels.run_block, shuffled, times, 0, ROWS, part, copy), ROWS)
        print(f"engine: {name:20s}            {total:8.0f} ns an event, {total / channels:5.1f} a channel")
    for rows in (16, 128):
        ns = best_ns(partial(kernels.run_block, shuffled, times, 0, rows, plan, state), rows)
        print(f"engine, blocks of {rows:4d} rows             {ns:8.0f} ns an event")
    recent, count = np.empty((NUMERIC + CATEGORICAL, 256)), np.zeros(1, np.int64)
    stride = np.ones(len(recent), np.int64)
    ns = best_ns(lambda: kernels.update_recent(recent, count, stride, x, 0, ROWS), ROWS)
    print(f"update_recent                           {ns:8.1f} ns an event")
    counted = window_ns(y, x, specs)
    print(
        f"derive + engine + windows               {derive + total + counted:8.0f} ns an event (target 3,500)"
    )
    joining(rng)


if __name__ == "__main__":
    main()
