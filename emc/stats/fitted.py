"""A psychometric curve through draws that were each tried at several sizes, and its n50."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from emc.stats.psychometric import Posterior, Prior, Trials

Array = npt.NDArray[np.float64]

#: Draws from which an interval is offered, as for replicates.
MIN_DRAWS = 6

#: Bootstrap resamples of the draws; their standard deviation is then known to 5 %.
RESAMPLES = 200

#: Sizes at which the curve is given.
CURVE_POINTS = 31


@dataclass(frozen=True)
class FittedCurve:
    """P(fit) as a function of n, and the n at which it is 1/2.

    Attributes:
        n50: posterior median.
        n50_if_trained: the same, undertrained failures counted as fits; None where no failure is undertrained, or where
            the sizes then no longer bracket it.
        censored: whether n50 is only a lower bound: counted as fits, the undertrained failures would take it above the
            interval, or leave it without an upper end.
        interval: for n50; None where there is none.
        method: how it was made, or why there is none.
        sizes: n at which the curve is given.
        values: P(fit) there.
        low, high: pointwise band; empty where there is no interval.
    """

    n50: float
    n50_if_trained: float | None
    censored: bool
    interval: tuple[float, float] | None
    method: str
    sizes: tuple[float, ...]
    values: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FittedCurve:
        """From plain JSON values."""
        lists = {name: tuple(values[name]) for name in ("sizes", "values", "low", "high")}
        return cls(**{**values, **lists, "interval": pair(values["interval"])})


def pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    """An interval as JSON has it."""
    return None if value is None else (value[0], value[1])


def fit_curve(
    sizes: Sequence[int], fits: Array, trials: Array, undertrained: Array, n_max: int, confidence: float
) -> FittedCurve | None:
    """A curve through the shares of draws that fit, and n50 with an interval.

    The curve is the posterior mean of a psychometric function with lapses. Its own credible interval takes all trials
    for independent. They are not: a draw's smaller samples are the beginning of its larger ones. So the draws are also
    resampled, each with all its sizes (cluster bootstrap), and Student's t for their number is laid around log n50 with
    the resamples' standard deviation. Of the two intervals the wider end counts on either side; the band is made in
    the same way.

    Args:
        sizes: n, ascending.
        fits: (draws, sizes) 1 where a draw fitted.
        trials: (draws, sizes) 1 where it gave evidence.
        undertrained: (draws, sizes) 1 where it failed for what may be a lack of training.
        n_max: rows of the pool.
        confidence: of the interval, and of the band at each size.

    Returns:
        None where the shares do not lie on both sides of one half: then nothing tells n50.

    References:
        Cameron, Gelbach and Miller 2008, "Bootstrap-Based Improvements for Inference with Clustered Errors".
    """
    if not _bracketed(fits, trials):
        return None
    prior = Prior(n_max=n_max)
    found = _posterior(prior, sizes, fits.sum(0), trials.sum(0))
    shown = np.geomspace(sizes[0], sizes[-1], CURVE_POINTS)
    values = found.curve(shown)
    interval, band, method = _spread(found, sizes, fits, trials, shown, values, confidence)
    better = fits + undertrained
    if_trained = None
    if _bracketed(better, trials) and undertrained.any():
        if_trained = _posterior(prior, sizes, better.sum(0), trials.sum(0)).median
    beyond = if_trained is not None and interval is not None and if_trained > interval[1]
    return FittedCurve(
        n50=found.median,
        n50_if_trained=if_trained,
        censored=beyond or not _bracketed(better, trials),
        interval=interval,
        method=method,
        sizes=tuple(map(float, shown)),
        values=tuple(map(float, values)),
        low=tuple(map(float, band[0])),
        high=tuple(map(float, band[1])),
    )


def _bracketed(fits: Array, trials: Array) -> bool:
    shares = fits.sum(0) / trials.sum(0)
    return bool(shares.max() >= 0.5 > shares.min())


def _posterior(prior: Prior, sizes: Sequence[int], fits: Array, trials: Array) -> Posterior:
    seen = zip(sizes, fits.tolist(), trials.tolist(), strict=True)
    return Posterior.after(prior, [Trials(*counts) for counts in seen])


def _spread(
    found: Posterior,
    sizes: Sequence[int],
    fits: Array,
    trials: Array,
    shown: Array,
    values: Array,
    confidence: float,
) -> tuple[tuple[float, float] | None, Array, str]:
    """The interval, the band's lower and upper ends (2, sizes shown), and how they were made."""
    draws = len(fits)
    if draws < MIN_DRAWS:
        return None, np.zeros((2, 0)), f"{draws} draws give none; raise --draws to {MIN_DRAWS} or more"
    weights = np.random.default_rng(0).multinomial(draws, np.full(draws, 1 / draws), size=RESAMPLES)
    resampled = [_posterior(found.prior, sizes, w @ fits, w @ trials) for w in weights]
    t = float(stats.t.ppf((1 + confidence) / 2, draws - 1))
    half = t * float(np.std(np.log([posterior.median for posterior in resampled]), ddof=1))
    low, high = found.interval(confidence)
    interval = min(low, found.median * math.exp(-half)), max(high, found.median * math.exp(half))
    halves = t * np.std([posterior.curve(shown) for posterior in resampled], axis=0, ddof=1)
    own = found.band(shown, confidence).T
    band = np.stack([np.minimum(own[0], values - halves), np.maximum(own[1], values + halves)]).clip(0, 1)
    return interval, band, f"posterior, or Student's t over {draws} resampled draws where that is wider"
