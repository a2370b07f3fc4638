"""Trainings that are functions: known answers, copies, and whatever a user's function may do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import emc
from emc.errors import TrainingError
from emc.results import EmcResult, Evidence

Predict = Callable[[Any], Any]


def memorising(k: int) -> Any:
    """A look-up table of the first k samples."""

    def fit(X: npt.NDArray[Any], y: npt.NDArray[Any], _seed: int, _budget: int) -> Predict:
        known = {x.tobytes(): c for x, c in zip(X[:k], y[:k], strict=True)}
        return lambda Z: np.array([known.get(z.tobytes(), -1) for z in Z])

    return fit


def measure(train: Any, **settings: Any) -> EmcResult:
    small = {"labels": "random", "replicates": 2, "tolerance": 0.0}
    return emc.measure(train=train, **small | settings)


@pytest.mark.parametrize("k", [1, 2, 15, 16, 17, 100])
def test_a_table_of_k_samples_has_an_emc_of_k(k: int) -> None:
    found = measure(memorising(k))
    assert [replicate.emc for replicate in found.replicates] == [k, k]
    assert (found.emc, found.status.key, found.deciding_evidence) == (k, "bracketed", {"own_stop": 2})
    assert (found.parameters, found.emc_per_parameter, found.bits_per_parameter) == (None, None, None)
    failed = [probe for probe in found.probes if probe.evidence is not None]
    assert all(probe.correct == k and probe.evidence is Evidence.OWN_STOP for probe in failed)


def test_what_fits_everything_is_censored_and_what_fits_nothing_is_so_below() -> None:
    X, y = np.arange(40.0)[:, None], np.arange(40) % 2
    assert measure(memorising(40), data=(X, y)).status.key == "censored_above"
    assert measure(memorising(0), data=(X, y)).status.key == "censored_below"


def test_conflicting_repeats_are_infeasible_without_any_training() -> None:
    X, y = np.zeros((40, 2)), np.arange(40) % 2
    sizes: list[int] = []

    def fit(X: Any, y: Any, _seed: int, _budget: int) -> Predict:
        sizes.append(len(X))
        return lambda Z: np.repeat(y[:1], len(Z))

    found = measure(fit, data=(X, y), labels="semantic", duplicates="keep")
    assert found.deciding_evidence == {"infeasible": 2}
    assert max(sizes) == max(replicate.emc for replicate in found.replicates)


def test_what_a_function_is_given() -> None:
    seen: list[tuple[Any, ...]] = []

    def fit(X: Any, y: Any, seed: int, budget: int) -> Predict:
        seen.append((X.shape, X.dtype, y.shape, y.dtype, budget))
        assert 0 <= seed < 2**31
        X[:], y[:] = 0, 0  # its own copies
        return lambda Z: Z.reshape(len(Z), -1)[:, :1] * 0 + np.eye(10)[0]

    found = measure(fit, n_max=32, n_start=32, min_steps=7, max_epochs=2, batch_size=8, replicates=1)
    assert seen[0] == ((32, 1, 8, 8), np.float32, (32,), np.int64, 8)
    assert found.emc < 16  # class 0 alone is said: the changed labels were not those that count


def test_seeds_differ_between_probes_and_stay_between_runs() -> None:
    def seeds() -> dict[tuple[int, int], int]:
        found: dict[tuple[int, int], int] = {}

        def fit(X: Any, y: Any, seed: int, _budget: int) -> Predict:
            found[len(X), int(y.sum())] = seed
            return lambda Z: y[: len(Z)]

        measure(fit, n_max=64)
        return found

    first = seeds()
    assert first == seeds()
    assert len(set(first.values())) == len(first) > 2


def test_the_test_split_is_predicted_too() -> None:
    found = measure(memorising(30), labels="semantic", test_split=0.25)
    assert found.test_accuracy == (0.0, 0.0)


def test_a_mean_error_is_asked_of_it_too() -> None:
    found = measure(memorising(30), criterion="error<=0.25")
    assert (found.lower, found.upper) == (40, 41)


def raising(*_: Any) -> Predict:
    raise ValueError("no\nsuch thing")


def leaving(*_: Any) -> Predict:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (raising, r"^training raising must end without errors, got ValueError: no such thing; mend it"),
        (leaving, r"^training leaving must end without errors, got SystemExit: 3; mend it"),
        (lambda *_: None, r"must return a function predict\(X\), got NoneType; mend it"),
        (lambda *_: raising, r"^predict of training .* must end without errors, got ValueError: no such thing"),
        (lambda *_: lambda Z: Z[:2], r"^predict of training .* must give whole class numbers of shape \(16,\)"),
        (lambda *_: lambda Z: np.zeros(len(Z)), r"got float64 of shape \(16,\); mend it"),
    ],
)
def test_mistakes_are_told_in_a_sentence(train: Any, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        measure(train)
