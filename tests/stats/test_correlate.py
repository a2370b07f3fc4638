from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import emc
from emc.errors import ComparisonError, SpecError
from emc.results import EmcResult
from emc.stats.correlate import correlate, correlate_within, count_permutations, permutation_tails

MakeResult = Callable[..., EmcResult]
NAMES = ("pearson", "spearman", "kendall")


def values(x: Any, y: Any, **options: Any) -> list[float]:
    correlation = correlate(x, y, resamples=100, **options)
    return [getattr(correlation, name).value for name in NAMES]


@pytest.mark.parametrize("points", [4, 9, 40])
@pytest.mark.parametrize("distinct", [3, 1000])
def test_coefficients_are_those_of_scipy(points: int, distinct: int) -> None:
    rng = np.random.default_rng(points)
    x, y = np.arange(points) % distinct, rng.integers(0, distinct, size=points)
    found = [test(x, y).statistic for test in (stats.pearsonr, stats.spearmanr, stats.kendalltau)]
    assert values(x, y) == pytest.approx(found)


def test_resampled_coefficients_are_those_of_the_resampled_points() -> None:
    from emc.stats.correlate import _Shape

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 6, size=(2, 12)).astype(float)
    counts = rng.multinomial(12, np.full(12, 1 / 12), size=5)
    found = _Shape(x, y).coefficients(counts.astype(float))
    for drawn, coefficients in zip(counts, found.T, strict=True):
        a, b = np.repeat(x, drawn), np.repeat(y, drawn)
        expected = [test(a, b).statistic for test in (stats.pearsonr, stats.spearmanr, stats.kendalltau)]
        assert coefficients == pytest.approx(expected)


def test_a_hand_example() -> None:
    # Pairs in the same order less those in opposite order: 9 - 1 of 10. Ranks: 1 - 6 * 2 / (5 * 24).
    _, spearman, kendall = values([1, 2, 3, 4, 5], [10, 20, 30, 50, 40])
    assert (spearman, kendall) == (pytest.approx(0.9), pytest.approx(0.8))


@pytest.mark.parametrize(("y", "expected"), [([2, 4, 6, 8], 1), ([8, 6, 4, 2], -1)])
def test_a_perfect_correlation(y: list[float], expected: int) -> None:
    correlation = correlate([1, 2, 3, 4], y)
    for name in NAMES:
        coefficient = getattr(correlation, name)
        assert coefficient.value == pytest.approx(expected)
        assert coefficient.interval == pytest.approx((expected, expected))
    assert correlation.degenerate > 0  # 4 of 256 resamples hold one point only
    assert f"{correlation.degenerate} left out since a side did not vary" in str(correlation)


POINTS = st.lists(st.tuples(st.integers(-50, 50), st.integers(-50, 50)), min_size=4, max_size=12).filter(
    lambda points: all(len(set(side)) > 1 for side in zip(*points, strict=True))
)


@settings(max_examples=50)
@given(points=POINTS, scale=st.sampled_from([1e-3, 7, 1e6]), shift=st.integers(-9, 9))
def test_invariances(points: list[tuple[int, int]], scale: float, shift: int) -> None:
    x, y = (np.array(side, dtype=float) for side in zip(*points, strict=True))
    found = values(x, y)
    assert all(-1 <= value <= 1 for value in found)
    assert values(y, x) == pytest.approx(found)
    assert values(-x, y) == pytest.approx([-value for value in found])
    assert values(scale * (x + shift), y) == pytest.approx(found, abs=1e-6)
    assert values(np.exp(x / 10), y)[1:] == pytest.approx(found[1:])


def test_intervals_hold_the_coefficient_and_shrink_with_points() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for points in (20, 200):
        x = rng.normal(size=points)
        correlation = correlate(x, x + rng.normal(size=points), resamples=2000)
        for name in NAMES:
            low, high = getattr(correlation, name).interval
            assert low < getattr(correlation, name).value < high
        widths.append(correlation.pearson.interval[1] - correlation.pearson.interval[0])
    assert widths[1] < widths[0] / 2


def test_intervals_cover_where_there_are_points_enough() -> None:
    rng, rho, trials = np.random.default_rng(2), 0.6, 150
    truth = {"pearson": rho, "spearman": 6 / math.pi * math.asin(rho / 2), "kendall": 2 / math.pi * math.asin(rho)}
    covered = dict.fromkeys(NAMES, 0)
    for _ in range(trials):
        x, y = rng.multivariate_normal([0, 0], [[1, rho], [rho, 1]], size=40).T
        correlation = correlate(x, y, confidence=0.9, resamples=200)
        for name in NAMES:
            low, high = getattr(correlation, name).interval
            covered[name] += low <= truth[name] <= high
    assert min(covered.values()) / trials >= 0.9 - 0.03 - 3 * math.sqrt(
        0.09 / trials
    )  # the percentiles are a little short


def test_the_same_seed_gives_the_same_intervals() -> None:
    x, y = [1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5]
    assert correlate(x, y, seed=3) == correlate(x, y, seed=3)
    assert correlate(x, y, seed=3) != correlate(x, y, seed=4)


def test_results_stand_for_their_emc(make_result: MakeResult) -> None:
    results = [make_result(emc=value) for value in (10, 20, 30, 50)]
    assert emc.correlate(results, [1, 2, 4, 3]) == emc.correlate([10, 20, 30, 50], [1, 2, 4, 3])


def test_it_prints_itself() -> None:
    correlation = correlate([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5])
    assert [name for name, _ in correlation.rows()] == ["conclusion", "Pearson", "Spearman", "Kendall", "intervals"]
    assert str(correlation).startswith("conclusion  over 6 points Pearson's r is 0.829 (95 % interval ")
    assert "10,000 resamples, seed 0" in correlation._repr_html_()
    record = json.loads(correlation.to_json())
    assert record["pearson"]["value"] == pytest.approx(correlation.pearson.value)
    assert set(record) == {*NAMES, "points", "confidence", "resamples", "degenerate", "seed"}


