"""The polish: full-batch descent in float64 on a copy of a stopped model, to see what descent is left."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn, optim

from emc.training.counting import count_right
from emc.training.losses import CROSS_ENTROPY, Loss, loss_of

if TYPE_CHECKING:
    from torch import Tensor

#: Samples a forward and backward pass takes at once.
CHUNK = 8192


@dataclass(frozen=True)
class Polish:
    """What the polish reached.

    Attributes:
        loss_before, loss_after: mean training loss over the n samples.
        gradient_norm: of the full-batch loss at the stop, in float64.
        correct: right answers after it.
        steps: full-batch steps done.
        module: the copy, in float64 and eval mode, at the best point seen.
    """

    loss_before: float
    loss_after: float
    gradient_norm: float
    correct: int
    steps: int
    module: nn.Module

    @property
    def gain(self) -> float:
        """Share by which the loss fell."""
        return 1 - self.loss_after / self.loss_before if self.loss_before > 0 else 0.0


def loss_and_gradient(module: nn.Module, X: Tensor, y: Tensor, loss: Loss = CROSS_ENTROPY) -> Tensor:
    """Mean loss over all samples; the gradient is accumulated in the parameters. Evaluated in eval mode."""
    module.eval()
    total = X.new_zeros(())
    for rows, labels in zip(torch.split(X, CHUNK), torch.split(y, CHUNK), strict=True):
        part = loss_of(loss, module(rows), labels, "sum") / len(X)
        if part.requires_grad:
            part.backward()  # type: ignore[no-untyped-call]
        total += part.detach()
    return total


def gradient_norm(module: nn.Module, X: Tensor, y: Tensor, loss: Loss = CROSS_ENTROPY) -> float:
    """Euclidean norm of the full-batch gradient over all trainable parameters, in float64, on a copy."""
    module = copy.deepcopy(module).double()
    module.zero_grad()
    loss_and_gradient(module, X.double(), y, loss)
    norms = [p.grad.norm() for p in module.parameters() if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def polish(module: nn.Module, X: Tensor, y: Tensor, steps: int, loss: Loss = CROSS_ENTROPY) -> Polish:
    """Descend from where a training stopped: L-BFGS, then full-batch Adam with decaying steps from the better point.

    L-BFGS alone stalls at the kinks of ReLU where Adam still lowers the loss; Adam alone is slow on smooth losses.

    Args:
        module: the stopped model; it is not changed.
        X: (n, *shape) inputs.
        y: (n,) labels.
        steps: iterations of each.
        loss: which one.
    """
    module = copy.deepcopy(module).double()
    X = X.double()
    parameters = [p for p in module.parameters() if p.requires_grad]
    before = gradient_norm(module, X, y, loss)
    with torch.no_grad():
        start = float(loss_and_gradient(module, X, y, loss))
    best = _Best(parameters, start)
    _run_lbfgs(parameters, lambda: _closure(module, X, y, loss), steps, best)
    best.restore()
    _run_adam(parameters, lambda: _closure(module, X, y, loss), steps, best)
    best.restore()
    return Polish(start, best.loss, before, count_right(module, X, y), 2 * steps, module)


class _Best:
    """The best parameters seen so far."""

    def __init__(self, parameters: list[nn.Parameter], loss: float) -> None:
        self._parameters, self.loss = parameters, loss
        self._saved = [p.detach().clone() for p in parameters]

    def offer(self, loss: float) -> None:
        if math.isfinite(loss) and loss < self.loss:
            self.loss = loss
            self._saved = [p.detach().clone() for p in self._parameters]

    @torch.no_grad()
    def restore(self) -> None:
        for parameter, saved in zip(self._parameters, self._saved, strict=True):
            parameter.copy_(saved)


def _closure(module: nn.Module, X: Tensor, y: Tensor, loss: Loss) -> Tensor:
    module.zero_grad()
    return loss_and_gradient(module, X, y, loss)


def _run_lbfgs(parameters: list[nn.Parameter], closure: Callable[[], Tensor], steps: int, best: _Best) -> None:
    descent = optim.LBFGS(
        parameters,
        max_iter=steps,
        max_eval=2 * steps,
        history_size=20,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        line_search_fn="strong_wolfe",
    )
    descent.step(closure)  # type: ignore[no-untyped-call]
    best.offer(float(closure()))


def _run_adam(parameters: list[nn.Parameter], closure: Callable[[], Tensor], steps: int, best: _Best) -> None:
    descent = optim.Adam(parameters, lr=1e-3)
    decay = optim.lr_scheduler.ExponentialLR(descent, 1e-3 ** (1 / steps))
    for _ in range(steps):
        best.offer(float(closure()))
        descent.step()
        decay.step()
    best.offer(float(closure()))
