"""Stochastic and full-batch gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from emc.optimizers import OPTIMIZERS
from emc.optimizers.plan import OptimizerPlan, Update, UpdateKind, check_decay, check_options

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StackedSGD:
    """`torch.optim.SGD` over stacked models."""

    momentum: float
    weight_decay: float

    def init(self, flat: Tensor) -> list[Tensor]:
        """One momentum buffer, or nothing."""
        return [flat.new_zeros(flat.shape)] if self.momentum else []

    def step(self, flat: Tensor, grad: Tensor, state: list[Tensor], lr: Tensor) -> None:
        """Buffer = momentum * buffer + gradient; parameters -= lr * buffer."""
        if self.weight_decay:
            grad = grad.add(flat, alpha=self.weight_decay)
        if self.momentum:
            grad = state[0].mul_(self.momentum).add_(grad)
        flat.addcmul_(grad, lr, value=-1)


def _plan(name: str, lr: float, momentum: float, weight_decay: float, full_batch: bool) -> OptimizerPlan:
    from torch import optim

    check_options(name, above_zero={"lr": lr}, below_one={"momentum": momentum})
    check_decay(name, weight_decay)
    build = partial(optim.SGD, lr=lr, momentum=momentum, weight_decay=weight_decay)
    update = Update(UpdateKind.MOMENTUM, (momentum, weight_decay))
    rule = StackedSGD(momentum, weight_decay)
    return OptimizerPlan(lr, build, full_batch=full_batch, weight_decay=weight_decay, rule=rule, update=update)


@OPTIMIZERS.register("sgd")
def sgd(*, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0) -> OptimizerPlan:
    """Mini-batch gradient descent with momentum."""
    return _plan("sgd", lr, momentum, weight_decay, full_batch=False)


@OPTIMIZERS.register("gd")
def gd(*, lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 0.0) -> OptimizerPlan:
    """Full-batch gradient descent with momentum: every step sees all n samples."""
    return _plan("gd", lr, momentum, weight_decay, full_batch=True)
