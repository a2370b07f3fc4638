"""The power law against exact laws, least squares of another library, and laws of scaling."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from emc.errors import ComparisonError
from emc.results import Replicate, Status
from emc.stats.power_law import PowerLaw, Size, fit_power_law

PARAMETERS = (100, 200, 400, 800)


def sizes_of(
    values: Sequence[Sequence[float]], width: float = 0.0, parameters: Sequence[float] = PARAMETERS
) -> list[Size]:
    """Sizes whose replicates have these EMCs as the lower ends of brackets of a relative width."""
    return [
        Size(p, tuple(Replicate(r, round(v), round(v * (1 + width)), Status.BRACKETED) for r, v in enumerate(row)))
        for p, row in zip(parameters, values, strict=True)
    ]


def noisy(seed: int, replicates: int = 8, exponent: float = 0.8, scale: int = 1000) -> list[list[float]]:
    rng = np.random.default_rng(seed)
    return [[scale * p**exponent * math.exp(0.1 * e) for e in rng.standard_normal(replicates)] for p in PARAMETERS]


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_an_exact_law_is_found(exponent: float, paired: bool) -> None:
    sizes = sizes_of([[3 * p**exponent * 10**9] * 6 for p in PARAMETERS])
    law = fit_power_law(sizes, paired=paired)
    assert law.exponent == pytest.approx(exponent, abs=1e-8)
    assert law.factor == pytest.approx(3e9, rel=1e-7)
    assert law.exponent_interval == pytest.approx((exponent, exponent), abs=1e-8)
    assert law.factor_interval == pytest.approx((3e9, 3e9), rel=1e-7)
    assert law.r_squared == pytest.approx(1)
    assert [r.ratio for r in law.residuals] == pytest.approx([1] * 4)
    assert [r.parameters for r in law.residuals] == list(PARAMETERS)
    assert law.predict(1600)[0] == pytest.approx(3e9 * 1600**exponent, rel=1e-6)
    assert law.bracket_error == 0


def test_the_line_is_that_of_least_squares() -> None:
    values = noisy(0)
    law = fit_power_law(sizes_of(values), paired=True)
    x = np.repeat(np.log(PARAMETERS), 8)
    y = np.log([round(v) for row in values for v in row])
    expected = stats.linregress(x, y)
    assert law.exponent == pytest.approx(expected.slope)
    assert math.log(law.factor) == pytest.approx(expected.intercept)
    assert law.r_squared == pytest.approx(expected.rvalue**2)


def test_a_replicate_stands_at_the_middle_of_its_bracket() -> None:
    wide = [Size(p, tuple(Replicate(r, 4 * p, 9 * p, Status.BRACKETED) for r in range(6))) for p in PARAMETERS]
    law = fit_power_law(wide, paired=True)
    assert law.factor == pytest.approx(6)


def test_brackets_alone_give_the_error_of_uniform_draws() -> None:
    """Replicates that agree: what is left is where in its bracket each size lies."""
    law = fit_power_law(sizes_of([[10**6 * p] * 6 for p in PARAMETERS], width=0.1), paired=True)
    x = np.log(PARAMETERS)
    offs = np.random.default_rng(0).uniform(-0.5, 0.5, (20_000, 4)) * math.log(1.1)
    slopes = np.polyfit(x, offs.T, 1)[0]
    assert law.bracket_error == pytest.approx(slopes.std(), rel=0.02)
    half = stats.t.ppf(0.975, 5) * law.bracket_error
    assert law.exponent_interval == pytest.approx((1 - half, 1 + half), rel=1e-6)
    value, ends = law.predict(math.exp(x.mean()))
    assert ends is not None
    height = stats.t.ppf(0.975, 5) * math.log(1.1) / math.sqrt(12)  # all sizes off by the same share
    assert np.log(ends) == pytest.approx(math.log(value) + np.array([-height, height]), abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100), st.integers(2, 50), st.floats(0.01, 100), st.booleans())
def test_units_do_not_matter(seed: int, times: int, stretch: float, paired: bool) -> None:
    values = [[round(v) for v in row] for row in noisy(seed)]
    law = fit_power_law(sizes_of(values), paired=paired, resamples=200)
    larger = fit_power_law(sizes_of([[times * v for v in row] for row in values]), paired=paired, resamples=200)
    wider = fit_power_law(sizes_of(values, parameters=[p * stretch for p in PARAMETERS]), paired=paired, resamples=200)
    for other, factor in ((larger, law.factor * times), (wider, law.factor * stretch**-law.exponent)):
        assert other.exponent == pytest.approx(law.exponent)
        assert other.exponent_interval == pytest.approx(law.exponent_interval)
        assert other.factor == pytest.approx(factor)
        assert other.r_squared == pytest.approx(law.r_squared)


def test_what_replicates_share_does_not_widen_the_interval_where_they_are_paired() -> None:
    """A replicate whose samples are easy is so at all sizes, which moves no exponent."""
    rng = np.random.default_rng(3)
    shared, own = rng.standard_normal(10), rng.standard_normal((4, 10))
    values = [
        [10**6 * p * math.exp(0.3 * shared[r] + 0.01 * own[i, r]) for r in range(10)] for i, p in enumerate(PARAMETERS)
    ]
    together = fit_power_law(sizes_of(values), paired=True).exponent_interval
    apart = fit_power_law(sizes_of(values), paired=False).exponent_interval
    assert together is not None
    assert apart is not None
    assert together[1] - together[0] < 0.03 < 0.1 < apart[1] - apart[0]


def test_the_interval_is_students_on_the_replicates_exponents() -> None:
    values = noisy(5, replicates=12)
    law = fit_power_law(sizes_of(values), paired=True, resamples=40_000)
    x = np.log(PARAMETERS)
    slopes = [np.polyfit(x, np.log([row[r] for row in values]), 1)[0] for r in range(12)]
    expected = stats.t.interval(0.95, 11, np.mean(slopes), stats.sem(slopes))
    assert law.exponent == pytest.approx(np.mean(slopes), rel=1e-4)
    assert law.exponent_interval == pytest.approx(expected, abs=0.01 * (expected[1] - expected[0]))


def test_replicates_that_are_missing_at_some_sizes_are_resampled_with_the_others() -> None:
    sizes = sizes_of(noisy(1))
    ragged = [*sizes[:3], Size(800, sizes[3].replicates[2:])]
    law = fit_power_law(ragged, paired=True)
    assert law.exponent_interval is not None
    assert law.exponent_interval[0] < law.exponent < law.exponent_interval[1]


def censored(lower: int, number: int = 0) -> Replicate:
    return Replicate(number, lower, None, Status.CENSORED_ABOVE)


UNKNOWN = {
    "at the largest": ([3], "at least"),
    "at the smallest": ([0], "at most"),
    "at both ends": ([0, 3], "unknown"),
}


@pytest.mark.parametrize(("places", "side"), UNKNOWN.values(), ids=list(UNKNOWN))
def test_censored_sizes_are_left_out_and_bound_the_exponent(places: list[int], side: str) -> None:
    parameters = (100, 200, 400, 800, 1600)
    sizes = sizes_of([[50 * p] * 6 for p in parameters], parameters=parameters)
    cut = {0: 0, 3: 4}
    for place in places:
        size = sizes[cut[place]]
        sizes[cut[place]] = Size(size.parameters, (censored(40 * int(size.parameters)), *size.replicates[1:]))
    law = fit_power_law(sizes, paired=True)
    assert [s.parameters for s in law.left_out] == [parameters[cut[place]] for place in places]
    assert law.exponent == pytest.approx(1)
    assert law.bound is not None
    assert law.bound.side == side
    x = np.log(np.repeat(parameters, 6))
    y = np.log([r.lower for s in sizes for r in s.replicates])
    assert law.bound.exponent == pytest.approx(stats.linregress(x, y).slope, rel=1e-6)
    told = dict(law.rows())
    assert told["left out"].startswith(f"sizes with censored replicates: {parameters[cut[places[0]]]:,} (1 of 6)")
    said = f"with them the exponent is {side}" if side != "unknown" else "with them the exponent is not known"
    assert told[""].startswith(said)


def test_a_size_that_fits_nothing_bounds_the_other_way() -> None:
    sizes = sizes_of([[50 * p] * 6 for p in PARAMETERS])
    below = Size(50, tuple(Replicate(r, 0, 16, Status.CENSORED_BELOW) for r in range(6)))
    law = fit_power_law([below, *sizes], paired=True)
    assert law.left_out == (below,)
    assert law.bound is not None
    assert law.bound.side == "at least"


def test_too_few_known_sizes_are_told_with_what_the_others_say() -> None:
    sizes = sizes_of([[50 * p] * 6 for p in PARAMETERS])
    open_ = [
        *sizes[:2],
        *(Size(s.parameters, tuple(censored(r.lower, r.replicate) for r in s.replicates)) for s in sizes[2:]),
    ]
    with pytest.raises(ComparisonError, match=r"got 2 of 4, 2 with censored .* at least 1\.000; measure more sizes"):
        fit_power_law(open_, paired=True)
    with pytest.raises(ComparisonError, match="at least 3 sizes whose replicates are all known, got 2 of 2; measure"):
        fit_power_law(sizes[:2], paired=True)


def test_few_replicates_have_no_interval() -> None:
    law = fit_power_law(sizes_of([[50 * p] * 3 for p in PARAMETERS]), paired=True)
    assert (law.exponent_interval, law.factor_interval, law.predict(100)[1]) == (None, None, None)
    assert "no interval with fewer than 4 replicates" in dict(law.rows())["exponent"]
    assert dict(law.rows())["linear"] == "not decided, for want of an interval"
    assert json.loads(law.to_json())["exponent_interval"] is None


def test_it_prints_what_a_reader_needs() -> None:
    law = fit_power_law(sizes_of(noisy(0)), paired=True)
    told = dict(law.rows())
    assert told["power law"].endswith("over 100 to 800 parameters")
    assert told["linear"] == "no: the exponent is below 1"
    assert told["intervals"].startswith("Student's t with the standard error of a bootstrap of replicates by number")
    assert str(law).splitlines()[1].startswith("exponent")
    assert dict(fit_power_law(sizes_of(noisy(0, exponent=1)), paired=True).rows())["linear"].endswith("not excluded")
    assert "above 1" in dict(fit_power_law(sizes_of(noisy(0, exponent=2)), paired=True).rows())["linear"]


def test_the_same_seed_gives_the_same_interval() -> None:
    sizes = sizes_of(noisy(0))
    laws: list[PowerLaw] = [fit_power_law(sizes, paired=True, seed=seed) for seed in (0, 0, 1)]
    assert laws[0].to_json() == laws[1].to_json()
    assert laws[0].exponent_interval != laws[2].exponent_interval
