"""A reference: the summary of a model's signals to compare with, frozen from rows in time order.

Formulas and constants: docs/decisions.md, section "Reference". Everything here is a pure function of the
rows; a reference is immutable and goes to JSON and back without losing a bit (``schemas/baseline.v1.json``).
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from scipy.optimize import brentq

from driftline.detect.bins import (
    CATEGORY_BINS,
    BinReference,
    bin_reference,
    category_bins,
    numeric_bins,
    numeric_groups,
)
from driftline.detect.kernels.windows import FINE
from driftline.detect.rate import RateReference, check_rate, rate_reference
from driftline.detect.season import Season, check_season
from driftline.detect.typed import OPTIONAL, members, typed
from driftline.detect.wander import block_size, wander
from driftline.errors import MessageError, NewerFormatError
from driftline.records import F64, FEATURES_MAX, I64, MODEL_ID_PATTERN, NAME_CHARS_MAX, U8, ColumnKind, Tag

FORMAT_VERSION: Final = 1
ROWS_MIN: Final = 500  # fewer rows widen the null so far that only huge shifts are seen
KNOTS_MAX: Final = 256
ATOM_SHARE: Final = 0.20  # a value with this share gets a channel of its own
LOCATION_ROWS_MIN: Final = 200  # non-atom rows needed for location and spread
NUMERIC_ROWS_MIN: Final = 50  # present rows needed for any channel but missing
CATEGORY_COUNT_MIN: Final = 5  # rarer categories are pooled
SHARES_MAX: Final = 8
CATEGORIES_MAX: Final = 1_000  # kept categories of one feature
SEEN_MAX: Final = 10_000  # categories remembered as seen; beyond it, unseen is not watched
TAU_MAX: Final = 64.0
TAU_ROWS_MIN: Final = 400
THETA_SAMPLE: Final = 5_000  # values from which the Page-Hinkley exponent is solved
ROUNDING: Final = 1e-9  # what differences of cumulative shares may be off
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
BLOCK_SIZES: Final = (2, 4, 8, 16, 32, 64, 128, 256)  # 2 ** ceil(log2(3 * tau)) with tau <= 64


@dataclass(frozen=True, slots=True)
class ChannelReference:
    """What the reference says of one channel; ``sd`` and ``mean`` are of its own values in [0, 1]."""

    name: str
    binary: bool
    n: int
    mean: float
    sd: float
    tau: float  # variance inflation of means (long-run variance / variance), 1..64
    block_sds: tuple[
        float, ...
    ]  # standard deviation of means of blocks of BLOCK_SIZES values; 0.0 when unknown
    theta_up: float  # root of mean exp(theta * (y - mean - delta)) = 1; 0.0 when there is none
    theta_down: float
    # How far below and above its mean it goes itself for longer than blocks even out; see ``wander.py``.
    wander: tuple[float, float] = field(default=(0.0, 0.0), metadata=OPTIONAL)
    hour_values: int = field(default=0, metadata=OPTIONAL)  # under a season: of the hour that has the fewest


@dataclass(frozen=True, slots=True)
class NumericReference:
    """Knots of the mid-PIT: at value ``knots[i]`` the distribution jumps from ``below[i]`` to ``upto[i]``."""

    knots: tuple[float, ...]
    below: tuple[float, ...]
    upto: tuple[float, ...]
    quantiles: tuple[float, ...]  # at QUANTILES, in the feature's own units
    atom: float | None
    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class CategoricalReference:
    """Categories by descending frequency; the first ``kept`` are kept, the rest are pooled."""

    categories: tuple[str, ...]
    counts: tuple[int, ...]
    kept: int
    shares: int  # how many of the first have a share channel
    total: int
    seen_complete: bool  # False: too many to remember, unseen is not watched


@dataclass(frozen=True, slots=True)
class SignalReference:
    """One signal: ``tag`` is the physical tag of its values (NUMBER, STRING or BOOL)."""

    kind: ColumnKind
    name: str
    tag: Tag
    rows: int
    missing: int
    channels: tuple[ChannelReference, ...]
    numeric: NumericReference | None
    categorical: CategoricalReference | None
    bins: BinReference | None = None  # None: too few values for windows
    later: bool = False  # appeared after the reference was frozen and was learned from its first rows
    season: Season | None = field(default=None, metadata=OPTIONAL)  # location and spread are those within it

    @property
    def signal(self) -> str:
        """The signal's name on topics and in metrics."""
        return signal_name(self.kind, self.name)


