from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from itertools import combinations
from random import Random

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from emc.results import Replicate, Status
from emc.stats.compare import (
    MAX_FLIPPED,
    Bounds,
    Contrast,
    Differences,
    LogSizes,
    Verdict,
    contrast_differences,
    contrast_groups,
    contrast_pairs,
    holm,
    judge,
    log_sizes,
)

Method = Callable[[LogSizes, LogSizes, float], Contrast]
METHODS = [contrast_pairs, contrast_groups]
SIZES = st.lists(st.integers(1, 3000), min_size=6, max_size=6)


def exactly(values: Sequence[float]) -> LogSizes:
    """EMCs known to the sample."""
    logs = np.log(np.array(values, dtype=float))
    return LogSizes(logs, logs, logs)


def between(ranges: Sequence[tuple[float, float]]) -> LogSizes:
    """EMCs of which only a range is known; an uncensored one has a range of one value."""
    low, high = (np.log(np.array(ends, dtype=float)) for ends in zip(*ranges, strict=True))
    return LogSizes(low, high, high)


def verdict(contrast: Contrast, confidence: float = 0.95) -> Verdict:
    return judge([contrast], confidence)[0].verdict


# Known answers.


def test_six_pairs_by_hand() -> None:
    contrast = contrast_pairs(exactly([200] * 6), exactly([100, 90, 80, 110, 100, 95]), 0.95)
    assert contrast.p_value == Bounds(2 / 64, 2 / 64)
    assert contrast.smallest_p == 0.03125
    assert contrast.interval == pytest.approx((200 / 110, 200 / 80))
    assert contrast.interval_confidence == 1 - 2 / 64
    assert contrast.interval_method.startswith("Walsh averages 1 and 21 of 21")
    assert contrast.test.startswith("all 64 sign flips")
    assert contrast.dominance == Bounds(1, 1)
    assert contrast.counts == (6, 0, 0, 0)
    assert verdict(contrast) is Verdict.LARGER
    assert verdict(contrast, 0.97) is Verdict.NOT_SHOWN


def test_three_pairs_by_hand() -> None:
    contrast = contrast_pairs(exactly([4, 2, 1]), exactly([1, 1, 2]), 0.95)
    # log2 ratios 2, 1, -1: Walsh averages 2, 1.5, 0.5, 1, 0, -1, their median 0.75. Subset sums of at most 0:
    # {}, {-1}, {1, -1}, so that 3 of 8 flips give a sum at least as large.
    assert contrast.ratio.value == pytest.approx(2**0.75)
    assert contrast.p_value.value == 6 / 8
    assert contrast.interval == pytest.approx((0.5, 4))
    assert contrast.interval_confidence == 0.75
    assert contrast.counts == (2, 0, 1, 0)
    assert contrast.dominance.value == pytest.approx(2 / 3)


def test_two_groups_by_hand() -> None:
    contrast = contrast_groups(exactly([4, 8]), exactly([1, 2]), 0.95)
    assert contrast.ratio.value == pytest.approx(4)  # of 4, 2, 8, 4
    assert contrast.p_value.value == pytest.approx(2 / 6)
    assert contrast.smallest_p == pytest.approx(2 / 6)
    assert contrast.interval == pytest.approx((2, 8))
    assert contrast.interval_confidence == pytest.approx(1 - 2 / 6)
    assert contrast.counts == (4, 0, 0, 0)


def test_equal_results_differ_in_nothing() -> None:
    for method in METHODS:
        contrast = method(exactly([5, 7, 9, 11]), exactly([5, 7, 9, 11]), 0.95)
        assert (contrast.ratio.value, contrast.p_value.value, contrast.dominance.value) == (1, 1, 0.5)
        assert verdict(contrast) is Verdict.NOT_SHOWN


def _mean_difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
    return np.mean(x, axis=axis) - np.mean(y, axis=axis)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("permutations", "method"), [("samples", contrast_pairs), ("independent", contrast_groups)])
