"""The smallest Hessian eigenvalue against dense matrices, and points whose curvature is known."""

from __future__ import annotations

import copy
from typing import Literal

import numpy as np
import pytest
import torch
from hessians import dense_hessian, problem
from torch import nn
from torch.nn import functional

from emc.training import curvature
from emc.training.curvature import smallest_eigenvalue
from emc.training.losses import Loss


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("width", [1, 8])  # 13 parameters are solved densely, 83 by Lanczos
def test_agrees_with_the_dense_hessian(activation: type[nn.Module], seed: int, width: int) -> None:
    module, X, y = problem(activation, seed, width)
    values = torch.linalg.eigvalsh(dense_hessian(module, X, y))
    found = smallest_eigenvalue(module, X, y)
    assert found.converged
    assert values[0] < -1e-2  # negative curvature is there to be found
    assert found.value == pytest.approx(float(values[0]), abs=1e-5 * found.largest)
    assert found.largest == pytest.approx(float(values.abs().max()), rel=1e-2)
    assert found.relative == found.value / found.largest


@pytest.mark.parametrize("loss", [Loss("squared"), Loss(smoothing=0.3)], ids=str)
def test_agrees_with_the_dense_hessian_of_other_losses(loss: Loss) -> None:
    module, X, y = problem(nn.Tanh, 0)
    values = torch.linalg.eigvalsh(dense_hessian(module, X, y, loss))
    found = smallest_eigenvalue(module, X, y, loss)
    assert values[0] < -1e-2
    assert found.value == pytest.approx(float(values[0]), abs=1e-5 * found.largest)
    assert found.largest == pytest.approx(float(values.abs().max()), rel=1e-2)


def test_the_largest_magnitude_does_not_answer_the_question() -> None:
    module, X, y = problem(nn.Tanh, 0)
    found = smallest_eigenvalue(module, X, y)
    values = torch.linalg.eigvalsh(dense_hessian(module, X, y))
    assert values[-1] == values.abs().max()
    assert found.value < 0 < found.largest


def test_the_vector_is_an_eigenvector() -> None:
    module, X, y = problem(nn.Tanh, 3)
    found = smallest_eigenvalue(module, X, y)
    image = dense_hessian(module, X, y).numpy() @ found.vector
    assert np.linalg.norm(found.vector) == pytest.approx(1)
    assert found.vector @ image == pytest.approx(found.value, rel=1e-9)
    assert np.linalg.norm(image - found.value * found.vector) == pytest.approx(found.residual, abs=1e-10)


def test_softmax_regression_has_none_below_zero_and_some_at_zero() -> None:
    """Convex, and adding one vector to the weights of every class changes nothing: the smallest eigenvalue is 0."""
    X, y = torch.randn(50, 20, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 3
    found = smallest_eigenvalue(nn.Linear(20, 3), X, y)
    assert found.converged
    assert abs(found.relative) < 1e-5


@pytest.mark.parametrize(("activation", "bias"), [(nn.Tanh, 0.0), (nn.ReLU, 1.0)])
def test_the_saddle_of_a_network_that_ignores_its_inputs(activation: type[nn.Module], bias: float) -> None:
    """All weights zero, output biases at the labels' log frequencies: stationary, and a saddle.

    The only curvature left between the hidden and the output weights is slope * C with C = mean (p - e_y) x^T, so the
    smallest eigenvalue of that block is minus C's largest singular value for one hidden unit; a tanh unit's activation
    is 0 there, so that the block stands alone.
    """
    module, X, y = problem(activation, 0, width=1)
    frequencies = torch.bincount(y, minlength=3) / len(y)
    with torch.no_grad():
        for p in module.parameters():
            p.zero_()
        module[0].bias.fill_(bias)
        module[2].bias.copy_(frequencies.log())
    found = smallest_eigenvalue(module, X, y)
    expected = float(torch.linalg.eigvalsh(dense_hessian(module, X, y))[0])
    assert found.value == pytest.approx(expected, rel=1e-6)
    assert found.relative < -0.1
    if activation is nn.Tanh:
        C = (frequencies - functional.one_hot(y, 3)).T @ torch.cat([X, torch.ones(len(X), 1)], 1) / len(X)
        assert found.value == pytest.approx(-float(torch.linalg.matrix_norm(C, 2)), rel=1e-5)


def test_chunks_and_frozen_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    module, X, y = problem(nn.Tanh, 1, width=1)
    module[0].bias.requires_grad_(False)
    whole = smallest_eigenvalue(module, X, y)
    monkeypatch.setattr(curvature, "CHUNK", 15)
    parts = smallest_eigenvalue(module, X, y)
    values = torch.linalg.eigvalsh(dense_hessian(module, X, y))
    assert parts.value == pytest.approx(whole.value, rel=1e-6) == pytest.approx(float(values[0]), rel=1e-6)
    assert len(whole.vector) == len(values) == 13 - 1


def test_changes_nothing_and_uses_no_dropout() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3)).train()
    before = copy.deepcopy(module.state_dict())
    X, y = torch.randn(20, 6), torch.arange(20) % 3
    values = [smallest_eigenvalue(module, X, y).value for _ in range(2)]
    assert values[0] == values[1]
    assert module.training
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in module.parameters())


def test_says_where_lanczos_did_not_converge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The value stays an upper bound, with its residual."""
    module, X, y = problem(nn.Tanh, 0)
    monkeypatch.setattr(curvature, "RESTARTS", 1)
    monkeypatch.setattr(curvature, "VECTORS", 3)
    found = smallest_eigenvalue(module, X, y)
    assert not found.converged
    assert found.residual > curvature.RESIDUAL * found.largest
    assert found.value >= float(torch.linalg.eigvalsh(dense_hessian(module, X, y))[0])


@pytest.mark.parametrize("which", ["LM", "SA"])
def test_a_start_that_spans_too_little_leads_to_the_same_bits_again(which: Literal["LM", "SA"]) -> None:
    """From an eigenvector Lanczos has nowhere to go and draws another vector."""
    values, start = np.arange(100.0), np.eye(100)[3]
    found = {curvature._eigenvector(lambda v: values * v, start, which, 1e-2).tobytes() for _ in range(3)}
    assert len(found) == 1
