from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from emc.stats.cover import separable
from emc.stats.fitted import MIN_DRAWS, Array, FittedCurve, fit_curve

SIZES = list(range(26, 59, 4))


def fit(fits: Array, undertrained: Array | None = None, sizes: list[int] | None = None) -> FittedCurve | None:
    blank = np.zeros_like(fits)
    return fit_curve(sizes or SIZES, fits, blank + 1, blank if undertrained is None else undertrained, 4000, 0.95)


def cover_draws(draws: int, nested: bool) -> Array:
    """Draws of Cover's curve for 20 dimensions at evenly spaced luck, so that shares are right to one draw."""
    luck = (np.arange(draws) + 0.5) / draws
    probabilities = np.array([separable(n, 20) for n in SIZES])
    columns = [luck if nested else np.random.default_rng(n).permutation(luck) for n in SIZES]
    return np.asarray(np.stack(columns, axis=1) < probabilities, dtype=float)


@pytest.fixture(scope="module")
def fitted() -> dict[bool, FittedCurve]:
    found = {nested: fit(cover_draws(20, nested)) for nested in (True, False)}
    return {nested: curve for nested, curve in found.items() if curve is not None}


def test_n50_of_covers_curve(fitted: dict[bool, FittedCurve]) -> None:
    for curve in fitted.values():
        assert curve.n50 == pytest.approx(42, rel=0.02)
        assert curve.interval is not None
        assert curve.interval[0] < 42 < curve.interval[1]
        assert not curve.censored
        assert curve.n50_if_trained is None


def test_the_fitted_curve_follows_covers(fitted: dict[bool, FittedCurve]) -> None:
    curve = fitted[True]
    truth = np.array([separable(round(n), 20) for n in curve.sizes])
    assert np.abs(np.array(curve.values) - truth).max() < 0.08
    assert all(
        0 <= low <= value <= high <= 1 for low, value, high in zip(curve.low, curve.values, curve.high, strict=True)
    )
    assert (curve.sizes[0], curve.sizes[-1]) == pytest.approx((26, 58))


def test_nested_sizes_widen_the_interval(fitted: dict[bool, FittedCurve]) -> None:
    widths = {nested: math.log(c.interval[1] / c.interval[0]) for nested, c in fitted.items() if c.interval}
    # A draw tells little more with nine nested sizes than with one: about 6.5 / 42 / sqrt(20) in log n.
    assert widths[True] > 1.4 * widths[False]
    assert widths[True] == pytest.approx(2 * 2.09 * 6.5 / 42 / math.sqrt(20), rel=0.35)


def test_a_step_is_found_between_the_sizes_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emc.stats.fitted.RESAMPLES", 3)  # equal draws make equal resamples
    curve = fit(np.repeat([[1.0, 1.0, 0.0, 0.0]], 8, axis=0), sizes=[90, 100, 110, 120])
    assert curve is not None
    assert 100 < curve.n50 < 110
    assert curve.interval is not None
    assert 95 < curve.interval[0] < 102  # the posterior's own interval
    assert 108 < curve.interval[1] < 116


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_shares_on_one_side_of_a_half_tell_no_n50(value: float) -> None:
    assert fit(np.full((10, 9), value)) is None


def test_few_draws_have_no_interval() -> None:
    curve = fit(cover_draws(MIN_DRAWS - 1, True))
    assert curve is not None
    assert (curve.interval, curve.low, curve.high) == (None, (), ())
    assert curve.method == "5 draws give none; raise --draws to 6 or more"


def test_undertrained_failures_bound_n50_from_below() -> None:
    fits = cover_draws(5, True)
    some = np.zeros_like(fits)
    some[2] = 1 - fits[2]
    curve = fit(fits, some)
    assert curve is not None
    assert not curve.censored
    assert curve.n50_if_trained is not None
    assert curve.n50_if_trained > curve.n50 + 1
    many = cover_draws(20, True)
    third = np.zeros_like(many)
    third[::3] = 1 - many[::3]
    beyond = fit(many, third)
    assert beyond is not None
    assert beyond.interval is not None
    assert beyond.n50_if_trained is not None
    assert beyond.censored == (beyond.n50_if_trained > beyond.interval[1])
    assert beyond.censored
    all_of_them = fit(fits, 1 - fits)
    assert all_of_them is not None
    assert all_of_them.censored
    assert all_of_them.n50_if_trained is None


def test_json_round_trip(fitted: dict[bool, FittedCurve]) -> None:
    assert FittedCurve.from_dict(json.loads(json.dumps(asdict(fitted[True])))) == fitted[True]