@dataclass(frozen=True, slots=True)
class Reference:
    """All signals of a model. ``rows_per_week`` is 0.0 when the rows had no usable times."""

    model: str
    origin: str  # "file" or "stream"
    rows: int
    first_time: int  # ms
    last_time: int
    time_ordered: bool
    rows_per_week: float
    signals: tuple[SignalReference, ...]
    rate: RateReference | None = None  # None: the rows were not all the traffic of their time, or too few

    @property
    def id(self) -> str:
        """Identity of the content: the same rows give the same id, whatever features appear later."""
        frozen = replace(self, signals=tuple(s for s in self.signals if not s.later))
        return hashlib.sha256(to_json(frozen)).hexdigest()[:16]


def signal_name(kind: ColumnKind, name: str) -> str:
    """Name of the signal of a column; a feature cannot take the name of a prediction output."""
    if kind is not ColumnKind.FEATURE:
        return f"prediction.{kind.name.lower()}"
    return f"feature.{name}" if name.startswith(("prediction.", "feature.")) else name


# --- channels ---------------------------------------------------------------------------------------------


def long_run_tau(y: F64) -> float:
    """Variance inflation by batch means with b0 = floor(sqrt n); 1 for fewer than 400 values."""
    n = len(y)
    variance = float(np.var(y)) if n else 0.0
    if n < TAU_ROWS_MIN or variance <= 0.0:
        return 1.0
    b0 = math.isqrt(n)
    inflation = b0 * float(np.var(_block_means(y, b0), ddof=1)) / variance
    return min(TAU_MAX, max(1.0, inflation))


def slow_range(means: F64, size: int, tau: float, n: int) -> tuple[float, float]:
    """``wander`` of a channel with n values, from the means of blocks of ``size``."""
    return (0.0, 0.0) if n < TAU_ROWS_MIN else wander(means, size, block_size(tau, n))


def channel_reference(name: str, y: F64, *, binary: bool) -> ChannelReference:
    """Statistics of a channel from its values on the reference rows, in time order, without NaN."""
    n = len(y)
    mean, sd = (float(np.mean(y)), float(np.std(y))) if n else (0.0, 0.0)
    block_sds = tuple(float(np.std(_block_means(y, b))) if n >= 2 * b else 0.0 for b in BLOCK_SIZES)
    up, down = (0.0, 0.0)
    if not binary and sd > 1e-6:
        sample = np.sort(y)
        if n > THETA_SAMPLE:
            sample = sample[np.linspace(0, n - 1, THETA_SAMPLE).astype(np.int64)]
        weights = np.full(len(sample), 1.0 / len(sample))
        up, down = solve_thetas(sample, weights, float(np.mean(sample)), sd)
    tau, size = long_run_tau(y), max(math.isqrt(n), 1)
    slow = slow_range(_block_means(y, size), size, tau, n)
    return ChannelReference(name, binary, n, mean, sd, tau, block_sds, up, down, slow)


def solve_thetas(y: F64, weights: F64, centre: float, sd: float) -> tuple[float, float]:
    """Page-Hinkley's exponents (up, down) of a channel with these values and their shares."""
    delta = 0.1 * max(sd, 0.01)
    return solve_theta(y - centre - delta, weights), solve_theta(centre - y - delta, weights)


def solve_theta(z: F64, weights: F64) -> float:
    """The positive root of sum(weights * exp(theta * z)) = 1; 0.0 when z is nowhere positive."""
    if len(z) == 0 or float(z.max()) <= 0.0:
        return 0.0

    def excess(theta: float) -> float:
        return float(np.dot(weights, np.exp(np.minimum(theta * z, 700.0)))) - 1.0

    high = 1e-3
    while excess(high) < 0.0 and high < 1e4:
        high *= 2.0
    low = high / 2.0 if high > 1e-3 else 1e-9
    if excess(low) >= 0.0 or excess(high) <= 0.0:
        return high
    return float(brentq(excess, low, high, xtol=1e-9))


