"""Largest eigenvalue and trace against dense Hessians, a Gram matrix and matrices with known spectra."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from hessians import dense_hessian, problem
from scipy.sparse.linalg import aslinearoperator
from torch import Tensor, nn

from emc.api import Prepared
from emc.errors import SpecError, TrainingError
from emc.executors.base import Executor
from emc.results import ProbeFailure, ProbeResult, Verdict
from emc.specs import Measurement, Probe, Procedure
from emc.training import flatness as module_under_test
from emc.training.compiled import CompiledTrainer
from emc.training.direct import DirectTrainer
from emc.training.flatness import flatness
from emc.training.lockstep import LockstepTrainer
from emc.training.losses import CROSS_ENTROPY, Loss, loss_of
from emc.training.setup import Setup
from emc.training.single import SingleTrainer

MakePrepared = Callable[..., Prepared]
Train = Callable[[Executor, Sequence[Probe]], list[ProbeResult]]
TRAINERS: dict[str, Callable[[Setup], Executor]] = {
    "single": SingleTrainer,
    "lockstep": lambda setup: LockstepTrainer(setup, 4),
    "compiled": lambda setup: CompiledTrainer(setup, 1, 4),
}


@pytest.mark.parametrize("loss", [CROSS_ENTROPY, Loss("squared"), Loss(smoothing=0.3)], ids=str)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_agrees_with_the_dense_hessian(activation: type[nn.Module], loss: Loss) -> None:
    module, X, y = problem(activation, 0)
    dense = dense_hessian(module, X, y, loss)
    found = flatness(module, X, y, loss)
    assert found.largest == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-9)
    assert found.trace == pytest.approx(float(dense.trace()), rel=1e-9)
    assert (found.trace_error, found.products) == (0.0, len(dense))
    assert found.loss == pytest.approx(loss_of(loss, module(X), y).item(), rel=1e-5)


@pytest.mark.parametrize("loss", [CROSS_ENTROPY, Loss("squared")], ids=str)
def test_iterations_agree_with_the_dense_hessian(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    module, X, y = problem(nn.Tanh, 1, width=40)
    dense = dense_hessian(module, X, y, loss)
    monkeypatch.setattr(module_under_test, "DENSE", 10)
    found = flatness(module, X, y, loss)
    assert found.largest == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-6)
    assert found.trace_error is not None
    assert 0 < found.trace_error < 0.05
    assert found.trace == pytest.approx(float(dense.trace()), rel=4 * found.trace_error)
    assert found == flatness(module, X, y, loss)  # no randomness of its own


def test_the_squared_loss_of_a_linear_model_has_the_hessian_of_its_gram_matrix() -> None:
    """Mean over samples of |W x + b - t|^2 has Hessian 2/n A'A for each of the K outputs, A the inputs with a one."""
    torch.manual_seed(0)
    module, X, y = nn.Linear(6, 3), torch.randn(40, 6), torch.randint(3, (40,))
    A = torch.cat([X, torch.ones(40, 1)], 1).double().numpy()
    gram = 2 / 40 * A.T @ A
    found = flatness(module, X, y, Loss("squared"))
    assert found.largest == pytest.approx(np.linalg.eigvalsh(gram)[-1], rel=1e-10)
    assert found.trace == pytest.approx(3 * np.trace(gram), rel=1e-10)


def test_the_trace_of_a_known_spectrum_lies_within_its_stated_error() -> None:
    """Hutch++ on matrices with slowly falling eigenvalues: standard errors are as wide as the errors are."""
    size, off = 300, []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        vectors, _ = np.linalg.qr(rng.standard_normal((size, size)))
        values = np.sort(rng.standard_normal(size)) + 0.2
        product = module_under_test._Counted(aslinearoperator(vectors * values @ vectors.T), 10)
        trace, error = module_under_test._trace(product, rng)
        assert error is not None
        off.append((trace - values.sum()) / abs(error * trace))
    assert max(map(abs, off)) < 3.5
    assert 0.5 < np.std(off) < 1.6


def test_a_start_that_spans_too_little_leads_to_the_same_bits_again() -> None:
    """From an eigenvector Lanczos has nowhere to go and draws another vector."""
    product = module_under_test._Counted(aslinearoperator(np.diag(np.arange(100.0))), 10)
    assert len({module_under_test._largest(product, np.eye(100)[3]) for _ in range(3)}) == 1


def test_the_largest_is_not_that_of_largest_magnitude() -> None:
    matrix = np.diag(np.concatenate([[-50.0], np.linspace(-1, 3, 99)]))
    product = module_under_test._Counted(aslinearoperator(matrix), 10)
    assert module_under_test._largest(product, np.ones(100)) == pytest.approx(3.0)


