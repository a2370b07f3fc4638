"""The steepest one-sided slope where it is known: sums of absolute values, maxima, and exhaustive directions."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from emc.training.kinks import KinkSlope, steepest_slope, worst_slopes
from emc.training.one_hidden import Array, Mask


def net(weight: Tensor, bias: Tensor, last: Tensor, activation: nn.Module | None = None) -> nn.Sequential:
    """Linear, ReLU, Linear in float64 with these weights and no output bias."""
    module = nn.Sequential(
        nn.Linear(weight.shape[1], len(weight)), activation or nn.ReLU(), nn.Linear(len(weight), len(last))
    ).double()
    with torch.no_grad():
        module[0].weight.copy_(weight)
        module[0].bias.copy_(bias)
        module[2].weight.copy_(last)
        module[2].bias.zero_()
    return module


def loss(module: nn.Module, X: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(functional.cross_entropy(module(X), y))


def derivative(module: nn.Module, X: Tensor, y: Tensor, direction: Tensor, step: float = 1e-7) -> float:
    """One-sided, by a small step."""
    shifted = copy.deepcopy(module)
    vector_to_parameters(parameters_to_vector(module.parameters()).detach() + step * direction, shifted.parameters())
    return (loss(shifted, X, y) - loss(module, X, y)) / step


def slope_of(module: nn.Module, X: Tensor, y: Tensor) -> KinkSlope:
    found = steepest_slope(module, X, y)
    assert found is not None
    return found


def on_kinks(seed: int, activation: nn.Module, pairs: int) -> tuple[nn.Sequential, Tensor, Tensor]:
    """A random small net whose first unit rests on the kinks of the first `pairs` samples, the second on one."""
    g = torch.Generator().manual_seed(seed)
    X = torch.randn(12, 4, generator=g, dtype=torch.float64)
    y = torch.randint(3, (12,), generator=g)
    weight, bias, last = (torch.randn(*shape, generator=g, dtype=torch.float64) for shape in ((3, 4), (3,), (3, 3)))
    points = torch.cat([X, torch.ones(12, 1, dtype=torch.float64)], 1)
    full = torch.cat([weight, bias[:, None]], 1)
    for unit, rows in ((0, points[:pairs]), (1, points[5:6])):
        full[unit] -= torch.linalg.pinv(rows) @ (rows @ full[unit])
    return net(full[:, :-1], full[:, -1], last, activation), X, y


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.LeakyReLU(0.2)])
@pytest.mark.parametrize("seed", range(3))
def test_no_direction_is_steeper_and_the_one_found_is_as_steep(activation: nn.Module, seed: int) -> None:
    module, X, y = on_kinks(seed, activation, 3)
    found = slope_of(module, X, y)
    assert found.pairs == 4
    unit = torch.from_numpy(found.descent / found.slope)
    assert derivative(module, X, y, unit) == pytest.approx(-found.slope, rel=1e-4)
    around = torch.randn(100, len(unit), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spread = torch.logspace(-2, 1, 100, dtype=torch.float64)[:, None]
    tried = functional.normalize(torch.cat([unit + spread * functional.normalize(around), around]))
    assert min(derivative(module, X, y, d) for d in tried) >= -found.slope * (1 + 1e-5)


def test_without_kinks_it_is_the_gradient_norm() -> None:
    module, X, y = on_kinks(0, nn.Tanh(), 0)
    module[1] = nn.ReLU()
    with torch.no_grad():
        module[0].bias[1] += 0.5
    functional.cross_entropy(module(X), y).backward()
    gradient = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    found = slope_of(module, X, y)
    assert (found.pairs, found.downward) == (0, 0)
    np.testing.assert_allclose(-found.descent, gradient.numpy(), rtol=1e-9, atol=1e-12)


def worst_element(fixed: Array, columns: Array, downward: Mask, negative: float = 0.0) -> Array:
    return np.asarray(fixed + worst_slopes(fixed, columns, downward, negative) @ columns)


UP, DOWN = np.array([False, False]), np.array([True, True])


def test_the_bottom_of_an_absolute_value_is_stationary_and_its_top_is_not() -> None:
    """|w| = max(w, 0) + max(-w, 0); with every slope free, as in Clarke's subdifferential, both would hold 0."""
    columns = np.array([[1.0], [-1.0]])
    assert worst_element(np.zeros(1), columns, UP) == pytest.approx(0.0, abs=1e-12)
    assert abs(worst_element(np.zeros(1), -columns, DOWN)) == pytest.approx(1.0)


