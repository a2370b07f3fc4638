"""The posterior of n50 against known answers: symmetry, brute force, simulated recovery."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emc.stats.psychometric import Posterior, Prior, Trials

NORMAL = NormalDist()
PRIOR = Prior(n_max=10_000)
#: No lapses to speak of, so that P(fit) is symmetric in log n.
SYMMETRIC = Prior(n_max=10_000, lapse_high=1e-9)

SEEN = st.lists(
    st.tuples(st.integers(1, 500), st.integers(0, 4), st.integers(0, 4)).filter(lambda seen: seen[1] + seen[2] > 0),
    max_size=6,
).map(lambda seen: [Trials(n, fits, fits + missed) for n, fits, missed in seen])


def true_fit(n: float, n50: float, slope: float, lapse: float) -> float:
    threshold = n50 * math.exp(slope * NORMAL.inv_cdf(0.5 / (1 - lapse)))
    return (1 - lapse) * NORMAL.cdf(math.log(threshold / n) / slope)


def test_half_of_the_probes_fit_at_n50_whatever_slope_and_lapse() -> None:
    posterior = Posterior.after(PRIOR)
    slopes, lapses = PRIOR.slope_points(), PRIOR.lapse_points()
    assert posterior.means()["lapse"] == pytest.approx(1 / 20, rel=0.2)
    n50 = float(np.exp(posterior.log_sizes[40]))
    inside = posterior._fit_probability(n50)[40]
    np.testing.assert_allclose(inside, 0.5, rtol=1e-12)
    for (i, slope), (j, lapse) in product(enumerate(slopes), enumerate(lapses)):
        expected = true_fit(1.1 * n50, n50, slope, lapse)
        assert posterior._fit_probability(1.1 * n50)[40, i, j] == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_before_the_first_probe_the_posterior_is_the_prior() -> None:
    posterior = Posterior.after(PRIOR)
    low, high = (math.exp(end) for end in PRIOR.ends)
    assert (low, high) == pytest.approx((0.5, 20_000))
    assert posterior.median == pytest.approx(math.sqrt(low * high))
    assert posterior.interval(0.9) == pytest.approx((low * (high / low) ** 0.05, low * (high / low) ** 0.95))
    assert posterior.below(low) == pytest.approx(0, abs=1e-12)
    assert posterior.below(high) == pytest.approx(1)


@settings(deadline=None, derandomize=True, max_examples=12)
@given(SEEN)
def test_the_posterior_agrees_with_the_definition_cell_by_cell(seen: list[Trials]) -> None:
    posterior = Posterior.after(Prior(n_max=500, sizes=7, slopes=3, lapses=2), seen)
    slopes, lapses = posterior.prior.slope_points(), posterior.prior.lapse_points()
    expected = np.zeros(posterior.weights.shape)
    for cell in np.ndindex(expected.shape):
        n50, slope, lapse = math.exp(posterior.log_sizes[cell[0]]), slopes[cell[1]], lapses[cell[2]]
        low, high = 0.4 * (cell[2] / 2) ** 2, 0.4 * ((cell[2] + 1) / 2) ** 2
        # Cells even in log slope, a prior uniform in the slope; the mass of Beta(1, 19) in a cell of the lapse.
        expected[cell] = math.log(slope) + math.log((1 - low) ** 19 - (1 - high) ** 19)
        for trials in seen:
            p = true_fit(trials.n, n50, slope, lapse)
            expected[cell] += trials.fits * math.log(max(p, 1e-300))
            expected[cell] += (trials.trials - trials.fits) * math.log(max(1 - p, 1e-300))
    weights = np.exp(expected - expected.max())
    np.testing.assert_allclose(posterior.weights, weights / weights.sum(), atol=1e-7)


@settings(deadline=None, derandomize=True, max_examples=12)
@given(SEEN, st.randoms(use_true_random=False))
def test_neither_the_order_nor_the_parts_in_which_trials_come_matter(seen: list[Trials], random: object) -> None:
    prior = Prior(n_max=500)
    whole = Posterior.after(prior, seen)
    parts = Posterior.after(prior)
    singles = [Trials(t.n, fit, 1) for t in seen for fit in [1] * int(t.fits) + [0] * int(t.trials - t.fits)]
    random.shuffle(singles)  # type: ignore[attr-defined]
    for trial in singles:
        parts = parts.update([trial])
    # Both grids hold all that is likely, but may be cut to different windows.
    assert parts.median == pytest.approx(whole.median, rel=0.02)
    for mine, other in zip(parts.interval(0.95), whole.interval(0.95), strict=True):
        assert mine == pytest.approx(other, rel=0.04)


def test_the_grid_is_narrowed_without_changing_the_answer() -> None:
    seen = [Trials(n, round(20 * true_fit(n, 600, 0.05, 0.02)), 20) for n in (500, 570, 630, 700)]
    found = Posterior.after(PRIOR, seen)
    fine = Posterior._over(replace(PRIOR, sizes=20_000), tuple(seen), PRIOR.ends)
    assert found.log_sizes[-1] - found.log_sizes[0] < 1
    assert found.median == pytest.approx(fine.median, rel=1e-3)
    assert found.interval(0.95) == pytest.approx(fine.interval(0.95), rel=1e-3)


def test_without_lapses_the_answer_is_symmetric_in_log_n() -> None:
    posterior = Posterior.after(SYMMETRIC, [Trials(100 / 1.2, 5, 6), Trials(100, 3, 6), Trials(120, 1, 6)])
    low, high = posterior.interval(0.95)
    assert posterior.median == pytest.approx(100, rel=1e-3)
    assert low * high == pytest.approx(100**2, rel=1e-3)
    assert posterior.means()["threshold"] == pytest.approx(100, rel=1e-3)
    np.testing.assert_allclose(
        posterior.curve([100 / 1.3, 100, 130]),
        [1 - posterior.curve([130])[0], 0.5, posterior.curve([130])[0]],
        atol=1e-3,
    )


def test_one_probe_at_known_slope_has_the_posterior_of_a_normal_ogive() -> None:
    prior = Prior(n_max=1e4, slope_low=0.2, slope_high=0.2 + 1e-9, lapse_high=1e-9, sizes=4000, slopes=1, lapses=1)
    posterior = Posterior.after(prior, [Trials(100, 1, 1), Trials(150, 0, 1)])
    # P(n50) is proportional to Phi((x - log 100) / s) Phi((log 150 - x) / s): brute force over x.
    x = np.linspace(math.log(10), math.log(1500), 20_001)
    density = np.array([NORMAL.cdf((v - math.log(100)) / 0.2) * NORMAL.cdf((math.log(150) - v) / 0.2) for v in x])
    below = np.cumsum(density) / density.sum()
    for share in (0.025, 0.25, 0.5, 0.975):
        assert posterior.quantile(share) == pytest.approx(math.exp(np.interp(share, below, x)), rel=1e-3)


def test_where_all_fit_or_none_do_the_posterior_leans_to_that_end() -> None:
    prior = Prior(n_max=100)
    all_fit = Posterior.after(prior, [Trials(100, 8, 8)])
    assert all_fit.below(100) < 0.02
    assert all_fit.interval(0.95)[1] > 150
    none_fit = Posterior.after(prior, [Trials(1, 0, 8)])
    assert none_fit.below(1) > 0.98


def test_a_single_failure_far_below_many_fits_is_a_lapse() -> None:
    seen = [Trials(64, 6, 6), Trials(128, 0, 6)]
    clean, lapsed = Posterior.after(PRIOR, seen), Posterior.after(PRIOR, [*seen, Trials(16, 0, 1)])
    assert lapsed.median == pytest.approx(clean.median, rel=0.05)
    assert lapsed.means()["lapse"] > clean.means()["lapse"]


@pytest.mark.parametrize(("slope", "lapse"), [(0.03, 0.0), (0.1, 0.05)])
def test_many_trials_recover_curve_and_parameters(slope: float, lapse: float) -> None:
    sizes = np.geomspace(200, 800, 41)
    seen = [Trials(float(n), 400 * true_fit(float(n), 450, slope, lapse), 400) for n in sizes]
    posterior = Posterior.after(replace(PRIOR, slopes=40, lapses=20), seen)
    assert posterior.median == pytest.approx(450, rel=0.01)
    low, high = posterior.interval(0.95)
    assert low < 450 < high < 1.02 * low
    assert posterior.means()["slope"] == pytest.approx(slope, rel=0.15)
    assert posterior.modes()["slope"] == pytest.approx(slope, rel=0.15)
    assert posterior.means()["lapse"] == pytest.approx(lapse, abs=0.015)
    truth = [true_fit(float(n), 450, slope, lapse) for n in sizes]
    np.testing.assert_allclose(posterior.curve(sizes), truth, atol=0.04)


def test_the_band_holds_the_curve_and_the_intervals_the_means() -> None:
    posterior = Posterior.after(PRIOR, [Trials(80, 6, 6), Trials(100, 4, 6), Trials(130, 0, 6)])
    sizes = [60, 90, 100, 120, 200]
    band, curve = posterior.band(sizes, 0.95), posterior.curve(sizes)
    assert band.shape == (5, 2)
    assert ((band[:, 0] <= curve) & (curve <= band[:, 1])).all()
    assert (np.diff(curve) < 0).all()
    wide = posterior.band(sizes, 0.99)
    assert ((wide[:, 0] <= band[:, 0]) & (band[:, 1] <= wide[:, 1])).all()
    for name, (low, high) in posterior.parameter_intervals(0.95).items():
        assert low < posterior.means()[name] < high


def test_information_is_that_of_the_verdict_about_n50_by_brute_force() -> None:
    posterior = Posterior.after(Prior(n_max=1000, sizes=30, slopes=3, lapses=2), [Trials(90, 2, 2), Trials(140, 0, 2)])

    def entropy(weights: np.ndarray) -> float:
        kept = weights[weights > 0]
        return float(-(kept * np.log(kept)).sum())

    for n, found in zip((60, 100, 120, 300), posterior.information([60, 100, 120, 300]), strict=True):
        fit = posterior._fit_probability(float(n))
        expected = entropy(posterior.marginal)
        for outcome in (fit, 1 - fit):
            joint = (outcome * posterior.weights).sum(axis=(1, 2))
            expected -= joint.sum() * entropy(joint / joint.sum())
        assert found == pytest.approx(expected, abs=1e-9)


def test_information_is_greatest_near_the_median_and_nothing_far_away() -> None:
    posterior = Posterior.after(SYMMETRIC, [Trials(80, 4, 4), Trials(125, 0, 4)])
    sizes = list(range(50, 201))
    information = posterior.information(sizes)
    assert sizes[int(information.argmax())] == pytest.approx(posterior.median, rel=0.02)
    assert (information >= 0).all()
    assert posterior.information([2, 5000]) == pytest.approx([0, 0], abs=1e-3)


def test_a_batch_is_worth_what_its_verdicts_say_together_of_n50() -> None:
    posterior = Posterior.after(Prior(n_max=1000, sizes=40, slopes=1, lapses=1), [Trials(64, 1, 1), Trials(128, 0, 1)])
    sizes = [70, 90, 115]
    designer = posterior.designer(sizes)
    found = designer.information()[1]
    designer.take(1)
    found += designer.information()[2]
    expected = 0.0
    first, second = (posterior._fit_probability(float(n)) for n in sizes[1:])
    for outcome in (first * second, first * (1 - second), (1 - first) * second, (1 - first) * (1 - second)):
        joint = (outcome * posterior.weights).ravel()
        marginal = posterior.weights.ravel()
        kept = joint > 0
        expected += float((joint[kept] * np.log(joint[kept] / marginal[kept] / joint.sum())).sum())
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_batch_is_spread_over_where_n50_may_be() -> None:
    designer = Posterior.after(PRIOR, [Trials(64, 1, 1), Trials(128, 0, 1)]).designer(range(50, 150))
    np.testing.assert_allclose(
        designer.fit_probability(), Posterior.after(PRIOR, [Trials(64, 1, 1), Trials(128, 0, 1)]).curve(range(50, 150))
    )
    chosen = []
    for _ in range(8):
        chosen.append(int(designer.information().argmax()))
        designer.take(chosen[-1])
    assert len(set(chosen)) >= 4
    assert max(chosen) - min(chosen) > 20


def test_many_outcomes_are_bounded_and_stay_probabilities() -> None:
    designer = Posterior.after(PRIOR).designer([10, 100, 1000])
    for candidate in [0, 1, 2] * 5:
        designer.take(candidate)
    assert ((designer.information() >= -1e-12) & (designer.information() < math.log(2))).all()
    assert ((designer.fit_probability() >= 0) & (designer.fit_probability() <= 1 + 1e-12)).all()
