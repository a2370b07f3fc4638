"""The training losses by name: `Procedure.loss`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor


def loss_of(name: str, logits: Tensor, y: Tensor, reduction: str = "mean") -> Tensor:
    """The loss of samples: cross-entropy, or squared, |logits - one-hot target|^2 summed over the classes.

    Args:
        name: "cross_entropy" or "squared".
        logits: (n, K).
        y: (n,) int64.
        reduction: "mean" or "sum" over samples, or "none": (n,).
    """
    if name == "cross_entropy":
        return functional.cross_entropy(logits, y, reduction=reduction)
    squares = (logits - one_hot(logits, y)).square().sum(1)
    if reduction == "none":
        return squares
    return squares.mean() if reduction == "mean" else squares.sum()


@torch.no_grad()
def loss_gradient(name: str, logits: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """The gradient by the logits of the weighted sum of the samples' losses, for models side by side.

    Args:
        name: of the loss.
        logits: (S, K, n), classes before samples.
        y: (S, n) int64.
        weights: (S, n).

    Returns:
        (S, K, n): softmax less one-hot target times the weight, or twice the difference from the target times it.
    """
    weights = weights.unsqueeze(1)
    if name == "squared":
        weights = 2 * weights
    given = torch.softmax(logits, 1).mul_(weights) if name == "cross_entropy" else logits * weights
    return given.scatter_add_(1, y.unsqueeze(1), weights.neg())


def one_hot(logits: Tensor, y: Tensor) -> Tensor:
    """The targets of the squared loss, (n, K) in the logits' type."""
    return functional.one_hot(y, logits.shape[1]).to(logits.dtype)


class SquaredLoss(nn.MSELoss):
    """The mean squared loss as a module that takes one-hot targets, for libraries that know losses as modules."""

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        """Mean over samples of the sum over classes; `nn.MSELoss` takes the mean over both."""
        return (input - target).square().sum(1).mean()
