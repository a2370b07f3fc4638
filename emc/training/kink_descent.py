"""Descent that follows the kinks of ReLU, for networks with one hidden layer: an active-set Newton method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from emc.training.kinks import EXACT, MAX_DOWNWARD, orthonormal, worst_slopes
from emc.training.one_hidden import Array, Mask, OneHidden, Weights, as_arrays, as_module

if TYPE_CHECKING:
    from torch import Tensor

#: Products with the Hessian for one Newton direction, and the share of the gradient that may be left of it.
PRODUCTS, RESIDUAL = 100, 0.1

#: Damping of Newton's matrix by the preconditioner: at first, at least, and its factors after a full step and a short.
DAMPING, LEAST_DAMPING, EASED, STIFFENED = 1e-1, 1e-9, 0.3, 4.0

#: Kinks on which one Newton direction may land, one after the other.
LANDINGS = 50

#: Steps at flat points with a free slope at its end.
SETTLING = 20

#: Relative size of a pre-activation, or of a rise of the loss, that may be rounding only.
ROUNDING = 1e-14

#: Armijo's constant; share of the slope along a line that a step has to take away.
DECREASE, FLATTENING = 1e-4, 0.8


@dataclass(frozen=True, eq=False)
class KinkDescent:
    """Where the descent ended.

    Attributes:
        loss_before, loss_after: mean training loss.
        steps: Newton steps done.
        pairs: (sample, unit) pairs kept on their kink at the end.
        flat: whether it ended because the slope left is below the goal.
        module: a copy of the model in float64 there.
    """

    loss_before: float
    loss_after: float
    steps: int
    pairs: int
    flat: bool
    module: nn.Module

    @property
    def gain(self) -> float:
        """Share by which the loss fell."""
        return 1 - self.loss_after / self.loss_before if self.loss_before > 0 else 0.0


def follow_kinks(
    module: nn.Module, X: Tensor, y: Tensor, goal: float, steps: int, enough: float = 0.0
) -> KinkDescent | None:
    """Descend until the steepest one-sided slope is at most `goal`, the loss is below `enough`, or the steps end.

    A flat point with a free slope at its end is left for one where all are strictly inside, if a few steps suffice.

    Pairs of a sample and a unit that rest on their kink are linear constraints a . w = 0 on the unit's weights. Inside
    them, and inside a cell of the other pairs' signs, the loss is smooth: a Newton direction by projected conjugate
    gradients, then a search along it that knows every kink ahead. It ends where the line is nearly flat, or on a kink
    at which the derivative changes its sign; that pair joins the constraints. Pairs leave them along the direction of
    steepest descent, once it falls more across the constraints than inside them (proportioning).

    Args:
        module: Linear, ReLU or LeakyReLU, Linear; it is not changed.
        X: (n, *shape) inputs.
        y: (n,) labels.
        goal: slope, in units of the loss per unit of the parameters' Euclidean norm.
        steps: Newton steps at most.
        enough: loss below which nothing further is asked.

    Returns:
        Where it ended; None for other architectures.

    References:
        Womersley and Fletcher 1986, "An algorithm for composite nonsmooth optimization problems" (active kinks).
        Gould, Hribar and Nocedal 2001, "On the solution of equality constrained quadratic programming problems arising
        in optimization" (projected conjugate gradients). Dostal 1997, "Box constrained quadratic programming with
        proportioning and projections" (when to release).
    """
    found = as_arrays(module, X, y)
    if found is None:
        return None
    net, weights = found
    follower = _Follower(net, weights, goal)
    before = follower.loss
    done = settling = 0
    while not follower.settled() and settling < SETTLING and follower.loss > enough and done < steps:
        if not follower.step():
            break
        done, settling = done + 1, settling + follower.flat()
    after = as_module(module, follower.weights())
    return KinkDescent(before, follower.loss, done, int(follower.on.sum()), follower.flat(), after)


class _Follower:
    """Weights on their kinks, in coordinates in which the samples' second moment is the identity.

    There first-layer weights u of a unit give pre-activations U u, with U^T U = n; (width, rank) for all units. What a
    unit's weights hold outside the span of the samples changes nothing and stays.
    """

    def __init__(self, net: OneHidden, weights: Weights, goal: float) -> None:
        left, scales, self._axes = np.linalg.svd(net.points, full_matrices=False)
        rank = int((scales > 1e-9 * scales[0]).sum())
        root = len(net.points) ** 0.5
        self._axes, self._scales = self._axes[:rank], scales[:rank] / root
        self._net = replace(net, points=left[:, :rank] * root)
        inside = weights.first @ self._axes.T
        self._outside = weights.first - inside @ self._axes
        self._at = replace(weights, first=inside * self._scales)
        self._goal = goal
        self._before = self._net.points @ self._at.first.T
        self.on: Mask = np.abs(self._before) <= EXACT * np.abs(self._before).max(0)
        self._rows = [np.zeros((0, rank))] * len(inside)
        self._constrain(self.on)
        self._before[self.on] = 0.0
        self._positive = self._before > 0
        self._damping = DAMPING
        self._look()

    def weights(self) -> Weights:
        """In the model's own coordinates."""
        return replace(self._at, first=(self._at.first / self._scales) @ self._axes + self._outside)

    @property
    def loss(self) -> float:
        """At the current weights."""
        return self._values.loss

    def flat(self) -> bool:
        """Whether the steepest slope, in the model's own coordinates, is at most the goal."""
        first = (self._element.first * self._scales).ravel()
        return _norm(first, self._element.last, self._element.bias) <= self._goal

    def settled(self) -> bool:
        """Whether it is flat with every slope strictly inside its interval."""
        return self.flat() and not (self.on & self._at_ends).any()

    def step(self) -> bool:
        """One direction and the searches along it; whether there was any descent."""
        inside, whole = _squares(self._project(self._gradient)), _squares(self._element)
        leaving = self.on & self._at_ends
        if whole > 2 * inside and leaving.any():
            self._release(leaving)
            direction = self._project(_scaled(self._element, -1.0))
            curvature = _dot(direction, self._product(direction))
            length = _squares(direction) / curvature if curvature > 0 else 1.0
        else:
            direction, length = self._newton(), 1.0
        moved = False
        for _ in range(LANDINGS):
            step, landed = self._search(direction, length)
            if step == 0:
                break
            if not moved:
                self._adapt(step / length)
            self._move(direction, step, landed)
            moved, length = True, length - step
            if not landed.any() or length <= 0:
                break
            direction = self._project(direction)
        self._look()
        return moved

    def _adapt(self, share: float) -> None:
        """Newton's matrix is trusted more after a full step, less after one cut short."""
        if share >= 0.5:
            self._damping = max(EASED * self._damping, LEAST_DAMPING)
        elif share < 0.1:
            self._damping *= STIFFENED

    def _look(self) -> None:
        """Gradient inside the constraints, and the element of steepest descent with the slopes it takes."""
        slopes = self._slopes()
        self._values = self._net.values(self._before, slopes, self._at.last, self._at.bias)
        points, delta = self._net.points, self._values.delta
        first = (delta * slopes).T @ points
        self._gradient = Weights(first, self._values.error.T @ self._values.hidden, self._values.error.sum(0))
        element, self._at_ends = first.copy(), np.zeros_like(self.on)
        self._upper = np.zeros_like(self.on)
        for j in np.flatnonzero(self.on.any(0)):
            rows = self.on[:, j]
            columns = delta[rows, j, None] * points[rows]
            downward = delta[rows, j] < 0
            downward[np.argsort(delta[rows, j])[MAX_DOWNWARD:]] = False
            found = worst_slopes(first[j], columns, downward, self._net.negative)
            element[j] += found @ columns
            margin = 1e-12 * (1 - self._net.negative)
            self._upper[rows, j] = found >= 1 - margin
            self._at_ends[rows, j] = self._upper[rows, j] | (found <= self._net.negative + margin)
        self._element = replace(self._gradient, first=element)

    def _slopes(self) -> Array:
        return np.where(self.on, 0.0, np.where(self._positive, 1.0, self._net.negative))

    def _project(self, vector: Weights) -> Weights:
        """Onto the directions that keep the constraints."""
        first = vector.first.copy()
        for j, rows in enumerate(self._rows):
            if len(rows):
                first[j] -= (rows @ first[j]) @ rows
        return replace(vector, first=first)

    def _constrain(self, changed: Mask) -> None:
        """Take the constraints of the units anew whose pairs have changed."""
        for j in np.flatnonzero(changed.any(0)):
            self._rows[j] = orthonormal(self._net.points[self.on[:, j]])

    def _release(self, leaving: Mask) -> None:
        self.on = self.on & ~leaving
        self._positive = np.where(leaving, self._upper, self._positive)
        self._constrain(leaving)

    def _product(self, vector: Weights) -> Weights:
        """Hessian of the smooth piece times a direction that keeps the constraints, not projected."""
        values, slopes, points = self._values, self._slopes(), self._net.points
        hidden = slopes * (points @ vector.first.T)
        logits = hidden @ self._at.last.T + values.hidden @ vector.last.T + vector.bias
        error = values.shares * logits
        error = (error - values.shares * error.sum(1, keepdims=True)) / len(points)
        delta = error @ self._at.last + values.error @ vector.last
        first = (delta * slopes).T @ points
        return Weights(first, error.T @ values.hidden + values.error.T @ hidden, error.sum(0))

    def _newton(self) -> Weights:
        """Newton's direction by conjugate gradients, up to negative curvature, its matrix damped."""
        precondition = self._preconditioner()
        direction = _scaled(self._gradient, 0.0)
        residual = _scaled(self._gradient, -1.0)
        search = towards = precondition(residual)
        damper = residual  # the inverse of the preconditioner, times the search direction
        power = start = _dot(residual, towards)
        for _ in range(PRODUCTS):
            image = _sum(self._product(search), damper, self._damping)
            curvature = _dot(search, image)
            if curvature <= 0:
                return direction if _squares(direction) > 0 else search
            direction = _sum(direction, search, power / curvature)
            residual = _sum(residual, image, -power / curvature)
            towards = precondition(residual)
            before, power = power, _dot(residual, towards)
            if power <= RESIDUAL**2 * start:
                break
            search = _sum(towards, search, power / before)
            damper = _sum(residual, damper, power / before)
        return direction

    def _preconditioner(self) -> Callable[[Weights], Weights]:
        """Inverse of the Gauss-Newton matrix without the couplings between units and layers, inside the constraints."""
        values, last = self._values, self._at.last
        logit = values.shares @ last**2 - (values.shares @ last) ** 2
        first = (logit * self._slopes() ** 2).mean(0)
        first += 1e-3 * first.mean() + 1e-12
        hidden = np.hstack([values.hidden, np.ones((len(values.hidden), 1))])
        gram = hidden.T @ hidden / len(hidden) * (values.shares * (1 - values.shares)).mean()
        inverse = np.linalg.inv(gram + (1e-3 * np.trace(gram) / len(gram) + 1e-12) * np.eye(len(gram)))

        def apply(vector: Weights) -> Weights:
            both = np.hstack([vector.last, vector.bias[:, None]]) @ inverse
            return Weights(self._project(vector).first / first[:, None], both[:, :-1], both[:, -1])

        return apply

    def _search(self, direction: Weights, length: float) -> tuple[float, Mask]:
        """Step along a direction, and the pairs that it lands on."""
        line = _Line(self._net, self._at, self._before, self._positive, self.on, direction)
        return line.search(length)

    def _move(self, direction: Weights, step: float, landed: Mask) -> None:
        self._at = _sum(self._at, direction, step)
        before = self._net.points @ self._at.first.T
        landed = ~self.on & (landed | (np.abs(before) <= ROUNDING * np.abs(before).max(0)))
        self.on = self.on | landed
        self._constrain(landed)
        for j, rows in enumerate(self._rows):  # against rounding
            if len(rows):
                self._at.first[j] -= (rows @ self._at.first[j]) @ rows
        self._before = np.where(self.on, 0.0, self._net.points @ self._at.first.T)
        self._positive = self._before > 0


