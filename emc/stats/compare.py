"""Two results compared: ratio of EMCs, interval, permutation test and dominance, at both extremes of censoring.

Everything is done on natural logarithms, so that a difference is a ratio. A replicate's EMC is the lower end of its
bracket. The EMC of a censored replicate may be anything in a range (`log_sizes`), so that every completion of the
censored replicates is a data set of its own. The estimate, the ends of the interval, the dominance and both one-sided
p-values are monotone in each EMC. Two completions therefore bound them all: `low`, with A's censored EMCs as small and
B's as large as they may be, and `high`, the other way round. A pair in which both are censored is as low as it may be
in `low` and as high as it may be in `high`: it speaks for neither side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from itertools import chain, combinations

import numpy as np
import numpy.typing as npt

from emc.results import Replicate, Status

Array = npt.NDArray[np.float64]

#: Pairs up to which all sign flips are tried, and regroupings up to which all are; beyond, `DRAWS` random ones.
MAX_FLIPPED, MAX_REGROUPINGS, DRAWS = 20, 200_000, 100_000

#: Sums closer than this share of all that is summed are ties, which count as at least as extreme.
ROUNDING = 1e-12


class Verdict(Enum):
    """What a comparison shows; the value is what a user reads."""

    LARGER = "the first fits more samples, whatever the censored replicates would be"
    SMALLER = "the first fits fewer samples, whatever the censored replicates would be"
    NOT_SHOWN = "no difference is shown, whatever the censored replicates would be"
    UNDECIDED = "the censored replicates decide whether there is a difference"

    @property
    def key(self) -> str:
        """The verdict as it stands in records."""
        return self.name.lower()


@dataclass(frozen=True)
class Bounds:
    """Smallest and largest value over all completions of the censored replicates; equal where none matters."""

    low: float
    high: float

    @property
    def value(self) -> float | None:
        """The value where censoring leaves no choice."""
        return self.low if self.low == self.high else None


@dataclass(frozen=True)
class Contrast:
    """One result A against another, B.

    Attributes:
        paired: whether replicates were compared pair by pair.
        sizes: replicates of A and of B that were used.
        ratio: Hodges-Lehmann estimate of EMC(A) / EMC(B).
        interval: for that ratio, from both ends of the brackets, so that it covers the ratio of what they bracket; 0 or
            infinity where censoring leaves an end open.
        interval_confidence: what the ranks used give exactly; below what was asked where there are too few replicates.
        interval_method: how the interval was made.
        p_value: two-sided.
        p_adjusted: the same after Holm's correction.
        larger, smaller: one-sided p-values, for A being larger and for A being smaller.
        smallest_p: the smallest p-value that so many replicates can give.
        test: how the p-value was made.
        dominance: share of pairs (of all pairings where unpaired) with a larger EMC in A, ties counted half.
        counts: of those pairs, in which A is larger, equal, smaller, or censored so that it is not known which.
        direction: 1 where the test points to A being larger, else -1.
        verdict: at the confidence asked for, after Holm's correction.
    """

    paired: bool
    sizes: tuple[int, int]
    ratio: Bounds
    interval: tuple[float, float]
    interval_confidence: float
    interval_method: str
    p_value: Bounds
    p_adjusted: Bounds
    larger: Bounds
    smaller: Bounds
    smallest_p: float
    test: str
    dominance: Bounds
    counts: tuple[int, int, int, int]
    direction: int
    verdict: Verdict


@dataclass(frozen=True)
class LogSizes:
    """Natural logarithms of one result's EMCs.

    Attributes:
        low, high: (R,) smallest and largest that each may be; equal where it is not censored.
        upper: (R,) upper ends of the brackets; `high` where censored.
    """

    low: Array
    high: Array
    upper: Array

    def take(self, places: Sequence[int]) -> LogSizes:
        """Some of the replicates, in the order given."""
        index = np.array(places, dtype=np.intp)
        return LogSizes(self.low[index], self.high[index], self.upper[index])


@dataclass(frozen=True)
class Differences:
    """One number a replicate, such as a log ratio of two EMCs, as far as it is known.

    Attributes:
        low, high: (R,) smallest and largest over all completions of the censored replicates.
        bottom, top: (R,) the same over all values within the brackets too; the interval comes from these.
    """

    low: Array
    high: Array
    bottom: Array
    top: Array

    def less(self, amount: float) -> Differences:
        """The same with a known amount taken off, so that it is tested against that amount instead of 0."""
        return Differences(self.low - amount, self.high - amount, self.bottom - amount, self.top - amount)


def log_sizes(replicates: Sequence[Replicate], bound: float) -> LogSizes:
    """What is known of each replicate's EMC.

    A right-censored one lies between its lower bound and `bound`, one that is censored below between 0 and 1. Any other
    one is the lower end of its bracket.

    Args:
        replicates: of one result.
        bound: largest EMC there can be, such as the pool's rows; may be infinite.

    >>> log_sizes([Replicate(0, 100, 105, Status.UNDERTRAINED)], math.inf).high
    array([inf])
    """
    lower = np.array([r.lower for r in replicates], dtype=np.float64)
    upper = np.array([_upper(r, bound) for r in replicates], dtype=np.float64)
    known = np.array([not _censored(r) for r in replicates])
    with np.errstate(divide="ignore"):  # an EMC of 0 has the logarithm minus infinity
        low, top = np.log(lower), np.log(upper)
    return LogSizes(low, np.where(known, low, top), top)


def _censored(replicate: Replicate) -> bool:
    return replicate.status.right_censored or replicate.status is Status.CENSORED_BELOW or replicate.lower == 0


def _upper(replicate: Replicate, bound: float) -> float:
    if replicate.status.right_censored or replicate.upper is None:
        return max(bound, replicate.lower, 1.0)
    return float(replicate.upper)


def contrast_pairs(a: LogSizes, b: LogSizes, confidence: float) -> Contrast:
    """Compare replicates pair by pair.

    The estimate is the median of the Walsh averages of the log ratios, the interval two of them by the exact
    distribution of the signed-rank statistic. The test flips the signs of the log ratios, all 2^R ways up to
    `MAX_FLIPPED` pairs: if swapping A and B changes nothing, each way is equally likely.

    Args:
        a, b: of the same replicates in the same order.
        confidence: of the interval, between 0 and 1.

    References:
        Hodges and Lehmann 1963, "Estimates of location based on rank tests"; Hollander, Wolfe and Chicken 2014,
        "Nonparametric Statistical Methods", sections 3.1 to 3.3; Fisher 1935, "The Design of Experiments", section 21.
    """
    return contrast_differences(
        Differences(a.low - b.high, a.high - b.low, a.low - b.upper, a.upper - b.low), confidence
    )


def contrast_differences(given: Differences, confidence: float, *, ranked: bool = False) -> Contrast:
    """Test whether numbers, one a replicate, are centred at 0; what `contrast_pairs` does with log ratios.

    Of numbers that are no differences of two exchangeable sides the sign flips presuppose a distribution symmetric
    about its centre.

    Args:
        given: at least one number; natural logarithms, for `ratio` and `interval` are their exponentials.
        confidence: of the interval, between 0 and 1.
        ranked: whether to test by signed ranks in place of the mean. One censored replicate without an upper bound
            makes the mean infinite, so that no number of others can decide; its rank is the largest, no more. The
            interval is of the same statistic, so that the two agree. Ties count against either side.

    References:
        Wilcoxon 1945, "Individual comparisons by ranking methods"; Hollander, Wolfe and Chicken 2014, section 3.1.
    """
    R = len(given.low)
    exact = ranked or R <= MAX_FLIPPED
    test = f"all {2**R:,} sign flips" if exact else f"{DRAWS:,} random sign flips (Monte Carlo, seed 0)"
    tails = _walsh_tails if ranked else _flip_tails
    return _contrast(
        paired=True,
        sizes=(R, R),
        estimates=(_walsh(given.low), _walsh(given.high)),
        ends=(_walsh(given.bottom), _walsh(given.top)),
        null=_signed_rank(R),
        ranks="Walsh averages",
        tails=(tails(given.low), tails(given.high)),
        smallest_p=2 * (0.5**R if exact else 1 / (1 + DRAWS)),
        test=f"{test} of {'the signed ranks' if ranked else 'the mean log ratio'}, two-sided",
        differences=(given.low, given.high),
        confidence=confidence,
    )


def contrast_groups(a: LogSizes, b: LogSizes, confidence: float, *, ranked: bool = False) -> Contrast:
    """Compare two independent groups of replicates.

    The estimate is the median of all pairwise log ratios, the interval two of them by the exact distribution of the
    Mann-Whitney statistic. The test regroups the EMCs, all ways up to `MAX_REGROUPINGS`; twice the smaller tail. With
    `ranked` it is that of the Mann-Whitney statistic, as in `contrast_differences`.

    References:
        Hodges and Lehmann 1963, "Estimates of location based on rank tests"; Hollander, Wolfe and Chicken 2014,
        "Nonparametric Statistical Methods", sections 4.1 to 4.3.
    """
    m, n = len(a.low), len(b.low)
    low, high = _differences(a.low, b.high), _differences(a.high, b.low)
    ways = math.comb(m + n, m)
    exact = ranked or ways <= MAX_REGROUPINGS
    test = f"all {ways:,} regroupings" if exact else f"{DRAWS:,} random regroupings (Monte Carlo, seed 0)"
    tails = _pair_tails if ranked else _regroup_tails
    return _contrast(
        paired=False,
        sizes=(m, n),
        estimates=(low, high),
        ends=(_differences(a.low, b.upper), _differences(a.upper, b.low)),
        null=_mann_whitney(m, n),
        ranks="pairwise ratios",
        tails=(tails(a.low, b.high), tails(a.high, b.low)),
        smallest_p=2 * (1 / ways if exact else 1 / (1 + DRAWS)),
        test=f"{test} of {'the ranks' if ranked else 'the mean log EMCs'}, two-sided",
        differences=(low, high),
        confidence=confidence,
    )


def judge(contrasts: Sequence[Contrast], confidence: float) -> tuple[Contrast, ...]:
    """Correct the p-values of all contrasts by Holm's method, and say what each shows.

    A corrected p-value grows with every p-value, so that the smallest and largest of each contrast bound it too. A
    contrast shows a difference if even the largest is at most 1 - confidence, none if even the smallest is above; else
    the censored replicates decide.
    """
    alpha = 1 - confidence + ROUNDING
    least, most = holm([c.p_value.low for c in contrasts]), holm([c.p_value.high for c in contrasts])
    return tuple(
        replace(c, p_adjusted=Bounds(low, high), verdict=_verdict(low, high, alpha, c.direction))
        for c, low, high in zip(contrasts, least, most, strict=True)
    )


def _verdict(low: float, high: float, alpha: float, direction: int) -> Verdict:
    if high <= alpha:
        return Verdict.LARGER if direction > 0 else Verdict.SMALLER
    return Verdict.NOT_SHOWN if low > alpha else Verdict.UNDECIDED


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of several p-values, in the order given.

    References:
        Holm 1979, "A simple sequentially rejective multiple test procedure".

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = running
    return corrected


#: One-sided p-values: for A being larger, and for A being smaller.
Tails = tuple[float, float]


def _contrast(
    *,
    paired: bool,
    sizes: tuple[int, int],
    estimates: tuple[Array, Array],
    ends: tuple[Array, Array],
    null: Array,
    ranks: str,
    tails: tuple[Tails, Tails],
    smallest_p: float,
    test: str,
    differences: tuple[Array, Array],
    confidence: float,
) -> Contrast:
    k, reached = _rank(null, confidence)
    M = len(ends[0])
    (larger_low, smaller_low), (larger_high, smaller_high) = tails
    # Towards `high` the tail for "larger" only falls and the one for "smaller" only grows.
    p_value = Bounds(_two_sided(larger_high, smaller_low), _two_sided(larger_low, smaller_high))
    return Contrast(
        paired=paired,
        sizes=sizes,
        ratio=Bounds(*(_exp(float(np.median(x))) for x in estimates)),
        interval=(_exp(np.sort(ends[0])[k - 1]), _exp(np.sort(ends[1])[M - k])),
        interval_confidence=reached,
        interval_method=f"{ranks} {k} and {M + 1 - k} of {M}, from the ends of the brackets",
        p_value=p_value,
        p_adjusted=p_value,
        larger=Bounds(larger_high, larger_low),
        smaller=Bounds(smaller_low, smaller_high),
        smallest_p=smallest_p,
        test=test,
        dominance=Bounds(*(float((np.sign(x) / 2 + 0.5).mean()) for x in differences)),
        counts=_counts(*differences),
        direction=1 if larger_low < smaller_high else -1,
        verdict=Verdict.NOT_SHOWN,
    )


def _exp(x: float) -> float:
    return math.exp(x) if x < math.inf else math.inf


def _two_sided(larger: float, smaller: float) -> float:
    return min(1.0, 2 * min(larger, smaller))


def _counts(low: Array, high: Array) -> tuple[int, int, int, int]:
    larger, smaller = int((low > 0).sum()), int((high < 0).sum())
    equal = int(((low == 0) & (high == 0)).sum())
    return larger, equal, smaller, len(low) - larger - equal - smaller


def _rank(null: Array, confidence: float) -> tuple[int, float]:
    """The largest k with 1 - 2 P(statistic < k) >= confidence, at least 1, and that probability."""
    tail = 2 * np.cumsum(null)
    k = max(1, int((tail <= 1 - confidence + ROUNDING).sum()))
    return k, float(1 - tail[k - 1])


def _walsh(x: Array) -> Array:
    """Averages of all pairs, each with itself included: R (R + 1) / 2."""
    i, j = np.triu_indices(len(x))
    return np.asarray((x[i] + x[j]) / 2)


def _differences(x: Array, y: Array) -> Array:
    return np.asarray((x[:, None] - y[None, :]).ravel())


def _signed_rank(R: int) -> Array:
    """P(W = w), w = 0 .. R (R + 1) / 2, of the sum of ranks with a positive sign, each as likely as a negative one."""
    chance = np.zeros(R * (R + 1) // 2 + 1)
    chance[0] = 1.0
    for rank in range(1, R + 1):
        chance[rank:] = (chance[rank:] + chance[:-rank]) / 2
        chance[:rank] /= 2
    return chance


def _mann_whitney(m: int, n: int) -> Array:
    """P(U = u), u = 0 .. m n, of the pairs in which the first is larger, if all orders are equally likely.

    The largest of all is the first group's with probability i / (i + j), and then beats all j of the second.
    """
    chance = np.zeros((n + 1, m * n + 1))
    chance[:, 0] = 1.0  # no one in the first group
    for i in range(1, m + 1):
        before, chance = chance, np.zeros_like(chance)
        chance[0, 0] = 1.0
        for j in range(1, n + 1):
            chance[j] = chance[j - 1] * (j / (i + j))
            chance[j, j:] += before[j, :-j] * (i / (i + j))
    return np.asarray(chance[n])


def _flip_tails(d: Array) -> Tails:
    """Of all sign flips, the shares whose sum is at least, and at most, that of `d`.

    Flipping the signs of a subset leaves a sum at least as large if and only if the subset sums to at most 0.
    """
    d = _finite(d)
    tie = ROUNDING * float(np.abs(d).sum())
    if len(d) > MAX_FLIPPED:
        rng = np.random.default_rng(0)
        draws = (rng.integers(0, 2, (DRAWS // 100, len(d)), dtype=np.int8) @ d for _ in range(100))
        return _tails(np.concatenate(list(draws)), tie, extra=1)
    sums = np.zeros(1)
    for value in d:
        sums = np.concatenate([sums, sums + value])
    return _tails(sums, tie)


def _walsh_tails(d: Array) -> Tails:
    """Of all sign flips, the shares whose signed-rank sum is at least, and at most, that of `d`.

    The sum is the number of Walsh averages above 0; one that is 0, or open on both sides, counts for neither.
    """
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return _counted_tails(_walsh(d), _signed_rank(len(d)))


def _pair_tails(x: Array, y: Array) -> Tails:
    """Of all regroupings, the shares with at least, and at most, as many pairs in which the first is larger."""
    with np.errstate(invalid="ignore"):
        return _counted_tails(_differences(x, y), _mann_whitney(len(x), len(y)))


def _counted_tails(values: Array, null: Array) -> Tails:
    """Upper tails of a symmetric null at the number of values above 0, and at the number below."""
    at_least = np.minimum(1.0, np.cumsum(null[::-1])[::-1])
    return float(at_least[int((values > 0).sum())]), float(at_least[int((values < 0).sum())])


def _regroup_tails(x: Array, y: Array) -> Tails:
    """Of all choices of len(x) from both groups, the shares whose sum is at least, and at most, that of `x`."""
    pooled = np.concatenate([x, y])
    pooled = _finite(pooled - np.median(pooled[np.isfinite(pooled)]) if np.isfinite(pooled).any() else pooled)
    m, total = len(x), len(pooled)
    tie = ROUNDING * float(np.abs(pooled).sum())
    if math.comb(total, m) > MAX_REGROUPINGS:
        rng = np.random.default_rng(0)
        draws = (pooled[rng.random((DRAWS // 100, total)).argsort(axis=1)[:, :m]].sum(axis=1) for _ in range(100))
        return _tails(pooled[:m].sum() - np.concatenate(list(draws)), tie, extra=1)
    return _tails(pooled[:m].sum() - pooled[_choices(total, m)].sum(axis=1), tie)


@lru_cache(maxsize=1)
def _choices(total: int, m: int) -> npt.NDArray[np.intp]:
    """All choices of m places."""
    return np.fromiter(chain.from_iterable(combinations(range(total), m)), dtype=np.intp).reshape(-1, m)


def _tails(lost: Array, tie: float, extra: int = 0) -> Tails:
    """Shares of permutations that lose nothing, and that gain nothing; `extra` counts the data among random ones."""
    larger, smaller = ((int(hit.sum()) + extra) / (len(lost) + extra) for hit in (lost <= tie, lost >= -tie))
    return larger, smaller


def _finite(values: Array) -> Array:
    """Infinite values as ones that outweigh all finite ones together, which is all that a sum's sign can tell."""
    large = 1 + 2 * float(np.abs(values[np.isfinite(values)]).sum())
    return np.clip(values, -large, large)