def test_p_values_are_those_of_scipy(permutations: str, method: Method, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.lognormal(seed / 4, size=7), rng.lognormal(0, size=7)
    logs = (np.log(a), np.log(b))
    expected = stats.permutation_test(
        logs, _mean_difference, permutation_type=permutations, n_resamples=np.inf, vectorized=True
    )
    assert method(exactly(a), exactly(b), 0.95).p_value.value == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("R", [6, 9, 15])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_paired_intervals_hold_what_wilcoxon_does_not_reject(R: int, confidence: float) -> None:
    rng = np.random.default_rng(R)
    a, b = rng.lognormal(0.3, size=R), rng.lognormal(0, size=R)
    contrast = contrast_pairs(exactly(a), exactly(b), confidence)
    for end, inwards in zip(contrast.interval, (1e-6, -1e-6), strict=True):
        inside, outside = (
            stats.wilcoxon(np.log(a / b) - math.log(end) - step, method="exact").pvalue for step in (inwards, -inwards)
        )
        assert inside > 1 - confidence + 1e-9 >= outside
        assert outside == pytest.approx(1 - contrast.interval_confidence)


@pytest.mark.parametrize(("m", "n"), [(4, 4), (6, 9), (12, 7)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_unpaired_intervals_hold_what_mann_whitney_does_not_reject(m: int, n: int, confidence: float) -> None:
    rng = np.random.default_rng(m)
    a, b = rng.lognormal(0.3, size=m), rng.lognormal(0, size=n)
    contrast = contrast_groups(exactly(a), exactly(b), confidence)
    for end, inwards in zip(contrast.interval, (1e-6, -1e-6), strict=True):
        inside, outside = (
            stats.mannwhitneyu(np.log(a) - math.log(end) - step, np.log(b), method="exact").pvalue
            for step in (inwards, -inwards)
        )
        assert inside > 1 - confidence + 1e-9 >= outside
        assert outside == pytest.approx(1 - contrast.interval_confidence)


@pytest.mark.parametrize("R", range(2, 13))
def test_the_interval_says_what_confidence_it_has(R: int) -> None:
    contrast = contrast_pairs(exactly([2] * R), exactly([1] * R), 0.95)
    assert contrast.interval_confidence >= 0.95 or contrast.interval_method.startswith("Walsh averages 1 and ")
    assert (contrast.interval_confidence >= 0.95) == (R >= 6)


def test_brackets_widen_the_interval_and_nothing_else() -> None:
    a = log_sizes([Replicate(i, 100, 110, Status.BRACKETED) for i in range(6)], 1000)
    b = log_sizes([Replicate(i, 50, 52, Status.BRACKETED) for i in range(6)], 1000)
    contrast = contrast_pairs(a, b, 0.95)
    assert contrast.ratio.value == pytest.approx(2)
    assert contrast.interval == pytest.approx((100 / 52, 110 / 50))


def test_many_pairs_and_regroupings_are_drawn_at_random() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.lognormal(0.25, size=30), rng.lognormal(0, size=30)
    paired, unpaired = contrast_pairs(exactly(a), exactly(b), 0.95), contrast_groups(exactly(a), exactly(b), 0.95)
    for contrast, expected in ((paired, stats.ttest_rel), (unpaired, stats.ttest_ind)):
        assert "100,000 random" in contrast.test
        assert "Monte Carlo, seed 0" in contrast.test
        assert contrast.smallest_p == pytest.approx(2 / 100_001)
        assert contrast.p_value.value == pytest.approx(expected(np.log(a), np.log(b)).pvalue, abs=0.02)
    assert contrast_pairs(exactly(a), exactly(b), 0.95) == paired


def test_the_random_test_continues_the_exact_one() -> None:
    rng = np.random.default_rng(3)
    d = rng.normal(0.4, size=MAX_FLIPPED)
    exact = contrast_pairs(exactly(np.exp(d)), exactly([1] * len(d)), 0.95)
    drawn = contrast_pairs(exactly(np.exp([*d, 0.0])), exactly([1] * (len(d) + 1)), 0.95)  # 0 changes no sum
    assert "all 1,048,576" in exact.test
    assert drawn.p_value.value == pytest.approx(exact.p_value.value, rel=0.1)


# Invariances.


@pytest.mark.parametrize("method", METHODS)
@given(a=SIZES, b=SIZES)
def test_swapping_inverts(method: Method, a: list[int], b: list[int]) -> None:
    one, other = method(exactly(a), exactly(b), 0.95), method(exactly(b), exactly(a), 0.95)
    assert one.ratio.value == pytest.approx(1 / other.ratio.value)
    assert one.interval == pytest.approx((1 / other.interval[1], 1 / other.interval[0]))
    assert one.p_value.value == other.p_value.value
    assert one.dominance.value == pytest.approx(1 - other.dominance.value)
    assert one.counts[:3] == other.counts[2::-1]


@pytest.mark.parametrize("method", METHODS)
@given(a=SIZES, b=SIZES, factor=st.integers(2, 50))
def test_scaling_both_changes_nothing(method: Method, a: list[int], b: list[int], factor: int) -> None:
    one = method(exactly(a), exactly(b), 0.95)
    other = method(exactly([factor * v for v in a]), exactly([factor * v for v in b]), 0.95)
    assert one.ratio.value == pytest.approx(other.ratio.value)
    assert one.interval == pytest.approx(other.interval)
    assert one.p_value.value == other.p_value.value


@given(a=SIZES, b=SIZES)
def test_p_values_are_multiples_of_the_smallest(a: list[int], b: list[int]) -> None:
    paired = contrast_pairs(exactly(a), exactly(b), 0.95).p_value.value
    assert (64 * paired).is_integer()
    assert 2 / 64 <= paired <= 1
    unpaired = contrast_groups(exactly(a), exactly(b), 0.95).p_value.value
    assert 924 * unpaired == pytest.approx(round(924 * unpaired))
    assert 2 / 924 <= unpaired <= 1


@pytest.mark.parametrize("method", METHODS)
@given(a=SIZES, b=SIZES)
def test_the_estimate_lies_in_the_interval(method: Method, a: list[int], b: list[int]) -> None:
    contrast = method(exactly(a), exactly(b), 0.5)
    low, high = contrast.interval
    assert low <= contrast.ratio.value * (1 + 1e-9)
    assert contrast.ratio.value <= high * (1 + 1e-9)


# Censoring.


def test_what_a_censored_replicate_may_be() -> None:
    known = log_sizes(
        [
            Replicate(0, 100, 105, Status.BRACKETED),
            Replicate(1, 100, 105, Status.UNDERTRAINED),
            Replicate(2, 100, None, Status.CENSORED_ABOVE),
            Replicate(3, 0, 1, Status.CENSORED_BELOW),
            Replicate(4, 0, 8, Status.DIVERGED),
            Replicate(5, 100, 105, Status.NON_MONOTONE, also_fitted=(120,)),
        ],
        1000,
    )
    assert np.exp(known.low) == pytest.approx([100, 100, 100, 0, 0, 100])
    assert np.exp(known.high) == pytest.approx([100, 1000, 1000, 1, 1000, 100])
    assert np.exp(known.upper) == pytest.approx([105, 1000, 1000, 1, 1000, 105])


def test_without_a_bound_a_censored_replicate_may_be_anything_above() -> None:
    assert log_sizes([Replicate(0, 100, None, Status.CENSORED_ABOVE)], math.inf).high == [math.inf]


def test_censoring_that_cannot_matter_is_decided() -> None:
    a = between([(200, math.inf)] * 6)
    contrast = contrast_pairs(a, exactly([100] * 6), 0.95)
    assert contrast.ratio == Bounds(pytest.approx(2), math.inf)
    assert contrast.p_value == Bounds(2 / 64, 2 / 64)
    assert contrast.interval == (pytest.approx(2), math.inf)
    assert verdict(contrast) is Verdict.LARGER
    assert verdict(contrast_pairs(exactly([100] * 6), a, 0.95)) is Verdict.SMALLER


@pytest.mark.parametrize("method", METHODS)
def test_both_censored_everywhere_says_nothing(method: Method) -> None:
    contrast = method(between([(200, math.inf)] * 6), between([(100, math.inf)] * 6), 0.95)
    assert contrast.ratio == Bounds(0, math.inf)
    assert contrast.interval == (0, math.inf)
    assert contrast.p_value == Bounds(contrast.smallest_p, 1)
    assert contrast.dominance == Bounds(0, 1)
    assert contrast.counts[3] == sum(contrast.counts)
    assert verdict(contrast) is Verdict.UNDECIDED


def test_one_pair_censored_on_both_sides_undecides_six() -> None:
    a, b = between([(200, 200)] * 5 + [(200, math.inf)]), between([(100, 100)] * 5 + [(200, math.inf)])
    contrast = contrast_pairs(a, b, 0.95)
    assert contrast.p_value == Bounds(2 / 64, 1)
    assert contrast.counts == (5, 0, 0, 1)
    assert verdict(contrast) is Verdict.UNDECIDED


def test_too_few_pairs_show_nothing_however_censored() -> None:
    contrast = contrast_pairs(between([(200, math.inf)] * 3), between([(100, math.inf)] * 3), 0.95)
    assert verdict(contrast) is Verdict.NOT_SHOWN


RANGES = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from([0, 0, 0, 3, 11, None])).map(
        lambda pair: (pair[0], math.inf if pair[1] is None else min(pair[0] + pair[1], 12) if pair[1] else pair[0])
    ),
    min_size=4,
    max_size=4,
)


def _completions(ranges: Sequence[tuple[float, float]]) -> list[tuple[float, ...]]:
    """Every way to fill the ranges from a grid that holds their ends and what lies between and far above."""
    grid = [1, 2, 3, 5, 8, 12, 40, 1e6]
    choices = [sorted({low, *(v for v in grid if low <= v <= high)}) for low, high in ranges]
    return list(itertools.islice(itertools.product(*choices), 0, None, max(1, math.prod(map(len, choices)) // 6)))


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25)
@given(a=RANGES, b=RANGES, confidence=st.sampled_from([0.6, 0.75, 0.9]))
def test_every_completion_lies_between_the_extremes(
    method: Method, a: list[tuple[float, float]], b: list[tuple[float, float]], confidence: float
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = judge([method(between(a), between(b), confidence)], confidence)[0]
    shown = set()
    for x, y in itertools.product(_completions(a), _completions(b)):
        one = judge([method(exactly(x), exactly(y), confidence)], confidence)[0]
        shown.add(one.verdict)
        for name in ("ratio", "p_value", "dominance"):
            bounds, value = getattr(whole, name), getattr(one, name).value
            assert bounds.low <= value * (1 + 1e-9) + 1e-9
            assert value <= bounds.high * (1 + 1e-9)
        assert whole.interval[0] <= one.interval[0] * (1 + 1e-9)
        assert one.interval[1] <= whole.interval[1] * (1 + 1e-9)
        larger, equal, smaller, unknown = whole.counts
        assert all(0 <= many - few <= unknown for few, many in zip((larger, equal, smaller), one.counts, strict=False))
    if whole.verdict is not Verdict.UNDECIDED:
        assert shown == {whole.verdict}


@settings(max_examples=25)
@given(
    ranges=st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3)), min_size=4, max_size=4),
    b=st.lists(st.integers(1, 6), min_size=4, max_size=4),
)
def test_the_extremes_are_reached(ranges: list[tuple[int, int]], b: list[int]) -> None:
    """Where one side is censored, some completion gives each bound, except a p of 1, which lies where the mean is 0."""
    whole = contrast_pairs(between([(low, low + more) for low, more in ranges]), exactly(b), 0.95)
    ends = itertools.product(*[{low, low + more} for low, more in ranges])
    found = [contrast_pairs(exactly(x), exactly(b), 0.95) for x in ends]
    assert min(c.p_value.value for c in found) == whole.p_value.low
    assert whole.p_value.high in {1, *(c.p_value.value for c in found)}
    assert min(c.ratio.value for c in found) == pytest.approx(whole.ratio.low)
    assert max(c.ratio.value for c in found) == pytest.approx(whole.ratio.high)


# Several comparisons.


def test_holm_by_hand() -> None:
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; the last is raised to 0.06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.03125]) == [0.03125]
    assert holm([0.9, 0.8]) == [1, 1]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(0, 5), st.floats(0, 1))
