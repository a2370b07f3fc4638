"""The descent along kinks: where it ends, no direction of any cell around falls, and no small step anywhere gains."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from emc.training.curvature import smallest_eigenvalue
from emc.training.kink_descent import KinkDescent, follow_kinks
from emc.training.kinks import EXACT, steepest_slope
from emc.training.one_hidden import Array, Mask, as_arrays

GOAL = 1e-5


def problem(seed: int, activation: nn.Module, n: int = 30, width: int = 3) -> tuple[nn.Sequential, Tensor, Tensor]:
    """More random labels than so small a net can fit."""
    g = torch.Generator().manual_seed(seed)
    module = nn.Sequential(nn.Linear(2, width), activation, nn.Linear(width, 2)).double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=g, dtype=torch.float64))
    return module, torch.randn(n, 2, generator=g, dtype=torch.float64), torch.randint(2, (n,), generator=g)


def loss(module: nn.Module, X: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        return float(functional.cross_entropy(module(X), y))


def shifted(module: nn.Module, by: Tensor) -> nn.Module:
    moved = copy.deepcopy(module)
    vector_to_parameters(parameters_to_vector(module.parameters()).detach() + by, moved.parameters())
    return moved


def steepest_of_all_cells(module: nn.Module, X: Tensor, y: Tensor, on: Mask) -> float:
    """The steepest descent within each cell of signs around the point, by projection of its gradient on its cone.

    The projection of -g onto {d: B d >= 0} is -g + B^T l for the l >= 0 that makes it smallest (Moreau).
    """
    found = as_arrays(module, X, y)
    assert found is not None
    net, weights = found
    before = net.points @ weights.first.T
    pairs = np.argwhere(on)
    steepest = 0.0
    for signs in itertools.product((-1.0, 1.0), repeat=len(pairs)):
        slopes = np.where(before > 0, 1.0, net.negative)
        cone: Array = np.zeros((len(pairs), *weights.first.shape))
        for k, ((i, j), sign) in enumerate(zip(pairs, signs, strict=True)):
            slopes[i, j] = 1.0 if sign > 0 else net.negative
            cone[k, j] = sign * net.points[i]
        values = net.values(np.where(on, 0.0, before), slopes, weights.last, weights.bias)
        first = ((values.delta * slopes).T @ net.points).ravel()
        across = nnls(cone.reshape(len(pairs), -1).T, first)[1]
        rest = [values.error.T @ values.hidden, values.error.sum(0)]
        steepest = max(steepest, float(np.sqrt(across**2 + sum(float((part**2).sum()) for part in rest))))
    return steepest


def ended(seed: int, activation: nn.Module) -> tuple[KinkDescent, Tensor, Tensor]:
    module, X, y = problem(seed, activation)
    found = follow_kinks(module, X, y, GOAL, 2000)
    assert found is not None
    return found, X, y


CASES = [(nn.ReLU(), seed) for seed in range(3)] + [(nn.LeakyReLU(0.2), seed) for seed in (0, 3)]


@pytest.mark.parametrize(("activation", "seed"), CASES)
def test_it_ends_where_no_direction_of_any_cell_falls(activation: nn.Module, seed: int) -> None:
    found, X, y = ended(seed, activation)
    assert found.flat
    assert found.pairs >= 1  # a live kink
    assert found.loss_after == pytest.approx(loss(found.module, X, y), rel=1e-12)
    slope = steepest_slope(found.module, X, y, EXACT)
    assert slope is not None
    assert slope.pairs == found.pairs
    assert slope.slope <= GOAL
    net, weights = as_arrays(found.module, X, y) or pytest.fail("refused")
    before = np.abs(net.points @ weights.first.T)
    assert steepest_of_all_cells(found.module, X, y, before <= EXACT * before.max(0)) <= GOAL


@pytest.mark.parametrize("seed", range(3))
def test_the_exhaustive_slope_agrees_where_descent_is_left(seed: int) -> None:
    """After a few steps only: pairs on kinks, and a slope to be told."""
    module, X, y = problem(seed, nn.ReLU())
    found = follow_kinks(module, X, y, GOAL, 6)
    assert found is not None
    assert not found.flat
    slope = steepest_slope(found.module, X, y, EXACT)
    net, weights = as_arrays(found.module, X, y) or pytest.fail("refused")
    before = np.abs(net.points @ weights.first.T)
    exhaustive = steepest_of_all_cells(found.module, X, y, before <= EXACT * before.max(0))
    assert slope is not None
    assert slope.slope == pytest.approx(exhaustive, rel=1e-6)
    step = torch.from_numpy(slope.descent / slope.slope)
    assert loss(shifted(found.module, 1e-7 * step), X, y) < found.loss_after  # a point with descent left


def test_no_small_step_gains_at_a_minimum_along_its_kinks() -> None:
    found, X, y = ended(0, nn.ReLU())
    slope = steepest_slope(found.module, X, y, EXACT)
    assert slope is not None
    assert slope.inside > 1e-3
    curvature = smallest_eigenvalue(found.module, X, y, along=slope.along)
    assert curvature.relative > -1e-6
    steps = torch.randn(500, len(slope.descent), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for length in (1e-2, 1e-3):
        tried = [loss(shifted(found.module, length * functional.normalize(s, dim=0)), X, y) for s in steps]
        assert min(tried) > found.loss_after - GOAL * length


def test_the_restricted_curvature_is_that_of_differences_along_the_kinks() -> None:
    """Along the kinks the loss is smooth: second differences are exact there, whatever piece autograd picks."""
    found, X, y = ended(0, nn.ReLU())
    slope = steepest_slope(found.module, X, y, EXACT)
    assert slope is not None
    assert slope.pairs >= 2
    curvature = smallest_eigenvalue(found.module, X, y, along=slope.along)
    size, step = len(slope.descent), 1e-4
    basis = np.linalg.svd(np.stack([slope.along(unit) for unit in np.eye(size)]))[2]
    kept = basis[: size - sum(len(rows) for rows in slope.rows)]

    def at(vector: Array) -> float:
        return loss(shifted(found.module, torch.from_numpy(step * vector)), X, y)

    table = [[at(a + b) - at(a - b) - at(b - a) + at(-a - b) for b in kept] for a in kept]
    values = np.linalg.eigvalsh(np.array(table) / (4 * step**2))
    assert curvature.value == pytest.approx(values[0], abs=1e-4 * values[-1])
    assert curvature.largest == pytest.approx(values[-1], rel=1e-2)


def test_the_top_of_a_kink_is_left() -> None:
    """-|x|, as a net: one unit on a kink at which the loss bends downward; its plain gradient inside is 0."""
    module, X, y = problem(0, nn.LeakyReLU(-1.0), n=2, width=1)
    X[:] = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    y[:] = 0
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[0.0, 1.0]]))
        module[0].bias.zero_()
        module[2].weight.copy_(torch.tensor([[1.0], [-1.0]]))
    X[1] = torch.tensor([0.0, 1.0])
    slope = steepest_slope(module, X, y, EXACT)
    assert slope is not None
    assert (slope.pairs, slope.downward) == (1, 1)
    assert slope.slope > 1e-2
    found = follow_kinks(module, X, y, GOAL, 5)
    assert found is not None
    assert found.loss_after < found.loss_before
    before = found.module[0](X[:1]).detach()  # type: ignore[index]
    assert before.abs().max() > 1e-3


def test_effort_and_enough_end_it_and_the_model_is_not_changed() -> None:
    module, X, y = problem(0, nn.ReLU())
    kept = copy.deepcopy(module.state_dict())
    none, some = (follow_kinks(module, X, y, GOAL, 100, enough) for enough in (2.0, 0.6))
    assert none is not None
    assert some is not None
    assert (none.steps, none.gain) == (0, 0)
    assert 0.4 < some.loss_after <= 0.6
    assert some.gain == pytest.approx(1 - some.loss_after / loss(module, X, y))
    assert all(torch.equal(kept[name], value) for name, value in module.state_dict().items())


def test_other_architectures_are_refused() -> None:
    X, y = torch.randn(6, 2, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 2
    assert follow_kinks(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2)), X, y, GOAL, 5) is None