def _block_means(y: F64, b: int) -> F64:
    k = len(y) // b
    return np.asarray(y[: k * b].reshape(k, b).mean(axis=1), dtype=np.float64)


# --- signals ----------------------------------------------------------------------------------------------


def mid_pit(numeric: NumericReference, x: F64) -> F64:
    """u(x) of DECISIONS A; the kernels compute the same value by value."""
    q, lo, hi = (np.asarray(a) for a in (numeric.knots, numeric.below, numeric.upto))
    i = np.searchsorted(q, x, "right") - 1
    j = np.clip(i, 0, len(q) - 1)
    k = np.minimum(j + 1, len(q) - 1)
    at = (i >= 0) & (q[j] == x)
    gap = q[k] - q[j]
    part = np.where(gap > 0, (x - q[j]) / np.where(gap > 0, gap, 1.0), 0.0)
    u = np.where(at, (lo[j] + hi[j]) / 2.0, hi[j] + part * (lo[k] - hi[j]))
    u = np.where(i < 0, 0.0, u)
    return np.asarray(np.where((i == len(q) - 1) & ~at, 1.0, u), dtype=np.float64)


def numeric_knots(x: F64) -> tuple[F64, F64, F64]:
    """Knots, F(q-) and F(q) of the values: all unique values, or the quantiles and heavy atoms beyond 256."""
    return knots_of(*np.unique(x, return_counts=True))


def knots_of(values: F64, counts: I64) -> tuple[F64, F64, F64]:
    """The same from the unique values, ascending, and how often each occurs."""
    n = int(counts.sum())
    upto = np.cumsum(counts) / n
    below = upto - counts / n
    if len(values) > KNOTS_MAX:
        keep = counts / n >= 1.0 / KNOTS_MAX
        keep[np.minimum(np.searchsorted(upto, np.linspace(0.0, 1.0, KNOTS_MAX)), len(values) - 1)] = True
        keep[0] = keep[-1] = True
        values, below, upto = values[keep], below[keep], upto[keep]
    return values, below, upto


def out_of_range(x: F64) -> F64:
    """Per value of the second half: 1.0 if it is out of the range of the first half.

    On the rows that set the range nothing is out of it. Half as many rows set a narrower range than all of
    them do: the share is an upper bound of that of live values like the reference.
    """
    half = len(x) // 2
    low, high = float(x[:half].min()), float(x[:half].max())
    return ((x[half:] < low) | (x[half:] > high)).astype(np.float64)


def _numeric_signal(kind: ColumnKind, name: str, tags: U8, values: F64) -> SignalReference:
    present = tags == Tag.NUMBER
    missing = _missing(tags)
    usable = present | missing
    channels = [channel_reference("missing", missing[usable].astype(np.float64), binary=True)]
    x = values[present]
    numeric: NumericReference | None = None
    bins: BinReference | None = None
    if len(x) >= NUMERIC_ROWS_MIN:
        unique, counts = np.unique(x, return_counts=True)
        top = int(counts.argmax())
        atom = float(unique[top]) if counts[top] / len(x) >= ATOM_SHARE else None
        rest = x
        if atom is not None:
            channels.append(
                channel_reference(f"share[={atom:g}]", (x == atom).astype(np.float64), binary=True)
            )
            rest = x[x != atom]
        knots, below, upto = numeric_knots(rest if len(rest) >= LOCATION_ROWS_MIN else x)
        numeric = NumericReference(
            tuple(knots.tolist()),
            tuple(below.tolist()),
            tuple(upto.tolist()),
            tuple(np.quantile(x, QUANTILES).tolist()),
            atom,
            float(np.mean(x)),
            float(np.std(x)),
        )
        u = np.zeros(len(x))
        if len(rest) >= LOCATION_ROWS_MIN or atom is None:
            u = mid_pit(numeric, x)
            located = u if atom is None else u[x != atom]
            location = channel_reference("location", located, binary=False)
            channels.append(location)
            channels.append(channel_reference("spread", np.abs(2.0 * located - 1.0), binary=False))
            # A run of extreme values is one event, also where the reference has none to show it.
            beyond = channel_reference("range", out_of_range(rest), binary=True)
            channels.append(replace(beyond, tau=max(beyond.tau, location.tau)))
        size = FINE + (atom is not None)
        placed = numeric_bins(u, None if atom is None else x == atom)
        bins = bin_reference(placed, size, numeric_groups(size))
    channels.append(_type_channel(present | missing))
    return SignalReference(
        kind, name, Tag.NUMBER, len(tags), int(missing.sum()), tuple(channels), numeric, None, bins
    )