def test_holm_grows_with_every_p_value(p_values: list[float], place: int, larger: float) -> None:
    grown = list(p_values)
    grown[place % len(grown)] = max(larger, grown[place % len(grown)])
    assert all(a <= b for a, b in zip(holm(p_values), holm(grown), strict=True))
    assert all(p <= corrected <= 1 for p, corrected in zip(p_values, holm(p_values), strict=True))


def test_judging_several_corrects_them() -> None:
    contrast = contrast_pairs(exactly([2] * 6), exactly([1] * 6), 0.95)
    assert [c.verdict for c in judge([contrast] * 2, 0.95)] == [Verdict.NOT_SHOWN] * 2
    assert [c.p_adjusted.value for c in judge([contrast] * 2, 0.95)] == [4 / 64] * 2
    assert [c.verdict for c in judge([contrast] * 2, 0.9)] == [Verdict.LARGER] * 2


# Coverage.


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tolerance", [1.0001, 1.05, 1.5])
def test_the_interval_covers_the_true_ratio(method: Method, tolerance: float) -> None:
    """EMCs with log-normal scatter, known only to a bracket on a grid of which either side has its own."""
    rng = np.random.default_rng(0)
    trials, covered, least = 400, 0, 1.0
    for _ in range(trials):
        sides = []
        for centre, offset in ((1.5, 0.1), (1.0, 0.6)):
            places = (math.log(centre) + rng.normal(0, 0.2, size=6)) / math.log(tolerance)
            low = (np.floor(places - offset) + offset) * math.log(tolerance)
            sides.append(LogSizes(low, low, low + math.log(tolerance)))
        contrast = method(sides[0], sides[1], 0.95)
        covered += contrast.interval[0] <= 1.5 <= contrast.interval[1]
        least = contrast.interval_confidence
    assert least >= 0.95
    assert covered / trials >= least - 3 * math.sqrt(least * (1 - least) / trials)


