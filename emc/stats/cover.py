"""Cover's theorem: how often random labels are linearly separable, and whether a measured curve agrees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from emc.stats.proportions import acceptance


def separable(n: int, dim: int) -> float:
    """Probability that a hyperplane with a bias separates n points in general position whose two classes are random.

    It is 2^(1 - n) sum_{k <= dim} binom(n - 1, k) for uniform labels, whatever the points.

    Args:
        n: points, at least 1.
        dim: their dimension, at least 1; the bias counts as one more.

    References:
        Cover 1965, "Geometrical and Statistical Properties of Systems of Linear Inequalities with Applications in
        Pattern Recognition", theorem 1.

    >>> separable(21, 20), separable(42, 20)
    (1.0, 0.5)
    """
    return float(stats.binom.cdf(dim, n - 1, 0.5))


def half_size(dim: int) -> int:
    """The n at which `separable` is exactly 1/2.

    >>> half_size(20)
    42
    """
    return 2 * (dim + 1)


@dataclass(frozen=True)
class Region:
    """What Cover's theorem says of one size.

    Attributes:
        n: samples.
        probability: that they are separable.
        draws: tried.
        fewest, most: separable draws that are accepted.
    """

    n: int
    probability: float
    draws: int
    fewest: int
    most: int

    def accepts(self, count: int) -> bool:
        """Whether a number of separable draws lies inside."""
        return self.fewest <= count <= self.most


def band(sizes: Sequence[int], draws: Sequence[int], dim: int, confidence: float) -> tuple[Region, ...]:
    """Regions that hold the numbers of separable draws at all sizes at once with at least a confidence.

    Each is the equal-tailed acceptance region of an exact binomial test, at 1 - (1 - confidence) / len(sizes)
    (Bonferroni): that holds also where the same draws are tried at several sizes, as nested ones are.

    Args:
        sizes: n, ascending.
        draws: tried at each size, at least 1.
        dim: of the points.
        confidence: of all regions at once.
    """
    each = 1 - (1 - confidence) / max(len(sizes), 1)
    regions = []
    for n, count in zip(sizes, draws, strict=True):
        probability = separable(n, dim)
        regions.append(Region(n, probability, count, *acceptance(count, probability, each)))
    return tuple(regions)