@pytest.mark.parametrize("pull", [0.5, 1.0, 1.75])
def test_a_sum_of_absolute_values_under_a_pull(pull: float) -> None:
    """|w_1| + 2 |w_2| + pull (w_1 + w_2) at 0: the first gives way above a pull of 1, the second holds up to 2."""
    columns = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    found = worst_element(np.array([pull, pull]), columns, np.zeros(4, dtype=bool))
    np.testing.assert_allclose(found, [max(pull - 1, 0), 0], atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_the_larger_of_two_affine_functions(seed: int) -> None:
    """max(a . w, b . w) = b . w + max((a - b) . w, 0): the smallest element is that of the segment from a to b."""
    a, b = np.random.default_rng(seed).standard_normal((2, 3))
    share = np.clip(-b @ (a - b) / ((a - b) @ (a - b)), 0, 1)
    found = worst_element(b, (a - b)[None], UP[:1])
    np.testing.assert_allclose(found, b + share * (a - b), atol=1e-9)
    smaller = worst_element(b, (a - b)[None], DOWN[:1])  # min(a . w, b . w) falls along the steeper of the two
    assert np.linalg.norm(smaller) == pytest.approx(max(np.linalg.norm(a), np.linalg.norm(b)))


def test_nearly_on_a_kink_is_moved_onto_it() -> None:
    module, X, y = on_kinks(1, nn.ReLU(), 3)
    exact = slope_of(module, X, y)
    with torch.no_grad():
        module[0].weight += 1e-7 * torch.ones_like(module[0].weight)
    found = slope_of(module, X, y)
    assert found.pairs == exact.pairs
    assert found.slope == pytest.approx(exact.slope, rel=1e-4)
    assert abs(found.moved) < 1e-6
    points = found.module[0](X).detach()  # type: ignore[index]
    assert points[:3, 0].abs().max() < 1e-12


def test_other_architectures_are_refused() -> None:
    X, y = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2
    deep = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 2))
    smooth = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
    no_bias = nn.Sequential(nn.Linear(4, 3, bias=False), nn.ReLU(), nn.Linear(3, 2))
    frozen = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    frozen[0].requires_grad_(False)
    assert [steepest_slope(module, X, y) for module in (deep, smooth, no_bias, frozen, nn.Linear(4, 2))] == [None] * 5


def test_more_kinks_than_a_unit_can_reach_are_refused() -> None:
    """At the origin of all weights every sample is on its kink, and no unit is left."""
    module, X, y = on_kinks(0, nn.ReLU(), 0)
    assert steepest_slope(module, X, y, near=1.0) is None


def test_slopes_inside_their_interval_and_at_its_end() -> None:
    columns = np.array([[1.0], [-1.0]])
    assert worst_slopes(np.array([-0.25]), columns[:1], UP[:1], 0.0) == pytest.approx(0.25)
    assert worst_slopes(np.array([-3.0]), columns[:1], UP[:1], 0.0) == pytest.approx(1.0)
    assert worst_slopes(np.array([3.0]), columns[:1], UP[:1], 0.25) == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(3))
def test_along_keeps_every_kink_and_nothing_less(seed: int) -> None:
    module, X, y = on_kinks(seed, nn.ReLU(), 3)
    found = slope_of(module, X, y)
    vector = np.random.default_rng(seed).standard_normal(len(found.descent))
    along = found.along(vector)
    moved = copy.deepcopy(module)
    flat = parameters_to_vector(module.parameters()).detach() + 0.1 * torch.from_numpy(along)
    vector_to_parameters(flat, moved.parameters())
    before = torch.stack([moved[0](X)[:3, 0].detach().abs().max(), moved[0](X)[5, 1].detach().abs()])
    assert before.max() < 1e-12
    np.testing.assert_allclose(found.along(along), along, atol=1e-12)
    across = np.linalg.matrix_rank(np.stack([unit - found.along(unit) for unit in np.eye(len(vector))]), tol=1e-9)
    assert across == 4