@pytest.mark.parametrize("method", METHODS)
def test_no_difference_is_rejected_as_seldom_as_said(method: Method) -> None:
    rng = np.random.default_rng(1)
    trials = 400
    rejected = sum(
        verdict(method(exactly(a), exactly(b), 0.9), 0.9) is not Verdict.NOT_SHOWN
        for a, b in np.exp(rng.normal(0, 0.2, size=(trials, 2, 6)))
    )
    assert rejected / trials <= 0.1 + 3 * math.sqrt(0.09 / trials)


def numbers(values: Sequence[float], high: Sequence[float] | None = None) -> Differences:
    low, top = np.array(values, dtype=float), np.array(values if high is None else high, dtype=float)
    return Differences(low, top, low, top)


@given(st.lists(st.floats(-3, 3).filter(lambda x: abs(x) > 1e-3), min_size=3, max_size=9, unique_by=abs))
def test_ranked_tails_are_scipys_exact_signed_rank_test(values: list[float]) -> None:
    averages = [(a + b) / 2 for i, a in enumerate(values) for b in values[i:]]
    assume(all(abs(average) > 1e-9 for average in averages))
    found = contrast_differences(numbers(values), 0.95, ranked=True)
    theirs = {side: stats.wilcoxon(values, alternative=side, method="exact").pvalue for side in ("greater", "less")}
    assert found.larger.value == pytest.approx(theirs["greater"])
    assert found.smaller.value == pytest.approx(theirs["less"])


