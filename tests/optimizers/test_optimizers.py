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
    "lion",
    "lion:beta1=0.5,beta2=0.9,weight_decay=0.1",
]

#: Every optimizer that is stepped over every base it can have.
STEPPED = [
    *(plugin.name for plugin in OPTIMIZERS if OPTIMIZERS.build(plugin.name).solve is None),
    "muon:ends=true",
    "shampoo:every=10,eps=0.1",
    *(f"sam:base={base}" for base in ("adamw|weight_decay=0.1", "gd", "lion", "muon", "sgd", "shampoo")),
]


def quadratic(x: Tensor) -> Tensor:
    """A bowl with condition number 30 and its minimum, 0, off the origin."""
    return 0.5 * (torch.linspace(0.1, 3, x.shape[-1], dtype=x.dtype) * (x - 1) ** 2).sum(-1)


SOLVERS = [name for name in OPTIMIZERS.names() if OPTIMIZERS.build(name).solve is not None]


def parameters() -> list[nn.Parameter]:
    """Three matrices, one of them the kernels of a convolution, and a vector."""
    shapes = (2, 2), (2, 1, 3, 1), (2, 2), (2,)
    return [nn.Parameter(torch.zeros(shape, dtype=torch.float64)) for shape in shapes]


class Descent:
    """An optimizer on a quadratic of some parameters."""

    def __init__(self, plan: OptimizerPlan) -> None:
        self.plan, self.parameters = plan, parameters()
        self.optimizer = plan.build(self.parameters)
        self.passes = 0

    def _closure(self) -> Tensor:
        self.passes += 1
        self.optimizer.zero_grad()
        loss = quadratic(torch.cat([p.flatten() for p in self.parameters]))
        loss.backward()
        return loss

    def loss(self) -> float:
        return float(self._closure().detach())

    def steps(self, count: int) -> None:
        for _ in range(count):
            if self.plan.closure:
                self.optimizer.step(self._closure)
                continue
            self._closure()
            if self.plan.passes > 1:
                self.optimizer.step(self._closure)
            else:
                self.optimizer.step()


@pytest.mark.parametrize("name", STEPPED)
def test_lowers_a_quadratic(name: str) -> None:
    descent = Descent(OPTIMIZERS.build(name))
    assert {group["lr"] for group in descent.optimizer.param_groups} == {descent.plan.lr}
    start = descent.loss()
    descent.steps(100)
    assert descent.loss() < 0.9 * start
    for parameter in descent.parameters:
        assert parameter.isfinite().all()
        assert (parameter != 0).all()


@pytest.mark.parametrize("name", [name for name in STEPPED if name != "lbfgs"])
def test_takes_as_many_passes_a_step_as_it_says(name: str) -> None:
    descent = Descent(OPTIMIZERS.build(name))
    descent.steps(3)
    assert descent.passes == 3 * descent.plan.passes


@pytest.mark.parametrize("name", [name for name in STEPPED if name != "lbfgs"])
def test_the_rate_of_its_groups_is_the_length_of_its_steps(name: str) -> None:
    """A schedule sets it there; at 0 nothing moves, and half of it moves half as far."""
    moved = []
    for factor in (0.0, 0.5, 1.0):
        descent = Descent(OPTIMIZERS.build(name))
        for group in descent.optimizer.param_groups:
            group["lr"] = factor * descent.plan.lr
        descent.steps(10 if "every=10" in name else 1)
        moved.append(torch.cat([p.detach().flatten() for p in descent.parameters]))
    assert (moved[0] == 0).all()
    assert (moved[2] != 0).all()
    torch.testing.assert_close(2 * moved[1], moved[2], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in STEPPED if name != "lbfgs"])
def test_goes_on_from_its_state_to_the_bit(name: str) -> None:
    whole, first, second = (Descent(OPTIMIZERS.build(name)) for _ in range(3))
    whole.steps(25)
    first.steps(13)
    for own, kept in zip(second.parameters, first.parameters, strict=True):
        own.data.copy_(kept.data)
    second.optimizer.load_state_dict(first.optimizer.state_dict())
    second.steps(12)
    for own, expected in zip(second.parameters, whole.parameters, strict=True):
        assert torch.equal(own, expected)


@pytest.mark.parametrize("name", [name for name in STEPPED if name != "lbfgs"])
def test_weight_decay_is_known(name: str) -> None:
    assert OPTIMIZERS.build(name).weight_decay == (0.1 if "weight_decay=0.1" in name else 0)


def test_sam_steps_along_the_gradient_uphill() -> None:
    """Of x^2 / 2 at 1, rho 0.5 above: 1.5; with gradient descent of rate 0.1 to 1 - 0.15."""
    plan = OPTIMIZERS.build("sam:rho=0.5,base=sgd|momentum=0,lr=0.1")
    parameter = nn.Parameter(torch.ones(1, dtype=torch.float64))
    optimizer = plan.build([parameter])
    assert (plan.lr, plan.passes, plan.rule, plan.update) == (0.1, 2, None, None)

    def closure() -> float:
        optimizer.zero_grad()
        (parameter.square().sum() / 2).backward()
        return 0.0

    closure()
    optimizer.step(closure)
    assert parameter.item() == pytest.approx(0.85)


