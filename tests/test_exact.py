"""Whole measurements against exact theory: Cover's theorem, linear programs, conflicting duplicates, wide nets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linprog

import emc
from emc.api import Prepared, prepare
from emc.executors.inline import InlineExecutor
from emc.results import EmcResult, Evidence, ProbeResult, Status, Verdict
from emc.specs import Execution, Measurement, Probe

DIM = 6
NUM_WEIGHTS = DIM + 1
REPLICATES = 12

#: A linear model has no minima to fall into, so that large steps and frequent counts only save time.
FAST = {"optimizer": "adam:lr=0.1", "check_steps": 20, "stall_share": 0.01}
LINEAR = {"model": "linear", "data": f"gaussian:dim={DIM},size=400", "labels": "random", "classes": 2} | FAST


def is_separable(X: np.ndarray, y: np.ndarray) -> bool:
    """Whether some w, b has y_i (w . x_i + b) >= 1 for all i, y_i = +-1."""
    signed = np.hstack([X, np.ones((len(X), 1))]) * np.where(y == 1, 1.0, -1.0)[:, None]
    solved = linprog(np.zeros(signed.shape[1]), A_ub=-signed, b_ub=-np.ones(len(X)), bounds=(None, None))
    assert solved.status in (0, 2), "feasible or infeasible"
    return bool(solved.status == 0)


def samples(prepared: Prepared, n: int, replicate: int) -> tuple[np.ndarray, np.ndarray]:
    X, y = prepared.setup.samples(Probe(prepared.base, n, replicate)).first(n)
    return X.double().numpy(), y.numpy()


def largest_separable_prefix(prepared: Prepared, replicate: int) -> int:
    n = 1
    while is_separable(*samples(prepared, n + 1, replicate)):
        n += 1
    return n


def train(prepared: Prepared, probes: Iterable[Probe]) -> list[ProbeResult]:
    executor = InlineExecutor(prepared.setup, prepared.execution)
    wanted = list(probes)
    for probe in wanted:
        executor.add(probe)
    found: dict[str, ProbeResult] = {}
    while len(found) < len(wanted):
        found |= {result.key: result for result in executor.advance()}
    return [found[probe.key] for probe in wanted]


def make(**settings: Any) -> Prepared:
    return prepare(Measurement.from_flat(settings), execution=Execution(stack=512, threads=1))


@pytest.fixture(scope="module")
def linear() -> tuple[EmcResult, list[int]]:
    """The linear model's measurement, and each replicate's largest separable prefix."""
    prepared = make(**LINEAR, replicates=REPLICATES, tolerance=0)
    return prepared.run(), [largest_separable_prefix(prepared, replicate) for replicate in range(REPLICATES)]


def test_a_linear_models_emc_is_the_largest_separable_prefix(linear: tuple[EmcResult, list[int]]) -> None:
    result, truths = linear
    pairs = list(zip(result.replicates, truths, strict=True))
    for replicate, truth in pairs:
        if replicate.emc != truth:
            assert replicate.status is Status.UNDERTRAINED
            assert replicate.emc < truth
    assert sum(replicate.emc == truth for replicate, truth in pairs) >= REPLICATES - 1


def test_no_proof_of_impossibility_contradicts_the_truth(linear: tuple[EmcResult, list[int]]) -> None:
    result, truths = linear
    for probe in result.probes:
        possible = probe.n <= truths[probe.replicate]
        if probe.verdict is Verdict.FITTED:
            assert possible
        else:
            assert possible == (probe.evidence is Evidence.BUDGET)
            assert possible != (probe.evidence is Evidence.INFEASIBLE)


def test_a_linear_models_emc_follows_covers_theorem(linear: tuple[EmcResult, list[int]]) -> None:
    result, _ = linear
    # By Cover's theorem P(n is separable) = P(Binomial(n - 1, 1/2) < d + 1), so that the largest separable prefix is
    # the toss that brings head d + 1: half of them at 2 (d + 1), with variance 2 (d + 1).
    assert stats.binom.cdf(NUM_WEIGHTS - 1, 2 * NUM_WEIGHTS - 1, 0.5) == pytest.approx(0.5)
    standard_error = math.sqrt(math.pi / 2 * 2 * NUM_WEIGHTS / REPLICATES)
    assert abs(result.emc - 2 * NUM_WEIGHTS) <= 3 * standard_error
    assert result.interval is not None
    assert result.interval[0] <= 2 * NUM_WEIGHTS <= result.interval[1]
    assert result.parameters == 2 * NUM_WEIGHTS
    assert result.bits_per_parameter == result.emc / result.parameters


def test_verdicts_of_a_linear_model_agree_with_the_linear_program() -> None:
    prepared = make(**LINEAR, seed=1)
    sizes = range(2 * NUM_WEIGHTS - 4, 2 * NUM_WEIGHTS + 5, 2)
    probes = [Probe(prepared.base, n, 1000 + 12 * i + j) for i, n in enumerate(sizes) for j in range(12)]
    results = train(prepared, probes)
    truths = [is_separable(*samples(prepared, probe.n, probe.replicate)) for probe in probes]
    assert 15 < sum(truths) < 45, "both kinds are there"
    agreed = sum((result.verdict is Verdict.FITTED) == truth for result, truth in zip(results, truths, strict=True))
    assert agreed >= 0.98 * len(probes)
    for result, truth in zip(results, truths, strict=True):
        if truth:
            assert result.evidence in (None, Evidence.BUDGET)
        else:
            assert result.evidence is Evidence.INFEASIBLE


def _pool_with_a_conflict() -> tuple[np.ndarray, np.ndarray]:
    """Thirty points in so many dimensions that any labels can be fitted, but for one repeated with another label."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 40)), rng.integers(0, 2, 30)
    return np.vstack([X, X[:1]]), np.append(y, 1 - y[0])