@given(st.integers(1, 6), st.integers(1, 6), st.randoms(use_true_random=False))
def test_ranked_groups_are_scipys_exact_mann_whitney_test(m: int, n: int, random: Random) -> None:
    values = np.array(random.sample(range(100), m + n), dtype=float)
    a, b = (LogSizes(part, part, part) for part in (values[:m], values[m:]))
    found = contrast_groups(a, b, 0.95, ranked=True)
    theirs = stats.mannwhitneyu(values[:m], values[m:], alternative="greater", method="exact").pvalue
    assert found.larger.value == pytest.approx(theirs)


def test_one_replicate_without_an_upper_bound_decides_for_the_mean_but_not_for_the_ranks() -> None:
    given = numbers([-1.0] * 11 + [-0.5], [-1.0] * 11 + [math.inf])
    assert contrast_differences(given, 0.95).p_value.high == 1
    ranked = contrast_differences(given, 0.95, ranked=True)
    # The one positive has the largest of twelve ranks: sums of 12 or less of 1 to 12, of 4,096 subsets.
    subsets = [sum(ranks) for size in range(13) for ranks in combinations(range(1, 13), size)]
    assert ranked.p_value.high == pytest.approx(2 * sum(total <= 12 for total in subsets) / 4096)
    assert ranked.interval[1] < 1


def test_ties_count_against_either_side() -> None:
    found = contrast_differences(numbers([0.0, 0.0, 0.0]), 0.95, ranked=True)
    assert (found.larger.value, found.smaller.value) == (1.0, 1.0)
