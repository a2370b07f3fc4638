"""Shares of draws: how precisely they are known, and which ones a probability allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

#: Bootstrap resamples of a mean.
RESAMPLES = 9_999


def wilson(successes: int, draws: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval for a probability.

    References:
        Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".

    >>> tuple(round(end, 4) for end in wilson(5, 10, 0.95))
    (0.2366, 0.7634)
    """
    ends = stats.binomtest(successes, draws).proportion_ci(confidence_level=confidence, method="wilson")
    return float(ends.low), float(ends.high)


def acceptance(draws: int, probability: float, confidence: float) -> tuple[int, int]:
    """Fewest and most successes that an exact equal-tailed binomial test of a probability accepts.

    >>> acceptance(100, 0.5, 0.95)
    (40, 60)
    """
    tail = (1 - confidence) / 2
    return int(stats.binom.ppf(tail, draws, probability)), int(stats.binom.isf(tail, draws, probability))


def mean_interval(values: Sequence[float], confidence: float) -> tuple[float, float] | None:
    """Percentile bootstrap interval for the mean of independent values; None for fewer than two.

    Unlike Student's it never leaves the values' range, which accuracies near 1 need. Where all values are equal its
    ends are too.

    References:
        Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.
    """
    if len(values) < 2:
        return None
    X = np.asarray(values, dtype=np.float64)
    if X.min() == X.max():
        return float(X[0]), float(X[0])
    found = stats.bootstrap(
        (X,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    return float(found.confidence_interval.low), float(found.confidence_interval.high)
