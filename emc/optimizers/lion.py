"""Lion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from emc.optimizers import OPTIMIZERS
from emc.optimizers.plan import OptimizerPlan, check_decay, check_options

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StackedLion:
    """`pytorch_optimizer.Lion` over stacked models."""

    beta1: float
    beta2: float
    weight_decay: float

    def init(self, flat: Tensor) -> list[Tensor]:
        """The momentum."""
        return [flat.new_zeros(flat.shape)]

    def step(self, flat: Tensor, grad: Tensor, state: list[Tensor], lr: Tensor) -> None:
        """Decay, then a step of size lr against the sign of the momentum's mix with the gradient."""
        (momentum,) = state
        if self.weight_decay:
            flat.mul_(1 - lr * self.weight_decay)
        update = momentum.lerp(grad, 1 - self.beta1).sign_()
        momentum.lerp_(grad, 1 - self.beta2)
        flat.addcmul_(update, lr, value=-1)


@OPTIMIZERS.register("lion")
def lion(*, lr: float = 3e-3, beta1: float = 0.9, beta2: float = 0.99, weight_decay: float = 0.0) -> OptimizerPlan:
    """Lion, Chen et al. 2023: steps of one size along the momentum's signs, with decoupled weight decay."""
    from pytorch_optimizer import Lion

    check_options("lion", above_zero={"lr": lr}, below_one={"beta1": beta1, "beta2": beta2})
    check_decay("lion", weight_decay)
    build = partial(Lion, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay, weight_decouple=True)
    return OptimizerPlan(lr, build, weight_decay=weight_decay, rule=StackedLion(beta1, beta2, weight_decay))