class _Line:
    """The loss along a direction, with the places where pairs cross their kinks."""

    def __init__(
        self, net: OneHidden, at: Weights, before: Array, positive: Mask, on: Mask, direction: Weights
    ) -> None:
        self._net, self._at, self._direction = net, at, direction
        self._before, self._positive, self._on = before, positive, on
        change = np.where(on, 0.0, net.points @ direction.first.T)
        change[np.abs(change) <= 1e-13 * np.abs(change).max()] = 0.0
        self._change = change
        with np.errstate(divide="ignore", invalid="ignore"):
            crossing = -before / change
        self._crossing = np.where((change != 0) & (crossing >= 0), crossing, np.inf)
        self._kinks = np.unique(self._crossing[np.isfinite(self._crossing)])
        self._start, self._falls = self._at_step(0.0)[:2]

    def _at_step(self, step: float) -> tuple[float, float, float]:
        """Loss, the derivative just after the step and the one just before it."""
        after = self._crossing <= step
        slopes = np.where(np.where(after, self._change > 0, self._positive), 1.0, self._net.negative)
        slopes[self._on] = 0.0
        last, bias = self._at.last + step * self._direction.last, self._at.bias + step * self._direction.bias
        values = self._net.values(self._before + step * self._change, slopes, last, bias)
        right = float((values.delta * slopes * self._change).sum())
        right += float((values.error * (values.hidden @ self._direction.last.T + self._direction.bias)).sum())
        here = self._crossing == step
        jump = float((values.delta * np.abs(self._change))[here].sum()) * (1 - self._net.negative)
        return values.loss, right, right - jump

    def search(self, length: float) -> tuple[float, Mask]:
        """A step with Armijo's decrease at which the line is nearly flat or bends upward; 0 if there is none."""
        nothing = np.zeros_like(self._on)
        if not self._falls < 0:
            return 0.0, nothing
        low, high = 0.0, np.inf
        step = length
        for _ in range(100):
            loss, right, left = self._at_step(step)
            if not loss <= self._start + DECREASE * step * self._falls + ROUNDING * self._start or left > 0:
                high = step
            elif right > 0:
                return step, self._crossing == step
            else:
                low = step
                if right >= FLATTENING * self._falls and high == np.inf:
                    break
            ahead = self._kinks[np.searchsorted(self._kinks, low, "right") : np.searchsorted(self._kinks, high)]
            if high == np.inf:
                step *= 4
            elif len(ahead):
                step = float(ahead[len(ahead) // 2])
            elif low > 0 and right >= 0.5 * self._falls and step == low:
                break
            else:
                step = (low + high) / 2
            if high - low <= 1e-15 * high:
                break
        return low, nothing


def _dot(a: Weights, b: Weights) -> float:
    return float((a.first * b.first).sum() + (a.last * b.last).sum() + a.bias @ b.bias)


def _squares(a: Weights) -> float:
    return _dot(a, a)


def _norm(*parts: Array) -> float:
    return float(np.sqrt(sum(float((part**2).sum()) for part in parts)))


def _scaled(a: Weights, factor: float) -> Weights:
    return Weights(factor * a.first, factor * a.last, factor * a.bias)


def _sum(a: Weights, b: Weights, factor: float) -> Weights:
    return Weights(a.first + factor * b.first, a.last + factor * b.last, a.bias + factor * b.bias)
