"""The posterior of n50 from verdicts at many sizes: a psychometric function with lapses, on a grid.

P(fit | n) = (1 - lapse) Phi(log(threshold / n) / slope)

with the lapse the share of inits that fit at no size, and n50 the size where P(fit) is one half, lapses included:
n50 = threshold exp(-slope Phi^-1(0.5 / (1 - lapse))). The grid is one of log n50 (not of the threshold), slope and
lapse, so the marginal of n50, which is what is asked for, is a sum.

References:
    Kontsevich and Tyler 1999, "Bayesian adaptive estimation of psychometric slope and threshold" (Psi).
    Prins 2013, "The psi-marginal adaptive method" (information about the wanted parameter only).
    Watson 2017, "QUEST+: a general multidimensional Bayesian adaptive psychometric method".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

Array = npt.NDArray[np.float64]

#: Fits below e^-690 of the most likely count as that, so that no logarithm is infinite.
TINY = 1e-300
#: A cell of n50 whose best likelihood is below this share of the best of all is left out when the grid is narrowed.
NEGLIGIBLE = math.log(1e-8)
#: Outcomes of a batch followed at once while it is filled.
MAX_OUTCOMES = 64


@dataclass(frozen=True)
class Trials:
    """What was seen at one size: `fits` of `trials` fresh probes of n samples. Fractions count as such."""

    n: float
    fits: float
    trials: float


@dataclass(frozen=True)
class Prior:
    """What is believed before the first probe, and the grid that carries it.

    Independent: n50 log-uniform from half a sample to twice `n_max` (the mass outside [1, n_max] is that of a procedure
    that fits nothing, or the whole pool); the slope, in log n, uniform; the lapse Beta(1, lapse_beta), so its mean is
    1 / (1 + lapse_beta), up to `lapse_high`. The slopes' points are evenly spaced in their logarithm, the lapses' in
    their square root. A slope log-uniform, or one that may be smaller still, lets a search that stops at a width stop
    on a slope seen too small by chance: its intervals then cover less than they say at slopes of 0.1.

    Attributes:
        n_max: largest size.
        slope_low, slope_high: ends of the slopes.
        lapse_beta: second parameter of the lapse's prior.
        lapse_high: end of the lapses.
        sizes, slopes, lapses: points of the grid.
    """

    n_max: float
    slope_low: float = 0.02
    slope_high: float = 0.5
    lapse_beta: float = 19.0
    lapse_high: float = 0.4
    sizes: int = 80
    slopes: int = 8
    lapses: int = 4

    @property
    def ends(self) -> tuple[float, float]:
        """Smallest and largest log n50."""
        return math.log(0.5), math.log(2 * self.n_max)

    def slope_points(self) -> Array:
        """The slopes, (slopes,)."""
        return np.asarray(self.slope_low * (self.slope_high / self.slope_low) ** _middles(self.slopes))

    def lapse_points(self) -> Array:
        """The lapses, (lapses,)."""
        return np.asarray((self._lapse_edges[1:] + self._lapse_edges[:-1]) / 2)

    @property
    def _lapse_edges(self) -> Array:
        return np.asarray(self.lapse_high * np.linspace(0, 1, self.lapses + 1) ** 2)

    def log_weights(self) -> Array:
        """Logarithm of the prior of every slope and lapse, up to a constant, (slopes, lapses)."""
        mass = -np.diff((1 - self._lapse_edges) ** self.lapse_beta)
        return np.asarray(np.log(self.slope_points())[:, None] + np.log(mass))

    def to_dict(self) -> dict[str, Any]:
        """The prior as plain values, for the record."""
        return {
            "n50": f"log-uniform from 0.5 to {2 * self.n_max:g}",
            "slope": f"uniform from {self.slope_low:g} to {self.slope_high:g} in log n",
            "lapse": f"Beta(1, {self.lapse_beta:g}) up to {self.lapse_high:g}",
            "grid": [self.sizes, self.slopes, self.lapses],
        }


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is believed after the trials.

    Attributes:
        prior: what was believed before.
        trials: what was seen, in the order told.
        log_sizes: (sizes,) the middles of equal cells of log n50.
        log_weights: (sizes, slopes, lapses) the logarithm of the posterior, up to a constant.

    >>> posterior = Posterior.after(Prior(n_max=1000), [Trials(100, 8, 8), Trials(200, 0, 8)])
    >>> 100 < posterior.median < 200
    True
    """

    prior: Prior
    trials: tuple[Trials, ...]
    log_sizes: Array
    log_weights: Array = field(repr=False)
    _known: dict[float, Array] = field(default_factory=dict, repr=False)

    @classmethod
    def after(cls, prior: Prior, trials: Iterable[Trials] = ()) -> Posterior:
        """The posterior, its grid narrowed to where n50 can be."""
        return cls._over(prior, tuple(trials), prior.ends)._narrowed()

    def update(self, trials: Iterable[Trials]) -> Posterior:
        """The posterior after further trials."""
        more = tuple(trials)
        weights = self.log_weights + self._log_likelihood(more)
        found = Posterior(self.prior, self.trials + more, self.log_sizes, weights, self._known)
        return Posterior.after(self.prior, found.trials) if found._is_cut_off() else found._narrowed()

    @classmethod
    def _over(cls, prior: Prior, trials: tuple[Trials, ...], ends: tuple[float, float]) -> Posterior:
        low, high = ends
        grid = low + (high - low) * _middles(prior.sizes)
        flat = cls(prior, (), grid, np.zeros((prior.sizes, prior.slopes, prior.lapses)))
        weights = prior.log_weights() + flat._log_likelihood(trials)
        return cls(prior, trials, grid, weights, flat._known)

    def _log_likelihood(self, trials: tuple[Trials, ...]) -> Array:
        """Logarithm of the probability of trials in every cell, (sizes, slopes, lapses)."""
        n, fits, count = _merged(trials)
        fit = self._fits(n)
        logs = np.log(np.maximum(fit, TINY)), np.log(np.maximum(1 - fit, TINY))
        return np.asarray(np.tensordot(fits, logs[0], 1) + np.tensordot(count - fits, logs[1], 1))

    def _narrowed(self) -> Posterior:
        """The same on as narrow a grid as holds all that is likely."""
        found = self
        while (ends := found._likely_ends()) is not None:
            found = self._over(self.prior, self.trials, ends)
        return found

    def _is_cut_off(self) -> bool:
        """Whether likely sizes may lie outside a grid that was narrowed by earlier trials."""
        best = self.log_weights.max(axis=(1, 2))
        low, high = self.log_sizes[[0, -1]] + np.array([-1, 1]) * self._cell
        inside = np.array([low > self.prior.ends[0], high < self.prior.ends[1]])
        return bool((inside & (best[[0, -1]] > best.max() + NEGLIGIBLE)).any())

    def _likely_ends(self) -> tuple[float, float] | None:
        """Ends of a grid at most half as wide that holds all that is likely; None where there is none.

        A neighbour of each likely cell is kept, since a likelihood steeper than the grid hides between two points.
        """
        best = self.log_weights.max(axis=(1, 2))
        likely = np.flatnonzero(best > best.max() + NEGLIGIBLE)
        first, last = max(likely[0] - 1, 0), min(likely[-1] + 1, len(best) - 1)
        if 2 * (last - first + 1) > len(best):
            return None
        half = self._cell / 2
        return float(self.log_sizes[first] - half), float(self.log_sizes[last] + half)

    @cached_property
    def _cell(self) -> float:
        return float(self.log_sizes[1] - self.log_sizes[0])

    @cached_property
    def _slopes(self) -> Array:
        return self.prior.slope_points()

    @cached_property
    def _lapses(self) -> Array:
        return self.prior.lapse_points()

    @cached_property
    def _shift(self) -> Array:
        """Phi^-1(0.5 / (1 - lapse)), (lapses,)."""
        return np.asarray(ndtri(0.5 / (1 - self._lapses)))

    def _fit_probability(self, n: float) -> Array:
        """P(fit | n) in every cell, (sizes, slopes, lapses); kept for as long as the grid stays."""
        if n not in self._known:
            away = (self.log_sizes - math.log(n))[:, None, None]
            self._known[n] = (1 - self._lapses) * ndtr(away / self._slopes[:, None] + self._shift)
        return self._known[n]

    def _fits(self, sizes: Iterable[float]) -> Array:
        """P(fit | n) of several sizes, (len(sizes), sizes, slopes, lapses)."""
        shape = (-1, *self.log_sizes.shape, len(self._slopes), len(self._lapses))
        return np.array([self._fit_probability(float(n)) for n in sizes]).reshape(shape)

    @cached_property
    def weights(self) -> Array:
        """The posterior of every cell, (sizes, slopes, lapses); sums to one."""
        weights = np.exp(self.log_weights - self.log_weights.max())
        return np.asarray(weights / weights.sum())

    @cached_property
    def marginal(self) -> Array:
        """The posterior of each cell of log n50, (sizes,)."""
        return np.asarray(self.weights.sum(axis=(1, 2)))

    @cached_property
    def _edges(self) -> tuple[Array, Array]:
        """The cells' edges in log n50 and the posterior below each, both (sizes + 1,)."""
        edges = np.append(self.log_sizes - self._cell / 2, self.log_sizes[-1] + self._cell / 2)
        return edges, np.append(0.0, np.cumsum(self.marginal))

    def quantile(self, share: float) -> float:
        """The n50 below which that share of the posterior lies, linear in log n within a cell."""
        edges, below = self._edges
        return float(np.exp(np.interp(share, below, edges)))

    def below(self, n: float) -> float:
        """The posterior probability that n50 is below n."""
        edges, below = self._edges
        return float(np.interp(math.log(n), edges, below))

    @property
    def median(self) -> float:
        """Posterior median of n50."""
        return self.quantile(0.5)

    def interval(self, confidence: float) -> tuple[float, float]:
        """Central credible interval of n50."""
        return self.quantile((1 - confidence) / 2), self.quantile((1 + confidence) / 2)

    def curve(self, sizes: Sequence[float] | Array) -> Array:
        """The fitted curve: posterior mean of P(fit | n) at each size, (len(sizes),)."""
        return np.array([np.vdot(self.weights, self._fit_probability(float(n))) for n in sizes])

    def band(self, sizes: Sequence[float] | Array, confidence: float) -> Array:
        """Pointwise central credible band of P(fit | n): lower and upper end at each size, (len(sizes), 2)."""
        shares = [(1 - confidence) / 2, (1 + confidence) / 2]
        return np.array([_quantiles(self._fit_probability(float(n)), self.weights, shares) for n in sizes])

    @cached_property
    def _parameters(self) -> dict[str, Array]:
        """Threshold, slope and lapse of every cell, (sizes, slopes, lapses) each."""
        threshold = np.exp(self.log_sizes[:, None, None] + self._slopes[:, None] * self._shift)
        slope, lapse = np.broadcast_arrays(self._slopes[:, None], self._lapses)
        shape = threshold.shape
        return {
            "threshold": threshold,
            "slope": np.broadcast_to(slope, shape),
            "lapse": np.broadcast_to(lapse, shape),
        }

    def means(self) -> dict[str, float]:
        """Posterior means of threshold, slope and lapse; the threshold's is geometric."""
        found = {name: float(np.vdot(self.weights, values)) for name, values in self._parameters.items()}
        log_threshold = np.vdot(self.weights, np.log(self._parameters["threshold"]))
        return found | {"threshold": float(np.exp(log_threshold))}

    def modes(self) -> dict[str, float]:
        """Threshold, slope and lapse of the most probable cell."""
        best = np.unravel_index(int(self.log_weights.argmax()), self.log_weights.shape)
        return {name: float(values[best]) for name, values in self._parameters.items()}

    def parameter_intervals(self, confidence: float) -> dict[str, tuple[float, float]]:
        """Central credible intervals of threshold, slope and lapse, as fine as the grid."""
        shares = [(1 - confidence) / 2, (1 + confidence) / 2]
        ends = {name: _quantiles(values, self.weights, shares) for name, values in self._parameters.items()}
        return {name: (float(low), float(high)) for name, (low, high) in ends.items()}

    def designer(self, sizes: Sequence[int]) -> Designer:
        """What chooses the next probes among sizes."""
        return Designer(self.weights, self._fits(sizes))

    def information(self, sizes: Sequence[int]) -> Array:
        """Expected information of one more probe at each size about n50, in nats, (len(sizes),).

        The mutual information of the verdict and n50, slope and lapse marginalised: what a probe says of the slope
        alone counts nothing.
        """
        return self.designer(sizes).information()


