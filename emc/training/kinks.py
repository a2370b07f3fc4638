"""Stationarity at the kinks of ReLU: the steepest one-sided slope of the loss of a network with one hidden layer."""

from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import lsq_linear
from torch import nn

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

#: Pre-activation, relative to the largest of its unit over the samples, that is moved onto the kink. Measured on eight
#: failures of mlp:width=8 on digits: 1e-5 and 1e-4 give slopes within a fifth of each other and move the loss by at
#: most 4e-6 of itself; 1e-3 takes pairs that are on no kink, and moves it by up to 2e-3.
NEAR = 1e-4

#: Downward kinks of one unit whose slopes are tried in every combination.
MAX_DOWNWARD = 8


@dataclass(frozen=True, eq=False)
class KinkSlope:
    """How steeply the loss can fall from a point on kinks.

    Attributes:
        pairs: (sample, unit) pairs on their kink.
        downward: those among them where the loss bends downward.
        near: `NEAR`, as it was used.
        moved: relative change of the loss by moving onto the kinks.
        slope: minus the least one-sided directional derivative there over unit directions of all parameters; 0 exactly
            at first-order stationary points.
        descent: (parameters,) the direction of it, of length `slope`, in the order of the parameters.
        module: a copy of the model in float64, moved onto the kinks.
    """

    pairs: int
    downward: int
    near: float
    moved: float
    slope: float
    descent: Array
    module: nn.Module


def steepest_slope(module: nn.Module, X: Tensor, y: Tensor, near: float = NEAR) -> KinkSlope | None:
    """The steepest one-sided slope of the mean loss of Linear, ReLU or LeakyReLU, Linear.

    Units first move onto the kinks they nearly rest on, by the smallest change of their weights. There the directional
    derivative is exact: with delta = dL/dh and a = (x, 1), along d it is g . d plus, for each pair on its kink,
    delta * max(s a . d) over the slopes s in [s_neg, 1]. Where delta >= 0 that bends upward and s is free; where
    delta < 0 it bends downward and the worse end counts. So minus the least derivative over unit d is the largest, over
    the ends of the downward slopes, of the smallest norm of g + sum delta s a over the free ones: a box-constrained
    least-squares problem a unit, since the slopes of a unit enter the gradient of its own weights only. (Were every
    slope free, as in Clarke's subdifferential, the top of -|x| would be stationary.)

    Args:
        module: the model; it is not changed.
        X: (n, *shape) inputs.
        y: (n,) labels.
        near: pre-activation, relative to the largest of its unit over the samples, that is moved onto the kink.

    Returns:
        The slope; None where it is not known how to find it: other architectures (with more hidden layers the
        gradient is a product of slopes), frozen parameters, more than `MAX_DOWNWARD` downward kinks at one unit, or
        kinks that a unit cannot reach all at once.

    References:
        Clarke 1990, "Optimization and nonsmooth analysis", section 2.1. Stark and Parker 1995, "Bounded-variable
        least squares" (the solver).
    """
    module = copy.deepcopy(module).double().eval()
    layers = _layers(module)
    if layers is None:
        return None
    first, negative, last = layers
    points = np.hstack([X.flatten(1).double().cpu().numpy(), np.ones((len(X), 1))])
    labels = y.cpu().numpy()
    weights = np.hstack([_array(first.weight), _array(first.bias)[:, None]])
    on = np.abs(points @ weights.T) <= near * np.abs(points @ weights.T).max(0)
    moved = _moved(weights, points, on)
    if moved is None:
        return None
    before, *_ = _backward(weights, last, negative, points, labels, np.zeros_like(on))
    after, delta, slopes, last_gradient = _backward(moved, last, negative, points, labels, on)
    downward = on & (delta < 0)
    if downward.sum(0).max() > MAX_DOWNWARD:
        return None
    fixed = (delta * slopes).T @ points
    gradient = np.stack(
        [
            worst_element(fixed[j], delta[on[:, j], j, None] * points[on[:, j]], downward[on[:, j], j], negative)
            for j in range(len(fixed))
        ]
    )
    descent = -np.concatenate([gradient[:, :-1].ravel(), gradient[:, -1], *map(np.ravel, last_gradient)])
    with torch.no_grad():
        first.weight.copy_(torch.from_numpy(moved[:, :-1]))
        first.bias.copy_(torch.from_numpy(moved[:, -1]))
    slope = float(np.linalg.norm(descent))
    return KinkSlope(int(on.sum()), int(downward.sum()), near, after / before - 1, slope, descent, module)


