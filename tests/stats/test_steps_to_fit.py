from __future__ import annotations

import math

import numpy as np
import pytest

from emc.errors import SpecError
from emc.stats.steps_to_fit import LAW, MAX_RATIO, FittedIn, Law, extrapolate, least_deviations

N = 200.0
SIZES = (16, 22, 30, 42, 58, 81, 113)


def _grown(law: Law, emc: float, noise: float = 0.0, replicates: int = 4, seed: int = 0) -> list[FittedIn]:
    """Probes whose steps follow the law exactly, from a hundredth of the budget at n = 0 (or 1), or with noise."""
    rng = np.random.default_rng(seed)
    first = float(law.scale(np.array([1.0]))[0])
    slope = math.log(law.reached / 0.01) / (float(law.scale(np.array([emc]))[0]) - first)
    seen = []
    for replicate in range(replicates):
        for n in SIZES:
            log_share = math.log(0.01) + slope * (float(law.scale(np.array([float(n)]))[0]) - first)
            seen.append(FittedIn(n, replicate, math.exp(log_share + noise * rng.standard_normal())))
    return seen


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("reached", [0.25, 1.0])
def test_a_law_finds_the_size_of_its_own_data(exponent: float, reached: float) -> None:
    law = Law(exponent, reached)
    assert law.emc(_grown(law, N)) == pytest.approx(N, rel=1e-6)


def test_an_unlucky_init_bends_nothing() -> None:
    seen = [
        FittedIn(one.n, one.replicate, 1.0 if place == 8 else one.share) for place, one in enumerate(_grown(LAW, N))
    ]
    assert LAW.emc(seen) == pytest.approx(N, rel=1e-6)


def test_the_line_is_the_best_in_absolute_deviations() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        x, y = rng.uniform(10, 500, 9), rng.standard_normal(9)
        intercept, slope = least_deviations(x, y)
        # A best line passes through two of the points (Koenker and Bassett 1978, theorem 3.1).
        pairs = [(i, j) for i in range(9) for j in range(i)]
        slopes = [(y[i] - y[j]) / (x[i] - x[j]) for i, j in pairs]
        least = min(np.abs(y - y[i] - s * (x - x[i])).sum() for (i, _), s in zip(pairs, slopes, strict=True))
        assert np.abs(y - intercept - slope * x).sum() == pytest.approx(least)


def test_an_interval_holds_the_size_and_more_noise_widens_it() -> None:
    widths = []
    for noise in (0.0, 0.2, 0.6):
        found = extrapolate(_grown(LAW, N, noise), 0.95, 0, factor=1.2)
        assert found.interval is not None
        low, high = found.interval
        assert low < N < high
        widths.append(math.log(high / low))
    assert widths[0] == pytest.approx(2 * math.log(1.2))
    assert widths[0] < widths[1] < widths[2]


def test_one_replicate_has_the_factor_alone() -> None:
    found = extrapolate(_grown(LAW, N, replicates=1), 0.95, 0, factor=2.0)
    assert found.interval == pytest.approx((N / 2, 2 * N), rel=1e-6)


def test_the_same_seed_gives_the_same_interval() -> None:
    seen = _grown(LAW, N, noise=0.3)
    assert extrapolate(seen, 0.95, 5) == extrapolate(seen, 0.95, 5) != extrapolate(seen, 0.95, 6)


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ([], "0 fitted sizes are too few"),
        ([FittedIn(16, 0, 0.01), FittedIn(22, 0, 0.02), FittedIn(30, 0, 1.0)], "2 fitted sizes are too few"),
        ([FittedIn(n, 0, 0.02) for n in SIZES], "do not grow with n"),
        ([FittedIn(n, 0, 0.5 / n) for n in SIZES], "do not grow with n"),
        (_grown(LAW, SIZES[-1] * MAX_RATIO + 10), "too far to trust"),
    ],
)
def test_refuses_where_extrapolation_is_not_justified(seen: list[FittedIn], reason: str) -> None:
    found = extrapolate(seen, 0.95, 0)
    assert (found.emc, found.interval) == (None, None)
    assert reason in found.reason


@pytest.mark.parametrize(("exponent", "reached"), [(-1.0, 0.5), (1.0, 0.0), (1.0, 1.5)])
def test_a_law_out_of_range_is_refused(exponent: float, reached: float) -> None:
    with pytest.raises(SpecError, match="a law needs an exponent of at least 0"):
        Law(exponent, reached)
