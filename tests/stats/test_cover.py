from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from scipy import stats

from emc.stats.cover import band, half_size, separable


def exactly(n: int, dim: int) -> Fraction:
    """The theorem as it is written, in whole numbers."""
    return Fraction(2 * sum(comb(n - 1, k) for k in range(dim + 1)), 2**n)


@pytest.mark.parametrize("dim", [1, 2, 20, 50])
def test_the_theorem_in_whole_numbers(dim: int) -> None:
    for n in [1, 2, dim + 1, dim + 2, 2 * dim, 2 * dim + 2, 3 * dim, 8 * dim]:
        assert separable(n, dim) == pytest.approx(float(exactly(n, dim)), rel=1e-12)


@pytest.mark.parametrize("dim", [1, 20, 50])
def test_exact_points(dim: int) -> None:
    assert separable(dim + 1, dim) == 1.0
    assert separable(dim + 2, dim) < 1.0
    assert separable(half_size(dim), dim) == pytest.approx(0.5, rel=1e-12)
    assert half_size(dim) == 2 * (dim + 1)


def test_points_on_a_line() -> None:
    # Of 2^n labellings a threshold makes 2 n: n - 1 gaps and the ends, each in both directions.
    assert [separable(n, 1) for n in (2, 3, 4, 5)] == [1.0, 6 / 8, 8 / 16, 10 / 32]


def test_what_must_fit_must_all_fit() -> None:
    first, last = band([21, 200], [50, 50], 20, 0.95)
    assert (first.fewest, first.most) == (50, 50)
    assert (last.fewest, last.most) == (0, 0)
    assert first.accepts(50)
    assert not first.accepts(49)
    assert not last.accepts(1)


def test_regions_are_exact_binomial_tests_shared_out_over_the_sizes() -> None:
    alone = band([42], [100], 20, 0.95)[0]
    assert (alone.fewest, alone.most) == (40, 60)
    first, _ = band([42, 50], [100, 100], 20, 0.95)
    assert stats.binom.cdf(first.fewest - 1, 100, 0.5) <= 0.0125 < stats.binom.cdf(first.fewest, 100, 0.5)
    assert stats.binom.sf(first.most, 100, 0.5) <= 0.0125 < stats.binom.sf(first.most - 1, 100, 0.5)


@pytest.mark.parametrize("nested", [True, False])
def test_the_band_holds_whole_curves(nested: bool) -> None:
    sizes, draws = list(range(26, 59, 4)), 40
    regions = band(sizes, [draws] * len(sizes), 20, 0.9)
    probabilities = np.array([region.probability for region in regions])
    rng = np.random.default_rng(0)
    luck = rng.random((2000, draws, 1 if nested else len(sizes)))
    counts = (luck < probabilities).sum(axis=1)
    low, high = (np.array([getattr(region, name) for region in regions]) for name in ("fewest", "most"))
    held = np.mean(np.all((low <= counts) & (counts <= high), axis=1))
    assert 0.9 <= held < 0.995