@pytest.mark.parametrize(
    ("x", "y", "sentence"),
    [
        ([1, 2, 3], [1, 2, 3], "takes at least 4 points, got 3; measure more"),
        ([1, 2, 3, 4], [1, 2, 3], "equally many points, got 4 and 3; leave out the rest"),
        ([1, 2, 3, math.nan], [1, 2, 3, 4], r"only finite numbers correlate, got nan in x\[3\]; leave it out"),
        ([1, 2, 3, 4], [7, 7, 7, 7], "values that vary, got 7 everywhere in y; "),
        ([1, 2, 3, 4], [1, 2, 3, "many"], "y must hold numbers or results .*; leave out what is neither"),
    ],
)
def test_mistakes(x: list[Any], y: list[Any], sentence: str) -> None:
    with pytest.raises(ComparisonError, match=sentence):
        correlate(x, y)


def test_mistakes_in_options() -> None:
    with pytest.raises(SpecError, match=r"--confidence must be between 0\.5 and 0\.9999, got 95"):
        correlate([1, 2, 3, 4], [1, 2, 3, 4], confidence=95)
    with pytest.raises(ComparisonError, match="at least 100 resamples, got 5; raise resamples"):
        correlate([1, 2, 3, 4], [1, 2, 3, 4], resamples=5)


def test_a_censored_emc_is_no_number(make_result: MakeResult) -> None:
    results = [*(make_result() for _ in range(3)), make_result("undertrained")]
    with pytest.raises(ComparisonError, match=r"only known EMCs can be correlated, got >= 100 in x\[3\]; "):
        correlate(results, [1, 2, 3, 4])


def test_estimands_do_not_mix(make_result: MakeResult) -> None:
    results = [*(make_result() for _ in range(3)), make_result(estimand="n50, best of 2 inits")]
    with pytest.raises(ComparisonError, match='one estimand, got "n50" and "n50, best of 2 inits"; measure all with'):
        correlate(results, [1, 2, 3, 4])


def test_within_groups_only_what_goes_along_inside_counts() -> None:
    groups = [([1.0, 2, 3, 4], [4.0, 3, 2, 1]), ([11.0, 12, 13, 14, 15], [15.0, 14, 13, 12, 11])]
    found = correlate_within(groups, resamples=200)
    assert (found.pearson.value, found.kendall.value, found.points) == (pytest.approx(-1), pytest.approx(-1), 9)
    one = correlate_within(groups[:1], resamples=200)
    assert one.pearson == correlate(*groups[0], resamples=200).pearson


def test_permutation_tails_are_those_of_all_orders() -> None:
    x, y = [1.0, 2, 3, 4], [1.0, 2, 4, 3]
    sums = [sum(a * b for a, b in zip(x, order, strict=True)) for order in itertools.permutations(y)]
    observed = sum(a * b for a, b in zip(x, y, strict=True))
    larger, smaller = permutation_tails([(x, y)], draws=20_000)
    assert larger == pytest.approx(sum(s >= observed for s in sums) / 24, abs=0.01)
    assert smaller == pytest.approx(sum(s <= observed for s in sums) / 24, abs=0.01)


def test_under_the_null_units_measured_in_several_groups_are_no_more_than_units() -> None:
    """Two quantities of five units that have nothing to do with each other, each in three groups with noise."""
    rng, rejected, trials = np.random.default_rng(1), 0, 150
    for _ in range(trials):
        x, y = rng.standard_normal((2, 5))
        groups = [(list(x + 0.2 * rng.standard_normal(5)), list(y + 0.2 * rng.standard_normal(5))) for _ in range(3)]
        rejected += 2 * min(permutation_tails(groups, 999, units=[range(5)] * 3)) <= 0.05
    assert rejected <= stats.binom.ppf(0.995, trials, 0.05)


def test_units_exchange_with_those_of_the_same_groups_only() -> None:
    groups = [([1.0, 2, 3, 4, 5], [1.0, 2, 3, 4, 5]), ([1.0, 2, 3, 4], [1.0, 2, 3, 4])]
    units = ["abcde", "abcd"]
    assert count_permutations(units) == math.factorial(4)
    larger, smaller = permutation_tails(groups, 20_000, units=units)
    assert (larger, smaller) == (pytest.approx(1 / 24, abs=0.005), 1)
    assert count_permutations(["abcd", "efgh"]) == math.factorial(4) ** 2


def test_units_are_resampled_in_all_groups_at_once() -> None:
    x, y = [1.0, 2, 3, 4, 5, 6], [2.0, 1, 4, 3, 6, 5]
    one = correlate(x, y, resamples=500)
    linked = correlate_within([(x, y)] * 4, units=["abcdef"] * 4, resamples=500)
    assert linked.pearson.interval == pytest.approx(one.pearson.interval)
    alone = correlate_within([(x, y)] * 4, resamples=500)
    assert alone.pearson.interval[0] > one.pearson.interval[0] + 0.05


def test_a_unit_twice_in_a_group() -> None:
    with pytest.raises(ComparisonError, match="one point a unit, got 4 points of 3 units; average the points of a"):
        correlate_within([([1, 2, 3, 4], [1, 2, 4, 3])], units=["abca"])


def test_groups_that_share_one_unit_only_have_resamples_without_a_point() -> None:
    x = [1.0, 2, 3, 4]
    found = correlate_within([(x, x), (x, x)], units=["abcd", "defg"], resamples=5000)
    assert found.degenerate > 0
    assert found.pearson.interval == pytest.approx((1, 1))