def _type_channel(expected: np.ndarray[Any, np.dtype[np.bool_]]) -> ChannelReference:
    """Share of cells of another type, or nested, from a mask of those which are not."""
    return channel_reference("type", (~expected).astype(np.float64), binary=True)


def _categorical_signal(
    kind: ColumnKind, name: str, tags: U8, values: F64, strings: Sequence[str], tag: Tag
) -> SignalReference:
    """Table from the first half, statistics from the second: without the hold-out long tails alarm."""
    present = tags == tag
    missing = _missing(tags)
    usable = present | missing
    names = tuple(strings) if tag is Tag.STRING else ("false", "true")
    half = len(tags) // 2
    first = values[:half][present[:half]].astype(np.int64)
    second = values[half:][present[half:]].astype(np.int64)
    counted = np.bincount(first, minlength=len(names))
    order = sorted(np.flatnonzero(counted).tolist(), key=lambda c: (-int(counted[c]), names[c]))
    table = category_table([(names[c], int(counted[c])) for c in order], len(first))
    order, kept, shares, complete = order[:SEEN_MAX], table.kept, table.shares, table.seen_complete
    slot = np.full(len(names), -1, dtype=np.int64)
    slot[order] = np.arange(len(order))
    codes = slot[second]
    u = category_ranks(table)[codes]  # code -1 is the last entry: unseen
    channels = [
        channel_reference("rank", u, binary=False),
        channel_reference("rank-spread", np.abs(2.0 * u - 1.0), binary=False),
    ]
    channels += [
        channel_reference(f"share[{table.categories[c]}]", (codes == c).astype(np.float64), binary=True)
        for c in range(shares)
    ]
    if has_other(table):
        other = ((codes < 0) | (codes >= kept)).astype(np.float64)
        channels.append(channel_reference("other", other, binary=True))
    channels.append(channel_reference("unseen", ((codes < 0) & complete).astype(np.float64), binary=True))
    channels.append(channel_reference("missing", missing[usable].astype(np.float64), binary=True))
    channels.append(_type_channel(usable))
    size = min(kept, CATEGORY_BINS) + 1
    bins = bin_reference(category_bins(codes, kept), size, range(size)) if len(codes) else None
    return SignalReference(kind, name, tag, len(tags), int(missing.sum()), tuple(channels), None, table, bins)


def category_table(counted: Sequence[tuple[str, int]], total: int) -> CategoricalReference:
    """The table of categories and their counts, by descending frequency, of ``total`` values."""
    kept = min(sum(count >= CATEGORY_COUNT_MIN for _, count in counted), CATEGORIES_MAX)
    seen = counted[:SEEN_MAX]
    shares = 0 if not kept else (min(SHARES_MAX, kept) if kept > 2 else 1)
    names, counts = tuple(name for name, _ in seen), tuple(count for _, count in seen)
    return CategoricalReference(names, counts, kept, shares, total, len(counted) <= SEEN_MAX)


def category_ranks(table: CategoricalReference) -> F64:
    """Mid-cumulative share of every category, then one entry for unseen ones: (categories + 1,)."""
    counts = np.asarray(table.counts, dtype=np.float64)
    total = max(table.total, 1)
    share = counts[: table.kept] / total
    upto = np.cumsum(share)
    pooled = 1.0 - (1.0 - (float(upto[-1]) if table.kept else 0.0)) / 2.0
    ranks = np.full(len(counts) + 1, pooled)
    ranks[: table.kept] = upto - share / 2.0
    return ranks


