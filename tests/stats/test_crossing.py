"""Crossings of known curves, and intervals from known draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emc.stats.crossing import crossing, crossing_interval

SIZES = [100, 110, 121]


def test_a_dip_is_made_monotone_first() -> None:
    """0.2, 0.0 become 0.1 each, so the level is left from the second on, whatever the order of the two."""
    x = np.array([0.0, 1.0, 2.0])
    assert crossing(x, np.array([0.2, 0.0, 0.3]), 0.2) == pytest.approx(1.5)
    assert crossing(x, np.array([0.1, 0.1, 0.1]), 0.1) == math.inf
    assert crossing(x, np.array([0.2, 0.3, 0.4]), 0.1) == -math.inf


def test_draws_that_agree_leave_half_the_bracket_on_either_side() -> None:
    found = crossing_interval(SIZES, np.tile([0.0, 0.1, 0.2], (6, 1)), 0.1, (110, 121), 0.95)
    assert found.ends == pytest.approx((110 / math.sqrt(1.1), 110 * math.sqrt(1.1)))
    assert found.method == "bootstrap of 6 replicates on the isotonic mean curve, widened by the bracket"


def test_it_is_deterministic_and_wider_for_fewer_draws() -> None:
    shifts = np.linspace(-0.03, 0.03, 12)[:, None]
    draws = np.array([0.0, 0.1, 0.2]) + shifts
    twelve = crossing_interval(SIZES, draws, 0.1, (110, 111), 0.95).ends
    six = crossing_interval(SIZES, draws[::2], 0.1, (110, 111), 0.95).ends
    assert twelve is not None
    assert six is not None
    assert twelve == crossing_interval(SIZES, draws, 0.1, (110, 111), 0.95).ends
    assert six[1] - six[0] > 1.2 * (twelve[1] - twelve[0])


def test_no_interval_where_few_draws_or_open_ends() -> None:
    values = np.tile([0.0, 0.1, 0.2], (4, 1))
    assert crossing_interval(SIZES, values, 0.1, (100, 110), 0.95).ends is None
    assert "fewer than 5 replicates" in crossing_interval(SIZES, values, 0.1, (100, 110), 0.95).method
    draws = np.array([[0.0, 0.0, 0.3], [0.0, 0.0, 0.0]] * 3)
    assert "leave an end open" in crossing_interval(SIZES, draws, 0.1, (110, 121), 0.95).method
