"""Full-batch descent from where a training stopped."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from emc.training import polish as polishing
from emc.training.polish import gradient_norm, polish


def problem(n: int, width: int = 8) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Linear(width, 3))
    return module, torch.randn(n, 4), torch.randint(3, (n,))


def mean_loss(module: nn.Module, X: Tensor, y: Tensor) -> float:
    return float(functional.cross_entropy(copy.deepcopy(module).double()(X.double()), y).detach())


def test_finds_the_descent_that_is_left_and_changes_nothing() -> None:
    module, X, y = problem(30)
    before = copy.deepcopy(module.state_dict())
    found = polish(module, X, y, 50)
    assert found.loss_before == pytest.approx(mean_loss(module, X, y), rel=1e-12)
    assert found.loss_after < 0.7 * found.loss_before
    assert found.gain == pytest.approx(1 - found.loss_after / found.loss_before)
    assert found.correct > 15
    assert found.steps == 100
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert all(p.grad is None and p.dtype == torch.float32 for p in module.parameters())


def test_fits_what_can_be_fitted() -> None:
    module, X, y = problem(10, width=32)
    found = polish(module, X, y, 100)
    assert found.correct == 10
    assert found.loss_after < 1e-3


def test_finds_no_descent_at_the_minimum_of_a_convex_loss() -> None:
    """Two equal inputs a class: softmax regression has a minimum, at the logits of the labels' frequencies."""
    X = torch.eye(2).repeat(4, 1)
    y = torch.tensor([0, 1, 0, 1, 0, 1, 1, 0])  # 3 of 4 right at best
    module = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.0, 0.0], [0.0, 0.0]]))
        module.weight[0, 0] = module.weight[1, 1] = torch.tensor(3.0).log()
    found = polish(module, X, y, 50)
    entropy = -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log())
    assert found.loss_before == pytest.approx(float(entropy), rel=1e-6)
    assert 0 <= found.gain < 1e-9
    assert found.gradient_norm < 1e-6
    assert found.correct == 6


def test_never_reports_a_point_worse_than_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    module, X, y = problem(30)

    def wreck(parameters: list[nn.Parameter], *_rest: object) -> None:
        with torch.no_grad():
            for parameter in parameters:
                parameter.fill_(torch.nan)

    monkeypatch.setattr(polishing, "_run_lbfgs", wreck)
    monkeypatch.setattr(polishing, "_run_adam", wreck)
    found = polish(module, X, y, 5)
    assert found.gain == 0
    assert found.correct == int((module(X).argmax(1) == y).sum())


@pytest.mark.parametrize("chunk", [7, 1000])
def test_gradient_norm_is_that_of_the_mean_loss_in_float64(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(polishing, "CHUNK", chunk)
    module, X, y = problem(30)
    double = copy.deepcopy(module).double()
    gradients = torch.autograd.grad(functional.cross_entropy(double(X.double()), y), list(double.parameters()))
    expected = float(torch.cat([g.flatten() for g in gradients]).norm())
    assert gradient_norm(module, X, y) == pytest.approx(expected, rel=1e-10)
    assert all(p.grad is None for p in module.parameters())


def test_frozen_parameters_stay_frozen() -> None:
    module, X, y = problem(30)
    module[0].requires_grad_(False)
    double = copy.deepcopy(module).double()
    gradients = torch.autograd.grad(functional.cross_entropy(double(X.double()), y), list(double[2].parameters()))
    expected = float(torch.cat([g.flatten() for g in gradients]).norm())
    assert gradient_norm(module, X, y) == pytest.approx(expected, rel=1e-10)
    assert polish(module, X, y, 5).gain > 0
