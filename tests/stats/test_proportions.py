from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from emc.stats.proportions import acceptance, mean_interval, wilson


def test_wilson_of_a_textbook_case() -> None:
    # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3: 81 of 263.
    assert wilson(81, 263, 0.95) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_wilson_stays_inside_and_never_collapses() -> None:
    assert wilson(0, 20, 0.95) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(20, 20, 0.95) == pytest.approx((0.8389, 1.0), abs=5e-5)
    assert wilson(1, 1, 0.95)[0] > 0


@pytest.mark.parametrize("probability", [0.0, 0.013, 0.5, 0.97, 1.0])
def test_acceptance_leaves_out_at_most_half_of_the_rest_on_either_side(probability: float) -> None:
    fewest, most = acceptance(37, probability, 0.95)
    assert stats.binom.cdf(fewest - 1, 37, probability) <= 0.025
    assert stats.binom.sf(most, 37, probability) <= 0.025
    assert stats.binom.cdf(most, 37, probability) - stats.binom.cdf(fewest - 1, 37, probability) >= 0.95 - 1e-12


def test_the_mean_interval_stays_inside_the_values() -> None:
    values = [1.0] * 18 + [0.5, 0.9]
    low, high = mean_interval(values, 0.95) or (0, 0)
    assert 0.5 <= low < np.mean(values) < high <= 1.0
    assert mean_interval(values, 0.95) == (low, high)


def test_the_mean_interval_of_many_values_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 1000)
    half = 1.96 * values.std() / np.sqrt(1000)
    assert mean_interval(list(values), 0.95) == pytest.approx((values.mean() - half, values.mean() + half), abs=5e-4)


def test_one_value_has_no_interval_and_equal_ones_no_width() -> None:
    assert mean_interval([0.9], 0.95) is None
    assert mean_interval([0.9, 0.9], 0.95) == (0.9, 0.9)
