from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from simulated import cell

from emc.hypotheses.parts import ABOVE, Region
from emc.hypotheses.ratios import EmcPart, Stratum, ratio, slope


def test_under_the_null_at_most_five_percent_are_significant() -> None:
    """Replicates share their draw of samples; the two sides differ by noise of one distribution."""
    rng, significant, trials = np.random.default_rng(0), 0, 150
    for _ in range(trials):
        shared = rng.normal(5, 0.3, 10)
        a, b = (
            cell(np.exp(shared + rng.normal(0, 0.3, 10)).astype(int).tolist(), labels=x) for x in ("random", "semantic")
        )
        found = EmcPart("a over b", (ratio(a, b),), ABOVE).test(0.95).honest
        assert found is not None
        significant += min(found.support.high, found.against.high) <= 0.05
    assert significant <= stats.binom.ppf(0.995, trials, 0.05)


def test_a_slope_is_the_exponent_and_takes_known_numbers_off() -> None:
    x = [math.log(k) for k in (2, 4, 8)]
    cells = [cell([10 * k**2, 1000 * k**2], classes=k, parameters=k**3) for k in (2, 4, 8)]
    for less, exponent in ((None, 2.0), ([3 * value for value in x], -1.0)):
        part = EmcPart("slope", (slope(cells, x, less),), Region(0.8, 1.2), "exponent", False).test(0.95)
        assert part.honest is not None
        assert part.honest.effect.low == part.honest.effect.high == pytest.approx(exponent)


def test_an_equivalence_takes_both_ends() -> None:
    a, b = cell([100 + i for i in range(8)], labels="random"), cell([100] * 8)
    inside = EmcPart("a over b", (ratio(a, b),), Region(-math.log(1.25), math.log(1.25))).test(0.95).honest
    assert inside is not None
    assert inside.support.value == 2 / 256  # all eight inside both ends
    beyond = EmcPart("a over b", (ratio(a, b, math.log(2)),), Region(-math.log(1.25), math.log(1.25))).test(0.95).honest
    assert beyond is not None
    assert (beyond.support.value, beyond.against.value) == (1, 2 / 256)


def test_independent_sides_are_regrouped_by_hand() -> None:
    a, b = cell([40, 80], data="wine"), cell([10, 20], data="digits")
    found = EmcPart("a over b", (ratio(a, b),), independent=True).test(0.95)
    assert found.method.startswith("all 6 regroupings")
    assert found.honest is not None
    assert found.honest.support.value == 2 / 6
    assert found.honest.effect.value == pytest.approx(4)


def test_replicates_that_one_side_lacks_are_left_out() -> None:
    found = EmcPart("a over b", (ratio(cell([10] * 3, labels="random"), cell([20] * 5)),)).test(0.95)
    assert found.replicates == 3
    seeds = ratio(cell([10] * 3, seed=1), cell([20] * 5))
    assert EmcPart("a over b", (seeds,)).test(0.95).honest is None


def test_an_emc_of_nothing_is_anything_below_one() -> None:
    found = EmcPart("EMC", (Stratum(((1.0, cell([0, 4])),)),)).test(0.95)
    for reading in (found.honest, found.budget):
        assert reading is not None
        assert (reading.effect.low, reading.effect.high) == (0, pytest.approx(2))
