"""Adam and AdamW."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from emc.optimizers import OPTIMIZERS
from emc.optimizers.plan import OptimizerPlan, Update, UpdateKind, check_decay, check_options

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StackedAdam:
    """`torch.optim.Adam` (Kingma and Ba 2015) and `AdamW` (Loshchilov and Hutter 2019) over stacked models."""

    beta1: float
    beta2: float
    eps: float
    weight_decay: float
    decoupled: bool

    def init(self, flat: Tensor) -> list[Tensor]:
        """First moments, second moments, and each member's step count."""
        return [flat.new_zeros(flat.shape), flat.new_zeros(flat.shape), flat.new_zeros(len(flat), 1)]

    def step(self, flat: Tensor, grad: Tensor, state: list[Tensor], lr: Tensor) -> None:
        """Moments with bias correction by each member's own step count.

        The corrections are folded into the size and the epsilon, so that only numbers of a member are divided by them.
        """
        first, second, count = state
        if self.weight_decay and self.decoupled:
            flat.mul_(1 - lr * self.weight_decay)
        elif self.weight_decay:
            grad = grad.add(flat, alpha=self.weight_decay)
        count.add_(1)
        first.lerp_(grad, 1 - self.beta1)
        second.mul_(self.beta2).addcmul_(grad, grad, value=1 - self.beta2)
        root = _rest(self.beta2, count).sqrt_()
        size = (lr * root).div_(_rest(self.beta1, count))
        flat.addcdiv_(first * size, second.sqrt().add_(root.mul_(self.eps)), value=-1)


def _rest(beta: float, count: Tensor) -> Tensor:
    """1 - beta^count, to the last digits where beta^count is close to 1."""
    return (count * (math.log(beta) if beta else -math.inf)).expm1_().neg_()


def _plan(
    name: str, lr: float, beta1: float, beta2: float, eps: float, weight_decay: float, decoupled: bool
) -> OptimizerPlan:
    from torch import optim

    check_options(name, above_zero={"lr": lr, "eps": eps}, below_one={"beta1": beta1, "beta2": beta2})
    check_decay(name, weight_decay)
    kind = optim.AdamW if decoupled else optim.Adam
    build = partial(kind, lr=lr, betas=(beta1, beta2), eps=eps, weight_decay=weight_decay, fused=True)
    rule = StackedAdam(beta1, beta2, eps, weight_decay, decoupled)
    update = Update(UpdateKind.ADAM, (beta1, beta2, eps, weight_decay, float(decoupled)))
    return OptimizerPlan(lr, build, weight_decay=weight_decay, rule=rule, update=update)


@OPTIMIZERS.register("adam")
def adam(
    *, lr: float = 3e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
) -> OptimizerPlan:
    """Adam, Kingma and Ba 2015."""
    return _plan("adam", lr, beta1, beta2, eps, weight_decay, decoupled=False)


@OPTIMIZERS.register("adamw")
def adamw(
    *, lr: float = 3e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8, weight_decay: float = 0.0
) -> OptimizerPlan:
    """Adam with decoupled weight decay, Loshchilov and Hutter 2019; equal to adam while the decay is 0."""
    return _plan("adamw", lr, beta1, beta2, eps, weight_decay, decoupled=True)
