"""A prediction's distribution over classes in two numbers: the largest probability and the entropy.

Owns: what counts as a distribution. The entropy (Shannon 1948) is divided by that of the uniform distribution
over the classes given, so it is within 0..1 whatever their number. Both paths of the decoder sum through
these functions in the record's order, so they agree to the last bit.
"""

from __future__ import annotations

import math
from typing import Any, Final

from driftline.detect.kernels._jit import jit

CLASSES_MAX: Final = 1_000  # as many as a categorical signal remembers
PROBABILITY_MAX: Final = 1.0 + 1e-6  # a softmax in float32 may round to a little more than 1
SUM_TOLERANCE: Final = 0.05  # ten probabilities rounded to two decimals may be off by this much


@jit
def plogp(p: Any) -> float:
    """P log p, 0 at 0 (nats); NaN for what is no probability."""
    if not 0.0 <= p <= PROBABILITY_MAX:
        return math.nan
    return p * math.log(p) if p > 0.0 else 0.0


@jit
def certainty(largest: Any, total: Any, plogp_sum: Any, classes: Any) -> tuple[float, float]:
    """Largest probability and normalised entropy, both within 0..1; NaN twice if it is no distribution.

    Args:
        largest: the largest probability.
        total: sum of the probabilities; the entropy is that of the probabilities divided by it.
        plogp_sum: sum of their ``plogp``; NaN when one of them was no probability.
        classes: how many there were.
    """
    if classes < 1 or classes > CLASSES_MAX or math.isnan(plogp_sum) or abs(total - 1.0) > SUM_TOLERANCE:
        return math.nan, math.nan
    entropy = 0.0
    if classes > 1:
        entropy = (math.log(total) - plogp_sum / total) / math.log(classes)
    return min(largest, 1.0), min(max(entropy, 0.0), 1.0)


@jit
def certainty_of(values: Any) -> tuple[float, float]:
    """``certainty`` of the probabilities (n,); NaN stands for what is no number."""
    largest = 0.0
    total = 0.0
    plogp_sum = 0.0
    for i in range(values.shape[0]):
        largest = max(largest, values[i])
        total += values[i]
        plogp_sum += plogp(values[i])
    return certainty(largest, total, plogp_sum, values.shape[0])  # type: ignore[no-any-return]