def has_other(table: CategoricalReference) -> bool:
    """Whether the reference had rare categories, so that their share is a channel."""
    return len(table.categories) > table.kept or not table.seen_complete


def _missing(tags: U8) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.asarray((tags == Tag.ABSENT) | (tags == Tag.NULL) | (tags == Tag.INVALID))


@dataclass(frozen=True, slots=True)
class RawColumn:
    """A column of reference rows in time order; ``strings`` is the dictionary of its STRING cells."""

    kind: ColumnKind
    name: str
    tags: U8
    values: F64
    strings: tuple[str, ...]


def build_reference(
    model: str, origin: str, columns: Sequence[RawColumn], times: I64, *, time_ordered: bool
) -> Reference:
    """Freeze a reference from rows in time order; the logical type of a column is its majority tag.

    Raises:
        MessageError: there are fewer than ROWS_MIN rows or no column has a value.
    """
    rows = len(times)
    if rows < ROWS_MIN:
        raise MessageError(
            f"a reference for {model} needs at least {ROWS_MIN} rows, got {rows}.",
            remedy="Give more rows; 20,000 or more are recommended.",
        )
    chosen = sorted(columns, key=lambda c: (c.kind, c.name))[:FEATURES_MAX]
    signals = [s for s in map(signal_reference, chosen) if s is not None]
    if not signals:
        raise MessageError(f"a reference for {model}: no column has a value.")
    first, last = int(times.min()), int(times.max())
    week_ms = 7 * 24 * 3600 * 1000
    rate = rows * week_ms / (last - first) if last > first else 0.0
    traffic = rate_reference(times) if time_ordered else None
    return Reference(model, origin, rows, first, last, time_ordered, rate, tuple(signals), traffic)


def signal_reference(column: RawColumn) -> SignalReference | None:
    """Freeze one column, rows in time order; None when it never had a value: nothing to compare with."""
    counts = {tag: int((column.tags == tag).sum()) for tag in (Tag.NUMBER, Tag.STRING, Tag.BOOL)}
    tag = max(counts, key=lambda t: (counts[t], -t))
    if counts[tag] == 0:
        return None
    if tag is Tag.NUMBER:
        return _numeric_signal(column.kind, column.name, column.tags, column.values)
    return _categorical_signal(column.kind, column.name, column.tags, column.values, column.strings, tag)


# --- JSON -------------------------------------------------------------------------------------------------


def to_json(reference: Reference) -> bytes:
    """Canonical JSON of a reference: the same reference gives the same bytes."""
    body = {"format": FORMAT_VERSION, **members(reference)}
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=members)
    return text.encode()


def from_json(text: bytes | str | Mapping[str, Any]) -> Reference:
    """Read a reference; the inverse of ``to_json``.

    Raises:
        NewerFormatError: a later version wrote it.
        MessageError: it is not one; says what is wrong.
    """
    try:
        body = dict(text) if isinstance(text, Mapping) else dict(json.loads(text))
        version = body.pop("format")
        if version > FORMAT_VERSION:
            raise NewerFormatError(f"baseline format {version}, this version reads up to {FORMAT_VERSION}.")
        reference = typed(Reference, body)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise MessageError(f"not a baseline: {type(error).__name__}: {error}.") from error
    _check(reference)
    return reference