def _conflict_enters(X: np.ndarray) -> int:
    """Size at which a row is there for the second time."""
    return next(n for n in range(2, len(X) + 1) if len(np.unique(X[:n], axis=0)) < n)


@pytest.mark.parametrize("model", ["linear", "mlp:width=64"])
def test_conflicting_duplicates_are_infeasible_exactly_from_where_they_enter(model: str) -> None:
    settings = {"model": model, "duplicates": "keep", "replicates": 4, "tolerance": 0, "n_start": 2} | FAST
    measurement = Measurement.from_flat(settings)
    prepared = prepare(measurement, dataset=_pool_with_a_conflict(), execution=Execution(threads=1))
    assert (prepared.dataset.facts.repeats, prepared.dataset.facts.conflicts) == (1, 1)
    enters = [_conflict_enters(samples(prepared, 31, replicate)[0]) for replicate in range(4)]
    assert len(set(enters)) > 1
    result = prepared.run()
    for replicate, enter in zip(result.replicates, enters, strict=True):
        assert (replicate.lower, replicate.upper, replicate.status) == (enter - 1, enter, Status.BRACKETED)
    assert result.deciding_evidence == {"infeasible": 4}
    sizes = [Probe(prepared.base, n, 0) for n in range(1, 32)]
    assert [probe.evidence for probe in train(prepared, sizes)] == (
        [None] * (enters[0] - 1) + [Evidence.INFEASIBLE] * (32 - enters[0])
    )


def test_without_the_repeated_row_everything_is_fitted() -> None:
    result = emc.measure(model="linear", data=_pool_with_a_conflict(), replicates=2, threads=1, **FAST)
    assert (result.dataset["repeats"], result.dataset["conflicts"], result.dataset["rows"]) == (1, 1, 30)
    assert (result.emc, result.status) == (30, Status.CENSORED_ABOVE)


def test_a_net_with_more_units_than_samples_fits_everything() -> None:
    result = emc.measure(
        model="mlp:width=256", data="gaussian:dim=20,size=128", labels="random", classes=10, replicates=2, threads=1
    )
    assert (result.emc, result.censored, result.upper) == (128, True, None)
    assert {replicate.status for replicate in result.replicates} == {Status.CENSORED_ABOVE}
    assert {probe.verdict for probe in result.probes} == {Verdict.FITTED}
    assert result.interval is None
    assert str(result).startswith("EMC                 >= 128\n")


SOLVED = {"optimizer": "lstsq", "loss": "squared", "criterion": "loss<=1e-8", "tolerance": 0, "replicates": 3}


@pytest.mark.parametrize("data", ["gaussian:dim=20,size=200", "digits"])
@pytest.mark.parametrize("dim", [5, 20])
def test_random_features_interpolate_exactly_their_number(dim: int, data: str) -> None:
    result = emc.measure(model=f"random_features:dim={dim}", data=data, labels="random", **SOLVED)
    assert [r.emc for r in result.replicates] == [dim] * 3
    assert result.deciding_evidence == {"infeasible": 3}


def test_least_squares_with_a_bias_interpolates_one_sample_more_than_dimensions() -> None:
    result = emc.measure(model="linear", data="gaussian:dim=12,size=100", labels="random", **SOLVED)
    assert [(r.emc, r.upper) for r in result.replicates] == [(13, 14)] * 3


def test_mean_error_of_repeated_inputs_with_other_labels() -> None:
    """Each input stands three times, once with another label, so that all of them have an error of exactly 1/3."""
    X = np.random.default_rng(0).standard_normal((10, 40))
    data = (np.concatenate([X, X, X]), np.repeat([0, 0, 1], 10))
    settings = {"model": "linear", "duplicates": "keep", "optimizer": "lstsq", "loss": "squared", "replicates": 3}
    passed = emc.measure(data=data, criterion=f"error<={1 / 3}", **settings)
    failed = emc.measure(data=data, criterion="error<=0.33", **settings)
    assert (passed.emc, passed.status) == (30, Status.CENSORED_ABOVE)
    assert passed.detail["curve"][-1]["errors"] == [1 / 3] * 3
    assert failed.emc < 30
