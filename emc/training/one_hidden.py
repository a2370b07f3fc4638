"""Networks with one hidden layer of ReLU or LeakyReLU as plain arrays, where their kinks can be told one by one."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Weights:
    """Of both layers.

    Attributes:
        first: (width, d + 1), the biases last.
        last: (K, width).
        bias: (K,) of the last layer.
    """

    first: Array
    last: Array
    bias: Array


@dataclass(frozen=True, eq=False)
class Values:
    """What the samples give at some weights.

    Attributes:
        loss: mean cross-entropy.
        shares: (n, K) softmax of the logits.
        error: (n, K) derivative of the loss by the logits.
        hidden: (n, width) activations.
        delta: (n, width) derivative of the loss by the activations.
    """

    loss: float
    shares: Array
    error: Array
    hidden: Array
    delta: Array


@dataclass(frozen=True, eq=False)
class OneHidden:
    """The samples, as such a network sees them.

    Attributes:
        points: (n, d + 1) inputs, then the constant 1.
        labels: (n,) classes.
        negative: slope of the activation below 0, below 1.
    """

    points: Array
    labels: npt.NDArray[np.int64]
    negative: float

    def values(self, before: Array, slopes: Array, last: Array, bias: Array) -> Values:
        """Loss and derivatives for (n, width) pre-activations and the slopes that are taken at them."""
        hidden = slopes * before
        logits = hidden @ last.T + bias
        logits -= logits.max(1, keepdims=True)
        shares = np.exp(logits)
        total = shares.sum(1, keepdims=True)
        shares /= total
        rows = np.arange(len(self.labels))
        error = shares.copy()
        error[rows, self.labels] -= 1
        error /= len(rows)
        loss = float((np.log(total[:, 0]) - logits[rows, self.labels]).mean())
        return Values(loss, shares, error, hidden, error @ last)

    def slopes(self, before: Array, on: Mask) -> Array:
        """Slope of the activation, 0 for pairs that are on their kink."""
        return np.where(on, 0.0, np.where(before > 0, 1.0, self.negative))


def as_arrays(module: nn.Module, X: Tensor, y: Tensor) -> tuple[OneHidden, Weights] | None:
    """A Linear, ReLU or LeakyReLU, Linear model; None for other architectures, no biases or frozen parameters."""
    layers = _layers(module)
    if layers is None:
        return None
    first, negative, last = layers
    points = np.hstack([X.flatten(1).double().cpu().numpy(), np.ones((len(X), 1))])
    weights = np.hstack([_array(first.weight), _array(first.bias)[:, None]])
    return OneHidden(points, y.cpu().numpy(), negative), Weights(weights, _array(last.weight), _array(last.bias))


def as_module(module: nn.Module, weights: Weights) -> nn.Module:
    """A copy of the model in float64 and eval mode, with these weights."""
    module = copy.deepcopy(module).double().eval()
    layers = _layers(module)
    if layers is None:
        raise TypeError("the model must be Linear, ReLU or LeakyReLU, Linear")
    first, _, last = layers
    parts = (first.weight, weights.first[:, :-1]), (first.bias, weights.first[:, -1])
    with torch.no_grad():
        for parameter, value in (*parts, (last.weight, weights.last), (last.bias, weights.bias)):
            parameter.copy_(torch.from_numpy(value))
    return module


def _layers(module: nn.Module) -> tuple[nn.Linear, float, nn.Linear] | None:
    """The two Linear layers with the slope below 0 of what lies between."""
    if type(module) is not nn.Sequential:
        return None
    match [child for child in module if not isinstance(child, nn.Flatten)]:
        case [nn.Linear() as first, nn.ReLU() | nn.LeakyReLU() as activation, nn.Linear() as last]:
            negative = float(getattr(activation, "negative_slope", 0.0))
        case _:
            return None
    whole = all(layer.bias is not None and all(p.requires_grad for p in layer.parameters()) for layer in (first, last))
    return (first, negative, last) if whole and negative < 1 else None


def _array(tensor: Tensor) -> Array:
    return np.array(tensor.detach().cpu().numpy(), dtype=np.float64)