def test_sam_is_as_its_base_but_for_rate_and_passes() -> None:
    assert OPTIMIZERS.build("sam:base=gd").full_batch
    assert not OPTIMIZERS.build("sam").full_batch
    assert OPTIMIZERS.build("sam").lr == OPTIMIZERS.build("adam").lr
    assert OPTIMIZERS.build("sam:base=adamw|weight_decay=0.1|beta1=0.5").weight_decay == 0.1


def test_muon_orthogonalises_hidden_matrices_alone() -> None:
    """A step along an orthogonal matrix of 0.2 sqrt(rows) of the rate, whatever the gradient's own singular values."""
    first, hidden, last = (nn.Parameter(torch.zeros(8, 8)) for _ in range(3))
    bias = nn.Parameter(torch.zeros(8))
    optimizer = OPTIMIZERS.build("muon:lr=0.1").build([first, hidden, last, bias])
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(8, 8))[0] for _ in range(2))
    for parameter in (first, hidden, last):
        parameter.grad = left @ torch.diag(torch.linspace(1, 3, 8)) @ right
    bias.grad = torch.ones(8)
    optimizer.step()
    lengths = torch.linalg.svdvals(hidden.detach()) / (0.1 * 0.2 * 8**0.5)
    assert ((lengths > 0.6) & (lengths < 1.3)).all()  # five iterations end there, not at 1
    for parameter in (first, last, bias):
        torch.testing.assert_close(parameter.detach(), -0.1 * parameter.grad.sign())  # Adam's first step


@pytest.mark.parametrize(
    ("name", "shapes", "message"),
    [
        (
            "muon",
            [(4, 6), (4,), (3, 4), (3,)],
            "needs a matrix between the first and the last layer, got 2 in all; use",
        ),
        ("muon", [(4, 6)], "needs a matrix .* got 1 in all; use a deeper model, or muon:ends=true for all"),
        ("muon:ends=true", [(4,), (1, 5), (5, 1)], "needs a matrix among .* got 0 in all; use adamw"),
        ("sam:base=muon", [(4,)], "needs a matrix between"),
    ],
)
def test_muon_without_a_matrix_is_refused(name: str, shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(SpecError, match=f"optimizer muon {message}"):
        OPTIMIZERS.build(name).build([nn.Parameter(torch.zeros(shape)) for shape in shapes])


def test_shampoo_whitens_both_sides() -> None:
    """After one step of G its preconditioners are (G G')^(-1/4) and (G' G)^(-1/4): all singular values become 1."""
    parameter = nn.Parameter(torch.zeros(3, 3, dtype=torch.float64))
    optimizer = OPTIMIZERS.build("shampoo:lr=1,eps=1e-12").build([parameter])
    torch.manual_seed(0)
    parameter.grad = torch.randn(3, 3, dtype=torch.float64)
    optimizer.step()
    torch.testing.assert_close(torch.linalg.svdvals(parameter.detach()), torch.ones(3, dtype=torch.float64))


def test_shampoo_diverges_as_others_do() -> None:
    """A root of what is not finite would raise."""
    parameter = nn.Parameter(torch.zeros(3, 3))
    optimizer = OPTIMIZERS.build("shampoo").build([parameter])
    parameter.grad = torch.full((3, 3), 1e30)
    optimizer.step()
    assert parameter.isnan().all()


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
        ("lion:lr=0", "optimizer lion takes lr above 0 and finite, got 0"),
        ("lion:beta2=1", "optimizer lion takes beta2 from 0 to below 1, got 1"),
        ("lion:weight_decay=-1", "optimizer lion takes weight_decay of 0 or more and finite, got -1"),
        ("shampoo:every=0", "optimizer shampoo takes every above 0 and finite, got 0"),
        ("shampoo:eps=0", "optimizer shampoo takes eps above 0 and finite, got 0"),
        ("shampoo:weight_decay=-1", "optimizer shampoo takes weight_decay of 0 or more and finite, got -1"),
        ("muon:momentum=1", "optimizer muon takes momentum from 0 to below 1, got 1"),
        ("muon:weight_decay=-1", "optimizer muon takes weight_decay of 0 or more and finite, got -1"),
        ("sam:rho=0", "optimizer sam takes rho above 0 and finite, got 0"),
        ("sam:lr=0", "optimizer sam takes lr above 0 and finite, got 0"),
        ("sam:base=lbfgs", "optimizer sam needs a base that takes one gradient a step, got lbfgs; use adam or sgd"),
        ("sam:base=lstsq", "optimizer sam needs a base that takes one gradient a step, got lstsq; use adam or sgd"),
        ("sam:base=sam", "optimizer sam needs a base that takes one gradient a step, got sam; use adam or sgd"),
        (
            "sam:base=adamw|lr=0.1|beta1=0.5",
            r"sam takes the learning rate of its base as lr, got .*; write sam:lr=0.1,base=adamw\|beta1=0.5$",
        ),
        ("sam:base=adamw|beta1=2", "optimizer adamw takes beta1 from 0 to below 1, got 2"),
        ("sam:base=adamw|0.1", 'an option is written key=value, got "0.1"|option ""'),
        ("sgd:weight_decay=inf", "optimizer sgd takes weight_decay of 0 or more and finite, got inf"),
    ],
)
def test_options_out_of_range_are_refused(name: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        OPTIMIZERS.build(name)


def test_full_batch_optimizers_say_so() -> None:
    full = {plugin.name for plugin in OPTIMIZERS if OPTIMIZERS.build(plugin.name).full_batch}
    assert full == {"gd", "lbfgs", "lstsq"}
