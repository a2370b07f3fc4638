from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emc.results import Replicate, Status
from emc.stats.blocks import averaged, ends, sizes_at_budget, weighted
from emc.stats.compare import LogSizes

SIZES = st.lists(st.integers(1, 1000), min_size=4, max_size=4)


def between(low: list[int], high: list[int]) -> LogSizes:
    return LogSizes(np.log(low), np.log(high), np.log(high))


def test_at_a_budget_what_was_fitted_in_it_is_the_value_but_a_pool_stays_open() -> None:
    replicates = [Replicate(0, 100, 105, Status.UNDERTRAINED), Replicate(1, 0, 1, Status.CENSORED_BELOW)]
    found = sizes_at_budget([*replicates, Replicate(2, 50, None, Status.CENSORED_ABOVE)], 60)
    assert np.exp(found.low) == pytest.approx([100, 0, 50])
    assert np.exp(found.high) == pytest.approx([100, 1, 60])
    assert np.exp(found.upper) == pytest.approx([105, 1, 60])


@given(SIZES, SIZES, st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(-2, 2).filter(bool))
def test_every_completion_lies_between_the_extremes(a: list[int], b: list[int], at: list[float], weight: float) -> None:
    first, second = between(a, [2 * n for n in a]), between(b, [3 * n for n in b])
    found = weighted([(weight, first), (-1.0, second)], 0.5)
    share = np.array(at)
    whole = 0.5 + weight * (first.low + share * (first.high - first.low))
    whole -= second.low + share * (second.high - second.low)
    assert (found.low <= whole + 1e-9).all()
    assert (whole <= found.high + 1e-9).all()


def test_a_replicate_is_averaged_over_the_strata_that_have_it() -> None:
    known = [ends(weighted([(1.0, between(n, n))]), keys) for n, keys in (([2, 8], "ab"), ([4, 16], "bc"))]
    assert averaged(known).low == pytest.approx([math.log(2), math.log(math.sqrt(32)), math.log(16)])
    assert len(averaged([]).low) == 0
