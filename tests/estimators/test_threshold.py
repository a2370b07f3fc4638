"""The search by a posterior of n50: known answers, what may not change it, and what it refuses."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import Noisy, Oracle, OracleExecutor, Weigh, memoriser

from emc.engine import Engine
from emc.errors import SpecError, UnknownNameError
from emc.estimators import make_estimator
from emc.estimators.base import Conclusion
from emc.estimators.threshold import Costs, ThresholdSearch
from emc.journal import Journal
from emc.results import Evidence, ProbeResult, Status, Verdict
from emc.search.rules import SEARCHES, ThresholdRule
from emc.sought import Sought
from emc.specs import Measurement, Search

RULE = ThresholdRule(width=1.2, batch=4, max_probes=200)


def make(rule: ThresholdRule = RULE, n_start: int = 16, n_max: int = 2000, **search: Any) -> ThresholdSearch:
    return ThresholdSearch(rule, Search(n_start=n_start, n_max=n_max, **search), 0.95)


def run(search: ThresholdSearch, oracle: Oracle, journal: Journal | None = None, **executor: Any) -> Conclusion:
    engine = Engine(OracleExecutor(oracle, **executor), Journal(None) if journal is None else journal)
    engine.run([Sought("base", search)])
    return search.conclude()


def probe(n: int, verdict: Verdict, sample_steps: int) -> ProbeResult:
    return ProbeResult(f"{n}", n, 0, 0, verdict, sample_steps=sample_steps)


@pytest.mark.parametrize("k", [1, 3, 15, 16, 17, 100])
def test_a_model_that_memorises_k_samples_has_an_emc_of_k(k: int) -> None:
    search = make(replace(RULE, width=1.001))
    found = run(search, memoriser(k))
    assert (found.emc, found.status, found.censored) == (k, Status.RESOLVED, False)
    assert found.interval is not None
    assert found.interval[1] - found.interval[0] <= 1
    assert k - 0.2 < found.interval[0] < found.interval[1] < k + 1.2


def test_an_interval_of_the_width_asked_for_holds_n50() -> None:
    oracle = Noisy(seed=2, centre=450, width=0.1)
    for width in (1.4, 1.2, 1.1):
        found = run(make(replace(RULE, width=width)), oracle)
        assert found.interval is not None
        low, high = found.interval
        assert low < 450 < high <= width * low
        assert (found.lower, found.upper) == (math.floor(low), math.ceil(high))
        assert low < found.emc < high
        assert found.interval_method == f"posterior of n50 after {len(found.probes)} probes"
    posterior = found.detail["posterior"]
    assert posterior["slope"]["interval"][0] < 0.1 < posterior["slope"]["interval"][1]
    assert posterior["n50"]["median"] == pytest.approx(found.emc, rel=0.01)
    assert "log-uniform" in posterior["prior"]["n50"]


def test_every_probe_is_a_fresh_replicate() -> None:
    found = run(make(), Noisy(seed=2, centre=300, width=0.2))
    assert [result.replicate for result in found.probes] == list(range(len(found.probes)))
    assert found.replicates == ()
    sizes = [result.n for result in found.probes]
    assert sizes[:5] == [16, 32, 64, 128, 256]
    assert len(sizes) > len(set(sizes)) > 8


@settings(max_examples=6)
@given(st.integers(0, 99), st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 0.4]))
def test_the_order_of_verdicts_changes_nothing(seed: int, order: int, diverges: float) -> None:
    oracle = Noisy(seed=seed, centre=200, width=0.1, diverges=diverges)
    assert run(make(), oracle, order=order) == run(make(), oracle)


@settings(max_examples=5)
@given(st.integers(0, 99), st.lists(st.integers(0, 12), min_size=1, max_size=3))
def test_an_interrupted_search_resumes_to_the_same_end(seed: int, stops: list[int]) -> None:
    oracle = Noisy(seed=seed, centre=200, width=0.1)
    expected = run(make(), oracle)
    with tempfile.TemporaryDirectory() as folder:
        for part, stop in enumerate([*stops, None]):
            with Journal(Path(folder) / "journal.jsonl") as journal:
                found = run(make(), oracle, journal, order=part, stop_after=stop)
            if found.status is not Status.INTERRUPTED:
                break
            assert found.censored
            assert found.emc <= expected.emc
            assert found.interval is None
        assert found == expected


def test_an_interruption_before_the_first_verdict_knows_nothing() -> None:
    found = run(make(), memoriser(50), stop_after=0)
    assert (found.emc, found.status, found.probes, found.interval) == (0, Status.INTERRUPTED, (), None)


def test_a_pool_that_is_always_fitted_is_a_lower_bound() -> None:
    search = make(n_max=100)
    assert search.bounds() == (0, None)
    found = run(search, memoriser(1000))
    assert (found.emc, found.censored, found.status) == (100, True, Status.CENSORED_ABOVE)
    assert (found.upper, found.interval) == (None, None)
    assert len(found.probes) < 20


def test_a_pool_that_is_never_fitted_has_an_emc_below_one() -> None:
    found = run(make(n_max=100), memoriser(0))
    assert (found.emc, found.censored, found.status) == (0, False, Status.CENSORED_BELOW)
    assert min(result.n for result in found.probes) == 1


def test_n50_near_the_largest_size_still_ends() -> None:
    for seed in range(3):
        found = run(make(n_max=200), Noisy(seed=seed, centre=200, width=0.05))
        assert found.status in (Status.RESOLVED, Status.CENSORED_ABOVE)
        assert 170 <= found.emc <= 200
        assert max(result.n for result in found.probes) <= 200


def test_one_unlucky_first_probe_does_not_decide() -> None:
    unlucky: Oracle = lambda n, r, a: Verdict.NOT_FITTED if r == 0 else memoriser(700)(n, r, a)  # noqa: E731
    found = run(make(), unlucky)
    assert found.status is Status.RESOLVED
    assert found.emc == pytest.approx(700, rel=0.1)


def test_diverged_probes_are_no_evidence_and_are_asked_anew() -> None:
    found = run(make(), Noisy(seed=3, centre=300, width=0.05, diverges=0.3))
    assert found.status is Status.RESOLVED
    assert found.emc == pytest.approx(300, rel=0.1)
    assert any(result.verdict is Verdict.DIVERGED for result in found.probes)


@pytest.mark.parametrize("retries", [0, 2])
def test_where_everything_diverges_the_search_ends(retries: int) -> None:
    diverges: Oracle = lambda n, _r, _a: Verdict.DIVERGED if n > 64 else Verdict.FITTED  # noqa: E731
    found = run(make(retries=retries), diverges)
    assert (found.status, found.censored, found.interval) == (Status.DIVERGED, True, None)
    assert [result.n for result in found.probes] == [16, 32, 64] + [128] * (1 + retries)
    assert found.emc <= 128


def test_failures_for_lack_of_training_leave_a_lower_bound() -> None:
    found = run(make(), memoriser(100), weigh=lambda _n, _r, _a: Evidence.BUDGET)
    assert (found.status, found.censored, found.interval) == (Status.UNDERTRAINED, True, None)
    assert found.emc == pytest.approx(100, rel=0.2)


def test_a_lack_of_training_far_above_n50_does_not_matter() -> None:
    weigh: Weigh = lambda n, _r, _a: Evidence.SADDLE if n > 125 else Evidence.MINIMUM  # noqa: E731
    found = run(make(), memoriser(100), weigh=weigh)
    assert (found.status, found.censored) == (Status.RESOLVED, False)
    assert any(result.evidence is Evidence.SADDLE for result in found.probes)


def test_the_probes_allowed_are_never_exceeded() -> None:
    found = run(make(ThresholdRule(width=1.01, batch=8, max_probes=21)), Noisy(seed=0, centre=300, width=0.2))
    assert (found.status, found.censored, len(found.probes)) == (Status.UNRESOLVED, False, 21)
    assert found.interval is not None
    assert found.interval[1] > 1.01 * found.interval[0]
    few = run(make(ThresholdRule(width=1.01, batch=8, max_probes=2)), memoriser(500))
    assert (few.status, few.censored, few.interval) == (Status.UNRESOLVED, True, None)
    assert few.emc < 500
    assert "upper end is open" in few.interval_method


def test_a_batch_waits_for_all_its_verdicts() -> None:
    search = make()
    while len(batch := search.ask()) == 1:
        search.tell(batch[0], probe(batch[0].n, memoriser(100)(batch[0].n, 0, 0), 10))
    assert len(batch) == len(set(batch)) == 4
    for told, ask in enumerate(reversed(batch), 1):
        search.tell(ask, probe(ask.n, memoriser(100)(ask.n, 0, 0), 10))
        if told < 4:
            assert search.ask() == batch[:-told]
    assert not set(search.ask()) & set(batch)


def test_costs_are_a_mean_failure_and_a_rising_line_of_fits() -> None:
    fits = [probe(n, Verdict.FITTED, n**2) for n in (10, 20, 40)]
    failures = [probe(80, Verdict.NOT_FITTED, 4000), probe(90, Verdict.NOT_FITTED, 6000)]
    costs = Costs.of([*fits, *failures])
    expected = costs.expected([30, 30, 30, 1000], np.array([1.0, 0.0, 0.5, 1.0]))
    np.testing.assert_allclose(expected, [900, 5000, 2950, 5000])
    falling = Costs.of([probe(10, Verdict.FITTED, 400), probe(20, Verdict.FITTED, 100)])
    np.testing.assert_allclose(falling.expected([5, 50], np.array([1.0, 1.0])), 200)
    only_failures = Costs.of(failures)
    np.testing.assert_allclose(only_failures.expected([5, 50], np.array([0.3, 1.0])), 5000)


def test_cheap_fits_draw_the_probes_to_smaller_sizes() -> None:
    def first_batch(fit_cost: int) -> list[int]:
        search = make(replace(RULE, batch=8))
        while len(batch := search.ask()) == 1:
            verdict = memoriser(300)(batch[0].n, 0, 0)
            search.tell(batch[0], probe(batch[0].n, verdict, fit_cost if verdict is Verdict.FITTED else 10_000))
        return [ask.n for ask in batch]

    assert np.mean(first_batch(100)) < 0.95 * np.mean(first_batch(10_000))


def test_the_dearest_run_asks_all_it_may() -> None:
    (path,) = make(n_start=20, n_max=100).worst_paths()
    assert path[:4] == [20, 40, 80, 100]
    assert len(path) == RULE.max_probes
    assert make(ThresholdRule(1.1, 8, 2), n_start=20, n_max=100).worst_paths() == [[20, 40]]


def test_the_search_is_named_by_the_setting() -> None:
    measurement = Measurement.from_flat({"search": "threshold:width=1.3", "n_start": 16, "n_max": 100})
    SEARCHES.build(measurement.search.search).check(measurement)
    estimator = make_estimator(measurement)
    assert isinstance(estimator, ThresholdSearch)
    assert list(estimator.searches) == [estimator]
    assert measurement.search.estimand == "n50"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"growth": "linear"}, "grows by a factor, got --growth linear:step=16; leave it out"),
        ({"attempts": 2}, "takes no --attempts, .* got 2; leave it out, or use --search bisection"),
        ({"verify": 1}, "takes no --verify, .* got 1"),
        ({"tolerance": 0.01}, "takes no --tolerance, .* got 0.01"),
        ({"sections": 3}, "takes no --sections, .* got 3"),
        ({"replicates": 10}, "takes no --replicates, .* got 10"),
    ],
    ids=str,
)
def test_what_only_bisection_takes_is_refused(given: dict[str, Any], message: str) -> None:
    measurement = Measurement.from_flat({"search": "threshold", **given})
    with pytest.raises(SpecError, match=message):
        SEARCHES.build("threshold").check(measurement)
    SEARCHES.build("bisection").check(measurement)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("threshold:width=1", "width between 1.001 and 4, got 1.0"),
        ("threshold:width=5", "width between 1.001 and 4, got 5.0"),
        ("threshold:batch=0", "batch between 1 and 100,000, got 0"),
        ("threshold:max_probes=0", "max_probes between 1 and 100,000, got 0"),
        ("threshold:width=wide", 'takes width as float, got "wide"'),
    ],
)
def test_options_out_of_range_are_refused(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SEARCHES.build(spec)


def test_an_unknown_search_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match='no search "treshold"; did you mean "threshold"'):
        SEARCHES.resolve("treshold")
