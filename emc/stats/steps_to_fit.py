"""Steps to fit against n: a law fitted to probes below the EMC, and where it reaches the budget.

A budgeted procedure fits n samples if that takes no more steps than the budget, so the EMC is where the steps of a
middling draw run into it. `LAW` is the one of several candidates whose extrapolations came nearest to measured EMCs;
what it is worth is `STUDY`. Both were found by benchmarks/estimate.py.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from emc.errors import SpecError

Array = npt.NDArray[np.float64]

#: Fewest distinct sizes that a law is fitted to.
MIN_SIZES = 3

#: Extrapolations to more than this many times the largest fitted size are refused.
MAX_RATIO = 3.0

#: Bootstrap resamples of the replicates.
RESAMPLES = 200


@dataclass(frozen=True)
class FittedIn:
    """What one probe shows of the steps to fit.

    Attributes:
        n: samples.
        replicate: whose.
        share: steps to fit over the budget; 1 where the probe was not fitted, which takes at least the budget.
    """

    n: int
    replicate: int
    share: float


@dataclass(frozen=True)
class Law:
    """log(steps / budget) = intercept + slope * n ** exponent, and the share of the budget where the EMC lies.

    Attributes:
        exponent: 1 is exponential growth of the steps; 0 stands for log n, a power law.
        reached: share of the budget up to which the law is followed.
    """

    exponent: float
    reached: float

    def __post_init__(self) -> None:
        if self.exponent < 0 or not 0 < self.reached <= 1:
            raise SpecError(
                "a law needs an exponent of at least 0 and a share above 0 and at most 1, "
                f"got {self.exponent} and {self.reached}; mend them"
            )

    def sentence(self) -> str:
        """The law as a user reads it."""
        scale = "log n" if self.exponent == 0 else "n" if self.exponent == 1 else f"n ** {self.exponent:g}"
        return f"log steps is linear in {scale}; the EMC is where it reaches {100 * self.reached:g} % of the budget"

    def scale(self, n: Array) -> Array:
        """What log steps are linear in. n: (points,)."""
        return np.log(n) if self.exponent == 0 else n**self.exponent

    def unscale(self, value: float) -> float:
        """The size of a value of `scale`."""
        if self.exponent == 0:
            return math.exp(min(value, 700.0))
        return float(max(value, 0.0) ** (1 / self.exponent))

    def emc(self, observed: Sequence[FittedIn]) -> float | None:
        """The size where the fitted law reaches its share of the budget; None where steps do not grow with n.

        The line is that of least absolute deviations, so that an unlucky init bends it little.
        """
        n = np.array([one.n for one in observed], dtype=float)
        if len(np.unique(n)) < 2:
            return None
        log_share = np.log([one.share for one in observed])
        intercept, slope = least_deviations(self.scale(n), log_share)
        if slope <= 0:
            return None
        return self.unscale((math.log(self.reached) - intercept) / slope)


def least_deviations(x: Array, y: Array) -> tuple[float, float]:
    """Intercept and slope of the line of least absolute deviations.

    Args:
        x, y: (points,), x of at least two values.

    References:
        Koenker and Bassett 1978, "Regression Quantiles", at the median, as a linear program.

    >>> x = np.arange(5.0)
    >>> [round(float(value), 6) for value in least_deviations(x, 2 + 3 * x + np.array([0, 0, 0, 0, 50]))]
    [2.0, 3.0]
    """
    points = len(x)
    centre, width = float(x.mean()), float(np.ptp(x))
    design = np.column_stack([np.ones(points), (x - centre) / width])
    costs = np.concatenate([np.zeros(2), np.ones(2 * points)])
    equal = np.hstack([design, np.eye(points), -np.eye(points)])
    bounds = [(None, None)] * 2 + [(0, None)] * (2 * points)
    found: Any = linprog(costs, A_eq=equal, b_eq=y, bounds=bounds, method="highs")
    level, rise = (float(value) for value in found.x[:2])
    return level - rise / width * centre, rise / width


@dataclass(frozen=True)
class Study:
    """What benchmarks/estimate.py found over its settings, the EMC of each by eight replicates.

    Attributes:
        settings: measured and extrapolated.
        refused: further ones, measured but not extrapolated.
        within: of `settings`, estimated within `factor` of the EMC.
        factor: by which intervals are widened.
        covered: of `settings`, the interval held the EMC.
        cost: median share of the measurement's sample-steps.
    """

    settings: int
    refused: int
    within: int
    factor: float
    covered: int
    cost: float

    def sentence(self) -> str:
        """What a user reads beside an estimate."""
        return (
            f"within a factor of {self.factor:g} of the measured EMC in {self.within} of {self.settings} settings "
            f"(benchmarks/estimate.py; {self.refused} more refused), at {100 * self.cost:.0f} % of its cost; the law "
            "was chosen on them, so expect worse elsewhere, and publish a measurement"
        )


LAW = Law(exponent=1.0, reached=1.0)
STUDY = Study(settings=12, refused=1, within=12, factor=1.7, covered=12, cost=0.17)


@dataclass(frozen=True)
class Extrapolated:
    """An EMC from steps to fit, or why there is none.

    Attributes:
        emc: the size where the law reaches its share; None where none is given.
        interval: for the EMC a measurement would find.
        reason: why there is none; empty where there is.
    """

    emc: float | None
    interval: tuple[float, float] | None
    reason: str = ""


def extrapolate(
    observed: Sequence[FittedIn], confidence: float, seed: int, *, law: Law = LAW, factor: float | None = None
) -> Extrapolated:
    """Extrapolate the EMC, with an interval.

    The interval's ends are those of the bootstrap over replicates, their distance from the estimate (as logarithms)
    widened in quadrature by the logarithm of the study's factor.

    Args:
        observed: probes, most of them fitted.
        confidence: of the bootstrap's ends.
        seed: of the resamples.
        law: what is fitted.
        factor: to widen by; None is the study's.
    """
    reason = _obstacle(observed)
    if reason:
        return Extrapolated(None, None, reason)
    emc = law.emc(observed)
    if emc is None:
        return Extrapolated(None, None, "steps to fit do not grow with n, so they say nothing of where fits end")
    largest = max(one.n for one in observed if one.share < 1)
    if emc > MAX_RATIO * largest:
        text = f"the law reaches the budget only above {MAX_RATIO:g} times the largest fitted size, too far to trust"
        return Extrapolated(None, None, text)
    low, high = _bootstrap(observed, law, confidence, seed, float(largest)) or (emc, emc)
    widening = math.log(STUDY.factor if factor is None else factor)
    down, up = (math.hypot(max(part, 0.0), widening) for part in (math.log(emc / low), math.log(high / emc)))
    return Extrapolated(emc, (emc * math.exp(-down), emc * math.exp(up)))


def _obstacle(observed: Sequence[FittedIn]) -> str:
    sizes = {one.n for one in observed if one.share < 1}
    if len(sizes) < MIN_SIZES:
        return f"{len(sizes)} fitted sizes are too few for a law, it takes {MIN_SIZES}; lower --n-start"
    return ""


def _bootstrap(
    observed: Sequence[FittedIn], law: Law, confidence: float, seed: int, largest: float
) -> tuple[float, float] | None:
    """Percentile ends over resampled replicates; None for one replicate. Estimates are kept within the ratio."""
    replicates = sorted({one.replicate for one in observed})
    if len(replicates) < 2:
        return None
    groups = {r: [one for one in observed if one.replicate == r] for r in replicates}
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        drawn = rng.choice(replicates, len(replicates))
        emc = law.emc([one for r in drawn for one in groups[int(r)]])
        most = MAX_RATIO * largest
        found.append(most if emc is None else min(max(emc, 1.0), most))
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)
