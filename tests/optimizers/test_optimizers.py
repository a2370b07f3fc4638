"""One conformance test over every registered optimizer; stacked rules against `torch.optim`."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from emc.errors import SpecError
from emc.optimizers import OPTIMIZERS
from emc.optimizers.plan import OptimizerPlan, StackedRule

#: Every optimizer that can be stacked, with options that reach each branch of its rule.
STACKED = [
    "adam",
    "adam:beta1=0.8,beta2=0.9,eps=1e-3",
    "adam:weight_decay=0.1",
    "adamw",
    "adamw:weight_decay=0.1",
    "sgd",
    "sgd:momentum=0",
    "sgd:momentum=0.5,weight_decay=0.1",
    "gd",
    "gd:momentum=0,weight_decay=0.1",
]


def quadratic(x: Tensor) -> Tensor:
    """A bowl with condition number 30 and its minimum, 0, off the origin."""
    return 0.5 * (torch.linspace(0.1, 3, x.shape[-1], dtype=x.dtype) * (x - 1) ** 2).sum(-1)


SOLVERS = [name for name in OPTIMIZERS.names() if OPTIMIZERS.build(name).solve is not None]


@pytest.mark.parametrize("name", sorted(set(OPTIMIZERS.names()) - set(SOLVERS)))
def test_lowers_a_quadratic(name: str) -> None:
    plan = OPTIMIZERS.build(name)
    parameter = nn.Parameter(torch.zeros(8, dtype=torch.float64))
    optimizer = plan.build([parameter])
    assert optimizer.param_groups[0]["lr"] == plan.lr

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = quadratic(parameter)
        loss.backward()
        return loss

    start = float(closure().detach())
    for _ in range(100):
        if plan.closure:
            optimizer.step(closure)
        else:
            closure()
            optimizer.step()
    assert float(closure().detach()) < 0.6 * start


@pytest.mark.parametrize("name", SOLVERS)
def test_solves_to_the_smallest_of_the_least(name: str) -> None:
    """x = 1 and x + y + z = 4 leave y + z = 3, of which (1.5, 1.5) is smallest; a third equation cannot be met."""
    plan = OPTIMIZERS.build(name)
    assert plan.solve is not None
    A = torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    found = plan.solve(A, torch.tensor([[1.0], [4.0]]))
    torch.testing.assert_close(found.weights, torch.tensor([[1.0], [1.5], [1.5]], dtype=torch.float64))
    assert found.rank == 2
    assert (found.largest**2, found.smallest**2) == pytest.approx((2 + 2**0.5, 2 - 2**0.5))
    twice = plan.solve(A[[0, 0]], torch.tensor([[1.0], [2.0]]))
    torch.testing.assert_close(twice.weights, torch.tensor([[1.5], [0.0], [0.0]], dtype=torch.float64))
    assert twice.rank == 1
    assert plan.solve(torch.zeros(2, 3), torch.ones(2, 1)).rank == 0
    with pytest.raises(RuntimeError, match="solved, not stepped"):
        plan.build([])


def test_every_optimizer_with_a_rule_is_compared() -> None:
    assert {text.partition(":")[0] for text in STACKED} == {
        plugin.name for plugin in OPTIMIZERS if OPTIMIZERS.build(plugin.name).rule is not None
    }


def rule_of(plan: OptimizerPlan) -> StackedRule:
    assert plan.rule is not None
    return plan.rule


class Alone:
    """One member trained by `torch.optim`."""

    def __init__(self, plan: OptimizerPlan, start: Tensor, lr: float) -> None:
        self.parameter = nn.Parameter(start.clone())
        self._optimizer = plan.build([self.parameter])
        self.lr = lr

    def step(self, gradient: Tensor) -> None:
        self._optimizer.param_groups[0]["lr"] = self.lr
        self.parameter.grad = gradient.clone()
        self._optimizer.step()


@pytest.mark.parametrize("name", STACKED)
def test_stacked_rule_is_its_torch_counterpart_step_by_step(name: str) -> None:
    """Members enter at steps 0, 0, 3 and 10, leave at step 15, and have their own, changing learning rates."""
    plan = OPTIMIZERS.build(name)
    rule = rule_of(plan)
    generator = torch.Generator().manual_seed(0)

    def fresh() -> Tensor:
        return torch.randn(6, generator=generator, dtype=torch.float64)

    alone: list[Alone] = []
    flat = torch.empty(0, 6, dtype=torch.float64)
    state = rule.init(flat)
    for step in range(40):
        for lr in {0: [0.01, 0.1], 3: [0.03], 10: [0.3]}.get(step, []):
            member = Alone(plan, fresh(), lr)
            alone.append(member)
            new = member.parameter.detach().clone()[None]
            flat = torch.cat([flat, new])
            state = [torch.cat(pair) for pair in zip(state, rule.init(new), strict=True)]
        if step == 15:
            stay = torch.tensor([0, 2, 3])
            alone = [alone[i] for i in stay]
            flat, state = flat[stay], [tensor[stay] for tensor in state]
        if step == 20:
            alone[0].lr = 0.002
        gradients = torch.stack([fresh() for _ in alone])
        rates = torch.tensor([[member.lr] for member in alone], dtype=torch.float64)
        rule.step(flat, gradients, state, rates)
        for member, gradient in zip(alone, gradients, strict=True):
            member.step(gradient)
        expected = torch.stack([member.parameter.detach() for member in alone])
        torch.testing.assert_close(flat, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", STACKED)
def test_a_member_that_is_not_finite_touches_no_other(name: str) -> None:
    plan = OPTIMIZERS.build(name)
    rule = rule_of(plan)
    generator = torch.Generator().manual_seed(0)
    flat = torch.randn(3, 6, generator=generator)
    poisoned = flat.clone()
    poisoned[1] = torch.nan
    gradients = torch.randn(3, 6, generator=generator)
    rates = torch.tensor([[0.1], [torch.inf], [0.2]])
    state, poisoned_state = rule.init(flat), rule.init(poisoned)
    for _ in range(3):
        rule.step(flat, gradients, state, torch.tensor([[0.1], [0.1], [0.2]]))
        rule.step(poisoned, gradients * torch.tensor([[1.0], [torch.nan], [1.0]]), poisoned_state, rates)
    assert torch.equal(flat[[0, 2]], poisoned[[0, 2]])
    assert poisoned[1].isnan().all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adam:lr=0", "optimizer adam takes lr above 0 and finite, got 0"),
        ("adam:eps=0", "optimizer adam takes eps above 0 and finite, got 0"),
        ("adam:beta1=1", "optimizer adam takes beta1 from 0 to below 1, got 1"),
        ("adam:beta2=-0.1", "optimizer adam takes beta2 from 0 to below 1, got -0.1"),
        ("adamw:weight_decay=-1", "optimizer adamw takes weight_decay of 0 or more and finite, got -1"),
        ("adamw:lr=-1", "optimizer adamw takes lr above 0 and finite, got -1"),
        ("sgd:lr=-0.1", "optimizer sgd takes lr above 0 and finite, got -0.1"),
        ("sgd:momentum=1", "optimizer sgd takes momentum from 0 to below 1, got 1"),
        ("gd:weight_decay=-1e-3", "optimizer gd takes weight_decay of 0 or more and finite, got -0.001"),
        ("lbfgs:lr=0", "optimizer lbfgs takes lr above 0 and finite, got 0"),
        ("lbfgs:history=0", "optimizer lbfgs takes history above 0 and finite, got 0"),
        ("sgd:lr=nan", 'optimizer sgd takes lr as float, got "nan"'),
        ("adam:lr=inf", "optimizer adam takes lr above 0 and finite, got inf"),
        ("sgd:weight_decay=inf", "optimizer sgd takes weight_decay of 0 or more and finite, got inf"),
    ],
)
def test_options_out_of_range_are_refused(name: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OPTIMIZERS.build(name)


def test_full_batch_optimizers_say_so() -> None:
    full = {plugin.name for plugin in OPTIMIZERS if OPTIMIZERS.build(plugin.name).full_batch}
    assert full == {"gd", "lbfgs", "lstsq"}