class Designer:
    """Expected information about n50 of a batch of probes, filled one by one.

    The verdicts of a batch are taken as independent given n50, slope and lapse marginalised for each, so that all
    there is to know of a candidate is its P(fit) given n50.

    Args:
        weights: (sizes, slopes, lapses) the posterior.
        fit: (candidates, sizes, slopes, lapses) P(fit) of every candidate in every cell.
    """

    def __init__(self, weights: Array, fit: Array) -> None:
        marginal = weights.sum(axis=(1, 2))
        joint = np.einsum("cgk,gk->cg", fit.reshape(*fit.shape[:2], -1), weights.reshape(len(weights), -1))
        self._fit = np.clip(np.divide(joint, marginal, out=np.zeros_like(joint), where=marginal > TINY), 0, 1)
        #: Each row the joint probability of n50 and of one outcome of the batch so far, (outcomes, sizes).
        self._outcomes = marginal[None, :]
        self._entropies = _entropy(self._fit)

    def fit_probability(self) -> Array:
        """Predictive P(fit) of every candidate, (candidates,)."""
        return np.asarray(self._fit @ self._outcomes.sum(axis=0))

    def information(self) -> Array:
        """Information that a probe at each candidate adds to the batch so far, in nats, (candidates,)."""
        probability = self._outcomes.sum(axis=1)
        fits = self._outcomes @ self._fit.T / probability[:, None]
        within = self._entropies @ self._outcomes.sum(axis=0)
        return np.asarray(probability @ _entropy(np.clip(fits, 0, 1)) - within)

    def take(self, candidate: int) -> None:
        """Add a probe to the batch. Of many outcomes the most probable are followed."""
        fit = self._fit[candidate]
        outcomes = np.concatenate([self._outcomes * fit, self._outcomes * (1 - fit)])
        probability = outcomes.sum(axis=1)
        kept = np.argsort(-probability, kind="stable")[:MAX_OUTCOMES]
        kept = kept[probability[kept] > TINY]
        self._outcomes = outcomes[kept] / probability[kept].sum()


def _merged(trials: Iterable[Trials]) -> tuple[Array, Array, Array]:
    """Sizes, fits and trials with those of one size taken together: each size is evaluated once."""
    found: dict[float, tuple[float, float]] = {}
    for seen in trials:
        fits, count = found.get(seen.n, (0.0, 0.0))
        found[seen.n] = fits + seen.fits, count + seen.trials
    rows = np.array([(n, *seen) for n, seen in found.items()]).reshape(-1, 3)
    return rows[:, 0], rows[:, 1], rows[:, 2]


def _entropy(p: Array) -> Array:
    kept, lost = np.maximum(p, TINY), np.maximum(1 - p, TINY)
    return np.asarray(-p * np.log(kept) - (1 - p) * np.log(lost))


def _middles(cells: int) -> Array:
    return (np.arange(cells) + 0.5) / cells


def _quantiles(values: Array, weights: Array, shares: Sequence[float]) -> Array:
    """Weighted quantiles, linear between the values' mid-ranks."""
    order = np.argsort(values, axis=None)
    sorted_weights = weights.ravel()[order]
    ranks = np.cumsum(sorted_weights) - sorted_weights / 2
    return np.asarray(np.interp(shares, ranks, values.ravel()[order]))
