"""Where a rising curve of means crosses a level, with a bootstrap interval over the draws behind the means."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats
from scipy.optimize import isotonic_regression

from emc.stats.intervals import Interval

Array = npt.NDArray[np.float64]

#: Resamples of the draws.
RESAMPLES = 2000

#: Draws from which an interval is offered. Simulated coverage of a nominal 95 % (benchmarks/mean_error.py): 84 to 97 %
#: with 3, 89 to 95 % with 4, 94 to 98 % with 5.
MIN_DRAWS = 5


def crossing(log_sizes: Array, means: Array, level: float) -> float:
    """Logarithm of the size at which the means' isotonic regression leaves the level; infinite outside the sizes.

    Args:
        log_sizes: (m,) ascending.
        means: (m,) of equally many draws each.
        level: of the mean.

    >>> crossing(np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.05, 0.25]), 0.1)
    2.25
    """
    curve = np.asarray(isotonic_regression(means).x).round(12)  # pooling must not lift a mean above its equal
    above = int(np.searchsorted(curve, level, side="right"))
    if above == 0 or above == len(curve):
        return -math.inf if above == 0 else math.inf
    share = (level - curve[above - 1]) / (curve[above] - curve[above - 1])
    return float(log_sizes[above - 1] + share * (log_sizes[above] - log_sizes[above - 1]))


def crossing_interval(
    sizes: Sequence[int], values: Array, level: float, bracket: tuple[int, int], confidence: float
) -> Interval:
    """A bootstrap interval for the size at which the mean crosses a level, conditional on the pool.

    Draws are resampled whole, since the sizes of one draw are nested. Each resample's means are made monotone
    (isotonic regression) and their crossing interpolated in log n. The percentiles are those that Student's t and the
    factor sqrt(R / (R - 1)) ask for instead of the normal ones, without which few draws give too short an interval.
    Both ends are then widened by half the bracket, within which nothing was measured.

    Args:
        sizes: (m,) ascending.
        values: (R, m) of each draw at each size.
        level: of the mean.
        bracket: the search's last lower and upper size.
        confidence: between 0 and 1.

    References:
        Hesterberg 2015, "What teachers should know about the bootstrap", section 5.2 (expanded percentiles). Barlow et
        al. 1972, "Statistical inference under order restrictions", section 1.2.
    """
    R = len(values)
    if R < MIN_DRAWS:
        return Interval(None, f"fewer than {MIN_DRAWS} replicates give none; ask for --replicates 6")
    rng = np.random.default_rng(0)
    log_sizes = np.log(np.asarray(sizes, dtype=float))
    resamples = np.sort(rng.integers(R, size=(RESAMPLES, R)), axis=1)
    distinct, times = np.unique(resamples, axis=0, return_counts=True)  # of few draws there are few
    found = np.sort(np.repeat([crossing(log_sizes, values[rows].mean(0), level) for rows in distinct], times))
    tail = stats.norm.cdf(-math.sqrt(R / (R - 1)) * stats.t.ppf((1 + confidence) / 2, R - 1))
    low, high = found[math.floor(tail * RESAMPLES)], found[-1 - math.floor(tail * RESAMPLES)]
    if math.isinf(low) or math.isinf(high):
        return Interval(
            None, "resamples cross outside the sizes tried and leave an end open; --verify 4 tries larger ones"
        )
    half = math.log(bracket[1] / bracket[0]) / 2
    ends = math.exp(low - half), math.exp(high + half)
    return Interval(ends, f"bootstrap of {R} replicates on the isotonic mean curve, widened by the bracket")