def _layers(module: nn.Module) -> tuple[nn.Linear, float, nn.Linear] | None:
    """The two Linear layers with the slope below 0 of what lies between; None for other architectures."""
    if type(module) is not nn.Sequential:
        return None
    match [child for child in module if not isinstance(child, nn.Flatten)]:
        case [nn.Linear() as first, nn.ReLU() | nn.LeakyReLU() as activation, nn.Linear() as last]:
            negative = float(getattr(activation, "negative_slope", 0.0))
        case _:
            return None
    whole = all(layer.bias is not None and all(p.requires_grad for p in layer.parameters()) for layer in (first, last))
    return (first, negative, last) if whole and negative <= 1 else None


def _array(tensor: Tensor) -> Array:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=np.float64)


def _moved(weights: Array, points: Array, on: Mask) -> Array | None:
    """(width, d + 1) weights nearest to the given ones with every pair of `on` on its kink."""
    moved = weights.copy()
    for j in np.flatnonzero(on.any(0)):
        rows = points[on[:, j]]
        moved[j] -= np.linalg.lstsq(rows, rows @ weights[j], rcond=None)[0]
        unreached = np.abs(rows @ moved[j]).max() > 1e-10 * np.abs(points @ weights[j]).max()
        emptied = np.linalg.norm(moved[j]) <= 1e-10 * np.linalg.norm(weights[j])
        if unreached or emptied:
            return None
    return moved


def _backward(
    weights: Array, last: nn.Linear, negative: float, points: Array, labels: npt.NDArray[np.int64], on: Mask
) -> tuple[float, Array, Array, tuple[Array, Array]]:
    """Mean loss; (n, width) its derivative by the hidden units and their slopes (0 on a kink); the last gradients."""
    before = points @ weights.T
    slopes = np.where(on, 0.0, np.where(before > 0, 1.0, negative))
    hidden = slopes * before
    logits = hidden @ _array(last.weight).T + _array(last.bias)
    logits -= logits.max(1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    rows = np.arange(len(labels))
    error = np.exp(log_p)
    error[rows, labels] -= 1
    error /= len(labels)
    gradient = (error.T @ hidden, error.sum(0))
    return -float(log_p[rows, labels].mean()), error @ _array(last.weight), slopes, gradient


def worst_element(fixed: Array, columns: Array, downward: Mask, negative: float) -> Array:
    """Of the smallest elements of fixed + sum s_i columns_i, s free where upward, the largest over the downward ends.

    Args:
        fixed: (d,) gradient of what has no kink.
        columns: (pairs, d) difference a pair's slope 1 makes to the gradient.
        downward: (pairs,) whether the loss bends downward at the pair.
        negative: least slope of a pair, below 1.
    """
    free = columns[~downward].T
    found = []
    for ends in itertools.product((negative, 1.0), repeat=int(downward.sum())):
        element = fixed + np.asarray(ends) @ columns[downward]
        scale = np.abs(free).max(initial=0.0)
        if scale > 0 and negative < 1:
            solved = lsq_linear(free / scale, -element / scale, bounds=(negative, 1.0), method="bvls", tol=1e-14)
            element = element + free @ solved.x
        else:
            element = element + free.sum(1)
        found.append(element)
    return max(found, key=lambda element: float(element @ element))
