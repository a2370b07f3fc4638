"""The EMC of a measurement from its replicates: a median and an interval for n50 (DESIGN 2.8 and 2.9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from emc.results import Replicate, Status

#: Replicates from which the order-statistics interval is offered.
MIN_ORDER_STATISTICS = 6


@dataclass(frozen=True)
class Median:
    """The middle of the replicates.

    Attributes:
        emc: lower median of the replicates' EMCs, right-censored ones ranked as infinite; where that rank is censored,
            the lower median of their lower bounds, which the EMC is at least.
        least: lower median of all lower ends: what the EMC is if the right-censored ones are no larger than known.
        censored: whether that rank is censored.
        upper: lower median of the upper ends, None where it is infinite.
        status: of the replicate at that rank.
    """

    emc: int
    least: int
    censored: bool
    upper: int | None
    status: Status


def median(replicates: Sequence[Replicate]) -> Median:
    """The lower median of the replicates.

    >>> bracketed = [Replicate(r, n, n + 5, Status.BRACKETED) for r, n in enumerate([90, 100, 110])]
    >>> found = median([*bracketed, Replicate(3, 95, None, Status.UNDERTRAINED)])
    >>> found.emc, found.least
    (100, 95)
    """
    rank = (len(replicates) - 1) // 2
    by_value = sorted(replicates, key=lambda r: (r.status.right_censored, r.lower))
    middle = by_value[rank]
    censored = middle.status.right_censored
    least = sorted(r.lower for r in replicates)[rank]
    upper = sorted(_upper(r) for r in replicates)[rank]
    return Median(
        least if censored else middle.lower, least, censored, None if math.isinf(upper) else int(upper), middle.status
    )


@dataclass(frozen=True)
class Interval:
    """A confidence interval for n50, or the reason why there is none."""

    ends: tuple[float, float] | None
    method: str


def interval(replicates: Sequence[Replicate], confidence: float) -> Interval:
    """A confidence interval for n50, conditional on the pool.

    From six replicates up by order statistics of the brackets, [lower_(k), upper_(R + 1 - k)] with the largest k whose
    coverage 1 - 2 P(Binomial(R, 1/2) < k) reaches the confidence. For two to five by Student's t on the logarithms of
    the brackets' geometric middles, whose variance is raised by that of a uniform draw from a bracket (Sheppard), and
    widened by half the widest bracket. None for one, or where censoring leaves an end open.

    Args:
        replicates: independent given the pool.
        confidence: between 0 and 1.

    References:
        David and Nagaraja 2003, "Order Statistics", section 7.1.
    """
    R = len(replicates)
    if R == 1:
        return Interval(None, "one replicate gives none; ask for --replicates 6")
    if R < MIN_ORDER_STATISTICS:
        return _student(replicates, confidence)
    k = int(stats.binom.ppf((1 - confidence) / 2, R, 0.5)) + 1
    while k > 0 and 1 - 2 * stats.binom.cdf(k - 1, R, 0.5) < confidence:
        k -= 1
    if k < 1:
        return Interval(None, f"{R} replicates cannot reach a confidence of {confidence:g}; raise --replicates")
    low = sorted(r.lower for r in replicates)[k - 1]
    high = sorted(_upper(r) for r in replicates)[R - k]
    if math.isinf(high):
        return Interval(None, "censored replicates leave the upper end open")
    return Interval((float(low), high), f"order statistics {k} and {R + 1 - k} of {R} brackets")


#: A replicate is far below the others by this factor at least, and by this many robust standard deviations.
FAR_FACTOR, FAR_DEVIATIONS = 1.5, 4.0


def far_below(replicates: Sequence[Replicate]) -> int:
    """How many replicates end so far below the others that an unlucky init, one that fits at no size, is likely.

    Such lapses send a search down, and where they are many the interval misses n50 (`benchmarks/interval_coverage.py`).
    Counted
    are those whose upper end lies below the median of the brackets' middles by the factor `FAR_FACTOR` and by
    `FAR_DEVIATIONS` times 1.4826 median absolute deviations of the logarithms. 0 below `MIN_ORDER_STATISTICS`
    replicates, whose intervals are wide enough to hold.

    >>> good = [Replicate(r, 100, 105, Status.BRACKETED) for r in range(7)]
    >>> far_below(good), far_below([*good, Replicate(7, 30, 32, Status.BRACKETED)])
    (0, 1)
    """
    if len(replicates) < MIN_ORDER_STATISTICS:
        return 0
    lower = np.array([max(r.lower, 1) for r in replicates], dtype=float)
    upper = np.array([low if r.upper is None else r.upper for r, low in zip(replicates, lower, strict=True)])
    middle = np.log(lower * upper) / 2
    spread = 1.4826 * np.median(np.abs(middle - np.median(middle)))
    bound = np.median(middle) - max(math.log(FAR_FACTOR), FAR_DEVIATIONS * spread)
    return int((np.log(upper) < bound).sum())


def _student(replicates: Sequence[Replicate], confidence: float) -> Interval:
    if any(math.isinf(_upper(r)) or r.lower < 1 for r in replicates):
        return Interval(None, "censored replicates leave an end open")
    lower = np.array([r.lower for r in replicates], dtype=float)
    upper = np.array([_upper(r) for r in replicates], dtype=float)
    middle, width = np.log(lower * upper) / 2, np.log(upper / lower)
    R = len(replicates)
    variance = middle.var(ddof=1) + np.mean(width**2) / 12  # replicates in one bracket differ all the same
    half = stats.t.ppf((1 + confidence) / 2, R - 1) * math.sqrt(variance / R) + width.max() / 2
    ends = math.exp(middle.mean() - half), math.exp(middle.mean() + half)
    return Interval(ends, f"Student's t on {R} log mid-points, widened by the bracket")


def _upper(replicate: Replicate) -> float:
    """The end below which the replicate's EMC lies; infinite where only a lower bound is known."""
    open_end = replicate.status.right_censored or replicate.upper is None
    return math.inf if open_end else float(replicate.upper or 0)