def test_lanczos_without_an_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.diag(1 - np.geomspace(1e-9, 1, 400))
    monkeypatch.setattr(module_under_test, "RESTARTS", 1)
    monkeypatch.setattr(module_under_test, "TOLERANCE", 1e-14)
    assert module_under_test._largest(module_under_test._Counted(aslinearoperator(matrix), 10), np.ones(400)) is None


def test_products_side_by_side_are_those_one_at_a_time() -> None:
    matrix = np.arange(144.0).reshape(12, 12)
    wide, narrow = (module_under_test._Counted(aslinearoperator(matrix), rows) for rows in (10, 10**6))
    assert np.array_equal(wide(np.eye(12)), matrix)
    assert np.array_equal(narrow(np.eye(12)), matrix)
    assert (wide.count, narrow.count) == (12, 12)


@pytest.mark.parametrize("trainer", TRAINERS)
@pytest.mark.parametrize("n", [6, 150])  # fitted, and not
def test_the_verdict_is_the_same_with_and_without(
    make_prepared: MakePrepared, train: Train, trainer: str, n: int
) -> None:
    plain, flat = (
        make_prepared(flatness=on, optimizer="adam:lr=0.03", activation="tanh").setup for on in (False, True)
    )
    (before,), (after,) = (train(TRAINERS[trainer](setup), [Probe("base", n, 0)]) for setup in (plain, flat))
    assert (before.verdict is Verdict.FITTED) == (n == 6)
    detail = dict(after.detail)
    recorded = detail.pop("flatness")
    assert replace(after, detail=detail) == before
    assert recorded["largest"] > 0
    assert recorded["loss"] == pytest.approx(before.loss, rel=1e-4)


def test_trainers_agree(make_prepared: MakePrepared, train: Train) -> None:
    setup = make_prepared(flatness=True, batch_size=64).setup
    found = [train(make(setup), [Probe("base", 6, 0)])[0].detail["flatness"] for make in TRAINERS.values()]
    assert found[0] == pytest.approx(found[1], rel=1e-2)
    assert found[0] == pytest.approx(found[2], rel=1e-2)


def test_a_direct_solution_has_its_flatness_too(make_prepared: MakePrepared, train: Train) -> None:
    prepared = make_prepared(model="random_features:dim=10", optimizer="lstsq", loss="squared", flatness=True)
    (found,) = train(DirectTrainer(prepared.setup), [Probe("base", 12, 0)])
    assert found.detail["flatness"]["trace"] > 0


def test_only_asked_for_it_is_part_of_the_key() -> None:
    assert Procedure().identity() == Procedure(flatness=False).identity()
    assert Procedure(flatness=True).identity() == Procedure().identity() | {"flatness": True}
    with pytest.raises(SpecError, match="--flatness True too; leave it out"):
        Measurement.from_flat({"train": "scikit_learn", "flatness": True})


class Cut(torch.autograd.Function):
    """A function whose backward cannot be differentiated."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(_: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad


class Opaque(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(Cut.apply(x.flatten(1)))  # type: ignore[no-untyped-call]


def test_a_model_without_second_derivatives_is_told_in_a_sentence(make_prepared: MakePrepared) -> None:
    X, y = torch.randn(10, 4), torch.randint(2, (10,))
    with pytest.raises(TrainingError, match=r"--flatness needs second derivatives .* got RuntimeError: .*; leave it"):
        flatness(Opaque(4, 2), X, y)
    rounded = make_prepared(reparam="precision:int4").setup
    with pytest.raises(TrainingError, match="got rounded weights, whose loss has steps; leave it out"):
        flatness(rounded.fresh_model(Probe("base", 10, 0)), torch.randn(10, 6), y)


def test_a_probe_whose_model_has_none_fails_in_a_sentence(make_prepared: MakePrepared) -> None:
    executor = SingleTrainer(make_prepared(reparam="precision:int4", flatness=True).setup)
    executor.add(Probe("base", 4, 0))
    outcomes: list[Any] = []
    while not outcomes:
        outcomes = executor.advance()
    assert isinstance(outcomes[0], ProbeFailure)
    assert str(outcomes[0].error).startswith("--flatness needs second derivatives of the model in PyTorch")


def test_the_model_stays_as_it_was() -> None:
    module, X, y = problem(nn.ReLU, 0)
    module.train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    record = asdict(flatness(module, X, y))
    assert set(record) == {"largest", "trace", "trace_error", "products", "loss"}
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