def _check(reference: Reference) -> None:
    """Refuse what would make the kernels read out of bounds or divide by nothing."""
    if not 1 <= len(reference.signals) <= FEATURES_MAX:
        raise MessageError(f"baseline of {reference.model}: {len(reference.signals)} signals.")
    if reference.rate is not None and not check_rate(reference.rate):
        raise MessageError(f"baseline of {reference.model}: the rate is out of range.")
    if (
        re.fullmatch(MODEL_ID_PATTERN, reference.model) is None
        or min(reference.rows, reference.rows_per_week) < 0
    ):
        raise MessageError("baseline: not a model id, or a negative number of rows.")
    if len({s.signal for s in reference.signals}) != len(reference.signals):
        raise MessageError(f"baseline of {reference.model}: a signal is there twice.")
    for s in reference.signals:
        where = f"baseline of {reference.model}, signal {s.signal!r}"
        if len(s.name) > NAME_CHARS_MAX or not 0 <= s.missing <= s.rows:
            raise MessageError(f"{where}: bad name or counts.")
        if s.kind is ColumnKind.LABEL:
            raise MessageError(f"{where}: labels have no baseline.")
        if [c.name for c in s.channels] not in _channel_names(s):
            raise MessageError(f"{where}: its channels are not those of its type.")
        for c in s.channels:
            numbers = (c.mean, c.sd, c.tau, c.theta_up, c.theta_down, *c.block_sds)
            if (
                not all(math.isfinite(v) for v in numbers)
                or not 0 <= c.mean <= 1
                or not 0 <= c.sd <= 1
                or not 1 <= c.tau <= TAU_MAX
                or not all(0 <= v <= 1 for v in c.wander)
            ):
                raise MessageError(f"{where}, channel {c.name!r}: a statistic is out of range.")
            if min(c.n, c.hour_values) < 0 or len(c.block_sds) != len(BLOCK_SIZES):
                raise MessageError(f"{where}, channel {c.name!r}: inconsistent.")
        if s.numeric is not None:
            q = np.asarray(s.numeric.knots, dtype=np.float64)
            if (
                not len(q) == len(s.numeric.below) == len(s.numeric.upto)
                or len(q) == 0
                or not np.isfinite(q).all()
            ):
                raise MessageError(f"{where}: knots are inconsistent.")
            if len(q) > 4 * KNOTS_MAX or (np.diff(q) <= 0).any():
                raise MessageError(f"{where}: knots must increase, at most {4 * KNOTS_MAX}.")
            jumps = np.ravel(np.column_stack((s.numeric.below, s.numeric.upto)))
            if (np.diff(jumps) < -ROUNDING).any() or jumps[0] < -ROUNDING or jumps[-1] > 1 + ROUNDING:
                raise MessageError(f"{where}: the distribution function must rise from 0 to 1.")
            if len(s.numeric.quantiles) != len(QUANTILES):
                raise MessageError(f"{where}: {len(s.numeric.quantiles)} quantiles.")
        if s.categorical is not None:
            t = s.categorical
            if not len(t.categories) == len(t.counts) <= SEEN_MAX or not 0 <= t.shares <= t.kept <= len(
                t.counts
            ):
                raise MessageError(f"{where}: categories are inconsistent.")
            if min(t.counts, default=0) < 0 or t.total < 0 or len(set(t.categories)) != len(t.categories):
                raise MessageError(f"{where}: a category is there twice, or less than never.")
        _check_bins(s, where)
        if s.season is not None and (s.numeric is None or len(s.channels) < 5 or not check_season(s.season)):
            raise MessageError(f"{where}: its season is inconsistent.")


def _check_bins(s: SignalReference, where: str) -> None:
    if s.bins is None:
        return
    if s.numeric is not None:
        size = FINE + (s.numeric.atom is not None)
    else:
        size = min(s.categorical.kept, CATEGORY_BINS) + 1 if s.categorical is not None else 0
    sound = all(0 <= c <= s.rows for c in s.bins.counts)
    if len(s.bins.counts) != size or not sound or not 1.0 <= s.bins.design < math.inf or s.bins.wander < 0.0:
        raise MessageError(f"{where}: bins are inconsistent.")


def _channel_names(s: SignalReference) -> list[list[str]]:
    """The lists of channels that a signal of its type can have, in the order in which kernels number them."""
    n, t = s.numeric, s.categorical
    if s.tag is Tag.NUMBER and t is None:
        if n is None:
            return [["missing", "type"]]
        atom = [] if n.atom is None else [f"share[={n.atom:g}]"]
        found = [["missing", *atom, "location", "spread", "range", "type"]]
        return [*found, ["missing", *atom, "type"]] if atom else found
    if s.tag in (Tag.STRING, Tag.BOOL) and n is None and t is not None and t.shares <= len(t.categories):
        shares = [f"share[{name}]" for name in t.categories[: max(t.shares, 0)]]
        other = ["other"] if has_other(t) else []
        return [["rank", "rank-spread", *shares, *other, "unseen", "missing", "type"]]
    return []
