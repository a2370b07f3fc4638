"""The training losses: `Procedure.loss`, with its smoothing of labels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Loss:
    """What a training descends, and every count reports.

    With smoothing s the target of a sample is 1 - s on its class and s spread evenly over all K. The least value of
    its cross-entropy, the target's entropy, is taken off, so that the loss is the divergence of the logits' softmax
    from the target: 0 can be reached, and a share by which the loss fell is one of what there was to gain.

    Attributes:
        name: "cross_entropy" or "squared".
        smoothing: share of each target spread evenly over all classes; cross-entropy only.

    References:
        Szegedy et al. 2016, "Rethinking the Inception architecture for computer vision", section 7.
    """

    name: str = "cross_entropy"
    smoothing: float = 0.0

    def __str__(self) -> str:
        if self.smoothing:
            return f"cross-entropy of labels smoothed by {self.smoothing:g}"
        return "cross-entropy" if self.name == "cross_entropy" else f"{self.name} loss"

    def least(self, num_classes: int) -> float:
        """The entropy of a smoothed target, in nats.

        >>> round(Loss(smoothing=0.5).least(2), 4)
        0.5623
        """
        if not self.smoothing:
            return 0.0
        other = self.smoothing / num_classes
        own = 1 - self.smoothing + other
        return -own * math.log(own) - (num_classes - 1) * other * math.log(other)


CROSS_ENTROPY = Loss()


def loss_of(loss: Loss, logits: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    """The loss of samples: cross-entropy, or squared, |logits - one-hot target|^2 summed over the classes.

    Args:
        loss: which one.
        logits: (n, K).
        y: (n,) int64.
        reduction: "mean" or "sum" over samples, or "none": (n,).
    """
    if loss.name == "cross_entropy":
        found = functional.cross_entropy(logits, y, reduction=reduction, label_smoothing=loss.smoothing)
        if not loss.smoothing:
            return found
        return found - loss.least(logits.shape[1]) * (len(y) if reduction == "sum" else 1)
    squares = (logits - one_hot(logits, y)).square().sum(1)
    if reduction == "none":
        return squares
    return squares.mean() if reduction == "mean" else squares.sum()


@torch.no_grad()
def loss_gradient(loss: Loss, logits: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """The gradient by the logits of the weighted sum of the samples' losses, for models side by side.

    Args:
        loss: which one.
        logits: (S, K, n), classes before samples.
        y: (S, n) int64.
        weights: (S, n).

    Returns:
        (S, K, n): softmax less target times the weight, or twice the difference from the one-hot target times it.
    """
    weights = weights.unsqueeze(1)
    if loss.name == "squared":
        weights = 2 * weights
        given = logits * weights
    else:
        given = torch.softmax(logits, 1)
        if loss.smoothing:
            given.sub_(loss.smoothing / logits.shape[1])
        given.mul_(weights)
        if loss.smoothing:
            weights = (1 - loss.smoothing) * weights
    return given.scatter_add_(1, y.unsqueeze(1), weights.neg())


def one_hot(logits: Tensor, y: Tensor) -> Tensor:
    """The targets of the squared loss, (n, K) in the logits' type."""
    return functional.one_hot(y, logits.shape[1]).to(logits.dtype)


class SquaredLoss(nn.MSELoss):
    """The mean squared loss as a module that takes one-hot targets, for libraries that know losses as modules."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Mean over samples of the sum over classes; `nn.MSELoss` takes the mean over both."""
        return (input - target).square().sum(1).mean()
