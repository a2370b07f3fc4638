"""Stationarity at the kinks of ReLU: the steepest one-sided slope of the loss of a network with one hidden layer."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import lsq_linear
from torch import nn

from emc.training.one_hidden import Array, Mask, as_arrays, as_module

if TYPE_CHECKING:
    from torch import Tensor

#: Pre-activation, relative to the largest of its unit over the samples, that is moved onto the kink. Measured on eight
#: failures of mlp:width=8 on digits: 1e-5 and 1e-4 give slopes within a fifth of each other and move the loss by at
#: most 4e-6 of itself; 1e-3 takes pairs that are on no kink, and moves it by up to 2e-3.
NEAR = 1e-4

#: The same once a descent has followed the kinks: pairs it keeps are off by rounding only.
EXACT = 1e-9

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
        inside: least distance of a pair's slope from the ends of its interval, relative to its length; 0 where a
            slope is at an end, infinite without pairs.
        descent: (parameters,) the direction of it, of length `slope`, in the order of the parameters.
        rows: (constraints, d + 1) orthonormal, of each unit: its weights keep their kinks along what they are 0 on.
        module: a copy of the model in float64, moved onto the kinks.
    """

    pairs: int
    downward: int
    near: float
    moved: float
    slope: float
    inside: float
    descent: Array
    rows: Sequence[Array]
    module: nn.Module

    def along(self, vector: Array) -> Array:
        """The part of a (parameters,) vector that keeps every pair on its kink."""
        width, size = len(self.rows), self.rows[0].shape[1]
        first = vector[: width * size]
        weights = np.hstack([first[: width * (size - 1)].reshape(width, -1), first[width * (size - 1) :, None]])
        for j, rows in enumerate(self.rows):
            weights[j] -= (rows @ weights[j]) @ rows
        return np.concatenate([weights[:, :-1].ravel(), weights[:, -1], vector[width * size :]])


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
    found = as_arrays(module, X, y)
    if found is None:
        return None
    net, weights = found
    before = net.points @ weights.first.T
    on = np.abs(before) <= near * np.abs(before).max(0)
    first = _moved(weights.first, net.points, on)
    if first is None:
        return None
    at_first = net.values(before, net.slopes(before, np.zeros_like(on)), weights.last, weights.bias)
    moved = net.points @ first.T
    slopes = net.slopes(moved, on)
    values = net.values(moved, slopes, weights.last, weights.bias)
    downward = on & (values.delta < 0)
    if downward.sum(0).max() > MAX_DOWNWARD:
        return None
    gradient, inside = (values.delta * slopes).T @ net.points, math.inf
    for j in np.flatnonzero(on.any(0)):
        rows = on[:, j]
        columns = values.delta[rows, j, None] * net.points[rows]
        taken = worst_slopes(gradient[j], columns, downward[rows, j], net.negative)
        gradient[j] += taken @ columns
        inside = min(inside, float(np.minimum(taken - net.negative, 1 - taken).min()) / (1 - net.negative))
    last = (values.error.T @ values.hidden, values.error.sum(0))
    descent = -np.concatenate([gradient[:, :-1].ravel(), gradient[:, -1], *map(np.ravel, last)])
    return KinkSlope(
        pairs=int(on.sum()),
        downward=int(downward.sum()),
        near=near,
        moved=values.loss / at_first.loss - 1,
        slope=float(np.linalg.norm(descent)),
        inside=max(inside, 0.0),
        descent=descent,
        rows=[orthonormal(net.points[on[:, j]]) for j in range(on.shape[1])],
        module=as_module(module, replace(weights, first=first)),
    )


def orthonormal(rows: Array) -> Array:
    """(rank, d + 1) orthonormal rows of the same span."""
    _, scales, axes = np.linalg.svd(rows, full_matrices=False)
    return np.asarray(axes[scales > 1e-10 * scales.max(initial=0.0)])


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


def worst_slopes(fixed: Array, columns: Array, downward: Mask, negative: float) -> Array:
    """Slopes s of the smallest element fixed + sum s_i columns_i, s free where upward, largest over the downward ends.

    Args:
        fixed: (d,) gradient of what has no kink.
        columns: (pairs, d) difference a pair's slope 1 makes to the gradient.
        downward: (pairs,) whether the loss bends downward at the pair.
        negative: least slope of a pair, below 1.

    Returns:
        (pairs,) slopes.
    """
    found: list[tuple[float, Array]] = []
    for ends in itertools.product((negative, 1.0), repeat=int(downward.sum())):
        slopes = np.zeros(len(columns))
        slopes[downward] = ends
        slopes[~downward] = _free_slopes(fixed + slopes @ columns, columns[~downward], negative)
        element = fixed + slopes @ columns
        found.append((float(element @ element), slopes))
    return max(found, key=lambda pair: pair[0])[1]


def _free_slopes(fixed: Array, columns: Array, negative: float) -> Array:
    """The slopes in their box that leave the smallest element."""
    scale = np.abs(columns).max(initial=0.0)
    if scale == 0:
        return np.full(len(columns), 1.0)
    slopes = np.linalg.lstsq(columns.T / scale, -fixed / scale, rcond=None)[0]
    if slopes.min() > negative and slopes.max() < 1:
        return np.asarray(slopes)
    solved = lsq_linear(columns.T / scale, -fixed / scale, bounds=(negative, 1.0), method="bvls", tol=1e-14)
    return np.asarray(solved.x)
